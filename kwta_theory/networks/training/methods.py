"""What one batch does to the weights: the four methods of Section 4."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from kwta_theory.networks.training import adversary
from kwta_theory.networks.training.recipe import Recipe

Noise = Callable[[str, torch.Tensor], torch.Tensor]


class TrainingError(Exception):
    """A run that cannot go on. The text is one sentence."""


@dataclass
class Learner:
    """A network that is being trained.

    Attributes:
        model: the network.
        logits: from images to float32 logits; the model, or the model compiled or in mixed precision.
        optimizer: of its parameters.
        recipe: the method and its numbers.
        perturbation: of free training, as many as a batch has images: it lives on from batch to batch. None before the
            first, than which no batch is larger.
    """

    model: nn.Module
    logits: adversary.Logits
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    perturbation: torch.Tensor | None = None

    def __post_init__(self) -> None:
        self.has_statistics = any(getattr(module, "running_mean", None) is not None for module in self.model.modules())

    def learn(
        self, images: torch.Tensor, labels: torch.Tensor, epsilon: float, noise: Noise
    ) -> list[tuple[float, float]]:
        """Learn from a batch.

        Args:
            images: ``(B, C, H, W)`` in [0, 1].
            labels: int64 ``(B,)``.
            epsilon: the adversary's radius; 0 is natural training, whatever the method.
            noise: ``"uniform"`` on [0, 1) or ``"normal"``, and a tensor whose shape is wanted.

        Returns:
            The loss and the share of images classified right, for each step of the optimiser: on the images as they
            are (natural, TRADES), on the perturbed ones (``at``, ``free``).

        Raises:
            TrainingError: the loss is no longer a number.
        """
        if self.recipe.method == "natural" or not epsilon:
            return [self._natural(images, labels)]
        if self.recipe.method == "at":
            return [self._natural(self._attacked(images, labels, epsilon, noise), labels)]
        if self.recipe.method == "trades":
            return [self._trades(images, labels, epsilon, noise)]
        return self._free(images, labels, epsilon)

    def _natural(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        outputs = self.logits(images)
        return self._descend(functional.cross_entropy(outputs, labels), outputs, labels)

    def _attacked(self, images: torch.Tensor, labels: torch.Tensor, epsilon: float, noise: Noise) -> torch.Tensor:
        """PGD from a uniform point of the ball (Madry et al. 2018)."""
        start = images + epsilon * (2 * noise("uniform", images) - 1)
        steps, size = self.recipe.attack_steps, self.recipe.attack_step_size * epsilon
        with adversary.evaluation_mode(self.model):
            return adversary.pgd(self.logits, images, labels, start, epsilon, steps, size)

    def _trades(self, images: torch.Tensor, labels: torch.Tensor, epsilon: float, noise: Noise) -> tuple[float, float]:
        """``CE(f(x), y) + beta KL(f(x) || f(x'))``, ``x'`` found from ``x + 0.001 N(0, 1)`` (Zhang et al. 2019)."""
        start = images + 1e-3 * noise("normal", images)
        steps, size = self.recipe.attack_steps, self.recipe.attack_step_size * epsilon
        with adversary.evaluation_mode(self.model):
            attacked = adversary.trades_adversary(self.logits, images, start, epsilon, steps, size)
        outputs, perturbed = self.logits(images), self.logits(attacked)
        if self.has_statistics:
            # The authors' code computes f(x) once more here: batch normalisation sees x twice and x' once.
            with torch.no_grad():
                self.logits(images)
        robust = adversary.divergence(perturbed, functional.log_softmax(outputs, dim=1))
        loss = functional.cross_entropy(outputs, labels) + self.recipe.trades_beta * robust
        return self._descend(loss, outputs, labels)

    def _free(self, images: torch.Tensor, labels: torch.Tensor, epsilon: float) -> list[tuple[float, float]]:
        """Algorithm 1 of Shafahi et al. 2019: from one backward pass a step of the weights and one of the perturbation.

        The gradient is taken at the pixels after they were clipped to [0, 1], not through the clipping. Through it, a
        black pixel whose perturbation is negative would have no gradient, and on MNIST, where most pixels are black,
        the perturbation would stay there for good.
        """
        if self.perturbation is None:
            self.perturbation = images.new_zeros(max(self.recipe.batch_size, len(images)), *images.shape[1:])
        delta = self.perturbation[: len(images)]
        results = []
        for _ in range(self.recipe.replays):
            attacked = (images + delta).clamp(0, 1).requires_grad_()
            results.append(self._natural(attacked, labels))
            if attacked.grad is None:
                raise TrainingError("the loss does not depend on the images: free training has no gradient to use.")
            delta.add_(epsilon * attacked.grad.sign()).clamp_(-epsilon, epsilon)
        return results

    def _descend(self, loss: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(f"the loss is {value}: the learning rate may be too large.")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return value, int((outputs.detach().argmax(1) == labels).sum()) / len(labels)
