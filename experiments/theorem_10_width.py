"""Theorem 10 over the width: patterns of different inputs become disjoint, from which width on?

Claimed: for ``N`` points with cosines of at most ``alpha < 1`` and ``k`` fixed, the patterns are pairwise disjoint with
probability ``1 - delta`` if the layer is "sufficiently wide". Drawn: layers of width 10 to 1e300 (above a few thousand
only the rows that can win), ``k = 1``, at a pair of points and at ten points: Gaussian, real images, all cosines 0.9.
Exact: the law of a pair; for ten the failure is at least that of the closest pair and at most the sum over pairs.
Seen: the failure of a pair falls about like ``l^(-(1 - alpha)/(1 + alpha))``. At ``alpha = 0.95`` that is ``l^-0.026``:
0.45 at a width of 1e4, 0.10 at 1e20. Ten images (largest cosine 0.79) are disjoint with probability 0.4 at 1e4, 0.94 at
1e9, 0.98 at 1e12; ten points at cosine 0.9 with 0.19 at 1e12 and 0.98 at 1e50. The proof grants 0.95 from 10^831 on for
the Gaussian points, from 10^108,795 for the images, from 10^9,768 for cosine 0.9.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kwta_theory import campaign, inputs, theory
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements import words
from kwta_theory.statements.disjointness import bounding_cosine, bracket, pair_cosines

PAIRS = {0.5: plots.PALETTE[0], 0.8: plots.PALETTE[1], 0.95: plots.PALETTE[3]}
PAIR_EXPONENTS = (1, 2, 3, 4, 6, 8, 12, 20, 30, 50, 100, 300)
COUNT, INPUT_DIM, COSINE, FAILURE = 10, 32, 0.9, 0.05
EXPONENTS = {
    "gaussian": (1, 2, 3, 4, 6, 8, 20, 300),
    "mnist": (1, 2, 3, 4, 6, 9, 12, 20, 50, 300),
    "cosine": (1, 2, 3, 4, 6, 9, 12, 20, 30, 40, 50, 70, 100, 300),
}
COLORS = dict(zip(EXPONENTS, PAIRS.values(), strict=True))
NAMES = {"gaussian": f"Gaussian, {INPUT_DIM} dimensions", "mnist": "MNIST images", "cosine": f"all cosines {COSINE}"}
TRIALS = {"quick": 2000, "standard": 40_000, "thorough": 400_000}


@functools.cache
def ten_points(kind: str) -> inputs.Inputs:
    """The points that the tasks of this kind are drawn at."""
    if kind == "gaussian":
        return inputs.gaussian_points(COUNT, INPUT_DIM, seed=0)
    return inputs.mnist_images(COUNT, seed=0) if kind == "mnist" else inputs.points_with_cosine(COUNT, COSINE)


def tasks(_: str) -> list[campaign.Task]:
    """Pairs and ten points, where the probability is on its way from 0 to 1."""
    widths = [10.0**exponent for exponent in PAIR_EXPONENTS]
    chosen = campaign.grid("disjoint-patterns", width=widths, k=1, cosine=list(PAIRS))
    more: dict[str, dict[str, Any]] = {"gaussian": {"input_dim": INPUT_DIM}, "mnist": {}, "cosine": {"cosine": COSINE}}
    for kind, exponents in EXPONENTS.items():
        widths = [10.0**exponent for exponent in exponents]
        chosen += campaign.grid("disjoint-patterns", width=widths, k=1, inputs=kind, points=COUNT, **more[kind])
    return chosen


def exact(row: Row) -> float | tuple[float, float]:
    """P(disjoint): for a pair its law, for ten points the bracket over pairs."""
    if row["points"] == 2:
        return theory.disjoint_patterns(row["width"], 1, row["cosine"])
    failure = bracket(pair_cosines(ten_points(row["inputs"])), 1, math.log(row["width"]))
    return max(0.0, -math.expm1(failure.upper)), -math.expm1(failure.lower)


def dress(axis: Axes, title: str) -> None:
    """What the two figures have in common."""
    axis.set_xscale("log")
    axis.set_xticks([1, 2, 3, 6, 12, 30, 100, 300], ["10", "100", "1e3", "1e6", "1e12", "1e30", "1e100", "1e300"])
    axis.minorticks_off()
    axis.set_xlabel("width of the layer (its logarithm on a logarithmic axis)")
    axis.set_title(title)


def draw_pairs(found: Found) -> Figure:
    """Failure of a pair against the width."""
    figure, (axis,) = plots.panels()
    dress(axis, "Theorem 10: two points, k = 1")
    exponents = [300 ** (i / 40) for i in range(41)]
    for cosine, color in PAIRS.items():
        rows = found.select("width", points=2, cosine=cosine)
        laws = [theory.intersecting_patterns(None, 1, cosine, log=True, log_width=x * plots.LN10) for x in exponents]
        plots.law(axis, exponents, laws, label=f"exact law, cosine {cosine}", color=color, log=True, from_log=True)
        x = [math.log10(row["width"]) for row in rows]
        plots.estimates(axis, x, rows, label="measured", color=color, failure=True, log=True)
    axis.axhline(math.log10(FAILURE), color=plots.FIRST, linestyle=":", linewidth=1.2, label=f"level {FAILURE}")
    axis.set_ylim(-5, 0.1)
    axis.set_ylabel("log10 P(the two patterns share a winner)")
    plots.legend(figure, columns=4)
    return figure


def draw_points(found: Found) -> Figure:
    """Ten points against the width, with the widths that the proof grants."""
    figure, (axis,) = plots.panels(height=5.2)
    dress(axis, f"Theorem 10: ten points, k = 1; grey line: the level {1 - FAILURE}")
    for shift, (kind, color) in zip((0.96, 1.0, 1.04), COLORS.items(), strict=False):  # side by side
        rows = found.select("width", points=COUNT, inputs=kind)
        x = [shift * math.log10(row["width"]) for row in rows]
        lower, upper = ([row[name] for row in rows] for name in ("exact_lower", "exact_upper"))
        axis.vlines(x, lower, upper, color=color, alpha=0.25, linewidth=7, label=f"{NAMES[kind]}: bracket over pairs")
        plots.estimates(axis, x, rows, color=color, label="measured (in each colour)")
    for kind, color in COLORS.items():
        points = ten_points(kind)
        given = (COUNT, points.input_dim, 1, bounding_cosine(points), FAILURE)
        argument, proof = (
            words.width(theory.theorem10_log_width(*given, constants=name)) for name in ("exact", "proof")
        )
        axis.axvline(
            theory.theorem10_log_width(*given, constants="exact") / plots.LN10,
            color=color,
            linestyle=":",
            label=f"granted: {argument} by exact laws, {proof} by the proof",
        )
    axis.axhline(1 - FAILURE, color=plots.FIRST, linewidth=1)
    axis.set_ylabel("P(all ten patterns pairwise disjoint)")
    plots.legend(figure, columns=2)
    return figure


EXPERIMENT = Experiment(
    "theorem_10_width",
    __doc__,
    {"theorem_10_width_pairs": draw_pairs, "theorem_10_width_points": draw_points},
    tasks,
    lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
