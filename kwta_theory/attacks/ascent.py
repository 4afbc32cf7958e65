"""The one loop of all iterative attacks made here: every iterate is tested, and the best of each image is kept."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

import torch
from torch import nn

from kwta_theory import seeding
from kwta_theory.attacks.gradients import Gradient, Plain, Target, uniforms
from kwta_theory.attacks.losses import loss_named, margin
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.networks.training.adversary import evaluation_mode, inside

STARTS = ("random", "image")
SIZES = ("constant", "cosine")


@dataclass(frozen=True, eq=False)
class Attacked:
    """What an attack found. Whether it counts is judged elsewhere (:mod:`kwta_theory.robustness`).

    Attributes:
        images: for each image the point in its ball with the largest margin seen, shape ``(B, C, H, W)``.
        margins: that margin (:func:`kwta_theory.attacks.losses.margin`), shape ``(B,)``; positive: misclassified.
    """

    images: torch.Tensor
    margins: torch.Tensor

    @property
    def success(self) -> torch.Tensor:
        """Whether the attack believes to have succeeded, shape ``(B,)``."""
        return self.margins > 0


@dataclass(frozen=True)
class Ascent:
    """Projected ascent by signs, from several starts.

    Each start draws its random numbers from ``(seed, restart)`` and the images that are still classified correctly go
    on to the next, so more restarts are never worse for any image, and neither are more steps with a ``constant`` size
    given: the first so many iterates are the same.

    Attributes:
        name: for tables.
        steps: for each restart.
        restarts: independent starts.
        step_size: as a share of epsilon; None for ``2.5 / steps``.
        sizes: ``"constant"``, or ``"cosine"`` from ``step_size`` down to zero.
        momentum: decay of the accumulated direction, each gradient divided by its mean absolute value (MIM).
        loss: ``"cross-entropy"`` or ``"margin"``.
        start: ``"random"`` in the ball, or the ``"image"`` itself (further restarts are random).
        gradient: where the direction comes from.
        radii: shares of epsilon for equal parts of the steps: ``(0.25, 0.5, 1)`` lets the ball grow; the last is 1.
    """

    name: str
    steps: int = 40
    restarts: int = 1
    step_size: float | None = None
    sizes: str = "constant"
    momentum: float = 0.0
    loss: str = "margin"
    start: str = "random"
    gradient: Gradient = field(default_factory=Plain)
    radii: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, 0)
        check_integer("restarts", self.restarts, 1)
        if self.step_size is not None:
            check_number("step_size", self.step_size, 0.0, open_minimum=True)
        check_number("momentum", self.momentum, 0.0)
        loss_named(self.loss)
        for name, value, allowed in (("start", self.start, STARTS), ("sizes", self.sizes, SIZES)):
            if value not in allowed:
                raise InvalidArgumentError(f"{name}={value!r} is not known: it must be one of {', '.join(allowed)}.")
        if not self.radii or self.radii[-1] != 1.0 or any(not 0 < share <= 1 for share in self.radii):
            raise InvalidArgumentError(f"radii={self.radii!r} is not allowed: shares in (0, 1], the last of them 1.")

    def run(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int = 0
    ) -> Attacked:
        """Attack a batch.

        Args:
            model: from images to logits; it is put into evaluation mode, and back.
            images: in [0, 1], shape ``(B, C, H, W)``.
            labels: int64, shape ``(B,)``.
            epsilon: radius of the ball.
            seed: of every random number.
        """
        epsilon = check_number("epsilon", epsilon, 0.0)
        stream = seeding.Stream(seed, f"attack {self.name}")
        with evaluation_mode(model):
            with torch.no_grad():
                best = Attacked(images.clone(), margin(model(images), labels))
            for restart in range(self.restarts):
                left = (best.margins <= 0).nonzero().squeeze(1)
                if not len(left):
                    break
                generator = stream.generator(restart, device=images.device)
                self._climb(model, images, labels, epsilon, generator, best, left, restart)
        return best

    def _climb(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float,
        generator: seeding.RandomGenerator, best: Attacked, left: torch.Tensor, restart: int,
    ) -> None:  # fmt: skip
        x = images[left]
        if self.start == "random" or restart:
            x = inside(x + epsilon * self.radii[0] * (2 * uniforms(generator, x) - 1), x, epsilon * self.radii[0])
        velocity = torch.zeros_like(x)
        target = Target(model, labels[left], loss_named(self.loss), epsilon, generator)
        for step in range(self.steps):
            direction, logits = self.gradient(target, x)
            if logits is None:
                with torch.no_grad():
                    logits = model(x)
            keep = _record(best, left, x, margin(logits, target.labels))
            left, x, direction, velocity = left[keep], x[keep], direction[keep], velocity[keep]
            target = dataclasses.replace(target, labels=target.labels[keep])
            if not len(left):
                return
            if self.momentum:
                scale = direction.abs().mean(dim=tuple(range(1, x.ndim)), keepdim=True)
                velocity = self.momentum * velocity + direction / scale.clamp_min(torch.finfo(x.dtype).tiny)
                direction = velocity
            radius = epsilon * self.radii[step * len(self.radii) // self.steps]
            x = inside(x + self._size(step) * epsilon * direction.sign(), images[left], radius)
        with torch.no_grad():
            _record(best, left, x, margin(model(x), labels[left]))

    def _size(self, step: int) -> float:
        size = 2.5 / self.steps if self.step_size is None else self.step_size
        return size if self.sizes == "constant" else size * (1 + math.cos(math.pi * step / self.steps)) / 2

    def but(self, **changes: object) -> Ascent:
        """The same attack with some attributes replaced."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def _record(best: Attacked, left: torch.Tensor, x: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """Keep what is better than before; return which of these images are still classified correctly."""
    better = margins > best.margins[left]
    best.images[left[better]] = x[better]
    best.margins[left[better]] = margins[better]
    return margins <= 0
