"""AutoAttack through pyautoattack: exact where the answer is known, quiet, and touching nothing."""

from __future__ import annotations

import importlib
import random
import socket
import sys

import numpy as np
import pytest
import torch
from torch import nn

from kwta_theory.attacks import foreign
from kwta_theory.attacks.auto import AutoAttack
from kwta_theory.attacks.losses import margin
from kwta_theory.checks import InvalidArgumentError

EPSILON = 0.1


@pytest.fixture
def network():
    """A linear classifier of 16 pixels and 5 classes."""
    layer = nn.Linear(16, 5)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.random.default_rng(1).standard_normal((5, 16))))
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer).eval()


@pytest.fixture
def batch(network):
    """Eight images with the labels that the network gives them."""
    images = torch.from_numpy(np.random.default_rng(2).random((8, 1, 4, 4))).float()
    return images, network(images).argmax(1)


def robust_by_formula(network, images, labels, epsilon):
    """No class gains on the label at its best corner of the box: exact for a linear classifier."""
    weight, bias = (p.detach().double() for p in network[1].parameters())
    x = images.double().flatten(1)
    lower, upper = (x - epsilon).clamp_min(0), (x + epsilon).clamp_max(1)
    result = []
    for low, high, label in zip(lower, upper, labels.tolist(), strict=True):
        change = weight - weight[label]
        best = (torch.where(change > 0, high, low) * change).sum(1) + bias - bias[label]
        best[label] = -torch.inf
        result.append(bool(best.max() < 0))
    return torch.tensor(result)


def test_it_breaks_exactly_what_can_be_broken(network, batch, monkeypatch, capfd):
    """In silence, without a network connection, and leaving gradients, modes, generators and tracing alone."""
    images, labels = batch
    expected = robust_by_formula(network, images, labels, EPSILON)
    assert 0 < expected.sum() < len(expected)  # so that both directions are tested
    monkeypatch.setattr(socket, "socket", None)
    network.train()
    network[1].weight.grad = torch.full_like(network[1].weight, 7.0)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    found = AutoAttack().run(network, images, labels, EPSILON, seed=4)
    assert torch.equal(~found.success, expected)
    assert float((found.images.double() - images.double()).abs().max()) <= EPSILON
    torch.testing.assert_close(found.margins, margin(network(found.images), labels).detach(), rtol=0, atol=1e-6)
    assert network.training
    assert bool((network[1].weight.grad == 7).all())
    assert network[1].bias.grad is None
    assert network[1].bias.requires_grad
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert capfd.readouterr() == ("", "")


def test_networks_of_other_dtypes_and_the_tracing_of_a_debugger(network, batch):
    """On images that are broken at once."""
    images, labels = batch
    broken = ~robust_by_formula(network, images, labels, EPSILON)
    images, labels = images[broken], labels[broken]

    def trace(*_):
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = AutoAttack().run(network.double(), images, labels, EPSILON)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert found.success.all()
    assert found.images.dtype == torch.float32
    assert AutoAttack().run(network, images.double(), labels, EPSILON).images.dtype == torch.float64


def test_what_it_warns_of_is_kept(network, batch):
    class Flat(nn.Module):
        def forward(self, x):
            return 0 * x.flatten(1)[:, :5] + torch.tensor([5.0, 1.0, 0.0, -1.0, -2.0])

    attack = AutoAttack(version="rand")
    assert attack.note(EPSILON) == ""
    images = batch[0][:2]
    attack.run(Flat(), images, torch.zeros(2, dtype=torch.int64), EPSILON)
    assert "zero gradient" in attack.note(EPSILON)
    assert len(attack.warnings) == len(set(attack.warnings))
    assert attack == AutoAttack(version="rand")
    assert "warnings" not in repr(attack)


def test_the_seed_and_the_version_decide(network, batch):
    images, labels = batch
    kept = robust_by_formula(network, images, labels, EPSILON).logical_not()
    images, labels = images[kept], labels[kept]
    points = [AutoAttack(version="rand").run(network, images, labels, EPSILON, seed=s).images for s in (1, 1, 2)]
    assert torch.equal(points[0], points[1])
    assert not torch.equal(points[0], points[2])
    assert AutoAttack(version="rand") != AutoAttack()


def test_bad_use_is_a_sentence(network, batch, monkeypatch):
    images, labels = batch
    with pytest.raises(InvalidArgumentError, match="version='quick' is not known"):
        AutoAttack(version="quick")
    few = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    with pytest.raises(InvalidArgumentError, match="needs 4 classes, and the network has 3"):
        AutoAttack().run(few, images, labels.clamp_max(2), EPSILON)
    with pytest.raises(InvalidArgumentError, match=r"labels is torch\.int32"):
        AutoAttack().run(network, images, labels.int(), EPSILON)
    with pytest.raises(InvalidArgumentError, match="epsilon=-1"):
        AutoAttack().run(network, images, labels, -1)
    assert AutoAttack().run(network, images[:0], labels[:0], EPSILON).images.shape == (0, 1, 4, 4)

    def fail(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(foreign.MissingPackageError, match=r"^AutoAttack needs pyautoattack.*kwta-theory\[autoattack\]"):
        AutoAttack().run(network, images, labels, EPSILON)
