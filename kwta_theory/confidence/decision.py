"""Judging a claim about a probability by drawing until it is decided or the budget is spent."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.confidence.proportion import Interval, Proportion
from kwta_theory.confidence.sequence import JEFFREYS_PRIOR, confidence_sequence, log_evidence, mixture_evidence


class Decision(enum.Enum):
    """On which side of the threshold the probability is, as far as the count tells."""

    ABOVE = "the probability is above the threshold"
    BELOW = "the probability is below the threshold"
    UNDECIDED = "the count is too small to tell on which side of the threshold the probability is"


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a claim was judged, with its evidence.

    Attributes:
        decision: ABOVE or BELOW is wrong with probability at most ``error``, whatever the probability is.
        count: all trials that were drawn.
        interval: the anytime-valid interval of that count at ``error``; it excludes the threshold where decided.
        threshold: what the probability was compared with.
        error: probability of a wrong decision.
        chunks: how many chunks were drawn, which is the number of looks.
        trials_needed: when UNDECIDED, the total number of trials that would decide if the observed proportion
            persisted; None when decided, or when the observed proportion is the threshold itself.
    """

    decision: Decision
    count: Proportion
    interval: Interval
    threshold: float
    error: float
    chunks: int
    trials_needed: int | None


def side_of_threshold(
    count: Proportion, threshold: float, error: float, prior: tuple[float, float] = JEFFREYS_PRIOR
) -> Decision:
    """On which side of the threshold the confidence sequence of this count lies; UNDECIDED when it contains it.

    Read off :func:`~kwta_theory.confidence.log_evidence` at the threshold, without finding the interval's ends.

    >>> side_of_threshold(Proportion(90, 100), 0.5, 0.001).name, side_of_threshold(Proportion(55, 100), 0.5, 0.001).name
    ('ABOVE', 'UNDECIDED')
    """
    threshold, error = _check(threshold, error)
    if log_evidence(count.successes, count.trials, threshold, prior) < -math.log(error):
        return Decision.UNDECIDED
    return Decision.ABOVE if count.value > threshold else Decision.BELOW


def trials_to_decide(
    value: float, threshold: float, error: float, prior: tuple[float, float] = JEFFREYS_PRIOR
) -> int | None:
    """The smallest number of trials that decides when exactly the share ``value`` of them succeeds.

    With ``x = value * n`` the evidence at the threshold is convex in n (the logarithm of an average of exponentials
    of n, less a linear function) and 0 at n = 0: once it reaches ``log(1/error)`` it stays above, so doubling and
    bisection find the number. About ``(log(1/error) + log(n)/2) / KL(value, threshold)``, KL the Kullback-Leibler
    divergence of two coins.

    Args:
        value: the proportion supposed to persist, in [0, 1].
        threshold: in [0, 1].
        error: in (0, 1).
        prior: as in :func:`~kwta_theory.confidence.confidence_sequence`.

    Returns:
        The number of trials. None when ``value`` is the threshold, up to rounding: then no number decides (the search
        ends at 2^1000).

    >>> trials_to_decide(0.6, 0.5, 0.001)
    510
    """
    threshold, error = _check(threshold, error)
    value = check_number("value", value, 0.0, 1.0)
    if value == threshold:
        return None

    def decides(trials: int) -> bool:
        return mixture_evidence(value * trials, (1 - value) * trials, threshold, prior) >= -math.log(error)

    enough = 1
    while not decides(enough):
        enough *= 2
        if enough > 2**1000:
            return None
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        too_few, enough = (too_few, middle) if decides(middle) else (middle, enough)
    return enough


def unanimous_trials_needed(
    threshold: float, error: float, side: Decision, prior: tuple[float, float] = JEFFREYS_PRIOR
) -> int | None:
    """The smallest number of trials that can decide for ``side`` at all: all of them succeed, or all of them fail.

    To confirm ``P >= 1 - 2^-m`` takes more than ``2^m log(1/error)`` trials without a single failure: ask here before
    drawing. To refute it takes few.

    Args:
        threshold: in [0, 1].
        error: in (0, 1).
        side: ABOVE or BELOW.
        prior: as in :func:`~kwta_theory.confidence.confidence_sequence`.

    Returns:
        The number of trials; None where no number suffices (above 1, below 0).

    >>> unanimous_trials_needed(0.999, 0.001, Decision.ABOVE), unanimous_trials_needed(0.999, 0.001, Decision.BELOW)
    (12178, 2)
    """
    if side not in (Decision.ABOVE, Decision.BELOW):
        raise InvalidArgumentError(f"side={side!r} is not allowed: it must be Decision.ABOVE or Decision.BELOW.")
    return trials_to_decide(1.0 if side is Decision.ABOVE else 0.0, threshold, error, prior)


def decide(
    draw: Callable[[int, int], Proportion],
    threshold: float,
    error: float,
    max_trials: int,
    *,
    first_chunk: int = 256,
    growth: float = 2.0,
    prior: tuple[float, float] = JEFFREYS_PRIOR,
    side: Decision | None = None,
) -> Judgement:
    """Draw chunk after chunk until the confidence sequence lies on one side of the threshold, or the budget is spent.

    Chunk i has ``ceil(first_chunk * growth^i)`` trials, the last one what remains of ``max_trials``; the count is
    judged after each. A wrong decision, at any look, has probability at most ``error`` in all (Ville's inequality),
    which a fixed-size interval looked at repeatedly does not have. The result depends on the parameters and on what
    ``draw`` returns, that is on its seed, and on nothing else.

    Args:
        draw: ``draw(chunk_index, trials)`` returns the count of ``trials`` independent trials, independent of all other
            chunks; the chunk index chooses its random stream.
        threshold: in [0, 1]. For a claim ``P >= threshold``, ABOVE confirms and BELOW refutes.
        error: probability, in (0, 1), of a wrong decision.
        max_trials: the budget.
        first_chunk: trials of the first chunk.
        growth: factor from one chunk to the next, at least 1.
        prior: as in :func:`~kwta_theory.confidence.confidence_sequence`.
        side: None, or the decision that must be within reach: with ``Decision.ABOVE`` a budget that could refute
            ``P >= threshold`` but never confirm it is refused, too.

    Raises:
        InvalidArgumentError: before anything is drawn, when not even a unanimous outcome of ``max_trials`` could
            decide; or when ``draw`` returns another number of trials than it was asked for.

    >>> import numpy as np
    >>> def coin(chunk: int, trials: int) -> Proportion:
    ...     return Proportion(int(np.random.default_rng([7, chunk]).binomial(trials, 0.6)), trials)
    >>> judgement = decide(coin, threshold=0.5, error=0.001, max_trials=10_000)
    >>> judgement.decision.name, judgement.count
    ('ABOVE', Proportion(successes=458, trials=768))
    """
    threshold, error = _check(threshold, error)
    max_trials = check_integer("max_trials", max_trials, minimum=1)
    first_chunk = check_integer("first_chunk", first_chunk, minimum=1)
    growth = check_number("growth", growth, 1.0)
    _refuse_hopeless_budget(max_trials, threshold, error, prior, side)
    count, chunks, size = Proportion(), 0, float(first_chunk)
    decision = Decision.UNDECIDED
    while decision is Decision.UNDECIDED and count.trials < max_trials:
        trials = math.ceil(min(size, max_trials - count.trials))
        drawn = draw(chunks, trials)
        if not isinstance(drawn, Proportion) or drawn.trials != trials:
            raise InvalidArgumentError(f"draw({chunks}, {trials}) returned {drawn!r}: it must count {trials} trials.")
        count, chunks, size = count + drawn, chunks + 1, size * growth
        decision = side_of_threshold(count, threshold, error, prior)
    undecided = decision is Decision.UNDECIDED
    return Judgement(
        decision=decision,
        count=count,
        interval=confidence_sequence(count.successes, count.trials, error, prior),
        threshold=threshold,
        error=error,
        chunks=chunks,
        trials_needed=trials_to_decide(count.value, threshold, error, prior) if undecided else None,
    )


def _refuse_hopeless_budget(
    max_trials: int, threshold: float, error: float, prior: tuple[float, float], side: Decision | None
) -> None:
    sides = (Decision.ABOVE, Decision.BELOW) if side is None else (side,)
    needed = [n for s in sides if (n := unanimous_trials_needed(threshold, error, s, prior)) is not None]
    outcome = "any decision" if side is None else f"the decision {side.name}"
    if not needed:
        raise InvalidArgumentError(f"threshold={threshold!r} does not allow {outcome}: no count can reach it.")
    if max_trials < min(needed):
        raise InvalidArgumentError(
            f"max_trials={max_trials} is a budget too small to decide: at threshold={threshold!r} and error={error!r} "
            f"{outcome} takes at least {min(needed)} trials, even if all of them agree."
        )


def _check(threshold: float, error: float) -> tuple[float, float]:
    return (
        check_number("threshold", threshold, 0.0, 1.0),
        check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True),
    )
