"""The regions of a line by three other routes: event by event, enumeration by linear programmes, dense sampling."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from region_networks import ACTIVATIONS, convolutional, dense, normal, randomise, sampled_patterns
from scipy.optimize import linprog
from torch import nn

from kwta_theory import KWTA
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import Architecture, build
from kwta_theory.regions import LineRegions, line_regions, line_regions_by_events


def same(a: LineRegions, b: LineRegions) -> None:
    assert a.count == b.count
    assert a.layers == b.layers
    assert a.layer_names == b.layer_names
    assert all(torch.equal(x, y) for x, y in zip(a.units, b.units, strict=True))
    for name in ("breakpoints", "values", "slopes", "jumps"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("network", "shape"), [(dense, (1, 5)), (convolutional, (1, 1, 8, 8))])
def test_equal_to_the_walk_from_event_to_event(activation, network, shape):
    """Breakpoints, layers, units, one-sided values and slopes."""
    seen = 0
    for seed in range(4):
        model = randomise(network(activation), seed)
        start, end = normal(100 + seed, *shape), normal(200 + seed, *shape)
        (fast,) = line_regions(model, start, end)
        same(fast, line_regions_by_events(model, start, end))
        seen += fast.count
    assert seen > 25


def patterns_of(width: int, k: int | None) -> list[np.ndarray]:
    """All ReLU patterns of a layer, or all with ``k`` winners."""
    if k is None:
        return [np.array(p) for p in itertools.product((False, True), repeat=width)]
    return [np.isin(np.arange(width), chosen) for chosen in itertools.combinations(range(width), k)]


def feasible(rows: list[tuple[float, float]]) -> tuple[float, float] | None:
    """The interval of ``t`` in [0, 1] where ``value + slope t >= 0`` for all rows, by two linear programmes."""
    if not rows:
        return 0.0, 1.0
    matrix = np.array([[-slope] for _, slope in rows])
    bound = np.array([value for value, _ in rows])
    ends = [linprog([sign], matrix, bound, bounds=[(0, 1)], method="highs") for sign in (1.0, -1.0)]
    if any(end.status == 2 for end in ends):
        return None
    return float(ends[0].x[0]), float(ends[1].x[0])


def conditions(pattern: np.ndarray, value: np.ndarray, slope: np.ndarray, k: int | None) -> list[tuple[float, float]]:
    if k is None:
        sign = np.where(pattern, 1.0, -1.0)
        return list(zip(sign * value, sign * slope, strict=True))
    return [
        (value[i] - value[j], slope[i] - slope[j]) for i in np.flatnonzero(pattern) for j in np.flatnonzero(~pattern)
    ]


@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_enumeration_by_linear_programmes(k, seed):
    """Every pair of patterns of two layers, and the interval of ``t`` on which it holds."""
    widths = (5, 5)
    act = nn.ReLU if k is None else lambda: KWTA(k / 5)
    model = randomise(nn.Sequential(nn.Linear(3, 5), act(), nn.Linear(5, 5), act(), nn.Linear(5, 2)), seed)
    start, end = normal(10 + seed, 1, 3) * 2, normal(20 + seed, 1, 3) * 2
    weights = [p.numpy() for p in model.parameters()]
    value1 = weights[0] @ start[0].numpy() + weights[1]
    slope1 = weights[0] @ (end - start)[0].numpy()
    intervals = []
    for first in patterns_of(widths[0], k):
        rows = conditions(first, value1, slope1, k)
        if feasible(rows) is None:
            continue
        value2, slope2 = weights[2] @ (first * value1) + weights[3], weights[2] @ (first * slope1)
        for second in patterns_of(widths[1], k):
            interval = feasible(rows + conditions(second, value2, slope2, k))
            if interval is not None and interval[1] - interval[0] > 1e-9:
                intervals.append(interval)
    intervals.sort()
    (line,) = line_regions(model, start, end)
    assert line.count == len(intervals) > 1
    assert line.ends[:-1].tolist() == pytest.approx([low for low, _ in intervals], abs=1e-7)
    assert line.ends[1:].tolist() == pytest.approx([high for _, high in intervals], abs=1e-7)


def agrees_with_sampling(model: nn.Module, start: torch.Tensor, end: torch.Tensor, samples: int) -> list[LineRegions]:
    """At every sampled point the pattern is the one in the list, the output is the one in the list."""
    model = copy.deepcopy(model).double().eval().requires_grad_(False)
    answer = line_regions(model, start, end, patterns=True)
    for i, line in enumerate(answer):
        t = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples
        apart = (line.breakpoints[:, None] - t).abs().amin(0) if line.count > 1 else torch.ones_like(t)
        t = t[apart > 1e-9]
        inputs = start[i] + t.view(-1, *(1,) * (start.ndim - 1)) * (end - start)[i]
        truth = model(inputs)
        torch.testing.assert_close(line.value_at(t), truth, rtol=1e-9, atol=1e-9 * float(truth.abs().max()))
        region = line.region_at(t)
        assert line.patterns is not None
        for name, pattern in sampled_patterns(model, inputs, line.layer_names).items():
            if isinstance(dict(model.named_modules())[name], nn.MaxPool2d):
                changes = (pattern[1:] != pattern[:-1]).any(1)  # indices of another kind: compare where they change
                assert bool((line.patterns[name][region[1:]] != line.patterns[name][region[:-1]]).any(1)[changes].all())
            else:
                assert torch.equal(pattern, line.patterns[name][region])
        # So different sampled patterns lie in different regions: sampling never finds more regions than are counted.
        assert len(set(region.tolist())) <= line.count
    return list(answer)


@pytest.mark.parametrize("activation", ["relu", "kwta", "lwta"])
def test_dense_sampling_finds_nothing_that_is_not_in_the_list(activation):
    for seed in range(3):
        model = randomise(dense(activation), seed)
        lines = agrees_with_sampling(model, normal(seed, 2, 5), normal(50 + seed, 2, 5), 20_000)
        # Regions longer than the distance of the samples were all seen.
        for line in lines:
            seen = line.region_at((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000).unique()
            assert len(seen) >= int((line.ends.diff() > 1e-4).sum())


@pytest.mark.parametrize("activation", ["relu", "kwta", "lwta"])
def test_max_pooling_against_sampling(activation):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), ACTIVATIONS[activation](), nn.Flatten(), nn.Linear(64, 3)
    )
    (line,) = agrees_with_sampling(randomise(model, 1), normal(1, 1, 1, 8, 8), normal(2, 1, 1, 8, 8), 5_000)
    assert {"1", "2"} == set(line.layers)


@pytest.mark.parametrize("activation", ["relu", "kwta-0.1", "lwta-4"])
@pytest.mark.parametrize(
    ("name", "size", "factor"), [("smallcnn", 8, 0.5), ("smallcnn", 28, 0.25), ("resnet18", 8, 0.25)]
)
def test_networks_of_the_package_agree_with_sampling(activation, name, size, factor):
    model = build(Architecture(name, activation, image_size=size, width_factor=factor), seed=3)
    start = torch.from_numpy(np.random.default_rng(0).random((2, 1, size, size)))
    end = start + 0.1 * normal(1, 2, 1, size, size)
    lines = agrees_with_sampling(model, start, end, 200)
    assert min(line.count for line in lines) > 4


def test_resnet_at_full_image_size():
    model = build(Architecture("resnet18", "kwta-0.1", image_size=28, width_factor=0.25), seed=3)
    start = torch.from_numpy(np.random.default_rng(0).random((1, 1, 28, 28)))
    (line,) = agrees_with_sampling(model, start, start + 0.01 * normal(1, 1, 1, 28, 28), 20)
    assert line.count > 20


def test_k_wta_jumps_and_relu_does_not():
    relu, kwta = (randomise(dense(name), 5) for name in ("relu", "kwta"))
    (smooth,), (jumping,) = (line_regions(m, normal(1, 1, 5), normal(2, 1, 5)) for m in (relu, kwta))
    assert smooth.jumps.abs().max() < 1e-12
    assert jumping.jumps.abs().amax(1).min() > 1e-3
    # The limits are those of the function: a step of 1e-9 to either side of each breakpoint.
    for t, left, right in zip(jumping.breakpoints, jumping.left_values, jumping.right_values, strict=True):
        for step, value in ((-1e-9, left), (1e-9, right)):
            at = normal(1, 1, 5) + (t + step) * (normal(2, 1, 5) - normal(1, 1, 5))
            torch.testing.assert_close(kwta(at)[0], value, rtol=0, atol=1e-7)


def test_the_walk_refuses_what_is_not_affine_and_too_long_lines():
    model = nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 1))
    with pytest.raises(InvalidArgumentError, match="neither affine"):
        line_regions_by_events(randomise(model, 0), normal(0, 1, 3), 9 * normal(1, 1, 3))
    with pytest.raises(InvalidArgumentError, match="most_regions=1"):
        line_regions_by_events(randomise(dense("relu"), 0), normal(0, 1, 5), 9 * normal(1, 1, 5), most_regions=1)
