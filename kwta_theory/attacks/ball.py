"""The ball of an image: every floating-point number within epsilon of each pixel and within [0, 1], and no other."""

from __future__ import annotations

import torch

from kwta_theory.checks import InvalidArgumentError


def bounds(images: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest and the largest image of the dtype within ``epsilon`` of ``images`` (maximum norm) and in [0, 1].

    ``images + epsilon`` rounded to nearest may lie outside the ball by half a unit in the last place. Here nothing
    does: with ``s = fl(a + b)``, the rounding error ``(a + b) - s`` is itself a floating-point number, found exactly by
    six operations (Knuth's TwoSum), and where it is negative ``s`` is one step too large. The tolerance is zero: as
    real numbers, ``image - epsilon <= lower`` and ``upper <= image + epsilon``. Epsilon itself, a float64, is first
    rounded towards zero to the dtype.

    Args:
        images: in [0, 1]; float32, float64 or bfloat16.
        epsilon: radius, not negative.

    >>> lower, upper = bounds(torch.tensor([0.1, 0.9]), 0.3)
    >>> upper[0].item() - 0.10000000149011612 <= 0.3, upper[1].item(), lower[0].item()
    (True, 1.0, 0.0)
    """
    radius = torch.full_like(images, _towards_zero(epsilon, images.dtype))
    upper, error = _two_sum(images, radius)
    upper = torch.where(error < 0, torch.nextafter(upper, images), upper)
    lower, error = _two_sum(images, -radius)
    lower = torch.where(error > 0, torch.nextafter(lower, images), lower)
    return lower.clamp_min(0.0), upper.clamp_max(1.0)


def project(points: torch.Tensor, ball: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """The nearest point of the ball that :func:`bounds` gave."""
    return torch.min(torch.max(points, ball[0]), ball[1])


def check_batch(images: torch.Tensor, labels: torch.Tensor) -> None:
    """Raise unless these are images with pixels in [0, 1] and their labels.

    Raises:
        InvalidArgumentError: images that are not floating-point, without a second dimension, or with a pixel that is
            NaN or outside [0, 1]; labels that are not int64 of shape ``(N,)``, or negative.
    """
    if not isinstance(images, torch.Tensor) or not images.is_floating_point() or images.ndim < 2:
        found = f"{images.dtype} of shape {tuple(images.shape)}" if isinstance(images, torch.Tensor) else type(images)
        raise InvalidArgumentError(f"images is {found}: it must be a floating-point tensor of shape (N, C, H, W).")
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        found = f"{labels.dtype} of shape {tuple(labels.shape)}" if isinstance(labels, torch.Tensor) else type(labels)
        raise InvalidArgumentError(f"labels is {found}: it must be a torch.int64 tensor of shape ({len(images)},).")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise InvalidArgumentError("images has a pixel that is NaN or outside [0, 1]: scale them first.")
    if bool((labels < 0).any()):
        raise InvalidArgumentError(f"labels has {int(labels.min())}: a label is the index of a class, from 0.")


def check_logits(logits: torch.Tensor, labels: torch.Tensor) -> None:
    """Raise unless there is one row of logits for each label, and a class for it, and another.

    Raises:
        InvalidArgumentError: the model is no classifier of these labels.
    """
    if logits.ndim != 2 or len(logits) != len(labels) or logits.shape[1] < 2:
        raise InvalidArgumentError(
            f"model returns shape {tuple(logits.shape)} for {len(labels)} images: it must return logits of shape "
            "(N, classes) with at least two classes."
        )
    if len(labels) and int(labels.max()) >= logits.shape[1]:
        raise InvalidArgumentError(
            f"labels has {int(labels.max())}: the model has {logits.shape[1]} classes, counted from 0."
        )


def _two_sum(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``a + b`` rounded, and what rounding took away, exactly."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


def _towards_zero(epsilon: float, dtype: torch.dtype) -> float:
    """The largest number of a dtype that is not above ``epsilon``."""
    rounded = torch.tensor(epsilon, dtype=dtype)
    if rounded.item() > epsilon:
        rounded = torch.nextafter(rounded, torch.zeros((), dtype=dtype))
    return rounded.item()
