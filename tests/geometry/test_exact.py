"""Exact arithmetic against fractions and definitions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory.geometry import exact

floats = st.floats(-1e30, 1e30, allow_nan=False)


@settings(max_examples=200, deadline=None)
@given(st.lists(floats, min_size=1, max_size=8))
def test_integers_are_the_floats(values):
    whole, exponent = exact.integers(values)
    assert [Fraction(n) * Fraction(2) ** exponent for n in whole.tolist()] == [Fraction(value) for value in values]


@settings(max_examples=100, deadline=None)
@given(st.fractions(0, 10**40))
def test_roots_are_on_their_sides_and_next_to_each_other(square):
    above, below = exact.root_above(square), exact.root_below(square)
    assert Fraction(below) ** 2 <= square <= Fraction(above) ** 2
    assert above == below or above <= math.nextafter(below, math.inf) or above < 1e-140


def test_roots_at_the_ends_of_the_range():
    assert exact.root_above(Fraction(2) ** 2000) == math.inf
    assert exact.root_below(Fraction(2) ** 2000) == 2.0**500
    assert exact.root_below(Fraction(1, 2**2000)) == 0.0
    assert 0 < exact.root_above(Fraction(1, 2**2000)) <= 2.0**-500
    assert exact.root_above(Fraction(0)) == exact.root_below(Fraction(0)) == 0.0


def _determinant(matrix: list[list[Fraction]]) -> Fraction:
    if not matrix:
        return Fraction(1)
    return sum(
        (
            (-1) ** column
            * matrix[0][column]
            * _determinant([[*row[:column], *row[column + 1 :]] for row in matrix[1:]])
            for column in range(len(matrix))
        ),
        start=Fraction(0),
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.data())
def test_the_least_corner_makes_the_determinant_vanish(size, data):
    entries = st.lists(st.integers(-9, 9), min_size=size, max_size=size)
    root = np.array([data.draw(entries) for _ in range(size)], dtype=object)
    matrix = root @ root.T  # semidefinite
    matrix[-1, -1] += data.draw(st.integers(-50, 50))
    minors = [_determinant([[Fraction(v) for v in row[:n]] for row in matrix[:n]]) for n in range(size)]
    corner = exact.least_corner(matrix.copy())
    if min(minors) <= 0:
        assert corner is None
        return
    table = [[Fraction(v) for v in row] for row in matrix]
    table[-1][-1] += corner
    assert _determinant(table) == 0


def test_an_indefinite_form_has_no_corner():
    assert exact.least_corner(np.array([[-1, 0], [0, 1]], dtype=object)) is None
    assert exact.least_corner(np.array([[1, 2, 0], [2, 1, 0], [0, 0, 1]], dtype=object)) is None


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), st.data())
def test_the_null_vector_is_orthogonal_to_every_row(size, data):
    entries = st.lists(st.integers(-3, 3), min_size=size + 1, max_size=size + 1)
    rows = [data.draw(entries) for _ in range(size)]
    found = exact.null_vector(rows)
    if found is None:
        assert np.linalg.matrix_rank(np.array(rows, dtype=float)) < size
        return
    assert any(found)
    assert all(sum(a * b for a, b in zip(row, found, strict=True)) == 0 for row in rows)
    assert np.linalg.matrix_rank(np.array(rows, dtype=float)) == size


@pytest.mark.parametrize("bias", [None, np.array([0.1, -0.2])])
def test_outputs_are_sums_of_fractions(bias):
    weight, point = np.array([[0.1, 0.2], [1e-20, 1e20]]), np.array([0.3, 0.7])
    expected = [sum(Fraction(w) * Fraction(v) for w, v in zip(row, point, strict=True)) for row in weight]
    if bias is not None:
        expected = [value + Fraction(offset) for value, offset in zip(expected, bias, strict=True)]
    assert exact.outputs(weight, bias, point) == expected
