"""Initial weights that keep the size of a signal from layer to layer, for whatever activation follows."""

from __future__ import annotations

import math

import torch
from scipy import integrate, special
from torch import nn

from kwta_theory.networks.activations import activation_factory

# The logits start small: their differences are what has to be learned.
LAST_LAYER = 0.3


def second_moment(activation: str) -> float:
    """``E[phi(z)^2]`` for one of many standard normal outputs ``z`` of a layer: what an activation leaves of a signal.

    ReLU leaves 1/2. k-WTA, with ``q`` the quantile that a share gamma exceeds, leaves

        E[z^2; z > q] = gamma + q phi(q),

    0.32 at gamma = 0.1: a network of several layers with ReLU's weights loses the signal. LWTA leaves the mean square
    of the largest of ``g`` normals, divided by ``g``.

    Args:
        activation: as in :func:`kwta_theory.networks.activation_factory`.

    >>> second_moment("relu"), round(second_moment("kwta-0.1"), 4)
    (0.5, 0.3249)
    """
    activation_factory(activation)
    kind, _, number = activation.partition("-")
    if kind == "kwta":
        ratio = float(number)
        quantile = -float(special.ndtri(ratio))
        return ratio + quantile * density(quantile) if math.isfinite(quantile) else 1.0
    if kind == "lwta":
        size = int(number)

        def integrand(z: float) -> float:
            return z * z * density(z) * float(special.ndtr(z)) ** (size - 1)

        return float(integrate.quad(integrand, -12, 12, epsabs=1e-12)[0])
    return 0.5 if kind == "relu" else 0.5 * (1 + nn.LeakyReLU().negative_slope ** 2)


def density(z: float) -> float:
    """Of the standard normal law."""
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def preserve_variance(model: nn.Module, activation: str, generator: torch.Generator) -> None:
    """Draw all weights anew: normal, variance ``1 / (fan in * second moment)``, biases zero (He et al., ICCV 2015).

    For networks without batch normalisation. PyTorch's default has a third of that variance, ``1/(3 fan in)``; the
    small CNN with k-WTA-0.1 then starts so flat that training may never leave the loss ``log 10``.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for number, layer in enumerate(layers):
        fan_in = layer.weight[0].numel()
        moment = second_moment(activation) if number else 1.0
        deviation = math.sqrt(1 / (fan_in * moment)) * (LAST_LAYER if layer is layers[-1] else 1.0)
        with torch.no_grad():
            layer.weight.normal_(0.0, deviation, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
