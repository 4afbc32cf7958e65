"""The judge: whether a point lies in the ball, and what the network says there, whatever the attack believes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kwta_theory.attacks.ball import bounds, check_batch, check_logits, project
from kwta_theory.checks import InvalidArgumentError, check_number
from kwta_theory.networks.training.adversary import evaluation_mode


@dataclass
class Passes:
    """What an attack asked of the network, counted by images.

    Attributes:
        forward: images sent through.
        backward: images for which a gradient with respect to the input was then asked.
    """

    forward: int = 0
    backward: int = 0


@contextlib.contextmanager
def counted(model: nn.Module) -> Iterator[Passes]:
    """Count the images that go through a model, whoever sends them, and come back as gradients.

    The model is given a view of its input, so that each forward pass is told apart even where one tensor is sent
    through it many times. The hooks are removed however the block is left.

    >>> model, x = nn.Linear(2, 2), torch.ones(5, 2, requires_grad=True)
    >>> with counted(model) as passes:
    ...     _ = torch.autograd.grad(model(x).sum() + model(x).sum(), x), model(x)
    >>> passes
    Passes(forward=15, backward=10)
    """
    passes = Passes()

    def came_back(gradient: torch.Tensor) -> None:
        passes.backward += len(gradient)

    def sent(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        x = next((a for a in (*arguments, *keywords.values()) if isinstance(a, torch.Tensor)), None)
        if x is None:
            return None
        passes.forward += len(x)
        if not (x.requires_grad and torch.is_grad_enabled()):
            return None
        view = x.view_as(x)
        view.register_hook(came_back)
        arguments = tuple(view if a is x else a for a in arguments)
        return arguments, {name: view if a is x else a for name, a in keywords.items()}

    handle = model.register_forward_pre_hook(sent, with_kwargs=True)
    try:
        yield passes
    finally:
        handle.remove()


@contextlib.contextmanager
def guarded(model: nn.Module) -> Iterator[list[str]]:
    """Whatever runs inside, the model comes out as it went in; what had to be put back is said in the list.

    In evaluation mode inside, without gradients of its parameters; modes, parameters, buffers and gradients are
    restored, also after an exception.
    """
    remarks: list[str] = []
    state = {name: v.clone() for name, v in model.state_dict().items() if isinstance(v, torch.Tensor)}
    gradients = [(p, p.grad) for p in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        with evaluation_mode(model):
            yield remarks
    finally:
        now = model.state_dict()
        changed = [name for name, before in state.items() if not _same(now[name], before)]
        if changed:
            model.load_state_dict(state, strict=False)
            remarks.append(f"it changed {changed[0]} of the network, which was put back")
        for parameter, gradient in gradients:
            parameter.grad = gradient


def _same(value: torch.Tensor, before: torch.Tensor) -> bool:
    return value.shape == before.shape and bool(((value == before) | ((value != value) & (before != before))).all())


class Judge:
    """Decides about points by a float64 copy of the network in evaluation mode, one image at a time.

    A batch, float32 or training mode can change the winners of a discontinuous network: what counts is what one image
    alone gets, in the finest precision. A network that answers NaN does not answer correctly.

    The ball is that of :func:`kwta_theory.attacks.bounds` in float64: its tolerance is zero, no point that is judged is
    farther than epsilon from its image as real numbers are, and every float32 point of the ball is left where it is.

    Args:
        model: the network; it is copied now, so nothing that happens to it later matters.
        images: in [0, 1], shape ``(N, C, H, W)``; they are copied.
        labels: int64, shape ``(N,)``.
        epsilon: radius of the ball.
        dtype: of the copy; float32 for networks for which float64 is too slow. Points are kept in float64 and rounded
            to it as the network's input.

    Raises:
        InvalidArgumentError: images or labels that are none, no image, a dtype that is not floating-point.
    """

    def __init__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epsilon: float,
        dtype: torch.dtype = torch.float64,
    ) -> None:  # fmt: skip
        check_batch(images, labels)
        if not len(images):
            raise InvalidArgumentError("images is empty: an accuracy needs at least one.")
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise InvalidArgumentError(f"judge_dtype={dtype!r} is not allowed: it must be a floating-point dtype.")
        self.images, self.labels = images.detach().clone(), labels.detach().clone()
        self.epsilon = check_number("epsilon", epsilon, 0.0)
        self.dtype = dtype
        self._model = copy.deepcopy(model).to(dtype).eval().requires_grad_(False)
        self._centres = self.images.to("cpu", torch.float64)
        self._ball = bounds(self._centres, self.epsilon)

    def admitted(self, points: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
        """The points moved into their balls, in float64 on the CPU; a pixel that is NaN goes back to its image's.

        Args:
            points: shape ``(n, C, H, W)``.
            index: of their images; None where there is one for each image.
        """
        index = self._all if index is None else index.cpu()
        points = points.detach().to("cpu", torch.float64)
        points = torch.where(points.isnan(), self._centres[index], points)
        return project(points, (self._ball[0][index], self._ball[1][index]))

    def correct(self, points: torch.Tensor, index: torch.Tensor | None = None) -> torch.Tensor:
        """Whether the label is predicted at each point, moved into its ball first.

        Args:
            points: shape ``(n, C, H, W)``.
            index: of their images; None where there is one for each image.

        Returns:
            bool, shape ``(n,)``.
        """
        index = self._all if index is None else index.cpu()
        inside, labels = self.admitted(points, index), self.labels[index.to(self.labels.device)]
        return torch.tensor([self._right(p, y) for p, y in zip(inside, labels, strict=True)], dtype=torch.bool)

    @property
    def _all(self) -> torch.Tensor:
        return torch.arange(len(self.images))

    def _right(self, point: torch.Tensor, label: torch.Tensor) -> bool:
        with torch.inference_mode():
            logits = self._model(point[None].to(self.images.device, self.dtype))
        check_logits(logits, label[None])
        return not bool(logits.isnan().any()) and int(logits.argmax()) == int(label)
