"""Upper ends that anyone can check: multipliers, and a check in exact arithmetic that uses only them and the cell.

Notation. A point of the cell has homogeneous coordinates ``y``: without a bias ``y = (x', tau)``, with a bias
``y = (x', tau, 1)``, where ``tau`` lies between the smallest winner and the largest loser. Then

    b_i(y) = w_i . x' + b_i - tau >= 0 for winners,   b_j(y) = tau - w_j . x' - b_j >= 0 for losers,   e(y) > 0

with ``e(y) = x . x'`` without a bias and ``e(y) = 1`` with one. Any rows may be left out:
that makes the cell larger, so a bound on what is left is a bound. The square of the distance is ``N(y) / e(y)^2`` with
``N(y) = |x|^2 |x'|^2 - (x . x')^2`` (the squared tangent of the angle) without a bias, ``N(y) = |x' - x|^2`` with one.

Every coefficient of these forms is a float64 number of the layer, hence rational, and so is every multiplier. So a
certificate is an identity between rational numbers; the check rounds once, upwards, at the very end. Where the numbers
prove nothing it returns infinity: a damaged certificate can lose its bound, but not make a false one.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.geometry import exact
from kwta_theory.geometry.exact import Array, Integers

if TYPE_CHECKING:
    from kwta_theory.geometry.cell import PatternCell

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class BoxCertificate:
    """The cell lies in a box: for every axis two non-negative combinations of rows.

    Attributes:
        rows: the rows of the layer that are used, ``(rows,)``.
        multipliers: ``(2, input_dim, rows)``, not negative. ``multipliers[0, a]`` shows ``u_a <= h``,
            ``multipliers[1, a]`` shows ``-u_a <= h``.
    """

    rows: Rows
    multipliers: Array


@dataclass(frozen=True, eq=False)
class Leaf:
    """Multipliers of products, ``(n, n)``, not negative: of the rows, then the cuts on the way, then ``e``."""

    multipliers: Array


@dataclass(frozen=True, eq=False)
class Split:
    """The cell is cut by the hyperplane ``cut . y = 0`` (``cut`` over ``y``, the coordinate ``tau`` included)."""

    cut: Array
    above: Split | Leaf
    below: Split | Leaf


@dataclass(frozen=True, eq=False)
class ProductCertificate:
    """On every piece a sum of products of inequalities (the dual of the semidefinite relaxation with products).

    Attributes:
        rows: the rows of the layer that are used, ``(rows,)``.
        tree: how the cell was cut, and the multipliers of every piece.
    """

    rows: Rows
    tree: Split | Leaf


@dataclass(frozen=True, eq=False)
class VertexCertificate:
    """All vertices of the polytope, each by the rows that are tight in it.

    Attributes:
        rows: the rows of the layer that are used, ``(rows,)``.
        tight: positions in ``rows``, ``(vertices, dimension of the polytope in (u, tau))``.
        slack: by how much each row was moved outwards, ``b_i(y) + slack_i e(y) >= 0``, not negative; zero but in
            degenerate cells, where more rows than that meet in a point.
    """

    rows: Rows
    tight: npt.NDArray[np.intp]
    slack: Array


Certificate = BoxCertificate | ProductCertificate | VertexCertificate


def check_certificate(cell: PatternCell, certificate: Certificate) -> float:
    """The upper bound on the radius that a certificate proves; infinity where it proves none.

    Exact up to one rounding, upwards. Three kinds:

    - Box. ``v = sum_i lambda_i b_i`` is not negative on the cell. Its coefficient of ``tau`` is made zero by raising
      one multiplier, which is allowed. On ``x' = |x| (x/|x| + u)`` this reads ``v . x / |x| + v . u >= 0``, so with
      ``v = -e_a + r`` (any remainder ``r``, from the solver's tolerance) ``u_a <= v . x / |x| + |r| |u|``; likewise for
      ``-u_a``. With ``h_a, r_a`` the larger ones of the two, ``|u| <= |h| + |r| |u|``, so ``|u| <= |h| / (1 - |r|)``.
    - Products. If the form ``t e(y)^2 - N(y) - sum_ij L_ij f_i(y) f_j(y)`` is positive semidefinite, with ``L >= 0``
      and ``f`` the rows, the cuts and ``e``, then ``N <= t e^2`` on the piece. The smallest such ``t`` is computed by
      exact elimination. The radius is at most the root of the largest ``t`` of all pieces, which together are the cell.
    - Vertices. Each set of tight rows is solved exactly; the point must satisfy every other row strictly, so it is a
      vertex and its edges are what is left when one tight row is dropped. Every edge must be shared by exactly two of
      the vertices. The graph of a polytope is connected, so a set closed under edges holds all vertices; and no edge is
      a ray, so the polyhedron is bounded. A convex function is largest in a vertex.

    Raises:
        InvalidArgumentError: when the certificate is of no known kind or its parts do not fit together or the cell.
    """
    if not isinstance(certificate, BoxCertificate | ProductCertificate | VertexCertificate):
        raise InvalidArgumentError(
            f"certificate is a {type(certificate).__name__}: it must be a BoxCertificate, ProductCertificate or "
            "VertexCertificate."
        )
    rows = np.asarray(certificate.rows)
    if rows.ndim != 1 or rows.dtype.kind != "i" or (rows.size and (rows.min() < 0 or rows.max() >= cell.width)):
        raise InvalidArgumentError("certificate.rows must be a list of row numbers of the layer.")
    if isinstance(certificate, BoxCertificate):
        return _box(cell, rows, _multipliers(certificate.multipliers, (2, cell.input_dim, len(rows))))
    if isinstance(certificate, ProductCertificate):
        return _tree(cell, cell.forms(rows), [], certificate.tree)
    tight, slack = np.asarray(certificate.tight), _multipliers(certificate.slack, (len(rows),))
    if tight.ndim != 2 or tight.dtype.kind != "i" or (tight.size and (tight.min() < 0 or tight.max() >= len(rows))):
        raise InvalidArgumentError("certificate.tight must be a table of positions in certificate.rows.")
    return _vertices(cell, rows, tight, slack)


def _multipliers(values: Array, shape: tuple[int, ...]) -> Array:
    """What is negative or not finite proves nothing and is set to zero."""
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape:
        raise InvalidArgumentError(f"the certificate has multipliers of shape {values.shape}: it must be {shape}.")
    return np.where(np.isfinite(values) & (values > 0), values, 0.0)


def _square(values: Integers) -> int:
    return sum(value * value for value in values.tolist())


def _box(cell: PatternCell, rows: Rows, multipliers: Array) -> float:
    if cell.bias is None and cell.input_dim == 1:
        return 0.0  # a half-line: every point is a multiple of x
    forms, exponent = exact.integers(cell.forms(rows))
    point, point_exponent = exact.integers(cell.x)
    dim, size = cell.input_dim, _square(point)
    threshold = forms[:, dim]  # -1 for winners, +1 for losers, times a power of two
    bound, remainder = Fraction(0), Fraction(0)
    for axis in range(dim):
        heights, rests = [Fraction(0)], []
        for sign in (0, 1):
            used = np.flatnonzero(multipliers[sign, axis])
            factor, factor_exponent = exact.integers(multipliers[sign, axis, used])
            total = factor @ forms[used] if len(used) else np.zeros(forms.shape[1], dtype=object)
            if total[dim] != 0:  # raise a multiplier of the other side by exactly what is missing
                other = [row for row in used if (threshold[row] < 0) == (total[dim] > 0)]
                if not other:
                    return math.inf
                largest = max(other, key=lambda row: multipliers[sign, axis, row])
                # threshold is a power of two up to its sign, the same for every row: the division is exact
                total = total + forms[largest] * (abs(total[dim]) // abs(threshold[largest]))
            unit = Fraction(2) ** (exponent + factor_exponent)
            value = sum((a * b for a, b in zip(total[:dim].tolist(), point.tolist(), strict=True)), start=0)
            height = value * unit * Fraction(2) ** point_exponent
            if cell.bias is not None:
                height += total[dim + 1] * unit
            heights.append(max(height, Fraction(0)))
            rest = [entry * unit for entry in total[:dim].tolist()]
            rest[axis] += 1 if sign == 0 else -1
            square = sum((entry * entry for entry in rest), start=Fraction(0))
            if cell.bias is None:  # what lies along x is no remainder: u is perpendicular to x
                along = sum((a * b for a, b in zip(rest, point.tolist(), strict=True)), start=Fraction(0))
                square -= along * along / size
            rests.append(square)
        bound += max(heights) ** 2
        remainder += max(rests)
    if cell.bias is None:
        bound /= size * Fraction(4) ** point_exponent
    left = 1 - Fraction(exact.root_above(remainder)) if remainder < 1 else Fraction(0)
    return exact.root_above(bound / left**2) if left > 0 else math.inf


def _tree(cell: PatternCell, forms: Array, cuts: list[Array], node: Split | Leaf) -> float:
    if isinstance(node, Split):
        cut = np.asarray(node.cut, dtype=np.float64)
        if cut.shape != (forms.shape[1],) or not np.isfinite(cut).all():
            raise InvalidArgumentError(f"the certificate has a cut that is not {forms.shape[1]} finite numbers.")
        return max(
            _tree(cell, forms, [*cuts, cut], node.above),
            _tree(cell, forms, [*cuts, -cut], node.below),
        )
    everything = np.vstack([forms, *cuts, cell.unit_form()])
    return _products(cell, everything, _multipliers(node.multipliers, (len(everything), len(everything))))


def _products(cell: PatternCell, forms: Array, multipliers: Array) -> float:
    """The root of the smallest ``t`` with ``t e^2 - N - sum L_ij f_i f_j`` semidefinite."""
    f, f_exponent = exact.integers(forms)
    symmetric, exponent = exact.integers(multipliers)
    symmetric = symmetric + symmetric.T  # twice the multipliers: symmetric whatever was given
    point, point_exponent = exact.integers(cell.x)
    dim, size = cell.input_dim, forms.shape[1]
    product = f.T @ (symmetric @ f)
    distance = np.zeros((size, size), dtype=object)
    if cell.bias is None:
        distance[:dim, :dim] = -np.multiply.outer(point, point)
        distance[range(dim), range(dim)] += _square(point)
        distance_exponent = 2 * point_exponent
    else:
        one = 2 ** max(-point_exponent, 0)
        point = point * 2 ** max(point_exponent, 0)
        distance_exponent = 2 * min(point_exponent, 0)
        distance[range(dim), range(dim)] = one * one
        distance[:dim, -1] = distance[-1, :dim] = -one * point
        distance[-1, -1] = _square(point)
    product_exponent = 2 * f_exponent + exponent - 1
    least = min(product_exponent, distance_exponent)
    form = -product * 2 ** (product_exponent - least) - distance * 2 ** (distance_exponent - least)
    unit = Fraction(2) ** least
    if cell.bias is None:  # new coordinates, of which the last is e(y): x'_p = (e - sum of x_q x'_q, q != p) / x_p
        pivot = int(np.argmax(np.abs(cell.x)))
        others = [axis for axis in range(size) if axis != pivot]
        change = np.zeros((size, size), dtype=object)
        for column, axis in enumerate(others):
            change[axis, column] = point[pivot]
            change[pivot, column] = -point[axis] if axis < dim else 0
        change[pivot, -1] = 1
        form = change.T @ (form @ change)
        unit /= (point[pivot] * Fraction(2) ** point_exponent) ** 2  # e at the last axis is x_p, times its unit below
    corner = exact.least_corner(form)
    if corner is None:
        return math.inf
    return exact.root_above(max(corner * unit, Fraction(0)))


def _vertices(cell: PatternCell, rows: Rows, tight: npt.NDArray[np.intp], slack: Array) -> float:
    size = cell.input_dim + (1 if cell.bias is None else 2)
    if len(tight) == 0 or tight.shape[1] != size - 1:
        return math.inf
    bases = [tuple(sorted(row)) for row in tight.tolist()]
    edges = Counter(edge for basis in bases for edge in combinations(basis, size - 2))
    distinct = len(set(bases)) == len(bases) and all(len(set(basis)) == size - 1 for basis in bases)
    if not distinct or set(edges.values()) != {2}:
        return math.inf
    forms, exponent = exact.integers(cell.forms(rows))
    unit, unit_exponent = exact.integers(cell.unit_form())
    moved, moved_exponent = exact.integers(slack)
    shift = moved_exponent + unit_exponent - exponent
    forms = forms * 2 ** max(-shift, 0) + np.multiply.outer(moved * 2 ** max(shift, 0), unit)
    table = [row.tolist() for row in forms]
    points = []
    for basis in bases:
        point = exact.null_vector([table[row] for row in basis])
        if point is None:
            return math.inf
        points.append(point)
    y = np.array(points, dtype=object)
    height = y @ unit
    if (height == 0).any():
        return math.inf
    y = y * np.where(height < 0, -1, 1).astype(object)[:, None]
    positive = (y @ forms.T) > 0
    positive[np.arange(len(bases))[:, None], np.array(bases)] = True
    if not positive.all():
        return math.inf
    return exact.root_above(max(cell.squared_distance(point) for point in y.tolist()))
