"""How far each sample is from the places where the patterns of its top-k layers change."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import nn

from kwta_theory.audit.layers import TopKLayer, recorded
from kwta_theory.audit.passes import Tick
from kwta_theory.regions.first_layer import NORMS, Norm, first_layer_distance
from kwta_theory.regions.lines import LineRegions, line_regions
from kwta_theory.seeding import Stream

_LINES = 4
_FIRST_LOOK = 2.0


@dataclass(frozen=True)
class Distances:
    """Distances of the samples of one layer; infinity where there is no change within the radius.

    Attributes:
        random: along a random direction, for each sample one: to the first change of this layer's pattern.
        flips: how many changes of this layer's pattern there are on that line.
        upper: to the nearest change that any line from the sample met, or the exact distance: no farther than this.
        exact: over all directions, in closed form; None for all but the first activation layer.
    """

    random: tuple[float, ...]
    flips: tuple[int, ...]
    upper: tuple[float, ...]
    exact: tuple[float, ...] | None


class _ReachedError(Exception):
    """The output of the last top-k layer: what comes after it changes no pattern."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = output


def _stop(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> NoReturn:
    raise _ReachedError(output)


def _until_stopped(forward: Callable[[Any], Any], x: Any) -> Any:
    try:
        return forward(x)
    except _ReachedError as reached:
        return reached.output


def up_to_last(network: nn.Module, layers: Sequence[TopKLayer]) -> nn.Module:
    """A copy that ends with its last top-k layer, so that a head of any kind may follow it.

    The whole network where that layer's module is used more than once.
    """
    last = layers[-1].name
    shortened = copy.deepcopy(network)
    module = dict(shortened.named_modules()).get(last)
    if module is None or module is shortened or any(layer.name.startswith(f"{last}#") for layer in layers):
        return shortened
    module.register_forward_hook(_stop)
    shortened.forward = functools.partial(_until_stopped, shortened.forward)
    return shortened


def steps(inputs: torch.Tensor, radius: float, norm: Norm, seed: int) -> torch.Tensor:
    """Each input moved by ``radius`` in a random direction: uniform on the sphere, or random signs (maximum norm)."""
    normals = Stream(seed, "audit-steps").normals((0,), tuple(inputs.shape), torch.device("cpu"), torch.float64)
    along = torch.where(normals < 0, -1.0, 1.0).double() if norm == "maximum" else normals
    return inputs + radius * _unit(along, norm).to(inputs.device)


def _unit(along: torch.Tensor, norm: Norm) -> torch.Tensor:
    size = torch.linalg.vector_norm(along.flatten(1), ord=NORMS[norm], dim=1)
    return along / size.view(-1, *(1,) * (along.ndim - 1))


def measure(
    network: nn.Module,
    layers: Sequence[TopKLayer],
    inputs: torch.Tensor,
    ends: torch.Tensor,
    norm: Norm,
    device: torch.device,
    tick: Tick,
) -> list[Distances]:
    """Lines from each input: in its random direction, and for each layer where its gap closes fastest.

    Args:
        network: in float64.
        layers: of it.
        inputs: ``(lines, ...)``, on the CPU.
        ends: of the random lines; their length is the radius.
        norm: of all lengths.
        device: that of the network.
        tick: called with what is being done.

    Raises:
        InvalidArgumentError: for a network with something before its last top-k layer that is not piecewise affine.
    """
    short = up_to_last(network, layers)
    radius = float(torch.linalg.vector_norm((ends - inputs)[:1].flatten(1), ord=NORMS[norm], dim=1))
    tick("the first layer in closed form")
    names = [layer.name for layer in layers]
    at = line_regions(short, inputs, inputs, patterns=True, device=device)
    exact = first_layer_distance(short, inputs, norm=norm, device=device) if at[0].layer_names[0] == names[0] else None
    random = _changes(short, names, at, ends - inputs, inputs, radius, device, tick, "in a random direction")
    nearest = _nearest(random)
    upper = nearest.clone()
    for index in range(len(layers)):
        upper = torch.minimum(upper, _closing(short, layers, index, at, inputs, radius, norm, device, tick))
    if exact is not None:
        upper[:, 0] = exact
    return [
        Distances(
            random=tuple(nearest[:, i].tolist()),
            flips=tuple(len(line[i]) for line in random),
            upper=tuple(upper[:, i].tolist()),
            exact=tuple(exact.tolist()) if i == 0 and exact is not None else None,
        )
        for i in range(len(layers))
    ]


def _closing(
    network: nn.Module,
    layers: Sequence[TopKLayer],
    index: int,
    at: Sequence[LineRegions],
    inputs: torch.Tensor,
    radius: float,
    norm: Norm,
    device: torch.device,
    tick: Tick,
) -> torch.Tensor:
    """Distances of all layers, ``(lines, layers)``, on the line where the gap of one layer closes fastest.

    The gap is that of its k-th largest value and the next. First as far as twice the place where the gap would be
    closed if the network were affine, then, where nothing changed, as far as the radius.
    """
    gap, gradient = _gaps(network, layers[index], index, inputs, device)
    flat = gradient.flatten(1)
    along = -gradient.sign() if norm == "maximum" else -gradient
    slope = flat.abs().sum(1) if norm == "maximum" else flat.norm(dim=1)
    found = torch.full((len(inputs), len(layers)), torch.inf, dtype=torch.float64)
    there = (slope > 0).nonzero()[:, 0]
    if len(there) == 0:
        return found
    names = [layer.name for layer in layers]
    along = _unit(along[there], norm)
    reach = (_FIRST_LOOK * gap[there] / slope[there]).clamp(1e-6 * radius, radius)
    for again in (False, True):
        rows = (found[there, index] == torch.inf).nonzero()[:, 0] if again else torch.arange(len(there))
        rows = rows[reach[rows] < radius] if again else rows
        if len(rows) == 0:
            continue
        far = torch.full_like(reach[rows], radius) if again else reach[rows]
        which, what = there[rows], f"where the gap of {names[index]} closes"
        offsets = far.view(-1, *(1,) * (inputs.ndim - 1)) * along[rows]
        lines = _changes(
            network, names, [at[i] for i in which.tolist()], offsets, inputs[which], far, device, tick, what
        )
        found[there[rows]] = torch.minimum(found[there[rows]], _nearest(lines))
    return found


def _gaps(
    network: nn.Module, layer: TopKLayer, index: int, inputs: torch.Tensor, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gap of one layer at each input and its gradient; zeros where there is no loser."""
    gaps, gradients = [], []
    for part in inputs.split(64):
        with torch.enable_grad(), recorded() as (calls, follow):
            x = part.to(device, copy=True).requires_grad_(True)
            follow(network)
            network(x)
            gap = layer.gap(calls[index].z)
            finite = gap.isfinite()
            gradient = torch.zeros_like(x)
            if bool(finite.any()) and gap.requires_grad:
                (gradient,) = torch.autograd.grad(gap[finite].sum(), x)
        gaps.append(gap.detach().cpu())
        gradients.append(gradient.cpu())
    return torch.cat(gaps), torch.cat(gradients)


def _changes(
    network: nn.Module,
    names: Sequence[str],
    at: Sequence[LineRegions],
    offsets: torch.Tensor,
    start: torch.Tensor,
    length: torch.Tensor | float,
    device: torch.device,
    tick: Tick,
    what: str,
) -> list[list[list[float]]]:
    """For each line and layer the distances at which that layer's pattern changes.

    A sample on a boundary (two units tied at the threshold, apart on the line) changes at distance 0: its own pattern,
    that of ``at``, is not the pattern of the first region.
    """
    lengths = length if isinstance(length, torch.Tensor) else torch.full((len(start),), length, dtype=torch.float64)
    found = []
    for first in range(0, len(start), _LINES):
        tick(f"lines {what}: {first} of {len(start)}")
        part = slice(first, first + _LINES)
        lines = line_regions(network, start[part], start[part] + offsets[part], patterns=True, device=device)
        found += [
            [_of_layer(line, point, name, far) for name in names]
            for line, point, far in zip(lines, at[part], lengths[part].tolist(), strict=True)
        ]
    return found


def _nearest(changes: list[list[list[float]]]) -> torch.Tensor:
    """The first change on each line for each layer, ``(lines, layers)``; infinity where there is none."""
    return torch.tensor([[min(found, default=torch.inf) for found in line] for line in changes], dtype=torch.float64)


def _of_layer(line: LineRegions, point: LineRegions, name: str, length: float) -> list[float]:
    assert line.patterns is not None  # asked for
    assert point.patterns is not None
    pattern = line.patterns[name]
    changed = (pattern[1:] != pattern[:-1]).any(1)
    tied = bool((pattern[0] != point.patterns[name][0]).any())
    return [0.0] * tied + [t * length for t in line.breakpoints[changed].tolist()]
