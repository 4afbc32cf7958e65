"""The networks for MNIST: a fully connected one, and the small convolutional one."""

from __future__ import annotations

from torch import nn

from kwta_theory.networks.activations import Factory
from kwta_theory.networks.architectures.layers import scaled


def mlp(
    activation: Factory, channels: int, image_size: int, classes: int, width_factor: float, hidden: int = 256
) -> nn.Sequential:
    """Two hidden layers."""
    units = scaled(hidden, width_factor)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * image_size**2, units),
        activation(),
        nn.Linear(units, units),
        activation(),
        nn.Linear(units, classes),
    )


def smallcnn(
    activation: Factory, channels: int, image_size: int, classes: int, width_factor: float, hidden: int = 256
) -> nn.Sequential:
    """Convolutions with 32, 32 (stride 2), 64 and 64 (stride 2) channels, then one hidden layer.

    The convolutional part of the MNIST network of Wong and Kolter (ICML 2018). The paper says "a 3-layer CNN" and no
    more.
    """
    narrow, wide, units = scaled(32, width_factor), scaled(64, width_factor), scaled(hidden, width_factor)
    return nn.Sequential(
        nn.Conv2d(channels, narrow, 3, padding=1),
        activation(),
        nn.Conv2d(narrow, narrow, 4, stride=2, padding=1),
        activation(),
        nn.Conv2d(narrow, wide, 3, padding=1),
        activation(),
        nn.Conv2d(wide, wide, 4, stride=2, padding=1),
        activation(),
        nn.Flatten(),
        nn.Linear(wide * (image_size // 2 // 2) ** 2, units),
        activation(),
        nn.Linear(units, classes),
    )
