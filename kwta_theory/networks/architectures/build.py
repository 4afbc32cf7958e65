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
from kwta_theory.networks.initialisation import preserve_variance

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
        width_factor: multiplies the number of channels or units of every hidden layer, rounded, at least 1.
        hidden: units of the hidden layer of ``mlp`` and ``smallcnn`` before the width factor; None for their own
            number. (The paper's released MNIST configurations have 20,000.)
        initialisation: ``"scaled"`` keeps the variance of the signal in the networks without batch normalisation
            (:mod:`kwta_theory.networks.initialisation`); ``"pytorch"`` is PyTorch's default everywhere.

    Raises:
        InvalidArgumentError: for anything else.
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
        if self.name not in ARCHITECTURES:
            raise InvalidArgumentError(
                f"arch={self.name!r} is not known: it must be one of {', '.join(ARCHITECTURES)}."
            )
        activation_factory(self.activation)
        if check_integer("channels", self.channels, 1, 3) == 2:
            raise InvalidArgumentError("channels=2 is not allowed: images have 1 or 3.")
        check_integer("image_size", self.image_size, 8)
        check_integer("classes", self.classes, 2)
        check_number("width_factor", self.width_factor, 0.0, 100.0, open_minimum=True)
        if self.initialisation not in ("scaled", "pytorch"):
            raise InvalidArgumentError(
                f"initialisation={self.initialisation!r} is not known: it must be 'scaled' or 'pytorch'."
            )
        if self.hidden is not None:
            check_integer("hidden", self.hidden, 1)
            if "hidden" not in inspect.signature(ARCHITECTURES[self.name]).parameters:
                raise InvalidArgumentError(f"hidden={self.hidden} has no effect with arch={self.name!r}: leave it out.")

    def as_json(self) -> dict[str, Any]:
        """For a checkpoint or a table."""
        return asdict(self)


def build(architecture: Architecture, seed: int = 0) -> nn.Module:
    """A network with fresh weights, on the CPU in float32.

    Weights are drawn from ``seed`` alone; the global generators are left as they are.

    Args:
        architecture: what to build.
        seed: a non-negative integer.

    Returns:
        A module from images of shape ``(B, channels, image_size, image_size)`` to logits ``(B, classes)``; it carries
        the architecture as ``.architecture``.

    >>> network = build(Architecture("resnet18", "kwta-0.1", channels=3, image_size=32))
    >>> parameter_count(network)
    11173962
    """
    seed = check_integer("seed", seed, 0, 2**63 - 1)
    a = architecture
    options: dict[str, Any] = {} if a.hidden is None else {"hidden": a.hidden}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = ARCHITECTURES[a.name](
            activation_factory(a.activation), a.channels, a.image_size, a.classes, a.width_factor, **options
        )
    if a.initialisation == "scaled" and not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules()):
        preserve_variance(network, a.activation, torch.Generator().manual_seed(seed))
    network.architecture = a  # type: ignore[assignment]
    return network


def parameter_count(model: nn.Module) -> int:
    """Trainable numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
