"""Known sets of unit vectors with small pairwise cosines (spherical codes), to test bounds against."""

from __future__ import annotations

import itertools
import math
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt

from kwta_theory.checks import check_integer, check_number

Points = npt.NDArray[np.float64]

GOLDEN = (1.0 + math.sqrt(5.0)) / 2.0
# Polygons of more corners than this are not written down.
MOST_CORNERS = 10_000


def largest_cosine(points: Points) -> float:
    """The largest cosine of two different rows of unit vectors, shape ``(N, m)``; -1 for a single row.

    >>> largest_cosine(cross_polytope(3))
    0.0
    """
    cosines = points @ points.T
    np.fill_diagonal(cosines, -1.0)
    return float(cosines.max())


def regular_polygon(corners: SupportsIndex) -> Points:
    """The corners of a regular polygon, cosine ``cos(2 pi / corners)``."""
    corners = check_integer("corners", corners, minimum=1)
    angles = 2.0 * math.pi * np.arange(corners) / corners
    return np.column_stack([np.cos(angles), np.sin(angles)])


def simplex(input_dim: SupportsIndex) -> Points:
    """The ``m + 1`` corners of a regular simplex in ``R^m``, all cosines ``-1/m``.

    >>> round(largest_cosine(simplex(4)), 12)
    -0.25
    """
    m = check_integer("input_dim", input_dim, minimum=1)
    # e_i for i <= m and c (1, ..., 1), equally far from one another, about their mean.
    corners = np.vstack([np.eye(m), np.full(m, (1.0 - math.sqrt(1.0 + m)) / m)])
    corners -= corners.mean(axis=0)
    return corners / np.linalg.norm(corners, axis=1, keepdims=True)


def cross_polytope(input_dim: SupportsIndex) -> Points:
    """``+-e_i``, ``2 m`` vectors with cosines 0 and -1."""
    m = check_integer("input_dim", input_dim, minimum=1)
    return np.vstack([np.eye(m), -np.eye(m)])


def icosahedron() -> Points:
    """The 12 corners of the icosahedron in ``R^3``, cosine ``1/sqrt(5) = 0.447``.

    >>> round(largest_cosine(icosahedron()) ** 2, 12)
    0.2
    """
    corners = [np.roll((0.0, s, t * GOLDEN), shift) for shift in range(3) for s in (1, -1) for t in (1, -1)]
    return np.array(corners) / math.sqrt(1.0 + GOLDEN**2)


def cell_600() -> Points:
    """The 120 corners of the 600-cell in ``R^4``, cosine ``cos(36 degrees) = 0.809``.

    >>> len(cell_600()), round(largest_cosine(cell_600()), 6)
    (120, 0.809017)
    """
    halves = [np.array(signs) for signs in itertools.product((0.5, -0.5), repeat=4)]
    even = []
    for order in itertools.permutations(range(4)):
        inversions = sum(order[i] > order[j] for i, j in itertools.combinations(range(4), 2))
        if inversions % 2 == 0:
            for signs in itertools.product((0.5, -0.5), repeat=3):
                row = np.array([signs[0] * GOLDEN, signs[1], signs[2] / GOLDEN, 0.0])
                even.append(row[list(order)])
    return np.vstack([cross_polytope(4), halves, even])


def root_system_d(input_dim: SupportsIndex) -> Points:
    """``(+-e_i +- e_j)/sqrt(2)``, ``2 m (m - 1)`` vectors with largest cosine 1/2; for ``m = 4`` the 24-cell.

    >>> len(root_system_d(4)), round(largest_cosine(root_system_d(4)), 12)
    (24, 0.5)
    """
    m = check_integer("input_dim", input_dim, minimum=2)
    first, second = np.triu_indices(m, 1)
    axes = np.eye(m)
    rows = [s * axes[first] + t * axes[second] for s in (1, -1) for t in (1, -1)]
    return np.vstack(rows) / math.sqrt(2.0)


def root_system_e8() -> Points:
    """The 240 shortest vectors of the lattice E8, largest cosine 1/2: the best kissing configuration in ``R^8``.

    >>> len(root_system_e8()), round(largest_cosine(root_system_e8()), 12)
    (240, 0.5)
    """
    halves = np.array(
        [signs for signs in itertools.product((0.5, -0.5), repeat=8) if sum(s < 0 for s in signs) % 2 == 0]
    )
    return np.vstack([root_system_d(8), halves / math.sqrt(2.0)])


def constructed(input_dim: SupportsIndex, cosine: SupportsFloat) -> list[tuple[str, Points]]:
    """The sets above that fit into ``R^m`` with cosines at most ``c``, the polygon with the most corners that do.

    Args:
        input_dim: ``m``, at least 1.
        cosine: ``c`` in [0, 1).

    >>> [name for name, _ in constructed(4, 0.6)]
    ['simplex', 'cross-polytope', 'regular polygon', 'icosahedron', '24-cell']
    """
    m = check_integer("input_dim", input_dim, minimum=1)
    c = check_number("cosine", cosine, 0.0, 1.0, open_maximum=True)
    sets = [("simplex", simplex(min(m, 100))), ("cross-polytope", cross_polytope(min(m, 100)))]
    if m >= 2:
        # 2 pi / angle, less a guard against rounding; the angle of c by its half, which is exact next to 1.
        angle = 2.0 * math.asin(math.sqrt(0.5 * (1.0 - c)))
        sets.append(("regular polygon", regular_polygon(min(MOST_CORNERS, math.floor(2.0 * math.pi / angle + 1e-9)))))
    for dim, name, build in ((3, "icosahedron", icosahedron), (4, "600-cell", cell_600), (8, "E8", root_system_e8)):
        if m >= dim:
            sets.append((name, build()))
    if m >= 4:
        sets.append(("24-cell", root_system_d(4)))
    return [(name, points) for name, points in sets if largest_cosine(points) <= c + 1e-12]
