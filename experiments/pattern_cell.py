"""Theorem 1, for every x': the cell of one activation pattern, drawn.

The theorem says that no ``x'`` beyond a distance shares the pattern of ``x``. Those that share it form a convex cone;
cut across ``x`` it is a polytope of the ``u`` in ``x' = x + |x| u``, and the statement at ``beta`` holds for a layer
exactly where its radius ``R`` has ``R^2 < beta``.
Exact: the vertices, hence ``R``, from both sides: below by a witness ``x'``, whose pattern is checked in rational
numbers, above by a certificate; and the distance of the nearest boundary, in closed form over pairs of rows.
Drawn: Gaussian layers of 40 and 160 rows in three and four dimensions, a tenth of them winners; the pictures show the
first layers. A row of the table fails if the two ends of a bracket differ by more than 1e-9 of their size, or if the
nearest boundary is farther than the witness.
Seen (400 layers of each size, seed 0): with 160 rows the farthest ``x'`` with the same pattern is in the median 9
times as far as the nearest boundary in three dimensions and 17 times in four. So a boundary close by, which attacks
meet, says little about every ``x'``. Few rows shape the cell: in the median 8 of 160 in three dimensions, 12 in four.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from kwta_theory.geometry import PatternCell, pattern_cell
from kwta_theory.report import plots
from kwta_theory.report.cells import draw_plane, draw_space
from kwta_theory.report.experiment import Experiment, Found, Row, main

SIZES = ((3, 40), (3, 160), (4, 40), (4, 160))
RATIO = 0.1
DRAWS = {"quick": 40, "standard": 400, "thorough": 4000}


def cell_of(seed: int, input_dim: int, width: int, k: int, draw: int) -> PatternCell:
    """The cell of ``e_1`` in a Gaussian layer."""
    generator = np.random.default_rng(np.random.SeedSequence([seed, input_dim, width, draw]))
    return pattern_cell(generator.standard_normal((width, input_dim)), np.eye(input_dim)[0], k)


def table(budget: str, seed: int) -> Iterator[Row]:
    """One row for each layer."""
    for input_dim, width in SIZES:
        for draw in range(DRAWS[budget]):
            cell = cell_of(seed, input_dim, width, round(RATIO * width), draw)
            near, bracket = cell.nearest_boundary().distance, cell.radius()
            bounded = not bracket.unbounded
            yield {
                **{"m": input_dim, "l": width, "k": cell.k, "draw": draw, "nearest": near, "lower": bracket.lower},
                **{"upper": bracket.upper, "unbounded": bracket.unbounded, "active_rows": len(cell.active_rows())},
                **{"vertices": len(cell.vertices()) if bounded else None},
                **{"inside": not bounded or (near <= bracket.upper and bracket.ratio <= 1 + 1e-9)},
            }


def plane(found: Found) -> Figure:
    """Two layers in three dimensions, each among its neighbours."""
    figure, axes = plots.panels(columns=2, height=5.4)
    for axis, width in zip(axes, (40, 160), strict=True):
        bracket = draw_plane(axis, cell_of(found.seed, 3, width, round(RATIO * width), 0))
        axis.set_title(f"{width} rows, {round(RATIO * width)} winners: R² = {bracket.beta[0]:.2g}")
    plots.legend(figure, columns=4)
    plots.caption(
        figure,
        f"Inputs x' = x + |x| u of three dimensions, one Gaussian layer each, seed {found.seed}. Pale colours: other "
        "patterns.\nDashed: |u| = R; beyond it no input has the pattern of x. At an edge: winner | loser that tie "
        "there. The scales differ.",
    )
    return figure


def space(found: Found) -> Figure:
    """A layer in four dimensions."""
    figure = Figure(figsize=(8.0, 6.4), layout="constrained")
    axis = figure.add_subplot(projection="3d")
    cell = next(
        cell
        for cell in (cell_of(found.seed, 4, 160, round(RATIO * 160), draw) for draw in range(100))
        if not cell.radius().unbounded
    )
    bracket = draw_space(axis, cell)
    axis.set_title(f"160 rows of 4 columns, 16 winners: R² = {bracket.beta[0]:.2g}, {len(cell.vertices())} vertices")
    plots.legend(figure, columns=2)
    plots.caption(figure, f"Inputs x' = x + |x| u with the pattern of x: a solid with flat sides. Seed {found.seed}.")
    return figure


EXPERIMENT = Experiment(
    name="pattern_cell",
    summary=__doc__ or "",
    table=table,
    figures={"pattern_cell": plane, "pattern_cell_space": space},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
