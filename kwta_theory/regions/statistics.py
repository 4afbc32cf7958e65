"""Statistics of the linear regions of one network along lines of the length of an attack's epsilon.

What is sampled, and what an interval is about. The network is given; a line is drawn; every statistic is one number per
line. Regions of one line depend on one another, different lines do not: lines are the independent units, and every
interval here takes lines, never boundaries, for its sample size. It holds for this network and for the law from which
the lines came (:attr:`Lines.sampled`), not for other networks of the same kind. Each interval has an error of its own:
for many of them together share one with :class:`kwta_theory.confidence.ErrorBudget`.

Lengths are those of the norm that is asked for, ``"euclidean"`` or ``"maximum"``. In the maximum norm a density of
``d`` per unit of length means ``d epsilon`` boundaries on the way of an attack that changes every entry by epsilon.
Such a line has the Euclidean length ``epsilon sqrt(input_dim)``: densities in the two norms are different numbers.

How many boundaries there are and how far the network jumps at one are reported apart. Their product says neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError, check_number
from kwta_theory.confidence import Proportion
from kwta_theory.regions.directions import Direction, Gradients, Lines
from kwta_theory.regions.first_layer import Norm, first_layer_distance
from kwta_theory.regions.lines import TOLERANCE, LineRegions, line_regions
from kwta_theory.regions.samples import LineSample
from kwta_theory.seeding import Device


@dataclass(frozen=True)
class RegionStatistics:
    """What the regions of a network are like along lines. One number per line; see :class:`LineSample` for intervals.

    "Unit of length" is one unit of the input in ``norm``. Sizes of outputs are Euclidean, in the network's own units:
    divide by ``output_scale`` to compare networks. At a boundary between regions of a continuous network the jump is
    rounding, about 1e-15 of the output.

    Attributes:
        direction: as in :class:`Lines`.
        norm: the norm of all lengths.
        radius: length of the lines in that norm.
        sampled: what intervals are about.
        boundaries: boundaries per unit of length; a place where several units change at once is one boundary.
        boundaries_of_layer: the same for each activation layer: the boundaries whose first layer it is.
        crossing: of all lines, those with at least one boundary.
        nearest: distance from the start to the first boundary on the line; infinity where there is none on it. A tie at
            the start itself is no boundary on the line.
        nearest_first_layer: distance from the start to the nearest boundary of the first activation layer in any
            direction, in closed form (:func:`first_layer_distance`).
        jump: mean over the boundaries of a line of the size of the jump; no number where there is no boundary.
        root_mean_square_jump: the same, root of the mean square.
        largest_jump: the largest.
        slope_change: mean over the boundaries of a line of ``|s_right - s_left|``, ``s`` the derivative of the output
            along the line, in output per unit of length.
        slope_variation: ``1 - |mean s|^2 / mean |s|^2`` with means over the length of a line: the share of the mean
            square of the slope that is variation; 0 where the slope never changes, 1 where it averages out. Without
            unit. Jumps are not in it.
        coherence: for each fraction ``f``, the cosine of the gradients of the loss at the start and ``f`` of the line
            away from it. No number where a gradient vanishes.
        output_scale: root mean square over lines of the distance of the output at the start from its mean; 0 where all
            lines have one start.
    """

    direction: Direction
    norm: Norm
    radius: float
    sampled: str
    boundaries: LineSample
    boundaries_of_layer: dict[str, LineSample]
    crossing: Proportion
    nearest: LineSample
    nearest_first_layer: LineSample
    jump: LineSample
    root_mean_square_jump: LineSample
    largest_jump: LineSample
    slope_change: LineSample
    slope_variation: LineSample
    coherence: dict[float, LineSample]
    output_scale: float


def region_statistics(
    model: nn.Module,
    lines: Lines,
    *,
    labels: torch.Tensor | None = None,
    fractions: Sequence[float] = (0.25, 0.5, 1.0),
    tolerance: SupportsFloat = TOLERANCE,
    memory: SupportsIndex = 2**27,
    device: Device | None = None,
) -> RegionStatistics:
    """Measure the regions of a network along lines, exactly on each line.

    Boundaries, distances along the line, jumps and slopes are read off :func:`line_regions`; the distance to the
    nearest boundary of the first layer is its closed form; gradients are those of autograd, in float64.

    The gradient is that of ``log sum over j != y of exp z_j - z_y``, of which the cross entropy is the softplus: it has
    the direction of the cross entropy's gradient and neither vanishes nor cancels where the network is sure. A network
    with one output has that output's gradient.

    Args:
        model: a network that :func:`line_regions` treats, with outputs ``(batch, classes)``.
        lines: from :func:`random_lines`, :func:`gradient_lines` or :func:`data_lines`.
        labels: ``y``, ``(lines,)``; None for the class predicted at the start.
        fractions: where, as parts of a line in (0, 1], gradients are compared with that at the start.
        tolerance: of :func:`line_regions`.
        memory: of :func:`line_regions`.
        device: where to compute; None for the device of the model's parameters.

    Raises:
        InvalidArgumentError: for a model with a layer that is not treated (the sentence names it), or other outputs.

    >>> from kwta_theory.regions import random_lines
    >>> network = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    >>> found = region_statistics(network, random_lines(torch.eye(4), 0.1, seed=0))
    >>> found.boundaries.count, found.boundaries.unit, found.nearest.unit
    (4, 'boundaries per unit of maximum length', 'maximum length')
    """
    if not isinstance(lines, Lines):
        raise InvalidArgumentError(
            f"lines is a {type(lines).__name__}: it must come from random_lines, gradient_lines or data_lines."
        )
    parts = [check_number(f"fractions[{i}]", part, 0.0, 1.0, open_minimum=True) for i, part in enumerate(fractions)]
    gradients = Gradients(model, lines.start, labels, device)
    found = line_regions(model, lines.start, lines.end, tolerance=tolerance, memory=memory, device=device)
    lengths = lines.lengths.tolist()
    per_line = [_of_line(line, length) for line, length in zip(found, lengths, strict=True)]
    length_unit = f"{lines.norm} length"

    def sample(name: str, unit: str, upper: float = math.inf) -> LineSample:
        return LineSample(tuple(numbers[name] for numbers in per_line), unit, 0.0, upper)

    at_start = gradients(lines.start)
    coherence = {
        part: LineSample(
            tuple(_cosine(at_start, gradients(lines.start + part * (lines.end - lines.start))).tolist()),
            "cosine", -1.0, 1.0,
        )
        for part in parts
    }  # fmt: skip
    of_layer = {
        name: LineSample(
            tuple(line.layers.count(name) / length for line, length in zip(found, lengths, strict=True)),
            f"boundaries per unit of {length_unit}",
        )
        for name in found[0].layer_names
    }
    outputs = torch.stack([line.values[0, 0].flatten() for line in found])
    return RegionStatistics(
        direction=lines.direction,
        norm=lines.norm,
        radius=lines.radius,
        sampled=lines.sampled,
        boundaries=sample("boundaries", f"boundaries per unit of {length_unit}"),
        boundaries_of_layer=of_layer,
        crossing=Proportion(sum(line.count > 1 for line in found), len(found)),
        nearest=sample("nearest", length_unit),
        nearest_first_layer=LineSample(
            tuple(first_layer_distance(model, lines.start, norm=lines.norm, device=device).tolist()), length_unit
        ),
        jump=sample("jump", "Euclidean length of the output"),
        root_mean_square_jump=sample("root_mean_square_jump", "Euclidean length of the output"),
        largest_jump=sample("largest_jump", "Euclidean length of the output"),
        slope_change=sample("slope_change", f"Euclidean length of the output per unit of {length_unit}"),
        slope_variation=sample("slope_variation", "share of the mean square", 1.0),
        coherence=coherence,
        output_scale=float((outputs - outputs.mean(0)).square().sum(1).mean().sqrt()),
    )


def _of_line(line: LineRegions, length: float) -> dict[str, float]:
    """The numbers of one line, from its regions."""
    slopes = line.slopes.flatten(1)
    share = line.ends.diff()[:, None]
    mean, mean_square = (share * slopes).sum(0).square().sum(), float((share * slopes.square()).sum())
    crossed = line.count > 1
    jumps, changes = line.jumps.flatten(1).norm(dim=1), slopes.diff(dim=0).norm(dim=1) / length
    return {
        "boundaries": (line.count - 1) / length,
        "nearest": float(line.breakpoints[0]) * length if crossed else math.inf,
        "jump": float(jumps.mean()) if crossed else math.nan,
        "root_mean_square_jump": float(jumps.square().mean().sqrt()) if crossed else math.nan,
        "largest_jump": float(jumps.max()) if crossed else math.nan,
        "slope_change": float(changes.mean()) if crossed else math.nan,
        # Without a slope there is nothing that varies; rounding may take the share a hair out of its range.
        "slope_variation": min(max(1 - float(mean) / mean_square, 0.0), 1.0) if mean_square > 0 else 0.0,
    }


def _cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cosine of each pair of rows; NaN where one is zero."""
    a, b = a.flatten(1), b.flatten(1)
    a, b = (rows / rows.abs().amax(1, keepdim=True) for rows in (a, b))  # 0/0 is NaN; no square under- or overflows
    return ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).clamp(-1.0, 1.0)
