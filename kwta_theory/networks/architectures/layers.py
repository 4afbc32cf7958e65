"""What several architectures share."""

from __future__ import annotations

from torch import nn


def scaled(units: int, factor: float) -> int:
    """Units or channels times the width factor, rounded, at least 1."""
    return max(1, round(units * factor))


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size at stride 1, without a bias: batch normalisation follows."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


def head(inputs: int, classes: int) -> nn.Sequential:
    """Mean over all positions, then the last layer; on 32 x 32 images this is the 4 x 4 pooling of the original."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))
