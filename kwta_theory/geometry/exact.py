"""Exact arithmetic on float64 numbers: every finite float64 is an integer times a power of two, so nothing is rounded.

What a bracket reports is checked here, in Python's integers and fractions. There is no error analysis to trust.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.object_]


def integers(values: npt.ArrayLike) -> tuple[Integers, int]:
    """``(n, exponent)`` with ``values = n * 2^exponent`` exactly, entry by entry; ``n`` holds Python's integers.

    >>> integers([0.75, -3.0])
    (array([3, -12], dtype=object), -2)
    """
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    whole = np.ldexp(mantissa, 53).astype(np.int64)  # exact: a float64 has 53 binary digits
    exponent = exponent.astype(np.int64) - 53
    there = whole != 0
    trailing = np.zeros_like(whole)
    trailing[there] = np.frexp((whole[there] & -whole[there]).astype(np.float64))[1] - 1  # digits that are zero
    whole, exponent = whole >> trailing, exponent + trailing
    least = int(exponent[there].min()) if there.any() else 0
    return whole.astype(object) << np.where(there, exponent - least, 0).astype(object), least


def outputs(weight: Array, bias: Array | None, point: Array) -> list[Fraction]:
    """``w_i . x + b_i`` for the rows given, exactly."""
    entries = [Fraction(value) for value in point.tolist()]
    offsets = [0.0] * len(weight) if bias is None else bias.tolist()
    return [
        sum((Fraction(w) * v for w, v in zip(row, entries, strict=True)), start=Fraction(offset))
        for row, offset in zip(weight.tolist(), offsets, strict=True)
    ]


def root_above(square: Fraction) -> float:
    """A float64 that is not below the root: the bound of an upper end."""
    if square > Fraction(2) ** 1000:
        return math.inf
    root = math.sqrt(float(square)) if square > Fraction(1, 2**1000) else 0.0
    while Fraction(root) ** 2 < square:
        root = math.nextafter(root, math.inf) if root else 2.0**-500
    return root


def root_below(square: Fraction) -> float:
    """A float64 that is not above the root: the bound of a lower end."""
    if square > Fraction(2) ** 1000:
        return 2.0**500
    root = math.sqrt(float(square)) if square > Fraction(1, 2**1000) else 0.0
    while Fraction(root) ** 2 > square:
        root = math.nextafter(root, 0.0)
    return root


def least_corner(matrix: Integers) -> Fraction | None:
    """The smallest ``t`` for which ``M + t e e'`` is semidefinite, ``e`` the last axis; None where there is none.

    Fraction-free elimination (Bareiss): after step ``j`` the diagonal entry is the leading minor of size ``j + 1``,
    every division is exact. ``M`` without its last row and column must be positive definite, that is, have positive
    leading minors; then ``M + t e e'`` is semidefinite exactly when its determinant ``det M + t det M_leading`` is not
    negative.

    Args:
        matrix: symmetric, integers; it is overwritten.

    >>> least_corner(np.array([[2, 1], [1, 0]], dtype=object))
    Fraction(1, 2)
    """
    previous, size = 1, len(matrix)
    for step in range(size - 1):
        pivot = matrix[step, step]
        if pivot <= 0:
            return None
        column = matrix[step + 1 :, step]
        rest = matrix[step + 1 :, step + 1 :]
        matrix[step + 1 :, step + 1 :] = (rest * pivot - np.multiply.outer(column, column)) // previous
        previous = pivot
    return Fraction(-matrix[-1, -1], previous)


def null_vector(rows: Sequence[Sequence[int]]) -> list[int] | None:
    """The direction that ``n - 1`` integer rows of length ``n`` leave free; None where they are dependent.

    Fraction-free elimination as in :func:`least_corner`, with exchange of rows and columns.

    >>> null_vector([[1, 2, 0], [0, 1, 1]])
    [2, -1, 1]
    """
    table: list[list[Any]] = [list(row) for row in rows]
    size = len(table)
    columns, previous = list(range(size + 1)), 1
    for step in range(size):
        found = next(((i, j) for i in range(step, size) for j in range(step, size + 1) if table[i][j]), None)
        if found is None:
            return None
        table[step], table[found[0]] = table[found[0]], table[step]
        if found[1] != step:
            columns[step], columns[found[1]] = columns[found[1]], columns[step]
            for row in table:
                row[step], row[found[1]] = row[found[1]], row[step]
        head = table[step]
        pivot = head[step]
        for i, row in enumerate(table):  # Jordan: also above, so that the end is det * identity and one more column
            if i != step:
                factor = row[step]
                table[i] = [(entry * pivot - factor * top) // previous for entry, top in zip(row, head, strict=True)]
        previous = pivot
    answer = [0] * (size + 1)
    answer[columns[size]] = previous
    for step in range(size):
        answer[columns[step]] = -table[step][size]
    return answer
