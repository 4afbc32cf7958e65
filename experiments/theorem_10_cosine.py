"""Theorem 10 over the cosine: close points need absurd widths.

Claimed: ``alpha < 1`` is fixed and the layer "sufficiently wide". Drawn: layers of width 1e3, 1e6, 1e12 and 1e100,
``k = 1``, at a pair of points, cosines from -0.5 to 0.99. Exact: the law of a pair; from it the width at which the
patterns are disjoint with probability 0.95, beside the width that the proof grants in 2 and in 784 dimensions.
Seen: 0.95 needs a width of 727 at ``alpha = 0.5``, 2.8e7 at 0.8, 10^29.9 at 0.95, 10^148 at 0.99: without logarithms
``delta^(-(1 + alpha)/(1 - alpha))``. The proof grants it from 10^1,010 (2 dimensions) and 10^125,177 (784) on at 0.8,
from 10^16,281 and 10^2,532,134 at 0.95: its logarithm is 60 to half a million times as large.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from matplotlib.figure import Figure

from kwta_theory import campaign, theory
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.search import smallest_log_width

WIDTHS = {
    1e3: (plots.PALETTE[0], "1e3"),
    1e6: (plots.PALETTE[1], "1e6"),
    1e12: (plots.PALETTE[2], "1e12"),
    1e100: (plots.PALETTE[3], "1e100"),
}
COSINES = (-0.5, 0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
NEEDED = (0.51, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
DIMENSIONS = {2: plots.PALETTE[1], 784: plots.PALETTE[4]}
FAILURE = 0.05
TRIALS = {"quick": 10_000, "standard": 100_000, "thorough": 1_000_000}


def tasks(_: str) -> list[campaign.Task]:
    """All combinations."""
    return campaign.grid("disjoint-patterns", width=list(WIDTHS), cosine=list(COSINES), k=1, chunk_trials=10_000)


def exact(row: Row) -> float:
    """The law of the pair."""
    return theory.disjoint_patterns(row["width"], 1, row["cosine"])


@functools.cache
def needed_log_width(cosine: float) -> float:
    """``log`` of the width from which on a pair is disjoint with probability 0.95, to four digits."""

    def excess(log_width: float) -> float:
        return theory.intersecting_patterns(None, 1, cosine, log=True, log_width=log_width) - math.log(FAILURE)

    found = smallest_log_width(excess, math.log(4), 1e8)
    assert found is not None  # the failure falls to zero
    return found


def table(_budget: str, _seed: int) -> list[dict[str, Any]]:
    """Powers of ten of the width needed, of its law without logarithms, and of the widths that the proof grants."""
    rows = []
    for cosine in NEEDED:
        row = {"cosine": cosine, "needed": needed_log_width(cosine) / plots.LN10}
        row["without_logarithms"] = -(1 + cosine) / (1 - cosine) * math.log10(FAILURE)
        for input_dim in DIMENSIONS:
            granted = theory.theorem10_log_width(2, input_dim, 1, cosine, FAILURE)
            row[f"proof_{input_dim}"] = granted / plots.LN10
        rows.append(row)
    return rows


def draw_probability(found: Found) -> Figure:
    """P(disjoint) over the cosine."""
    figure, (axis,) = plots.panels()
    axis.set_xscale("log")
    axis.set_xlim(1.7, 0.008)
    axis.set_xticks([1 - cosine for cosine in COSINES], [f"{cosine:g}" for cosine in COSINES])
    axis.minorticks_off()
    gaps = [1.5 * (0.01 / 1.5) ** (i / 50) for i in range(51)]
    for width, (color, name) in WIDTHS.items():
        laws = [theory.disjoint_patterns(width, 1, 1 - gap) for gap in gaps]
        plots.law(axis, gaps, laws, label=f"exact law, width {name}", color=color)
        rows = found.select("cosine", width=width)
        plots.estimates(axis, [1 - row["cosine"] for row in rows], rows, label="measured (in each colour)", color=color)
    axis.axvspan(0.5, 0.001, color=plots.FIRST, alpha=0.08, linewidth=0, label="alpha of Theorem 10: (0.5, 1)")
    axis.set_xlabel("cosine of the two points (axis: logarithm of 1 - cosine)")
    axis.set_ylabel("P(patterns disjoint)")
    axis.set_title("Theorem 10: two points, k = 1")
    plots.legend(figure, columns=3)
    return figure


def draw_needed(found: Found) -> Figure:
    """The power of ten of the width needed, and granted, over the cosine."""
    figure, (axis,) = plots.panels()
    cosines = [row["cosine"] for row in found.table]
    for input_dim, color in DIMENSIONS.items():
        granted = [row[f"proof_{input_dim}"] for row in found.table]
        axis.plot(cosines, granted, color=color, linewidth=1.6, label=f"the proof, {input_dim} dimensions")
    axis.plot(
        cosines, [row["needed"] for row in found.table], color=plots.EXACT, linewidth=1.6, label="exact law of a pair"
    )
    axis.plot(cosines, [row["without_logarithms"] for row in found.table], "--", color=plots.EXACT, linewidth=1,
              label="without logarithms")  # fmt: skip
    axis.set_yscale("log")
    axis.set_xlabel("cosine of the two points")
    axis.set_ylabel("power of ten of the width (log10 l)")
    axis.set_title(f"Theorem 10: width for P(disjoint) >= {1 - FAILURE}, two points, k = 1")
    plots.legend(figure, columns=4)
    plots.caption(
        figure,
        "Exact law of a pair and the constants of the proof; no simulation. At 6 the layer has a million outputs.",
    )
    return figure


EXPERIMENT = Experiment(
    "theorem_10_cosine",
    __doc__,
    {"theorem_10_cosine": draw_probability, "theorem_10_cosine_needed": draw_needed},
    tasks,
    lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact,
    table=table,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
