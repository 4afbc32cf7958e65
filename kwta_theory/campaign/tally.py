"""What some trials add up to: counts of events, and sums of real-valued outcomes, exactly additive.

Sums are fractions. Each chunk is summed once, where it is drawn; chunks are then added without rounding, so ``+`` is
associative and commutative to the last bit, and no total depends on which worker finished first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from kwta_theory.checks import InvalidArgumentError, check_integer

# Sums of the same chunk from two machines may differ by the rounding of their linear algebra.
ROUNDING = Fraction(1, 10**9)


@dataclass(frozen=True, slots=True)
class Moments:
    """Sum and sum of squares of a real-valued outcome over trials, as exact fractions.

    Raises:
        InvalidArgumentError: a sum that is not a finite number, or a negative sum of squares.

    >>> Moments.of([0.5, 1.0]) + Moments.of([0.25])
    Moments(total=Fraction(7, 4), squares=Fraction(21, 16))
    """

    total: Fraction = Fraction(0)
    squares: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        for name in ("total", "squares"):
            value = getattr(self, name)
            if type(value) is Fraction:  # already exact: every sum of two tallies comes by here
                continue
            try:
                object.__setattr__(self, name, Fraction(value))
            except (TypeError, ValueError, OverflowError, ZeroDivisionError):
                raise InvalidArgumentError(f"{name}={value!r} is not allowed: it must be a finite sum.") from None
        if self.squares < 0:
            raise InvalidArgumentError(f"squares={float(self.squares):g} is not allowed: it must be at least 0.")

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Moments:
        """The sums of an array of values, of any shape, rounded once each, whatever the order of the values."""
        array = np.asarray(values, dtype=np.float64).ravel()
        try:
            with np.errstate(over="ignore"):
                return cls(Fraction(math.fsum(array)), Fraction(math.fsum(array * array)))
        except (OverflowError, ValueError):  # infinite or not a number, in the values or in their sums
            largest = np.abs(array).max()
            raise InvalidArgumentError(
                f"values up to {largest:g} are not allowed: their squares must have a finite sum."
            ) from None

    def __add__(self, other: Moments) -> Moments:
        if not isinstance(other, Moments):
            return NotImplemented
        return Moments(self.total + other.total, self.squares + other.squares)


@dataclass(frozen=True)
class Tally:
    """So many trials, in how many of them each event happened, and the sums of each real-valued outcome.

    ``Tally()`` is the neutral element of ``+``; ``sum(tallies)`` works. Tallies of different outcomes do not add.

    Args:
        trials: independent trials.
        counts: for each event the trials in which it happened, in ``[0, trials]``.
        moments: for each real-valued outcome its sums.

    >>> total = sum([Tally(10, {"same": 3}), Tally(10, {"same": 1})])
    >>> total.trials, total.counts
    (20, {'same': 4})
    """

    trials: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    moments: Mapping[str, Moments] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", check_integer("trials", self.trials))
        counts = {name: check_integer(f"counts[{name!r}]", n, 0, self.trials) for name, n in self.counts.items()}
        object.__setattr__(self, "counts", dict(sorted(counts.items())))
        object.__setattr__(self, "moments", dict(sorted(self.moments.items())))

    def __add__(self, other: Tally) -> Tally:
        if not isinstance(other, Tally):
            return NotImplemented
        if not self.trials and not self.names:
            return other
        if not other.trials and not other.names:
            return self
        if self.names != other.names:
            raise InvalidArgumentError(
                f"tallies of {', '.join(self.names)} and of {', '.join(other.names)} cannot be added: "
                "they measure different things."
            )
        return Tally(
            self.trials + other.trials,
            {name: count + other.counts[name] for name, count in self.counts.items()},
            {name: moments + other.moments[name] for name, moments in self.moments.items()},
        )

    def __radd__(self, start: int) -> Tally:
        """``sum`` starts at the integer 0, which is the empty tally here."""
        return self if isinstance(start, int) and start == 0 else NotImplemented

    @property
    def names(self) -> tuple[str, ...]:
        """Events first, then real-valued outcomes, each in alphabetical order."""
        return (*self.counts, *self.moments)

    def mean(self, name: str) -> float:
        """The share of an event, or the mean of a real-valued outcome, rounded once.

        Raises:
            InvalidArgumentError: no trials, or no outcome of this name.
        """
        self._check(name, 1)
        total = self.counts[name] if name in self.counts else self.moments[name].total
        return float(Fraction(total) / self.trials)

    def variance(self, name: str) -> float:
        """The unbiased sample variance of the outcome of one trial, from exact sums.

        Raises:
            InvalidArgumentError: fewer than two trials, or no outcome of this name.
        """
        self._check(name, 2)
        if name in self.counts:
            total, squares = Fraction(self.counts[name]), Fraction(self.counts[name])
        else:
            total, squares = self.moments[name].total, self.moments[name].squares
        # Each chunk rounds its sums once: equal values can give a hair below 0, which means 0.
        return float(max(Fraction(0), (squares - total**2 / self.trials) / (self.trials - 1)))

    def _check(self, name: str, least: int) -> None:
        if name not in self.names:
            raise InvalidArgumentError(f"outcome={name!r} is not in this tally, which has {', '.join(self.names)}.")
        if self.trials < least:
            raise InvalidArgumentError(f"trials={self.trials} is not allowed here: there must be at least {least}.")

    def to_json(self) -> str:
        """One line of JSON; equal tallies have equal text."""
        moments = {name: [str(m.total), str(m.squares)] for name, m in self.moments.items()}
        record = {"trials": self.trials, "counts": dict(self.counts), "moments": moments}
        return json.dumps(record, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Tally:
        """Read what :meth:`to_json` wrote; numbers only, nothing is executed.

        Raises:
            InvalidArgumentError: for any other text.
        """
        try:
            record: dict[str, Any] = json.loads(text)
            moments = {name: Moments(*map(_fraction, sums)) for name, sums in record["moments"].items()}
            if set(record) == {"trials", "counts", "moments"}:
                return cls(record["trials"], record["counts"], moments)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ZeroDivisionError):
            pass
        raise InvalidArgumentError(f"{text[:80]!r} is not a tally.")

    def close_to(self, other: Tally) -> bool:
        """Whether this is the same chunk: counts equal, sums equal up to the rounding of two machines (1e-9)."""
        if (self.trials, self.counts, self.names) != (other.trials, other.counts, other.names):
            return False
        return all(
            _close(mine.total, other.moments[name].total, self.trials * mine.squares)
            and _close(mine.squares, other.moments[name].squares, mine.squares**2)
            for name, mine in self.moments.items()
        )


def _fraction(text: str) -> Fraction:
    if not isinstance(text, str):
        raise TypeError
    numerator, _, denominator = text.partition("/")
    return Fraction(int(numerator), int(denominator or 1))


def _close(a: Fraction, b: Fraction, scale_squared: Fraction) -> bool:
    """Whether ``|a - b|`` is below 1e-9 of the scale; ``|total|`` is at most ``sqrt(trials * squares)``."""
    return a == b or (a - b) ** 2 <= ROUNDING**2 * scale_squared
