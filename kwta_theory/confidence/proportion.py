"""Counts, and their exact interval at a number of trials that was fixed beforehand (Clopper and Pearson, 1934).

The bounds hold for every p at once, but only for one look: to look while the count comes in, use
:mod:`kwta_theory.confidence.sequence`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval ``[lower, upper]`` of real numbers.

    >>> 0.5 in Interval(0.25, 0.5), Interval(0.25, 0.5).width
    (True, 0.25)
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:  # written so that NaN fails, too
            raise InvalidArgumentError(f"an interval from {self.lower!r} to {self.upper!r} is out of order.")

    def __contains__(self, number: float) -> bool:
        return self.lower <= number <= self.upper

    @property
    def width(self) -> float:
        """``upper - lower``."""
        return self.upper - self.lower


@dataclass(frozen=True, slots=True)
class Proportion:
    """How many of so many trials succeeded: a sufficient statistic of independent trials with one probability.

    ``+`` pools two counts: it is associative and commutative, and ``Proportion(0, 0)`` is its neutral element, so
    chunks may be added in any order and ``sum(counts)`` works.

    Args:
        successes: an integer in ``[0, trials]``.
        trials: an integer of at least 0.

    >>> sum([Proportion(3, 10), Proportion(1, 10)])
    Proportion(successes=4, trials=20)
    """

    successes: int = 0
    trials: int = 0

    def __post_init__(self) -> None:
        # Counts from numpy or torch become Python integers, which neither overflow nor keep a device alive.
        trials = check_integer("trials", self.trials)
        object.__setattr__(self, "trials", trials)
        object.__setattr__(self, "successes", check_integer("successes", self.successes, 0, trials))

    def __add__(self, other: Proportion) -> Proportion:
        if not isinstance(other, Proportion):
            return NotImplemented
        return Proportion(self.successes + other.successes, self.trials + other.trials)

    def __radd__(self, start: int) -> Proportion:
        """``sum`` starts at the integer 0, which is the empty count here."""
        return self if isinstance(start, int) and start == 0 else NotImplemented

    @property
    def failures(self) -> int:
        """``trials - successes``."""
        return self.trials - self.successes

    @property
    def value(self) -> float:
        """``successes / trials``, rounded once.

        Raises:
            InvalidArgumentError: when there are no trials; there is no number to report then, and NaN would spread.
        """
        if self.trials == 0:
            raise InvalidArgumentError("trials=0 is not allowed here: a proportion of no trials has no value.")
        return self.successes / self.trials

    def complement(self) -> Proportion:
        """The count of the opposite event."""
        return Proportion(self.failures, self.trials)

    def interval(self, error: float) -> Interval:
        """:func:`clopper_pearson` of this count: for a number of trials fixed beforehand, not for repeated looks."""
        return clopper_pearson(self.successes, self.trials, error)


def lower_bound(successes: int, trials: int, error: float) -> float:
    """The smallest p that this count does not reject: ``P(Binomial(trials, p) >= successes) = error`` solved for p.

    The left side increases with p from 0 to 1, and it is the beta distribution function
    ``I_p(successes, trials - successes + 1)``, so the bound is a quantile of a beta law; it is 0 where no trial
    succeeded. ``P(lower_bound(X, trials, error) > p) <= error`` for every p: to exceed p the count must lie in an
    upper tail whose probability at p is below ``error``. The bound is the largest p0 for which the count supports
    the claim ``P >= p0`` with confidence ``1 - error``.

    Args:
        successes: an integer in ``[0, trials]``.
        trials: an integer of at least 0, fixed before the data were seen.
        error: the probability, in (0, 1), with which the bound may lie above the true probability.

    >>> round(lower_bound(20, 20, 0.05), 12) == round(0.05 ** (1 / 20), 12)
    True
    """
    counted = Proportion(successes, trials)
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    if counted.successes == 0:
        return 0.0
    return float(special.expit(_lower_log_odds(counted.successes, counted.failures, error)))


def upper_bound(successes: int, trials: int, error: float) -> float:
    """The largest p that this count does not reject: ``P(Binomial(trials, p) <= successes) = error`` solved for p.

    ``1 - lower_bound`` of the opposite event, computed without that subtraction, so that an upper bound near 0 keeps
    its digits. Arguments as in :func:`lower_bound`.

    >>> round(upper_bound(0, 20, 0.05), 12) == round(1 - 0.05 ** (1 / 20), 12)
    True
    """
    counted = Proportion(successes, trials)
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    if counted.failures == 0:
        return 1.0
    return float(special.expit(-_lower_log_odds(counted.failures, counted.successes, error)))


def _lower_log_odds(successes: int, failures: int, error: float) -> float:
    """The root in ``logit(p)`` of ``P(beta(successes, failures + 1) <= p) = error``, for at least one success.

    ``scipy.special.betaincinv`` is not used: for 1,000 successes in 132,579,327 trials it returns twice the quantile
    (scipy 1.17). The distribution function itself is right, so its root is bracketed by doubling steps and found by
    Brent's method, in the log-odds, where both p and 1 - p keep their digits.
    """
    a, b = float(successes), failures + 1.0

    def excess(log_odds: float) -> float:
        below = (
            special.betainc(a, b, special.expit(log_odds))
            if log_odds <= 0
            else special.betaincc(b, a, special.expit(-log_odds))
        )
        return math.log(max(float(below), 5e-324)) - math.log(error)

    center, step = math.log(a) - math.log(b), 1 / math.sqrt(a) + 1 / math.sqrt(b)
    direction = -1.0 if excess(center) > 0 else 1.0
    inside, outside = center, center + direction * step
    while direction * excess(outside) < 0:
        step *= 2
        inside, outside = outside, outside + direction * step
    return optimize.brentq(excess, inside, outside, xtol=1e-300, rtol=4 * np.finfo(np.float64).eps, maxiter=500)


def clopper_pearson(successes: int, trials: int, error: float) -> Interval:
    """The exact two-sided interval: each end may be wrong with probability ``error / 2``.

    It contains the true probability with probability at least ``1 - error``, whatever that probability is, for a
    number of trials fixed beforehand (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934). No trials give [0, 1].
    Arguments as in :func:`lower_bound`.
    """
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    return Interval(lower_bound(successes, trials, error / 2), upper_bound(successes, trials, error / 2))


def largest_supported_confidence(trials: int, error: float) -> float:
    """The largest p0 such that ``trials`` successes in ``trials`` trials support ``P >= p0``: ``error^(1 / trials)``.

    A probability like ``1 - 2^-m`` cannot be confirmed by counting. What a count without a single failure confirms,
    with confidence ``1 - error``, is this number, about ``1 - log(1/error) / trials``: the one-sided
    :func:`lower_bound` of a unanimous count of a size fixed beforehand.

    >>> round(1 - largest_supported_confidence(10_000, 0.001), 6)
    0.000691
    """
    return lower_bound(trials, trials, error)
