"""The one loop of all iterative attacks made here: every iterate is tested, and the best of each image is kept."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from kwta_theory import seeding
from kwta_theory.attacks.ball import bounds, check_batch, check_logits, project
from kwta_theory.attacks.draws import Draws, image_keys
from kwta_theory.attacks.gradients import Gradient, Plain, Target, attack_mode, logits_of
from kwta_theory.attacks.losses import loss_named, margin
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number

STARTS = ("random", "image")
SIZES = ("constant", "cosine")
TARGETED = "targeted"


class SegmentSearch(Protocol):
    """Decides about a whole segment at once: along a line the logits are piecewise affine, so that can be done exactly.

    A class with ``__call__`` or a function; :class:`Ascent` asks it after each restart about the segment from each
    image that is left to the last iterate.
    """

    def __call__(
        self, model: nn.Module, start: torch.Tensor, end: torch.Tensor, label: int
    ) -> torch.Tensor | None:  # fmt: skip
        """A misclassified point of the segment, or None where there is none.

        Args:
            model: in evaluation mode.
            start: one image, shape ``(C, H, W)``.
            end: the same.
            label: its class.
        """
        ...


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

        x <- the nearest point of the ball of this step to  x + size * epsilon * sign(direction)

    Random numbers come from ``(seed, name, restart, pixels of the image)``, and only the images that are still
    classified correctly go on. So for each image the result depends neither on the batch it is in nor on its place
    there, more restarts are never worse, and neither are more steps, if ``step_size`` is given, ``sizes`` is
    ``"constant"``, there is one radius, and the gradient's own budget does not follow the steps: the first so many
    iterates are the same. (All this up to the rounding of the network itself, whose last bits on some machines depend
    on the number of images that it is given at once.)

    Attributes:
        name: for tables.
        steps: for each restart.
        restarts: independent starts.
        step_size: as a share of epsilon; None for ``2.5 / steps``.
        sizes: ``"constant"``, or ``"cosine"`` from ``step_size`` down to zero.
        momentum: decay of the accumulated direction, each gradient divided by its mean absolute value (MIM: Dong et
            al., CVPR 2018).
        loss: ``"cross-entropy"``; ``"margin"``; or ``"targeted"``, the logit of one wrong class minus the right one, in
            the first restart of the class with the largest logit at the image, then of the second, and so on, and
            round again. The margin is the largest of these, and its ascent can end at a local maximum which belongs to
            the wrong wrong class: for a linear classifier only ``"targeted"`` with a restart for each wrong class is
            sure to find what there is.
        start: ``"random"`` in the ball, or the ``"image"`` itself (further restarts are random).
        gradient: where the direction comes from.
        radii: shares of epsilon for equal parts of the steps, the last of them 1, no more of them than steps:
            ``(0.25, 0.5, 1)`` lets the ball grow, ``(3, 2, 1)`` lets it shrink. In a ball larger than epsilon the
            iterate walks outside, and its projection on the ball of epsilon is what is tested and kept.
        segment: an exact decision about a segment (:class:`SegmentSearch`).

    Raises:
        InvalidArgumentError: a value that is not allowed.

    >>> Ascent("pgd", steps=20, restarts=2).budget
    43
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
    segment: SegmentSearch | None = None

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, 0)
        check_integer("restarts", self.restarts, 1)
        if self.step_size is not None:
            check_number("step_size", self.step_size, 0.0, open_minimum=True)
        check_number("momentum", self.momentum, 0.0)
        if self.loss != TARGETED:
            loss_named(self.loss, also=(TARGETED,))
        for name, value, allowed in (("start", self.start, STARTS), ("sizes", self.sizes, SIZES)):
            if value not in allowed:
                raise InvalidArgumentError(f"{name}={value!r} is not known: it must be one of {', '.join(allowed)}.")
        radii = self.radii
        shares_allowed = all(0 < share < math.inf for share in radii) and radii[-1:] == (1.0,)
        if not shares_allowed or len(radii) > max(1, self.steps):
            raise InvalidArgumentError(
                f"radii={radii!r} is not allowed: positive shares of epsilon, the last of them 1, no more than steps."
            )

    @property
    def budget(self) -> int:
        """Forward passes for an image that is never broken: the image, and all steps of all restarts."""
        ends = 1 + self.restarts
        extra = [not self.gradient.tests_iterate or self._radius(step) > 1 for step in range(self.steps)]
        return ends + sum(
            self.gradient.passes(step / self.steps, restart) + extra[step]
            for restart in range(self.restarts)
            for step in range(self.steps)
        )

    def but(self, **changes: object) -> Ascent:
        """The same attack with some attributes replaced."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def run(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float, seed: int = 0
    ) -> Attacked:
        """Attack a batch.

        Args:
            model: from images to logits. It is attacked in evaluation mode and left as it was; parameters and their
                gradients are not touched. Images are converted to the dtype of its parameters.
            images: in [0, 1], shape ``(B, C, H, W)``; half precisions are attacked, and returned, in float32.
            labels: int64, shape ``(B,)``.
            epsilon: radius of the ball.
            seed: of every random number.

        Raises:
            InvalidArgumentError: images or labels that are none, or labels that are no classes of the model.
        """
        epsilon = check_number("epsilon", epsilon, 0.0)
        check_batch(images, labels)
        stream = seeding.Stream(seed, f"attack {self.name}")
        with attack_mode(model):
            best, logits = at_images(model, images, labels)
            labels = labels.clone()  # what was made in inference mode cannot take part in a backward pass
            centres, keys = best.images.clone(), image_keys(images)
            for restart in range(self.restarts):
                left = (best.margins <= 0).nonzero().squeeze(1)
                if not len(left):
                    break
                draws = Draws.of(stream, restart, [keys[i] for i in left.tolist()], centres.device)
                aims = _aims(logits[left], labels[left], restart) if self.loss == TARGETED else None
                loss = margin if self.loss == TARGETED else loss_named(self.loss)
                target = Target(model, labels[left], loss, epsilon, draws, restart=restart, aims=aims)
                left, x = self._climb(target, centres, best, left)
                self._search_segments(model, centres, labels, epsilon, best, left, x)
        return best

    def _climb(
        self, target: Target, centres: torch.Tensor, best: Attacked, left: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One restart: the images that withstood it, and where the ascent has ended for them."""
        x, epsilon = centres[left], target.epsilon
        if self.start == "random" or target.restart:
            radius = epsilon * self._radius(0)
            x = project(x + radius * (2 * target.draws.uniforms(x) - 1), bounds(x, radius))
        velocity = torch.zeros_like(x)
        for step in range(self.steps):
            target = dataclasses.replace(target, progress=step / self.steps)
            direction, logits = self.gradient(target, x)
            tested = project(x, bounds(centres[left], epsilon)) if self._radius(step) > 1 else x
            if logits is None or tested is not x:
                logits = _logits(target.model, tested)
            keep = _record(best, left, tested, margin(logits, target.labels))
            if not bool(keep.all()):
                left, x, direction, velocity = left[keep], x[keep], direction[keep], velocity[keep]
                target = target.where(keep)
                if not len(left):
                    return left, x
            direction = direction.nan_to_num(0.0, 1.0, -1.0)  # an infinite loss: a NaN would end the ascent
            if self.momentum:
                scale = direction.abs().mean(dim=tuple(range(1, x.ndim)), keepdim=True)
                velocity = self.momentum * velocity + direction / scale.clamp_min(torch.finfo(x.dtype).tiny)
                direction = velocity
            ball = bounds(centres[left], epsilon * self._radius(min(step + 1, self.steps - 1)))
            x = project(x + self._size(step) * epsilon * direction.sign(), ball)
        keep = _record(best, left, x, margin(_logits(target.model, x), target.labels))
        return left[keep], x[keep]

    def _search_segments(
        self, model: nn.Module, centres: torch.Tensor, labels: torch.Tensor, epsilon: float,
        best: Attacked, left: torch.Tensor, ends: torch.Tensor,
    ) -> None:  # fmt: skip
        """What the exact decision finds is tested like any other point."""
        if self.segment is None:
            return
        for index, end in zip(left.tolist(), ends, strict=True):
            point = self.segment(model, centres[index], end, int(labels[index]))
            if point is not None:
                one = torch.tensor([index], device=left.device)
                x = project(point.detach().to(centres)[None], bounds(centres[one], epsilon))
                _record(best, one, x, margin(_logits(model, x), labels[one]))

    def _radius(self, step: int) -> float:
        """Of the ball in which the iterate of a step lies, as a share of epsilon."""
        return self.radii[step * len(self.radii) // self.steps] if self.steps else self.radii[-1]

    def _size(self, step: int) -> float:
        size = 2.5 / self.steps if self.step_size is None else self.step_size
        return size if self.sizes == "constant" else size * (1 + math.cos(math.pi * step / self.steps)) / 2


def at_images(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[Attacked, torch.Tensor]:
    """What is known before an attack: the images themselves, in float32 or finer, their margins and logits."""
    x = images.detach().clone()
    x = x if x.dtype == torch.float64 else x.float()
    logits = _logits(model, x)
    check_logits(logits, labels)
    return Attacked(x, margin(logits, labels)), logits


def _aims(logits: torch.Tensor, labels: torch.Tensor, restart: int) -> torch.Tensor:
    """The wrong class of each image whose turn it is, in the order of the logits at the image, equal ones by index."""
    wrong = logits.scatter(1, labels[:, None], -torch.inf)
    order = wrong.argsort(dim=1, descending=True, stable=True)
    return order[:, restart % (logits.shape[1] - 1)]


def _logits(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return logits_of(model, x)


def _record(best: Attacked, left: torch.Tensor, x: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """Keep what is better than before; return which of these images are still classified correctly."""
    better = margins > best.margins[left]
    best.images[left[better]] = x[better].detach()
    best.margins[left[better]] = margins[better].detach()
    return margins <= 0
