"""The training loop: every random number follows from (seed, epoch, step), so a killed run goes on where it was."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from kwta_theory import seeding
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.networks.architectures import Architecture, build
from kwta_theory.networks.datasets import Dataset, Split
from kwta_theory.networks.training import adversary
from kwta_theory.networks.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from kwta_theory.networks.training.incremental import set_sparsity_ratio
from kwta_theory.networks.training.recipe import Recipe

CHECKPOINT, METRICS = "checkpoint.pt", "metrics.csv"
Row = dict[str, Any]


class TrainingError(Exception):
    """A run that cannot go on. The text is one sentence."""


@dataclass(frozen=True)
class Options:
    """What changes the speed of training and, but for ``bfloat16``, not its law.

    Attributes:
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        bfloat16: run the network in mixed precision.
        channels_last: keep images in the memory order NHWC.
        compile: pass the network through ``torch.compile``.
        checkpoint_seconds: write a checkpoint at least this often, and after every epoch.
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

    Batches, augmentation and the adversary's starts are drawn from ``(seed, epoch, step)``. On a CPU, with the same
    number of threads, a run that was killed and started again ends in the same weights bit for bit.

    Args:
        architecture: of the network.
        data: images of its size.
        recipe: how to train.
        folder: made when it is not there. It gets ``checkpoint.pt`` and ``metrics.csv``, one row for each epoch.
        seed: a non-negative integer.
        options: device and speed.
        report: called with the row of each epoch.

    Returns:
        The network, in evaluation mode on the device.

    Raises:
        InvalidArgumentError: images that do not fit the network, a sparsity schedule without k-WTA.
        CheckpointError: the folder holds another run.
        TrainingError: the loss is no longer a number.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    options = options or Options()
    run = _Run(architecture, data, recipe, folder, check_integer("seed", seed, 0, 2**63 - 1), options)
    return run.go(report or (lambda _: None))


class _Run:
    def __init__(
        self, architecture: Architecture, data: Dataset, recipe: Recipe, folder: Path, seed: int, options: Options
    ) -> None:
        if (data.channels, data.image_size) != (architecture.channels, architecture.image_size):
            raise InvalidArgumentError(
                f"data={data.name!r} has {data.channels} channel(s) of {data.image_size} pixels, and the network takes "
                f"{architecture.channels} of {architecture.image_size}."
            )
        if data.classes != architecture.classes:
            raise InvalidArgumentError(
                f"data={data.name!r} has {data.classes} classes, the network {architecture.classes}."
            )
        self.architecture, self.data, self.recipe, self.folder, self.seed = architecture, data, recipe, folder, seed
        self.options = options
        self.device = seeding.resolve_device(options.device, torch.float32)
        self.order = seeding.Stream(seed, "training order")
        self.noise = seeding.Stream(seed, "training noise")
        self.epoch = self.step = 0
        self.sums: list[float] = [0.0, 0.0, 0.0]  # loss, correct, images of this epoch
        self.seconds = 0.0
        self.rows: list[Row] = []
        self.delta: torch.Tensor | None = None  # free training: the perturbation lives from batch to batch
        record = self._resumed()
        self.model = build(architecture, seeding.derive(seed, "weights"))
        if record is not None:
            self.model.load_state_dict(record["model"])
        self.model.to(self.device)
        if options.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if recipe.sparsity_ratios:
            set_sparsity_ratio(self.model, recipe.sparsity_ratios[0][1])
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            recipe.learning_rate(0),
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        if record is not None:
            self.optimizer.load_state_dict(record["optimizer"])
            self.delta = None if record["delta"] is None else record["delta"].to(self.device)
        self.forward: Any = torch.compile(self.model) if options.compile else self.model

    # Going on.

    def _identity(self) -> Row:
        data = {"name": self.data.name, "description": self.data.description}
        recipe = {name: value for name, value in self.recipe.as_json().items() if name != "epochs"}
        return {"architecture": self.architecture.as_json(), "data": data, "recipe": recipe, "seed": self.seed}

    def _resumed(self) -> Row | None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        record = load_checkpoint(path)
        there = {"architecture": record["architecture"], "data": record["data"], "seed": record["seed"]}
        kept = Recipe.of(record["recipe"]).as_json()
        there["recipe"] = {name: value for name, value in kept.items() if name != "epochs"}
        for name, value in self._identity().items():
            if there[name] != value:
                raise CheckpointError(
                    f"checkpoint {str(path)!r} belongs to another run: its {name} is {there[name]!r}, and "
                    f"{value!r} was asked for. Choose another output directory."
                )
        self.epoch, self.step, self.sums = record["epoch"], record["step"], list(record["sums"])
        self.rows, self.seconds = list(record["metrics"]), record["seconds"]
        return record

    def _save(self) -> None:
        record = {
            **self._identity(),
            "recipe": self.recipe.as_json(),
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "seconds": self.seconds,
            "metrics": self.rows,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "delta": self.delta,
            "sparsity_ratio": self.recipe.sparsity_ratio(max(0, min(self.epoch, self.recipe.epochs) - 1)),
        }
        save_checkpoint(self.folder / CHECKPOINT, record)

    # The loop.

    def go(self, report: Callable[[Row], None]) -> nn.Module:
        while self.epoch < self.recipe.epochs:
            self._one_epoch()
            row = self._row()
            self.rows.append(row)
            self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, [0.0, 0.0, 0.0], 0.0
            self._save()
            self._write_metrics()
            report(row)
        self._write_metrics()
        return self.model.eval()

    def _one_epoch(self) -> None:
        recipe, train = self.recipe, self.data.train
        ratio = recipe.sparsity_ratio(self.epoch)
        if ratio is not None:
            set_sparsity_ratio(self.model, ratio)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate(self.epoch)
        order = torch.from_numpy(self.order.generator(self.epoch).permutation(len(train)))  # type: ignore[union-attr]
        batches = order.split(recipe.batch_size)
        self.model.train()
        started = saved = time.perf_counter()
        before = self.seconds
        while self.step < len(batches):
            index = batches[self.step]
            images = self._augmented(train.images(index, self.device))
            if self.options.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            self._learn(images, train.labels[index].to(self.device))
            self.step += 1
            now = time.perf_counter()
            self.seconds = before + now - started
            if now - saved >= self.options.checkpoint_seconds and self.step < len(batches):
                self._save()
                saved = now

    def _learn(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        epsilon = self.recipe.epsilon_at(self.epoch)
        if not epsilon:
            self._descend(*self._natural(images, labels), labels)
        elif self.recipe.method == "at":
            attacked = self._attacked(images, labels, epsilon)
            self._descend(*self._natural(attacked, labels), labels)
        elif self.recipe.method == "trades":
            self._descend(*self._trades(images, labels, epsilon), labels)
        else:
            self._free(images, labels, epsilon)

    def _natural(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with self._precision():
            outputs = self.forward(images)
        return functional.cross_entropy(outputs.float(), labels), outputs

    def _attacked(self, images: torch.Tensor, labels: torch.Tensor, epsilon: float) -> torch.Tensor:
        start = images + epsilon * (2 * self._uniforms(images) - 1)
        size = self.recipe.attack_step_size * epsilon
        with self._precision():
            return adversary.pgd(self.forward, images, labels, start, epsilon, self.recipe.attack_steps, size)

    def _trades(self, images: torch.Tensor, labels: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
        start = images + 1e-3 * self._normals(images)
        size = self.recipe.attack_step_size * epsilon
        with self._precision():
            attacked = adversary.trades_adversary(self.forward, images, start, epsilon, self.recipe.attack_steps, size)
            outputs, perturbed = self.forward(images), self.forward(attacked)
        clean = functional.log_softmax(outputs.float(), dim=1)
        loss = functional.cross_entropy(outputs.float(), labels)
        return loss + self.recipe.trades_beta * adversary.divergence(perturbed, clean), outputs

    def _free(self, images: torch.Tensor, labels: torch.Tensor, epsilon: float) -> None:
        """Each replay gives both a step of the weights and a step of the perturbation from one backward pass."""
        if self.delta is None or self.delta.shape[1:] != images.shape[1:]:
            self.delta = torch.zeros(self.recipe.batch_size, *images.shape[1:], device=self.device)
        count = len(images)
        for _ in range(self.recipe.replays):
            delta = self.delta[:count].clone().requires_grad_()
            loss, outputs = self._natural((images + delta).clamp(0, 1), labels)
            self._descend(loss, outputs, labels)
            # The backward pass of the weights filled it, too: the perturbation is a leaf of the loss.
            gradient = torch.zeros_like(delta) if delta.grad is None else delta.grad
            self.delta[:count] = (delta.detach() + epsilon * gradient.sign()).clamp(-epsilon, epsilon)

    def _descend(self, loss: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} in epoch {self.epoch}, step {self.step}: the learning rate may be too large. The "
                "last checkpoint is kept."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        correct = float((outputs.detach().argmax(1) == labels).sum())
        self.sums = [self.sums[0] + value * len(labels), self.sums[1] + correct, self.sums[2] + len(labels)]

    # Random numbers and precision.

    def _uniforms(self, images: torch.Tensor) -> torch.Tensor:
        return self.noise.uniforms((self.epoch, self.step), tuple(images.shape), self.device).to(images.dtype)

    def _normals(self, images: torch.Tensor) -> torch.Tensor:
        return self.noise.normals((self.epoch, self.step), tuple(images.shape), self.device, images.dtype)

    def _augmented(self, images: torch.Tensor) -> torch.Tensor:
        """Shift by up to four pixels, filling with zeros, and mirror half of the images."""
        if not self.recipe.augment:
            return images
        generator = self.order.generator(self.epoch, self.step)
        size = images.shape[-1]
        padded = functional.pad(images, (4, 4, 4, 4))
        shifts = generator.integers(0, 9, (len(images), 2))  # type: ignore[union-attr]
        mirrored = generator.random(len(images)) < 0.5  # type: ignore[union-attr]
        cut = [
            image[:, top : top + size, left : left + size].flip(-1 if flip else ())
            for image, (top, left), flip in zip(padded, shifts.tolist(), mirrored.tolist(), strict=True)
        ]
        return torch.stack(cut)

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.options.bfloat16 else contextlib.nullcontext()

    # What is reported.

    def _row(self) -> Row:
        loss, correct, images = self.sums
        return {
            "epoch": self.epoch,
            "learning_rate": self.recipe.learning_rate(self.epoch),
            "epsilon": self.recipe.epsilon_at(self.epoch),
            "sparsity_ratio": self.recipe.sparsity_ratio(self.epoch),
            "train_loss": loss / images,
            "train_accuracy": correct / images,
            "test_accuracy": accuracy(self.model, self.data.test, self.device),
            "seconds": self.seconds,
        }

    def _write_metrics(self) -> None:
        text = io.StringIO()
        if self.rows:
            writer = csv.DictWriter(text, list(self.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        path = self.folder / METRICS
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text.getvalue(), encoding="utf-8")
        temporary.replace(path)


def accuracy(model: nn.Module, split: Split, device: torch.device | str = "cpu", batch_size: int = 500) -> float:
    """The share of images whose largest logit is that of their label, in evaluation mode."""
    correct = 0
    with torch.no_grad(), adversary.evaluation_mode(model):
        for start in range(0, len(split), batch_size):
            part = slice(start, start + batch_size)
            outputs = model(split.images(part, device))
            correct += int((outputs.argmax(1).cpu() == split.labels[part]).sum())
    return correct / len(split)
