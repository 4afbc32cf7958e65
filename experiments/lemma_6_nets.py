"""Lemma 6: how many points a net of the unit sphere needs, and where the printed number is too small.

Claimed: the unit vectors of a subspace of dimension ``d`` have an ``epsilon``-net of ``(1 + 1/epsilon)^d`` points.
Computed: the textbook's number ``(1 + 2/epsilon)^d``, the smallest number known to be enough (volumes, areas, random
caps with a repair), and a number that every net needs (areas, and the simplex bound of Coxeter, Few and Rogers with its
integral computed). Nothing is sampled.
Seen: at ``epsilon = 1/(d - 1)`` every net needs more points than printed from ``d = 19`` on, 5.8 times as many at
``d = 784``. At ``d = 784`` the printed number is too small for ``epsilon`` from 8.7e-5 to 5.3e-3; above 1.2e-2, and
below 1.7e-6, there is a net of that size. Below ``d = 19`` nothing here decides against it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from scipy import optimize

from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.lemma_6 import log_simplex_bound
from kwta_theory.theory import nets

DIMS = {"quick": 24, "standard": 60, "thorough": 200}
LARGEST, SHOWN = 2000, (3, 18, 19, 784)
FLOOR, CEILING = 1e-7, 0.999


def needed(input_dim: int, distance: float) -> float:
    """``log`` of a number of points that every net has: the larger of the two lower bounds."""
    return max(nets.log_net_lower_bound(input_dim, distance), log_simplex_bound(input_dim, distance))


def excess(input_dim: int, distance: float) -> Row:
    """The sizes over the printed one, as powers of ten; positive ``needed`` refutes, negative ``enough`` confirms."""
    printed = nets.log_printed_net_size(input_dim, distance)
    sizes = {
        "needed": needed(input_dim, distance),
        "enough": nets.log_net_upper_bound(input_dim, distance),
        "textbook": input_dim * math.log1p(2.0 / distance),
    }
    found = {f"log10_{name}": (size - printed) / math.log(10) for name, size in sizes.items()}
    return {"input_dim": input_dim, "distance": distance, "log10_printed": printed / math.log(10), **found}


def crossings(name: str, input_dim: int) -> list[float]:
    """Where a size passes the printed one between the smallest and the largest distance, in increasing order."""

    def above(log_distance: float) -> float:
        return float(excess(input_dim, math.exp(log_distance))[f"log10_{name}"])

    # The line 1/(d-1), near which the excess is largest, is one of the places looked at.
    grid = np.sort(np.append(np.linspace(math.log(FLOOR), math.log(CEILING), 40), -math.log(input_dim - 1)))
    signs = np.array([above(place) > 0 for place in grid.tolist()])
    changes = np.flatnonzero(signs[1:] != signs[:-1])
    return [math.exp(optimize.brentq(above, grid[i], grid[i + 1])) for i in changes.tolist()]


def dimension(input_dim: int) -> Row:
    """The sizes at ``1/(d-1)``, and the distances from which to which the printed number is true, or false."""
    enough, too_small = crossings("enough", input_dim), crossings("needed", input_dim)
    row = excess(input_dim, 1.0 / (input_dim - 1))
    ends = {
        "true_below": enough[0],
        "false_from": too_small[0] if too_small else None,
        "false_to": too_small[1] if too_small else None,
        "true_above": enough[1] if len(enough) > 1 else None,
    }
    right = row["log10_needed"] <= row["log10_enough"] <= row["log10_textbook"]
    return row | ends | {"inside": right and len(enough) <= 2 and len(too_small) in (0, 2)}


def table(budget: str, seed: int) -> Iterator[Row]:
    """One row for each dimension; ``seed`` has no effect."""
    del seed
    dims = {*SHOWN, *np.geomspace(3, LARGEST, DIMS[budget]).round().astype(int).tolist()}
    return map(dimension, sorted(dims))


def over_dimension(found: Found) -> Figure:
    """At ``epsilon = 1/(d - 1)``."""
    figure, (axis,) = plots.panels()
    rows = found.select("input_dim")
    dims = [row["input_dim"] for row in rows]
    axis.axhline(0.0, color=plots.CLAIMED, linewidth=1.4, label="printed, (1 + 1/ε)ᵈ")
    for name, label, color, style in (
        ("needed", "every net needs at least so many", plots.EXACT, "o-"),
        ("enough", "so many are known to be enough", plots.PROVED, "s-"),
        ("textbook", "textbook, (1 + 2/ε)ᵈ", plots.FIRST, "--"),
    ):
        plots.law(axis, dims, [row[f"log10_{name}"] for row in rows], label=label, color=color, style=style)
    axis.set(xscale="log", xlabel="dimension d", ylabel="log10 (points / printed number)", ylim=(-0.8, 4.0))
    axis.set_title("Nets at distance ε = 1/(d - 1): above the line the printed number is too small")
    plots.legend(figure, columns=2)
    return figure


def regions(found: Found) -> Figure:
    """Where the printed number is too small, where it is enough, and where nothing here decides."""
    figure, (axis,) = plots.panels(height=5.0)
    rows = found.select("input_dim")
    dims = [row["input_dim"] for row in rows]
    ends = {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows])
        for name in ("true_below", "false_from", "false_to", "true_above")
    }
    axis.fill_between(dims, FLOOR, 1.0, color="#d8d8d8", linewidth=0, label="not decided here")
    axis.fill_between(dims, FLOOR, ends["true_below"], color=plots.MEASURED, label="true: there is such a net")
    axis.fill_between(dims, ends["true_above"], 1.0, color=plots.MEASURED)
    axis.fill_between(
        dims, ends["false_from"], ends["false_to"], color=plots.CLAIMED, label="false: every net needs more points"
    )
    axis.plot(dims, [1 / (d - 1) for d in dims], "--", color="black", linewidth=1.2, label="ε = 1/(d - 1)")
    axis.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="distance ε of the net", ylim=(FLOOR, 1.0))
    axis.set(xlim=(dims[0], dims[-1]))
    axis.set_title("Lemma 6 as printed: is there an ε-net of (1 + 1/ε)ᵈ points?")
    plots.legend(figure, columns=2)
    return figure


EXPERIMENT = Experiment(
    name="lemma_6_nets",
    summary=__doc__ or "",
    table=table,
    figures={"lemma_6_nets": over_dimension, "lemma_6_nets_regions": regions},
    note="Bounds that hold at each d and ε, computed; nothing is sampled.",
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
