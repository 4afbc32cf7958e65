"""The vertices and the active rows of a cell, by Qhull and linear programmes: found here, proven in the certificate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.geometry.certificate import VertexCertificate, check_certificate
from kwta_theory.geometry.exact import Array
from kwta_theory.geometry.programmes import TOLERANCE, LinearProgramme, Polytope, polytope, recession

if TYPE_CHECKING:
    from kwta_theory.geometry.cell import PatternCell, Rows

LARGEST_INPUT_DIM = 6
_SLACKS = (0.0, 1e-9, 1e-7, 1e-5)
_DIRECTIONS = 20


def _intersect(space: Polytope, centre: Array, slack: float) -> tuple[Array, list[list[int]], Rows, Array]:
    """Vertices ``(v, t)``, their tight rows as positions in the rows returned, and how far each row was moved."""
    rows, others = space.rows, space.others
    while True:
        rng = np.random.default_rng(np.random.SeedSequence(len(rows)))
        matrix, offsets, norms = space.equations(rows)
        moved = slack * rng.uniform(1.0, 2.0, len(rows))
        table = np.hstack([-matrix, -(offsets + moved)[:, None]])
        found = HalfspaceIntersection(table, centre)
        points = found.intersections
        extra, extra_offsets, _ = space.equations(others)
        values = (points @ extra.T + extra_offsets).min(axis=0) if len(others) else np.zeros(0)
        violated = np.argsort(values, kind="stable")[: 4 * space.cell.input_dim]
        violated = violated[values[violated] < -TOLERANCE]
        if len(violated) == 0:
            return points, found.dual_facets, rows, moved * norms
        rows = np.append(rows, others[violated])
        others = np.delete(others, violated)


def certificate(space: Polytope, centre: Array) -> tuple[VertexCertificate, float, Array] | None:
    """All vertices by their tight rows, the bound that they prove, and the vertices; None where Qhull finds none.

    Where more rows than the dimension meet in a vertex, all rows are moved outwards by different tiny amounts.
    """
    frame = space.frame
    for slack in _SLACKS:
        try:
            points, facets, rows, moved = _intersect(space, centre, slack)
        except QhullError:
            continue
        if any(len(facet) != frame.dim + 1 for facet in facets):
            continue
        used, tight = np.unique(np.array(facets), return_inverse=True)
        unit = frame.unit if space.cell.bias is None else 1.0
        shift = moved[used] * frame.scale / unit
        found = VertexCertificate(rows[used], tight.reshape(len(facets), -1), shift)
        bound = check_certificate(space.cell, found)
        if math.isfinite(bound):
            return found, bound, points
    return None


def _bounded(cell: PatternCell) -> tuple[Polytope, Array]:
    from kwta_theory.geometry.radius import interior

    ray, rows = recession(cell)
    space = polytope(cell, rows)
    centre = interior(space)
    if ray is not None or space.box() is None:
        raise InvalidArgumentError("the cell is unbounded: vertices and active rows are listed for bounded cells only.")
    return space, centre


def vertices(cell: PatternCell) -> Array:
    """See :meth:`.PatternCell.vertices`. The vertices of the polytope of ``(u, tau)``, without ``tau``, their hull."""
    if cell.input_dim > LARGEST_INPUT_DIM:
        raise InvalidArgumentError(
            f"the cell has {cell.input_dim} dimensions: vertices are listed for at most {LARGEST_INPUT_DIM}."
        )
    space, centre = _bounded(cell)
    if space.frame.dim == 0:
        return cell.x[None].copy()
    points = _intersect(space, centre, 0.0)[0][:, :-1]
    if space.frame.dim == 1:
        points = np.array([points.min(axis=0), points.max(axis=0)])
    else:
        points = points[ConvexHull(points).vertices]
    return np.array([space.point(np.append(point, 0.0)) for point in points])


def active_rows(cell: PatternCell) -> Rows:
    """See :meth:`.PatternCell.active_rows`.

    Clarkson's method: a row is left out if even the rows known to be facets imply it; if not, the ray from a point
    inside to where it is violated hits a facet first. Rows hit by rays in random directions are facets to begin with.
    """
    space, centre = _bounded(cell)
    rows = np.append(space.rows, space.others)
    matrix, offsets, _ = space.equations(rows)
    depths = matrix @ centre + offsets
    rng = np.random.default_rng(np.random.SeedSequence(cell.input_dim))
    known: set[int] = set()

    def hit(direction: Array) -> int:
        speeds = -(matrix @ direction)
        with np.errstate(divide="ignore"):
            return int(np.argmin(np.where(speeds > 0, depths / np.where(speeds > 0, speeds, 1.0), np.inf)))

    for direction in rng.standard_normal((_DIRECTIONS * len(centre), len(centre))):
        known.add(hit(direction))
    for row in range(len(rows)):
        while row not in known:
            there = np.array(sorted(known))
            limit = np.vstack([matrix[there], matrix[row]])
            found = LinearProgramme(limit, np.append(offsets[there], offsets[row] + 1.0)).maximise(-matrix[row])
            if found is not None and matrix[row] @ found[0] + offsets[row] >= -TOLERANCE:
                break
            end = centre - matrix[row] if found is None else found[0]
            first = hit(end - centre)
            if first in known:  # the violation is within rounding
                break
            known.add(first)
    return np.sort(rows[np.array(sorted(known))]).astype(np.intp)
