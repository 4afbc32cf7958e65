"""Lemma 5: two inputs get different patterns, with a margin.

Claimed: for ``gamma < 0.48`` and unit inputs at a cosine ``alpha in (0.5, 1)`` some winner ``i`` of ``Wx`` and some
loser ``j`` have ``W_i x' < W_j x' - sqrt(2 pi (1-alpha^2))/(24 alpha)``, but for a probability that the proof bounds
by ``4 exp(-eps^2 gamma l/24) + (2/3)^(eps gamma l/2) + (1/2)^(eps gamma l/2)``, ``eps = sqrt(1-alpha^2)/(96 alpha)``.
Drawn: Gaussian layers, and whether no winner falls below a loser by the margin. Exact: the law of a pair with margin.
Seen at ``gamma = 0.1``: the failure falls to 0.01 at a width of 42 for a cosine of 0.6 (290 for 0.99); the printed
bound does so at 7.5e6 (6.5e8), the steps of the proof with exact tails at 1.2e6 (1.1e8), and with the best window at
460 (3,600). So nearly all that the proof loses, it loses by its choice of ``eps``. The margin itself is cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from kwta_theory import campaign, theory
from kwta_theory.checks import winners
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, main

RATIO = 0.1
COSINES = (0.6, 0.99)
WIDTHS = (10, 20, 30, 50, 70, 100, 150, 200, 300, 500)
# The second figure: one layer, margins in multiples of that of the lemma.
LAYER, FACTORS = {"width": 100, "k": 10, "cosine": 0.9}, (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0)
TRIALS = {"quick": 20_000, "standard": 200_000, "thorough": 2_000_000}


def no_margin(row: dict[str, Any]) -> float:
    """The law of a pair with margin."""
    return theory.same_pattern(row["width"], row["k"], row["cosine"], margin=row["margin"])


def tasks(budget: str) -> list[campaign.Task]:
    """Widths at which the event fails often enough to be seen, and one layer with several margins."""
    rows: list[dict[str, Any]] = [
        {"width": width, "k": winners(width, RATIO), "cosine": cosine, "margin": theory.lemma5_margin(cosine)}
        for cosine in COSINES
        for width in WIDTHS
    ]
    rows = [row for row in rows if no_margin(row) > 10 / TRIALS[budget]]
    rows += [{**LAYER, "margin": factor * theory.lemma5_margin(LAYER["cosine"])} for factor in FACTORS]
    return [campaign.Task.of("same-pattern", chunk_trials=2000, **row) for row in rows]


# Three curves of the first figure: label, function of (width, gamma, alpha), colour, style.
CURVES: tuple[tuple[str, Callable[..., float], str, str], ...] = (
    ("printed bound of the proof", theory.lemma5_failure_bound, plots.CLAIMED, "-"),
    ("its steps, exact tails", theory.lemma5_exact_steps, plots.PROVED, "--"),
    ("its steps, exact tails, best window", theory.lemma5_best_steps, plots.PALETTE[5], "-."),
)


def over_width(found: Found) -> Figure:
    """What the proof says, the same steps with exact tails, with the best window, and the law itself."""
    figure, axes = plots.panels(2, share_y=True)
    widths = [10 * round(10 ** (i / 6)) for i in range(55)]
    for axis, cosine in zip(axes, COSINES, strict=True):
        for label, bound, color, style in CURVES:
            values = [bound(width, RATIO, cosine, log=True) for width in widths]
            plots.law(axis, widths, values, label=label, color=color, log=True, from_log=True, style=style)
        margin = theory.lemma5_margin(cosine)
        law = [theory.same_pattern(w, winners(w, RATIO), cosine, margin=margin, log=True) for w in widths]
        plots.law(axis, widths, law, label="exact law", log=True, from_log=True)
        drawn = found.select("width", cosine=cosine, margin=margin)
        plots.estimates(axis, "width", drawn, label="measured", log=True)
        axis.set(xscale="log", xlabel="width l (outputs)", ylim=(-8, 1))
        axis.set_title(f"cosine {cosine}, gamma = {RATIO}")
    axes[0].set_ylabel("log10 P(no winner falls by the margin)")
    plots.legend(figure)
    return figure


def over_margin(found: Found) -> Figure:
    """How much margin there is."""
    figure, (axis,) = plots.panels()
    unit = theory.lemma5_margin(LAYER["cosine"])
    margins = [unit * FACTORS[-1] * i / 64 for i in range(65)]
    law = [no_margin({**LAYER, "margin": margin}) for margin in margins]
    plots.law(axis, margins, law, label="exact law", log=True)
    plots.estimates(axis, "margin", found.select(**LAYER), label="measured", log=True)
    axis.axvline(unit, color=plots.CLAIMED, linestyle=":", label="margin of the lemma")
    axis.set(xlabel="margin (standard deviations of an output)", ylabel="log10 P(no winner falls by the margin)")
    axis.set_title("width {width}, k = {k}, cosine {cosine}".format(**LAYER))
    plots.legend(figure)
    return figure


EXPERIMENT = Experiment(
    name="lemma_5",
    summary=__doc__,
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=no_margin,
    figures={"lemma_5_width": over_width, "lemma_5_margin": over_margin},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
