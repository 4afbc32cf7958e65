"""Robust accuracy: for each attack, and for each image the worst over all of them, with exact binomial intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from kwta_theory import seeding
from kwta_theory.attacks import Attacked
from kwta_theory.checks import InvalidArgumentError, check_integer
from kwta_theory.confidence import Interval, clopper_pearson
from kwta_theory.robustness.judge import Judge, counted

ERROR = 0.05


class Attack(Protocol):
    """Anything that looks for misclassified points in a ball."""

    @property
    def name(self) -> str:
        """For tables."""
        ...

    def run(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int) -> Attacked:
        """One point for each image."""
        ...


@dataclass(frozen=True, eq=False)
class Row:
    """One attack.

    Attributes:
        name: of the attack.
        robust: for each image whether the network, right on the image, is still right at the attack's point; ``(N,)``.
        seconds: of the attack, for each image.
        forward_passes: for each image that was attacked.
        gradient_passes: those with a backward pass.
    """

    name: str
    robust: torch.Tensor
    seconds: float
    forward_passes: float
    gradient_passes: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What is left of a network's accuracy.

    Attributes:
        epsilon: radius of the ball.
        clean: whether each image is classified correctly without an attack, shape ``(N,)``.
        rows: the attacks, in their order.
    """

    epsilon: float
    clean: torch.Tensor
    rows: tuple[Row, ...]

    @property
    def worst(self) -> torch.Tensor:
        """Whether each image withstood every attack."""
        result = self.clean.clone()
        for row in self.rows:
            result &= row.robust
        return result

    def accuracy(self, robust: torch.Tensor, error: float = ERROR) -> tuple[float, Interval]:
        """A share of the images, with the exact binomial interval for the accuracy on the population they are from."""
        count = int(robust.sum())
        return count / len(robust), clopper_pearson(count, len(robust), error)


def evaluate(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attacks: Sequence[Attack],
    epsilon: float,
    *,
    seed: int = 0,
    batch_size: int = 100,
    judge_dtype: torch.dtype = torch.float64,
    report: Callable[[Row], None] | None = None,
) -> Evaluation:
    """Attack every image that is classified correctly with every attack, and judge each point anew.

    Points are moved into the ball and into [0, 1] and classified one at a time (:class:`Judge`); what an attack says
    of itself does not count. Every attack sees all images that are right without an attack, so rows can be compared.

    Args:
        model: from images to logits.
        images: in [0, 1], shape ``(N, C, H, W)``.
        labels: int64, shape ``(N,)``.
        attacks: with different names.
        epsilon: radius of the ball, maximum norm.
        seed: of every attack.
        batch_size: images that an attack sees at once.
        judge_dtype: precision of the judge.
        report: called with each row.

    Raises:
        InvalidArgumentError: no attack, two of one name, images outside [0, 1].
    """
    names = [attack.name for attack in attacks]
    if not names or len(set(names)) < len(names):
        raise InvalidArgumentError(f"attacks={names!r} is not allowed: at least one, each name once.")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise InvalidArgumentError("images have pixels outside [0, 1].")
    check_integer("batch_size", batch_size, 1)
    judge = Judge(model, images, labels, epsilon, judge_dtype)
    clean = judge.correct(images)
    rows = []
    for attack in attacks:
        row = _row(attack, model, judge, clean, seed, batch_size)
        rows.append(row)
        if report is not None:
            report(row)
    return Evaluation(judge.epsilon, clean, tuple(rows))


def _row(attack: Attack, model: nn.Module, judge: Judge, clean: torch.Tensor, seed: int, batch_size: int) -> Row:
    points = judge.images.clone()
    right = clean.nonzero().squeeze(1)
    was_training = model.training
    started = time.perf_counter()
    with counted(model) as passes:
        for number, part in enumerate(right.split(batch_size)):
            found = attack.run(
                model.eval(), judge.images[part], judge.labels[part], judge.epsilon, seeding.derive(seed, number)
            )
            points[part] = found.images.detach().to(points.dtype)
    seconds = time.perf_counter() - started
    model.train(was_training)
    count = max(1, len(right))
    return Row(
        attack.name,
        clean & judge.correct(points),
        seconds / count,
        passes.forward / count,
        passes.with_gradient / count,
    )
