"""Small networks fitted to points of a known function, as in Figure 1."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn

from kwta_theory.networks import activation_factory
from kwta_theory.seeding import Stream

RATE = 2e-3


def network(activation: str, inputs: int, width: int, stream: Stream) -> nn.Module:
    """Two hidden layers in float64; weights normal with variance 2 over the inputs, biases uniform on [-1, 1].

    Args:
        activation: as in :func:`kwta_theory.networks.activation_factory`.
        inputs: numbers that the function takes; it returns one.
        width: of both hidden layers.
        stream: of the weights.

    >>> network("kwta-0.1", 1, 20, Stream(0, "doctest"))(torch.zeros(3, 1, dtype=torch.float64)).shape
    torch.Size([3, 1])
    """
    make, generator = activation_factory(activation), cast(np.random.Generator, stream.generator(0))
    layers = [nn.Linear(inputs, width), nn.Linear(width, width), nn.Linear(width, 1)]
    for layer in layers:
        shape = tuple(layer.weight.shape)
        layer.weight = nn.Parameter(torch.from_numpy(generator.standard_normal(shape)) * (2 / shape[1]) ** 0.5)
        layer.bias = nn.Parameter(torch.from_numpy(generator.uniform(-1, 1, shape[0])))
    return nn.Sequential(layers[0], make(), layers[1], make(), layers[2])


def fit(model: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int) -> float:
    """Least squares by Adam on all points at once, at a rate that falls to a hundredth, so that the last steps settle.

    Args:
        model: is changed.
        x: ``(points, inputs)``.
        y: ``(points,)``.
        steps: of Adam.

    Returns:
        The root mean square error before the last step.
    """
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    loss = torch.tensor(float("nan"))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.01 ** (step / steps)
        optimizer.zero_grad()
        loss = ((model(x)[:, 0] - y) ** 2).mean()
        loss.backward()
        optimizer.step()
    return float(loss.detach().sqrt())
