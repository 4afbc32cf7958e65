"""Theorem 2: if ``l`` is sufficiently large, patterns of different inputs are disjoint "with a high probability".

The main text leaves two things open. The level: it is read as ``1 - delta``. And ``k``: Section 2.1 sets ``k =
floor(gamma l)``, Theorem 10, "the formal version", fixes ``k``. With ``k`` fixed the statement is Theorem 10 and is
judged so. With ``k = floor(gamma l)`` it is false at every large width: the overlap ``|A and A'|/k`` of two patterns
tends to ``P(X > q, Y > q)/gamma > 0`` (``q`` the upper ``gamma``-quantile, ``X, Y`` Gaussian with the pair's cosine),
so the probability of disjoint patterns tends to zero. That reading is the statement ``theorem-2-fixed-ratio``,
outside the default run because the formal version does not claim it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from kwta_theory import checks, theory
from kwta_theory.inputs import Inputs
from kwta_theory.statements import theorem_10, words
from kwta_theory.statements.case import Case, Curve, Statement
from kwta_theory.statements.disjointness import (
    ROUTE,
    check_points,
    disjoint_cases,
    disjoint_curves,
    pair_cosines,
    parameters,
)
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket

TEXT = (
    "For N points in different directions, if l is sufficiently large, then with a high probability the activation "
    "patterns are pairwise disjoint."
)


def cases(inputs: Inputs, settings: Settings) -> Iterator[Case]:
    """Those of Theorem 10, with what the other reading would say."""
    check_points(inputs)
    overlap = theory.limiting_overlap(settings.sparsity_ratio, pair_cosines(inputs)[0])
    note = (
        f"read with k = floor({settings.sparsity_ratio:g} l) instead of a fixed k, the closest pair of "
        f"{inputs.name} shares {overlap:.2g} of its winners in the limit: see theorem-2-fixed-ratio."
    )
    for case in disjoint_cases(inputs, settings):
        yield dataclasses.replace(case, note=note)


def check_ratio(settings: Settings) -> None:
    """A ratio below one half, so that disjoint patterns are possible at all."""
    if settings.sparsity_ratio >= 0.5:
        raise checks.InvalidArgumentError(
            f"sparsity_ratio={settings.sparsity_ratio!r} makes disjoint patterns impossible: it must be below 0.5."
        )


def fixed_ratio_cases(inputs: Inputs, settings: Settings) -> Iterator[Case]:
    """Growing widths, with ``k`` growing in proportion: the failure probability of the closest pair only grows."""
    check_points(inputs)
    closest = pair_cosines(inputs)[0]
    for width in sorted({settings.width, 10**5, 10**7, 10**9}):
        yield fixed_ratio_case(inputs, settings, width, closest)


def fixed_ratio_case(inputs: Inputs, settings: Settings, width: int, closest: float) -> Case:
    """The claim at one width, decided by the closest pair alone."""
    k = checks.winners(width, settings.sparsity_ratio)
    overlap = theory.limiting_overlap(settings.sparsity_ratio, closest)
    log_disjoint = theory.disjoint_patterns(width, k, closest, log=True)

    def exact() -> LogBracket:
        # One pair that intersects is enough, so the closest pair bounds the failure probability from below.
        failure = -math.expm1(log_disjoint)
        return LogBracket(math.log(failure) if failure > 0 else -math.inf, 0.0, ROUTE)

    return Case(
        parameters=parameters(inputs, settings) | {"k": k},
        log_width=math.log(width),
        claimed=words.at_least(math.log(settings.failure)),
        claimed_log_failure=math.log(settings.failure),
        granted_log_width=None,
        exact=exact,
        exact_call=f"from kwta_theory import theory; theory.disjoint_patterns({width}, {k}, {closest!r}, log=True)",
        note=(
            f"on {inputs.name} at width {words.width(math.log(width))} the patterns of the closest pair are disjoint "
            f"with probability {words.probability(log_disjoint)}; in the limit it shares {overlap:.3g} of its winners."
        ),
    )


def fixed_ratio_curves(inputs: Inputs, settings: Settings) -> list[Curve]:
    """The probability that the closest pair intersects, at growing widths and a fixed ratio."""
    closest = pair_cosines(inputs)[0]
    low, high = math.log(2 / settings.sparsity_ratio), math.log(1e6)
    widths = [round(math.exp(low + (high - low) * i / 24)) for i in range(25)]
    failures = []
    for width in widths:
        log_disjoint = theory.disjoint_patterns(
            width, checks.winners(width, settings.sparsity_ratio), closest, log=True
        )
        failures.append(math.log(-math.expm1(log_disjoint)))
    logs = tuple(map(math.log, widths))
    return [
        Curve("exact law of the closest pair", "exact", logs, tuple(failures)),
        Curve("claimed", "claimed", logs[-2:], (math.log(settings.failure),) * 2),
    ]


STATEMENT = Statement(
    "theorem-2", "Theorem 2 (k fixed)", TEXT, theorem_10.check_hypotheses, cases, disjoint_curves, scope="k fixed"
)
FIXED_RATIO = Statement(
    "theorem-2-fixed-ratio",
    "Theorem 2 read with k = floor(gamma l)",
    TEXT,
    check_ratio,
    fixed_ratio_cases,
    fixed_ratio_curves,
    scope="k = floor(gamma l)",
)
