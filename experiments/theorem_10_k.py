"""Theorem 10 over the number of winners: what does keeping more winners cost?

Claimed: ``k`` is fixed, however large, and the layer "sufficiently wide". Drawn: layers of width 1e3, 1e6 and 1e12 at a
pair of points with cosine 0.5 or 0.8, ``k`` from 1 to 64. Exact: the law of a pair; from it the width at which the
patterns are disjoint with probability 0.95.
Seen: at a width of 1e6 and a cosine of 0.8 the probability is 0.92 for ``k = 1``, 0.61 for ``k = 4`` and 0.003 for
``k = 32``. The failure goes like ``k^(2/(1 + alpha)) l^(-(1 - alpha)/(1 + alpha))`` up to logarithms, so the width
needed like ``k^(2/(1 - alpha))``: from ``k = 32`` to 64 the exact exponent is 3.87, 9.45 and 18.7 at the cosines 0.5,
0.8 and 0.9, where that law has 4, 10 and 20. With ``k`` in proportion to the width no width is enough.
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

WIDTHS = {1e3: ("1e3", plots.PALETTE[0]), 1e6: ("1e6", plots.PALETTE[1]), 1e12: ("1e12", plots.PALETTE[3])}
COSINES = (0.5, 0.8)
NEEDED = {0.2: plots.PALETTE[2], 0.5: plots.PALETTE[0], 0.8: plots.PALETTE[1], 0.9: plots.PALETTE[3]}
WINNERS = (1, 2, 4, 8, 16, 32, 64)
FAILURE = 0.05
TRIALS = {"quick": 4000, "standard": 100_000, "thorough": 1_000_000}


def tasks(_: str) -> list[campaign.Task]:
    """All combinations."""
    widths, cosines = list(WIDTHS), list(COSINES)
    return campaign.grid("disjoint-patterns", width=widths, cosine=cosines, k=list(WINNERS), chunk_trials=2000)


def exact(row: Row) -> float:
    """The law of the pair."""
    return theory.disjoint_patterns(row["width"], row["k"], row["cosine"])


@functools.cache
def needed_log_width(k: int, cosine: float) -> float:
    """``log`` of the width from which on a pair is disjoint with probability 0.95, to four digits."""

    def excess(log_width: float) -> float:
        return theory.intersecting_patterns(None, k, cosine, log=True, log_width=log_width) - math.log(FAILURE)

    found = smallest_log_width(excess, math.log(2 * k + 2), 1e8)
    assert found is not None  # the failure falls to zero
    return found


def table(_budget: str, _seed: int) -> list[dict[str, Any]]:
    """The widths needed, with the local exponent and the one that the asymptotic law has."""
    rows: list[dict[str, Any]] = []
    for cosine in NEEDED:
        before: float | None = None
        for k in WINNERS:
            log_width = needed_log_width(k, cosine)
            exponent = None if before is None else (log_width - before) / math.log(2)
            rows.append({"cosine": cosine, "k": k, "needed_log10_width": log_width / plots.LN10, "exponent": exponent,
                         "asymptotic_exponent": 2 / (1 - cosine)})  # fmt: skip
            before = log_width
    return rows


def draw_probability(found: Found) -> Figure:
    """P(disjoint) over k, one panel for each cosine."""
    figure, axes = plots.panels(2, share_y=True)
    for axis, cosine in zip(axes, COSINES, strict=True):
        for width, (name, color) in WIDTHS.items():
            rows = found.select("k", width=width, cosine=cosine)
            ks = sorted({*range(1, 9), *(round(2 ** (i / 4)) for i in range(12, 25))})
            laws = [theory.disjoint_patterns(width, k, cosine) for k in ks]
            plots.law(axis, ks, laws, label=f"exact law, width {name}", color=color)
            plots.estimates(axis, "k", rows, label="measured (in each colour)", color=color)
        axis.set_xscale("log", base=2)
        axis.set_xticks(WINNERS, [str(k) for k in WINNERS])
        axis.set_xlabel("winners k")
        axis.set_title(f"Theorem 10: two points at cosine {cosine}")
    axes[0].set_ylabel("P(patterns disjoint)")
    plots.legend(figure, columns=4)
    return figure


def draw_needed(found: Found) -> Figure:
    """The width needed over k."""
    figure, (axis,) = plots.panels()
    for cosine, color in NEEDED.items():
        widths = [row["needed_log10_width"] for row in found.table if row["cosine"] == cosine]
        last = widths[-1]
        axis.plot(WINNERS, widths, "o-", color=color, markersize=4, label=f"exact, cosine {cosine}")
        slope = [last + 2 / (1 - cosine) * math.log10(k / WINNERS[-1]) for k in WINNERS]
        axis.plot(WINNERS, slope, "--", color=color, linewidth=1, label=f"slope {2 / (1 - cosine):.3g}")
    axis.set_xscale("log", base=2)
    axis.set_xticks(WINNERS, [str(k) for k in WINNERS])
    axis.set_xlabel("winners k")
    axis.set_ylabel(f"log10 of the width for P(disjoint) >= {1 - FAILURE}")
    axis.set_title("Theorem 10: the width that two points need grows about like k^(2/(1 - cosine))")
    plots.legend(figure, columns=4)
    plots.caption(
        figure, "Exact law of a pair; no simulation. Dashed: the slope 2/(1 - cosine) of the law without logarithms."
    )
    return figure


EXPERIMENT = Experiment(
    "theorem_10_k",
    __doc__,
    {"theorem_10_k": draw_probability, "theorem_10_k_needed": draw_needed},
    tasks,
    lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact,
    table=table,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
