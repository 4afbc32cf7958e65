"""Lemma 8: how fast the tail of a chi-square variable falls.

Claimed: for ``R`` sufficiently large, ``P(Z >= (1+eps) R) <= eta P(R <= Z <= (1+eps) R)``, ``Z`` chi-square with ``m``
degrees of freedom. The proof asks for three inequalities that make "sufficiently large" a number ``R0(m, eps, eta)``.
Drawn: ``Z`` given ``Z >= R``, and whether it is beyond ``(1+eps) R``: with probability ``r/(1+r)``, ``r`` the ratio.
Exact: the ratio from the tails, and the smallest ``R`` at which it is ``eta``.
Seen, at ``eps = 0.5`` and ``eta = 0.01``: true from ``R = 18.5`` on for ``m = 2``, 24.5 for 10 and 54.5 for 50, while
the proof grants it from 41, 380 and 3085 on. Twice too far for ``m = 2``, some hundred times for the dimension of
MNIST.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from kwta_theory import campaign, seeding, theory
from kwta_theory.campaign.estimators import Parameters, Value, real, whole
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.lemma_8 import tail_sample
from kwta_theory.theory.chi_square import chi_square_log_ratio

EPSILON, ETA = 0.5, 0.01
DEGREES = {2: plots.PALETTE[0], 10: plots.PALETTE[1], 50: plots.PALETTE[3]}
# Where Z is drawn: R over m.
PLACES = {2: (1, 2, 4, 7, 11), 10: (1, 1.5, 2, 2.5, 3), 50: (1, 1.05, 1.1, 1.15, 1.2)}
TRIALS = {"quick": 20_000, "standard": 200_000, "thorough": 2_000_000}


def resolve(given: Mapping[str, Value]) -> Parameters:
    """``degrees``, ``epsilon`` and a ``radius`` of at least ``degrees``, where the tail is drawn by rejection."""
    degrees = whole("degrees", given["degrees"], 2)
    return {
        "degrees": degrees,
        "epsilon": real("epsilon", given["epsilon"], 0.0, 1.0, open_minimum=True, open_maximum=True),
        "radius": real("radius", given["radius"], degrees, math.inf),
    }


def draw(parameters: Mapping[str, Value], trials: int, seed: int) -> campaign.Tally:
    """``Z`` beyond ``R``, as often as asked for, and in how many trials it is beyond ``(1+eps) R``."""
    degrees, radius = int(parameters["degrees"]), float(parameters["radius"])
    sample, number = np.empty(0), 0
    while len(sample) < trials:
        drawn = tail_sample(radius, degrees, 2 * trials, seeding.derive(seed, number))
        sample, number = np.append(sample, drawn), number + 1
    beyond = sample[:trials] >= (1.0 + float(parameters["epsilon"])) * radius
    return campaign.Tally(trials, {"beyond": int(beyond.sum())})


campaign.register(
    campaign.Estimator(
        "chi-square-tail",
        1,
        "P(Z >= (1+epsilon) radius | Z >= radius), Z chi-square with some degrees of freedom, Lemma 8",
        ("degrees", "epsilon", "radius"),
        resolve,
        lambda _: 10.0,
        draw,
        (campaign.Outcome("beyond"),),
    )
)


def tasks(budget: str) -> list[campaign.Task]:
    """Radii from the mean on at which the ratio is not too small to be seen."""
    del budget
    return [
        campaign.Task.of("chi-square-tail", chunk_trials=5000, degrees=m, epsilon=EPSILON, radius=place * m)
        for m, places in PLACES.items()
        for place in places
    ]


def exact(row: Row) -> float:
    """``r/(1+r)`` from the ratio ``r`` of the lemma."""
    ratio = math.exp(chi_square_log_ratio(row["radius"], row["epsilon"], row["degrees"]))
    return ratio / (1 + ratio)


def table(budget: str, seed: int) -> list[Row]:
    """Both radii over a grid."""
    del budget, seed
    return [
        {
            "degrees": m,
            "epsilon": epsilon,
            "eta": eta,
            "radius_granted": theory.lemma8_radius(m, epsilon, eta),
            "radius_exact": theory.lemma8_exact_radius(m, epsilon, eta),
        }
        for m in (*DEGREES, 784)
        for epsilon in (0.01, 0.1, 0.5, 0.9)
        for eta in (0.1, ETA, 1e-12)
    ]


def over_radius(found: Found) -> Figure:
    """The ratio, where it reaches eta, and where the proof grants it."""
    figure, (axis,) = plots.panels()
    for degrees, color in DEGREES.items():
        radii = np.geomspace(degrees / 2, 100 * degrees, 200)
        ratios = [chi_square_log_ratio(radius, EPSILON, degrees) for radius in radii]
        plots.law(axis, radii, ratios, label=f"m = {degrees}: exact ratio", color=color, log=True, from_log=True)
        odds = [
            (row["radius"], *(p / (1 - p) for p in (row["estimate"], row["lower"], row["upper"])))
            for row in found.select("radius", degrees=degrees)
        ]
        plots.marks(axis, odds, label=f"m = {degrees}: measured", color=color, log=True, bounded=False)
        granted = theory.lemma8_radius(degrees, EPSILON, ETA)
        axis.plot(granted, math.log10(ETA), "*", color=color, markersize=12, label=f"m = {degrees}: R0 of the proof")
    axis.axhline(math.log10(ETA), color=plots.CLAIMED, linewidth=1, linestyle="--", label=f"eta = {ETA}")
    axis.set(xscale="log", ylim=(-5, 1), xlabel="R", ylabel="log10 of the ratio")
    axis.set_title(f"P(Z >= (1+eps) R) / P(R <= Z <= (1+eps) R), eps = {EPSILON}")
    plots.legend(figure)
    return figure


def over_epsilon(found: Found) -> Figure:
    """How much farther out the proof begins than the truth."""
    del found
    figure, axes = plots.panels(2, share_y=True)
    for axis, eta in zip(axes, (ETA, 1e-12), strict=True):
        for degrees, color in {**DEGREES, 784: plots.PALETTE[4]}.items():
            epsilons = np.geomspace(0.01, 0.99, 40)
            factor = [
                theory.lemma8_radius(degrees, e, eta) / theory.lemma8_exact_radius(degrees, e, eta) for e in epsilons
            ]
            plots.law(axis, epsilons, factor, label=f"m = {degrees}", color=color)
        axis.set(xscale="log", yscale="log", xlabel="eps", title=f"eta = {eta:g}")
    axes[0].set_ylabel("R0 of the proof over the smallest R")
    plots.legend(figure, columns=4)
    plots.caption(figure, "Exact law; nothing is sampled.")
    return figure


EXPERIMENT = Experiment(
    name="lemma_8",
    summary=__doc__,
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=exact,
    table=table,
    figures={"lemma_8_radius": over_radius, "lemma_8_epsilon": over_epsilon},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
