"""Second moments against quadrature and simulation; the size of a signal measured layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import Architecture, activation_factory, build
from kwta_theory.networks.initialisation import LAST_LAYER, preserve_variance, pytorch_default, second_moment

ACTIVATIONS = ["relu", "leaky-relu", "kwta-0.1", "kwta-0.5", "kwta-0.9", "lwta-2", "lwta-10"]


def by_quadrature(activation: str) -> float:
    """``E[phi(z)^2]`` from the definition of each activation, in 30 digits."""
    kind, _, number = activation.partition("-")
    with mpmath.workdps(30):
        if kind == "kwta":
            quantile = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpmath.mpf(number))
            return float(mpmath.quad(lambda z: z**2 * mpmath.npdf(z), [quantile, quantile + 8, mpmath.inf]))
        if kind == "lwta":  # the law of the largest of g has the distribution function Phi^g
            size = int(number)
            density = lambda z: size * mpmath.ncdf(z) ** (size - 1) * mpmath.npdf(z)  # noqa: E731
            return float(mpmath.quad(lambda z: z**2 * density(z), [-12, -4, -2, 0, 1, 2, 3, 4, 6, 12]) / size)
        slope = {"relu": 0, "leaky": mpmath.mpf("0.01")}[kind]
        return float(mpmath.quad(lambda z: (z if z > 0 else slope * z) ** 2 * mpmath.npdf(z), [-20, 0, 20]))


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "kwta-0.001", "lwta-1", "lwta-1000"])
def test_second_moment_by_quadrature(activation: str) -> None:
    assert second_moment(activation) == pytest.approx(by_quadrature(activation), rel=1e-10)


@pytest.mark.parametrize("ratio", [1, 1e-12, 0.5])
def test_second_moment_at_the_ends(ratio: float) -> None:
    moment = second_moment(f"kwta-{ratio}")
    if ratio < 0.5:  # far in the tail z^2 is q^2 + 2 and a little less: Mills
        quantile = 7.034483825301132  # of the share 1e-12
        assert quantile**2 < moment / ratio < quantile**2 + 2
    else:
        assert moment == ratio  # all of it, and by symmetry half of it


def test_very_large_groups_keep_their_precision() -> None:
    # E[max^2] of g normals lies between the squares of the quantiles of 1/g^2 and of 1/g, roughly 2 log g.
    for size in (10**6, 10**9 - 1):
        assert 0.8 < second_moment(f"lwta-{size}") * size / (2 * math.log(size)) < 1


def z_score(activation: str, moment: float, width: int, layers: int = 1000) -> float:
    """Of the mean of ``phi(z)^2`` over layers of the width; the layers are independent, their units are not."""
    z = torch.randn(layers, width, generator=torch.Generator().manual_seed(20), dtype=torch.float64)
    means = activation_factory(activation)()(z).square().mean(1).numpy()
    return float((means.mean() - moment) / (means.std(ddof=1) / math.sqrt(len(means))))


# 2,000 units: the finite width moves k-WTA's moment by less than 1e-4, and the standard error at 1,000 layers is about
# 1e-3 of it: a formula that is wrong by 1 % is ten standard errors away.
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_second_moment_by_simulation(activation: str) -> None:
    assert abs(z_score(activation, second_moment(activation), 2000)) < 4.6
    assert abs(z_score(activation, 1.01 * second_moment(activation), 2000)) > 4.6


def test_groups_that_do_not_fill_the_width_leave_more() -> None:
    # The square of an output has a relative variance of about 13, so 20,000 layers have a standard error of 0.3 %.
    assert abs(z_score("lwta-10", second_moment("lwta-10", width=64), 64, 20_000)) < 4.6
    assert abs(z_score("lwta-10", second_moment("lwta-10"), 64, 20_000)) > 4.6  # 2.7 % less
    assert second_moment("lwta-10", width=4) == second_moment("lwta-4")
    assert second_moment("lwta-10", width=30) == second_moment("lwta-10")
    assert second_moment("kwta-0.1", width=64) == second_moment("kwta-0.1")


def test_second_moment_of_what_is_not_allowed() -> None:
    with pytest.raises(InvalidArgumentError, match="activation='tanh' is not known"):
        second_moment("tanh")
    with pytest.raises(InvalidArgumentError, match="activation='kwta-2': sparsity_ratio"):
        second_moment("kwta-2")
    with pytest.raises(InvalidArgumentError, match="width=0 is not allowed"):
        second_moment("lwta-2", width=0)


WIDTH, DEPTH, NETWORKS = 400, 5, 50


def growth(activation: str, draw: Callable[[nn.Module, torch.Generator], None]) -> np.ndarray:
    """Mean square after five layers over that after the first, mean of ten inputs, for each of 50 networks."""
    grown = []
    for seed in range(NETWORKS):
        generator = torch.Generator().manual_seed(1000 + seed)
        layers = [nn.Linear(WIDTH, WIDTH, device="meta").to_empty(device="cpu") for _ in range(DEPTH + 1)]
        phi = activation_factory(activation)()
        draw(nn.ModuleList(layers), generator)
        y = torch.randn(10, WIDTH, generator=generator)
        with torch.no_grad():
            outputs = [y := layer(y if layer is layers[0] else phi(y)) for layer in layers[:DEPTH]]
        grown.append((outputs[-1].square().mean(1) / outputs[0].square().mean(1)).mean().item())
    return np.array(grown)


# Given the layers before, the outputs of a layer on one input are independent normal variables, so the expected growth
# is exactly 1 (k-WTA: 2 % less at this width). It has a standard deviation of 0.1 to 0.2 from network to network, so 50
# networks see a moment that is wrong by 4 % in each layer (15 % in the end).
@pytest.mark.parametrize("activation", ["relu", "leaky-relu", "kwta-0.1", "kwta-0.5", "lwta-10"])
def test_the_size_of_a_signal_is_preserved_through_five_layers(activation: str) -> None:
    def z(draw: Callable[[nn.Module, torch.Generator], None]) -> float:
        grown = growth(activation, draw)
        return float((grown.mean() - 1) / (grown.std(ddof=1) / math.sqrt(NETWORKS)))

    assert abs(z(lambda net, generator: preserve_variance(net, activation, generator))) < 4.6
    assert z(pytorch_default) < -100
    if activation in ("kwta-0.1", "lwta-10"):  # the weights made for ReLU are too small for these
        assert z(lambda net, generator: preserve_variance(net, "relu", generator)) < -4.6


def test_preserving_draws_normal_weights_of_the_promised_variance_and_no_biases() -> None:
    network = build(Architecture("mlp", "kwta-0.1", hidden=500), seed=3)
    first, second, last = (layer for layer in network if isinstance(layer, nn.Linear))
    moments = {first: 1.0, second: second_moment("kwta-0.1"), last: second_moment("kwta-0.1") / LAST_LAYER**2}
    for layer, moment in moments.items():
        weight = layer.weight.detach().double() * math.sqrt(layer.in_features * moment)
        n = weight.numel()
        # mean, variance and fourth moment of n standard normals, whose own variances are 1/n, 2/n and 96/n
        for power, mean, variance in [(1, 0, 1), (2, 1, 2), (4, 3, 96)]:
            assert abs((weight**power).mean().item() - mean) < 4.6 * math.sqrt(variance / n)
        assert not layer.bias.any()
    wrong = first.weight.detach().double() * math.sqrt(first.in_features * 1.02)
    assert abs(wrong.square().mean().item() - 1) > 4.6 * math.sqrt(2 / wrong.numel())


def test_weights_follow_from_the_generator() -> None:
    layers = [nn.Sequential(nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(3)]
    for network, seed in zip(layers, (1, 1, 2), strict=True):
        preserve_variance(network, "relu", torch.Generator().manual_seed(seed))
    assert torch.equal(layers[0][0].weight, layers[1][0].weight)
    assert not torch.equal(layers[0][0].weight, layers[2][0].weight)


def test_a_layer_without_biases() -> None:
    for draw in (lambda net, g: preserve_variance(net, "relu", g), pytorch_default):
        network = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2, bias=False))
        before = network[0].weight.clone()
        draw(network, torch.Generator().manual_seed(0))
        assert not torch.equal(network[0].weight, before)
