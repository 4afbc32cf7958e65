"""Where an attack takes its direction from: the gradient, one averaged over copies, or finite differences."""

from __future__ import annotations

import contextlib
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from kwta_theory.attacks.draws import Draws
from kwta_theory.attacks.losses import Loss
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.networks.training.adversary import evaluation_mode


@contextlib.contextmanager
def attack_mode(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and gradients enabled, whatever the caller's modes; they come back."""
    with evaluation_mode(model), torch.inference_mode(False), torch.enable_grad():
        yield


@dataclass(frozen=True, eq=False)
class Target:
    """What is attacked, and how far the attack is.

    Attributes:
        model: in evaluation mode.
        labels: of the images, shape ``(B,)``.
        loss: to be increased, per image.
        epsilon: of the ball, the unit of every radius.
        draws: the random numbers of each image.
        progress: the share of this restart's steps that are done.
        restart: its number, from 0.
        aims: a wrong class for each image, shape ``(B,)``, whose logit minus the right one is to be increased in place
            of the loss; None for the loss.
    """

    model: nn.Module
    labels: torch.Tensor
    loss: Loss
    epsilon: float
    draws: Draws
    progress: float = 0.0
    restart: int = 0
    aims: torch.Tensor | None = None

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """The model at ``x``, which is converted to the dtype of its parameters; at least float32."""
        return logits_of(self.model, x)

    def value(self, logits: torch.Tensor) -> torch.Tensor:
        """What is to be increased, for each row of logits; shape ``(B,)``."""
        if self.aims is None:
            return self.loss(logits, self.labels)
        aimed, right = (logits.gather(1, c[:, None]).squeeze(1) for c in (self.aims, self.labels))
        return aimed - right

    def repeated(self, copies: int) -> Target:
        """So many copies of each image, side by side."""
        labels, draws = self.labels.repeat_interleave(copies), self.draws.repeated(copies)
        aims = None if self.aims is None else self.aims.repeat_interleave(copies)
        return dataclasses.replace(self, labels=labels, draws=draws, aims=aims)

    def where(self, keep: torch.Tensor) -> Target:
        """Some of the images."""
        aims = None if self.aims is None else self.aims[keep]
        return dataclasses.replace(self, labels=self.labels[keep], draws=self.draws.where(keep), aims=aims)


def logits_of(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A model of any floating dtype at images of any floating dtype; the logits in float32 or finer."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), x.dtype)
    logits = model(x.to(dtype))
    return logits if logits.dtype == torch.float64 else logits.float()


class Gradient(ABC):
    """A direction of ascent."""

    tests_iterate = False
    """Whether the logits at the iterate come along."""

    @abstractmethod
    def __call__(self, target: Target, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A direction for each image of ``x``, shape ``(B, C, H, W)``, and the logits there where they came along."""

    def passes(self, progress: float, restart: int) -> int:  # noqa: ARG002  (for those whose budget grows)
        """Forward passes for each image in one call."""
        return 1


@dataclass(frozen=True)
class Plain(Gradient):
    """The gradient of the loss at the iterate; zero where the model cuts it off (``detach``, an integer, a mask)."""

    tests_iterate = True

    def __call__(self, target: Target, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One forward and one backward pass."""
        x = x.detach().requires_grad_()
        logits = target.logits(x)
        total = target.value(logits).sum()
        if not total.requires_grad:
            return torch.zeros_like(x), logits
        # With respect to the input alone: the gradients of the parameters stay what they are.
        (gradient,) = torch.autograd.grad(total, x, allow_unused=True)
        return torch.zeros_like(x) if gradient is None else gradient, logits.detach()


@dataclass(frozen=True)
class Averaged(Gradient):
    """The mean of gradients at Gaussian copies of the iterate, in one batched call (expectation over transformations).

    Its expectation is the mean over the noise of the gradient that ``inner`` sees. That is the gradient of the loss
    averaged over the noise where the loss is continuous; at jumps it is not (:class:`FiniteDifference` is, there too).

    Attributes:
        copies: for each image.
        deviation: of the noise on each pixel, as a share of epsilon.
        inner: the gradient at a copy.
    """

    copies: int = 1
    deviation: float = 0.25
    inner: Gradient = field(default_factory=Plain)

    def __post_init__(self) -> None:
        check_integer("copies", self.copies, 1)
        check_number("deviation", self.deviation, 0.0)

    def __call__(self, target: Target, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``copies`` calls of ``inner``."""
        many, copied = x.repeat_interleave(self.copies, 0), target.repeated(self.copies)
        noisy = many + self.deviation * target.epsilon * copied.draws.normals(many)
        gradient, _ = self.inner(copied, noisy)
        return gradient.unflatten(0, (len(x), self.copies)).mean(1), None

    def passes(self, progress: float, restart: int) -> int:
        """Those of ``inner``, for each copy."""
        return self.copies * self.inner.passes(progress, restart)


@dataclass(frozen=True)
class FiniteDifference(Gradient):
    """The slope of the loss along random directions, from its values alone (Tramer, Carlini, Brendel, Madry 2020).

    The mean over pairs of ``(L(x + s u) - L(x - s u)) / (2 s) * u`` with Gaussian ``u`` has as its expectation the
    gradient of the loss averaged over a Gaussian of deviation ``s``, whether or not the loss is continuous: by Stein's
    lemma ``grad E L(x + s u) = E L(x + s u) u / s``. It sees across the boundaries between linear regions.

    The source lets the number of samples grow as an attack of 100 steps goes on (100 up to step 20, 1,000 up to step
    40, then 20,000, half as many pairs) with ``s`` equal to epsilon: :data:`TRAMER_PAIRS`. The images that are broken
    early never pay for it.

    Attributes:
        pairs: antithetic pairs for each image; or ``(share of the steps, pairs)`` from which that many are drawn,
            beginning with share 0.
        deviation: ``s`` as a share of epsilon.
        growth: the pairs are multiplied by it with each further restart.
        largest_batch: images in one forward pass; no result depends on it but for rounding.

    Source: "On Adaptive Attacks to Adversarial Example Defenses", NeurIPS 2020, section on k-Winners Take All, and the
        code published with it.
    """

    pairs: int | tuple[tuple[float, int], ...] = 64
    deviation: float = 0.25
    growth: float = 1.0
    largest_batch: int = 2048

    def __post_init__(self) -> None:
        check_number("deviation", self.deviation, 0.0, open_minimum=True)
        check_number("growth", self.growth, 1.0)
        check_integer("largest_batch", self.largest_batch, 2)
        if not isinstance(self.pairs, tuple):
            check_integer("pairs", self.pairs, 1)
            return
        shares = [check_number("pairs share", share, 0.0, 1.0, open_maximum=True) for share, _ in self.pairs]
        if not shares or shares[0] != 0 or shares != sorted(set(shares)):
            raise InvalidArgumentError(f"pairs={self.pairs!r} is not allowed: its shares must rise from 0.")
        for _, count in self.pairs:
            check_integer("pairs", count, 1)

    def pairs_at(self, progress: float, restart: int) -> int:
        """How many pairs are drawn at this point of the attack."""
        schedule = self.pairs if isinstance(self.pairs, tuple) else ((0.0, self.pairs),)
        base = next(count for share, count in reversed(schedule) if share <= progress)
        return round(base * self.growth**restart)

    def __call__(self, target: Target, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Two forward passes for each pair."""
        radius = self.deviation * target.epsilon
        if radius == 0:
            return torch.zeros_like(x), None
        total = torch.zeros_like(x)
        at_once = max(1, self.largest_batch // (2 * max(1, len(x))))
        left = pairs = self.pairs_at(target.progress, target.restart)
        while left:
            count = min(left, at_once)
            left -= count
            centres, copied = x.repeat_interleave(count, 0), target.repeated(count)
            directions = copied.draws.normals(centres)
            with torch.no_grad():
                both = torch.cat([centres + radius * directions, centres - radius * directions])
                ahead, behind = (copied.value(part) for part in target.logits(both).chunk(2))
            slopes = ((ahead - behind) / (2 * radius)).to(x.dtype).view(-1, *(1,) * (x.ndim - 1))
            total += (slopes * directions).unflatten(0, (len(x), count)).sum(1)
        return total / pairs, None

    def passes(self, progress: float, restart: int) -> int:
        """Two for each pair."""
        return 2 * self.pairs_at(progress, restart)


TRAMER_PAIRS = ((0.0, 50), (0.2, 500), (0.4, 10_000))
"""The published sample budget, in pairs."""
