"""The zoo: trained once, taken up where it was killed, never another's weights."""

from __future__ import annotations

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import Architecture, Dataset, Split, load
from kwta_theory.networks.training import CheckpointError, Options
from kwta_theory.robustness import zoo

DIGITS = load("digits")
FEW = Dataset("digits", DIGITS.train.first(40), DIGITS.test.first(20), "forty digits")
MLP = Architecture("mlp", "kwta-0.25", image_size=8, hidden=8)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def get(folder, said=None, **changes):
    wanted = {"epochs": 2, "method": "natural", "seed": 3, "images": FEW} | changes
    method, seed = wanted.pop("method"), wanted.pop("seed")
    report = None if said is None else said.append
    return zoo.network(MLP, "digits", method, "small", seed, folder, report=report, **wanted)


def test_a_network_is_trained_once_and_read_afterwards(tmp_path):
    said: list[str] = []
    first, record = get(tmp_path, said)
    assert [row["epoch"] for row in record["metrics"]] == [1, 2]
    assert not first.training
    assert len(said) == 3
    assert "begins" in said[0]
    assert "epoch 2 of 2" in said[2]
    second, _ = get(tmp_path, said)
    assert len(said) == 3  # nothing was trained
    assert same(first, second)


def test_whatever_decides_the_weights_decides_the_directory(tmp_path):
    first, _ = get(tmp_path)
    others = [{"seed": 4}, {"epochs": 3}, {"weight_decay": 0.01}, {"images": dataclasses.replace(FEW, description="x")}]
    for change in others:
        other, _ = get(tmp_path, **change)
        # The last change is of a word only: the same weights, in a directory of their own.
        assert same(first, other) == ("images" in change)
    assert len(list(tmp_path.iterdir())) == 1 + len(others)


def test_other_images_under_the_same_description_are_refused(tmp_path):
    get(tmp_path)
    shuffled = Split(FEW.train.pixels.flip(0), FEW.train.labels.flip(0), FEW.train.largest)
    with pytest.raises(CheckpointError, match="digest"):
        get(tmp_path, images=dataclasses.replace(FEW, train=shuffled))


def test_a_killed_training_goes_on_and_ends_in_the_same_weights(tmp_path):
    class KilledError(Exception):
        pass

    def kill(line: str) -> None:
        if "epoch 2" in line:
            raise KilledError

    whole, _ = get(tmp_path / "whole", epochs=4)
    wanted = zoo.training(MLP, "digits", "natural", seed=3, epochs=4)
    with pytest.raises(KilledError):
        zoo.obtain(wanted, tmp_path / "killed", images=FEW, report=kill)
    assert not zoo.is_finished(wanted, tmp_path / "killed", FEW.description)
    assert not zoo.is_finished(wanted, tmp_path / "nowhere", FEW.description)
    said: list[str] = []
    resumed, record = zoo.obtain(wanted, tmp_path / "killed", images=FEW, report=said.append)
    assert [line.split(":")[1].split(",")[0].strip() for line in said] == ["epoch 3 of 4", "epoch 4 of 4"]
    assert len(record["metrics"]) == 4
    assert same(whole, resumed)
    # Negative control: another seed does not end there.
    other, _ = get(tmp_path / "other", epochs=4, seed=5)
    assert not same(whole, other)
    assert zoo.is_finished(wanted, tmp_path / "killed", FEW.description)
    (row,) = zoo.manifest(tmp_path / "killed")
    assert row["epochs"] == row["of"] == 4
    # Both parts are in: the metrics' seconds are wall time, by epoch.
    assert row["wall_seconds"] == pytest.approx(sum(row["seconds"] for row in record["metrics"]))


def test_who_comes_second_waits_and_trains_nothing(tmp_path):
    """Two threads want one network: the first is held at its first epoch until the second has said that it waits."""
    wanted = zoo.training(MLP, "digits", "natural", seed=3, epochs=2)
    begun, waiting = threading.Event(), threading.Event()
    lines: list[list[str]] = [[], []]

    def first(line: str) -> None:
        lines[0].append(line)
        if "epoch 1" in line:
            begun.set()
            assert waiting.wait(60)

    def second(line: str) -> None:
        lines[1].append(line)
        waiting.set()

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(zoo.obtain, wanted, tmp_path, images=FEW, report=first)
        assert begun.wait(60)
        two = pool.submit(zoo.obtain, wanted, tmp_path, images=FEW, report=second)
        assert same(one.result(60)[0], two.result(60)[0])
    assert len(lines[0]) == 3
    assert [line.split(": ")[1] for line in lines[1]] == ["another process trains it, whose end is waited for"]


def test_the_manifest_says_what_was_trained_at_what_price(tmp_path):
    assert zoo.manifest(tmp_path / "nothing") == []
    network, record = get(tmp_path)
    (row,) = zoo.manifest(tmp_path)
    assert row["network"] == "digits mlp hidden 8 kwta-0.25 natural, seed 3"
    assert row["data"] == "forty digits"
    assert row["parameters"] == sum(p.numel() for p in network.parameters())
    assert row["test_accuracy"] == record["metrics"][-1]["test_accuracy"]
    assert row["threads"] == torch.get_num_threads()
    assert row["recipe"] == json.loads(json.dumps(record["recipe"]))
    assert row["cpu_seconds"] > 0


def test_options_that_change_the_weights_have_a_directory_of_their_own(tmp_path):
    get(tmp_path)
    get(tmp_path, options=Options(bfloat16=True))
    assert len(zoo.manifest(tmp_path)) == 2


def test_the_preset_of_a_name_is_made_for_its_images():
    for data, shape in (("digits", (1, 8)), ("mnist", (1, 28)), ("cifar10", (3, 32)), ("svhn", (3, 32))):
        found = zoo.training("resnet18", data, "at", activation="kwta-0.1", width_factor=0.25, scale="paper")
        assert (found.architecture.channels, found.architecture.image_size) == shape == zoo.image_shape(data)
        assert found.architecture.width_factor == 0.25
    assert (DIGITS.channels, DIGITS.image_size) == zoo.image_shape("digits")
    assert "x0.25 kwta-0.1 at" in found.title
    assert found.recipe.epochs == 80
    assert zoo.training("mlp", "mnist", "natural", epochs=1).recipe.epochs == 1
    odd = Architecture("mlp", hidden=20, initialisation="pytorch")
    assert zoo.training(odd, "mnist").title == "mnist mlp hidden 20 relu pytorch weights natural, seed 0"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"activation": "relu-2"}, "activation='relu-2'"),
        ({"method": "magic"}, "method='magic'"),
        ({"data": "imagenet"}, "data='imagenet' is not known"),
        ({"colour": 1}, "colour=1 is not a part of a recipe"),
        ({"architecture": MLP, "activation": "kwta-0.1"}, "activation='kwta-0.1' has no effect"),
        ({"architecture": MLP, "width_factor": 2.0}, "width_factor=2.0 has no effect"),
    ],
)
def test_what_is_not_allowed_is_refused(change, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        zoo.training(**({"architecture": "mlp", "data": "digits"} | change))


def test_images_and_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="mnist is wanted"):
        zoo.obtain(zoo.training("mlp", "mnist"), tmp_path, images=FEW)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgumentError, match="cannot be written"):
        get(tmp_path / "file")
