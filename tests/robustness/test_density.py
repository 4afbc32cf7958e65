"""One network of the study, on the digits: what is measured is what line_regions and evaluate say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kwta_theory import campaign, regions
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import load
from kwta_theory.robustness import density

SMALL = {"data": "digits", "width_factor": 0.25, "images": 20, "lines": 6, "epsilon": 0.2}


@pytest.fixture(scope="module")
def data():
    return load("digits")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def task(**changes):
    return campaign.Task.of("trained-network", **{"activation": "kwta-0.1", **SMALL, **changes})


def test_a_chunk_is_one_network_with_all_outcomes_and_follows_from_its_seed(here):
    wanted = task()
    assert wanted.chunk_trials == 1
    first = density.draw(wanted.parameters, 1, 2**62 + 1)
    assert set(first.names) == {outcome.name for outcome in density.OUTCOMES}
    trained = list((here / density.NETWORKS).glob("*/checkpoint.pt"))
    assert len(trained) == 1
    stamp = trained[0].stat().st_mtime_ns
    assert density.draw(wanted.parameters, 1, 2**62 + 1) == first
    assert trained[0].stat().st_mtime_ns == stamp  # read, not trained again
    other = density.draw(wanted.parameters, 1, 5)
    assert other.mean("random_boundaries") != first.mean("random_boundaries")
    for name in ("clean", "gradient_boundaries", "data_jump", "first_layer", "linear_radius"):
        assert other.mean(name) == first.mean(name)
    left = {name: first.mean(name) for name in density.ACCURACIES}
    assert left["worst"] <= min(left["paper"], left["adaptive"])
    assert max(left["pgd"], left["adaptive"]) <= left["clean"]
    assert left["paper"] <= left["pgd"]
    assert left["worst"] < left["clean"]


def test_every_parameter_decides_what_is_drawn():
    base = task()
    changes = {
        "activation": "relu", "architecture": "smallcnn", "width_factor": 0.5, "method": "at", "data": "mnist",
        "training_seed": 1, "epsilon": 0.1, "images": 21, "lines": 5,
    }  # fmt: skip
    assert set(changes) == set(density.ESTIMATOR.accepts)
    assert len({base.id, *(task(**{name: value}).id for name, value in changes.items())}) == len(changes) + 1
    plain = campaign.Task.of("trained-network", activation="relu")
    assert plain.parameters["images"] == 500
    assert density.training_of(task(method="at", training_seed=3).parameters).recipe.epsilon == 0.2
    assert density.training_of(task(method="at", training_seed=3).parameters).seed == 3


def test_statistics_are_what_the_lines_have(data):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10)).eval()
    from kwta_theory import KWTA

    sparse = nn.Sequential(network[0], network[1], KWTA(0.2), network[3]).eval()
    found = {
        name: density.measure(model, data, epsilon=0.2, images=5, lines=6, seed=3)
        for name, model in (("relu", network), ("kwta", sparse))
    }
    start = data.test.images(slice(0, 6), torch.device("cpu"))
    lines = regions.data_lines(
        start, data.test.images(slice(6, 12), torch.device("cpu")), 0.2, bounds=(0.0, 1.0)
    )  # fmt: skip
    outputs = sparse.double()(start.double()).detach()
    spread = (outputs - outputs.mean(0)).square().sum(1).mean().sqrt()
    each = regions.line_regions(sparse, lines.start, lines.end)
    lengths = lines.lengths
    sums = [float(one.jumps.norm(dim=1).sum() / spread / length) for one, length in zip(each, lengths, strict=True)]
    squares = [float(one.jumps.square().sum() / spread**2 / length) for one, length in zip(each, lengths, strict=True)]
    assert found["kwta"]["data_jump_variation"] == pytest.approx(sum(sums) / 6, rel=1e-9)
    assert found["kwta"]["data_squared_jumps"] == pytest.approx(sum(squares) / 6, rel=1e-9)
    counts = [(one.count - 1) / float(length) for one, length in zip(each, lengths, strict=True)]
    assert found["kwta"]["data_boundaries"] == pytest.approx(sum(counts) / 6)
    # A continuous network has boundaries and no jumps; a threshold between winners is not where ReLU's is.
    assert found["relu"]["data_jump"] < 1e-12 < found["kwta"]["data_jump"]
    assert found["relu"]["random_boundaries"] > 0
    assert found["relu"]["first_layer"] != found["kwta"]["first_layer"]


def test_a_network_without_boundaries_has_numbers_for_them_all(data):
    affine = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 10))
    with torch.no_grad():
        affine[1].bias.fill_(100.0)  # every unit is always on
    found = density.measure(affine.eval(), data, epsilon=0.2, images=4, lines=3, seed=0)
    assert all(math.isfinite(value) for value in found.values())
    for direction in density.DIRECTIONS:
        for name in ("boundaries", "jump", "jump_variation", "squared_jumps", "slope_change", "slope_variation"):
            assert found[f"{direction}_{name}"] == pytest.approx(0, abs=1e-12)
        assert found[f"{direction}_nearest"] == 0.2


def test_a_networks_scale_changes_no_statistic(data):
    torch.manual_seed(1)
    from kwta_theory import KWTA

    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), KWTA(0.2), nn.Linear(30, 10)).double().eval()
    small = density.measure(network, data, epsilon=0.1, images=1, lines=4, seed=0)
    with torch.no_grad():
        network[3].weight.mul_(8.0)
        network[3].bias.mul_(8.0)
    large = density.measure(network, data, epsilon=0.1, images=1, lines=4, seed=0)
    # The loss's gradient, and so the gradient direction and coherence, do depend on it.
    for name in density.REGION_OUTCOMES:
        if "incoherence" not in name and not name.startswith("gradient_") and name != density.LINEAR_RADIUS:
            assert large[name] == pytest.approx(small[name], rel=1e-9), name


def test_the_linear_radius_of_two_classes_is_the_distance_to_the_hyperplane():
    torch.manual_seed(2)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double().eval()
    images = torch.rand(9, 1, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        outputs = network(images)
        apart = network[1].weight[0] - network[1].weight[1]
    labels = outputs.argmax(1)
    distance = (outputs[:, 0] - outputs[:, 1]).abs() / apart.abs().sum()
    assert density.linear_radius(network, images, labels) == pytest.approx(float(distance.median()))
    assert density.linear_radius(network, images, 1 - labels) == 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "activation is missing"),
        ({"activation": "nonsense"}, "nonsense"),
        ({"activation": "relu", "architecture": "nonsense"}, "arch='nonsense' is not known"),
        ({"activation": "relu", "data": "nonsense"}, "data='nonsense' is not known"),
        ({"activation": "relu", "method": "nonsense"}, "method='nonsense' is not allowed"),
        ({"activation": "relu", "width_factor": 0}, "width_factor=0 is not allowed"),
        ({"activation": "relu", "training_seed": -1}, "training_seed=-1 is not allowed"),
        ({"activation": "relu", "epsilon": 0}, "epsilon=0 is not allowed"),
        ({"activation": "relu", "images": 0}, "images=0 is not allowed"),
        ({"activation": "relu", "lines": 1}, "lines=1 is not allowed"),
        ({"activation": "relu", "colour": 1}, "colour=1 is not a parameter"),
    ],
)
def test_what_a_task_refuses(given, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        campaign.Task.of("trained-network", **given)


def test_what_a_draw_refuses(data):
    with pytest.raises(InvalidArgumentError, match="trials=2 is not allowed: a trial is a network"):
        density.draw(task().parameters, 2, 0)
    count, network = len(data.test), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(InvalidArgumentError, match=f"images asks for {count + 1} test images: there are {count}"):
        density.measure(network, data, epsilon=0.1, images=count + 1, lines=2, seed=0)
    with pytest.raises(InvalidArgumentError, match="lines asks for"):
        density.measure(network, data, epsilon=0.1, images=1, lines=count, seed=0)
