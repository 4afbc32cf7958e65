"""Pictures of regions: a plane with its jumps as the colour of edges, jumps along a line, boundaries of many lines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator
from matplotlib.tri import Triangulation
from torch import nn

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.regions.lines import LineRegions, line_regions
from kwta_theory.regions.planes import PlaneRegions
from kwta_theory.report import plots
from kwta_theory.seeding import Device

FACES, EDGES = "Blues", "plasma_r"
CONTINUOUS = 1e-9
"""Of the output's range: a smaller difference at an edge is rounding, and the network is continuous there."""


@dataclass(frozen=True)
class PlanePicture:
    """What a picture of a plane shows, for its legend, its colour bars and its caption.

    Attributes:
        faces: colours of the values.
        edges: colours of the jumps.
        regions: in the picture.
        jumping: the share of the edges' length at which the output jumps.
        largest_jump: of an edge, as :func:`edge_jumps` has it.
    """

    faces: ScalarMappable
    edges: ScalarMappable
    regions: int
    jumping: float
    largest_jump: float


def draw_plane(
    axis: Axes,
    plane: PlaneRegions,
    *,
    output: torch.Tensor | None = None,
    value_range: tuple[float, float] | None = None,
    largest_jump: float | None = None,
    width: float = 1.2,
) -> PlanePicture:
    """Draw the regions of a plane: a value as the colour of the surface, the size of the jump as that of each edge.

    The surface is drawn from the affine maps, so it breaks at an edge where the network jumps and nowhere else. An edge
    at which the network is continuous is a thin grey line. The size of a jump is that of :func:`edge_jumps`.

    Args:
        axis: to draw on.
        plane: from :func:`kwta_theory.regions.plane_regions`.
        output: which combination of the outputs is the surface, shape of one output; None for the mean output.
        value_range: of the colours of the surface; None for the values that occur.
        largest_jump: the end of the colours of edges, which begin at 0; None for the largest that occurs.
        width: of an edge with the largest jump, in points; the others are thinner.
    """
    shape = plane.values.shape[1:]
    weights = torch.full(shape, 1.0 / max(1, shape.numel())).double() if output is None else output.double()
    if weights.shape != shape:
        raise InvalidArgumentError(
            f"output has shape {tuple(weights.shape)}: it must be that of one output, {tuple(shape)}."
        )
    points, triangles, heights = _fans(plane, weights)
    low, high = (float(heights.min()), float(heights.max())) if value_range is None else value_range
    faces = axis.tripcolor(
        Triangulation(points[:, 0], points[:, 1], triangles), heights, shading="gouraud",
        cmap=FACES, vmin=low, vmax=high, rasterized=True,
    )  # fmt: skip

    ends = plane.vertices[plane.edges]
    sizes = edge_jumps(plane)
    scale = float((plane.values.flatten(1).amax(0) - plane.values.flatten(1).amin(0)).norm())
    most = float(sizes.max()) if len(sizes) else 0.0
    jumps = sizes > CONTINUOUS * scale
    norm = Normalize(0.0, max(most if largest_jump is None else largest_jump, 1e-300))
    axis.add_collection(LineCollection(list(ends[~jumps].numpy()), colors="0.45", linewidths=0.35))
    order = sizes[jumps].argsort()  # the largest on top
    seen = norm(sizes[jumps][order].numpy())
    widths = width * (0.25 + 0.75 * np.clip(np.asarray(seen), 0, 1))
    edges = LineCollection(list(ends[jumps][order].numpy()), cmap=EDGES, norm=norm, linewidths=widths)
    edges.set_array(sizes[jumps][order].numpy())
    axis.add_collection(edges)
    corners = plane.vertices
    (left, bottom), (right, top) = corners.amin(0).tolist(), corners.amax(0).tolist()
    axis.set(xlim=(left, right), ylim=(bottom, top))
    axis.grid(False)
    lengths = (ends[:, 1] - ends[:, 0]).norm(dim=1)
    share = float(lengths[jumps].sum() / lengths.sum()) if len(lengths) else 0.0
    return PlanePicture(faces, edges, plane.count, share, most if bool(jumps.any()) else 0.0)


def edge_jumps(plane: PlaneRegions) -> torch.Tensor:
    """The size of the jump at each edge, ``(edges,)``: Euclidean over the outputs, root mean square along the edge.

    A jump is linear along its edge, from ``p`` to ``q``, so its mean square is ``(|p|^2 + <p, q> + |q|^2) / 3``.
    """
    p, q = plane.jumps.flatten(2).unbind(1)
    return ((p.square() + p * q + q.square()).sum(1) / 3).clamp(min=0.0).sqrt()


def _fans(plane: PlaneRegions, weights: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each polygon as triangles from its first corner, with corners of its own: positions, triangles, heights."""
    values = (plane.values * weights).flatten(1).sum(1)
    gradients = (plane.gradients * weights).flatten(2).sum(2)
    points, triangles, heights, used = [], [], [], 0
    for number, polygon in enumerate(plane.polygons):
        corners = plane.vertices[polygon]
        points.append(corners)
        heights.append(values[number] + (corners - plane.centroids[number]) @ gradients[number])
        triangles += [(used, used + i, used + i + 1) for i in range(1, len(corners) - 1)]
        used += len(corners)
    return torch.cat(points).numpy(), np.array(triangles), torch.cat(heights).numpy()


def through(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The plane through three inputs as ``(origin, u, v)``: they lie at ``(0, 0)``, ``(1, 0)`` and ``(0, 1)``.

    >>> [part.tolist() for part in through(torch.tensor([[1.0, 0.0], [3.0, 0.0], [1.0, 5.0]]))]
    [[[1.0, 0.0]], [[2.0, 0.0]], [[0.0, 5.0]]]
    """
    if not isinstance(images, torch.Tensor) or images.ndim < 2 or len(images) != 3:
        raise InvalidArgumentError("images is not allowed: a plane goes through three inputs, a tensor (3, ...).")
    origin = images[:1].double()
    return origin, images[1:2].double() - origin, images[2:].double() - origin


def window(
    model: nn.Module,
    origin: torch.Tensor,
    u: torch.Tensor,
    v: torch.Tensor,
    *,
    regions: SupportsIndex = 300,
    device: Device | None = None,
) -> float:
    """The side of a square at the origin with about so many regions: at most 1, a power of two.

    ``n`` straight lines that are thrown on a square meet each other ``0.39 n^2 / 2`` times in it (two chords of a
    convex set meet with probability ``2 pi area / perimeter^2``), so they cut it into ``1 + n + 0.2 n^2`` parts; half
    of all crossings of the border are lines. Exact counts on the two sides from the origin, at each side tried, tell
    ``n``. It is a guess to begin with: boundaries of a network are neither straight nor thrown.

    Args:
        model: a network that :func:`kwta_theory.regions.line_regions` treats.
        origin: as for :func:`kwta_theory.regions.plane_regions`.
        u: likewise.
        v: likewise.
        regions: how many are wanted.
        device: where to compute; None for the device of the model's parameters.
    """
    most = check_integer("regions", regions, 1)
    side = 2.0**-12
    start = torch.cat([origin, origin])
    while side < 1.0:
        end = start + 2 * side * torch.cat([u, v])
        lines = sum(line.count - 1 for line in line_regions(model, start, end, device=device))
        if 1 + lines + 0.2 * lines**2 > most:
            break
        side *= 2
    return side


def rivals(outputs: torch.Tensor) -> tuple[torch.Tensor, str]:
    """What to show of a classifier near one input: its largest output minus the second there, and that in words.

    Args:
        outputs: of one input, ``(classes,)``.

    >>> rivals(torch.tensor([0.1, 2.0, 1.5]))
    (tensor([ 0.,  1., -1.]), 'output 1 minus output 2')
    """
    weights = torch.zeros_like(outputs)
    if len(outputs) == 1:
        weights[0] = 1.0
        return weights, "output"
    first, second = outputs.topk(2).indices.tolist()
    weights[first], weights[second] = 1.0, -1.0
    return weights, f"output {first} minus output {second}"


def draw_line(axis: Axes, line: LineRegions, length: float, color: str = plots.EXACT) -> float:
    """The size of each jump along a line as a stem where it is; no stem where the network is continuous.

    Args:
        axis: to draw on.
        line: from :func:`kwta_theory.regions.line_regions`.
        length: of the line, for the horizontal axis.
        color: of the stems.

    Returns:
        The largest jump, 0 where there is none.
    """
    length = check_number("length", length, 0.0, open_minimum=True)
    at, sizes = line.breakpoints.numpy() * length, line.jumps.flatten(1).norm(dim=1).numpy()
    outputs = line.values.flatten(2)
    jumps = sizes > CONTINUOUS * float((outputs.amax((0, 1)) - outputs.amin((0, 1))).norm())
    axis.set(xlim=(0, length))
    axis.vlines(at[jumps], 0, sizes[jumps], color=color, linewidth=0.7)
    if not jumps.any():
        axis.plot(at, np.zeros(len(at)), "|", color=color, markersize=3, clip_on=False)
        axis.text(0.5, 0.5, f"{line.count - 1:,} boundaries, no jump", ha="center", transform=axis.transAxes)
    return float(sizes[jumps].max(initial=0.0))


def draw_counts(axis: Axes, counts: Sequence[float], color: str = plots.EXACT) -> None:
    """A histogram of whole numbers, boundaries on each line, with their median.

    Args:
        axis: to draw on.
        counts: one for each line.
        color: of the bars.
    """
    if not len(counts):
        raise InvalidArgumentError("counts is empty: there is nothing to draw.")
    low, high = min(counts), max(counts)
    step = max(1, math.ceil((high - low + 1) / (2 * math.sqrt(len(counts)) + 2)))
    axis.hist(counts, bins=np.arange(low - 0.5, high + step, step).tolist(), color=color, alpha=0.6)
    axis.axvline(float(np.median(counts)), color="black", linewidth=1, label="median")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
