"""The nearest boundary of the first layer: against all pairs, and by walking to it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from kwta_theory import KWTA, LWTA
from kwta_theory.checks import InvalidArgumentError, winners
from kwta_theory.regions import first_layer_distance, line_regions, random_lines

DUAL = {"euclidean": 2, "maximum": 1}


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng([43, seed]).standard_normal(shape))


def dense(activation: nn.Module, inputs: int = 9, units: int = 40) -> nn.Sequential:
    linear = nn.Linear(inputs, units).double().requires_grad_(False)
    linear.weight.copy_(normal(1, units, inputs))
    linear.bias.copy_(normal(2, units))
    return nn.Sequential(linear, activation, nn.Linear(units, 3).double())


def convolution(activation: nn.Module) -> nn.Sequential:
    layer = nn.Conv2d(1, 4, 3, padding=1).double().requires_grad_(False)
    layer.weight.copy_(normal(3, 4, 1, 3, 3))
    layer.bias.copy_(normal(4, 4))
    return nn.Sequential(layer, activation, nn.Flatten(), nn.Linear(144, 3).double())


def pairs_of(activation: nn.Module, z: torch.Tensor) -> list[tuple[int, int]]:
    """(winner, loser) of a layer, one by one."""
    flat = z.flatten()
    if isinstance(activation, KWTA):
        groups, k = [list(range(len(flat)))], winners(len(flat), activation.sparsity_ratio)
    else:
        index = torch.arange(len(flat)).view(z.shape[0], -1)
        size = activation.group_size
        groups, k = [c.tolist() for part in index.split(size) for c in part.T], 1
    found = []
    for group in groups:
        order = sorted(group, key=lambda i: (-float(flat[i]), i))
        found += list(itertools.product(order[:k], order[k:]))
    return found


def nearest(model: nn.Sequential, x: torch.Tensor, norm: str) -> tuple[float, torch.Tensor]:
    """The smallest distance and the normal of its hyperplane, from the matrix that autograd finds."""
    jacobian = torch.autograd.functional.jacobian(lambda p: model[0](p[None])[0].flatten(), x).flatten(1)
    z = model[0](x[None])[0]
    if isinstance(model[1], nn.ReLU):
        apart, rows = z.flatten(), jacobian
    else:
        first, second = (list(part) for part in zip(*pairs_of(model[1], z), strict=True))
        apart, rows = z.flatten()[first] - z.flatten()[second], jacobian[first] - jacobian[second]
    distances = apart.abs() / torch.linalg.vector_norm(rows, ord=DUAL[norm], dim=1)
    best = int(distances.argmin())
    return float(distances[best]), -rows[best] * apart[best].sign()


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("activation", [nn.ReLU(), KWTA(0.2), KWTA(0.75), LWTA(4)], ids=str)
@pytest.mark.parametrize("make", [dense, convolution])
def test_the_nearest_boundary_is_that_of_all_pairs_and_lies_there(make, activation, norm):
    model = make(activation)
    inputs = normal(5, 6, *((9,) if make is dense else (1, 6, 6)))
    found = first_layer_distance(model, inputs, norm=norm)
    for x, distance in zip(inputs, found.tolist(), strict=True):
        expected, normal_vector = nearest(model, x, norm)
        assert distance == pytest.approx(expected, rel=1e-9)
        # The point of the ball that is furthest along the normal: the boundary lies at the distance, not before it.
        step = normal_vector / normal_vector.norm() if norm == "euclidean" else normal_vector.sign()
        end = x + 1.001 * distance * step.view(x.shape)
        (line,) = line_regions(model, x[None], end[None])
        first = line.breakpoints[[name == "1" for name in line.layers].index(True)]
        assert float(first) * 1.001 == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("activation", [nn.ReLU(), KWTA(0.2), LWTA(4)], ids=str)
def test_no_line_meets_the_first_layer_sooner(activation, norm):
    model, x = dense(activation), normal(6, 1, 9)
    lines = random_lines(x.expand(200, 9), 2.0, norm=norm, seed=0)
    distance = float(first_layer_distance(model, x, norm=norm))
    met = [
        2.0 * float(line.breakpoints[line.layers.index("1")])
        for line in line_regions(model, lines.start, lines.end)
        if "1" in line.layers
    ]
    assert len(met) > 100
    assert min(met) >= distance * (1 - 1e-9)


def test_max_pooling_over_the_input():
    """Pixels 3 and 1 lead their windows by 1 and by 2: to swap two pixels move each by half of it."""
    model = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 1)).double()
    x = torch.tensor([[[[3.0, 2.0, 1.0, -1.0], [0.0, 0.0, -1.0, -1.0]]]]).double()
    assert first_layer_distance(model, x).item() == pytest.approx(1 / math.sqrt(2))
    assert first_layer_distance(model, x, norm="maximum").item() == pytest.approx(0.5)


def test_two_knots():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Hardtanh()).double()
    with torch.no_grad():
        model[0].weight.fill_(2.0)
    found = first_layer_distance(model, torch.tensor([[0.4], [-0.4], [0.1], [3.0]]))
    np.testing.assert_allclose(found, [0.1, 0.1, 0.4, 2.5])


def test_ties_duplicates_dead_units_and_no_boundary_at_all():
    tied = nn.Sequential(nn.Linear(2, 2, bias=False), KWTA(0.5)).double()
    with torch.no_grad():
        tied[0].weight.copy_(torch.eye(2))
    assert first_layer_distance(tied, torch.ones(1, 2)).item() == 0.0
    with torch.no_grad():
        tied[0].weight.fill_(1.0)  # the same unit twice: they never change places
    assert first_layer_distance(tied, torch.ones(1, 2)).item() == math.inf
    with torch.no_grad():
        tied[0].weight.zero_()
    for activation in (nn.ReLU(), KWTA(0.5), KWTA(1.0)):
        assert first_layer_distance(nn.Sequential(tied[0], activation), torch.ones(1, 2)).item() == math.inf
    assert first_layer_distance(nn.Sequential(tied[0]), torch.ones(3, 2)).tolist() == [math.inf] * 3


def test_many_duplicates_around_the_threshold():
    """Thirty copies of the threshold's unit: the nearest pair is none of those with the smallest gap."""
    model = nn.Sequential(nn.Linear(4, 60, bias=False), KWTA(0.5)).double()
    weight = normal(8, 60, 4)
    weight[15:45] = weight[15]
    x = torch.linalg.lstsq(weight[15:16], torch.zeros(1, 1).double()).solution.T + 0.3 * normal(9, 1, 4)
    order = (weight @ x[0]).argsort(descending=True)
    middle = [int(i) for i in order if 15 <= int(i) < 45]
    rest = [int(i) for i in order if not 15 <= int(i) < 45]
    with torch.no_grad():
        model[0].weight.copy_(weight[rest[:15] + middle + rest[15:]])
    expected, _ = nearest_without_equal(model, x[0])
    assert first_layer_distance(model, x).item() == pytest.approx(expected, rel=1e-9)


def nearest_without_equal(model: nn.Sequential, x: torch.Tensor) -> tuple[float, tuple[int, int]]:
    weight, z = model[0].weight.detach(), model[0](x).detach()
    return min(
        (float((z[i] - z[j]) / (weight[i] - weight[j]).norm()), (i, j))
        for i, j in pairs_of(model[1], z)
        if not torch.equal(weight[i], weight[j])
    )


def test_more_inputs_than_a_batch_and_another_dtype():
    model, inputs = dense(KWTA(0.2)), normal(5, 150, 9)
    whole = first_layer_distance(model, inputs)
    assert whole.shape == (150,)
    parts = torch.cat([first_layer_distance(model, inputs[i : i + 1]) for i in (0, 70, 149)])
    torch.testing.assert_close(whole[[0, 70, 149]], parts)
    single = first_layer_distance(model.float(), inputs.float(), device="cpu")
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, whole, rtol=1e-2, atol=1e-5)


def test_refusals():
    with pytest.raises(InvalidArgumentError, match="norm='manhattan' is not allowed"):
        first_layer_distance(dense(nn.ReLU()), torch.zeros(1, 9), norm="manhattan")
    with pytest.raises(InvalidArgumentError, match="calls sigmoid"):
        first_layer_distance(dense(nn.Sigmoid()), torch.zeros(1, 9))
