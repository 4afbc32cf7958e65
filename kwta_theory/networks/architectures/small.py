"""The networks for MNIST: a fully connected one, and the small convolutional one.

The paper says "a 3-layer CNN" and no more. Both are those of its released code (``MNIST_CNN`` and ``DNN`` in
``kWTA/mnist_model.py`` of github.com/a554b554/kWTA-Activation), whose configurations have 20,000 hidden units.
"""

from __future__ import annotations

from torch import nn

from kwta_theory.networks.activations import Factory
from kwta_theory.networks.architectures.layers import scaled


def mlp(
    activation: Factory, channels: int, image_size: int, classes: int, width_factor: float, hidden: int = 256
) -> nn.Sequential:
    """Two hidden layers of the same width."""
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
    """Convolutions of 3 x 3 with 32, 32 (stride 2), 64 and 64 (stride 2) channels, then one hidden layer."""
    narrow, wide, units = scaled(32, width_factor), scaled(64, width_factor), scaled(hidden, width_factor)
    positions = ((image_size + 3) // 4) ** 2  # stride 2 halves and rounds up, twice
    return nn.Sequential(
        nn.Conv2d(channels, narrow, 3, padding=1),
        activation(),
        nn.Conv2d(narrow, narrow, 3, stride=2, padding=1),
        activation(),
        nn.Conv2d(narrow, wide, 3, padding=1),
        activation(),
        nn.Conv2d(wide, wide, 3, stride=2, padding=1),
        activation(),
        nn.Flatten(),
        nn.Linear(wide * positions, units),
        activation(),
        nn.Linear(units, classes),
    )
