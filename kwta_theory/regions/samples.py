"""One number for each line, and what that tells of all lines: the independent units of every statistic of regions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np

from kwta_theory.checks import InvalidArgumentError, check_number
from kwta_theory.confidence import Interval, Mean, lower_bound, upper_bound


@dataclass(frozen=True)
class LineSample:
    """One number for each line, with intervals for the law from which the lines were drawn.

    Attributes:
        values: for each line its number; NaN where the line has none (a jump, where there is no boundary), infinity
            where it is known to be beyond every number met (a boundary further away than the line is long).
        unit: the unit of the numbers.
        lower: the smallest number possible, known beforehand.
        upper: the largest number possible, known beforehand; infinity where there is no bound.

    >>> sample = LineSample((3.0, 1.0, float("nan"), 2.0, 5.0, 4.0, 6.0), "boundaries per unit of length")
    >>> sample.count, sample.undefined, sample.mean, sample.median
    (6, 1, 3.5, 3.5)
    >>> sample.quantile_interval(0.5, error=0.05)
    Interval(lower=1.0, upper=6.0)
    """

    values: tuple[float, ...]
    unit: str
    lower: float = 0.0
    upper: float = math.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(value) for value in self.values))
        wrong = next((value for value in self.values if value < self.lower or value > self.upper), None)
        if wrong is not None:
            raise InvalidArgumentError(
                f"values has {wrong!r}, which is outside [{self.lower!r}, {self.upper!r}], the range of this statistic."
            )

    @property
    def defined(self) -> tuple[float, ...]:
        """The numbers of the lines that have one. All that follows is for the law of a line given that it has one."""
        return tuple(value for value in self.values if not math.isnan(value))

    @property
    def count(self) -> int:
        """Lines that have a number: the sample size."""
        return len(self.defined)

    @property
    def undefined(self) -> int:
        """Lines that have none."""
        return len(self.values) - self.count

    @property
    def mean(self) -> float:
        """The mean over the lines that have a number; infinite where a value is."""
        return math.fsum(self._some()) / self.count

    @property
    def standard_error(self) -> float:
        """``s / sqrt(n)``, ``s^2`` the unbiased variance over lines: a description, no interval with a known error.

        Raises:
            InvalidArgumentError: for fewer than two numbers, or where one is infinite.
        """
        if self.count < 2 or math.isinf(self.mean):
            raise InvalidArgumentError(f"a standard error needs two or more finite values: {self._described()}.")
        return float(np.std(self.defined, ddof=1)) / math.sqrt(self.count)

    @property
    def median(self) -> float:
        """The median over the lines that have a number."""
        return self.quantile(0.5)

    def quantile(self, probability: SupportsFloat) -> float:
        """The sample quantile: the middle of the smallest and the largest number that is one.

        Args:
            probability: in [0, 1].
        """
        probability = check_number("probability", probability, 0.0, 1.0)
        ordered = sorted(self._some())
        place = probability * self.count
        # The numbers between which the sample's distribution function passes `probability`.
        below, above = max(math.ceil(place) - 1, 0), min(math.floor(place), self.count - 1)
        low, high = ordered[below], ordered[above]
        return low if low == high else (low + high) / 2

    def quantile_interval(self, probability: SupportsFloat, error: SupportsFloat) -> Interval:
        """An interval for the quantile of the law of lines, exact for every law and a number of lines fixed beforehand.

        Of ``n`` independent numbers, those at most the quantile ``m`` are at least Binomial(n, p) many in law, and
        those below it at most so many. So the ``j``-th smallest lies above ``m`` with probability at most
        ``P(Binomial <= j - 1)``, which is at most ``error / 2`` as soon as the upper bound of Clopper and Pearson for
        ``j - 1`` successes is at most ``p``; the upper end alike. Where the sample is too small for an end, that end is
        the end of the range. Nothing is supposed of the law: it may have atoms, no mean, or infinite values, as
        distances to a boundary do.

        Args:
            probability: ``p`` in (0, 1); 0.5 for the median.
            error: in (0, 1), half of it on each side.
        """
        p = check_number("probability", probability, 0.0, 1.0, open_minimum=True, open_maximum=True)
        error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
        n, ordered = self.count, sorted(self.defined)
        left = _how_many(n, lambda successes: upper_bound(successes, n, error / 2) <= p)
        right = _how_many(n, lambda failures: lower_bound(n - failures, n, error / 2) >= p)
        return Interval(ordered[left - 1] if left else self.lower, ordered[n - right] if right else self.upper)

    def mean_interval(self, error: SupportsFloat) -> Interval:
        """The empirical Bernstein interval for the mean (:meth:`kwta_theory.confidence.Mean.interval`).

        It holds for every law on a range that is known beforehand. For a statistic without a bound there is no interval
        for the mean that holds for every law (Bahadur and Savage, 1956), so none is given: take the median's.

        Args:
            error: in (0, 1), for both sides together.

        Raises:
            InvalidArgumentError: for a statistic whose range is not finite.
        """
        error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
        if math.isinf(self.lower) or math.isinf(self.upper):
            raise InvalidArgumentError(
                f"the range [{self.lower!r}, {self.upper!r}] is not finite, and without one no interval for a mean "
                "holds for every law: take quantile_interval(0.5, error)."
            )
        return Mean.of(self.defined, self.lower, self.upper).interval(error)

    def _some(self) -> tuple[float, ...]:
        if not self.count:
            raise InvalidArgumentError(f"there is no line with a value: {self._described()}.")
        return self.defined

    def _described(self) -> str:
        return f"{self.count} lines have a value and {self.undefined} have none"


def _how_many(n: int, holds: Callable[[int], bool]) -> int:
    """How many of 0, 1, ..., n - 1 a condition holds for that holds up to some number and not beyond, by bisection."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if holds(middle) else (low, middle)
    return low
