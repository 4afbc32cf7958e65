"""The paper's attacks from foolbox: its settings, its traps, and that nothing of the caller's is touched."""

from __future__ import annotations

import importlib
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from kwta_theory import seeding
from kwta_theory.attacks import foreign
from kwta_theory.attacks.draws import image_keys
from kwta_theory.attacks.foolbox_attacks import (
    CARLINI_WAGNER,
    DEEPFOOL,
    MIM,
    PGD_20,
    PGD_40,
    Foolbox,
    paper_attacks,
)
from kwta_theory.attacks.losses import margin
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import load
from kwta_theory.robustness import counted

ALL = [PGD_20, PGD_40, CARLINI_WAGNER, DEEPFOOL, MIM]


class Cut(nn.Module):
    """A network that is cut off from its input."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).detach()


@pytest.fixture(scope="module")
def digits():
    """Twelve images and labels."""
    test = load("digits").test.first(12)
    return test.images(), test.labels


@pytest.fixture
def network():
    """The classifier by the nearest mean of a class, which is linear and right on about nine of ten images."""
    train = load("digits").train
    images, labels = train.images(), train.labels
    means = torch.stack([images[labels == c].mean(0).flatten() for c in range(10)])
    layer = nn.Linear(64, 10)
    with torch.no_grad():
        layer.weight.copy_(2 * means)
        layer.bias.copy_(-means.square().sum(1))
    return nn.Sequential(nn.Flatten(), layer, nn.Dropout(0.5)).eval()


def test_settings_are_those_of_the_paper():
    foolbox = foreign.imported("foolbox", "attacks", "this test")
    built = {a.name: getattr(foolbox.attacks, a.attack)(**a.settings) for a in ALL}
    for name, steps, size in (("pgd-40", 40, 0.003), ("pgd-20", 20, 0.03), ("mim", 20, 0.003)):
        assert (built[name].steps, built[name].abs_stepsize) == (steps, size)
    assert built["pgd-40"].random_start
    assert built["pgd-20"].random_start
    assert not built["mim"].random_start
    found = built["cw"]
    assert (found.binary_search_steps, found.steps, found.stepsize, found.initial_const) == (5, 20, 0.01, 0.01)
    assert (built["deepfool"].steps, built["deepfool"].candidates) == (20, 10)
    assert [type(built[a.name]).__name__ for a in ALL] == [
        "LinfProjectedGradientDescentAttack",
        "LinfProjectedGradientDescentAttack",
        "L2CarliniWagnerAttack",
        "LinfDeepFoolAttack",
        "LinfMomentumIterativeFastGradientMethod",
    ]


@pytest.mark.parametrize(("data", "first"), [("cifar10", PGD_40), ("svhn", PGD_40), ("mnist", PGD_20)])
def test_the_data_set_decides_on_pgd(data, first):
    assert paper_attacks(data) == (first, CARLINI_WAGNER, DEEPFOOL, MIM)


def naive_signs(network, images, labels, start, epsilon, steps, size, gather):
    """Ascent by signs of what ``gather`` makes of the last direction and the gradient."""
    x, direction = start.clamp(0, 1), torch.zeros_like(images)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        loss = nn.functional.cross_entropy(network(x), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        direction = gather(direction, gradient)
        x = (images + (x + size * direction.sign() - images).clamp(-epsilon, epsilon)).clamp(0, 1)
    return x.detach()


def test_pgd_is_the_published_loop(network, digits):
    images, labels = digits
    found = PGD_20.run(network, images, labels, 0.2, seed=3)
    generator = torch.Generator().manual_seed(seeding.derive(3, "pgd-20", *image_keys(images)))
    start = images + torch.rand(images.shape, generator=generator) * 0.4 - 0.2
    expected = naive_signs(network, images, labels, start, 0.2, 20, 0.03, lambda _, gradient: gradient)
    torch.testing.assert_close(found.images, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.margins, margin(network(expected), labels).detach(), rtol=0, atol=1e-4)
    other = naive_signs(network, images, labels, start, 0.2, 19, 0.03, lambda _, gradient: gradient)
    assert (found.images - other).abs().max() > 0.01


def test_mim_of_foolbox_accumulates_signs(digits):
    """Not gradients over their mean absolute values, as the source has it: that differs, and so is no reference."""
    images, labels = digits
    torch_state = torch.get_rng_state()
    generator = torch.Generator().manual_seed(5)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    torch.set_rng_state(torch_state)
    found = MIM.run(network, images, labels, 0.2)

    def published(direction, gradient):
        return direction + gradient / gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)

    mine = naive_signs(network, images, labels, images, 0.2, 20, 0.003, lambda d, gradient: d + gradient.sign())
    theirs = naive_signs(network, images, labels, images, 0.2, 20, 0.003, published)
    torch.testing.assert_close(found.images, mine, rtol=0, atol=1e-6)
    assert (found.images - theirs).abs().max() > 1e-3


def test_a_failed_carlini_wagner_answers_the_image_and_not_black(digits):
    """A bias makes black another class; the attack's few steps reach no boundary."""
    images, labels = digits[0][:4].clamp(0.2, 1), digits[1][:4]
    layer = nn.Linear(64, 10)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(torch.nn.functional.one_hot((labels[0] + 1) % 10, 10))
        layer.weight[labels[0]] = 1.0
    network, labels = nn.Sequential(nn.Flatten(), layer).eval(), labels[:1].expand(4).clone()
    assert (network(images).argmax(1) == labels).all()
    found = CARLINI_WAGNER.run(network, images, labels, 1.0)
    torch.testing.assert_close(found.images, images, rtol=0, atol=0)
    assert not found.success.any()
    # Without the cure black is taken, and counts.
    trap = Foolbox("cw", CARLINI_WAGNER.attack, CARLINI_WAGNER.settings)
    assert trap.run(network, images, labels, 1.0).success.all()


@pytest.mark.parametrize("attack", ALL, ids=lambda a: a.name)
def test_points_are_in_the_ball_and_margins_are_theirs(attack, network, digits):
    images, labels = digits
    for epsilon in (0.0, 0.05):
        found = attack.run(network, images, labels, epsilon)
        assert float((found.images.double() - images.double()).abs().max()) <= epsilon
        assert found.images.min() >= 0
        assert found.images.max() <= 1
        torch.testing.assert_close(found.margins, margin(network(found.images), labels).detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attack", ALL, ids=lambda a: a.name)
def test_nothing_of_the_callers_is_touched(attack, network, digits):
    images, labels = digits
    network.train()
    network[2].eval()
    network[1].bias.requires_grad_(False)
    network[1].weight.grad = torch.full_like(network[1].weight, 7.0)
    before = [parameter.clone() for parameter in network.parameters()]
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    kept = images.clone(), labels.clone()
    trace = sys.gettrace()
    with torch.no_grad():
        attack.run(network, images, labels, 0.1, seed=1)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert sys.gettrace() is trace
    assert torch.equal(images, kept[0])
    assert torch.equal(labels, kept[1])
    assert (network.training, network[0].training, network[2].training) == (True, True, False)
    assert network[1].weight.requires_grad
    assert not network[1].bias.requires_grad
    assert network[1].bias.grad is None
    assert bool((network[1].weight.grad == 7).all())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert not network._forward_hooks


def test_it_comes_back_as_it_was_after_an_error(network, digits):
    images, labels = digits
    state = torch.get_rng_state()
    handle = network[1].register_forward_hook(lambda *_: (_ for _ in ()).throw(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        PGD_20.run(network.train(), images, labels, 0.1)
    handle.remove()
    assert network.training
    assert network[1].weight.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_follow_from_seed_name_and_images(network, digits):
    images, labels = digits
    points = PGD_20.run(network, images, labels, 0.2, seed=1).images
    assert torch.equal(points, PGD_20.run(network, images, labels, 0.2, seed=1).images)
    assert not torch.equal(points, PGD_20.run(network, images, labels, 0.2, seed=2).images)
    twin = Foolbox("other", PGD_20.attack, PGD_20.settings)
    assert not torch.equal(points, twin.run(network, images, labels, 0.2, seed=1).images)
    # Two batches do not get the same starts.
    still = Foolbox("start", PGD_20.attack, {"steps": 0, "random_start": True})
    inner = images[:2].clamp(0.3, 0.7)
    noise = [still.run(network, x, labels[:2], 0.1).images - x for x in (inner, inner + 0.01)]
    assert (noise[0] - noise[1]).abs().max() > 0.05


def test_passes_are_counted(network, digits):
    with counted(network) as passes:
        PGD_20.run(network, *digits, 0.2)
    # 20 steps, the question whether the point is misclassified, and our margins there.
    assert passes.forward == 12 * 22


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("attack", ALL, ids=lambda a: a.name)
def test_networks_and_images_of_other_dtypes(attack, dtype, network, digits):
    images, labels = digits
    found = attack.run(network.to(dtype), images, labels, 0.1)
    assert found.images.dtype == torch.float32
    found = attack.run(network, images.to(dtype), labels, 0.1)
    assert found.images.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


@pytest.mark.parametrize("attack", ALL, ids=lambda a: a.name)
def test_a_network_without_a_gradient_is_no_error(attack, network, digits):
    """A random start may still break an image; without one the image stays."""
    found = attack.run(Cut(network), *digits, 0.1)
    if attack in (MIM, CARLINI_WAGNER):
        torch.testing.assert_close(found.images, digits[0], rtol=0, atol=1e-5)
    assert found.images.isfinite().all()


@pytest.mark.parametrize("attack", ALL, ids=lambda a: a.name)
def test_no_image_and_inference_tensors(attack, network, digits):
    images, labels = digits
    assert attack.run(network, images[:0], labels[:0], 0.1).images.shape == (0, 1, 8, 8)
    with torch.inference_mode():
        found = attack.run(network, images.clone(), labels.clone(), 0.1)
    assert found.images.shape == images.shape


def test_bad_use_is_a_sentence(network, digits):
    images, labels = digits
    for bad, message in (
        ((images, labels.int(), 0.1), r"labels is torch\.int32.*torch\.int64"),
        ((images * 2, labels, 0.1), r"outside \[0, 1\]"),
        ((images, labels, -0.1), r"epsilon=-0\.1"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            PGD_20.run(network, *bad)
    for attack in (Foolbox("x", "NoSuchAttack"), Foolbox("x", "LinfDeepFoolAttack", {"spoons": 1})):
        with pytest.raises(InvalidArgumentError, match="is not in foolbox"):
            attack.run(network, images, labels, 0.1)


@pytest.mark.parametrize(
    ("error", "message"), [(ModuleNotFoundError("x"), "is not installed"), (ImportError("x"), "does not load")]
)
def test_a_missing_package_is_a_sentence(monkeypatch, network, digits, error, message):
    def fail(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(foreign.MissingPackageError, match=rf"needs foolbox, which {message}: install .*\[attacks\]\.$"):
        PGD_20.run(network, *digits, 0.1)


def test_a_fresh_import_warns_of_nothing_and_needs_no_git():
    """Warnings are errors, there is no program git, and the root logger gets no handler from DeepFool."""
    program = """
import logging, os, warnings
import torch
from torch import nn
from kwta_theory.attacks.foolbox_attacks import DEEPFOOL
filters = warnings.filters[:]
network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
DEEPFOOL.run(network, torch.rand(2, 1, 2, 2), torch.tensor([0, 1]), 0.1)
assert logging.root.handlers == [], logging.root.handlers
assert "GIT_PYTHON_REFRESH" not in os.environ
assert warnings.filters == filters
try:
    warnings.warn("Please import `gaussian_filter` from the `scipy.ndimage` namespace", DeprecationWarning)
except DeprecationWarning:
    print("only around the import")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"PATH": "/nowhere", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "only around the import\n"
    assert done.stderr == ""


def test_notes_say_what_a_row_does_not_show():
    assert "no evidence of robustness" in CARLINI_WAGNER.note(0.3)
    assert "judged at epsilon" in DEEPFOOL.note(0.3)
    assert MIM.note(0.3) == "Its 20 steps of 0.003 reach no further than 0.06 from its start."
    assert MIM.note(0.05) == PGD_20.note(0.3) == ""
