"""A tally as a number with an interval that stays valid however the run was stopped, resumed and extended."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kwta_theory.campaign.estimators import Outcome
from kwta_theory.campaign.tally import Tally
from kwta_theory.checks import check_number
from kwta_theory.confidence import Interval, Mean, confidence_sequence

# The package's level for anything that it states.
ERROR = 1e-3
ANYTIME = "anytime-valid"
ASYMPTOTIC = "asymptotic"
# Trials at which the asymptotic interval is about as narrow as it can be.
_TIGHTEST = 1000
# Of the sum of squares: what rounding of equal values can leave of a variance. Squares, their sum and the sum are each
# rounded once, by 2^-53 at most, and the sum counts twice.
_ROUNDING = 2.0**-50


@dataclass(frozen=True)
class Estimate:
    """What a tally says about one outcome.

    Attributes:
        outcome: its name.
        value: the mean over the trials; None where there are none.
        interval: contains the expectation at all times together with probability at least ``1 - error``.
        method: ``"anytime-valid"``, or ``"asymptotic"`` for a value without known bounds, where the statement holds in
            the limit of many trials.
        trials: how many.
        error: of the interval.
    """

    outcome: str
    value: float | None
    interval: Interval
    method: str
    trials: int
    error: float

    @property
    def relative_error(self) -> float:
        """Half the length of the interval over the value; infinite where the value is 0 or unknown."""
        if not self.value or not math.isfinite(self.interval.width):
            return math.inf
        return self.interval.width / 2 / abs(self.value)


def estimate(tally: Tally, outcome: Outcome, error: float = ERROR) -> Estimate:
    """The mean of an outcome with its interval.

    Events and shares get the beta-binomial mixture (:mod:`kwta_theory.confidence.sequence`), other values
    :func:`asymptotic_sequence`. Tallies with different seeds, each stopped by its own rule, may be pooled before: laid
    one after the other they are one sequence of independent trials, stopped at a stopping time.

    >>> found = estimate(Tally(100, {"same": 30}), Outcome("same"), error=0.05)
    >>> found.value, round(found.interval.lower, 6), found.method
    (0.3, 0.165652, 'anytime-valid')
    """
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    method = ASYMPTOTIC if outcome.kind == "value" else ANYTIME
    if not tally.trials:
        unknown = Interval(-math.inf, math.inf) if outcome.kind == "value" else Interval(0.0, 1.0)
        return Estimate(outcome.name, None, unknown, method, 0, error)
    if outcome.kind == "event":
        interval = confidence_sequence(tally.counts[outcome.name], tally.trials, error)
    elif outcome.kind == "share":
        sums = tally.moments[outcome.name]
        interval = Mean(0.0, 1.0, tally.trials, sums.total, sums.squares).sequence(error)
    else:
        interval = asymptotic_sequence(tally, outcome.name, error)
    return Estimate(outcome.name, tally.mean(outcome.name), interval, method, tally.trials, error)


def asymptotic_sequence(tally: Tally, name: str, error: float) -> Interval:
    """The asymptotic confidence sequence of a mean, for values of finite variance without known bounds.

    For normal values of variance ``s^2`` and ``S = (sum of the n values - n mean)/s``, ``exp(t S - n t^2/2)`` is a
    martingale for every ``t``; averaged over ``t ~ N(0, r^2)`` it is

        exp( r^2 S^2 / (2 (n r^2 + 1)) ) / sqrt(n r^2 + 1),

    which by Ville's inequality ever reaches ``1/error`` with probability at most ``error``. Solved for the mean:

        |sample mean - mean| < s sqrt( 2 (n r^2 + 1) / (n^2 r^2) * log( sqrt(n r^2 + 1) / error ) ).

    With the sample deviation in place of ``s`` it holds asymptotically for every law with a little more than two
    moments (Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, Ann. Statist. 52, 2024, Theorem 2.2).

    Values that are all equal have no spread to set an interval by, and do not show that there is none: a value that
    appears once in a thousand trials is mostly not among the first hundred, and nothing bounds it. They get the whole
    line. (Their sample variance is 0 up to rounding, which is told from a deviation of some 3e-8 of their size.)

    Returns:
        The interval; the whole line for equal values and below two trials.

    >>> from kwta_theory.campaign import Moments
    >>> asymptotic_sequence(Tally(160, {}, {"jumps": Moments()}), "jumps", 0.05)
    Interval(lower=-inf, upper=inf)
    """
    n = tally.trials
    if n < 2 or tally.variance(name) * (n - 1) <= _ROUNDING * float(tally.moments[name].squares):
        return Interval(-math.inf, math.inf)
    logarithm = -2 * math.log(error)
    weight = n * (logarithm + math.log(logarithm + 1)) / _TIGHTEST  # n r^2, nearly the best r for 1000 trials
    radius = math.sqrt(
        tally.variance(name) * 2 * (weight + 1) / (n * weight) * (math.log1p(weight) / 2 + logarithm / 2)
    )
    mean = tally.mean(name)
    return Interval(mean - radius, mean + radius)


def trials_for_relative_error(tally: Tally, found: Estimate, relative_error: float) -> float:
    """About how many trials in all bring the relative error down to this, for the time left: a forecast, no bound.

    The half length of the interval falls like ``1/sqrt(n)``.
    """
    if not math.isfinite(found.relative_error):
        return math.inf
    return tally.trials * max(1.0, found.relative_error / relative_error) ** 2
