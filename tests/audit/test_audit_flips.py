"""Distances to changes of pattern against minimisation over pairs, and along lines against roots of pairs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from region_networks import network, normal
from torch import nn

from kwta_theory import KWTA
from kwta_theory.audit import flips
from kwta_theory.audit.layers import find_layers, run

WIDTH, K, LINES = 12, 3, 12
CPU = torch.device("cpu")


def linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64).requires_grad_(False)
    layer.weight.copy_(weight)
    layer.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return layer


def measured(model: nn.Module, x: torch.Tensor, radius: float, norm: str = "euclidean") -> list[flips.Distances]:
    ends = flips.steps(x, radius, norm, seed=5)
    return flips.measure(model, find_layers(model, x), x, ends, norm, CPU, lambda _: None)


def pairs(z: np.ndarray, k: int) -> list[tuple[int, int]]:
    order = np.argsort(-z, kind="stable")
    return list(itertools.product(order[:k], order[k:]))


@pytest.mark.parametrize(("norm", "dual"), [("euclidean", 2), ("maximum", 1)])
def test_one_layer_against_all_pairs(norm, dual):
    weight, bias, x = normal(0, WIDTH, 5), normal(1, WIDTH), normal(2, LINES, 5)
    model = nn.Sequential(linear(weight, bias), KWTA(K / WIDTH))
    (found,) = measured(model, x, 0.3, norm)
    ends = flips.steps(x, 0.3, norm, seed=5)
    W = weight.numpy()
    for i, (start, end) in enumerate(zip(x, ends, strict=True)):
        z, slope = W @ start.numpy() + bias.numpy(), W @ (end - start).numpy()
        nearest = min((z[a] - z[b]) / np.linalg.norm(W[a] - W[b], ord=dual) for a, b in pairs(z, K))
        assert found.exact[i] == pytest.approx(nearest, rel=1e-9)
        assert found.upper[i] == found.exact[i]
        # Along the line, the first pair (winner, loser) that meets.
        roots = [(z[a] - z[b]) / (slope[b] - slope[a]) for a, b in pairs(z, K) if slope[b] > slope[a]]
        first = min(roots, default=math.inf)
        assert found.random[i] == pytest.approx(0.3 * first if first < 1 else math.inf, rel=1e-9)
        at = np.linspace(0, 1, 20_001)[:, None]
        sets = np.sort(np.argsort(-(z + at * slope), axis=1)[:, :K], axis=1)
        assert found.flips[i] >= int((sets[1:] != sets[:-1]).any(1).sum())
        assert found.exact[i] <= found.random[i]
    assert sum(found.flips) > 0
    assert math.inf in found.random


@pytest.mark.parametrize(("norm", "dual"), [("euclidean", 2), ("maximum", 1)])
def test_a_second_layer_between_its_bounds(norm, dual):
    # The first layer lets everything through, so the second is affine in the input and its distance is known.
    first, second, x = normal(3, 6, 5), normal(4, WIDTH, 6), normal(5, LINES, 5)
    model = nn.Sequential(linear(first), KWTA(1.0), linear(second), KWTA(K / WIDTH))
    found = measured(model, x, 5.0, norm)
    assert found[0].exact == (math.inf,) * LINES
    assert found[0].upper == (math.inf,) * LINES
    assert found[1].exact is None
    W = (second @ first).numpy()
    tight = 0
    for start, upper, random in zip(x, found[1].upper, found[1].random, strict=True):
        z = W @ start.numpy()
        truth = min((z[a] - z[b]) / np.linalg.norm(W[a] - W[b], ord=dual) for a, b in pairs(z, K))
        a, b = np.argsort(-z)[K - 1 : K + 1]
        assert truth * (1 - 1e-9) <= upper <= (z[a] - z[b]) / np.linalg.norm(W[a] - W[b], ord=dual) * (1 + 1e-9)
        assert upper <= random
        tight += upper <= truth * (1 + 1e-6)
    assert tight > LINES / 3  # the line of the runner-up is often the nearest of all


def test_a_deep_layer_changes_where_its_bound_says():
    model, x = network("kwta", np.random.default_rng(0)), normal(6, LINES, 4)
    layers = find_layers(model, x)
    for found, layer in zip(measured(model, x, 0.5), layers, strict=True):
        assert all(upper <= random for upper, random in zip(found.upper, found.random, strict=True))
        # Along the random line the pattern stays up to the distance, and is another one behind it.
        ends = flips.steps(x, 0.5, "euclidean", seed=5)
        for i, far in enumerate(found.random):
            t = np.array([0.0, 0.5, 0.999, 1.001]) * min(far, 0.5) / 0.5
            points = x[i] + torch.from_numpy(t)[:, None] * (ends[i] - x[i])
            with torch.no_grad():
                seen = next(call for call in run(model, points) if call.name == layer.name)
            same = (layer.pattern(seen.z) == layer.pattern(seen.z)[0]).all(1).tolist()
            assert same[:3] == [True] * 3
            assert same[3] == (far == math.inf)


def test_ties_are_distance_zero_and_duplicates_are_not():
    weight = torch.eye(3, dtype=torch.float64)
    model = nn.Sequential(linear(weight), KWTA(1 / 3))
    tied = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.5, 0.0]], dtype=torch.float64)
    (found,) = measured(model, tied, 0.4)
    assert found.exact[0] == 0.0
    assert found.exact[1] == pytest.approx(0.5 / math.sqrt(2))
    ends = flips.steps(tied, 0.4, "euclidean", seed=5)
    moves = bool(ends[0, 1] - 1 > ends[0, 0] - 1)  # the second unit overtakes at once
    assert (found.random[0] == 0.0) == moves
    for seed in range(4):  # one of the seeds moves each way
        ends = flips.steps(tied[:1], 0.4, "euclidean", seed)
        (one,) = flips.measure(model, find_layers(model, tied), tied[:1], ends, "euclidean", CPU, lambda _: None)
        assert (one.random[0] == 0.0) == bool(ends[0, 1] > ends[0, 0])
    # Two units that are the same never change places.
    same = nn.Sequential(linear(torch.tensor([[1.0, 0], [1, 0], [0, 1]], dtype=torch.float64)), KWTA(1 / 3))
    (found,) = measured(same, torch.tensor([[3.0, 1.0]], dtype=torch.float64), 0.1)
    assert found.exact[0] == pytest.approx(2 / math.sqrt(2))
    assert found.random == (math.inf,)


def test_what_follows_the_last_layer_does_not_matter():
    x = normal(7, 3, 4)
    model = network("kwta", np.random.default_rng(1))
    odd = nn.Sequential(*model, nn.Softmax(1))
    assert measured(odd, x, 0.3) == measured(model, x, 0.3)
    twice = KWTA(0.25)
    again = nn.Sequential(linear(normal(0, 8, 4)), twice, linear(normal(1, 8, 8)), twice, nn.Linear(8, 2).double())
    assert [layer.name for layer in find_layers(again, x)] == ["1", "1#2"]
    assert len(measured(again, x, 0.3)) == 2


def test_steps_have_their_length():
    x = normal(8, 6, 2, 3)
    for norm, order in (("euclidean", 2), ("maximum", math.inf)):
        apart = (flips.steps(x, 0.7, norm, 0) - x).flatten(1)
        assert torch.linalg.vector_norm(apart, ord=order, dim=1).numpy() == pytest.approx(0.7)
    assert not torch.equal(flips.steps(x, 0.7, "euclidean", 0), flips.steps(x, 0.7, "euclidean", 1))
