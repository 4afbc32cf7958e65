"""Factors: right to rounding where an eigenvalue decomposition would lose half the digits; bad inputs are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.simulation.layers import check_method, from_any, from_cosine, from_gram, from_points

RNG = np.random.default_rng(0)


def cosines(points: np.ndarray) -> np.ndarray:
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("shape", [(3, 10), (10, 3), (5, 5), (1, 4), (4, 1)])
@pytest.mark.parametrize("method", ["gram", "dense"])
def test_rows_of_the_factor_have_the_cosines_of_the_points(shape, method):
    points = RNG.standard_normal(shape) * 10.0 ** RNG.integers(-200, 200, shape[0])[:, None]
    inputs = from_points(points, method)
    rows = inputs.factor[inputs.representative]
    scaled = points / np.abs(points).max(axis=1, keepdims=True)
    np.testing.assert_allclose(rows @ rows.T, cosines(scaled), atol=1e-14)
    np.testing.assert_allclose(inputs.norms, np.abs(points).max(axis=1) * np.linalg.norm(scaled, axis=1), rtol=1e-14)
    assert inputs.factor.shape[1] == (shape[1] if method == "dense" else min(len(inputs.factor), shape[1]))


def test_rank_is_that_of_the_points():
    points = RNG.standard_normal((50, 3)) @ RNG.standard_normal((3, 200))
    inputs = from_points(points)
    assert inputs.factor.shape == (50, 3)
    np.testing.assert_allclose(inputs.factor @ inputs.factor.T, cosines(points), atol=1e-14)


def test_nearly_parallel_points_keep_their_angle():
    """At an angle of 1e-10 the Gram matrix of the points is singular in double precision; QR does not care."""
    points = np.array([[1.0, 0.0, 0.0], [1.0, 1e-10, 0.0]])
    factor = from_points(points).factor
    assert np.linalg.norm(factor[1] - factor[0]) == pytest.approx(1e-10, rel=1e-5)
    assert len(from_gram(points @ points.T).factor) == 1  # what the docstring of from_gram says


def test_positive_multiples_share_a_row_and_opposites_do_not():
    points = RNG.standard_normal((4, 7))
    many = np.vstack([points, points[2] * 3, points[0] / 7, -points[1], points[2] * 1e-300])
    for method in ("gram", "dense"):
        inputs = from_points(many, method)
        assert inputs.representative.tolist() == [0, 1, 2, 3, 2, 0, 4, 2]
        assert len(inputs.factor) == 5


def test_gram_matrix():
    points = RNG.standard_normal((6, 9)) * np.arange(1, 7)[:, None]
    inputs = from_gram(points @ points.T)
    np.testing.assert_allclose(inputs.factor @ inputs.factor.T, cosines(points), atol=1e-14)
    np.testing.assert_allclose(inputs.norms, np.linalg.norm(points, axis=1))
    low = RNG.standard_normal((6, 2))
    assert from_gram(low @ low.T).factor.shape[1] == 2
    assert from_gram([[4.0, 2.0], [2.0, 1.0]]).representative.tolist() == [0, 0]


@pytest.mark.parametrize("alpha", [-1.0, -0.3, 0.0, 0.9, 1 - 1e-12, 1.0])
@pytest.mark.parametrize("input_dim", [2, 3, 784])
def test_a_pair_has_its_cosine_in_any_dimension(alpha, input_dim):
    for inputs in (from_cosine(alpha), from_cosine(alpha, "dense", input_dim)):
        rows = inputs.factor[inputs.representative]
        assert math.hypot(*(rows[1] - rows[0])) == pytest.approx(math.sqrt(2 - 2 * alpha), rel=1e-9, abs=1e-15)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-14)
    assert from_cosine(alpha, "dense", input_dim).factor.shape[1] == input_dim
    assert len(from_cosine(alpha).factor) == (1 if alpha == 1 else 2)


def test_every_entry_of_a_dense_layer_counts_for_a_pair():
    factor = from_cosine(0.5, "dense", 11).factor
    assert (factor != 0).any(axis=0).all()


NOT_PSD = [[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]


@pytest.mark.parametrize(
    ("gram", "sentence"),
    [
        ("ab", "gram is not an array of numbers"),
        ([[1.0, 0.0]], r"gram has shape \(1, 2\)"),
        ([], r"gram has shape \(0,\)"),
        ([[1.0, np.nan], [np.nan, 1.0]], "gram has NaN or infinity"),
        ([[1.0, 0.0], [0.0, 0.0]], "gram has the diagonal entry 0 in row 1"),
        ([[1.0, 0.5], [0.4, 1.0]], "gram is not symmetric: .* by 0.1"),
        (NOT_PSD, "gram is not positive semidefinite: .* misses its cosines by"),
        ([[1.0, 1.1], [1.1, 1.0]], "gram is not positive semidefinite: .* by 0.1"),
        ([[1.0, 1.0, 0.5], [1.0, 1.0, 0.4], [0.5, 0.4, 1.0]], "gram is not positive semidefinite: .* by 0.1"),
    ],
)
def test_bad_gram_matrix(gram, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        from_gram(gram)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((None, None, None, "gram", None), "nothing was given: exactly one of cosine, points and gram"),
        ((0.5, np.eye(2), None, "gram", None), "cosine and points was given: exactly one"),
        ((0.5, None, None, "gram", 7), "input_dim=7 has no effect with method='gram'"),
        ((0.5, None, None, "dense", None), "input_dim is missing"),
        ((0.5, None, None, "dense", 1), "input_dim=1 is not allowed"),
        ((0.5, None, None, "tail", None), "method='tail' is not allowed: it must be 'gram' or 'dense'"),
        ((1.5, None, None, "gram", None), "cosine=1.5 is not allowed"),
        ((None, np.eye(2), None, "gram", 7), "input_dim=7 is only for a pair given by a cosine"),
        (
            (None, None, np.eye(2), "dense", None),
            "method='dense' draws W for inputs: give points or a cosine, not gram",
        ),
        ((None, np.eye(2)[:1], None, "gram", None), "points holds one input"),
        ((None, None, [[1.0]], "gram", None), "gram holds one input"),
        ((None, [[1.0, 0.0], [0.0, 0.0]], None, "gram", None), "points has a zero row, row 1"),
    ],
)
def test_inputs_given_badly(arguments, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        from_any(*arguments)


def test_method_by_name():
    assert check_method("gram") == "gram"
    assert check_method("dense") == "dense"
