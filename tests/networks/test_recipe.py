"""Recipes: the paper's numbers, the small variants, and what is refused."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks.datasets import NAMES
from kwta_theory.networks.training import METHODS, SCALES, Recipe, recipe
from kwta_theory.networks.training.recipe import at_epoch, incremental, rescaled

RATE = ((0, 0.1),)


@pytest.mark.parametrize("data", ["cifar10", "svhn"])
@pytest.mark.parametrize("method", METHODS)
def test_the_papers_schedule_for_colour_images(method: str, data: str) -> None:
    """Appendix D.1: SGD, momentum 0.9, batch 256, 80 epochs at 0.1, from the 50th on 0.01; 8 iterations; 6; m = 8."""
    found = recipe(method, data, scale="paper")
    assert (found.batch_size, found.momentum, found.attack_steps) == (256, 0.9, 8)
    assert (found.trades_beta, found.replays) == (6.0, 8)
    expected = (10, [0.1] * 6 + [0.01] * 4) if method == "free" else (80, [0.1] * 50 + [0.01] * 30)
    assert (found.epochs, [found.learning_rate(epoch) for epoch in range(found.epochs)]) == expected
    radius = {"cifar10": 0.031, "svhn": 0.047}[data]
    assert found.epsilon == (0 if method == "natural" else radius)
    assert {found.epsilon_at(done / 7) for done in range(1, 70)} == {found.epsilon}  # the whole from the first step
    assert found.augment == (data == "cifar10")  # a mirrored digit is none
    assert found.sparsity_ratios == ()


# Appendix D.1 and D.4 in the paper's own words, and what each sentence asks of a preset: a part of the recipe and its
# value, for the methods and data sets of which the sentence speaks.
COLOUR, ADVERSARIAL = ("cifar10", "svhn"), ("at", "trades", "free")
PRINTED = [
    ("stochastic gradient descent (SGD) method with momentum=0.9", METHODS, COLOUR, "momentum", 0.9),
    ("learning rate 0.1 from the first to 50-th epoch and 0.01 from 50-th to 80-th epoch", ("natural", "at", "trades"),
     COLOUR, "learning_rates", ((0, 0.1), (50, 0.01))),
    ("to 80-th epoch", ("natural", "at", "trades"), COLOUR, "epochs", 80),
    ("All networks are trained with a batch size of 256.", METHODS, COLOUR, "batch_size", 256),
    ("untargeted PGD attack with 8 iterations", ("at", "trades"), (*COLOUR, "mnist"), "attack_steps", 8),
    ("with the parameter $1/\\lambda = 6$", ("trades",), (*COLOUR, "mnist"), "trades_beta", 6.0),
    ("set the parameter $m = 8$", ("free",), (*COLOUR, "mnist"), "replays", 8),
    ("$\\epsilon = 0.031$ (CIFAR-10)", ADVERSARIAL, ("cifar10",), "epsilon", 0.031),
    ("and 0.047 (SVHN)", ADVERSARIAL, ("svhn",), "epsilon", 0.047),
    ("perturbation size $\\epsilon=0.3$", ADVERSARIAL, ("mnist",), "epsilon", 0.3),
    ("learning rate=0.01 and", METHODS, ("mnist",), "learning_rates", ((0, 0.01),)),
    ("and momentum=0.9 to train a 3-layer CNN", METHODS, ("mnist",), "momentum", 0.9),
    ("The training takes 20 epochs for all the methods", ("natural", "at", "trades"), ("mnist",), "epochs", 20),
]  # fmt: skip


@pytest.mark.parametrize("activation", ["relu", "kwta-0.2"])
@pytest.mark.parametrize(("sentence", "methods", "sets", "part", "value"), PRINTED, ids=[line[0] for line in PRINTED])
def test_every_printed_setting_is_the_presets(
    sentence: str, methods: tuple[str, ...], sets: tuple[str, ...], part: str, value: object, activation: str
) -> None:
    """ "The k-WTA networks are trained in the same way as ReLU networks."""
    for method, data in itertools.product(methods, sets):
        assert getattr(recipe(method, data, scale="paper", activation=activation), part) == value, sentence


def test_what_is_not_printed_is_as_in_the_released_code() -> None:
    """Steps of 0.007 (CIFAR-10) and 0.01 (SVHN), SGD without weight decay; the adversary is whole from the start."""
    for data, size in (("cifar10", 0.007), ("svhn", 0.01)):
        for method in METHODS:
            found = recipe(method, data, scale="paper")
            assert found.weight_decay == found.natural_epochs == found.ramp_epochs == 0
            if method != "natural":
                assert found.attack_step_size * found.epsilon == pytest.approx(size)
    assert recipe("at", "mnist", scale="paper").attack_step_size * 8 == 2.5


@pytest.mark.parametrize("method", METHODS)
def test_the_papers_schedule_for_mnist(method: str) -> None:
    """Appendix D.4: 20 epochs, rate 0.01, momentum 0.9, epsilon 0.3."""
    found = recipe(method, "mnist", scale="paper", activation="kwta-0.1")
    assert found.epochs == (3 if method == "free" else 20)
    assert {found.learning_rate(epoch) for epoch in range(20)} == {0.01}
    assert (found.momentum, found.weight_decay, found.augment, found.sparsity_ratios) == (0.9, 0.0, False, ())
    assert found.epsilon == (0 if method == "natural" else 0.3)


def test_the_papers_incremental_training() -> None:
    """Appendix D.1: "starting with 0.2 for 50 epochs and then decreasing by 0.005 every 2 epochs until 0.1"."""
    found = recipe("natural", "cifar10", scale="paper", activation="kwta-0.1")
    expected = [0.2] * 50 + [round(0.2 - 0.005 * (1 + i // 2), 3) for i in range(40)]
    assert [found.sparsity_ratio(epoch) for epoch in range(found.epochs)] == pytest.approx(expected)
    assert found.epochs == 90
    assert expected[-2:] == [0.1, 0.1]
    for method, activation in (
        ("at", "kwta-0.1"),
        ("natural", "kwta-0.2"),
        ("natural", "relu"),
        ("natural", "lwta-10"),
    ):
        assert recipe(method, "cifar10", scale="paper", activation=activation).sparsity_ratios == ()
    assert recipe("natural", "svhn", scale="paper", activation="kwta-0.08").sparsity_ratios[-1][1] == 0.08
    assert recipe("natural", "svhn", scale="paper", activation="kwta-0.08").epochs == 98


def test_incremental_training_can_be_asked_for_and_declined() -> None:
    without = recipe("natural", "cifar10", scale="paper", activation="kwta-0.1", incremental_ratios=False)
    assert (without.sparsity_ratios, without.epochs) == ((), 80)
    small = recipe("natural", "mnist", activation="kwta-0.1", incremental_ratios=True)
    own = recipe("natural", "mnist").epochs
    assert small.epochs == own + 4
    assert [small.sparsity_ratio(epoch) for epoch in (0, own - 1)] == [0.2, 0.2]
    assert [small.sparsity_ratio(own + i) for i in range(4)] == pytest.approx([0.175, 0.15, 0.125, 0.1])
    for activation in ("relu", "kwta-0.2", "lwta-10"):
        with pytest.raises(InvalidArgumentError, match=f"activation='{activation}' is not allowed: .* below 0.2"):
            recipe("natural", "mnist", activation=activation, incremental_ratios=True)


@given(
    first=st.integers(1, 60), every=st.integers(1, 5), stop=st.floats(0.01, 0.199), step=st.floats(0.001, 0.2)
)  # fmt: skip
def test_incremental_schedules_fall_to_their_goal_and_no_further(
    first: int, every: int, stop: float, step: float
) -> None:
    schedule = incremental(first, every, 0.2, stop, step)
    ratios = [ratio for _, ratio in schedule]
    assert schedule[0] == (0, 0.2)
    assert ratios[-1] == pytest.approx(stop, abs=1e-9)
    assert all(0 < earlier - later < step + 1e-9 for earlier, later in itertools.pairwise(ratios))
    assert [epoch for epoch, _ in schedule[1:]] == [first + every * i for i in range(len(ratios) - 1)]


@pytest.mark.parametrize("data", NAMES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", SCALES)
@settings(max_examples=15, deadline=None)
@given(epochs=st.integers(1, 200))
def test_every_preset_reaches_its_radius_and_its_last_rate_in_any_number_of_epochs(
    method: str, data: str, scale: str, epochs: int
) -> None:
    preset = recipe(method, data, scale=scale)
    found = recipe(method, data, scale=scale, epochs=epochs)
    assert found.epochs == epochs
    assert found.epsilon_at(epochs) == pytest.approx(preset.epsilon)
    assert found.learning_rate(epochs - 1) == preset.learning_rates[-1][1]
    share = epochs / preset.epochs
    assert found.natural_epochs == pytest.approx(preset.natural_epochs * share)
    assert found.ramp_epochs == pytest.approx(preset.ramp_epochs * share)
    # Enough is left at the full radius.
    assert method == "natural" or preset.natural_epochs + preset.ramp_epochs < preset.epochs


def test_rescaling_to_the_same_number_changes_nothing_and_a_finer_grid_keeps_the_course() -> None:
    for method, data, scale in itertools.product(METHODS, NAMES, SCALES):
        preset = recipe(method, data, scale=scale, activation="kwta-0.1")
        assert rescaled(preset, preset.epochs) == preset
        longer = rescaled(preset, 7 * preset.epochs)
        for epoch in range(preset.epochs):
            assert longer.learning_rate(7 * epoch) == preset.learning_rate(epoch)
            assert longer.sparsity_ratio(7 * epoch) == preset.sparsity_ratio(epoch)
            assert longer.epsilon_at(7 * (epoch + 0.3)) == pytest.approx(preset.epsilon_at(epoch + 0.3))


def test_a_ramp_rises_evenly_from_zero_to_the_radius() -> None:
    found = Recipe("at", 6, 64, RATE, epsilon=0.3, natural_epochs=1, ramp_epochs=2)
    assert [found.epsilon_at(done) for done in (0.5, 1, 1.5, 2, 3, 5)] == pytest.approx([0, 0, 0.075, 0.15, 0.3, 0.3])
    at_once = Recipe("at", 6, 64, RATE, epsilon=0.3, natural_epochs=1)
    assert [at_once.epsilon_at(done) for done in (1, 1.001)] == [0, 0.3]


def test_at_epoch_takes_the_last_entry_that_has_begun() -> None:
    schedule = ((0, 0.1), (3, 0.01), (5, 0.001))
    assert [at_epoch(schedule, epoch) for epoch in range(7)] == [0.1] * 3 + [0.01] * 2 + [0.001] * 2


def test_a_recipe_survives_json() -> None:
    found = recipe("natural", "cifar10", scale="paper", activation="kwta-0.1")
    assert Recipe.of(json.loads(json.dumps(found.as_json()))) == found


def test_changes_come_after_the_rescaling() -> None:
    found = recipe("at", "mnist", epochs=4, batch_size=100, natural_epochs=0, learning_rates=((0, 0.3), (3, 0.2)))
    assert (found.batch_size, found.natural_epochs) == (100, 0)
    assert found.learning_rates == ((0, 0.3), (3, 0.2))
    assert recipe("at", "mnist", epsilon=0.2).epsilon == 0.2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "fgsm"}, "method='fgsm' is not known"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 1.5}, r"batch_size=1\.5"),
        ({"attack_steps": 0}, "attack_steps=0"),
        ({"replays": 0}, "replays=0"),
        ({"momentum": 1.0}, r"momentum=1\.0"),
        ({"weight_decay": -1}, "weight_decay=-1"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"trades_beta": -0.1}, "trades_beta"),
        ({"attack_step_size": 0}, "attack_step_size=0"),
        ({"natural_epochs": -1}, "natural_epochs=-1"),
        ({"ramp_epochs": "2"}, "ramp_epochs='2'"),
        ({"learning_rates": ()}, "learning_rates is empty"),
        ({"learning_rates": ((1, 0.1),)}, "must rise from 0"),
        ({"learning_rates": ((0, 0.1), (3, 0.1), (3, 0.2))}, "must rise from 0"),
        ({"learning_rates": ((0, 0.0),)}, "learning_rates=0.0"),
        ({"learning_rates": ((0.5, 0.1),)}, "learning_rates epoch=0.5"),
        ({"learning_rates": 0.1}, r"learning_rates=0\.1 is not allowed: .* pairs"),
        ({"sparsity_ratios": ((0, 1.5),)}, r"sparsity_ratios=1\.5"),
        ({"epsilon": 0.0}, "epsilon=0 with method='at'"),
        ({"method": "natural"}, "method='natural' has no adversary"),
        ({"natural_epochs": 6}, "would never reach its whole radius"),
        ({"natural_epochs": 3, "ramp_epochs": 4}, "would never reach its whole radius"),
    ],
)
def test_what_a_recipe_cannot_have_is_a_sentence(changes: dict, sentence: str) -> None:
    usual = {"method": "at", "epochs": 6, "batch_size": 64, "learning_rates": RATE, "epsilon": 0.3}
    Recipe(**usual)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=sentence):
        Recipe(**usual | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given_", "changes", "sentence"),
    [
        (("pgd", "mnist"), {}, "method='pgd' is not known: it must be one of natural, at, trades, free"),
        (("at", "imagenet"), {}, "data='imagenet' is not known"),
        (("at", "mnist"), {"scale": "huge"}, "scale='huge' is not known: it must be one of paper, small"),
        (("at", "mnist"), {"activation": "gelu"}, "activation='gelu' is not known"),
        (("at", "mnist"), {"epochs": 0}, "epochs=0"),
        (("at", "mnist"), {"epoch": 3}, "epoch=3 is not a part of a recipe"),
        (("natural", "mnist"), {"epsilon": 0.3}, "has no adversary"),
    ],
)
def test_what_there_is_no_preset_for_is_a_sentence(given_: tuple[str, str], changes: dict, sentence: str) -> None:
    with pytest.raises(InvalidArgumentError, match=sentence):
        recipe(*given_, **changes)
