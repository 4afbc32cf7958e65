"""Shifted and mirrored images, as is usual for CIFAR-10."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

PADDING = 4


def shift_and_mirror(images: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Shift each image by -4 to 4 pixels both ways, filling with zeros (black), and mirror half of them left to right.

    The same law as cutting ``H x W`` out of an image with a border of four zeros, then mirroring with probability 1/2.

    Args:
        images: ``(B, C, H, W)``.
        generator: the only source of chance.

    >>> shift_and_mirror(torch.ones(2, 3, 32, 32), np.random.default_rng(0)).shape
    torch.Size([2, 3, 32, 32])
    """
    count, _, height, width = images.shape
    corners = generator.integers(0, 2 * PADDING + 1, (2, count))
    mirrored = generator.random(count) < 0.5
    rows = corners[0][:, None] + np.arange(height)
    columns = corners[1][:, None] + np.where(mirrored[:, None], np.arange(width)[::-1], np.arange(width))
    padded = functional.pad(images, (PADDING,) * 4)
    image, row, column = (
        torch.from_numpy(index).to(images.device)
        for index in (np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :])
    )
    return padded[image, :, row, column].permute(0, 3, 1, 2).contiguous()
