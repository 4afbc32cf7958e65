"""Trained networks by description: made when they are asked for the first time, read from their checkpoint afterwards.

A folder of networks is a cache. What decides the weights (architecture, images, recipe, seed) is in the name of each
one's directory as a digest, so that a changed recipe never finds the weights of another; a training that was killed is
taken up where it was; two processes that want the same network train it once.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from kwta_theory.checks import InvalidArgumentError, check_integer
from kwta_theory.networks import Architecture, Dataset, build, load, parameter_count
from kwta_theory.networks.training import CHECKPOINT, Options, Recipe, load_network, recipe, train

SUMMARY = "training.json"
Report = Callable[[str], None]


@dataclass(frozen=True)
class Training:
    """One network: what is trained on what, and how.

    Attributes:
        architecture: of the network, for images of the data's size.
        data: name of the data set.
        recipe: how it is trained.
        seed: of the weights, the order of the images and the adversary.

    Raises:
        InvalidArgumentError: a negative seed.
    """

    architecture: Architecture
    data: str
    recipe: Recipe
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_integer("seed", self.seed, 0, 2**63 - 1))

    @property
    def title(self) -> str:
        """For a person: ``mnist smallcnn kwta-0.1 at, seed 0``."""
        a = self.architecture
        width = "" if a.width_factor == 1 else f" x{a.width_factor:g}"
        hidden = "" if a.hidden is None else f" hidden {a.hidden}"
        weights = "" if a.initialisation == "scaled" else f" {a.initialisation} weights"
        return f"{self.data} {a.name}{width}{hidden} {a.activation}{weights} {self.recipe.method}, seed {self.seed}"

    def directory(self, description: str) -> str:
        """Name of its directory, given which images the data set was: readable, with a digest of all that decides.

        >>> found = training(Architecture("mlp", image_size=8), "digits", "natural")
        >>> found.directory("1,437 images").startswith("digits-mlp-relu-natural-seed0-")
        True
        """
        decides = {
            "architecture": self.architecture.as_json(),
            "data": [self.data, description],
            "recipe": self.recipe.as_json(),
            "seed": self.seed,
        }
        digest = hashlib.blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=5).hexdigest()
        a = self.architecture
        return f"{self.data}-{a.name}-{a.activation}-{self.recipe.method}-seed{self.seed}-{digest}"


def training(
    architecture: Architecture | str,
    data: str,
    method: str = "natural",
    *,
    activation: str = "relu",
    scale: str = "small",
    seed: int = 0,
    width_factor: float = 1.0,
    **changes: Any,
) -> Training:
    """The training of the preset for a method, a data set and a scale (:func:`kwta_theory.networks.training.recipe`).

    Args:
        architecture: whole, or by name; by name it is made for the data's images with ``activation`` and
            ``width_factor``.
        data: name of the data set.
        method: of training.
        activation: of an architecture given by name.
        scale: ``"small"`` or ``"paper"``.
        seed: of the run.
        width_factor: of an architecture given by name.
        **changes: what else :func:`~kwta_theory.networks.training.recipe` takes (``epochs``,
            ``incremental_ratios``, attributes of the recipe).

    Raises:
        InvalidArgumentError: a name or a value that is not known; ``activation`` or ``width_factor`` beside an
            architecture that is whole already.

    >>> training("smallcnn", "mnist", "at", activation="kwta-0.1").recipe.epsilon
    0.3
    """
    if isinstance(architecture, Architecture):
        for name, given, default in (("activation", activation, "relu"), ("width_factor", width_factor, 1.0)):
            if given != default:
                raise InvalidArgumentError(f"{name}={given!r} has no effect: the architecture is given whole.")
        built = architecture
    else:
        channels, size = image_shape(data)
        built = Architecture(architecture, activation, channels, size, width_factor=width_factor)
    return Training(built, data, recipe(method, data, scale=scale, activation=built.activation, **changes), seed)


def image_shape(data: str) -> tuple[int, int]:
    """Channels and size of a data set's images, without reading it.

    Raises:
        InvalidArgumentError: an unknown name.
    """
    shapes = {"digits": (1, 8), "mnist": (1, 28), "fashion-mnist": (1, 28), "cifar10": (3, 32), "svhn": (3, 32)}
    if data not in shapes:
        raise InvalidArgumentError(f"data={data!r} is not known: it must be one of {', '.join(shapes)}.")
    return shapes[data]


def obtain(
    wanted: Training,
    folder: str | os.PathLike[str],
    *,
    images: Dataset | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    report: Report | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """A trained network: from its checkpoint where that is finished, trained (on) where it is not.

    Args:
        wanted: which one.
        folder: of all networks; each has a directory of its own in it, with the files of
            :func:`kwta_theory.networks.training.train` and ``training.json``, a line of :func:`manifest`.
        images: the data set, where it is in memory already.
        data_dir: where its published files lie otherwise.
        options: how the computer trains.
        report: called with a line for a person: at the start, after each epoch.

    Returns:
        The network, in evaluation mode on the CPU, and the record of :func:`load_network`: ``record["metrics"]`` has
        one row for each epoch.

    Raises:
        CheckpointError, TrainingError, DatasetError, InvalidArgumentError: as training and data sets do.
    """
    options = options or Options()
    images = load(wanted.data, data_dir) if images is None else images
    if images.name != wanted.data:
        raise InvalidArgumentError(f"images are {images.name}: {wanted.data} is wanted.")
    directory = wanted.directory(images.description) + ("-bfloat16" if options.bfloat16 else "")
    place = Path(folder) / directory
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(
            f"folder={os.fspath(folder)!r} cannot be written: {error.strerror or error}."
        ) from None
    say = report or (lambda _line: None)
    spent = _Spent(place / SUMMARY, wanted, images.description)

    def after_epoch(row: dict[str, Any]) -> None:
        spent.write(row)
        say(
            f"{wanted.title}: epoch {row['epoch']} of {wanted.recipe.epochs}, loss {row['train_loss']:.3f}, "
            f"test accuracy {100 * row['test_accuracy']:.1f} %, {row['seconds']:.0f} s"
        )

    # Its own lock, for which others wait: whoever comes second finds the network trained.
    lock = FileLock(place / ".zoo.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{wanted.title}: another process trains it, whose end is waited for")
        lock.acquire()
    try:
        if not (place / CHECKPOINT).exists():
            say(f"{wanted.title}: training of {wanted.recipe.epochs} epochs begins in {str(place)!r}")
        # A finished checkpoint is only compared with what is wanted; nothing is trained then.
        train(wanted.architecture, images, wanted.recipe, place, seed=wanted.seed, options=options, report=after_epoch)
        return load_network(place / CHECKPOINT)
    finally:
        lock.release()


class _Spent:
    """What a training has cost, kept beside its checkpoint; processor time adds up over interruptions."""

    def __init__(self, path: Path, wanted: Training, description: str) -> None:
        self.path, self.wanted, self.description = path, wanted, description
        self.last = time.process_time()

    def write(self, row: dict[str, Any]) -> None:
        before = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}
        now = time.process_time()
        wanted = self.wanted
        told = {
            "network": wanted.title,
            "data": self.description,
            "seed": wanted.seed,
            "epochs": row["epoch"],
            "of": wanted.recipe.epochs,
            "test_accuracy": row["test_accuracy"],
            "parameters": parameter_count(build(wanted.architecture)),
            "wall_seconds": before.get("wall_seconds", 0.0) + row["seconds"],
            "cpu_seconds": before.get("cpu_seconds", 0.0) + now - self.last,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "architecture": wanted.architecture.as_json(),
            "recipe": wanted.recipe.as_json(),
        }
        self.last = now
        temporary = self.path.with_name(f".{self.path.name}.new")
        temporary.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.path)


def network(
    architecture: Architecture | str,
    data: str,
    method: str,
    scale: str,
    seed: int,
    folder: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    images: Dataset | None = None,
    options: Options | None = None,
    report: Report | None = None,
    **changes: Any,
) -> tuple[nn.Module, dict[str, Any]]:
    """:func:`training` and :func:`obtain` in one: the network of a preset, and its record.

    Args:
        architecture: whole, or by name.
        data: name of the data set.
        method: of training.
        scale: ``"small"`` or ``"paper"``.
        seed: of the run.
        folder: of all networks.
        data_dir: where published files lie.
        images: the data set, where it is in memory already.
        options: how the computer trains.
        report: called with lines for a person.
        **changes: further arguments of :func:`training`.
    """
    wanted = training(architecture, data, method, scale=scale, seed=seed, **changes)
    return obtain(wanted, folder, images=images, data_dir=data_dir, options=options, report=report)


def is_finished(wanted: Training, folder: str | os.PathLike[str], description: str) -> bool:
    """Whether :func:`obtain` would train nothing, for the data set of this description."""
    path = Path(folder) / wanted.directory(description) / SUMMARY
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["epochs"] == wanted.recipe.epochs


def manifest(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """What was trained in a folder, with seconds: one row for each directory, sorted by name.

    Columns: directory, network, data, seed, epochs (finished) and ``of`` (wanted), test_accuracy, parameters,
    wall_seconds, cpu_seconds, threads, torch, architecture, recipe. Empty where there is no such folder.
    """
    found = []
    for path in sorted(Path(folder).glob(f"*/{SUMMARY}")):
        row = json.loads(path.read_text(encoding="utf-8"))
        found.append({"directory": path.parent.name, **row})
    return found
