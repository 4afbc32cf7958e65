"""What is in a suite, and that the adaptive one breaks what hides its gradient while the paper's does not."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import nn

from kwta_theory.attacks import FiniteDifference, foreign, suites
from kwta_theory.attacks.gradients import TRAMER_PAIRS
from kwta_theory.attacks.suites import SUITES, suite
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import Architecture, load
from kwta_theory.networks.training import recipe, train
from kwta_theory.robustness import evaluate

EPSILON = 0.15
COUNT = 60


class Stairs(nn.Module):
    """A network behind a staircase: values hardly change, and the gradient is zero everywhere."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network((x * 64).round() / 64)


@pytest.fixture(scope="module")
def digits():
    """The first test images."""
    test = load("digits").test.first(COUNT)
    return test.images(), test.labels


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small ReLU network, trained without an adversary."""
    architecture = Architecture("mlp", "relu", channels=1, image_size=8, hidden=32)
    how = recipe("natural", "digits", epochs=6)
    return train(architecture, load("digits"), how, tmp_path_factory.mktemp("run"))


def left(network, digits, name):
    """Accuracy without an attack, and what a suite leaves."""
    result = evaluate(network, *digits, suite(name, "digits"), EPSILON)
    for row in result.rows:
        assert bool((row.robust <= result.clean).all())
        assert not row.remarks
    return int(result.clean.sum()), int(result.worst.sum())


def test_the_adaptive_suite_breaks_a_masked_gradient_and_the_papers_does_not(network, digits):
    plain_clean, plain_left = left(network, digits, "paper")
    assert plain_clean >= 0.85 * COUNT
    masked = Stairs(network)
    clean, paper = left(masked, digits, "paper")
    _, adaptive = left(masked, digits, "adaptive")
    assert clean >= 0.85 * COUNT
    # Without the mask the same suite breaks most: it is the mask that protects, not the network.
    assert plain_left <= 0.3 * COUNT
    assert paper >= 0.7 * COUNT
    assert adaptive <= 0.3 * COUNT


def test_names_and_order():
    names = {name: [attack.name for attack in suite(name, "mnist")] for name in SUITES}
    assert names["paper"] == ["pgd-20", "cw", "deepfool", "mim"]
    assert names["adaptive"] == ["wide+noise", "corners", "square"]
    assert names["full"] == [*names["paper"], *names["adaptive"], "finite-differences", "autoattack"]
    assert suite("paper", "cifar10")[0].name == "pgd-40"
    assert all(len(set(found)) == len(found) for found in names.values())


def test_sources_add_transfers():
    sources = {"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)}
    added = {
        name: [attack.name for attack in suite(name, "mnist", sources) if " from " in attack.name] for name in SUITES
    }
    assert added["paper"] == ["pgd-20 from a", "pgd-20 from b"]
    assert added["adaptive"] == ["wide+noise from a", "wide+noise from b"]
    assert sorted(added["full"]) == sorted(added["paper"] + added["adaptive"])


def test_the_backbone_is_what_it_is_said_to_be():
    backbone = suites.wide_with_noise()
    assert (backbone.steps, backbone.restarts, backbone.loss) == (100, 2, "margin")
    assert (backbone.gradient.name, backbone.gradient.inner.copies, backbone.gradient.inner.deviation) == (
        "wide",
        1,
        0.25,
    )


def test_corners_are_where_every_step_ends():
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            seen.append(x.detach().clone())
            return torch.stack([x.flatten(1).sum(1) * 0 + 1, x.flatten(1).sin().sum(1) * 1e-6], 1)

    attack = suites.corners()
    image = torch.full((1, 1, 4, 4), 0.5)
    attack.run(Watched(), image, torch.tensor([0]), 0.25)
    moved = torch.cat(seen[2:102]) - image  # after the image itself and the random start
    assert ((moved.abs() - 0.25).abs() < 1e-6).all()
    assert attack.gradient.name == "relu"


def test_the_samples_of_finite_differences_grow_to_the_stated_budget():
    attack = suites.finite_differences()
    assert attack.budget == 16_960 + 50 + 2  # the iterates, the image and the end
    published = attack.but(steps=100, gradient=FiniteDifference(TRAMER_PAIRS, deviation=1.0))
    assert published.budget == 1_222_000 + 100 + 2


def test_missing_packages(monkeypatch):
    real = importlib.import_module

    def without(*missing):
        def load_module(name):
            if name in missing:
                raise ModuleNotFoundError(name)
            return real(name)

        monkeypatch.setattr(importlib, "import_module", load_module)

    assert suites.missing_from("full") == ""
    without("pyautoattack")
    assert "autoattack" not in [attack.name for attack in suite("full")]
    assert suites.missing_from("full").startswith("AutoAttack was left out: AutoAttack needs pyautoattack")
    assert suites.missing_from("adaptive") == ""
    without("foolbox", "pyautoattack")
    assert suite("adaptive")
    for name in ("paper", "full"):
        with pytest.raises(foreign.MissingPackageError, match="needs foolbox"):
            suite(name)


def test_notes_are_collected_by_name():
    found = suites.notes(suite("full"), 0.3)
    assert set(found) == {"cw", "deepfool", "mim"}
    assert "mim" not in suites.notes(suite("full"), 0.01)


def test_bad_use_is_a_sentence():
    with pytest.raises(InvalidArgumentError, match="suite='everything' is not known: it must be one of paper"):
        suite("everything")


def test_the_network_is_not_changed(network, digits):
    before = [parameter.detach().clone() for parameter in network.parameters()]
    evaluate(network, digits[0][:10], digits[1][:10], suite("adaptive"), EPSILON)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
