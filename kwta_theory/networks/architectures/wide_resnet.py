"""Wide ResNet-22-10 (Zagoruyko, Komodakis, BMVC 2016).

Section 4.2 of the paper prints "WRN-22-12", Table 2 and the configurations of the released code have 22-10.
"""

from __future__ import annotations

import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.networks.activations import Factory
from kwta_theory.networks.architectures.layers import conv3, head, scaled


class WideBlock(nn.Module):
    """Normalisation and activation before each of two convolutions; a 1 x 1 convolution where the width changes."""

    def __init__(self, activation: Factory, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.activation1, self.conv1 = nn.BatchNorm2d(inputs), activation(), conv3(inputs, outputs, stride)
        self.bn2, self.activation2, self.conv2 = nn.BatchNorm2d(outputs), activation(), conv3(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The shortcut of a block that changes the width starts after the first activation, as in the original."""
        y = self.activation1(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(self.activation2(self.bn2(self.conv1(y)))) + shortcut


def wide_resnet(
    activation: Factory,
    channels: int,
    image_size: int,  # noqa: ARG001  (any size: the last layer sees a mean)
    classes: int,
    width_factor: float,
    depth: int = 22,
    widening: int = 10,
) -> nn.Sequential:
    """``(depth - 4)/6`` blocks in each of three stages with 16, 32 and 64 times ``widening`` channels.

    Raises:
        InvalidArgumentError: a depth that is not 4 and a positive multiple of 6.
    """
    if depth < 10 or (depth - 4) % 6:
        raise InvalidArgumentError(f"depth={depth} is not allowed: it must be 10, 16, 22, 28 or 6 more again.")
    first, *widths = (scaled(width, width_factor) for width in (16, 16 * widening, 32 * widening, 64 * widening))
    layers: list[nn.Module] = [conv3(channels, first)]
    inputs = first
    for stage, width in enumerate(widths):
        for block in range((depth - 4) // 6):
            layers.append(WideBlock(activation, inputs, width, 2 if stage and not block else 1))
            inputs = width
    return nn.Sequential(*layers, nn.BatchNorm2d(inputs), activation(), head(inputs, classes))
