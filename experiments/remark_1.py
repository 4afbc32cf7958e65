"""Remark 1: how many unit vectors fit with pairwise cosines of at most ``alpha``.

Claimed: at most ``(1 + 2/sqrt(2(1 - alpha)))^m`` in ``m`` dimensions, for ``alpha`` in (0.5, 1).
Computed: this bound, by volumes of balls; the smaller one by areas of caps of half the angle; and a number that is
always reached, by areas of caps of the whole angle: a largest such set is a net. Known sets with that cosine (polygon,
icosahedron, roots of D_m and E8), each in its dimension and all higher ones.
Drawn: sets chosen greedily from random vectors, which are valid sets of their size.
Seen: the remark holds, with a base that is larger than that of the caps by exactly 1: per dimension at ``alpha = 0.51``
at most 3.02 times as many by the remark, 2.02 by areas, and at least 1.16. In 8 dimensions E8 has 240 vectors, where
6,924 are allowed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from kwta_theory import theory
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.lemma_6 import separated
from kwta_theory.statements.remark_1 import log_bound
from kwta_theory.theory import codes

COSINE = 0.51
DIMS = tuple(range(2, 17))
COSINES = tuple(np.linspace(0.5, 0.99, 50)[1:].tolist())
DRAWS = {"quick": 2000, "standard": 20_000, "thorough": 200_000}


def sizes(input_dim: int, cosine: float, draws: int, seed: int) -> Row:
    """Bounds from above and below as powers of ten, and the largest sets at hand."""
    log_allowed, log_caps = log_bound(input_dim, cosine), theory.log_packing_bound(input_dim, cosine)
    known = [*codes.constructed(input_dim, cosine), (f"D{input_dim}", codes.root_system_d(input_dim))]  # cosine 1/2
    name, largest = max(((name, len(points)) for name, points in known), key=lambda pair: pair[1])
    generator = np.random.default_rng(np.random.SeedSequence([seed, input_dim]))
    greedy = separated(generator, input_dim, math.sqrt(2.0 * (1.0 - cosine)), draws)
    row = {
        **{"input_dim": input_dim, "cosine": cosine, "log10_remark": log_allowed / math.log(10)},
        **{
            "log10_caps": log_caps / math.log(10),
            "log10_always": -theory.log_cap_fraction(input_dim, cosine) / math.log(10),
        },
        **{"known": name, "known_size": largest, "greedy_size": greedy, "draws": draws},
    }
    return row | {"inside": math.log(max(largest, greedy)) <= log_caps + 1e-9 and log_caps <= log_allowed}


def table(budget: str, seed: int) -> Iterator[Row]:
    """Over the dimension at one cosine."""
    return (sizes(m, COSINE, DRAWS[budget], seed) for m in DIMS)


def over_dimension(found: Found) -> Figure:
    """What is allowed, what is always reached, and what is known."""
    figure, (axis,) = plots.panels()
    rows = found.select("input_dim")
    dims = [row["input_dim"] for row in rows]
    for name, label, color, style in (
        ("remark", "allowed by Remark 1", plots.CLAIMED, "-"),
        ("caps", "allowed by areas of caps", plots.PROVED, "-"),
        ("always", "a set of so many exists, by areas", plots.EXACT, "--"),
    ):
        plots.law(axis, dims, [row[f"log10_{name}"] for row in rows], label=label, color=color, style=style)
    known = [math.log10(row["known_size"]) for row in rows]
    axis.plot(
        dims,
        known,
        "D",
        color=plots.MEASURED,
        label="hexagon, icosahedron, 24-cell, D5 to D7, E8, from 12 on D_m",
        markersize=5,
    )
    greedy = [math.log10(row["greedy_size"]) for row in rows]
    axis.plot(dims, greedy, "o", color=plots.FIRST, label="greedy from random vectors", markersize=4)
    axis.set(xlabel="dimension m", ylabel="log10 of the number of unit vectors", xticks=dims[::2])
    axis.set_title(f"Unit vectors with pairwise cosines of at most α = {COSINE}")
    plots.legend(figure, columns=2)
    plots.caption(figure, f"Greedy sets: from {rows[0]['draws']:,} random vectors each, seed {found.seed}, valid sets "
                  "but not the largest. Everything else is computed.")  # fmt: skip
    return figure


def over_cosine(found: Found) -> Figure:
    """Growth per dimension in the limit of many dimensions."""
    del found
    figure, (axis,) = plots.panels()
    half = [math.sqrt(0.5 * (1.0 - c)) for c in COSINES]  # sine of half the angle
    plots.law(axis, COSINES, [1.0 + 1.0 / s for s in half], label="allowed by Remark 1", color=plots.CLAIMED)
    plots.law(axis, COSINES, [1.0 / s for s in half], label="allowed by areas of caps", color=plots.PROVED)
    sines = [math.sqrt((1.0 - c) * (1.0 + c)) for c in COSINES]
    plots.law(axis, COSINES, [1.0 / s for s in sines], label="a set of so many exists, by areas", style="--")
    axis.set(xlabel="largest cosine α", ylabel="growth for each dimension", yscale="log", xlim=(0.5, 1))
    axis.set_yticks((1, 2, 5, 10, 15), ("1", "2", "5", "10", "15"))
    plots.legend(figure)
    plots.caption(figure, "The m-th root of the number of vectors as m grows; nothing is sampled.")
    return figure


EXPERIMENT = Experiment(
    name="remark_1",
    summary=__doc__ or "",
    table=table,
    figures={"remark_1": over_dimension, "remark_1_growth": over_cosine},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
