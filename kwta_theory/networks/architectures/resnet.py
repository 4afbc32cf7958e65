"""ResNet-18 for small images (He, Zhang, Ren, Sun, CVPR 2016, in the form of github.com/kuangliu/pytorch-cifar)."""

from __future__ import annotations

import torch
from torch import nn

from kwta_theory.networks.activations import Factory
from kwta_theory.networks.architectures.layers import conv3, head, scaled


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut; the second activation acts on their sum."""

    def __init__(self, activation: Factory, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.activation1, self.activation2 = activation(), activation()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``activation(bn(conv(activation(bn(conv(x))))) + shortcut(x))``."""
        y = self.activation1(self.bn1(self.conv1(x)))
        return self.activation2(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet18(
    activation: Factory,
    channels: int,
    image_size: int,  # noqa: ARG001  (any size: the last layer sees a mean)
    classes: int,
    width_factor: float,
) -> nn.Sequential:
    """Four stages of two blocks with 64, 128, 256 and 512 channels."""
    widths = [scaled(width, width_factor) for width in (64, 128, 256, 512)]
    layers: list[nn.Module] = [conv3(channels, widths[0]), nn.BatchNorm2d(widths[0]), activation()]
    inputs = widths[0]
    for stage, width in enumerate(widths):
        for block in range(2):
            layers.append(BasicBlock(activation, inputs, width, 2 if stage and not block else 1))
            inputs = width
    return nn.Sequential(*layers, head(inputs, classes))
