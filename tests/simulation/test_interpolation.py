"""Theorem 11: cases whose answer is known, and a reference that lays out the full feature matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.seeding import Stream
from kwta_theory.simulation import disjoint_patterns, drawing, interpolation, kernels
from kwta_theory.simulation.fitting import fit
from kwta_theory.simulation.layers import from_points

RNG = np.random.default_rng(0)
POINTS = RNG.standard_normal((5, 12)) * [[1], [2], [0.5], [10], [3]]
LABELS = np.array([1.0, -2.0, 3.0, 0.0, 5.0])


def features(width: int, k: int, trials: int, seed: int, points: np.ndarray = POINTS) -> list[np.ndarray]:
    """``phi_k(W x_i)`` in full, rows of variance 1, on the numbers of the first tile."""
    inputs = from_points(points)
    layer = drawing.Layer.create(
        inputs.factor, width, drawing.Settings.checked(trials, seed, "cpu", torch.float64, 2**30, 1)
    )
    outputs = layer.outputs(0)[:trials] * torch.from_numpy(inputs.norms)[:, None]
    return list(torch.where(kernels.winner_mask(outputs, k), outputs, 0.0).numpy())


@pytest.mark.parametrize(("width", "k"), [(200, 2), (12, 4), (40, 40), (6, 1)])
def test_ranks_norms_and_residuals_are_those_of_the_full_matrix(width, k):
    trials = 60
    result = interpolation(width, k, LABELS, trials, points=POINTS, seed=1)
    for t, full in enumerate(features(width, k, trials, 1)):
        rank = np.linalg.matrix_rank(full / np.linalg.norm(full, axis=1, keepdims=True))
        assert result.rank[t] == rank
        won = full != 0
        own = [won[i] & ~np.delete(won, i, axis=0).any(axis=0) for i in range(5)]
        built = all(mine.any() for mine in own)
        assert np.isnan(result.proof_norm[t]) == (not built)
        if built:
            heights = [np.abs(full[i][own[i]]).max() for i in range(5)]
            norm = np.linalg.norm(LABELS / heights)
            assert result.proof_norm[t] == pytest.approx(math.sqrt(width) * norm, rel=1e-10)
            assert result.proof_residual[t] < 1e-13
        if rank == 5:
            vector = np.linalg.lstsq(full, LABELS, rcond=None)[0]
            assert result.minimum_norm[t] == pytest.approx(math.sqrt(width) * np.linalg.norm(vector), rel=1e-6)
            assert result.minimum_residual[t] < 1e-8
    assert result.any_vector.successes == (result.rank == 5).sum()
    assert result.proof_vector.successes == np.isfinite(result.proof_norm).sum()


def test_disjoint_counts_are_those_of_disjoint_patterns_and_imply_the_rest():
    result = interpolation(60, 2, LABELS, 500, points=POINTS, seed=2)
    counted = disjoint_patterns(60, 2, trials=500, points=POINTS, seed=2).all_pairs
    assert result.disjoint == counted
    assert 0 < counted.successes < 500
    assert counted.successes <= result.proof_vector.successes <= result.any_vector.successes
    assert result.any_vector.successes <= result.these_labels.successes
    assert (result.minimum_norm <= result.proof_norm * (1 + 1e-9))[np.isfinite(result.proof_norm)].all()


def test_one_winner_wins_for_all_labels_exactly_when_patterns_are_disjoint():
    result = interpolation(8, 1, LABELS, 500, points=POINTS, seed=3)
    assert result.disjoint == result.proof_vector == result.any_vector
    assert 0 < result.disjoint.successes < 500


@pytest.mark.parametrize("width", [50, 100_000])
def test_multiples_can_be_fitted_only_with_labels_in_proportion(width):
    """``phi_k(3 W x) = 3 phi_k(W x)``: the rank is one less, whatever the layer, narrow or streamed."""
    points = np.vstack([POINTS, POINTS[1] * 3])
    trials = 40 if width == 50 else 2
    right = interpolation(width, 3, [*LABELS, 3 * LABELS[1]], trials, points=points)
    wrong = interpolation(width, 3, [*LABELS, 3 * LABELS[1] + 0.5], trials, points=points)
    assert (right.rank == 5).all()
    assert right.any_vector.successes == right.proof_vector.successes == right.disjoint.successes == 0
    assert right.these_labels.successes == trials
    assert wrong.these_labels.successes == 0
    assert (wrong.minimum_residual > 0.01).all()


def test_more_points_than_outputs_cannot_be_fitted():
    result = interpolation(4, 2, np.arange(1.0, 8.0), 30, points=RNG.standard_normal((7, 9)))
    assert (result.rank <= 4).all()
    assert result.any_vector.successes == result.these_labels.successes == 0


def test_zero_labels_need_nothing():
    result = interpolation(30, 2, np.zeros(5), 20, points=POINTS)
    assert result.these_labels.successes == 20
    assert (result.minimum_norm == 0).all()


def test_norms_are_those_of_the_papers_layer():
    """With ``W / sqrt(l)``, features shrink by ``sqrt(l)`` and ``v`` grows by it: built here from the definition."""
    width = 80
    result = interpolation(width, 3, LABELS, 5, points=POINTS, seed=4)
    for t, full in enumerate(features(width, 3, 5, 4)):
        vector = np.linalg.pinv(full / math.sqrt(width)) @ LABELS
        assert result.minimum_norm[t] == pytest.approx(np.linalg.norm(vector), rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_half_precision_outputs_are_fitted_in_double(dtype):
    result = interpolation(300, 2, LABELS, 20, points=POINTS, dtype=dtype)
    assert result.any_vector.successes == 20
    assert result.minimum_residual.max() < 1e-12


def test_pair_gram_and_dense_inputs():
    for arguments in (
        {"cosine": 0.3},
        {"gram": [[1.0, 0.3], [0.3, 1.0]]},
        {"cosine": 0.3, "method": "dense", "input_dim": 9},
    ):
        result = interpolation(50, 2, [1.0, 2.0], 50, **arguments)
        assert result.any_vector.successes == 50


def test_streaming_equals_holding_the_layer(monkeypatch):
    normals = Stream(0, "stored").normals((0,), (10, 5, 90), torch.device("cpu"), torch.float64)

    def stored(self, index, shape, device, dtype):
        trial, chunk = index
        return normals[: shape[0]] if len(shape) == 3 else normals[trial, :, chunk * 11 : chunk * 11 + shape[1]]

    monkeypatch.setattr(Stream, "normals", stored)
    monkeypatch.setattr(drawing, "CPU_TILE", 10 * 90 * 5)
    held = interpolation(90, 3, LABELS, 10, points=POINTS)
    monkeypatch.setattr(drawing, "CPU_TILE", 11 * 5)
    streamed = interpolation(90, 3, LABELS, 10, points=POINTS)
    assert streamed.disjoint == held.disjoint
    np.testing.assert_array_equal(streamed.rank, held.rank)
    np.testing.assert_allclose(streamed.minimum_norm, held.minimum_norm, rtol=1e-12)
    np.testing.assert_allclose(streamed.proof_norm, held.proof_norm, rtol=1e-12)


def test_a_winner_of_value_zero_does_not_count_for_the_proof():
    columns = torch.tensor([[[0], [1]]])
    labels, norms = torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    result = fit(columns, torch.tensor([[[0.0], [2.0]]], dtype=torch.float64), 2, labels, norms)
    assert result.disjoint.tolist() == [True]
    assert result.proof_vector.tolist() == [False]
    assert result.rank.tolist() == [1]
    assert result.these_labels.tolist() == [False]


@pytest.mark.parametrize(
    ("labels", "arguments", "sentence"),
    [
        ([1, 2, 3], {"cosine": 0.5}, r"labels have shape \(3,\): there must be one for each of the 2 inputs"),
        ([1, math.nan], {"cosine": 0.5}, "labels have NaN or infinity"),
        (["a", "b"], {"cosine": 0.5}, "labels are not numbers: they must be 2 finite numbers"),
        ([1, 2], {}, "nothing was given"),
        ([1, 2], {"cosine": 0.5, "memory_budget": 10**6}, "memory_budget=1000000 bytes is too small"),
        ([1, 2], {"cosine": 0.5, "trials": -1}, "trials=-1 is not allowed"),
    ],
)
def test_bad_arguments(labels, arguments, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        interpolation(20, 2, labels, **{"trials": 10, **arguments})
