"""One door to all architectures: a name, an activation, a width factor and a seed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.networks.activations import activation_factory
from kwta_theory.networks.architectures.densenet import densenet121
from kwta_theory.networks.architectures.resnet import resnet18
from kwta_theory.networks.architectures.small import mlp, smallcnn
from kwta_theory.networks.architectures.vgg import vgg19
from kwta_theory.networks.architectures.wide_resnet import wide_resnet
from kwta_theory.networks.initialisation import preserve_variance, pytorch_default

# What is called with activation, channels, image size, classes and width factor.
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "smallcnn": smallcnn,
    "resnet18": resnet18,
    "densenet121": densenet121,
    "wrn-22-10": wide_resnet,
    "vgg19": vgg19,
}


@dataclass(frozen=True)
class Architecture:
    """Everything that makes a network but its weights; it is what a checkpoint stores.

    Attributes:
        name: one of :data:`ARCHITECTURES`.
        activation: as in :func:`kwta_theory.networks.activation_factory`.
        channels: 1 or 3, of the images.
        image_size: their height and width in pixels, at least 8.
        classes: outputs.
        width_factor: multiplies the number of channels or units of every hidden layer, rounded, at least 1; in
            DenseNet the growth, from which all its widths follow. At most 100.
        hidden: units of the hidden layer of ``mlp`` and ``smallcnn`` before the width factor; None for their own
            number. (The paper's released MNIST configurations have 20,000.)
        initialisation: ``"scaled"`` keeps the variance of the signal in the networks without batch normalisation
            (:mod:`kwta_theory.networks.initialisation`) and is PyTorch's default in the others; ``"pytorch"`` is
            PyTorch's default everywhere.

    Raises:
        InvalidArgumentError: for anything else. A sparsity ratio that leaves a layer no winner is found at the first
            call of the network.
    """

    name: str
    activation: str = "relu"
    channels: int = 1
    image_size: int = 28
    classes: int = 10
    width_factor: float = 1.0
    hidden: int | None = None
    initialisation: str = "scaled"

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in ARCHITECTURES:
            raise InvalidArgumentError(
                f"arch={self.name!r} is not known: it must be one of {', '.join(ARCHITECTURES)}."
            )
        activation_factory(self.activation)
        if not isinstance(self.initialisation, str) or self.initialisation not in ("scaled", "pytorch"):
            raise InvalidArgumentError(
                f"initialisation={self.initialisation!r} is not known: it must be 'scaled' or 'pytorch'."
            )
        if check_integer("channels", self.channels, 1, 3) == 2:
            raise InvalidArgumentError("channels=2 is not allowed: images have 1 or 3.")
        plain: dict[str, Any] = {  # numbers of NumPy would make a checkpoint that weights_only=True refuses
            "name": str(self.name),
            "activation": str(self.activation),
            "channels": check_integer("channels", self.channels),
            "image_size": check_integer("image_size", self.image_size, 8),
            "classes": check_integer("classes", self.classes, 2),
            "width_factor": check_number("width_factor", self.width_factor, 0.0, 100.0, open_minimum=True),
            "hidden": None if self.hidden is None else check_integer("hidden", self.hidden, 1),
            "initialisation": str(self.initialisation),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if self.hidden is not None and "hidden" not in inspect.signature(ARCHITECTURES[self.name]).parameters:
            raise InvalidArgumentError(f"hidden={self.hidden} has no effect with arch={self.name!r}: leave it out.")

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint or a table; ``Architecture(**record)`` reads it back."""
        return asdict(self)


def build(architecture: Architecture, seed: int = 0) -> nn.Module:
    """A network with fresh weights, on the CPU in float32, in training mode.

    Weights follow from the architecture and ``seed`` alone: global generators are neither used nor moved, and the
    default dtype and device have no influence.

    Args:
        architecture: what to build.
        seed: a non-negative integer.

    Returns:
        A module from images of shape ``(B, channels, image_size, image_size)`` to logits ``(B, classes)``; it carries
        the architecture as ``.architecture``.

    Raises:
        InvalidArgumentError: another argument.

    >>> network = build(Architecture("resnet18", "kwta-0.1", channels=3, image_size=32))
    >>> parameter_count(network)
    11173962
    """
    if not isinstance(architecture, Architecture):
        raise InvalidArgumentError(f"architecture={architecture!r} is not allowed: it must be an Architecture.")
    generator = torch.Generator().manual_seed(check_integer("seed", seed, 0, 2**63 - 1))
    a = architecture
    options: dict[str, Any] = {} if a.hidden is None else {"hidden": a.hidden}
    with torch.device("meta"):  # the constructors would draw from the global generator
        network = ARCHITECTURES[a.name](
            activation_factory(a.activation), a.channels, a.image_size, a.classes, a.width_factor, **options
        )
    network.float().to_empty(device="cpu")
    if a.initialisation == "pytorch" or any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()):
        pytorch_default(network, generator)
    else:
        preserve_variance(network, a.activation, generator)
    network.architecture = a  # type: ignore[assignment]
    return network


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
