"""What Theorems 2, 10 and 11 need: the probability that the patterns of ``N`` points are pairwise disjoint.

For a pair the law is exact. For ``N`` points the pairs bracket it: the probability that some pair intersects lies
between the largest probability of a pair and the sum over pairs. The bracket reaches every width, also the one that
the proof of Theorem 10 grants, whose logarithm is in the thousands or millions.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from kwta_theory import checks, seeding, theory
from kwta_theory.confidence import Decision, Proportion, unanimous_trials_needed
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Case, Curve, FirstTrue, Sample
from kwta_theory.statements.search import LARGEST_MEASURED_WIDTH, smallest_log_width, widths_to_measure
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.threshold import RESOLUTION, STEPS, Crossing, crossing
from kwta_theory.statements.verdict import LogBracket

# The relative accuracy that the laws of a pair are tested to; a bracket leaves room for it.
LAW_ACCURACY = 1e-8
ROUTE = "the exact law of a pair, bracketed over pairs"
# A decision of the search for the crossing may spend this part of what one claim may.
DECISIONS_PER_BUDGET = 4
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
def law_widths(cosines: tuple[float, ...], k: int, failure: float, largest: float) -> tuple[float | None, float | None]:
    """``log`` of two widths: below the first the conclusion is false, from the second on it is true.

    Below the first width the closest pair alone intersects too often; from the second on the sum over pairs is small
    enough. ``None`` where the search, which ends at ``largest``, did not find it.
    """
    smallest, level = math.log(2 * k + 1), math.log(failure)
    closest = cosines[:1]
    false_below = smallest_log_width(lambda x: bracket(closest, k, x).lower - level, smallest, largest)
    if false_below is None:
        return None, None
    return false_below, smallest_log_width(lambda x: bracket(cosines, k, x).upper - level, false_below, largest)


def measured_crossing(inputs: Inputs, settings: Settings) -> Crossing | None:
    """Between which widths drawn layers first reach the level; ``None`` where counting would add nothing.

    Any width can be drawn: ``method="tail"`` draws the rows that can win and no others.
    """
    below, above = law_widths(pair_cosines(inputs), settings.k, settings.failure, granted_log_width(inputs, settings))
    if below is None or above is None or above - below <= RESOLUTION:
        return None  # not found, or known better than counting could: for two points the law is exact
    trials = settings.budget.trials(DECISIONS_PER_BUDGET * tail_cost(inputs, settings.k))
    needed = unanimous_trials_needed(1 - settings.failure, settings.budget.search_error, Decision.ABOVE)
    if needed is None or trials < needed:
        return None
    return search_crossing(
        inputs.points.tobytes(),
        inputs.points.shape,
        settings.k,
        settings.failure,
        below,
        above,
        trials,
        settings.budget.search_error,
        settings.seed,
        settings.device,
        settings.memory_budget,
        settings.workers,
    )


@functools.lru_cache(maxsize=64)
def search_crossing(
    points: bytes,
    shape: tuple[int, int],
    k: int,
    failure: float,
    low: float,
    high: float,
    trials: int,
    error: float,
    seed: int,
    device: str,
    memory_budget: int,
    workers: int,
) -> Crossing:
    """The search itself, remembered: three theorems ask for the same points."""
    array = np.frombuffer(points).reshape(shape)
    # In narrower layers most rows can win: there is nothing to save, and all of them are drawn.
    narrow = math.log(8 * shape[0] * (k + 8 * math.sqrt(k) + 18))

    def draw(log_width: float, count: int, seed: int) -> Proportion:
        from kwta_theory import simulation

        size, _ = drawn_size(round(math.exp(log_width)) if log_width < narrow else None, log_width)
        return simulation.disjoint_patterns(
            k=k,
            trials=count,
            points=array,
            seed=seed,
            device=device,
            memory_budget=memory_budget,
            workers=workers,
            **size,
        ).all_pairs

    seed = seeding.derive(seed, "disjoint", "crossing")
    return crossing(draw, 1 - failure, low, high, trials, 2 * STEPS * error, seed)


def tail_cost(inputs: Inputs, k: int) -> float:
    """What one trial of the tail simulation costs, in normals: some rows for each winner of each input, at all inputs.

    Twice their number: sorting out who wins takes as long again as drawing.
    """
    return 2 * (k + 4 * math.sqrt(k) + 8) * inputs.count * min(inputs.count, inputs.input_dim)


def first_disjoint(inputs: Inputs, settings: Settings) -> FirstTrue:
    """Between which widths the conclusion becomes true: by the exact law, and measured."""
    cosines, granted = pair_cosines(inputs), granted_log_width(inputs, settings)
    below, above = law_widths(cosines, settings.k, settings.failure, granted)
    if below is None:
        return FirstTrue(f"at no width up to {words.width(granted)} (exact law)", None)
    if above is None:
        return FirstTrue(f"not before width {words.width(below)} (exact law of the closest pair)", None)
    found = measured_crossing(inputs, settings)
    by_law = (
        f"at a width between {words.width(below)} and {words.width(above)} "
        f"({bracket(cosines, settings.k, above).route})"
    )
    if found is None:
        return FirstTrue(by_law, above)
    return FirstTrue(
        f"{by_law}, between {words.width(found.below)} and {words.width(found.above)} by counting at "
        f"{found.decisions} widths, up to {found.trials:,} layers each",
        found.above,
    )


def granted_log_width(inputs: Inputs, settings: Settings) -> float:
    """``log`` of the width that the proof of Theorem 10 grants for these points."""
    return theory.theorem10_log_width(
        inputs.count, inputs.input_dim, settings.k, bounding_cosine(inputs), settings.failure
    )


def disjoint_cases(inputs: Inputs, settings: Settings) -> Iterator[Case]:
    """The claim at the width asked for, where it is first true, and at the proof's width."""
    check_points(inputs)
    granted = granted_log_width(inputs, settings)
    for width, log_width in widths_to_judge(inputs, settings):
        yield disjoint_case(inputs, settings, width, log_width, granted)


def widths_to_judge(inputs: Inputs, settings: Settings) -> list[tuple[int | None, float]]:
    """``(width, log width)``; the width is ``None`` where only the rows that can win are drawn."""
    first = first_disjoint(inputs, settings)
    judged: list[tuple[int | None, float]] = [(width, math.log(width)) for width in widths_to_measure(settings, first)]
    if first.log_width is not None and first.log_width > math.log(LARGEST_MEASURED_WIDTH):
        judged.append((None, first.log_width))
    return [*judged, (None, granted_log_width(inputs, settings))]


def disjoint_case(inputs: Inputs, settings: Settings, width: int | None, log_width: float, granted: float) -> Case:
    """The claim "all patterns are pairwise disjoint with probability at least ``1 - delta``" at one width.

    ``width`` is ``None`` where only the rows that can win are drawn, at any width.
    """
    cosines = pair_cosines(inputs)
    size, call = drawn_size(width, log_width)

    def simulate(trials: int, seed: int) -> Sample:
        from kwta_theory import simulation

        counts = simulation.disjoint_patterns(
            k=settings.k,
            trials=trials,
            points=inputs.points,
            seed=seed,
            device=settings.device,
            memory_budget=settings.memory_budget,
            workers=settings.workers,
            **size,
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
        simulate=simulate,
        simulate_call=(
            f"from kwta_theory import simulation; simulation.disjoint_patterns(k={settings.k}, {call}, "
            "trials={trials}, points=points, seed={seed})"
        ),
        normals_per_trial=(
            tail_cost(inputs, settings.k) if width is None else float(width * min(inputs.count, inputs.input_dim))
        ),
        first_true=lambda: first_disjoint(inputs, settings),
        also=(lambda: threshold_argument(inputs, settings, log_width),),
    )


def drawn_size(width: int | None, log_width: float) -> tuple[dict[str, Any], str]:
    """The arguments of an estimator that say how wide the layer is, also as source text."""
    size = {"width": width} if width is not None else {"width": None, "log_width": log_width, "method": "tail"}
    return size, ", ".join(f"{name}={value!r}" for name, value in size.items())


def threshold_argument(inputs: Inputs, settings: Settings, log_width: float) -> LogBracket:
    """The proof's argument with exact laws: a bound from the largest cosine alone, by tails at one threshold."""
    if log_width < math.log(2 * settings.k + 2):
        return LogBracket(-math.inf, 0.0, "no bound at so narrow a layer")
    upper = theory.theorem10_exact_failure(log_width, inputs.count, settings.k, bounding_cosine(inputs), log=True)
    return LogBracket(-math.inf, min(upper + math.log1p(LAW_ACCURACY), 0.0), "the proof's argument with exact laws")


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
    first = first_disjoint(inputs, settings).log_width
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
        Curve(
            "the proof's argument, exact",
            "proved",
            logs,
            tuple(threshold_argument(inputs, settings, x).upper for x in logs),
        ),
        Curve(
            "claimed, from the proof's width on", "claimed", (granted, 2 * granted), (math.log(settings.failure),) * 2
        ),
    ]
