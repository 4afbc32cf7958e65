"""Initial weights: PyTorch's own, and those that keep the size of a signal whatever activation follows.

All draws come from a generator that the caller gives; the global one is neither used nor moved.
"""

from __future__ import annotations

import math

import torch
from scipy import integrate, special
from torch import nn

from kwta_theory.checks import check_integer
from kwta_theory.networks.activations import activation_factory, parse

# The logits start small: their differences are what has to be learned.
LAST_LAYER = 0.3


def second_moment(activation: str, width: int | None = None) -> float:
    """``E[phi(z)^2]`` for one of many standard normal outputs ``z`` of a layer: what an activation leaves of a signal.

    ReLU leaves 1/2. k-WTA, in the limit of a wide layer and with ``q`` the quantile that a share gamma exceeds, leaves

        E[z^2; z > q] = gamma + q phi(q),

    0.32 at gamma = 0.1: a network of several layers with ReLU's weights loses the signal. LWTA leaves the mean square
    of the largest of ``g`` normals, divided by ``g``; this is ``E[z^2 Phi(z)^(g - 1)]``, for each of the ``g`` is the
    largest where the others are below it.

    Args:
        activation: as in :func:`kwta_theory.networks.activation_factory`.
        width: channels of the layer, for LWTA: the groups that do not fill leave more. None for full groups.

    >>> second_moment("relu"), round(second_moment("kwta-0.1"), 4), round(second_moment("lwta-2", width=8), 12)
    (0.5, 0.3249, 0.5)
    """
    activation_factory(activation)
    kind, number = parse(activation)
    if kind == "kwta":
        quantile = -float(special.ndtri(number))
        return number + quantile * _density(quantile) if math.isfinite(quantile) else 1.0
    if kind == "lwta":
        size = int(number)
        rest = 0 if width is None else check_integer("width", width, 1) % size
        if not rest:
            return _largest_of(size)
        return ((width - rest) * _largest_of(size) + rest * _largest_of(rest)) / width  # type: ignore[operator]
    return 0.5 if kind == "relu" else 0.5 * (1 + nn.LeakyReLU().negative_slope ** 2)


def _largest_of(size: int) -> float:
    """``E[z^2 Phi(z)^(size - 1)]`` by quadrature; the weight lies around the quantile that one of ``size`` exceeds."""

    def integrand(z: float) -> float:
        return z * z * math.exp((size - 1) * float(special.log_ndtr(z))) * _density(z)

    middle = -float(special.ndtri(1 / (size + 1)))
    return float(integrate.quad(integrand, -39, 39, points=[0, middle - 1, middle, middle + 1], epsabs=0, limit=200)[0])


def _density(z: float) -> float:
    """Of the standard normal law."""
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def pytorch_default(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights as PyTorch does: uniform within ``1/sqrt(fan in)``, normalisations the identity.

    The numbers are those of ``torch.manual_seed`` and the constructors, where layers are made in the order in which
    they are registered.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                if layer.bias is not None:
                    layer.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()


def preserve_variance(model: nn.Module, activation: str, generator: torch.Generator) -> None:
    """Draw all weights anew: normal, variance ``1 / (fan in * second moment)``, biases zero (He et al., ICCV 2015).

    From layer to layer the mean square of the outputs then stays what it is after the first, which takes the images as
    they are; the logits are 0.3 times as large. Layers are taken in the order in which they are registered. For
    networks without batch normalisation. PyTorch's default has a third of ReLU's variance and less of k-WTA's, ``1/(3
    fan in)``; the small CNN with k-WTA-0.1 then starts so flat that training may never leave the loss ``log 10``.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    moment = 1.0
    for layer in layers:
        deviation = (LAST_LAYER if layer is layers[-1] else 1.0) / math.sqrt(layer.weight[0].numel() * moment)
        with torch.no_grad():
            layer.weight.normal_(0.0, deviation, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
        moment = second_moment(activation, len(layer.weight))
