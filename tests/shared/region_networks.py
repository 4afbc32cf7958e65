"""Small networks of random weights, on which the regions of lines and of planes are looked for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import nn

from kwta_theory import KWTA, LWTA, activation_pattern

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(0.2),
    "hardtanh": lambda: nn.Hardtanh(-0.3, 0.4),
    "relu6": nn.ReLU6,
    "kwta": lambda: KWTA(0.25),
    "lwta": lambda: LWTA(4),
}


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Weights of variance 2/inputs and small biases, without the global generator; float64, evaluation mode."""
    rng = np.random.default_rng(seed)
    model = model.double().eval().requires_grad_(False)
    for parameter in model.parameters():
        scale = (2 / max(1, parameter[0].numel())) ** 0.5 if parameter.ndim > 1 else 0.2
        parameter.copy_(torch.from_numpy(scale * rng.standard_normal(tuple(parameter.shape))))
    return model


def dense(name: str) -> nn.Module:
    act = ACTIVATIONS[name]
    return nn.Sequential(nn.Linear(5, 16), act(), nn.Linear(16, 16), act(), nn.Linear(16, 3))


def convolutional(name: str) -> nn.Module:
    act = ACTIVATIONS[name]
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.MaxPool2d(3, 2, 1),
        act(),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        act(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4, 2),
    )


KINDS = {"relu": nn.ReLU, "kwta": lambda: KWTA(0.25), "lwta": lambda: LWTA(4), "leaky": nn.LeakyReLU}


def drawn(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


def network(kind: str, rng: np.random.Generator, widths: tuple[int, ...] = (4, 16, 12, 2)) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        linear = nn.Linear(inputs, outputs).double().requires_grad_(False)
        linear.weight.copy_(drawn(rng, outputs, inputs) * math.sqrt(2 / inputs))
        linear.bias.copy_(0.3 * drawn(rng, outputs))
        layers += [linear, KINDS[kind]()]
    return nn.Sequential(*layers[:-1])


def sampled_patterns(model: nn.Module, inputs: torch.Tensor, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """The patterns at each input by hooks on the model itself, in the convention of ``LineRegions.patterns``."""
    found: dict[str, torch.Tensor] = {}

    def look(name, module, z):
        flat = z.flatten(1)
        if isinstance(module, KWTA):
            k = int(module.sparsity_ratio * flat.shape[1] + 1e-9)
            found[name] = activation_pattern(flat, k).to(torch.uint8)
        elif isinstance(module, LWTA):
            found[name] = (module.forward(z) != 0).flatten(1).to(torch.uint8)
        elif isinstance(module, nn.Hardtanh):
            found[name] = (flat > module.min_val).to(torch.uint8) + (flat > module.max_val).to(torch.uint8)
        elif isinstance(module, nn.MaxPool2d):
            size, step, rim = module.kernel_size, module.stride, module.padding
            places = nn.functional.max_pool2d(z, size, step, rim, return_indices=True)[1]
            found[name] = places.flatten(1)
        else:
            found[name] = (flat > 0).to(torch.uint8)

    modules = dict(model.named_modules())
    handles = [
        modules[name].register_forward_pre_hook(lambda m, args, name=name: look(name, m, args[0])) for name in names
    ]
    model(inputs)
    for handle in handles:
        handle.remove()
    return found
