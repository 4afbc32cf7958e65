"""The semidefinite relaxation: its fast algebra against sums written out, and its optimum against its dual."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kwta_theory.geometry.relaxation import Entries, pieces_allowed, solve


def flat(matrix: np.ndarray, entries: Entries) -> np.ndarray:
    """So that ``flat(A) . x`` is the trace of ``A X``, ``x`` the upper triangle of ``X``."""
    return matrix[entries.upper] * entries.weights


@pytest.mark.parametrize("size", [2, 3, 5])
def test_newtons_matrix_of_all_products_is_the_sum_over_pairs(size):
    """``sum d_ij a_ij a_ij'`` with ``a_ij`` the symmetric part of ``b_i b_j'``, over all pairs, one by one."""
    rng = np.random.default_rng(size)
    rows, factors = rng.standard_normal((7, size)), rng.uniform(size=(7, 7))
    factors += factors.T
    entries = Entries(size)
    expected = np.zeros((len(entries.weights), len(entries.weights)))
    for i, j in itertools.product(range(7), repeat=2):
        product = flat((np.outer(rows[i], rows[j]) + np.outer(rows[j], rows[i])) / 2, entries)
        expected += factors[i, j] * np.outer(product, product)
    squares = rows[:, entries.upper[0]] * rows[:, entries.upper[1]]
    np.testing.assert_allclose(entries.gather(squares.T @ (factors @ squares)), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [2, 4])
def test_the_operator_of_the_barrier_is_the_product_with_a_matrix_on_both_sides(size):
    rng = np.random.default_rng(size)
    matrix, change = (each + each.T for each in rng.standard_normal((2, size, size)))
    entries = Entries(size)
    np.testing.assert_allclose(
        entries.kronecker(matrix) @ change[entries.upper], flat(matrix @ change @ matrix, entries), rtol=1e-12
    )


def test_the_relaxation_of_a_box_is_exact():
    """``|v_1| <= 1, |v_2| <= 2, |t| <= 1``: the largest ``|v|^2`` is 5, also of the relaxation, because the products
    ``(h - v)(h + v)`` prove it."""
    rows = np.vstack([np.hstack([np.eye(3), [[1], [2], [1]]]), np.hstack([-np.eye(3), [[1], [2], [1]]]), np.eye(4)[-1]])
    found = solve(rows, np.array([0.0, 0.0, 0.0, 1.0]), Entries(4), 1e-6, 0.0)
    assert np.trace(found.matrix[:2, :2]) == pytest.approx(5.0, rel=1e-5)
    assert (rows @ found.matrix @ rows.T).min() > -1e-6
    form = -np.diag([1.0, 1.0, 0.0, 0.0]) - rows.T @ found.multipliers @ rows
    assert np.linalg.eigvalsh(form + 5.001 * np.diag([0.0, 0.0, 0.0, 1.0])).min() > -1e-4
    assert found.multipliers.min() > 0
    early = solve(rows, np.array([0.0, 0.0, 0.0, 1.0]), Entries(4), 1e-6, 6.0)  # stops at a bound of 6
    assert np.trace(early.matrix[:2, :2]) < np.trace(found.matrix[:2, :2])


def test_the_number_of_pieces_is_fixed_by_the_dimension():
    assert [pieces_allowed(dim) for dim in (8, 16, 32, 64)] == [400, 400, 40, 4]
