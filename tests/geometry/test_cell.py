"""The cell: membership, boundaries, active rows and vertices, against definitions and other routes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kwta_theory import activation_pattern
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.geometry import PatternCell, pattern_cell
from kwta_theory.regions import first_layer_distance


def draw(
    width: int, input_dim: int, seed: int = 0, *, bias: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng([seed, width, input_dim])
    return (
        rng.standard_normal((width, input_dim)),
        rng.standard_normal(input_dim),
        2.0 * rng.standard_normal(width) if bias else None,
    )


def cell_of(width: int, input_dim: int, k: int, seed: int = 0, *, bias: bool = False) -> PatternCell:
    weight, x, offsets = draw(width, input_dim, seed, bias=bias)
    return pattern_cell(weight, x, k, offsets)


def reference(weight: np.ndarray, bias: np.ndarray | None, x: np.ndarray, k: int) -> set[int]:
    """The k largest by fractions, all rows, ties to the smaller index."""
    values = [sum(Fraction(w) * Fraction(v) for w, v in zip(row, x.tolist(), strict=True)) for row in weight.tolist()]
    if bias is not None:
        values = [value + Fraction(offset) for value, offset in zip(values, bias.tolist(), strict=True)]
    return set(sorted(range(len(values)), key=lambda row: (-values[row], row))[:k])


small = st.integers(-2, 2).map(float)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, 6), st.integers(1, 3), st.booleans())
def test_pattern_and_membership_follow_the_definition_ties_included(data, width, input_dim, with_bias):
    """Small integers tie often; every decision is compared with sorting fractions."""
    rows = data.draw(st.lists(st.lists(small, min_size=input_dim, max_size=input_dim), min_size=width, max_size=width))
    x = np.array(data.draw(st.lists(small, min_size=input_dim, max_size=input_dim)))
    other = np.array(data.draw(st.lists(small, min_size=input_dim, max_size=input_dim)))
    weight = np.array(rows)
    bias = np.array(data.draw(st.lists(small, min_size=width, max_size=width))) if with_bias else None
    k = data.draw(st.integers(1, width - 1))
    if bias is None and not x.any():
        x[0] = 1.0
    cell = pattern_cell(weight, x, k, bias)
    assert set(np.flatnonzero(cell.winners).tolist()) == reference(weight, bias, x, k)
    assert cell.contains(x)
    assert cell.contains(other) == (reference(weight, bias, other, k) == reference(weight, bias, x, k))
    outputs = sorted((weight @ x + (0 if bias is None else bias)).tolist(), reverse=True)
    assert (cell.tie is not None) == (outputs[k - 1] == outputs[k])


def test_membership_agrees_with_the_activation_of_the_package():
    """1,000 points near the threshold of a layer of 50 rows; both answers occur."""
    weight, x, bias = draw(50, 4, bias=True)
    cell = pattern_cell(weight, x, 5, bias)
    points = x + 0.5 * np.random.default_rng(1).standard_normal((1000, 4))
    inside = cell.contains(points)
    outputs = torch.from_numpy(np.vstack([points, x]) @ weight.T + bias)
    patterns = activation_pattern(outputs, 5)
    assert (inside == (patterns[:-1] == patterns[-1]).all(dim=1).numpy()).all()
    assert 100 < inside.sum() < 900


def test_membership_is_exact_where_floating_point_is_not():
    """1e16 + 1 - 1e16 in float64 is 0 or 1 by the order of summation; exactly it is 1, the smallest winner by far."""
    weight = np.array([[1e16, 1.0, -1e16], [0.0, 0.5, 0.0], [0.0, 0.25, 0.0]])
    cell = pattern_cell(weight, [1.0, 1.0, 1.0], 1)
    assert cell.winners.tolist() == [True, False, False]
    assert cell.contains([3.0, 1.0, 3.0])
    assert not cell.contains([3.0, -1.0, 3.0])


def test_tensors_and_single_precision_are_taken_as_they_are():
    weight, x, _ = draw(30, 3)
    cell = pattern_cell(torch.tensor(weight, dtype=torch.float32), torch.tensor(x, dtype=torch.float32), 4)
    assert (cell.weight == weight.astype(np.float32)).all()
    assert (cell.x == x.astype(np.float32)).all()


def test_the_input_is_copied_and_the_layer_is_not():
    weight, x, _ = draw(30, 3)
    cell = pattern_cell(weight, x, 4)
    x[:] = 0.0
    assert cell.x.any()
    assert np.shares_memory(cell.weight, weight)
    assert weight.flags.writeable
    assert "width=30, input_dim=3, k=4, cone" in repr(cell)
    assert "polyhedron" in repr(cell_of(30, 3, 4, bias=True))
    with pytest.raises(ValueError, match="read-only"):
        cell.x[0] = 0.0


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("k", [1, 7, 59])
def test_the_nearest_boundary_is_the_least_over_all_pairs(k, bias):
    weight, x, offsets = draw(60, 4, seed=k, bias=bias)
    cell = pattern_cell(weight, x, k, offsets)
    winners, losers = np.flatnonzero(cell.winners), np.flatnonzero(~cell.winners)
    unit = x / np.linalg.norm(x)
    best = math.inf
    for i in winners:
        for j in losers:
            apart = weight[i] - weight[j]
            if bias:
                best = min(best, (apart @ x + offsets[i] - offsets[j]) / np.linalg.norm(apart))
            else:
                best = min(best, apart @ unit / np.linalg.norm(apart - (apart @ unit) * unit))
    found = cell.nearest_boundary()
    assert found.distance == pytest.approx(best, rel=1e-12)
    assert cell.boundary_along(found.direction) == pytest.approx(best, rel=1e-9)
    start = x if bias else unit
    assert cell.contains(start + found.direction * best * (1 - 1e-9))
    assert not cell.contains(start + found.direction * best * (1 + 1e-9))
    across = weight @ (start + found.direction * best) + (offsets if bias else 0.0)
    assert across[found.winner] == pytest.approx(across[found.loser], abs=1e-12)


def test_the_nearest_boundary_agrees_with_that_of_the_regions_of_a_network():
    """The distance there is Euclidean, the sine of the angle where ``|x| = 1``; here it is the tangent."""
    weight, x, _ = draw(200, 5)
    layer = nn.Sequential(nn.Linear(5, 200, bias=False), _kwta()).double()
    with torch.no_grad():
        layer[0].weight.copy_(torch.from_numpy(weight))
    sine = first_layer_distance(layer, torch.from_numpy(x)[None]).item() / np.linalg.norm(x)
    assert pattern_cell(weight, x, 20).nearest_boundary().distance == pytest.approx(
        sine / math.sqrt(1 - sine**2), rel=1e-9
    )


def _kwta() -> nn.Module:
    from kwta_theory import KWTA

    return KWTA(0.1)


@pytest.mark.parametrize("bias", [False, True])
def test_the_boundary_along_a_direction_is_where_membership_ends(bias):
    cell = cell_of(100, 5, 10, bias=bias)
    directions = np.random.default_rng(3).standard_normal((200, 5))
    distances = cell.boundary_along(directions)
    unit = cell.x / np.linalg.norm(cell.x)
    for direction, distance in zip(directions, distances, strict=True):
        if not bias:
            direction = direction - (direction @ unit) * unit
        way = direction / np.linalg.norm(direction)
        start = cell.x if bias else unit
        assert cell.contains(start + way * distance * (1 - 1e-9))
        assert not cell.contains(start + way * distance * (1 + 1e-9))
    assert distances.min() >= cell.nearest_boundary().distance
    assert cell.boundary_along(directions[0]) == distances[0]


def test_a_direction_without_a_boundary():
    cell = pattern_cell([[2.0, 1.0], [1.0, 0.0]], [1.0, 0.0], 1)
    assert cell.boundary_along([0.0, 1.0]) == math.inf
    assert cell.boundary_along([0.0, -1.0]) == pytest.approx(1.0)
    same = pattern_cell([[2.0, 1.0], [1.0, 1.0]], [1.0, 0.0], 1)  # they differ along x only: no tie in the slice
    assert same.nearest_boundary().distance == math.inf
    assert (same.nearest_boundary().winner, same.nearest_boundary().loser) == (-1, -1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("input_dim", [2, 3, 5])
def test_active_rows_are_those_without_which_the_cell_is_another(input_dim, bias):
    """Every facet of the lifted polytope by Qhull, all rows given; and what is no active row changes no membership."""
    cell = cell_of(60, input_dim, 10, seed=input_dim, bias=bias)
    active = cell.active_rows()
    assert set(active.tolist()) == _facets(cell)
    keep = np.concatenate([active[cell.winners[active]], active[~cell.winners[active]]])
    less = pattern_cell(
        cell.weight[keep], cell.x, int(cell.winners[keep].sum()), None if cell.bias is None else cell.bias[keep]
    )
    points = cell.x + 0.3 * np.random.default_rng(0).standard_normal((500, input_dim))
    assert (cell.contains(points) == less.contains(points)).all()


def _facets(cell: PatternCell) -> set[int]:
    """Rows whose removal lets a vertex of the others violate them: one linear programme a row, by scipy."""
    from scipy.optimize import linprog

    forms = cell.forms(np.arange(cell.width))
    if cell.bias is None:  # the slice x . x' = |x|^2
        equality, value, matrix, offset = np.append(cell.x, 0.0)[None], [cell.x @ cell.x], forms, np.zeros(cell.width)
    else:
        equality, value, matrix, offset = None, None, forms[:, :-1], forms[:, -1]
    found = set()
    for row in range(cell.width):
        others = np.arange(cell.width) != row
        matrix_there = np.vstack([-matrix[others], -matrix[row]])
        limits = np.append(offset[others], offset[row] + 1.0)
        answer = linprog(matrix[row], matrix_there, limits, equality, value, bounds=(None, None))
        if answer.fun + offset[row] < -1e-9:
            found.add(row)
    return found


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("input_dim", [2, 3, 4])
def test_vertices_are_corners_of_the_cell(input_dim, bias):
    """Each vertex is in the closure and leaves outwards; the hull contains every point found inside."""
    cell = cell_of(80, input_dim, 8, seed=input_dim, bias=bias)
    vertices = cell.vertices()
    start = cell.x
    for vertex in vertices:
        assert cell.contains(start + (vertex - start) * (1 - 1e-9))
        assert not cell.contains(start + (vertex - start) * (1 + 1e-6))
    distances = np.linalg.norm(vertices - start, axis=1) / (1.0 if bias else np.linalg.norm(start))
    assert distances.max() == pytest.approx(cell.radius().lower, rel=1e-9)


def test_bad_input_is_refused_with_a_sentence():
    weight, x, bias = draw(10, 3, bias=True)
    for arguments, sentence in (
        ((weight[0], x, 2), "weight is not an array of real numbers with 2 dimensions: its shape is"),
        ((weight, weight, 2), "x is not an array of real numbers with 1 dimension: its shape"),
        ((weight[:0], x, 2), "weight is not an array"),
        ((weight, x[:2], 2), "x has length 2: it must be 3"),
        ((weight, x, 2, bias[:4]), "bias has length 4: it must be 10"),
        ((weight * 1j, x, 2), "weight is not an array of real numbers with 2 dimensions."),
        (("text", x, 2), "weight is not an array"),
        ((weight, np.array([1.0, np.nan, 0.0]), 2), "x has NaN or infinity"),
        ((np.full((10, 3), np.inf), x, 2), "weight has NaN or infinity"),
        ((weight * 1e150, x, 2), "weight has largest entry .*squares stay within float64"),
        ((weight, x * 1e-150, 2), "x has largest entry .*squares"),
        ((weight, np.zeros(3), 2), "x is zero: without a bias"),
        ((weight, x, 0), "k=0 is not allowed"),
        ((weight, x, 10), "k=10 is not below the 10 rows of weight"),
        ((weight, x, 2.5), "k=2.5 is not allowed"),
        ((torch.tensor(weight, requires_grad=True), x, 2), "weight is not an array"),
        ((np.ones((4, 257)), np.ones(257), 2), "weight has 257 columns: at most 256"),
    ):
        with pytest.raises(InvalidArgumentError, match=sentence):
            pattern_cell(*arguments)
    pattern_cell(weight, np.zeros(3), 2, bias)  # with a bias a zero input is an input


def test_bad_points_and_directions_are_refused_with_a_sentence():
    cell = cell_of(10, 3, 2)
    with pytest.raises(InvalidArgumentError, match="points has length 2: it must be 3"):
        cell.contains([1.0, 2.0])
    with pytest.raises(InvalidArgumentError, match="points is not an array of real numbers with 2 dimensions"):
        cell.contains(np.zeros((2, 2, 3)))
    with pytest.raises(InvalidArgumentError, match="points has NaN"):
        cell.contains([1.0, np.nan, 0.0])
    with pytest.raises(InvalidArgumentError, match=r"directions has shape \(2,\)"):
        cell.boundary_along([1.0, 2.0])
    with pytest.raises(InvalidArgumentError, match="directions has row 1 zero or parallel to x"):
        cell.boundary_along([[1.0, 2.0, 3.0], 2 * cell.x])
    with pytest.raises(InvalidArgumentError, match="directions has row 0 zero:"):
        cell_of(10, 3, 2, bias=True).boundary_along([0.0, 0.0, 0.0])
    with pytest.raises(InvalidArgumentError, match="7 dimensions: vertices are listed for at most 6"):
        cell_of(100, 7, 10).vertices()
    open_cell = pattern_cell([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], 1)
    with pytest.raises(InvalidArgumentError, match="unbounded: vertices and active rows"):
        open_cell.vertices()
    with pytest.raises(InvalidArgumentError, match="unbounded: vertices and active rows"):
        open_cell.active_rows()
