"""The estimator ``trained-network``: train one network, attack it, measure its linear regions along lines.

It links what the paper says (dense linear regions, Section 3) with what it claims by that (robustness, Section 4), as
numbers of the same network. A trial is a network; everything a study keeps of it is one row of :data:`OUTCOMES`.
Importing this module lets :mod:`kwta_theory.campaign` sample it.

Statistics of regions are about lines from test images, as long as the attack's radius in the maximum norm, in three
directions: random corners of the ball, the sign of the loss's gradient, and straight towards another test image.
Outputs of networks are compared in units of their own spread over images (:attr:`RegionStatistics.output_scale`),
because multiplying a network's output by a number changes none of its decisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from kwta_theory import campaign
from kwta_theory.attacks import suites
from kwta_theory.campaign import Moments, Tally
from kwta_theory.campaign.estimators import CHUNK_NUMBERS, Parameters, Value, choice, real, whole
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks import Architecture, Dataset, load
from kwta_theory.networks.training import Options
from kwta_theory.regions import (
    Lines,
    LineSample,
    RegionStatistics,
    data_lines,
    gradient_lines,
    random_lines,
    region_statistics,
)
from kwta_theory.regions.directions import Gradients
from kwta_theory.robustness import zoo
from kwta_theory.robustness.evaluation import evaluate
from kwta_theory.robustness.tables import colour_attacks

NETWORKS = "results/networks"
"""Folder of the trained networks, below the directory in which the study runs: the one of all scripts."""
DIRECTIONS = ("random", "gradient", "data")
BOX = (0.0, 1.0)


@dataclass(frozen=True)
class Statistic:
    """One number that the regions of a network along lines of one direction come down to.

    Attributes:
        title: for a table.
        unit: of the number.
        of: the number.
    """

    title: str
    unit: str
    of: Callable[[RegionStatistics], float]


def _per_length(found: RegionStatistics, size: LineSample, power: int) -> float:
    """Mean over lines of the sum of ``size^power`` over the boundaries of a line, per unit of length."""
    sums = [
        density * value**power if density else 0.0
        for density, value in zip(found.boundaries.values, size.values, strict=True)
    ]
    return math.fsum(sums) / len(sums) / found.output_scale**power


def _mean(sample: LineSample) -> float:
    """The mean over the lines that have a number; 0 where none has one (no boundary on any line)."""
    return sample.mean if sample.count else 0.0


STATISTICS: dict[str, Statistic] = {
    "boundaries": Statistic("boundaries", "per unit of length", lambda found: found.boundaries.mean),
    "nearest": Statistic(
        "distance to the nearest boundary on the line, median; a line without one counts as its length",
        "length",
        lambda found: min(found.nearest.median, found.radius),
    ),
    "jump": Statistic(
        "jump at a boundary, mean", "output spread", lambda found: _mean(found.jump) / found.output_scale
    ),
    "jump_variation": Statistic(
        "sum of jumps", "output spread per unit of length", lambda found: _per_length(found, found.jump, 1)
    ),
    "squared_jumps": Statistic(
        "sum of squared jumps",
        "squared output spread per unit of length",
        lambda found: _per_length(found, found.root_mean_square_jump, 2),
    ),
    "slope_change": Statistic(
        "change of the slope at a boundary, mean",
        "output spread per unit of length",
        lambda found: _mean(found.slope_change) / found.output_scale,
    ),
    "slope_variation": Statistic(
        "variation of the slope", "share of its mean square", lambda found: found.slope_variation.mean
    ),
    "incoherence": Statistic(
        "1 - cosine of the loss's gradients at the two ends of the line",
        "",
        lambda found: 1.0 - _mean(found.coherence[1.0]),
    ),
}
ANYWHERE: dict[str, Statistic] = {
    "first_layer": Statistic(
        "distance to the nearest boundary of the first layer in any direction, median",
        "length",
        lambda found: found.nearest_first_layer.median,
    )
}
"""What does not depend on the direction."""
LINEAR_RADIUS = "linear_radius"
"""``loss / |gradient|_1`` at the image, median: how far the decision would be if the network were affine. It knows
nothing of regions, and is measured to see whether they add to it."""
ACCURACIES = {
    "clean": "accuracy without an attack",
    "pgd": "left by PGD of the paper's suite",
    "paper": "left by the paper's suite (PGD, C&W, DeepFool, MIM; Appendix D.1 with steps in proportion to the ball)",
    "adaptive": "left by the adaptive suite (wide+noise, corners, Square)",
    "worst": "left by both suites",
}
REGION_OUTCOMES = (
    *(f"{direction}_{name}" for direction in DIRECTIONS for name in STATISTICS),
    *ANYWHERE,
    LINEAR_RADIUS,
)
OUTCOMES = (
    *(campaign.Outcome(name, "share") for name in ACCURACIES),
    *(campaign.Outcome(name, "value") for name in REGION_OUTCOMES),
)
METHODS = ("natural", "at", "trades", "free")


def resolve(given: Mapping[str, Value]) -> Parameters:
    """Check the parameters of a network and fill in what is not given.

    Args:
        given: ``activation`` (as in :func:`kwta_theory.networks.activation_factory`), ``architecture`` (``"mlp"``),
            ``width_factor`` (1), ``method`` (``"natural"``), ``data`` (``"mnist"``), ``training_seed`` (0), ``epsilon``
            (0.1) of the ball, in the training as in the attacks, ``images`` (500) that are attacked, ``lines`` (64) in
            each direction.
    """
    if "activation" not in given:
        raise InvalidArgumentError("activation is missing: give relu, kwta-0.1, lwta-4, ...")
    found: Parameters = {
        "architecture": str(given.get("architecture", "mlp")),
        "width_factor": real("width_factor", given.get("width_factor", 1.0), 0.0, 100.0, open_minimum=True),
        "activation": str(given["activation"]),
        "method": choice("method", given.get("method", "natural"), METHODS),
        "data": str(given.get("data", "mnist")),
        "training_seed": whole("training_seed", given.get("training_seed", 0), 0),
        "epsilon": real("epsilon", given.get("epsilon", 0.1), 0.0, 1.0, open_minimum=True),
        "images": whole("images", given.get("images", 500), 1),
        "lines": whole("lines", given.get("lines", 64), 2),
    }
    training_of(found)
    return found


def training_of(parameters: Mapping[str, Value]) -> zoo.Training:
    """The training of the small presets that a task's parameters mean."""
    data, method = str(parameters["data"]), str(parameters["method"])
    channels, size = zoo.image_shape(data)
    architecture = Architecture(
        str(parameters["architecture"]),
        str(parameters["activation"]),
        channels,
        size,
        width_factor=float(parameters["width_factor"]),
    )
    radius: dict[str, Any] = {} if method == "natural" else {"epsilon": parameters["epsilon"]}
    return zoo.training(architecture, data, method, seed=int(parameters["training_seed"]), **radius)


def draw(parameters: Mapping[str, Value], trials: int, seed: int) -> Tally:
    """One network: trained, or read from :data:`NETWORKS` where it is finished; attacked; measured.

    The weights follow from ``training_seed``; the attacks' random numbers and the random lines from ``seed``.

    Raises:
        InvalidArgumentError: ``trials`` is not 1; more images or lines than the test set has.
    """
    if trials != 1:
        raise InvalidArgumentError(f"trials={trials} is not allowed: a trial is a network, and a chunk holds one.")
    data = load(str(parameters["data"]))
    network, _ = zoo.obtain(training_of(parameters), NETWORKS, images=data, options=Options(device="cpu"))
    numbers = measure(
        network,
        data,
        epsilon=float(parameters["epsilon"]),
        images=int(parameters["images"]),
        lines=int(parameters["lines"]),
        seed=seed,
    )
    return Tally(1, {}, {name: Moments.of([value]) for name, value in numbers.items()})


def measure(
    network: nn.Module, data: Dataset, *, epsilon: float, images: int, lines: int, seed: int
) -> dict[str, float]:
    """All of :data:`OUTCOMES` for one network, on the first test images.

    Args:
        network: a classifier in evaluation mode.
        data: the data set it was trained on.
        epsilon: radius of the ball, maximum norm, and length of the lines.
        images: that are attacked.
        lines: in each direction, from the first so many images; the next as many are where data lines lead.
        seed: of attacks and random lines.

    Raises:
        InvalidArgumentError: more images, or twice as many lines, than there are test images.
    """
    for name, wanted in (("images", images), ("lines", 2 * lines)):
        if wanted > len(data.test):
            raise InvalidArgumentError(f"{name} asks for {wanted} test images: there are {len(data.test)}.")
    cpu = torch.device("cpu")
    found = left(network, data.test.images(slice(0, images), cpu), data.test.labels[:images], epsilon, seed)
    start, labels = data.test.images(slice(0, lines), cpu), data.test.labels[:lines]
    goals = data.test.images(slice(lines, 2 * lines), cpu)
    of_direction = {
        "random": random_lines(start, epsilon, seed=seed, bounds=BOX),
        "gradient": gradient_lines(network, start, epsilon, labels=labels, bounds=BOX),
        "data": data_lines(start, goals, epsilon, bounds=BOX),
    }
    for direction, chosen in of_direction.items():
        measured = _regions(network, chosen, labels)
        found |= {f"{direction}_{name}": statistic.of(measured) for name, statistic in STATISTICS.items()}
    found |= {name: statistic.of(measured) for name, statistic in ANYWHERE.items()}
    found[LINEAR_RADIUS] = linear_radius(network, start, labels)
    return found


def _regions(network: nn.Module, lines: Lines, labels: torch.Tensor) -> RegionStatistics:
    return region_statistics(network, lines, labels=labels, fractions=(1.0,))


def left(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int) -> dict[str, float]:
    """The shares of the images in :data:`ACCURACIES`, image by image the worst over the attacks of a suite."""
    paper, adaptive = tuple(colour_attacks(epsilon).values()), suites.suite("adaptive")
    found = evaluate(network, images, labels, (*paper, *adaptive), epsilon, seed=seed)
    robust = [row.robust for row in found.rows]
    of_paper, of_adaptive = torch.stack(robust[: len(paper)]).all(0), torch.stack(robust[len(paper) :]).all(0)
    right = {
        "clean": found.clean,
        "pgd": robust[0],
        "paper": of_paper,
        "adaptive": of_adaptive,
        "worst": found.worst,
    }
    return {name: int(truth.sum()) / found.n for name, truth in right.items()}


def linear_radius(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Median over images of ``-L / |gradient of L|_1``, ``L = log sum over j != y of exp z_j - z_y``.

    The first-order estimate of the distance, in the maximum norm, at which the network changes its mind; 0 where it is
    wrong already.
    """
    gradients = Gradients(network, images.double(), labels, None)
    with torch.no_grad():
        outputs = gradients.network(images.double().to(gradients.device)).cpu()
    label = labels[:, None]
    loss = outputs.scatter(1, label, -torch.inf).logsumexp(1) - outputs.gather(1, label)[:, 0]
    steepness = gradients(images.double()).flatten(1).abs().sum(1)
    return float(np.median(torch.where(loss < 0, -loss / steepness, 0.0).numpy()))


ESTIMATOR = campaign.register(
    campaign.Estimator(
        name="trained-network",
        version=1,
        summary="Accuracy of a trained network under attack, and statistics of its linear regions.",
        accepts=(
            "architecture", "width_factor", "activation", "method", "data", "training_seed", "epsilon", "images",
            "lines",
        ),
        resolve=resolve,
        cost=lambda _parameters: CHUNK_NUMBERS,  # a chunk is one network
        draw=draw,
        outcomes=OUTCOMES,
    )
)  # fmt: skip
