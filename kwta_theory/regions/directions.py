"""Lines to measure regions on: from inputs in random directions, up the gradient of the loss, or to other inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, SupportsFloat, SupportsIndex

import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.regions.first_layer import NORMS, Norm, check_norm
from kwta_theory.regions.lines import _check_lines, _copy, _device
from kwta_theory.seeding import Device, Stream

Direction = Literal["random", "gradient", "data"]
GRADIENT_BATCH = 256


@dataclass(frozen=True)
class Lines:
    """Lines to measure on, and the law from which they came.

    Attributes:
        start: where they begin, ``(lines, ...)``, float64.
        end: where they end, the same shape.
        direction: how the direction was chosen: ``"random"``, ``"gradient"`` or ``"data"``.
        norm: the norm of all lengths.
        radius: the length asked for, in that norm; where ``bounds`` cut, a line is shorter.
        sampled: what is drawn afresh from line to line, so what an interval is about.
    """

    start: torch.Tensor = field(repr=False)
    end: torch.Tensor = field(repr=False)
    direction: Direction
    norm: Norm
    radius: float
    sampled: str

    @property
    def lengths(self) -> torch.Tensor:
        """The length of each line in ``norm``, ``(lines,)``."""
        return _length(self.end - self.start, self.norm)


def random_lines(
    inputs: torch.Tensor,
    radius: SupportsFloat,
    *,
    seed: SupportsIndex,
    norm: Norm = "maximum",
    bounds: tuple[float, float] | None = None,
) -> Lines:
    """From each input in a random direction, ``radius`` far.

    Args:
        inputs: ``(lines, ...)``, independent draws, all different; or all the same, and then intervals are about the
            directions at this one input.
        radius: length in ``norm``: an attack's epsilon.
        seed: of the directions.
        norm: ``"maximum"``: independent random signs, a corner of the cube; ``"euclidean"``: uniform on the sphere.
        bounds: None, or the box of valid inputs; ends are clipped to it, as an attack's are.

    Raises:
        InvalidArgumentError: for inputs of which some are the same and others not, since the lines are then neither
            independent nor about one input; for a line that the bounds leave no length.

    >>> lines = random_lines(torch.zeros(3, 2, 2), 0.5, seed=0)
    >>> (lines.end.abs() == 0.5).all().item(), lines.sampled
    (True, 'directions at one input')
    """
    start, radius = _check_inputs("inputs", inputs), _check_radius(radius)
    check_norm(norm)
    different = len(start.flatten(1).unique(dim=0))
    if different not in (1, len(start)):
        raise InvalidArgumentError(
            f"inputs has {len(start)} rows and {different} different ones: lines are independent where the inputs "
            "are all different, or about one input where they are all the same."
        )
    normals = Stream(check_integer("seed", seed), "region-lines").normals(
        (0,), tuple(start.shape), torch.device("cpu"), torch.float64
    )
    along = torch.where(normals < 0, -1.0, 1.0).double() if norm == "maximum" else normals
    sampled = "inputs and directions" if different > 1 or len(start) == 1 else "directions at one input"
    return _clipped(start, _ahead(start, along, radius, norm), radius, "random", norm, bounds, sampled)


def gradient_lines(
    model: nn.Module,
    inputs: torch.Tensor,
    radius: SupportsFloat,
    *,
    norm: Norm = "maximum",
    labels: torch.Tensor | None = None,
    bounds: tuple[float, float] | None = None,
    device: Device | None = None,
) -> Lines:
    """From each input where a gradient step of an attack goes, ``radius`` far.

    Args:
        model: a classifier, outputs ``(batch, classes)``, in evaluation mode; one output is its own loss.
        inputs: ``(lines, ...)``, independent draws, all different.
        radius: length in ``norm``: an attack's epsilon.
        norm: ``"maximum"``: the sign of the gradient of the cross entropy; ``"euclidean"``: that gradient's direction.
        labels: the true classes, ``(lines,)``; None for what the model predicts.
        bounds: as for :func:`random_lines`.
        device: where to compute; None for the device of the model's parameters.

    Raises:
        InvalidArgumentError: for inputs that are not all different, or at which the gradient vanishes.
    """
    start, radius = _check_inputs("inputs", inputs, different=True), _check_radius(radius)
    check_norm(norm)
    gradient = Gradients(model, start, labels, device)(start)
    flat = gradient.flatten(1).abs().amax(1)
    if not bool((flat > 0).all()):
        raise InvalidArgumentError(
            f"the gradient of the loss vanishes at row {int((flat == 0).nonzero()[0])} of inputs: it has no direction."
        )
    along = gradient.sign() if norm == "maximum" else gradient / flat.view(-1, *(1,) * (gradient.ndim - 1))
    return _clipped(start, _ahead(start, along, radius, norm), radius, "gradient", norm, bounds, "inputs")


def data_lines(
    inputs: torch.Tensor,
    targets: torch.Tensor,
    radius: SupportsFloat | None = None,
    *,
    norm: Norm = "maximum",
    bounds: tuple[float, float] | None = None,
) -> Lines:
    """From each input straight towards another one, ``radius`` far (beyond it, where it is nearer), or all the way.

    Args:
        inputs: ``(lines, ...)``, independent draws, all different.
        targets: as many others, all different and none of them among the inputs, so that lines are independent pairs.
        radius: length in ``norm``, the same for all lines; None to end at the targets.
        norm: of all lengths.
        bounds: as for :func:`random_lines`.

    Raises:
        InvalidArgumentError: for points that occur twice, among the inputs, the targets, or both.
    """
    start, goal = _check_inputs("inputs", inputs), _check_inputs("targets", targets)
    check_norm(norm)
    if start.shape != goal.shape:
        raise InvalidArgumentError(
            f"targets has shape {tuple(goal.shape)} and inputs {tuple(start.shape)}: they must be the same."
        )
    _check_different("inputs and targets", torch.cat([start, goal]))
    if radius is None:
        longest = float(_length(goal - start, norm).max())
    else:
        longest = _check_radius(radius)
        goal = _ahead(start, goal - start, longest, norm)
    return _clipped(start, goal, longest, "data", norm, bounds, "pairs of inputs")


class Gradients:
    """The gradient of the loss by the input, in float64, at inputs that keep their labels.

    It is that of ``log sum over j != y of exp z_j - z_y``, of which the cross entropy is the softplus: it has the
    direction of the cross entropy's gradient and neither vanishes nor cancels where the network is sure. A network with
    one output has that output's gradient.
    """

    def __init__(
        self, model: nn.Module, start: torch.Tensor, labels: torch.Tensor | None, device: Device | None
    ) -> None:
        _check_lines(model, start, start)
        self.device = _device(model, start, device)
        self.network = _copy(model, self.device)
        with torch.no_grad():
            outputs = torch.cat([self.network(part.to(self.device)) for part in start.split(GRADIENT_BATCH)])
        if outputs.ndim != 2 or len(outputs) != len(start):
            raise InvalidArgumentError(
                f"the model returned shape {tuple(outputs.shape)}: for a loss it must be ({len(start)}, classes)."
            )
        self.classes = outputs.shape[1]
        self.labels = outputs.argmax(1) if labels is None else self._checked(labels, len(start))

    def _checked(self, labels: torch.Tensor, lines: int) -> torch.Tensor:
        if not isinstance(labels, torch.Tensor) or labels.is_floating_point() or labels.shape != (lines,):
            raise InvalidArgumentError(f"labels is not allowed: it must be a tensor of {lines} classes, one per line.")
        if int(labels.min()) < 0 or int(labels.max()) >= self.classes:
            raise InvalidArgumentError(
                f"labels goes from {int(labels.min())} to {int(labels.max())}: it must be in [0, {self.classes - 1}]."
            )
        return labels.to(self.device, torch.int64)

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """One gradient for each of the points, which belong to the inputs in their order."""
        parts = zip(points.split(GRADIENT_BATCH), self.labels.split(GRADIENT_BATCH), strict=True)
        return torch.cat([self._gradient(x, label) for x, label in parts])

    def _gradient(self, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            x = points.to(self.device).clone().requires_grad_(True)
            outputs = self.network(x)
            loss = outputs.sum()
            if self.classes > 1:
                label = labels[:, None]
                loss = (outputs.scatter(1, label, -torch.inf).logsumexp(1) - outputs.gather(1, label)[:, 0]).sum()
            (gradient,) = torch.autograd.grad(loss, x)
        return gradient.cpu()


def _length(apart: torch.Tensor, norm: Norm) -> torch.Tensor:
    return torch.linalg.vector_norm(apart.flatten(1), ord=NORMS[norm], dim=1)


def _ahead(start: torch.Tensor, along: torch.Tensor, radius: float, norm: Norm) -> torch.Tensor:
    """The points ``radius`` from ``start``."""
    return start + (radius / _length(along, norm)).view(-1, *(1,) * (start.ndim - 1)) * along


def _clipped(
    start: torch.Tensor,
    end: torch.Tensor,
    radius: float,
    direction: Direction,
    norm: Norm,
    bounds: tuple[float, float] | None,
    sampled: str,
) -> Lines:
    if bounds is not None:
        low, high = (check_number(f"bounds[{i}]", bound) for i, bound in enumerate(bounds))
        if not bool(((start >= low) & (start <= high)).all()):
            raise InvalidArgumentError(f"bounds={bounds!r} do not contain all inputs: a line must begin inside.")
        end = end.clamp(low, high)
    lines = Lines(start, end, direction, norm, radius, sampled)
    none = (lines.lengths == 0).nonzero()
    if len(none):
        raise InvalidArgumentError(f"bounds={bounds!r} leave the line of row {int(none[0])} without length.")
    return lines


def _check_inputs(name: str, inputs: torch.Tensor, *, different: bool = False) -> torch.Tensor:
    if not isinstance(inputs, torch.Tensor) or inputs.is_complex() or inputs.ndim < 2 or inputs.numel() == 0:
        raise InvalidArgumentError(f"{name} is not allowed: it must be a tensor of real inputs, (lines, ...).")
    if not bool(inputs.isfinite().all()):
        raise InvalidArgumentError(f"{name} has NaN or infinity: every entry must be finite.")
    points = inputs.detach().to(device="cpu", dtype=torch.float64)
    if different:
        _check_different(name, points)
    return points


def _check_different(name: str, points: torch.Tensor) -> None:
    if len(points.flatten(1).unique(dim=0)) < len(points):
        raise InvalidArgumentError(f"{name} has the same point twice: lines that share a point are not independent.")


def _check_radius(radius: SupportsFloat) -> float:
    return check_number("radius", radius, 0.0, open_minimum=True)
