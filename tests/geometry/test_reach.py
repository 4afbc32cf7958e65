"""Layers decided at one distance: against plain enumeration, against the radius, against the exact law of a pair."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kwta_theory import theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Proportion
from kwta_theory.geometry import pattern_cell
from kwta_theory.geometry.reach import LARGEST_STORED, Reach, _roots, nearest_rows, reach, reaches
from kwta_theory.seeding import Stream

E_1 = [np.eye(dim)[0] for dim in range(5)[1:]]


def layer(seed: int, index: int, width: int, input_dim: int) -> np.ndarray:
    """The layer that :func:`reach` draws."""
    return np.random.default_rng(Stream(seed, "reach").sequence(index)).standard_normal((width, input_dim))


def winners(weight: np.ndarray, point: np.ndarray, k: int) -> set[int]:
    return set(np.argsort(-(weight @ point), kind="stable")[:k].tolist())


def test_in_the_plane_it_is_the_pattern_of_two_points_by_sorting():
    width, k, beta, draws = 30, 4, 0.05, 300
    t, found = math.sqrt(beta), 0
    for index in range(draws):
        weight = layer(3, index, width, 2)
        own = winners(weight, np.array([1.0, 0.0]), k)
        found += any(winners(weight, np.array([1.0, sign * t]), k) == own for sign in (-1, 1))
    assert 50 < found < 250
    assert reach(width, 2, k, beta, draws, 3) == Reach(draws - found, found, 0)


@pytest.mark.parametrize("input_dim", [2, 3, 4])
def test_it_agrees_with_the_vertices_of_the_cell(input_dim):
    for index in range(12):
        weight = layer(5, index, 40, input_dim)
        cell = pattern_cell(weight, np.eye(input_dim)[0], 6)
        low, high = cell.radius("relaxation").beta
        for factor in (0.5, 0.99, 1.01, 2.0):
            beta = low * factor
            if math.isinf(low):
                assert reaches(cell, 1e6) is True
                continue
            truth = factor < 1
            assert high < 1.01 * low
            # the cheap box is exact in the plane and may leave a layer open beyond it, but is never wrong
            assert reaches(cell, beta) in ({truth} if input_dim == 2 else {truth, None})
            assert reaches(cell, beta, "relaxation") is truth


def test_the_counts_lie_between_the_law_of_one_point_and_twice_that():
    """By convexity, in the plane, one of two points at ``+-sqrt(beta)``: n = 4,000 puts p = 0.15 at +-0.006."""
    width, k, beta, draws = 60, 6, 0.1, 4_000
    one = theory.same_pattern(width, k, theory.cosine_from_beta(beta))
    found = reach(width, 2, k, beta, draws, 1)
    assert found.open == 0
    interval = Proportion(found.witnessed, draws).interval(4e-6)
    assert interval.lower <= 2 * one
    assert interval.upper >= one
    # negative control: beta read as the distance, not as its square
    wrong = theory.same_pattern(width, k, theory.cosine_from_beta(beta**2))
    assert interval.upper < wrong


def test_more_draws_begin_with_the_same_layers():
    few, more = reach(40, 2, 4, 0.05, 20, 2), reach(40, 2, 4, 0.05, 60, 2)
    assert few.certified <= more.certified <= few.certified + 40
    assert more != reach(40, 2, 4, 0.05, 60, 3)
    assert more.certified + more.witnessed + more.open == 60


def test_a_wide_layer_is_never_refuted_by_a_part_of_its_rows():
    width = LARGEST_STORED + 1
    assert reach(width, 2, width // 10, 1e-14, 20, 0) == Reach(0, 0, 20)
    assert reach(width, 3, width // 10, 0.1, 5, 0) == Reach(5, 0, 0)
    assert reach(LARGEST_STORED // 16, 2, 400, 1e-14, 5, 0) == Reach(0, 5, 0)  # stored: a witness counts


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), input_dim=st.integers(2, 4), k=st.integers(70, 200))
def test_the_cell_of_some_rows_contains_that_of_all(seed, input_dim, k):
    """What carries a certificate over: the rows nearest to the threshold give a radius at least as large."""
    weight = np.random.default_rng(seed).standard_normal((500, input_dim))
    order = np.argsort(-weight[:, 0])
    part = weight[order[k - 64 : k + 64]]
    all_rows = pattern_cell(weight, np.eye(input_dim)[0], k).radius("box")
    some = pattern_cell(part, np.eye(input_dim)[0], 64).radius("box")
    assert some.upper >= all_rows.lower


def order_statistics(k: int, width: int, seed: int, draws: int = 3_000) -> np.ndarray:
    """Of each layer: the threshold, the gap below it and the gap above the two nearest winners."""
    found = []
    for generator in np.random.default_rng(seed).spawn(draws):
        rows, kept = nearest_rows(width, 3, k, generator, count=3)
        h = rows[:, 0]
        found.append((h[0], h[0] - h[kept], h[2] - h[0], rows[4, 1]))
    return np.array(found)


def sorted_layers(k: int, width: int, seed: int, draws: int = 3_000) -> np.ndarray:
    h = -np.sort(-np.random.default_rng(seed).standard_normal((draws, width)), axis=1)
    other = np.random.default_rng(seed + 1).standard_normal(draws)
    return np.column_stack([h[:, k - 1], h[:, k - 1] - h[:, k], h[:, k - 3] - h[:, k - 1], other])


def test_the_nearest_rows_have_the_law_of_those_of_a_sorted_layer():
    """Two-sample Kolmogorov-Smirnov at n = 3,000 each: a shift of 0.2 standard deviations has p < 1e-10."""
    drawn, right = order_statistics(8, 50, 0), sorted_layers(8, 50, 1)
    for column in range(4):
        assert stats.ks_2samp(drawn[:, column], right[:, column]).pvalue > 4e-6
    wrong = sorted_layers(9, 50, 2)
    assert stats.ks_2samp(drawn[:, 0], wrong[:, 0]).pvalue < 1e-10
    assert stats.ks_2samp(drawn[:, 1], right[:, 2]).pvalue < 1e-10


def test_the_nearest_rows_are_ordered_and_no_more_than_there_are():
    rows, kept = nearest_rows(10**12, 2, 10**11, np.random.default_rng(0))
    assert rows.shape == (128, 2)
    assert kept == 64
    assert rows[:kept, 0].min() > rows[kept:, 0].max()
    rows, kept = nearest_rows(7, 2, 2, np.random.default_rng(0))
    assert (len(rows), kept) == (7, 2)
    rows, kept = nearest_rows(10**6, 2, 1, np.random.default_rng(0))
    assert kept == 1


@pytest.mark.parametrize("beta", [0.1, 0.25, 1e-9, 2.0, 0.1 + 2**-55])
def test_the_roots_enclose(beta):
    inside, outside = _roots(beta)
    assert Fraction(inside) ** 2 <= Fraction(beta) <= Fraction(outside) ** 2
    assert outside <= math.nextafter(inside, math.inf)


def test_a_cell_without_interior_is_left_open():
    weight = [[1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    assert reaches(pattern_cell(weight, E_1[2], 2), 0.1) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 1}, "width=1 is not allowed"),
        ({"input_dim": 1}, "input_dim=1 is not allowed"),
        ({"k": 40}, "k=40 is not allowed"),
        ({"beta": 0.0}, "beta=0.0 is not allowed"),
        ({"draws": 0}, "draws=0 is not allowed"),
        ({"seed": -1}, "seed=-1 is not allowed"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        reach(**({"width": 40, "input_dim": 2, "k": 4, "beta": 0.1, "draws": 1, "seed": 0} | arguments))


def test_a_bias_has_no_beta():
    cell = pattern_cell([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], 1, bias=[0.0, 0.1])
    with pytest.raises(InvalidArgumentError, match="the cell has a bias"):
        reaches(cell, 0.1)
