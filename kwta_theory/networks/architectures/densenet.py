"""DenseNet-121 for small images (Huang, Liu, van der Maaten, Weinberger, CVPR 2017, as in kuangliu/pytorch-cifar)."""

from __future__ import annotations

import torch
from torch import nn

from kwta_theory.networks.activations import Factory
from kwta_theory.networks.architectures.layers import conv3, head, scaled


class DenseLayer(nn.Module):
    """Adds ``growth`` channels, computed through a bottleneck, in front of those that come in."""

    def __init__(self, activation: Factory, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1, self.activation1 = nn.BatchNorm2d(inputs), activation()
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2, self.activation2, self.conv2 = nn.BatchNorm2d(4 * growth), activation(), conv3(4 * growth, growth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The new channels and the old ones."""
        y = self.conv1(self.activation1(self.bn1(x)))
        return torch.cat([self.conv2(self.activation2(self.bn2(y))), x], dim=1)


def transition(activation: Factory, inputs: int, outputs: int) -> nn.Sequential:
    """Between two blocks: half the channels, half the size."""
    convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
    return nn.Sequential(nn.BatchNorm2d(inputs), activation(), convolution, nn.AvgPool2d(2))


def densenet121(
    activation: Factory,
    channels: int,
    image_size: int,  # noqa: ARG001  (any size: the last layer sees a mean)
    classes: int,
    width_factor: float,
) -> nn.Sequential:
    """Blocks of 6, 12, 24 and 16 layers with growth 32, transitions that halve the channels in between."""
    growth = scaled(32, width_factor)
    width = 2 * growth
    layers: list[nn.Module] = [conv3(channels, width)]
    for block, depth in enumerate((6, 12, 24, 16)):
        if block:
            layers.append(transition(activation, width, width // 2))
            width //= 2
        for _ in range(depth):
            layers.append(DenseLayer(activation, width, growth))
            width += growth
    return nn.Sequential(*layers, nn.BatchNorm2d(width), activation(), head(width, classes))
