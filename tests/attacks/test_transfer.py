"""Transfer: the source is attacked, the target is asked once."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from kwta_theory.attacks import Ascent, Averaged, Surrogate
from kwta_theory.attacks.foolbox_attacks import PGD_20
from kwta_theory.attacks.losses import margin
from kwta_theory.attacks.transfer import Persistent, Transfer, weights_digest
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import load
from kwta_theory.robustness import counted, evaluate


def nearest_mean(images, labels):
    """The linear classifier by the nearest mean of a class."""
    means = torch.stack([images[labels == c].mean(0).flatten() for c in range(10)])
    layer = nn.Linear(64, 10)
    with torch.no_grad():
        layer.weight.copy_(2 * means)
        layer.bias.copy_(-means.square().sum(1))
    return nn.Sequential(nn.Flatten(), layer).eval()


@pytest.fixture(scope="module")
def pair():
    """Two classifiers that learned from different halves."""
    train = load("digits").train
    images, labels = train.images(), train.labels
    return nearest_mean(images[::2], labels[::2]), nearest_mean(images[1::2], labels[1::2])


@pytest.fixture(scope="module")
def digits(pair):
    """A hundred images that both classify correctly, but for a few."""
    test = load("digits").test.first(100)
    return test.images(), test.labels


@pytest.mark.parametrize("attack", [PGD_20, Persistent("last")], ids=lambda a: a.name)
def test_points_are_the_sources_and_margins_the_targets(attack, pair, digits):
    target, source = pair
    found = Transfer("t", source, attack).run(target, *digits, 0.1, seed=2)
    on_source = attack.run(source, *digits, 0.1, seed=2)
    torch.testing.assert_close(found.images, on_source.images, rtol=0, atol=1e-7)
    torch.testing.assert_close(found.margins, margin(target(found.images), digits[1]).detach(), rtol=0, atol=1e-5)
    assert (found.margins - on_source.margins).abs().max() > 0.01


def test_the_target_is_asked_once_and_gives_no_gradient(pair, digits):
    target, source = pair
    row = evaluate(target, *digits, [Transfer("t", source, Persistent("last"))], 0.1).rows[0]
    assert (row.forward_passes, row.gradient_passes) == (1.0, 0.0)
    assert "through the attacked network" in Transfer("t", source, Persistent("last")).note(0.1)
    source.train()
    with counted(source) as passes:
        Transfer("t", source, Persistent("last", steps=5)).run(target, *digits, 0.1)
    assert source.training
    source.eval()
    assert passes.forward == 100 * 6
    assert all(parameter.grad is None for network in pair for parameter in network.parameters())


def test_a_copy_of_the_target_is_as_good_as_the_target_itself(pair, digits):
    target = pair[0]
    row, own = evaluate(target, *digits, [Transfer("t", copy.deepcopy(target), PGD_20), PGD_20], 0.1).rows
    # The same attack but for its random start.
    assert abs(int(row.robust.sum()) - int(own.robust.sum())) <= 2


def test_to_go_on_after_success_transfers_better(pair, digits):
    """The first point behind the source's boundary is a point of the source alone."""
    target, source = pair
    first = Ascent("wide", steps=40, step_size=0.02, loss="cross-entropy")
    last = Persistent("wide", steps=40, step_size=0.02, loss="cross-entropy")
    rows = evaluate(target, *digits, [Transfer("first", source, first), Transfer("last", source, last)], 0.15).rows
    assert rows[0].robust.sum() >= rows[1].robust.sum() + 10
    assert last.run(source, *digits, 0.15).margins.mean() > first.run(source, *digits, 0.15).margins.mean()


def test_own_points_depend_on_seed_and_options_and_not_on_the_batch(pair, digits):
    source, (images, labels) = pair[1], digits
    attack = Persistent("last", steps=3, gradient=Surrogate("wide", Averaged(1, 0.25)))
    whole = attack.run(source, images, labels, 0.1, seed=1).images
    parts = torch.cat([attack.run(source, images[i:], labels[i:], 0.1, seed=1).images[:1] for i in range(5)])
    torch.testing.assert_close(whole[:5], parts, rtol=0, atol=1e-6)
    others = [
        attack.run(source, images, labels, 0.1, seed=2),
        Persistent("other", steps=3, gradient=attack.gradient).run(source, images, labels, 0.1, seed=1),
        Persistent("last", steps=4, gradient=attack.gradient).run(source, images, labels, 0.1, seed=1),
        Persistent("last", steps=3, step_size=0.2, gradient=attack.gradient).run(source, images, labels, 0.1, seed=1),
        Persistent("last", steps=3).run(source, images, labels, 0.1, seed=1),
    ]
    assert not any(torch.equal(whole, other.images) for other in others)
    margins = Persistent("last", steps=3).run(source, images, labels, 0.1, seed=1).images
    entropy = Persistent("last", steps=3, loss="cross-entropy").run(source, images, labels, 0.1, seed=1).images
    assert not torch.equal(margins, entropy)


def test_zero_steps_are_the_start_uniform_in_the_ball(digits):
    images = torch.full((20, 1, 8, 8), 0.5)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    labels = torch.zeros(20, dtype=torch.int64)
    images += torch.arange(20).view(-1, 1, 1, 1) / 1000  # else they are one image, with one image's numbers
    offsets = (Persistent("s", steps=0).run(network, images, labels, 0.2).images - images) / 0.2
    # 1,280 uniforms on [-1, 1]: mean 0 +- 0.0161, second moment 1/3 +- 0.0083. A start of half the radius has 1/12.
    assert abs(float(offsets.mean())) < 4.6 * np.sqrt(1 / 3 / 1280)
    assert abs(float(offsets.square().mean()) - 1 / 3) < 4.6 * np.sqrt(4 / 45 / 1280)
    assert abs(float((offsets / 2).square().mean()) - 1 / 3) > 4.6 * np.sqrt(4 / 45 / 1280)


def test_sources_are_told_apart(pair):
    target, source = pair
    same, other = Transfer("t", source, PGD_20), Transfer("t", target, PGD_20)
    assert same.source_digest == weights_digest(copy.deepcopy(source)) != other.source_digest
    assert repr(same) != repr(other)
    assert "Linear" not in repr(same)
    assert weights_digest(copy.deepcopy(source).bfloat16()) != same.source_digest


def test_bad_use_is_a_sentence(pair, digits):
    with pytest.raises(InvalidArgumentError, match="source is the network that is attacked"):
        Transfer("t", pair[0], PGD_20).run(pair[0], *digits, 0.1)
    for options, message in (
        ({"steps": -1}, "steps=-1"),
        ({"step_size": 0}, "step_size=0"),
        ({"loss": "cubic"}, "loss='cubic' is not known"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            Persistent("p", **options)
    with pytest.raises(InvalidArgumentError, match=r"labels is torch\.int32"):
        Persistent("p").run(pair[0], digits[0], digits[1].int(), 0.1)
    with pytest.raises(InvalidArgumentError, match="epsilon=nan"):
        Persistent("p").run(pair[0], *digits, float("nan"))
