"""Theorem 2 read with ``k = floor(gamma l)``, as Section 2.1 sets it: the overlap does not vanish.

Claimed in Section 3: "if ``l`` is sufficiently large" the patterns are disjoint; the formal version, Theorem 10, fixes
``k``. Drawn: layers of width 50 to 10,000 at a pair of points, ``k`` in proportion. Exact: P(disjoint); up to
``k = 100`` the mean share of common winners, summed from the law of the overlap; its limit ``Q2(q, q; alpha)/gamma``.
Seen: the share grows with the width, at a ratio of 0.1 to 0.32, 0.56 and 0.78 for cosines 0.5, 0.8 and 0.95, and
P(disjoint) falls exponentially: at a cosine of 0.8 it is 10^-2.2 at a width of 50 and 10^-472 at 10,000.
"""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from kwta_theory import campaign, theory
from kwta_theory.checks import winners
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main

RATIOS = (0.02, 0.1)
COSINES = {0.5: plots.PALETTE[0], 0.8: plots.PALETTE[1], 0.95: plots.PALETTE[3]}
WIDTHS = (50, 100, 200, 500, 1000, 5000, 10_000)
# The law of the overlap costs about 5 ms for each size of it.
MOST_WINNERS = 100
TRIALS = {"quick": 2000, "standard": 20_000, "thorough": 200_000}


def tasks(_: str) -> list[campaign.Task]:
    """All combinations."""
    return [
        campaign.Task.of("pattern-overlap", width=width, sparsity_ratio=ratio, cosine=cosine, labels={"ratio": ratio})
        for ratio in RATIOS
        for cosine in COSINES
        for width in WIDTHS
    ]


def mean_overlap(width: int, k: int, cosine: float) -> float:
    """``E |A and A'| / k``, summed from the law."""
    return math.fsum(j * theory.overlap_probability(width, k, cosine, j) for j in range(1, k + 1)) / k


def exact(row: Row) -> float | None:
    """The mean share, and the probabilities of no and of all winners in common."""
    where = (row["width"], row["k"], row["cosine"])
    if row["outcome"] == "overlap":
        return mean_overlap(*where) if row["k"] <= MOST_WINNERS else None
    return (theory.disjoint_patterns if row["outcome"] == "disjoint" else theory.same_pattern)(*where)


def draw(found: Found) -> Figure:
    """The share of common winners over the width, one panel for each ratio."""
    figure, axes = plots.panels(2, share_y=True)
    for axis, ratio in zip(axes, RATIOS, strict=True):
        for cosine, color in COSINES.items():
            rows = found.select("width", outcome="overlap", ratio=ratio, cosine=cosine)
            known = [row for row in rows if row["exact"] is not None]
            x, y = ([row[name] for row in known] for name in ("width", "exact"))
            plots.law(axis, x, y, label=f"exact, cosine {cosine}", color=color)
            limit = theory.limiting_overlap(ratio, cosine)
            axis.axhline(limit, color=color, linestyle="--", linewidth=1, label="limit of infinite width")
            plots.estimates(axis, "width", rows, label="measured (in each colour)", color=color)
        axis.set_xscale("log")
        axis.set_ylim(0, 1)
        axis.set_xlabel("width of the layer")
        axis.set_title(f"Theorem 2 read with k = {ratio} l")
    axes[0].set_ylabel("mean share of the winners in common")
    plots.legend(figure, columns=5)
    return figure


def draw_disjoint(found: Found) -> Figure:
    """log10 P(disjoint) over the width."""
    figure, axes = plots.panels(2, share_y=True)
    for axis, ratio in zip(axes, RATIOS, strict=True):
        widths = [round(k / ratio) for k in (*range(1, 10), *range(10, 101, 5)) if k / ratio >= WIDTHS[0]]
        for cosine, color in COSINES.items():
            logs = [theory.disjoint_patterns(width, winners(width, ratio), cosine, log=True) for width in widths]
            plots.law(axis, widths, logs, label=f"exact law, cosine {cosine}", color=color, log=True, from_log=True)
            rows = [
                row for row in found.select("width", outcome="disjoint", ratio=ratio, cosine=cosine) if row["successes"]
            ]
            plots.estimates(axis, "width", rows, label="measured (in each colour)", color=color, log=True)
        axis.set_xscale("log")
        axis.set_ylim(-20, 0.5)
        axis.set_xlabel("width of the layer")
        axis.set_title(f"Theorem 2 read with k = {ratio} l")
    axes[0].set_ylabel("log10 P(patterns disjoint)")
    plots.legend(figure, columns=4)
    return figure


EXPERIMENT = Experiment(
    "theorem_2_fixed_ratio",
    __doc__,
    {"theorem_2_fixed_ratio": draw, "theorem_2_fixed_ratio_disjoint": draw_disjoint},
    tasks,
    lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
