"""The training loop: every random number follows from (seed, epoch, step), so a killed run goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from kwta_theory import seeding
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.networks.architectures import Architecture, build
from kwta_theory.networks.datasets import Dataset
from kwta_theory.networks.training.augmentation import shift_and_mirror
from kwta_theory.networks.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from kwta_theory.networks.training.incremental import set_sparsity_ratio
from kwta_theory.networks.training.methods import Learner, TrainingError
from kwta_theory.networks.training.metrics import Row, accuracy, write_rows
from kwta_theory.networks.training.recipe import Recipe

CHECKPOINT, METRICS, LOCK = "checkpoint.pt", "metrics.csv", ".lock"


@dataclass(frozen=True)
class Options:
    """How the computer does it. Only ``bfloat16`` changes what is learned by more than rounding.

    Attributes:
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        bfloat16: run the network in mixed precision; weights, losses and test accuracies stay in float32.
        channels_last: keep images in the memory order NHWC.
        compile: pass the network through ``torch.compile``, which needs a C++ compiler.
        checkpoint_seconds: write a checkpoint at least this often, and after every epoch; 0 after every step.

    Raises:
        InvalidArgumentError: negative seconds.
    """

    device: str = "auto"
    bfloat16: bool = False
    channels_last: bool = False
    compile: bool = False
    checkpoint_seconds: float = 300.0

    def __post_init__(self) -> None:
        check_number("checkpoint_seconds", self.checkpoint_seconds, 0.0)


def train(
    architecture: Architecture,
    data: Dataset,
    recipe: Recipe,
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    options: Options | None = None,
    report: Callable[[Row], None] | None = None,
) -> nn.Module:
    """Train a network, or go on with the training that ``folder`` holds.

    Batches, augmentation and the adversary's starts are drawn from ``(seed, epoch, step)``, so epoch and step are the
    state of the generators. On a CPU, with the same number of threads, a run that was killed at any moment and started
    again ends in the same weights bit for bit.

    Args:
        architecture: of the network.
        data: images of its size. An epoch's batches differ in size by at most one image; with batch normalisation none
            is of one image alone.
        recipe: how to train. To go on it must be the one that the folder was begun with; only ``epochs`` may grow.
        folder: made when it is not there. It gets ``checkpoint.pt`` and ``metrics.csv``, one row for each epoch:
            learning rate, the adversary's radius at the end, sparsity ratio, mean loss, training accuracy (on the
            images that were learned from: the attacked ones of ``at`` and ``free``, the clean ones else), accuracy on
            all test images without an attack, seconds.
        seed: a non-negative integer.
        options: device and speed.
        report: called with the row of each epoch, after the checkpoint is written.

    Returns:
        The network, in evaluation mode on the device.

    Raises:
        InvalidArgumentError: images that do not fit the network; a part of the recipe or of the options that it cannot
            have or that has no effect.
        CheckpointError: the folder holds another run, or cannot be written.
        TrainingError: the loss is no longer a number; another process trains in the folder; too little memory;
            ``torch.compile`` fails.
    """
    folder = Path(folder)
    run = _Run(architecture, data, recipe, folder, check_integer("seed", seed, 0, 2**63 - 1), options or Options())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK, timeout=0):
            return run.go(report or (lambda _: None))
    except Timeout:
        raise TrainingError(f"another process is training in {str(folder)!r}.") from None
    except OSError as error:
        raise CheckpointError(f"{str(folder)!r} cannot be written: {error.strerror or error}.") from None
    except torch.OutOfMemoryError:
        raise TrainingError(
            f"the memory of {run.device} does not suffice for batches of {recipe.batch_size}: take smaller ones."
        ) from None
    except RuntimeError as error:  # the compiler's exceptions have no common class that is public
        if not run.options.compile:
            raise
        raise TrainingError(f"torch.compile fails here: {str(error).strip().splitlines()[0]}") from error


def steps_in_epoch(images: int, batch_size: int, smallest: int = 1) -> int:
    """Into how many batches an epoch is cut, whose sizes differ by at most one image.

    As many as hold no more than ``batch_size`` images. Batch normalisation has no statistics of one image (of 1 x 1
    pixels PyTorch refuses to take any), so with it no batch may be smaller than two: an odd image more goes into a
    batch of three.

    Raises:
        InvalidArgumentError: batches of one image are asked for, or there is but one, where two are needed.

    >>> steps_in_epoch(9, 4), steps_in_epoch(5, 2), steps_in_epoch(5, 2, smallest=2)
    (3, 3, 2)
    """
    if min(images, batch_size) < smallest:
        raise InvalidArgumentError(
            f"batch_size={batch_size} with {images} image(s) leaves batches of one image: batch normalisation needs at "
            "least two."
        )
    return min(math.ceil(images / batch_size), images // smallest)


class _Run:
    def __init__(
        self, architecture: Architecture, data: Dataset, recipe: Recipe, folder: Path, seed: int, options: Options
    ) -> None:
        self.architecture, self.data, self.recipe, self.folder, self.seed = architecture, data, recipe, folder, seed
        self.options = options
        self.device = seeding.resolve_device(options.device, torch.float32)
        self.model = build(architecture, seeding.derive(seed, "weights"))
        normalised = any(isinstance(module, nn.BatchNorm2d) for module in self.model.modules())
        self.steps = steps_in_epoch(len(data.train), recipe.batch_size, 2 if normalised else 1)
        self._check()
        self.order = seeding.Stream(seed, "training order")
        self.noise = seeding.Stream(seed, "training noise")
        self.epoch = self.step = 0
        self.sums: list[float] = [0.0, 0.0, 0.0]  # loss, correct, images of this epoch
        self.seconds = 0.0
        self.rows: list[Row] = []

    def _check(self) -> None:
        data, network, recipe = self.data, self.architecture, self.recipe
        if (data.channels, data.image_size) != (network.channels, network.image_size):
            raise InvalidArgumentError(
                f"data={data.name!r} has {data.channels} channel(s) of {data.image_size} pixels, and the network takes "
                f"{network.channels} of {network.image_size}."
            )
        if data.classes != network.classes:
            raise InvalidArgumentError(f"data={data.name!r} has {data.classes} classes, the network {network.classes}.")
        if recipe.sparsity_ratios:
            set_sparsity_ratio(self.model, min(ratio for _, ratio in recipe.sparsity_ratios))
        modules = list(self.model.modules())
        if self.options.channels_last and not any(isinstance(module, nn.Conv2d) for module in modules):
            raise InvalidArgumentError(
                f"channels_last has no effect with arch={network.name!r}: it has no convolution."
            )
        with torch.no_grad():  # a ratio that leaves some layer no winner is found here, before anything is written
            self.model.eval()(data.train.images(slice(0, 1)))

    # Going on.

    def _identity(self) -> Row:
        """What must be the same when a run goes on; the digest tells other images of the same number apart."""
        digest = hashlib.blake2b(digest_size=16)
        for split in (self.data.train, self.data.test):
            digest.update(split.pixels.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
        return {
            "architecture": self.architecture.as_json(),
            "data": {"name": self.data.name, "description": self.data.description, "digest": digest.hexdigest()},
            "recipe": self.recipe.as_json(),
            "seed": self.seed,
            "options": {"bfloat16": self.options.bfloat16},
        }

    def _open(self) -> None:
        """Take up the checkpoint of the folder, or begin."""
        path = self.folder / CHECKPOINT
        self.identity = self._identity()
        record = load_checkpoint(path) if path.exists() else None
        if record is not None:
            self._compare(path, record)
            self.epoch, self.step, self.sums = record["epoch"], record["step"], list(record["sums"])
            self.rows, self.seconds = list(record["metrics"]), record["seconds"]
        self._set_ratio(self.epoch - (self.step == 0))
        try:
            if record is not None:
                self.model.load_state_dict(record["model"])
            self.model.to(self.device)
            if self.options.channels_last:
                self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            optimizer = torch.optim.SGD(
                self.model.parameters(),
                self.recipe.learning_rate(self.epoch),
                momentum=self.recipe.momentum,
                weight_decay=self.recipe.weight_decay,
            )
            if record is not None:
                optimizer.load_state_dict(record["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            if record is None:
                raise
            raise CheckpointError(f"checkpoint {str(path)!r} does not fit its architecture: {error}") from None
        self.compiled: Any = torch.compile(self.model) if self.options.compile else self.model
        self.learner = Learner(self.model, self._logits, optimizer, self.recipe)
        if record is not None and record["perturbation"] is not None:
            self.learner.perturbation = record["perturbation"].to(self.device)

    def _compare(self, path: Path, record: Row) -> None:
        """Refuse the checkpoint of another run, naming the first thing in which it differs."""
        for part, wanted in self.identity.items():
            there = record[part]
            both = isinstance(wanted, dict) and isinstance(there, dict)
            pairs = {f"{part}.{name}": (there.get(name), wanted[name]) for name in wanted} if both else {}
            for name, (old, new) in (pairs or {part: (there, wanted)}).items():
                if old != new and name != "recipe.epochs":
                    raise CheckpointError(
                        f"checkpoint {str(path)!r} belongs to another run: its {name} is {old!r}, and {new!r} was "
                        "asked for. Choose another output directory."
                    )
        done = record["epoch"] + bool(record["step"])
        if done > self.recipe.epochs:
            raise CheckpointError(
                f"checkpoint {str(path)!r} has gone into epoch {done}, and epochs={self.recipe.epochs} were asked for. "
                "Choose another output directory."
            )

    def _save(self) -> None:
        record = {
            **self.identity,
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "seconds": self.seconds,
            "metrics": self.rows,
            "model": self.model.state_dict(),
            "optimizer": self.learner.optimizer.state_dict(),
            "perturbation": self.learner.perturbation,
            "sparsity_ratio": self.ratio,
        }
        save_checkpoint(self.folder / CHECKPOINT, record)

    # The loop.

    def go(self, report: Callable[[Row], None]) -> nn.Module:
        self._open()
        while self.epoch < self.recipe.epochs:
            self._one_epoch()
            row = self._row()
            self.rows.append(row)
            self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, [0.0, 0.0, 0.0], 0.0
            self._save()
            write_rows(self.folder / METRICS, self.rows)
            report(row)
        write_rows(self.folder / METRICS, self.rows)  # again, if a run was killed between the two files
        return self.model.eval()

    def _one_epoch(self) -> None:
        recipe, train = self.recipe, self.data.train
        self._set_ratio(self.epoch)
        for group in self.learner.optimizer.param_groups:
            group["lr"] = recipe.learning_rate(self.epoch)
        order = torch.from_numpy(self.order.generator(self.epoch).permutation(len(train)))  # type: ignore[union-attr]
        batches = order.tensor_split(self.steps)
        self.model.train()
        started = saved = time.perf_counter()
        before = self.seconds
        while self.step < self.steps:
            self._one_step(batches[self.step])
            self.step += 1
            now = time.perf_counter()
            self.seconds = before + now - started
            if now - saved >= self.options.checkpoint_seconds and self.step < self.steps:
                self._save()
                saved = now
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.parameters()):
            raise TrainingError(
                f"the weights are no longer numbers after epoch {self.epoch + 1}: the learning rate may be too large."
            )

    def _one_step(self, index: torch.Tensor) -> None:
        images = self.data.train.images(index, self.device)
        if self.recipe.augment:
            images = shift_and_mirror(images, self.order.generator(self.epoch, self.step))  # type: ignore[arg-type]
        if self.options.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        labels = self.data.train.labels[index].to(self.device)
        epsilon = self.recipe.epsilon_at(self.epoch + (self.step + 1) / self.steps)
        try:
            results = self.learner.learn(images, labels, epsilon, self._draw)
        except TrainingError as error:
            where = f"in epoch {self.epoch + 1}, step {self.step + 1} of {self.steps}"
            raise TrainingError(f"{where}, {error} The last checkpoint is kept.") from None
        for loss, share in results:
            count = len(labels)
            self.sums = [self.sums[0] + loss * count, self.sums[1] + share * count, self.sums[2] + count]

    def _draw(self, law: str, like: torch.Tensor) -> torch.Tensor:
        index, shape = (self.epoch, self.step), tuple(like.shape)
        if law == "normal":
            return self.noise.normals(index, shape, self.device, like.dtype)
        return self.noise.uniforms(index, shape, self.device).to(like.dtype)

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        # One context for each pass: within one, weights cast under no_grad would be used again and get no gradient.
        with self._precision():
            outputs: torch.Tensor = self.compiled(images)
        return outputs.float()

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bfloat16):
            yield

    def _set_ratio(self, epoch: int) -> None:
        self.ratio = self.recipe.sparsity_ratio(max(0, epoch))
        if self.ratio is not None:
            set_sparsity_ratio(self.model, self.ratio)

    def _row(self) -> Row:
        loss, correct, images = self.sums
        return {
            "epoch": self.epoch + 1,
            "learning_rate": self.recipe.learning_rate(self.epoch),
            "epsilon": self.recipe.epsilon_at(self.epoch + 1),
            "sparsity_ratio": self.ratio,
            "train_loss": loss / images,
            "train_accuracy": correct / images,
            "test_accuracy": accuracy(self.model, self.data.test, self.device),
            "seconds": self.seconds,
        }
