"""Example 1: binary inputs, with their duplicates and zeros."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kwta_theory.activation import activation_pattern
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Proportion
from kwta_theory.seeding import Stream
from kwta_theory.simulation import distinct_patterns, drawing
from kwta_theory.simulation.bernoulli import binary_factor

LIMIT = 4.6
TRIALS = 3000  # one standard error is at most 0.009


def z_score(counted: Proportion, probability: float) -> float:
    return (counted.value - probability) / math.sqrt(probability * (1 - probability) / counted.trials)


@pytest.mark.parametrize("method", ["gram", "dense"])
def test_one_input_dimension_is_all_or_nothing(method):
    """``m = 1``: inputs are 0 or 1, different with probability ``2 p (1 - p)``. The zero input then has the pattern of
    the first output alone, and the other one has the same with probability ``1/l``.
    """
    p, width = 0.3, 4
    result = distinct_patterns(width, 1, 1, 2, p, TRIALS, method=method)
    assert abs(z_score(result.duplicate_inputs, 1 - 2 * p * (1 - p))) < LIMIT
    assert abs(z_score(result.zero_inputs, 1 - p**2)) < LIMIT
    assert abs(z_score(result.distinct, 2 * p * (1 - p) * (1 - 1 / width))) < LIMIT
    assert abs(z_score(result.distinct, 2 * p * (1 - p))) > LIMIT  # negative control: ties of the zero input forgotten


@pytest.mark.parametrize("method", ["gram", "dense"])
def test_orthogonal_and_diagonal_inputs(method):
    """``m = 2``: at ``p = 1`` all inputs are equal; at ``p = 1/2``, ``l = 2``, ``k = 1`` by the 16 pairs of inputs."""
    assert distinct_patterns(8, 2, 2, 3, 1.0, 20, method=method).distinct.successes == 0
    inputs = [(0, 0), (1, 0), (0, 1), (1, 1)]
    expected = 0.0
    for a in inputs:
        for b in inputs:
            if a != b:
                if (0, 0) in (a, b):
                    expected += 0.5 / 16
                else:
                    cosine = np.dot(a, b) / math.sqrt(np.dot(a, a) * np.dot(b, b))
                    expected += (0.5 - math.asin(cosine) / math.pi) / 16
    assert abs(z_score(distinct_patterns(2, 1, 2, 2, 0.5, TRIALS, method=method).distinct, expected)) < LIMIT


def test_methods_agree_where_the_answer_is_open():
    gram = distinct_patterns(12, 3, 9, 6, 0.5, TRIALS, seed=1)
    dense = distinct_patterns(12, 3, 9, 6, 0.5, TRIALS, seed=2, method="dense")
    other = distinct_patterns(12, 3, 9, 6, 0.35, TRIALS, seed=2)

    def z(a: Proportion, b: Proportion) -> float:
        pooled = (a + b).value
        return (a.value - b.value) / math.sqrt(pooled * (1 - pooled) * 2 / TRIALS)

    assert 0.1 < gram.distinct.value < 0.9
    assert abs(z(gram.distinct, dense.distinct)) < LIMIT
    assert abs(z(gram.duplicate_inputs, dense.duplicate_inputs)) < LIMIT
    assert abs(z(gram.distinct, other.distinct)) > LIMIT  # negative control


def test_counts_are_those_of_the_definition_on_the_same_numbers():
    width, k, m, points, p, trials = 10, 3, 7, 5, 0.4, 60
    cpu = torch.device("cpu")
    distinct = duplicates = zeros = 0
    for t in range(trials):
        x = (Stream(5, "inputs").uniforms((t,), (points, m), cpu) < p).to(torch.float64)
        w = Stream(5, "layer").normals((t, 0), (1, m, width), cpu, torch.float64)[0]
        patterns = {tuple(row) for row in activation_pattern(x @ w, k).tolist()}
        rows = {tuple(row) for row in x.tolist()}
        distinct += len(patterns) == points
        duplicates += len(rows) < points
        zeros += (0.0,) * m in rows
    result = distinct_patterns(width, k, m, points, p, trials, seed=5, method="dense")
    assert [result.distinct.successes, result.duplicate_inputs.successes, result.zero_inputs.successes] == [
        distinct,
        duplicates,
        zeros,
    ]
    assert 0 < distinct < trials
    assert duplicates > 0
    assert zeros > 0


@pytest.mark.parametrize("method", ["gram", "dense"])
def test_factor_of_binary_inputs(method):
    x = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.float64)
    factor, first, zero = binary_factor(x, method)
    assert first.tolist() == [0, 1, 0, 3, 1]
    assert zero.tolist() == [False, True, False, False, True]
    norms = x.norm(dim=1).clamp(min=1)
    torch.testing.assert_close(factor @ factor.T, (x / norms[:, None]) @ (x / norms[:, None]).T, rtol=0, atol=1e-14)
    assert (factor[1] == 0).all()


@pytest.mark.parametrize("method", ["gram", "dense"])
def test_a_streamed_layer_agrees_with_a_held_one(monkeypatch, method):
    """Zeros and duplicates included: at p = 0.2 and m = 5 both are frequent."""
    held = distinct_patterns(60, 3, 5, 4, 0.2, 200, method=method)
    stored = Stream.normals

    def same_numbers(self, index, shape, device, dtype):
        columns = shape[-2]
        full = stored(self, (index[0], 0), (1, columns, 60), device, dtype)[0]
        return full[None] if len(shape) == 3 else full[:, index[1] * 7 : index[1] * 7 + shape[1]]

    monkeypatch.setattr(Stream, "normals", same_numbers)
    assert distinct_patterns(60, 3, 5, 4, 0.2, 200, method=method) == held
    monkeypatch.setattr(drawing, "CPU_TILE", 7 * (5 if method == "dense" else 4))
    assert distinct_patterns(60, 3, 5, 4, 0.2, 200, method=method) == held
    assert held.zero_inputs.successes > 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 1}, "width=1 is below k=2"),
        ({"input_dim": 0}, "input_dim=0 is not allowed"),
        ({"points": 1}, "points=1 is not allowed"),
        ({"probability": 1.2}, "probability=1.2 is not allowed"),
        ({"probability": math.nan}, "probability=nan is not allowed"),
        ({"method": "tail"}, "method='tail' is not allowed"),
        ({"trials": 0}, "trials=0 is not allowed"),
        ({"memory_budget": 10**6}, "memory_budget=1000000 bytes is too small"),
    ],
)
def test_bad_arguments(changes, sentence):
    good = {"width": 20, "k": 2, "input_dim": 8, "points": 3, "probability": 0.4, "trials": 5}
    with pytest.raises(InvalidArgumentError, match=sentence):
        distinct_patterns(**{**good, **changes})
