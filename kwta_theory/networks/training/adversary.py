"""The adversaries inside training.

They take any function from images to logits and use it in the mode in which it is. Training puts its network into
evaluation mode around them (:func:`evaluation_mode`), as the code of Zhang et al. does: the points are sought on the
network as it will be used, and batch normalisation learns no statistics of the search.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional

Logits = Callable[[torch.Tensor], torch.Tensor]


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
    logits: Logits, images: torch.Tensor, labels: torch.Tensor, start: torch.Tensor,
    epsilon: float, steps: int, step_size: float,
) -> torch.Tensor:  # fmt: skip
    """Untargeted projected gradient ascent on the cross-entropy from ``start``, by signs of gradients (Madry et al.).

    ``x <- inside(x + step_size * sign(grad_x CE(logits(x), labels)))``, so many times; images ``(B, C, H, W)``. The
    gradients of the parameters stay what they are.
    """
    return _ascend(lambda x: functional.cross_entropy(logits(x), labels), images, start, epsilon, steps, step_size)


def trades_adversary(
    logits: Logits, images: torch.Tensor, start: torch.Tensor, epsilon: float, steps: int, step_size: float
) -> torch.Tensor:
    """The same ascent on :func:`divergence` from the prediction on the image itself (Zhang et al.)."""
    with torch.no_grad():
        clean = functional.log_softmax(logits(images), dim=1)
    return _ascend(lambda x: divergence(logits(x), clean), images, start, epsilon, steps, step_size)


def divergence(outputs: torch.Tensor, clean_log_probabilities: torch.Tensor) -> torch.Tensor:
    """``KL(clean || perturbed) = sum_c p_c (log p_c - log q_c)``, mean over the batch.

    ``p`` is the prediction on the image, ``q`` that of ``outputs``: the direction of the authors' code, in which
    ``KLDivLoss`` takes ``log q`` first. Gradients go through both.
    """
    log_probabilities = functional.log_softmax(outputs, dim=1)
    return functional.kl_div(log_probabilities, clean_log_probabilities, reduction="batchmean", log_target=True)


def _ascend(
    loss: Logits, images: torch.Tensor, start: torch.Tensor, epsilon: float, steps: int, step_size: float
) -> torch.Tensor:
    x = inside(start, images, epsilon)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        # With respect to the input alone: no parameter's .grad is filled.
        (gradient,) = torch.autograd.grad(loss(x), x)
        x = inside(x.detach() + step_size * gradient.sign(), images, epsilon)
    return x.detach()
