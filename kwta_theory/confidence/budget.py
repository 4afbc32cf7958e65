"""One error probability for a family of claims, shared by Bonferroni's inequality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """The probability ``total`` that any claim of a family is judged wrongly, and how much of it is spent.

    If claim i is wrong with probability at most ``e_i`` then some claim is wrong with probability at most the sum of
    the ``e_i``, however the claims depend on each other. The bookkeeping is exact (fractions, and shares rounded
    down), so n shares of 1/n never exceed the total by a rounding error.

    Args:
        total: in (0, 1).
        spent: in [0, total].

    >>> budget = ErrorBudget(0.001)
    >>> share = budget.share(4)
    >>> share, budget.spend(share).spend(share).remaining
    (0.00025, 0.0005)
    """

    total: float
    spent: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        total = check_number("total", self.total, 0.0, 1.0, open_minimum=True, open_maximum=True)
        if not (isinstance(self.spent, int | float | Fraction) and 0 <= self.spent <= Fraction(total)):
            raise InvalidArgumentError(f"spent={self.spent!r} is not allowed: it must lie in [0, total={total!r}].")
        object.__setattr__(self, "total", total)
        object.__setattr__(self, "spent", Fraction(self.spent))

    @property
    def remaining(self) -> float:
        """``total - spent``, rounded down."""
        return _round_down(self._left())

    def share(self, number_of_claims: int) -> float:
        """What each of so many claims may spend of what remains.

        Raises:
            InvalidArgumentError: when nothing remains, or no claims share it.
        """
        return self.split([1.0] * check_integer("number_of_claims", number_of_claims, minimum=1))[0]

    def split(self, weights: Sequence[float]) -> list[float]:
        """What remains, in proportion to positive weights; the shares' exact sum does not exceed it.

        A claim that is cheap to decide can be given a small weight, since trials grow with the logarithm of a share.
        """
        if len(weights) == 0:
            raise InvalidArgumentError("weights is empty: a budget is split among at least one claim.")
        parts = [Fraction(check_number(f"weights[{i}]", w, 0.0, open_minimum=True)) for i, w in enumerate(weights)]
        whole = sum(parts)
        shares = [_round_down(self._left() * part / whole) for part in parts]
        if min(shares) <= 0:
            raise InvalidArgumentError(f"the error budget of {self.total!r} is spent: nothing remains to share.")
        return shares

    def spend(self, error: float) -> ErrorBudget:
        """The budget after one more claim was judged at ``error``.

        Raises:
            InvalidArgumentError: when more is asked than remains.
        """
        error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
        if Fraction(error) > self._left():
            raise InvalidArgumentError(
                f"error={error!r} is more than remains of the error budget: {self.remaining!r} of {self.total!r}."
            )
        return ErrorBudget(self.total, self.spent + Fraction(error))

    def _left(self) -> Fraction:
        return Fraction(self.total) - self.spent


def _round_down(number: Fraction) -> float:
    """The largest float not above a number of at least 0."""
    nearest = float(number)
    return nearest if Fraction(nearest) <= number else math.nextafter(nearest, 0.0)
