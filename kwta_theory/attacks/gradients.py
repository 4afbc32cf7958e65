"""Where an attack takes its direction from: the gradient, one averaged over copies, or finite differences."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from kwta_theory.attacks.losses import Loss
from kwta_theory.checks import check_integer, check_number
from kwta_theory.seeding import RandomGenerator


@dataclass(frozen=True, eq=False)
class Target:
    """What is attacked, and how.

    Attributes:
        model: in evaluation mode.
        labels: of the images, shape ``(B,)``.
        loss: to be increased, per image.
        epsilon: of the ball, the unit of every radius.
        generator: of every random number.
    """

    model: nn.Module
    labels: torch.Tensor
    loss: Loss
    epsilon: float
    generator: RandomGenerator

    def repeated(self, copies: int) -> Target:
        """So many copies of each image."""
        return dataclasses.replace(self, labels=self.labels.repeat_interleave(copies))


class Gradient(ABC):
    """A direction of ascent."""

    @abstractmethod
    def __call__(self, target: Target, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A direction for each image of ``x``, shape ``(B, C, H, W)``, and the logits there where they came along."""


class Plain(Gradient):
    """The gradient of the loss at the iterate."""

    def __call__(self, target: Target, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One forward and one backward pass."""
        x = x.detach().requires_grad_()
        logits = target.model(x)
        # With respect to the input alone: the gradients of the parameters stay what they are.
        (gradient,) = torch.autograd.grad(target.loss(logits, target.labels).sum(), x)
        return gradient, logits.detach()


class Averaged(Gradient):
    """The mean of gradients at Gaussian copies of the iterate, in one batched call (expectation over transformations).

    Args:
        copies: for each image.
        deviation: of the noise on each pixel, as a share of epsilon.
        inner: the gradient at a copy.
    """

    def __init__(self, copies: int = 1, deviation: float = 0.25, inner: Gradient | None = None) -> None:
        self.copies = check_integer("copies", copies, 1)
        self.deviation = check_number("deviation", deviation, 0.0)
        self.inner = inner or Plain()

    def __call__(self, target: Target, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``copies`` forward and backward passes."""
        many = x.repeat_interleave(self.copies, 0)
        noisy = many + self.deviation * target.epsilon * normals(target.generator, many)
        gradient, _ = self.inner(target.repeated(self.copies), noisy)
        return gradient.unflatten(0, (len(x), self.copies)).mean(1), None


class FiniteDifference(Gradient):
    """The slope of the loss along random directions, from its values alone (Tramer, Carlini, Brendel, Madry 2020).

    The mean over pairs of ``(L(x + s u) - L(x - s u)) / (2 s) * u`` with Gaussian ``u`` is the gradient of the loss
    averaged over a Gaussian of deviation ``s``: it sees across the boundaries between linear regions.

    Args:
        pairs: antithetic pairs of directions for each image.
        deviation: ``s`` as a share of epsilon.
        largest_batch: images in one forward pass.
    """

    def __init__(self, pairs: int = 64, deviation: float = 0.25, largest_batch: int = 2048) -> None:
        self.pairs = check_integer("pairs", pairs, 1)
        self.deviation = check_number("deviation", deviation, 0.0, open_minimum=True)
        self.largest_batch = check_integer("largest_batch", largest_batch, 2)

    def __call__(self, target: Target, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """``2 * pairs`` forward passes."""
        radius = self.deviation * target.epsilon
        total = torch.zeros_like(x)
        at_once = max(1, self.largest_batch // (2 * len(x)))
        left = self.pairs
        while left:
            count = min(left, at_once)
            left -= count
            centres, labels = x.repeat_interleave(count, 0), target.repeated(count).labels
            directions = normals(target.generator, centres)
            with torch.no_grad():
                ahead = target.loss(target.model(centres + radius * directions), labels)
                behind = target.loss(target.model(centres - radius * directions), labels)
            slopes = ((ahead - behind) / (2 * radius)).view(-1, *(1,) * (x.ndim - 1))
            total += (slopes * directions).unflatten(0, (len(x), count)).sum(1)
        return total / self.pairs, None


def normals(generator: RandomGenerator, like: torch.Tensor) -> torch.Tensor:
    """Standard normals of the shape, dtype and device of a tensor."""
    if isinstance(generator, np.random.Generator):
        drawn = generator.standard_normal(tuple(like.shape), dtype=np.float32)
        return torch.from_numpy(drawn).to(device=like.device, dtype=like.dtype)
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def uniforms(generator: RandomGenerator, like: torch.Tensor) -> torch.Tensor:
    """Uniform numbers in [0, 1) of the shape, dtype and device of a tensor."""
    if isinstance(generator, np.random.Generator):
        drawn = generator.random(tuple(like.shape), dtype=np.float32)
        return torch.from_numpy(drawn).to(device=like.device, dtype=like.dtype)
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
