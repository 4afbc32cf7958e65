"""Theorems 1 and 9 for one fixed x': how likely it keeps the pattern of x, over width, sparsity ratio and distance.

Claimed: a layer of width l >= C (m/gamma)(1/beta) log(...) gives, with probability at least 1 - 2^-m, every x' at
perpendicular distance d^2/|x|^2 >= beta another pattern than x. Drawn here: P(A(Wx) = A(Wx')) for one fixed x' at
d^2/|x|^2 = beta, that is at cosine 1/sqrt(1 + beta): the exact law as curves, Monte Carlo on top. It does not depend on
m. It is a lower bound for "some x' keeps the pattern", so it does not decide the theorem.

What one sees. The probability falls exponentially in l sqrt(beta), log10 P = -0.06 l sqrt(beta) for gamma = 0.1 and
small beta: for one x' a width in proportion to m/sqrt(beta) is enough, where the theorem asks for m/beta log(m/beta).
The level 2^-32 is reached at l = 190, 1,670, 16,800 and 168,170 for beta = 1, 1e-2, 1e-4 and 1e-6. At l = 1000 and
beta = 1e-4, P is 0.86, 0.54, 0.33, 0.16 and 0.07 for gamma = 0.01, 0.05, 0.1, 0.2 and 0.48: more winners, denser
boundaries.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from kwta_theory import campaign, theory
from kwta_theory.checks import winners
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main

RATIO = 0.1
BETAS = (1e-6, 1e-4, 1e-2, 1.0)
WIDTHS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
RATIOS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4)
TRIALS = {"quick": 1000, "standard": 20_000, "thorough": 400_000}
INPUT_DIM = 32


def log_law(width: int, sparsity_ratio: float, beta: float) -> float:
    """Natural logarithm of P(same pattern)."""
    return theory.same_pattern(width, winners(width, sparsity_ratio), theory.cosine_from_beta(beta), log=True)


def tasks(budget: str) -> list[campaign.Task]:
    """Where the event can be expected to be seen, or nearly so, within the budget."""
    places = [(width, RATIO, beta) for width in WIDTHS for beta in BETAS]
    places += [(1000, ratio, beta) for ratio in RATIOS for beta in BETAS]
    places += [(width, RATIO, 10.0**power) for width in (100, 1000) for power in np.arange(-6, 0.1, 0.5).tolist()]
    return [
        campaign.Task.of("same-pattern", width=width, sparsity_ratio=ratio, beta=beta)
        for width, ratio, beta in places
        if log_law(width, ratio, beta) > math.log(0.5 / TRIALS[budget])
    ]


def log_exact(row: Row) -> float:
    """Theory's value for a row."""
    return theory.same_pattern(row["width"], row["k"], row["cosine"], log=True)


def over_width(found: Found) -> Figure:
    """One curve for each beta."""
    figure, (axis,) = plots.panels()
    widths = np.unique(np.geomspace(10, 1e6, 60).round(-1).astype(int))
    for beta, color in zip(BETAS, plots.PALETTE, strict=False):
        logs = [log_law(width, RATIO, beta) for width in widths.tolist()]
        plots.law(axis, np.log10(widths), logs, label=f"β = {beta:g}", color=color, log=True, from_log=True)
        rows = found.select("width", sparsity_ratio=RATIO, beta=beta)
        plots.estimates(axis, np.log10([row["width"] for row in rows]).tolist(), rows, color=color, log=True)
    level = -INPUT_DIM * math.log10(2)
    axis.axhline(level, color=plots.CLAIMED, linestyle="--", linewidth=1.3, label="2⁻ᵐ of Theorem 1, m = 32")
    axis.set(xlabel="log10 of the width l", ylabel="log10 P(same pattern)", ylim=(-12, 0.4), xlim=(1, 6))
    axis.set_title(f"One fixed x' at d²/|x|² = β, sparsity ratio γ = {RATIO}: law and simulation")
    plots.legend(figure)
    return figure


def over_sparsity_ratio(found: Found) -> Figure:
    """At width 1000."""
    figure, (axis,) = plots.panels()
    ratios = np.unique(np.geomspace(1, 500, 60).round()) / 1000
    for beta, color in zip(BETAS, plots.PALETTE, strict=False):
        logs = [log_law(1000, ratio, beta) for ratio in ratios.tolist()]
        plots.law(axis, ratios, logs, label=f"β = {beta:g}", color=color, log=True, from_log=True)
        rows = found.select("k", width=1000, beta=beta)
        plots.estimates(axis, [row["k"] / 1000 for row in rows], rows, color=color, log=True)
    axis.set(
        xlabel="sparsity ratio γ = k/l (logarithmic)", ylabel="log10 P(same pattern)", ylim=(-8, 0.3), xscale="log"
    )
    axis.set_title("One fixed x' at d²/|x|² = β, width l = 1000: law and simulation")
    plots.legend(figure, columns=4)
    return figure


def over_beta(found: Found) -> Figure:
    """At several widths."""
    figure, (axis,) = plots.panels()
    powers = np.linspace(-6, 0, 49)
    for width, color in zip((100, 1000, 10_000), plots.PALETTE, strict=False):
        logs = [log_law(width, RATIO, 10.0**power) for power in powers.tolist()]
        plots.law(axis, powers, logs, label=f"l = {width:,}", color=color, log=True, from_log=True)
        rows = found.select(width=width, sparsity_ratio=RATIO)
        plots.estimates(axis, [math.log10(row["label_beta"]) for row in rows], rows, color=color, log=True)
    axis.set(xlabel="log10 of β = d²/|x|²", ylabel="log10 P(same pattern)", ylim=(-8, 0.3), xlim=(-6.1, 0.1))
    axis.set_title(f"One fixed x' at d²/|x|² = β, sparsity ratio γ = {RATIO}: law and simulation")
    plots.legend(figure)
    return figure


EXPERIMENT = Experiment(
    name="theorem_1",
    summary=__doc__,
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    log_exact=log_exact,
    figures={
        "theorem_1_width": over_width,
        "theorem_1_sparsity": over_sparsity_ratio,
        "theorem_1_beta": over_beta,
    },
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
