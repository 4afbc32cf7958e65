"""Theorem 2 on 100 MNIST images: from which width on are all activation patterns disjoint?

Claimed: "if ``l`` is sufficiently large, then with a high probability" all patterns are pairwise disjoint. Drawn:
layers of nine widths from 1e4 to 1e300, ``k = 1`` (only the rows that can win), at 100 images. Exact: the failure is
at least that of the closest pair (cosine 0.917) and at most the sum over the 4,950 pairs.
Seen: in none of 400 layers at 1e4, with probability 0.28 at 1e12, 0.79 at 1e20, 0.92 at 1e28. No layer that fits into
the world is wide enough: ``benchmarks/tail_widths.py`` finds the level 0.95 between 10^28.3 and 10^31.9.
"""

from __future__ import annotations

import functools
import math

from matplotlib.figure import Figure

from kwta_theory import campaign, inputs
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.disjointness import bracket, pair_cosines

COUNT, LEVEL = 100, 0.95
EXPONENTS = (4, 8, 12, 16, 20, 28, 32, 100, 300)
TICKS = (4, 8, 12, 20, 32, 100, 300)
TRIALS = {"quick": 400, "standard": 4000, "thorough": 100_000}


@functools.cache
def cosines() -> tuple[float, ...]:
    """Of all pairs of images."""
    return pair_cosines(inputs.mnist_images(COUNT, seed=0))


def tasks(_: str) -> list[campaign.Task]:
    """The nine widths."""
    widths = [10.0**exponent for exponent in EXPONENTS]
    return campaign.grid("disjoint-patterns", width=widths, k=1, inputs="mnist", points=COUNT, chunk_trials=50)


def exact(row: Row) -> tuple[float, float]:
    """The bracket of P(all disjoint) over pairs."""
    failure = bracket(cosines(), 1, math.log(row["width"]))
    return max(0.0, -math.expm1(failure.upper)), -math.expm1(failure.lower)


def draw(found: Found) -> Figure:
    """P(all disjoint) against the width."""
    figure, (axis,) = plots.panels()
    rows = found.select("width")
    x = [math.log10(row["width"]) for row in rows]
    lower, upper = ([row[end] for row in rows] for end in ("exact_lower", "exact_upper"))
    axis.vlines(x, lower, upper, color=plots.EXACT, alpha=0.25, linewidth=9, label="exact laws, bracket over pairs")
    plots.estimates(axis, x, rows, label="measured")
    axis.axhline(LEVEL, color=plots.CLAIMED, linestyle="--", linewidth=1.2, label=f"level {LEVEL}")
    axis.axvline(math.log10(4096), color=plots.FIRST, linestyle=":", label="width 4,096")
    axis.set_xscale("log")
    axis.set_xticks(TICKS, [f"1e{exponent}" for exponent in TICKS])
    axis.minorticks_off()
    axis.set_xlabel("width of the layer (its logarithm on a logarithmic axis)")
    axis.set_ylabel(f"P(all {COUNT} patterns pairwise disjoint)")
    axis.set_title(f"Theorem 2: {COUNT} MNIST images, k = 1")
    plots.legend(figure, columns=4)
    return figure


EXPERIMENT = Experiment(
    "theorem_2_mnist",
    __doc__,
    {"theorem_2_mnist": draw},
    tasks,
    lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
