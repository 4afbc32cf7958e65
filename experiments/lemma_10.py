"""Lemma 10: the probability that a Gaussian vector lies in a cap, beside the bound that a net gives.

Claimed: ``P(<x, y>/(|x| |y|) >= beta) >= 1/(1 + 1/sqrt(2(1-beta)))^m`` for ``y ~ N(0, I_m)`` and ``beta in (0.5, 1)``.
Drawn: Gaussian vectors, and whether they lie in the cap. Exact: the area of the cap.
Seen: true everywhere, with equality only in the limit of ``m = 1`` and ``beta = 1/2``. For large ``m`` area over bound
grows like ``((1 + s) sqrt(1 - s^2/4))^m``, ``s = sqrt(2(1-beta))``: 1.14 per dimension at ``beta = 0.99``, 1.73 at 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from kwta_theory import campaign, theory
from kwta_theory.campaign.estimators import Parameters, Value, real, whole
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.lemma_10 import log_bound

COSINES = {0.6: plots.PALETTE[0], 0.9: plots.PALETTE[1], 0.99: plots.PALETTE[3]}
DIMS = range(1, 41)
TRIALS = {"quick": 50_000, "standard": 500_000, "thorough": 5_000_000}


def resolve(given: Mapping[str, Value]) -> Parameters:
    """``input_dim`` and ``cosine``."""
    return {
        "input_dim": whole("input_dim", given["input_dim"], 1),
        "cosine": real("cosine", given["cosine"], -1.0, 1.0),
    }


def draw(parameters: Mapping[str, Value], trials: int, seed: int) -> campaign.Tally:
    """Gaussian vectors, and how many lie within the angle of the first axis."""
    points = np.random.default_rng(np.random.SeedSequence(seed)).standard_normal((trials, int(parameters["input_dim"])))
    inside = points[:, 0] >= float(parameters["cosine"]) * np.linalg.norm(points, axis=1)
    return campaign.Tally(trials, {"inside": int(inside.sum())})


campaign.register(
    campaign.Estimator(
        "cap",
        1,
        "P(a Gaussian vector lies within an angle of a given one), Lemma 10",
        ("input_dim", "cosine"),
        resolve,
        lambda parameters: float(parameters["input_dim"]),
        draw,
        (campaign.Outcome("inside"),),
    )
)


def tasks(budget: str) -> list[campaign.Task]:
    """Dimensions in which the cap is hit often enough to be seen."""
    least = math.log(10 / TRIALS[budget])
    places = [(m, c) for c in COSINES for m in DIMS if m < 5 or m % 3 == 0]
    return [
        campaign.Task.of("cap", chunk_trials=10_000, input_dim=m, cosine=c)
        for m, c in places
        if theory.log_cap_fraction(m, c) > least
    ]


def exact(row: Row) -> float:
    """The area of the cap."""
    return math.exp(theory.log_cap_fraction(row["input_dim"], row["cosine"]))


def over_dimension(found: Found) -> Figure:
    """Area and bound: both fall geometrically, the bound faster."""
    figure, (axis,) = plots.panels()
    for cosine, color in COSINES.items():
        area = [theory.log_cap_fraction(m, cosine) for m in DIMS]
        bound = [log_bound(m, cosine) for m in DIMS]
        plots.law(axis, DIMS, area, label=f"beta = {cosine}: exact", color=color, log=True, from_log=True)
        plots.law(axis, DIMS, bound, label=f"beta = {cosine}: bound", color=color, log=True, from_log=True, style="--")
        drawn = found.select("input_dim", cosine=cosine)
        plots.estimates(axis, "input_dim", drawn, label=f"beta = {cosine}: measured", color=color, log=True)
    axis.set(ylim=(-12, 0.3), xlabel="dimension m", ylabel="log10 of the probability of the cap")
    plots.legend(figure)
    return figure


def over_cosine(found: Found) -> Figure:
    """Area over bound to the power 1/m: above 1 throughout, which is the lemma."""
    del found
    figure, (axis,) = plots.panels()
    gaps = np.geomspace(1e-6, 0.5 * (1 - 1e-9), 200)
    for input_dim, color in zip((1, 2, 3, 10, 100, 784), plots.PALETTE, strict=False):
        room = [(theory.log_cap_fraction(input_dim, 1 - g) - log_bound(input_dim, 1 - g)) / input_dim for g in gaps]
        plots.law(axis, gaps, room, label=f"m = {input_dim}", color=color, from_log=True)
    # The limit: sin = s sqrt(1 - s^2/4) over 1/(1 + 1/s), s = sqrt(2 (1-beta)).
    side = np.sqrt(2 * gaps)
    plots.law(axis, gaps, (1 + side) * np.sqrt(1 - side**2 / 4), label="limit of large m", color="black", style=":")
    axis.axhline(1, color=plots.CLAIMED, linestyle="--", label="the lemma: at least 1")
    axis.set(xscale="log", ylim=(0.95, 3), xlabel="1 - beta", ylabel="(probability over bound)^(1/m)")
    plots.legend(figure, columns=4)
    plots.caption(figure, "Exact areas; nothing is sampled.")
    return figure


EXPERIMENT = Experiment(
    name="lemma_10",
    summary=__doc__,
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=exact,
    figures={"lemma_10_dimension": over_dimension, "lemma_10_cosine": over_cosine},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
