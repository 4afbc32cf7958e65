"""Theorem 8: a small rotation of the input changes the pattern. How wide must the layer be?

Claimed: from a width of ``C (m + log(1/delta)) / (gamma (1 - alpha^2))`` times its logarithm on, the pattern of every
``x'`` at a cosine of at most ``alpha`` differs from that of ``x``, with probability at least ``1 - delta 2^-m``.
Drawn: Gaussian layers and one fixed ``x'`` at a cosine of exactly ``alpha``; a frequency decides nothing about every
``x'``. Exact: the law of the pair. For every ``x'`` at once the argument of the proof with exact laws in its steps is
an upper bound of the failure.
Seen, at ``gamma = 0.1``, ``m = 8`` and ``delta = 1/2`` (level 0.002): at a cosine of 0.9 one ``x'`` reaches the level
at a width of 110, all of them at 560 at the latest, and the proof grants it from 1.4e9 on.
"""

from __future__ import annotations

import functools
import math

from matplotlib.figure import Figure

from kwta_theory import campaign, theory
from kwta_theory.checks import winners
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.pointwise import Rotation, first_change

RATIO, INPUT_DIM, DELTA = 0.1, 8, 0.5
LOG_LEVEL = math.log(DELTA) - INPUT_DIM * math.log(2)
ANGLES = (0.6, 0.9, 0.99, 0.999)
COSINES = {0.6: plots.PALETTE[0], 0.9: plots.PALETTE[1], 0.99: plots.PALETTE[3]}
WIDTHS = (10, 20, 30, 50, 70, 100, 150, 200, 300, 500)
TRIALS = {"quick": 20_000, "standard": 200_000, "thorough": 2_000_000}


def log_same(width: int, cosine: float) -> float:
    """``log`` of the probability that one fixed ``x'`` has the pattern of ``x``."""
    return theory.same_pattern(width, winners(width, RATIO), cosine, log=True)


def tasks(budget: str) -> list[campaign.Task]:
    """Widths at which the pattern stays the same often enough to be seen."""
    least = math.log(10 / TRIALS[budget])
    drawn = [(width, cosine) for cosine in COSINES for width in WIDTHS if log_same(width, cosine) > least]
    return [
        campaign.Task.of("same-pattern", width=w, sparsity_ratio=RATIO, cosine=c, chunk_trials=2000) for w, c in drawn
    ]


def exact(row: Row) -> float:
    """The law of the pair."""
    return theory.same_pattern(row["width"], row["k"], row["cosine"])


@functools.cache
def widths(cosine: float) -> tuple[float, float, float]:
    """From which on the level holds: for one ``x'`` (exact), for all (the proof with exact laws), by the proof."""
    one = first_change(RATIO, Rotation(cosine, LOG_LEVEL, 1.0, {})).log_width
    every = theory.theorem8_width(INPUT_DIM, RATIO, cosine, DELTA, constants="exact")
    return math.exp(one or math.nan), every, theory.theorem8_width(INPUT_DIM, RATIO, cosine, DELTA)


def over_width(found: Found) -> Figure:
    """The law of one ``x'``, the bound for every ``x'``, and where the proof begins, far to the right."""
    figure, (axis,) = plots.panels()
    for cosine, color in COSINES.items():
        one, every, granted = widths(cosine)
        places = sorted({10 * round(one / 10 * 10 ** (step / 20)) for step in range(-40, 14)} - {0})
        law = [log_same(width, cosine) for width in places]
        plots.law(axis, places, law, label=f"cosine {cosine}: one x', exact", color=color, log=True, from_log=True)
        plots.estimates(axis, "width", found.select("width", cosine=cosine), color=color, log=True)
        places = [10 * round(every / 10 * 1.25**step) for step in range(-2, 4)]
        bound = [theory.theorem8_exact_failure(width, INPUT_DIM, RATIO, cosine, log=True) for width in places]
        label = f"cosine {cosine}: every x', bound"
        plots.law(axis, places, bound, label=label, color=color, log=True, from_log=True, style="--")
        axis.axvline(granted, color=color, linestyle=":", label=f"cosine {cosine}: granted by the proof")
    axis.axhline(LOG_LEVEL / plots.LN10, color=plots.CLAIMED, linewidth=1, label="level delta 2^-m of the theorem")
    axis.set(xscale="log", xlabel="width l (outputs)", ylabel="log10 P(pattern unchanged)", ylim=(-8, 0.3))
    axis.set_title(f"gamma = {RATIO}, m = {INPUT_DIM} inputs, delta = {DELTA}; points: measured for one x'")
    plots.legend(figure)
    return figure


def over_angle(found: Found) -> Figure:
    """The three widths against the angle of rotation."""
    del found
    figure, (axis,) = plots.panels()
    angles = [math.degrees(math.acos(cosine)) for cosine in ANGLES]
    one, every, proof = zip(*map(widths, ANGLES), strict=True)
    plots.law(axis, angles, proof, label="granted by the proof, every x'", color=plots.GRANTED, style="s-")
    plots.law(axis, angles, every, label="the proof with exact laws, every x'", color=plots.PROVED, style="^-")
    plots.law(axis, angles, one, label="needed for one x' (exact law)", style="o-")
    axis.set(xscale="log", yscale="log", xlabel="angle between x and x' (degrees)", ylabel="width l (outputs)")
    axis.set_xticks(angles, [f"{angle:.3g}" for angle in angles], minor=False)
    axis.set_xticks([], minor=True)
    axis.set_title(f"width from which on P(fail) <= delta 2^-m; gamma = {RATIO}, m = {INPUT_DIM}, delta = {DELTA}")
    plots.legend(figure)
    plots.caption(figure, "Exact laws and bounds; nothing is sampled.")
    return figure


EXPERIMENT = Experiment(
    name="theorem_8",
    summary=__doc__,
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=exact,
    figures={"theorem_8_width": over_width, "theorem_8_angle": over_angle},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
