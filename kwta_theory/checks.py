"""Checks of arguments, shared by every room: a failure is one sentence with the name, the value, what is allowed."""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt


class InvalidArgumentError(ValueError):
    """An argument outside what its function allows. The command line prints it and exits with 2."""


def check_integer(name: str, value: SupportsIndex, minimum: int = 0, maximum: int | None = None) -> int:
    """Return ``value`` as an ``int`` in ``[minimum, maximum]``; raise :class:`InvalidArgumentError` otherwise."""
    allowed = f"an integer of at least {minimum}" if maximum is None else f"an integer in [{minimum}, {maximum}]"
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgumentError(f"{name}={value!r} is not allowed: it must be {allowed}.") from None
    if isinstance(value, bool) or number < minimum or (maximum is not None and number > maximum):
        raise InvalidArgumentError(f"{name}={value!r} is not allowed: it must be {allowed}.")
    return number


def check_number(
    name: str,
    value: SupportsFloat,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    open_minimum: bool = False,
    open_maximum: bool = False,
) -> float:
    """Return ``value`` as a finite ``float`` in the interval; an open end excludes its bound."""
    interval = f"{'(' if open_minimum else '['}{minimum:g}, {maximum:g}{')' if open_maximum else ']'}"
    message = f"{name}={value!r} is not allowed: it must be a finite number in {interval}."
    try:
        # float() would read text and truth values, too; an integer beyond 1e308 is no float.
        no_number = isinstance(value, str | bytes | bytearray | bool | np.bool_)
        number = math.nan if no_number else float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgumentError(message) from None
    below = number <= minimum if open_minimum else number < minimum
    above = number >= maximum if open_maximum else number > maximum
    if not math.isfinite(number) or below or above:
        raise InvalidArgumentError(message)
    return number


def check_width_and_winners(width: SupportsIndex, k: SupportsIndex) -> tuple[int, int]:
    """Return ``(width, k)`` with ``1 <= k <= width``."""
    width = check_integer("width", width, minimum=1)
    k = check_integer("k", k, minimum=1)
    if k > width:
        raise InvalidArgumentError(
            f"width={width} is below k={k}: a layer must have at least as many outputs as winners."
        )
    return width, k


def check_cosine(value: SupportsFloat, name: str = "cosine") -> float:
    """Return the cosine of the angle between two inputs, in ``[-1, 1]``."""
    return check_number(name, value, -1.0, 1.0)


def winners(width: int, sparsity_ratio: float) -> int:
    """``k = floor(sparsity_ratio * width)`` (Section 2.1), with one guard: 0.29 * 100 is 28.999999999999996 in binary.

    A product within four units in the last place of an integer is that integer, because the ratio that a person
    writes in decimals is the one that is meant. The product is exact, at any width.

    Raises:
        InvalidArgumentError: when the ratio is outside (0, 1] or leaves no winner.

    >>> winners(100, 0.29), winners(4096, 0.1)
    (29, 409)
    """
    width = check_integer("width", width, minimum=1)
    sparsity_ratio = check_number("sparsity_ratio", sparsity_ratio, 0.0, 1.0, open_minimum=True)
    product = Fraction(sparsity_ratio) * width
    nearest = round(product)
    k = nearest if abs(product - nearest) <= 4 * Fraction(math.ulp(1.0)) * product else math.floor(product)
    if k == 0:
        raise InvalidArgumentError(
            f"sparsity_ratio={sparsity_ratio!r} of width={width} leaves floor({float(product):g}) = 0 winners: "
            f"the ratio must be at least 1/width = {1 / width:g}."
        )
    return k


def check_points(name: str, points: npt.ArrayLike, *, distinct_directions: bool = False) -> npt.NDArray[np.float64]:
    """Return ``points`` as a float64 array of shape ``(N, m)``: finite, no zero row.

    Args:
        name: what the array is called in the sentence of an error.
        points: array-like of shape ``(N, m)``, ``N >= 1``, ``m >= 1``.
        distinct_directions: also require that no two rows are positive multiples of one another, the hypothesis of
            Theorem 2. Rows are compared after normalisation, with room of 8 units of rounding in each entry, so that
            directions 1e-9 apart are told apart although their cosine is 1 in float64.

    Raises:
        InvalidArgumentError: with the rows that are at fault.
    """
    try:
        given = np.asarray(points)
        if given.dtype.kind not in "biufO":  # text, dates and the real part of complex numbers would be converted
            raise TypeError
        with np.errstate(over="ignore"):  # what float64 cannot hold becomes infinity and is refused by its row
            array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last: a tensor that requires its gradient
        raise InvalidArgumentError(f"{name} is not an array of real numbers: it must have shape (N, m).") from None
    if array.ndim != 2 or 0 in array.shape:
        raise InvalidArgumentError(f"{name} has shape {array.shape}: it must have shape (N, m) with N >= 1 and m >= 1.")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise InvalidArgumentError(f"{name} has NaN or infinity in row {bad[0]}: every entry must be finite.")
    # The largest entry is divided out first, so that neither tiny nor huge rows under- or overflow.
    largest = np.abs(array).max(axis=1)
    zero = np.flatnonzero(largest == 0)
    if zero.size:
        raise InvalidArgumentError(
            f"{name} has a zero row, row {zero[0]}: a zero input has no direction and no pattern."
        )
    if distinct_directions and len(array) > 1:
        unit = array / largest[:, None]
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        pair = _identical_rows(unit)
        if pair is not None:
            raise InvalidArgumentError(
                f"{name} has identical directions in rows {pair[0]} and {pair[1]}: Theorem 2 supposes that no row is "
                "a positive multiple of another."
            )
    return array


def _identical_rows(unit: npt.NDArray[np.float64]) -> tuple[int, int] | None:
    """Two rows, of length 1, whose entries all agree within 8 eps; None where there are none.

    Such rows have nearly the same projection on a fixed direction, so only pairs within that distance in the sorted
    projections are compared: the neighbours first, then those two apart, until no pair is close enough. For points that
    are spread out this is one pass.
    """
    eps, dim = np.finfo(np.float64).eps, unit.shape[1]
    projection = unit @ np.cos(np.arange(1, dim + 1))
    order = np.argsort(projection, kind="stable")
    # 8 eps in each entry, and the rounding of two dot products of vectors no longer than sqrt(dim) and 1.
    reach = (8 * dim + 2 * dim**1.5) * eps
    for apart in range(1, len(unit)):
        near = np.flatnonzero(projection[order[apart:]] - projection[order[:-apart]] <= reach)
        if near.size == 0:
            return None
        first, second = order[near], order[near + apart]
        same = np.abs(unit[first] - unit[second]).max(axis=1) <= 8 * eps
        if same.any():
            return min((min(i, j), max(i, j)) for i, j in zip(first[same].tolist(), second[same].tolist(), strict=True))
    return None
