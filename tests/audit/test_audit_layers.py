"""Which layers are found in a network, what their patterns and gaps are, and what is said where there are none."""

from __future__ import annotations

import math

import pytest
import torch
from region_networks import normal
from torch import nn

from kwta_theory import KWTA, LWTA
from kwta_theory.audit.layers import find_layers, run
from kwta_theory.checks import InvalidArgumentError


class TopKEncoder(nn.Module):
    """A sparse autoencoder's encoder as many are written."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 16)

    def forward(self, x):
        z = self.linear(x)
        values, index = z.topk(4, dim=-1)
        return torch.zeros_like(z).scatter(-1, index, values)


def brute(values: list[float], k: int) -> tuple[set[int], float]:
    """Winners, and the k-th largest minus the next."""
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    gap = values[order[k - 1]] - values[order[k]] if k < len(values) else math.inf
    return set(order[:k]), gap


@pytest.mark.parametrize("kind", ["kwta", "lwta", "partial", "images"])
def test_patterns_and_gaps_by_hand(kind):
    module = {"kwta": KWTA(0.3), "lwta": LWTA(5), "partial": LWTA(4, partial_group=True), "images": LWTA(2)}[kind]
    shape = (6, 4, 3) if kind == "images" else (6, 10)
    z = (4 * normal(0, *shape)).round()  # with ties
    (layer,) = find_layers(module, z)
    pattern, gap = layer.pattern(z.flatten(1)), layer.gap(z.flatten(1))
    assert layer.width == math.prod(shape[1:])
    for sample, won, smallest in zip(z, pattern, gap.tolist(), strict=True):
        flat = sample.flatten().tolist()
        if kind == "kwta":
            groups = [list(range(10))]
        elif kind == "images":  # pairs of channels, at each of three positions
            groups = [[6 * half + 3 * c + p for c in range(2)] for half in range(2) for p in range(3)]
        else:
            groups = [list(range(i, min(i + module.group_size, 10))) for i in range(0, 10, module.group_size)]
        expected, gaps = set(), []
        for group in groups:
            winners, one = brute([flat[i] for i in group], layer.k)
            expected |= {group[i] for i in winners}
            gaps.append(one)
        assert set(won.nonzero()[:, 0].tolist()) == expected
        assert smallest == min(gaps)
        assert len(expected) == layer.winners
    assert torch.equal(pattern.view(shape), module(z + 100) != 0)


def test_every_use_has_a_name_and_its_inputs():
    act = KWTA(0.5)
    weight = normal(3, 8, 4)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act = nn.Linear(5, 8, dtype=torch.float64), act

        def forward(self, x):
            return self.act(self.act(self.first(x)) @ weight)

    network, x = Net(), normal(4, 3, 5)
    names = [layer.name for layer in find_layers(network, x)]
    assert names == ["act", "act#2"]
    first, second = run(network, x)
    assert torch.equal(first.source, x)
    assert torch.equal(second.source, act(network.first(x)))
    (alone,) = run(KWTA(0.5), x)
    assert (alone.name, alone.source) == ("KWTA", None)


def test_addmm_and_keywords_are_seen():
    class Net(nn.Module):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.act, self.how, self.weight = KWTA(0.5), how, normal(1, 5, 8)

        def forward(self, x):
            if self.how == "addmm":
                return self.act(torch.addmm(normal(2, 8), x, self.weight))
            return self.act(nn.functional.linear(input=x, weight=self.weight.T))

    x = normal(3, 4, 5)
    for how in ("addmm", "keywords"):
        (call,) = run(Net(how), x)
        assert torch.equal(call.source, x)


def test_sentences():
    x = normal(0, 4, 6).float()
    with pytest.raises(InvalidArgumentError, match=r"has ReLU \(2\).*replace_activations"):
        find_layers(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()), x)
    with pytest.raises(InvalidArgumentError, match="it has no activation modules"):
        find_layers(nn.Linear(6, 8), x)
    with pytest.raises(InvalidArgumentError, match=r"forward \(TopKEncoder\) calls topk.*KWTA\(k / width\)"):
        find_layers(TopKEncoder(), x)
    with pytest.raises(InvalidArgumentError, match=r"module '0' \(TopKEncoder\) calls topk"):
        find_layers(nn.Sequential(TopKEncoder()), x)
    with pytest.raises(InvalidArgumentError, match=r"shape \(4, 6\), and the network does not run on that: mat1"):
        find_layers(nn.Sequential(nn.Linear(7, 8), KWTA(0.5)), x)
    with pytest.raises(InvalidArgumentError, match="leaves floor"):
        find_layers(nn.Sequential(nn.Linear(6, 8), KWTA(0.1)), x)
    with pytest.raises(InvalidArgumentError, match=r"'1' is given shape \(8, 3\) for a batch of 4"):
        find_layers(nn.Sequential(_Tokens(), KWTA(0.4)), x)


class _Tokens(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 3)
