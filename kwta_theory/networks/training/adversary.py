"""The adversaries inside training. They see the network in evaluation mode: it learns no statistics of theirs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional

Loss = Callable[[torch.Tensor], torch.Tensor]


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and back, module by module."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


def inside(perturbed: torch.Tensor, images: torch.Tensor, epsilon: float) -> torch.Tensor:
    """The nearest point within epsilon (maximum norm) of the images and within [0, 1]."""
    return torch.min(torch.max(perturbed, images - epsilon), images + epsilon).clamp(0, 1)


def pgd(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, start: torch.Tensor,
    epsilon: float, steps: int, step_size: float,
) -> torch.Tensor:  # fmt: skip
    """Untargeted projected gradient ascent on the cross-entropy from ``start``, by signs of gradients."""
    return _ascend(model, images, start, epsilon, steps, step_size, lambda out: functional.cross_entropy(out, labels))


def trades_adversary(
    model: nn.Module, images: torch.Tensor, start: torch.Tensor, epsilon: float, steps: int, step_size: float
) -> torch.Tensor:
    """Ascent on the divergence of the prediction from that on the image itself."""
    with torch.no_grad(), evaluation_mode(model):
        clean = functional.log_softmax(model(images).float(), dim=1)
    return _ascend(model, images, start, epsilon, steps, step_size, lambda out: divergence(out, clean))


def divergence(outputs: torch.Tensor, clean_log_probabilities: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of the clean prediction from another, mean over the batch (TRADES)."""
    log_probabilities = functional.log_softmax(outputs.float(), dim=1)
    return functional.kl_div(log_probabilities, clean_log_probabilities, reduction="batchmean", log_target=True)


def _ascend(
    model: nn.Module,
    images: torch.Tensor,
    start: torch.Tensor,
    epsilon: float,
    steps: int,
    step_size: float,
    loss: Loss,
) -> torch.Tensor:
    x = inside(start, images, epsilon)
    with evaluation_mode(model):
        for _ in range(steps):
            x = x.detach().requires_grad_()
            # With respect to the input alone: the gradients of the parameters stay what they are.
            (gradient,) = torch.autograd.grad(loss(model(x)), x)
            x = inside(x.detach() + step_size * gradient.sign(), images, epsilon)
    return x.detach()
