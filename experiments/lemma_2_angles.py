"""Lemmas 1 and 2: a pattern that the input has left on its way around is not met again.

Claimed: the inputs with one pattern are a convex set, so that without bias a pattern that ``x`` and a vector at the
angle ``phi`` share is that of every vector between them.
Drawn: Gaussian layers whose input turns from ``x`` by an angle: whether the pattern is that of ``x`` all the way
("kept", by the exact walk from change to change), and whether it changes and comes back ("returned"), which the lemmas
exclude.
Exact: the law of a pair at the end of the turn. By the lemmas it is the law of "kept", hence of the first change.
Seen: for one winner in ten, after one mean distance between changes the pattern is still there with probability 0.30 at
width 20 and 0.33 at widths 200 and 1,000, where changes at random places would give 1/e = 0.37. Half of all directions
have left the cell of ``x`` after 19 degrees at width 20 and after 0.0037 at width 100,000: like 1/width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from scipy import optimize

from kwta_theory import campaign, theory
from kwta_theory.campaign import Estimator, Outcome, Tally, register
from kwta_theory.campaign.estimators import Parameters, Value, real, whole
from kwta_theory.checks import check_width_and_winners
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main

LAYERS = {20: 2, 200: 20, 1000: 100}  # width: winners
TURNS = (0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0)  # in mean distances between two changes
TRIALS = {"quick": 1000, "standard": 10_000, "thorough": 100_000}


def resolve(given: Mapping[str, Value]) -> Parameters:
    """``width``, ``k`` and the ``angle`` in radians, below pi."""
    width, k = check_width_and_winners(whole("width", given["width"], 2), whole("k", given["k"], 1))
    angle = real("angle", given["angle"], 0.0, math.pi, open_minimum=True, open_maximum=True)
    return {"width": width, "k": k, "angle": angle}


def draw(parameters: Mapping[str, Value], trials: int, seed: int) -> Tally:
    """Layers whose input turns in a random plane."""
    import torch

    from kwta_theory import activation_pattern
    from kwta_theory.simulation.crossings import turn

    width, k, angle = int(parameters["width"]), int(parameters["k"]), float(parameters["angle"])
    generator = np.random.default_rng(np.random.SeedSequence(seed))
    start, ahead = torch.from_numpy(generator.standard_normal((2, trials, width)))
    kept = turn(start, ahead, k, angle)[0] == 0
    end = start * math.cos(angle) + ahead * math.sin(angle)
    returned = (activation_pattern(start, k) == activation_pattern(end, k)).all(dim=1) & ~kept
    return Tally(trials, {"kept": int(kept.sum()), "returned": int(returned.sum())})


register(
    Estimator(
        "pattern-around",
        1,
        "P(the pattern is that of x all the way while the input turns by an angle), Lemmas 1 and 2",
        ("width", "k", "angle"),
        resolve,
        # Each change on the way is a few looks at all outputs.
        lambda p: 40.0 * float(p["width"]),
        draw,
        (Outcome("kept"), Outcome("returned")),
    )
)


def same_at(width: int, k: int, angle: float) -> float:
    """The exact law at the end of the turn."""
    return theory.same_pattern(width, k, math.cos(angle))


def exact(row: Row) -> float:
    """By Lemma 2 the pattern is kept exactly where it is the same at the end, and never returns."""
    return 0.0 if row["outcome"] == "returned" else same_at(row["width"], row["k"], row["angle"])


def tasks(budget: str) -> list[campaign.Task]:
    """Turns of a fixed number of mean distances between changes, which are short in wide layers."""
    del budget
    return [
        campaign.Task.of("pattern-around", width=width, k=k, angle=turns / theory.boundary_density(width, k))
        for width, k in LAYERS.items()
        for turns in TURNS
    ]


def over_angle(found: Found) -> Figure:
    """The probability that the pattern is left, against the angle."""
    figure, (axis,) = plots.panels()
    for (width, k), color in zip(LAYERS.items(), plots.PALETTE, strict=False):
        angles = np.geomspace(0.02, min(4.0, 0.9 * math.pi * theory.boundary_density(width, k)), 50)
        angles /= theory.boundary_density(width, k)
        law = [same_at(width, k, angle) for angle in angles.tolist()]
        plots.law(axis, np.degrees(angles), law, label=f"l = {width:,}, k = {k}: exact, at the end", color=color)
        rows = found.select("angle", width=width, outcome="kept")
        degrees = [math.degrees(row["angle"]) for row in rows]
        plots.estimates(axis, degrees, rows, color=color, label=f"l = {width:,}: kept all the way, drawn")
    axis.set(
        xscale="log",
        xlabel="angle by which the input turns (degrees)",
        ylabel="P(the pattern is still that of x)",
        ylim=(0, 1),
    )
    plots.legend(figure, columns=2)
    return figure


def median_angle(width: int, k: int) -> float:
    """The angle that half of all directions reach in the cell of ``x``."""
    start = math.log(2.0) / theory.boundary_density(width, k)
    return float(optimize.brentq(lambda angle: same_at(width, k, angle) - 0.5, 0.1 * start, min(3.0, 10.0 * start)))


def over_width(found: Found) -> Figure:
    """How far half of all directions go, against the width."""
    del found
    figure, (axis,) = plots.panels()
    widths = [round(width, -1) for width in np.geomspace(20, 1e5, 9).astype(int).tolist()]
    for ratio, color in zip((0.05, 0.1, 0.3), plots.PALETTE, strict=False):
        ks = [max(1, round(ratio * width)) for width in widths]
        angles = [math.degrees(median_angle(width, k)) for width, k in zip(widths, ks, strict=True)]
        plots.law(axis, widths, angles, label=f"sparsity ratio {ratio}, exact", color=color, style="o-")
        rates = [theory.boundary_density(width, k) for width, k in zip(widths, ks, strict=True)]
        law = [math.degrees(math.log(2.0) / rate) for rate in rates]
        plots.law(axis, widths, law, label=f"{ratio}: changes at random places", color=color, style=":")
    axis.set(
        xscale="log", yscale="log", xlabel="width l (outputs)", ylabel="median angle to the first change (degrees)"
    )
    plots.legend(figure, columns=2)
    plots.caption(figure, "The angle at which P(same pattern) = 1/2 by the exact law of a pair; no sampling.")
    return figure


EXPERIMENT = Experiment(
    name="lemma_2_angles",
    summary=__doc__ or "",
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=exact,
    figures={"lemma_2_angles": over_angle, "lemma_2_angles_width": over_width},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
