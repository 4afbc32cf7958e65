"""Theorem 11: in a wide enough layer some ``v`` interpolates any labels, ``<v, phi_k(W x_i)> = z_i``.

Hypotheses as in Theorem 10, whose disjointness the proof uses. Disjointness is sufficient, not necessary: a ``v``
exists for every choice of labels exactly when the ``N`` features ``phi_k(W x_i)`` are linearly independent. For ``k =
1`` the two are the same event (almost surely), so the law of Theorem 10 is the law of Theorem 11; for ``k >= 2`` it
only bounds the failure probability from above, and the width from which a ``v`` exists is found by simulation.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kwta_theory import seeding
from kwta_theory.confidence import Decision, Proportion, decide, unanimous_trials_needed
from kwta_theory.inputs import Inputs
from kwta_theory.statements import theorem_10
from kwta_theory.statements.case import Case, Curve, FirstTrue, Sample, Statement
from kwta_theory.statements.disjointness import disjoint_cases, disjoint_curves, drawn_size, widths_to_judge
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket


def labels(inputs: Inputs, settings: Settings) -> np.ndarray:
    """Labels to interpolate: independent standard normals, since the theorem allows any."""
    seed = seeding.derive(settings.seed, "theorem-11", "labels")
    return np.random.default_rng(seed).standard_normal(inputs.count)


def interpolate(
    inputs: Inputs, settings: Settings, size: Mapping[str, Any], trials: int, seed: int
) -> tuple[Proportion, str]:
    """Trials in which some ``v`` exists, and how the proof's own ``v`` fared; ``size`` says how wide the layer is."""
    from kwta_theory import simulation

    result = simulation.interpolation(
        k=settings.k,
        labels=labels(inputs, settings),
        trials=trials,
        points=inputs.points,
        seed=seed,
        device=settings.device,
        memory_budget=settings.memory_budget,
        workers=settings.workers,
        **size,
    )
    remark = (
        f"the patterns were disjoint in {result.disjoint.successes:,} trials, the proof's v could be built in "
        f"{result.proof_vector.successes:,} and some v existed in {result.any_vector.successes:,} of {trials:,} trials"
    )
    return result.any_vector, remark


def cases(inputs: Inputs, settings: Settings) -> Iterator[Case]:
    """Those of Theorem 10, with the conclusion of Theorem 11."""
    for case, (width, log_width) in zip(
        disjoint_cases(inputs, settings), widths_to_judge(inputs, settings), strict=True
    ):
        yield interpolation_case(inputs, settings, case, *drawn_size(width, log_width))


def interpolation_case(inputs: Inputs, settings: Settings, case: Case, size: Mapping[str, Any], call: str) -> Case:
    """A case of Theorem 10 turned into the claim that some ``v`` interpolates the labels."""

    def exact() -> LogBracket:
        if case.exact is None:
            raise ValueError("A case of Theorem 10 comes with its exact law.")
        law = case.exact()
        if settings.k == 1:
            return law
        return LogBracket(-math.inf, law.upper, f"{law.route}, since disjoint patterns suffice")

    def simulate(trials: int, seed: int) -> Sample:
        return Sample(*interpolate(inputs, settings, size, trials, seed))

    search = case.first_true if settings.k == 1 else functools.partial(first_interpolation, inputs, settings)
    return dataclasses.replace(
        case,
        exact=exact,
        simulate=simulate,
        simulate_call=(
            f"from kwta_theory import simulation; simulation.interpolation(k={settings.k}, {call}, labels=labels, "
            "trials={trials}, points=points, seed={seed})"
        ),
        # The rank of the features costs about as much again as drawing and selecting.
        normals_per_trial=2 * case.normals_per_trial,
        first_true=search,
    )


def first_interpolation(inputs: Inputs, settings: Settings) -> FirstTrue:
    """The first of the widths ``2k, 4k, 8k, ...`` up to the one asked for at which counting decides for the claim."""
    error = settings.budget.search_error
    needed = unanimous_trials_needed(1 - settings.failure, error, Decision.ABOVE) or 0
    width = 2 * settings.k
    while width <= settings.width:
        trials = settings.budget.trials(2.0 * width * min(inputs.count, inputs.input_dim))
        if trials < needed:
            return FirstTrue(f"at no width up to {width:,}, where the budget of simulation ends", None)

        def draw(chunk: int, trials: int, width: int = width) -> Proportion:
            seed = seeding.derive(settings.seed, "theorem-11", "first-true", width, chunk)
            return interpolate(inputs, settings, {"width": width}, trials, seed)[0]

        result = decide(draw, 1 - settings.failure, error, min(trials, 20_000))
        if result.decision is Decision.ABOVE:
            return FirstTrue(f"at width {width:,} (simulation, widths doubled)", math.log(width))
        width *= 2
    return FirstTrue(f"at no width up to {settings.width:,} (simulation, widths doubled)", None)


def curves(inputs: Inputs, settings: Settings) -> list[Curve]:
    """The bracket of Theorem 10; for ``k >= 2`` only its upper edge speaks of Theorem 11."""
    bracket, proved, claimed = disjoint_curves(inputs, settings)
    if settings.k == 1:
        return [bracket, proved, claimed]
    upper = dataclasses.replace(
        bracket, label="upper bound: patterns not disjoint", kind="exact", log_failure_lower=None
    )
    return [upper, proved, claimed]


STATEMENT = Statement(
    "theorem-11",
    "Theorem 11",
    "Under the hypotheses of Theorem 10, with probability at least 1 - delta there is a vector v with "
    "<v, phi_k(W x_i)> = z_i for all i.",
    theorem_10.check_hypotheses,
    cases,
    curves,
)
