"""Pictures of the cell of a pattern (:mod:`kwta_theory.geometry`): in the plane and in space, cut across ``x``.

The inputs ``x' ~ x/|x| + u`` with the pattern of ``x``, shown by ``u``, which is perpendicular to ``x``: two numbers
for an input of three dimensions, three for one of four. ``x`` itself is at the origin and ``|u|^2`` is the ``beta``
of Theorem 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]
from scipy.spatial import ConvexHull

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.geometry import PatternCell, RadiusBracket
from kwta_theory.report.canvas import CLAIMED, EXACT, FIRST, MEASURED

Array = npt.NDArray[np.float64]

OWN, FAR, NEAR, LINE = EXACT, CLAIMED, MEASURED, FIRST
NEIGHBOURS = ListedColormap(["#efe9d6", "#d3e3ea", "#e2d6ea", "#d5e8d8", "#f2dccd", "#e4e4e4", "#f3efb9"])
_PALE = "#b5c4d1"
_PIXELS = 180
# How much of the plane is shown where the cell has no end.
_UNBOUNDED = 3.0


def perpendicular_basis(x: npt.ArrayLike) -> Array:
    """Orthonormal columns perpendicular to ``x``, ``(m, m - 1)``: the reflection that takes ``e_1`` to ``+-x/|x|``.

    >>> perpendicular_basis([2.0, 0.0, 0.0]).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    unit = np.asarray(x, dtype=np.float64)
    unit = unit / np.linalg.norm(unit)
    mirror = unit.copy()
    mirror[0] += math.copysign(1.0, unit[0])  # away from zero: nothing cancels
    return (np.eye(len(unit)) - 2 * np.outer(mirror, mirror) / (mirror @ mirror))[:, 1:] + 0.0


def offsets(cell: PatternCell, points: npt.ArrayLike) -> Array:
    """``u`` of some inputs on the side of ``x``, ``(N, m)`` to ``(N, m - 1)``."""
    rows = np.atleast_2d(np.asarray(points, dtype=np.float64))
    along = rows @ cell.x / np.linalg.norm(cell.x)
    return np.asarray((rows @ perpendicular_basis(cell.x)) / along[:, None])


def draw_plane(axis: Axes, cell: PatternCell, *, rows: bool = True) -> RadiusBracket:
    """The cell of an input of three dimensions among its neighbours, with ``x``, nearest boundary and witness.

    The dashed circle has the radius ``R`` of the cell: no input beyond it has the pattern of ``x``, and the witness on
    it has. An edge is where two rows change places. The neighbours are coloured point by point, the cell itself is
    drawn from its vertices; an unbounded one has none and is coloured as far as ``|u| = 3``.

    Args:
        axis: to draw on.
        cell: of a layer without bias, three columns.
        rows: write the two rows, winner and loser, at every edge.

    Returns:
        The bracket of the radius, which is exact up to rounding here.

    Raises:
        InvalidArgumentError: another number of dimensions, or a bias.
    """
    _check(cell, 3)
    bracket, nearest = cell.radius(), cell.nearest_boundary()
    reach = _UNBOUNDED if bracket.witness is None else 1.25 * bracket.lower
    _neighbours(axis, cell, reach, _PALE if bracket.witness is None else "white")
    if bracket.witness is None:
        axis.fill([], [], facecolor=_PALE, label="same pattern as x")
    if bracket.witness is not None:
        corners = offsets(cell, cell.vertices())
        middle = corners.mean(axis=0)
        corners = corners[np.argsort(np.arctan2(*(corners - middle).T[::-1]))]
        axis.fill(*corners.T, facecolor=OWN, alpha=0.35, label="same pattern as x")
        axis.plot(*np.vstack([corners, corners[:1]]).T, color=OWN, linewidth=1.6)
        turn = np.linspace(0, 2 * np.pi, 200)
        axis.plot(bracket.lower * np.cos(turn), bracket.lower * np.sin(turn), "--", color=FAR, linewidth=1)
        far = offsets(cell, bracket.witness)[0]
        axis.plot(*np.array([[0, 0], far]).T, "-", color=FAR, linewidth=1)
        axis.plot(*far, "D", color=FAR, markersize=7, label="witness: farthest x' with this pattern, |u| = R", zorder=4)
        if rows:
            _name_edges(axis, cell, corners, middle)
    near = nearest.distance * (nearest.direction @ perpendicular_basis(cell.x))
    axis.plot(*np.array([[0, 0], near]).T, "-", color=NEAR, linewidth=1)
    axis.plot(*near, "s", color=NEAR, markersize=6, label="nearest boundary", zorder=4)
    axis.plot(0, 0, "o", color="black", markersize=6, label="x", zorder=5)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="u₁", ylabel="u₂", aspect="equal")
    axis.grid(visible=False)
    return bracket


def _neighbours(axis: Axes, cell: PatternCell, reach: float, colour: str) -> None:
    """Each pattern in one of a few pale colours, that of ``x`` in its own."""
    side = (np.arange(_PIXELS) + 0.5) / _PIXELS * 2 * reach - reach
    u = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    unit = cell.x / np.linalg.norm(cell.x)
    outputs = (unit + u @ perpendicular_basis(cell.x).T) @ cell.weight.T
    kth = np.partition(outputs, cell.width - cell.k, axis=1)[:, cell.width - cell.k, None]
    patterns = outputs >= kth
    # patterns are told apart by the sum of a random number for each winner
    numbers = np.random.default_rng(0).integers(0, 2**40, cell.width)
    colours = ((patterns @ numbers) % 1009 % NEIGHBOURS.N).reshape(_PIXELS, _PIXELS)
    extent = (-reach, reach, -reach, reach)
    axis.imshow(colours, cmap=NEIGHBOURS, origin="lower", extent=extent, interpolation="nearest", vmin=0)
    own = (patterns == cell.winners).all(axis=1).reshape(_PIXELS, _PIXELS).astype(float)
    axis.imshow(
        np.where(own > 0, 1.0, np.nan), cmap=ListedColormap([colour]), origin="lower", extent=extent, vmin=0, vmax=1
    )


def _name_edges(axis: Axes, cell: PatternCell, corners: Array, middle: Array) -> None:
    """At every edge that is long enough the winner and the loser that tie there, the winner inside."""
    basis, unit = perpendicular_basis(cell.x), cell.x / np.linalg.norm(cell.x)
    size = float(np.abs(corners).max())
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if np.linalg.norm(end - start) < 0.25 * size:
            continue
        place = (start + end) / 2
        outputs = cell.weight @ (unit + basis @ place)
        winner = int(np.argmin(np.where(cell.winners, outputs, np.inf)))
        loser = int(np.argmax(np.where(cell.winners, -np.inf, outputs)))
        along = (end - start) / np.linalg.norm(end - start)
        out = np.array([along[1], -along[0]])
        out = out if out @ (place - middle) > 0 else -out
        turn = math.degrees(math.atan2(along[1], along[0]))
        at = place + 0.07 * size * out
        axis.text(
            float(at[0]),
            float(at[1]),
            f"{winner} | {loser}",
            fontsize=8,
            color=LINE,
            ha="center",
            va="center",
            rotation=(turn + 90) % 180 - 90,
        )


def draw_space(axis: Any, cell: PatternCell) -> RadiusBracket:
    """The cell of an input of four dimensions as a solid, with ``x``, nearest boundary and witness.

    Args:
        axis: of a figure, with ``projection="3d"``.
        cell: of a layer without bias, four columns, bounded.

    Raises:
        InvalidArgumentError: another number of dimensions, a bias, or an unbounded cell, which has no picture.
    """
    _check(cell, 4)
    bracket, nearest = cell.radius(), cell.nearest_boundary()
    corners = offsets(cell, cell.vertices())  # refuses an unbounded cell
    sides = faces(corners)
    axis.add_collection3d(
        Poly3DCollection(
            [corners[side] for side in sides], facecolor=OWN, edgecolor=OWN, alpha=0.18, linewidth=1.2,
            label="same pattern as x",
        )
    )  # fmt: skip
    if bracket.witness is not None:
        far = offsets(cell, bracket.witness)[0]
        axis.plot(*np.array([[0, 0, 0], far]).T, "-", color=FAR, linewidth=1.2)
        axis.plot(*far[:, None], "D", color=FAR, markersize=7, label="witness: farthest x' with this pattern, |u| = R")
    near = nearest.distance * (nearest.direction @ perpendicular_basis(cell.x))
    axis.plot(*np.array([[0, 0, 0], near]).T, "-", color=NEAR, linewidth=1.2)
    axis.plot(*near[:, None], "s", color=NEAR, markersize=6, label="nearest boundary")
    axis.plot([0], [0], [0], "o", color="black", markersize=6, label="x")
    low, high = corners.min(axis=0), corners.max(axis=0)
    centre, half = (low + high) / 2, (high - low).max() / 2
    for name, place in zip("xyz", centre, strict=True):
        getattr(axis, f"set_{name}lim")(place - half, place + half)
    axis.set(xlabel="u₁", ylabel="u₂", zlabel="u₃")
    for side in (axis.xaxis, axis.yaxis, axis.zaxis):
        side.set_major_locator(MaxNLocator(4))
    axis.set_box_aspect((1, 1, 1))
    return bracket


def faces(corners: Array) -> list[npt.NDArray[np.intp]]:
    """The faces of the hull of points in space, each the indices of its corners in order.

    Qhull gives triangles: those with one normal and one offset, up to 1e-6 of the size, are one face.

    >>> cube = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    >>> sorted(len(face) for face in faces(cube))
    [4, 4, 4, 4, 4, 4]
    """
    size = float(np.ptp(corners, axis=0).max())
    hull = ConvexHull((corners - corners.mean(axis=0)) / size)
    sides: list[tuple[Array, set[int]]] = []
    for plane, triangle in zip(hull.equations, hull.simplices, strict=True):
        found = next((group for other, group in sides if np.abs(other - plane).max() < 1e-6), None)
        if found is None:
            sides.append((plane, set(triangle.tolist())))
        else:
            found.update(triangle.tolist())
    ordered = []
    for plane, group in sides:
        members = np.array(sorted(group))
        basis = perpendicular_basis(plane[:3])
        flat = (corners[members] - corners[members].mean(axis=0)) @ basis
        ordered.append(members[np.argsort(np.arctan2(flat[:, 1], flat[:, 0]))])
    return ordered


def _check(cell: PatternCell, input_dim: int) -> None:
    if cell.bias is not None:
        raise InvalidArgumentError("the cell has a bias: pictures are of layers without one.")
    if cell.input_dim != input_dim:
        raise InvalidArgumentError(f"the cell has {cell.input_dim} dimensions: this picture is of {input_dim}.")
