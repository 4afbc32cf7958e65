"""The exact linear regions of a network on a plane: convex polygons, each with its affine map."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import SupportsFloat, SupportsIndex

import numpy as np
import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.regions.cells import Inputs, KnotCells, WinnerCells
from kwta_theory.regions.layers import Pointwise, Winners
from kwta_theory.regions.lines import TOLERANCE, _copy, _device, _followed
from kwta_theory.regions.mesh import Mesh
from kwta_theory.regions.pieces import ActivationLayer, ForwardPass, Pieces
from kwta_theory.regions.tensors import AffineTensor
from kwta_theory.seeding import Device


@dataclass(frozen=True)
class PlaneRegions:
    """The linear regions of a network on ``x(a, b) = origin + a u + b v``, ``(a, b)`` in a rectangle.

    Tensors are float64 on the CPU; ``...`` is the shape of the output for one input; positions are pairs ``(a, b)``.
    The polygons are convex up to rounding and cover the rectangle. An edge lies between two polygons and is never
    longer than what they share, so a straight side of a polygon may consist of several edges, and a polygon may
    have corners on its straight sides, where three others meet.

    Attributes:
        vertices: shape ``(vertices, 2)``.
        polygons: for each region its corners, counter-clockwise, as indices into ``vertices``.
        areas: shape ``(n,)``, in units of ``(a, b)``.
        centroids: shape ``(n, 2)``.
        values: shape ``(n, ...)``, the output at the centroid.
        gradients: shape ``(n, 2, ...)``, the derivatives of the output by ``a`` and ``b``.
        edges: shape ``(m, 2)``, the ends of the edges between regions, as indices into ``vertices``.
        sides: shape ``(m, 2)``, the regions on the left and on the right of each edge.
        layers: for each edge the first layer (in the order of execution) whose pattern differs on its two sides.
        units: for each edge the units of that layer that differ, as indices into its flattened output.
        layer_names: the names of all activation layers, in the order of execution.
        patterns: None, or for each layer the pattern in each region, as :class:`LineRegions` has it.
    """

    vertices: torch.Tensor
    polygons: tuple[torch.Tensor, ...]
    areas: torch.Tensor
    centroids: torch.Tensor
    values: torch.Tensor
    gradients: torch.Tensor
    edges: torch.Tensor
    sides: torch.Tensor
    layers: tuple[str, ...]
    units: tuple[torch.Tensor, ...]
    layer_names: tuple[str, ...]
    patterns: dict[str, torch.Tensor] | None = field(default=None, repr=False)

    @property
    def count(self) -> int:
        """The number of regions."""
        return len(self.areas)

    @property
    def left_values(self) -> torch.Tensor:
        """The limits of the output from the left at the two ends of each edge, ``(m, 2, ...)``."""
        return self._limits(self.sides[:, 0])

    @property
    def right_values(self) -> torch.Tensor:
        """The limits of the output from the right at the two ends of each edge, ``(m, 2, ...)``."""
        return self._limits(self.sides[:, 1])

    @property
    def jumps(self) -> torch.Tensor:
        """By how much the output jumps at the two ends of each edge, right minus left, and linearly in between.

        Shape ``(m, 2, ...)``; rounding where the network is continuous.
        """
        return self.right_values - self.left_values

    def region_at(self, points: torch.Tensor) -> torch.Tensor:
        """The region of each position ``(points, 2)``; -1 outside; on an edge, one of the two."""
        points = points.to(self.vertices)
        best = points.new_full((len(points),), -torch.inf)
        region = torch.full((len(points),), -1)
        low, high = self.vertices.amin(0), self.vertices.amax(0)
        slack = 1e-9 * (high - low)
        inside = ((points >= low) & (points <= high)).all(1)
        for number, polygon in enumerate(self.polygons):
            corners = self.vertices[polygon]
            near = (points >= corners.amin(0) - slack) & (points <= corners.amax(0) + slack)
            index = (near.all(1) & inside).nonzero().squeeze(1)
            if len(index) == 0:
                continue
            along = corners.roll(-1, 0) - corners
            away = points[index, None] - corners
            depth = ((along[:, 0] * away[..., 1] - along[:, 1] * away[..., 0]) / along.norm(dim=1)).amin(1)
            deeper = depth > best[index]
            best[index[deeper]], region[index[deeper]] = depth[deeper], number
        return region

    def value_at(self, points: torch.Tensor) -> torch.Tensor:
        """The output at each position ``(points, 2)`` of the rectangle, ``(points, ...)``."""
        points = points.to(self.vertices)
        region = self.region_at(points)
        if bool((region < 0).any()):
            raise InvalidArgumentError("points has positions outside the rectangle that was looked at.")
        return self._affine(region, points)

    def _limits(self, region: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._affine(region, self.vertices[self.edges[:, end]]) for end in (0, 1)], dim=1)

    def _affine(self, region: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        away = (points - self.centroids[region]).view(-1, 2, *(1,) * (self.values.ndim - 1))
        return self.values[region] + (self.gradients[region] * away).sum(1)


def plane_regions(
    model: nn.Module,
    origin: torch.Tensor,
    u: torch.Tensor,
    v: torch.Tensor,
    *,
    a: tuple[float, float] = (0.0, 1.0),
    b: tuple[float, float] = (0.0, 1.0),
    patterns: bool = False,
    tolerance: SupportsFloat = TOLERANCE,
    most_regions: SupportsIndex = 50_000,
    device: Device | None = None,
) -> PlaneRegions:
    """Every linear region of a network on the parallelogram ``origin + a u + b v``, with the jumps between them.

    A region is a maximal connected set of ``(a, b)`` on which no activation changes its pattern. Method (refinement,
    layer by layer): a polygon goes through the network as the value and two slopes of each tensor. An activation layer
    sees affine functions of ``(a, b)`` on each polygon, so the cells of its patterns are convex polygons: half-planes
    for ReLU and its relatives, ``z_i >= z_j`` for winners and losers of k-WTA, the same in each group of LWTA
    and each window of max-pooling. Polygons are cut into the cells and go on. Limits at an edge are one-sided, in the
    later layers too.

    What may be in the network, and what counts as equal in float64, is as for :func:`line_regions`: a number no larger
    than ``tolerance`` times the largest absolute value in its layer on that polygon, plus 2^-48 (of the range of
    ``a`` and ``b``) times its slope, is not told from zero. Units that differ by no more on a whole polygon are equal
    there: the smaller index wins. A corner at which a crossing function is not told from zero lies on its line.

    Memory: the tensors of all polygons at once (32 bytes for each polygon and entry of the widest layer, several
    times), and the patterns of all layers. It is meant for planes with up to some ten thousand regions.

    Args:
        model: as for :func:`line_regions`; it is copied, in float64, and left as it is.
        origin: a batch of one input, ``(1, ...)``.
        u: the direction of ``a``, the same shape.
        v: the direction of ``b``, the same shape.
        a: the range of ``a``.
        b: the range of ``b``.
        patterns: also return the pattern of every layer in every region.
        tolerance: as above, in (0, 1e-3].
        most_regions: stop with an error when there are more.
        device: where the layers are computed; None for the device of the model's parameters.

    Returns:
        The regions.

    Raises:
        InvalidArgumentError: for a model with something else in it, for inputs of another shape, not finite or not
            real, for an empty range, for more regions than ``most_regions``.

    Source: Section 3, "Linear region density", and Figure 1 of the paper in two dimensions.

    >>> network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> with torch.no_grad():  # the quadrants
    ...     for parameter, numbers in zip(network.parameters(), (torch.eye(2), torch.zeros(2)), strict=True):
    ...         _ = parameter.copy_(numbers)
    >>> plane = plane_regions(network, torch.tensor([[-1.0, -1.0]]), torch.tensor([[4.0, 0]]), torch.tensor([[0, 2.0]]))
    >>> plane.count, sorted(plane.areas.tolist()), len(plane.edges), set(plane.layers)
    (4, [0.125, 0.125, 0.375, 0.375], 4, {'1'})
    """
    _check_plane(model, origin, u, v)
    ranges = [_check_range(name, ends) for name, ends in (("a", a), ("b", b))]
    tolerance = check_number("tolerance", tolerance, 0.0, 1e-3, open_minimum=True)
    most_regions = check_integer("most_regions", most_regions, 1)
    where = _device(model, origin, device)
    network = _copy(model, where)
    origin, u, v = (part.detach().to(device=where, dtype=torch.float64) for part in (origin, u, v))
    (a_low, a_size), (b_low, b_size) = ranges
    with torch.no_grad():
        run = _PlanePass(where, tolerance, most_regions)
        centre = origin + (a_low + a_size / 2) * u + (b_low + b_size / 2) * v
        x = AffineTensor.make(run, torch.stack([torch.cat([centre, centre]), torch.cat([a_size * u, b_size * v])]), 0)
        with _followed(network, run):
            out = network(x)
        if not isinstance(out, AffineTensor):
            raise InvalidArgumentError(
                f"the model returned a {type(out).__name__}: it must return one tensor, a batch of outputs that depend "
                "on its inputs."
            )
        low, size = torch.tensor(ranges, dtype=torch.float64).T
        return run.regions(out.current(), low, size, keep_patterns=bool(patterns))


def _check_plane(model: nn.Module, origin: torch.Tensor, u: torch.Tensor, v: torch.Tensor) -> None:
    if not isinstance(model, nn.Module):
        raise InvalidArgumentError(f"model is a {type(model).__name__}: it must be a torch.nn.Module.")
    for name, point in (("origin", origin), ("u", u), ("v", v)):
        if not isinstance(point, torch.Tensor) or point.is_complex() or point.dtype == torch.bool:
            raise InvalidArgumentError(f"{name} is not a tensor of real numbers: it must be a batch of one input.")
        if point.ndim < 2 or len(point) != 1 or point.numel() == 0:
            raise InvalidArgumentError(f"{name} has shape {tuple(point.shape)}: it must be (1, ...), not empty.")
        if not bool(point.isfinite().all()):
            raise InvalidArgumentError(f"{name} has NaN or infinity: every entry must be finite.")
        if point.shape != origin.shape:
            raise InvalidArgumentError(
                f"{name} has shape {tuple(point.shape)} and origin {tuple(origin.shape)}: they must be the same."
            )


def _check_range(name: str, ends: tuple[float, float]) -> tuple[float, float]:
    """Where a range begins and how long it is."""
    low, high = (check_number(name, end) for end in ends)
    if not (low < high and math.isfinite(high - low)):
        raise InvalidArgumentError(f"{name}=({low}, {high}): the range must have a beginning before its end.")
    return low, high - low


class _Polygons(Pieces):
    """The polygons of today, as the pieces of a pass.

    Each is two pieces, of the lines through its centre in the directions of ``a`` and ``b``: first all in the direction
    of ``a``, then all in that of ``b``. So whatever maps values and slopes of pieces of lines serves for polygons.
    """

    def __init__(self, device: torch.device) -> None:
        self.mesh = Mesh()
        self.device = device
        self.names = [0]
        self._parents: list[torch.Tensor] = []
        self._centres = [self._middles()]

    def __len__(self) -> int:
        return 2 * len(self.names)

    def _middles(self) -> torch.Tensor:
        """A point inside each polygon."""
        return torch.from_numpy(np.stack([self.mesh.corners(name).mean(0) for name in self.names])).to(self.device)

    def replace(self, names: list[int], parents: list[int]) -> None:
        """Other polygons, each a part of one of before."""
        self.names = names
        self._parents.append(torch.tensor(parents, device=self.device))
        self._centres.append(self._middles())

    def follow(self, rows: torch.Tensor, generation: int) -> torch.Tensor:
        """Values and slopes at the centres of an earlier generation, at those of today."""
        if generation == self.generation:
            return rows
        index = self.ancestors(generation)
        (value, _), slopes = rows.unflatten(1, (2, -1)).index_select(2, index)
        shift = (self.centre - self._centres[generation][index]).T.reshape(2, -1, *(1,) * (value.ndim - 1))
        value = value + (slopes * shift).sum(0)
        return torch.stack([torch.cat([value, value]), slopes.flatten(0, 1)])


class _PlanePass(ForwardPass):
    """The pass of a network over the polygons of a plane."""

    pieces: _Polygons

    def __init__(self, device: torch.device, tolerance: float, most_regions: int) -> None:
        super().__init__(_Polygons(device), tolerance, None, keep_patterns=True)
        self.most_regions = most_regions

    def activate(self, rows: torch.Tensor, layer: ActivationLayer, name: str) -> torch.Tensor:
        """Cut the polygons into the cells of the layer's patterns, and return its outputs on them."""
        self.layers.append(self._unused(name))
        polygons, mesh = self.pieces, self.pieces.mesh
        z = rows.flatten(2) if rows.ndim > 2 else rows.unsqueeze(2)
        (value, _), slopes = z.unflatten(1, (2, -1)).cpu().numpy()
        centre = polygons.centre.cpu().numpy()
        rule = self._rule(layer, z.shape[2])
        names: list[int] = []
        parents: list[int] = []
        patterns: list[np.ndarray] = []
        for number, polygon in enumerate(polygons.names):
            inputs = Inputs(centre[number], value[number], slopes[:, number], 0.0)
            largest = float(np.abs(inputs.at(mesh.corners(polygon))).max(initial=0.0))
            inputs = Inputs(inputs.centre, inputs.value, inputs.gradient, self.tolerance * largest)
            cells = rule.cut(mesh, polygon, inputs)
            remaining = mesh.merge({cell: pattern.tobytes() for cell, pattern in cells.items()})
            names += remaining
            parents += [number] * len(remaining)
            patterns += [cells[cell] for cell in remaining]
            if len(names) > self.most_regions:
                self.refuse(f"makes more than most_regions={self.most_regions} regions: look at a smaller range.")
        mesh.straighten()
        generation = polygons.generation
        polygons.replace(names, parents)
        pattern = torch.from_numpy(np.stack(patterns)).to(rows.device)
        self.patterns.append((polygons.generation, pattern))
        return layer.apply(polygons.follow(z, generation), pattern.repeat(2, 1))

    def _rule(self, layer: ActivationLayer, units: int) -> KnotCells | WinnerCells:
        if isinstance(layer, Pointwise):
            return KnotCells(layer)
        if isinstance(layer, Winners):
            return WinnerCells(layer, units)
        return self.refuse("has an activation that is treated along lines only.")

    def regions(self, out: torch.Tensor, low: torch.Tensor, size: torch.Tensor, *, keep_patterns: bool) -> PlaneRegions:
        """What was found, on the rectangle with its corner at ``low``."""
        polygons, mesh = self.pieces, self.pieces.mesh
        out = out.cpu()
        (value, _), slopes = out.unflatten(1, (2, -1))
        used = sorted({corner for name in polygons.names for corner in mesh.polygons[name]})
        place = {corner: number for number, corner in enumerate(used)}
        points = torch.tensor([mesh.points[corner] for corner in used], dtype=torch.float64)
        loops = tuple(torch.tensor([place[corner] for corner in mesh.polygons[name]]) for name in polygons.names)
        areas, centroids = (torch.stack(part) for part in zip(*(_moments(points[loop]) for loop in loops), strict=True))
        shape = (-1, *(1,) * (value.ndim - 1))
        for direction in (0, 1):
            apart = (centroids - polygons.centre.cpu())[:, direction]
            value = value + slopes[direction] * apart.view(shape)

        number = {name: n for n, name in enumerate(polygons.names)}
        inner = [(edge, name) for edge, name in mesh.side.items() if edge[0] < edge[1] and edge[::-1] in mesh.side]
        sides = torch.tensor([(number[name], number[mesh.side[edge[::-1]]]) for edge, name in inner], dtype=torch.int64)
        sides = sides.view(-1, 2)
        edges = torch.tensor([(place[p], place[q]) for (p, q), _ in inner], dtype=torch.int64).view(-1, 2)
        layers, units = self._causes(sides)
        return PlaneRegions(
            vertices=low + size * points,
            polygons=loops,
            areas=areas * size.prod(),
            centroids=low + size * centroids,
            values=value,
            gradients=slopes.transpose(0, 1) / size.view(1, 2, *shape[1:]),
            edges=edges,
            sides=sides,
            layers=tuple(self.layers[layer] for layer in layers),
            units=units,
            layer_names=tuple(self.layers),
            patterns={
                name: pattern[polygons.ancestors(generation)].cpu()
                for name, (generation, pattern) in zip(self.layers, self.patterns, strict=True)
            }
            if keep_patterns
            else None,
        )

    def _causes(self, sides: torch.Tensor) -> tuple[list[int], tuple[torch.Tensor, ...]]:
        """For the two polygons of each edge, the first layer that parted them, and the units that did."""
        layers = torch.full((len(sides),), -1)
        units: list[torch.Tensor] = [sides[:0, 0]] * len(sides)
        for layer, (generation, pattern) in enumerate(self.patterns):
            left, right = self.pieces.ancestors(generation).cpu()[sides].unbind(1)
            for edge in ((layers < 0) & (left != right)).nonzero().squeeze(1).tolist():
                layers[edge] = layer
                units[edge] = (pattern[left[edge]] != pattern[right[edge]]).nonzero().squeeze(1).cpu()
        return layers.tolist(), tuple(units)


def _moments(corners: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Area and centroid of a polygon; of one so thin that rounding hides its area, the mean of its corners."""
    first, middle = corners[0], corners.mean(0)
    x, y = (corners - first).T
    x_next, y_next = x.roll(-1), y.roll(-1)
    cross = x * y_next - x_next * y
    area = cross.sum() / 2
    moment = torch.stack([((x + x_next) * cross).sum(), ((y + y_next) * cross).sum()]) / 6
    spread = (corners - first).abs().amax()
    return area, first + moment / area if area > 1e-9 * spread**2 + 1e-14 * spread else middle
