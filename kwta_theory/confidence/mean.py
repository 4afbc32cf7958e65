"""Means of bounded values, from tallies that can be added in any order without changing a bit of the result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.confidence.proportion import Interval
from kwta_theory.confidence.sequence import JEFFREYS_PRIOR, mixture_interval


@dataclass(frozen=True, slots=True)
class Mean:
    """The count, the sum and the sum of squares of independent values known to lie in ``[lower, upper]``.

    The sums are of ``u = (value - lower) / (upper - lower)``, which lies in [0, 1] and keeps the variance from
    cancelling where the range is far from 0. They are fractions: each chunk is summed in floating point once, chunks
    are then added exactly, so that ``+`` is associative and commutative to the last bit and a result cannot depend on
    the order in which chunks arrive. ``Mean(lower, upper)`` is the neutral element; ``sum(means)`` works.

    Args:
        lower: smallest possible value, in the values' unit.
        upper: largest possible value, above ``lower``; known beforehand, not read off the data.
        count: number of values.
        total: sum of the u.
        total_squares: sum of the u^2.

    >>> first, second = Mean.of([0.0, 1.0], 0, 1), Mean.of([0.5], 0, 1)
    >>> (first + second).value, (first + second).count
    (0.5, 3)
    """

    lower: float
    upper: float
    count: int = 0
    total: Fraction = Fraction(0)
    total_squares: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        lower, upper = check_number("lower", self.lower), check_number("upper", self.upper)
        if not (lower < upper and math.isfinite(upper - lower)):
            raise InvalidArgumentError(f"lower={lower!r} must be below upper={upper!r} by a finite amount.")
        count = check_integer("count", self.count)
        try:
            total, squares = Fraction(self.total), Fraction(self.total_squares)
        except (TypeError, ValueError, OverflowError):
            raise InvalidArgumentError(
                f"total={self.total!r}, total_squares={self.total_squares!r} are not sums."
            ) from None
        if not 0 <= squares <= total <= count:
            raise InvalidArgumentError(
                f"count={count}, total={float(total):g}, total_squares={float(squares):g} are not the sums of values "
                "in [0, 1]: they must satisfy 0 <= total_squares <= total <= count."
            )
        for name, number in zip(self.__slots__, (lower, upper, count, total, squares), strict=True):
            object.__setattr__(self, name, number)

    @classmethod
    def of(cls, values: npt.ArrayLike, lower: float, upper: float) -> Mean:
        """The tally of an array of values, of any shape; empty is allowed.

        Raises:
            InvalidArgumentError: where a value is NaN or outside ``[lower, upper]``.
        """
        empty = cls(lower, upper)
        array = np.asarray(values, dtype=np.float64).ravel()
        wrong = np.flatnonzero(~((array >= empty.lower) & (array <= empty.upper)))
        if wrong.size:
            raise InvalidArgumentError(
                f"values[{wrong[0]}]={array[wrong[0]]!r} is not allowed: it must lie in [{lower!r}, {upper!r}]."
            )
        unit = (array - empty.lower) / (empty.upper - empty.lower)
        # fsum rounds once, whatever the order. u^2 is rounded before; rounding is monotone, so u^2 <= u survives.
        return cls(lower, upper, array.size, Fraction(math.fsum(unit)), Fraction(math.fsum(unit * unit)))

    def __add__(self, other: Mean) -> Mean:
        if not isinstance(other, Mean):
            return NotImplemented
        if (self.lower, self.upper) != (other.lower, other.upper):
            raise InvalidArgumentError(
                f"a mean over [{self.lower!r}, {self.upper!r}] and one over [{other.lower!r}, {other.upper!r}] "
                "cannot be added: the range must be the same."
            )
        return Mean(
            self.lower,
            self.upper,
            self.count + other.count,
            self.total + other.total,
            self.total_squares + other.total_squares,
        )

    def __radd__(self, start: int) -> Mean:
        """``sum`` starts at the integer 0, which is the empty tally here."""
        return self if isinstance(start, int) and start == 0 else NotImplemented

    @property
    def value(self) -> float:
        """The mean of the values, in their unit.

        Raises:
            InvalidArgumentError: when there are no values.
        """
        if self.count == 0:
            raise InvalidArgumentError("count=0 is not allowed here: there is no mean of no values.")
        return self._in_unit(float(self.total / self.count))

    @property
    def variance(self) -> float:
        """The unbiased sample variance ``sum (v - mean)^2 / (count - 1)``, in the square of the values' unit.

        Raises:
            InvalidArgumentError: when there are fewer than two values.
        """
        return float(self._unit_variance()) * (self.upper - self.lower) ** 2

    def interval(self, error: float) -> Interval:
        """The empirical Bernstein interval, for a count fixed beforehand (Maurer and Pontil, COLT 2009, Theorem 4).

        For independent values in [0, 1] with sample variance V, each of the two one-sided statements

            |mean - E mean| <= sqrt(2 V log(2 / (error/2)) / n) + 7 log(2 / (error/2)) / (3 (n - 1))

        fails with probability at most ``error / 2``. Where the values vary little it is far narrower than what the
        range alone gives. What leaves ``[lower, upper]`` is cut off; fewer than two values give all of it.

        Args:
            error: in (0, 1), for both sides together.
        """
        error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
        if self.count < 2:
            return Interval(self.lower, self.upper)
        logarithm = math.log(4) - math.log(error)
        variance = float(self._unit_variance())
        radius = math.sqrt(2 * variance * logarithm / self.count) + 7 * logarithm / (3 * (self.count - 1))
        mean = float(self.total / self.count)
        return Interval(self._in_unit(max(0.0, mean - radius)), self._in_unit(min(1.0, mean + radius)))

    def sequence(self, error: float, prior: tuple[float, float] = JEFFREYS_PRIOR) -> Interval:
        """An interval valid at all counts at once: the beta-binomial mixture of ``kwta_theory.confidence.sequence``.

        The mixture stays a supermartingale for values in [0, 1] (proved at the head of that module). It uses the mean
        alone, so for values of small variance it is wider than :meth:`interval` at large counts; it pays for the
        freedom to stop at any time.

        Args:
            error: in (0, 1), for both sides and all counts together.
            prior: as in :func:`~kwta_theory.confidence.confidence_sequence`.
        """
        unit = mixture_interval(float(self.total), float(self.count - self.total), error, prior)
        return Interval(self._in_unit(unit.lower), self._in_unit(unit.upper))

    def _unit_variance(self) -> Fraction:
        if self.count < 2:
            raise InvalidArgumentError(f"count={self.count} is not allowed here: a variance needs at least two values.")
        # Exact arithmetic on sums that were rounded once: equal values can give a hair below 0, which means 0.
        return max(Fraction(0), (self.total_squares - self.total**2 / self.count) / (self.count - 1))

    def _in_unit(self, share: float) -> float:
        # From the nearer end, so that both ends are hit exactly.
        width = self.upper - self.lower
        return self.lower + width * share if share < 0.5 else self.upper - width * (1 - share)
