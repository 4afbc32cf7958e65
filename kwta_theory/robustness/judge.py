"""The judge: whether a point lies in the ball, and what the network says there, whatever the attack believes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from kwta_theory.checks import check_number
from kwta_theory.networks.training.adversary import inside


@dataclass
class Passes:
    """What an attack asked of the network, counted by images.

    Attributes:
        forward: images sent through.
        with_gradient: those of them for which a backward pass was possible.
    """

    forward: int = 0
    with_gradient: int = 0


@contextlib.contextmanager
def counted(model: nn.Module) -> Iterator[Passes]:
    """Count the images that go through a model, whoever sends them."""
    passes = Passes()

    def count(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        passes.forward += len(arguments[0])
        passes.with_gradient += len(arguments[0]) * torch.is_grad_enabled()

    handle = model.register_forward_pre_hook(count)
    try:
        yield passes
    finally:
        handle.remove()


class Judge:
    """Decides about points by a float64 copy of the network in evaluation mode, one image at a time.

    A batch, float32 or training mode can change the winners of a discontinuous network: what counts is what one image
    alone gets, in the finest precision.

    Args:
        model: the network; it is copied.
        images: in [0, 1], shape ``(N, C, H, W)``.
        labels: int64, shape ``(N,)``.
        epsilon: radius of the ball.
        dtype: of the copy; float32 for networks for which float64 is too slow.
    """

    def __init__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float,
        dtype: torch.dtype = torch.float64,
    ) -> None:  # fmt: skip
        self.images, self.labels = images, labels
        self.epsilon = check_number("epsilon", epsilon, 0.0)
        self.dtype = dtype
        self._model = copy.deepcopy(model).to(dtype).eval().requires_grad_(False)

    def correct(self, points: torch.Tensor) -> torch.Tensor:
        """Whether the label is predicted at each point, moved into its ball first; a NaN stays at its image.

        Args:
            points: one for each image, shape ``(N, C, H, W)``.

        Returns:
            bool, shape ``(N,)``.
        """
        points = torch.where(points.isnan(), self.images, points.to(self.images.dtype))
        points = inside(points, self.images, self.epsilon)
        with torch.no_grad():
            predicted = [int(self._model(point[None].to(self.dtype)).argmax()) for point in points]
        return torch.tensor(predicted, device=self.labels.device) == self.labels
