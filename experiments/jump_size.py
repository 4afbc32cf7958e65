"""Appendix B: how large the jumps at the pattern changes are, and at which sparsity ratio they add up to most.

Claimed: at a change the next layer's input jumps by ``(W_j - W_i) x*``, and the smaller gamma, the larger the jump.
Exact for a Gaussian layer: the law of ``x*``, the common value of the two outputs that swap. The jump of one input of
the next layer (weights of variance 1, ``|x| = 1``) has the root mean square ``sqrt(2 E[x*^2])``.
Drawn: layers of width 64 whose input makes a full turn; their changes, and the sums of ``|x*|`` and ``x*^2`` over them.
Seen: the jump falls with gamma up to one half only, from 2.9 at ``k = 1`` to 0.2, and grows again beyond. The sum of
``|jump|`` per radian is largest at ``gamma = Q(1) = 0.15866`` and that of ``jump^2`` at ``gamma = Q(sqrt 2) = 0.07865``
in the limit of large width.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import special

from kwta_theory import campaign, theory
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main

WIDTH, TURN = 64, 2 * math.pi
WINNERS = (1, 2, 3, 5, 8, 10, 13, 18, 24, 32, 40, 50, 58, 63)
TRIALS = {"quick": 500, "standard": 10_000, "thorough": 100_000}
# Each variation: the outcome that is summed, the factor of the next layer's weights, the power of |x*|.
VARIATIONS = {
    "total variation": ("absolute_values", 2 / math.sqrt(math.pi), 1),
    "quadratic variation": ("squared_values", 2.0, 2),
}


def tasks(budget: str) -> list[campaign.Task]:
    """One width, all sparsity ratios."""
    del budget
    return campaign.grid("boundary-crossings", chunk_trials=500, width=WIDTH, k=WINNERS, angle=TURN)


def exact(row: Row) -> float | None:
    """Expected changes, and the expected sums of ``x*``, ``|x*|`` and ``x*^2`` over them.

    At ``k = l/2`` the pattern of ``-x`` is the complement, so that over a full turn ``x*`` adds up to 0 in every trial,
    up to rounding: there is nothing to compare.
    """
    if row["outcome"] == "values" and 2 * row["k"] == row["width"]:
        return None
    law = theory.swap_value(row["width"], row["k"])
    moments = {
        "changes": 1.0,
        "values": law.mean,
        "absolute_values": law.mean_absolute,
        "squared_values": law.root_mean_square**2,
    }
    return row["angle"] * theory.boundary_density(row["width"], row["k"]) * moments[row["outcome"]]


def variation(found: Found) -> Figure:
    """Where the jumps add up to most: the candidates for the most robust sparsity ratio."""
    figure, axes = plots.panels(2)
    for axis, (measure, (outcome, factor, power)) in zip(axes, VARIATIONS.items(), strict=True):
        ratios = np.linspace(0.002, 0.998, 300)
        level = special.ndtri(ratios)
        density = np.array([theory.limiting_boundary_density(ratio) for ratio in ratios])
        limit = density * factor * np.abs(level) ** power
        finite = [theory.jump_variation(WIDTH, k, measure) / WIDTH for k in range(1, WIDTH)]
        plots.law(axis, ratios, limit, label="limit of large width", color="black", style=":")
        plots.law(axis, np.arange(1, WIDTH) / WIDTH, finite, label=f"exact, width {WIDTH}")
        points = [
            (row["k"] / WIDTH, *(row[end] * factor / TURN / WIDTH for end in ("estimate", "lower", "upper")))
            for row in found.select("k", outcome=outcome)
        ]
        plots.marks(axis, points, label=f"measured, width {WIDTH}", bounded=False)
        best(axis, measure)
        axis.set_ylim(bottom=0)
        axis.set(xlabel="sparsity ratio gamma = k/l", title=f"{measure} of the jumps")
    axes[0].set_ylabel("sum of |jump| per radian and output")
    axes[1].set_ylabel("sum of jump^2 per radian and output")
    plots.legend(figure)
    return figure


def best(axis: Axes, measure: str) -> None:
    """Mark the ratio that is best in the limit."""
    ratio = theory.best_sparsity_ratio(measure)
    axis.axvline(ratio, color=plots.CLAIMED, linestyle="--", linewidth=1)
    axis.text(ratio + 0.01, 0.01, f"{ratio:.5f}", color=plots.CLAIMED, transform=axis.get_xaxis_transform())


def size(found: Found) -> Figure:
    """The size of one jump: symmetric in gamma, so not falling beyond one half."""
    figure, (axis,) = plots.panels()
    ratios = np.linspace(0.002, 0.998, 300)
    plots.law(axis, ratios, math.sqrt(2) * np.abs(special.ndtri(ratios)), label="limit", color="black", style=":")
    for width, color in ((WIDTH, plots.EXACT), (1024, plots.PALETTE[1])):
        sizes = [theory.jump_size(width, k) for k in range(1, width)]
        plots.law(axis, np.arange(1, width) / width, sizes, label=f"exact, width {width}", color=color)
    points = []
    for squares, changes in zip(
        found.select("k", outcome="squared_values"), found.select("k", outcome="changes"), strict=True
    ):
        # Both intervals hold together, so the ratio lies between the quotients of opposite ends.
        mean = squares["estimate"] / changes["estimate"]
        low, high = max(squares["lower"], 0) / changes["upper"], squares["upper"] / changes["lower"]
        points.append((squares["k"] / WIDTH, *(math.sqrt(2 * value) for value in (mean, low, high))))
    plots.marks(axis, points, label=f"measured, width {WIDTH}", bounded=False)
    axis.set(xlabel="sparsity ratio gamma = k/l", ylabel="root mean square jump", ylim=(0, 4))
    plots.legend(figure, columns=4)
    return figure


EXPERIMENT = Experiment(
    name="jump_size",
    summary=__doc__,
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=exact,
    figures={"jump_size": size, "jump_size_variation": variation},
    note="Jump of one input of the next layer: weights of both layers of variance 1, |x| = 1.",
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
