"""The same regions by another road: from event to event, left to right. Slow and simple, a referee for the fast one.

Nothing is shared with :mod:`kwta_theory.regions.lines`: slopes come from a second input with the patterns of the
first, patterns are decided by comparing entries one by one, the next event is the smallest over all pairs.
"""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from kwta_theory.checks import InvalidArgumentError, winners
from kwta_theory.modules import KWTA, LWTA
from kwta_theory.regions.lines import LineRegions

NEAR = 1e-10
"""Values and slopes (of networks whose numbers are of order 1) are compared up to this."""


class _Layer(nn.Module, ABC):
    """Stands for an activation: decides a pattern, or holds the one it has."""

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.original, self.hold = original, False
        self.pattern: torch.Tensor = torch.empty(0)
        self.order: list[_Layer] = []

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Apply the pattern of the first input to both; remember value and slope."""
        self.order.append(self)
        flat, self.shape = z.flatten(1), z[:1].shape
        self.value, self.slope = flat[0], flat[1] - flat[0]
        if not self.hold:
            self.pattern = self.decide()
        return torch.cat([self.output(row) for row in flat])

    @abstractmethod
    def decide(self) -> torch.Tensor:
        """The pattern immediately to the right of the point."""

    @abstractmethod
    def output(self, z: torch.Tensor) -> torch.Tensor:
        """The output for a pattern."""

    @abstractmethod
    def next(self) -> float:
        """How far to the right the pattern is the right one."""


class _Pointwise(_Layer):
    """``slope_s z + intercept_s`` with ``s`` the number of knots below ``z``."""

    def __init__(self, original: Any) -> None:
        super().__init__(original)
        if isinstance(original, nn.Hardtanh):  # ReLU6, too
            low, high = original.min_val, original.max_val
            self.knots, self.slopes, self.intercepts = [low, high], [0.0, 1.0, 0.0], [low, 0.0, high]
        else:
            negative = original.negative_slope if isinstance(original, nn.LeakyReLU) else 0.0
            self.knots, self.slopes, self.intercepts = [0.0], [negative, 1.0], [0.0, 0.0]

    def decide(self) -> torch.Tensor:
        pattern = torch.zeros(len(self.value), dtype=torch.uint8)
        for knot in self.knots:
            above = self.value - knot
            pattern += (above > NEAR) | ((above.abs() <= NEAR) & (self.slope > NEAR))
        return pattern

    def output(self, z: torch.Tensor) -> torch.Tensor:
        index = self.pattern.long()
        return (z * z.new_tensor(self.slopes)[index] + z.new_tensor(self.intercepts)[index]).view(self.shape)

    def next(self) -> float:
        distance = torch.inf
        for number, knot in enumerate(self.knots):
            above, held_above = self.value - knot, self.pattern > number
            leaving = torch.where(held_above, self.slope < -NEAR, self.slope > NEAR)
            distance = min(distance, *(-above[leaving] / self.slope[leaving]).tolist(), torch.inf)
        return distance


class _Winners(_Layer):
    """The ``k`` largest of each group."""

    def groups(self) -> list[list[int]]:
        """The entries of each group."""
        index = torch.arange(len(self.value)).view(self.shape)
        if isinstance(self.original, KWTA):
            return [index.flatten().tolist()]
        size = self.original.group_size
        return [
            part[channel : channel + size].tolist()
            for part in index[0].reshape(index.shape[1], -1).T
            for channel in range(0, index.shape[1], size)
        ]

    def winners(self) -> int:
        return winners(len(self.value), self.original.sparsity_ratio) if isinstance(self.original, KWTA) else 1

    def beats(self, i: int, j: int) -> int:
        """Negative if ``i`` comes before ``j``: by value, immediately to the right of it, by index."""
        for numbers in (self.value, self.slope):
            apart = float(numbers[i] - numbers[j])
            if abs(apart) > NEAR:
                return -1 if apart > 0 else 1
        return i - j

    def decide(self) -> torch.Tensor:
        pattern = torch.zeros(len(self.value), dtype=torch.uint8)
        for group in self.groups():
            pattern[sorted(group, key=functools.cmp_to_key(self.beats))[: self.winners()]] = 1
        return pattern

    def output(self, z: torch.Tensor) -> torch.Tensor:
        return (z * self.pattern).view(self.shape)

    def next(self) -> float:
        distance = torch.inf
        for group in self.groups():
            won = [i for i in group if self.pattern[i]]
            lost = [i for i in group if not self.pattern[i]]
            ahead = self.value[won, None] - self.value[None, lost]
            closing = self.slope[None, lost] - self.slope[won, None]
            distance = min(distance, *(ahead[closing > NEAR] / closing[closing > NEAR]).tolist(), torch.inf)
        return distance


class _MaxPool(_Winners):
    """The largest of each window; the pattern of an output is the entry that it takes."""

    def groups(self) -> list[list[int]]:
        o = self.original
        index = torch.arange(1.0, len(self.value) + 1, dtype=torch.float64).view(self.shape)
        self.out = functional.max_pool2d(index, o.kernel_size, o.stride, o.padding).shape
        parts = functional.unfold(index.transpose(0, 1), o.kernel_size, 1, o.padding, o.stride)
        return [[int(i) - 1 for i in column if i > 0] for part in parts for column in part.T.tolist()]

    def decide(self) -> torch.Tensor:
        order = functools.cmp_to_key(self.beats)
        return torch.tensor([min(group, key=order) for group in self.groups()])

    def output(self, z: torch.Tensor) -> torch.Tensor:
        return z[self.pattern].view(self.out)

    def next(self) -> float:
        distance = torch.inf
        for group, best in zip(self.groups(), self.pattern.tolist(), strict=True):
            closing = self.slope[group] - self.slope[best]
            ahead = self.value[best] - self.value[group]
            distance = min(distance, *(ahead[closing > NEAR] / closing[closing > NEAR]).tolist(), torch.inf)
        return distance


_STANDS_FOR: dict[type[nn.Module], type[_Layer]] = {
    nn.ReLU: _Pointwise,
    nn.LeakyReLU: _Pointwise,
    nn.Hardtanh: _Pointwise,
    nn.ReLU6: _Pointwise,
    KWTA: _Winners,
    LWTA: _Winners,
    nn.MaxPool2d: _MaxPool,
}


def line_regions_by_events(
    model: nn.Module, start: torch.Tensor, end: torch.Tensor, *, most_regions: int = 10_000
) -> LineRegions:
    """The regions on one segment, from event to event: what :func:`line_regions` is tested against.

    In a region the pattern of every layer is held, and a pass gives value and slope of everything. The earliest event
    over all layers ends the region. Beyond it, the layers before the first that changes keep their patterns; that layer
    and those behind it decide afresh, ties in the value by the slope and then by the index: the right-hand limit,
    without
    a step size. One pass for each region, pairs compared one by one: for small networks with numbers of order 1.

    Args:
        model: activations and max-pooling must be modules (ReLU, LeakyReLU, Hardtanh, ReLU6, KWTA, LWTA, MaxPool2d),
            each used once; everything else is taken for affine, and the output in the middle of every region is
            compared with the model's own.
        start: a batch of one input.
        end: of the same shape.
        most_regions: stop with an error beyond this.

    Raises:
        InvalidArgumentError: for a model whose output is not what the regions say: something else in it is not affine.

    >>> network = nn.Sequential(nn.Linear(2, 3, dtype=torch.float64), KWTA(0.34))
    >>> line_regions_by_events(network, torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0]])).count
    1
    """
    reference = copy.deepcopy(model).double().requires_grad_(False)
    network = copy.deepcopy(reference)
    order: list[_Layer] = []
    names = {}
    for path, module in list(network.named_modules()):
        if type(module) in _STANDS_FOR:
            layer = _STANDS_FOR[type(module)](module)
            layer.order, names[layer] = order, path or type(module).__name__
            if not path:
                network = layer
            else:
                network.set_submodule(path, layer)
    start, direction = start.double(), (end.double() - start.double())

    def go(t: float) -> tuple[torch.Tensor, torch.Tensor]:
        order.clear()
        # With the patterns of x(t) held for both, the network is affine: x(t + 1) - x(t) gives the slope.
        with torch.no_grad():
            out = network(torch.cat([start + t * direction, start + (t + 1) * direction]))
        return out[0], out[1] - out[0]

    t, breakpoints, causes, units, values, slopes = 0.0, [], [], [], [], []
    while True:
        value, slope = go(t)
        layers = list(order)
        distances = [layer.next() for layer in layers]
        step = min([*distances, 1.0 - t])
        with torch.no_grad():
            truth = reference(start + (t + step / 2) * direction)[0]
        expected = value + step / 2 * slope
        if not torch.allclose(truth, expected, rtol=1e-7, atol=1e-7 * float(value.abs().max() + 1e-300)):
            raise InvalidArgumentError("model has a part that is neither affine nor an activation that is known.")
        values.append(torch.stack([value, value + step * slope]))
        slopes.append(slope)
        if t + step >= 1.0 - NEAR:
            break
        if len(slopes) > most_regions:
            raise InvalidArgumentError(f"most_regions={most_regions} is too few for this line.")
        t += step
        first = next(i for i, distance in enumerate(distances) if distance <= step + NEAR)
        before = layers[first].pattern
        for i, layer in enumerate(layers):
            layer.hold = i < first
        go(t)
        for layer in layers:
            layer.hold = True
        breakpoints.append(t)
        causes.append(names[layers[first]])
        units.append((layers[first].pattern != before).nonzero().squeeze(1))
    return LineRegions(
        breakpoints=torch.tensor(breakpoints, dtype=torch.float64),
        layers=tuple(causes),
        units=tuple(units),
        values=torch.stack(values),
        slopes=torch.stack(slopes),
        layer_names=tuple(names[layer] for layer in layers),
    )
