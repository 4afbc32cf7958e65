"""What Theorems 2, 10 and 11 need: the probability that the patterns of ``N`` points are pairwise disjoint.

For a pair the law is exact. For ``N`` points the pairs bracket it: the probability that some pair intersects lies
between the largest probability of a pair and the sum over pairs. The bracket reaches every width, also the one that
the proof of Theorem 10 grants, whose logarithm is in the thousands or millions.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np

from kwta_theory import checks, theory
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Case, Curve, FirstTrue, Sample
from kwta_theory.statements.search import smallest_log_width, widths_to_measure
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket

# The relative accuracy that the laws of a pair are tested to; a bracket leaves room for it.
LAW_ACCURACY = 1e-8
ROUTE = "the exact law of a pair, bracketed over pairs"
# So many different cosines are summed one by one, at about 5 ms each; 10 points have 45.
MOST_COSINES = 64


def check_points(inputs: Inputs) -> None:
    """At least two points, all in different directions: the hypothesis of Theorem 2."""
    if inputs.count < 2:
        raise checks.InvalidArgumentError(
            f"inputs {inputs.name!r} hold {inputs.count} point: disjointness speaks of at least 2."
        )
    if inputs.input_dim < 2:
        raise checks.InvalidArgumentError(
            f"inputs {inputs.name!r} have dimension 1: the proof of Theorem 10 (Lemma 8) supposes at least 2."
        )
    checks.check_points(inputs.name, inputs.points, distinct_directions=True)
    if pair_cosines(inputs)[0] >= 1.0:
        raise checks.InvalidArgumentError(
            f"inputs {inputs.name!r} hold two rows at an angle below 1e-8: their cosine is 1 in double precision, "
            "outside the hypothesis of Theorem 10, (0.5, 1)."
        )


def pair_cosines(inputs: Inputs) -> tuple[float, ...]:
    """Cosines of all pairs, largest first."""
    matrix = inputs.cosines()
    pairs = matrix[np.triu_indices(len(matrix), 1)]
    return tuple(np.sort(np.clip(pairs, -1.0, 1.0))[::-1].tolist())


def bounding_cosine(inputs: Inputs) -> float:
    """The ``alpha`` of Theorem 10: at least every cosine, and in (0.5, 1) as the theorem wants it."""
    return max(pair_cosines(inputs)[0], math.nextafter(0.5, 1.0))


@functools.lru_cache(maxsize=4096)
def bracket(cosines: tuple[float, ...], k: int, log_width: float) -> LogBracket:
    """Bracket of ``log P(some pair of patterns intersects)``, with room for the accuracy of the law of a pair."""
    width = round(math.exp(log_width)) if log_width < math.log(2**53) else None
    if width is not None and width < 2 * k:
        return LogBracket(0.0, 0.0, f"counting: {k} + {k} winners do not fit into a width of {width}")
    size = (width, None) if width is not None else (None, log_width)
    values, counts = np.unique(cosines, return_counts=True)
    route = ROUTE
    if len(values) > MOST_COSINES:
        values, counts = rounded_up(np.asarray(cosines))
        route += ", cosines rounded up" + ("" if k == 1 else " (supposing that the law grows with the cosine)")
    chances = [log_intersecting(k, cosine, *size) for cosine in values.tolist()]
    closest = log_intersecting(k, max(cosines), *size)
    return LogBracket(
        (max(chances) if len(values) == len(set(cosines)) else closest) + math.log1p(-LAW_ACCURACY),
        min(float(np.logaddexp.reduce(np.log(counts) + chances)) + math.log1p(LAW_ACCURACY), 0.0),
        route,
    )


def rounded_up(cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines raised to the next of :data:`MOST_COSINES` values, and how many pairs each of these then has.

    The values are spaced evenly in ``log(1 - cosine)``, which resolves the close pairs that matter; the largest is the
    largest cosine itself. For ``k = 1`` the probability of a shared winner grows with the cosine (Slepian's
    inequality), so the sum over the raised cosines bounds the true one from above. For larger ``k`` that is supposed,
    not proved (a test looks at a grid of cosines), and the bracket says so.
    """
    gaps = 1.0 - np.clip(cosines, -1.0, 1.0)
    edges = np.geomspace(gaps.min(), gaps.max(), MOST_COSINES)
    edges[0], edges[-1] = gaps.min(), gaps.max()
    index = np.searchsorted(edges, gaps, side="right") - 1  # the largest edge that is not above the gap
    used, counts = np.unique(index, return_counts=True)
    return 1.0 - edges[used], counts


@functools.lru_cache(maxsize=65536)
def log_intersecting(k: int, cosine: float, width: int | None, log_width: float | None) -> float:
    """``log P(the patterns of a pair share a winner)``, remembered: three theorems ask for the same pairs."""
    return theory.intersecting_patterns(width, k, cosine, log=True, log_width=log_width)


@functools.lru_cache(maxsize=256)
def first_disjoint(cosines: tuple[float, ...], k: int, failure: float, largest: float) -> FirstTrue:
    """Between which widths the conclusion becomes true: false below the first, true above the second.

    Below the first width the closest pair alone intersects too often; from the second on the sum over pairs is small
    enough. ``largest`` is where the search gives up.
    """
    smallest, level = math.log(2 * k + 1), math.log(failure)
    closest = cosines[:1]
    false_below = smallest_log_width(lambda x: bracket(closest, k, x).lower - level, smallest, largest)
    if false_below is None:
        return FirstTrue(f"at no width up to {words.width(largest)} (exact law)", None)
    true_above = smallest_log_width(lambda x: bracket(cosines, k, x).upper - level, false_below, largest)
    if true_above is None:
        return FirstTrue(f"not before width {words.width(false_below)} (exact law of the closest pair)", None)
    return FirstTrue(
        f"at a width between {words.width(false_below)} and {words.width(true_above)} "
        f"({bracket(cosines, k, true_above).route})",
        true_above,
    )


def granted_log_width(inputs: Inputs, settings: Settings) -> float:
    """``log`` of the width that the proof of Theorem 10 grants for these points."""
    return theory.theorem10_log_width(
        inputs.count, inputs.input_dim, settings.k, bounding_cosine(inputs), settings.failure
    )


def disjoint_cases(inputs: Inputs, settings: Settings) -> Iterator[Case]:
    """The claim at the width asked for, where it is first true if that can be drawn, and at the proof's width."""
    check_points(inputs)
    granted = granted_log_width(inputs, settings)
    first = first_disjoint(pair_cosines(inputs), settings.k, settings.failure, granted)
    for width in widths_to_measure(settings, first):
        yield disjoint_case(inputs, settings, width, math.log(width), granted)
    yield disjoint_case(inputs, settings, None, granted, granted)


def disjoint_case(inputs: Inputs, settings: Settings, width: int | None, log_width: float, granted: float) -> Case:
    """The claim "all patterns are pairwise disjoint with probability at least ``1 - delta``" at one width.

    ``width`` is ``None`` where it is beyond simulation.
    """
    cosines = pair_cosines(inputs)

    def simulate(trials: int, seed: int) -> Sample:
        from kwta_theory import simulation

        if width is None:
            raise ValueError("This width is beyond simulation.")

        counts = simulation.disjoint_patterns(
            width,
            settings.k,
            trials=trials,
            points=inputs.points,
            seed=seed,
            device=settings.device,
            memory_budget=settings.memory_budget,
            workers=settings.workers,
        )
        return Sample(counts.all_pairs)

    return Case(
        parameters=parameters(inputs, settings),
        log_width=log_width,
        claimed=words.at_least(math.log(settings.failure)),
        claimed_log_failure=math.log(settings.failure),
        granted_log_width=granted,
        exact=lambda: bracket(cosines, settings.k, log_width),
        exact_call=(
            "from kwta_theory import theory; "
            f"theory.disjoint_patterns_bounds(None, {settings.k}, {cosines}, log_width={log_width!r})"
        ),
        simulate=None if width is None else simulate,
        simulate_call=(
            f"from kwta_theory import simulation; simulation.disjoint_patterns({width}, {settings.k}, "
            "trials={trials}, points=points, seed={seed})"
        ),
        normals_per_trial=float((width or 0) * min(inputs.count, inputs.input_dim)),
        first_true=lambda: first_disjoint(cosines, settings.k, settings.failure, granted),
    )


def parameters(inputs: Inputs, settings: Settings) -> dict[str, int | float | str]:
    """The parameters that the three theorems share."""
    return {
        "m": inputs.input_dim,
        "N": inputs.count,
        "k": settings.k,
        "largest cosine": float(f"{pair_cosines(inputs)[0]:.6g}"),
        "delta": settings.failure,
    }


def disjoint_curves(inputs: Inputs, settings: Settings) -> list[Curve]:
    """The bracket against the width, from small layers to where it has become true, and the claimed level."""
    cosines = pair_cosines(inputs)
    granted = granted_log_width(inputs, settings)
    first = first_disjoint(cosines, settings.k, settings.failure, granted).log_width
    low, high = math.log(4 * settings.k), 1.5 * max(first or 0.0, math.log(settings.width))
    logs = tuple(low + (high - low) * i / 15 for i in range(16))
    brackets = [bracket(cosines, settings.k, x) for x in logs]
    return [
        Curve(
            "exact, bracketed over pairs",
            "bracket",
            logs,
            tuple(b.upper for b in brackets),
            tuple(b.lower for b in brackets),
        ),
        Curve("claimed", "claimed", (granted, 2 * granted), (math.log(settings.failure),) * 2),
    ]
