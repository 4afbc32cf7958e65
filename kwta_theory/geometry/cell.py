"""The cell of an activation pattern of one layer: the inputs that share the pattern of ``x``."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np
import numpy.typing as npt

from kwta_theory.checks import InvalidArgumentError, check_integer
from kwta_theory.geometry import exact
from kwta_theory.geometry.exact import Array

if TYPE_CHECKING:
    from kwta_theory.geometry.boundaries import Boundary
    from kwta_theory.geometry.radius import RadiusBracket

Rows = npt.NDArray[np.intp]

LARGEST_INPUT_DIM = 256
_LARGEST, _SMALLEST = 1e100, 1e-100


def pattern_cell(
    weight: npt.ArrayLike, x: npt.ArrayLike, k: SupportsIndex, bias: npt.ArrayLike | None = None
) -> PatternCell:
    """The cell of the pattern that ``k`` winners take all has at ``x`` in the layer ``W x + b``.

    The pattern is that of the paper (Section 2.1): the ``k`` largest outputs, ties to the smaller index. It is decided
    exactly for the float64 numbers given: floating point sorts out the rows that are clear by a proven error bound, the
    others are compared in rational numbers.

    What distance means:

    - Without a bias the pattern does not change along a ray, the cell is a convex cone. A point is ``x' ~ x/|x| + u``
      with ``u`` perpendicular to ``x``: ``|u|`` is the tangent of the angle between ``x`` and ``x'``, and ``|u|^2`` is
      the ``beta = d^2(x, x')/|x|^2`` of Theorem 1, ``d`` being the distance from ``x'`` to the line of ``x``, with
      ``x'`` scaled to have the component ``x`` along it. A cell that reaches an angle of 90 degrees or more has radius
      infinity: it is convex, so it contains every smaller angle on the way.
    - With a bias it is a polyhedron, and the distance is ``|x' - x|``.

    Args:
        weight: ``W``, ``(width, input_dim)``, real numbers; taken in float64. ``input_dim`` at most 256. An array of
            float64 is not copied, because it may be large: do not change it as long as the cell is used.
        x: ``(input_dim,)``.
        k: number of winners, ``1 <= k < width``.
        bias: ``b``, ``(width,)``, or None.

    Raises:
        InvalidArgumentError: for a shape, number or ``k`` outside this; for a zero ``x`` without a bias, which has no
            direction; for numbers so large or small that their squares leave float64.

    Source: Theorems 1, 8 and 9 ("for every x'").

    >>> cell = pattern_cell([[1.0, 0.0], [0.5, 1.0], [0.5, -1.0]], [1.0, 0.0], k=1)
    >>> cell.contains([1.0, 0.4]), cell.contains([1.0, 0.6])  # the first output leads until |x'_2| = x'_1 / 2
    (True, False)
    >>> round(cell.nearest_boundary().distance, 12), round(cell.radius().upper, 9)
    (0.5, 0.5)
    """
    weight_array = _real("weight", weight, 2, copy=False)
    width, input_dim = weight_array.shape
    x_array = _real("x", x, 1)
    if len(x_array) != input_dim:
        raise InvalidArgumentError(f"x has length {len(x_array)}: it must be {input_dim}, the columns of weight.")
    if input_dim > LARGEST_INPUT_DIM:
        raise InvalidArgumentError(f"weight has {input_dim} columns: at most {LARGEST_INPUT_DIM} are treated.")
    bias_array = None if bias is None else _real("bias", bias, 1)
    if bias_array is not None and len(bias_array) != width:
        raise InvalidArgumentError(f"bias has length {len(bias_array)}: it must be {width}, the rows of weight.")
    if bias_array is None and not x_array.any():
        raise InvalidArgumentError("x is zero: without a bias a zero input has no direction, and every output ties.")
    k = check_integer("k", k, minimum=1)
    if k >= width:
        raise InvalidArgumentError(
            f"k={k} is not below the {width} rows of weight: with no loser every input has the same pattern."
        )
    return PatternCell(weight_array, x_array, k, bias_array)


def _real(name: str, values: npt.ArrayLike, ndim: int, *, copy: bool = True) -> Array:
    """In float64, not to be written to, finite, its size within what can be squared."""
    sentence = f"{name} is not an array of real numbers with {ndim} dimension{'s' if ndim > 1 else ''}"
    try:
        given = np.asarray(values)
        if given.dtype.kind not in "biufO":
            raise TypeError
        with np.errstate(over="ignore"):
            array = (
                np.array(given, dtype=np.float64, order="C") if copy else np.ascontiguousarray(given, dtype=np.float64)
            )
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last: a tensor that requires its gradient
        raise InvalidArgumentError(f"{sentence}.") from None
    if array.ndim != ndim or 0 in array.shape:
        raise InvalidArgumentError(f"{sentence}: its shape is {array.shape}.")
    largest = max(float(array.max()), -float(array.min()))  # NaN stays NaN
    if not np.isfinite(largest):
        raise InvalidArgumentError(f"{name} has NaN or infinity: every entry must be finite.")
    if largest > _LARGEST or (0 < largest < _SMALLEST):
        raise InvalidArgumentError(
            f"{name} has largest entry {largest:g}: it must be zero or in [{_SMALLEST:g}, {_LARGEST:g}], so that "
            "squares stay within float64."
        )
    array = array.view()
    array.setflags(write=False)
    return array


class PatternCell:
    """The inputs with the pattern of ``x``; made by :func:`pattern_cell`, which says what distance means.

    Attributes:
        weight, x, k, bias: the layer and the input, float64, read-only.
        winners: mask of the pattern, ``(width,)``.
        tie: a winner and a loser whose outputs at ``x`` are exactly equal, or None. With a tie, ``x`` lies on the
            boundary of its cell.
    """

    def __init__(self, weight: Array, x: Array, k: int, bias: Array | None) -> None:
        self.weight, self.x, self.k, self.bias = weight, x, k, bias
        self.winners, self.tie = self._pattern()

    def __repr__(self) -> str:
        kind = "cone" if self.bias is None else "polyhedron"
        return f"PatternCell(width={self.width}, input_dim={self.input_dim}, k={self.k}, {kind})"

    @property
    def width(self) -> int:
        """Rows of the layer."""
        return len(self.weight)

    @property
    def input_dim(self) -> int:
        """Columns of the layer."""
        return self.weight.shape[1]

    @cached_property
    def row_norms(self) -> Array:
        """``|w_i|``, ``(width,)``."""
        return np.sqrt(np.einsum("ij,ij->i", self.weight, self.weight))

    @cached_property
    def outputs(self) -> Array:
        """``W x + b``, ``(width,)``, in floating point."""
        return self._outputs(self.x)[0]

    def contains(self, points: npt.ArrayLike) -> bool | npt.NDArray[np.bool_]:
        """Whether points have the pattern of ``x``, exactly, the rule for ties included.

        Args:
            points: ``(input_dim,)`` or ``(N, input_dim)``.

        Returns:
            A truth value, or ``(N,)`` of them.
        """
        array = np.asarray(points)
        if array.ndim == 1:
            return self._has_pattern(self._point("points", points))
        checked = _real("points", points, 2)
        return np.array([self._has_pattern(self._point("points", point)) for point in checked])

    def nearest_boundary(self) -> Boundary:
        """The nearest point with another pattern, over all directions, in closed form (:mod:`.boundaries`)."""
        from kwta_theory.geometry.boundaries import nearest_boundary

        return nearest_boundary(self)

    def boundary_along(self, directions: npt.ArrayLike) -> Array:
        """How far ``x`` may move in each direction before its pattern changes (:mod:`.boundaries`).

        Args:
            directions: ``(input_dim,)`` or ``(N, input_dim)``, not zero. Without a bias their components perpendicular
                to ``x`` are taken, which must not vanish.

        Returns:
            Distances, ``()`` or ``(N,)``; infinity where the pattern never changes.
        """
        from kwta_theory.geometry.boundaries import boundary_along

        array = np.asarray(directions)
        checked = _real("directions", directions, 1 if array.ndim == 1 else 2)
        if checked.shape[-1] != self.input_dim:
            raise InvalidArgumentError(
                f"directions has shape {checked.shape}: its last dimension must be {self.input_dim}."
            )
        found = boundary_along(self, np.atleast_2d(checked))
        return found[0] if checked.ndim == 1 else found

    def radius(self, effort: str = "relaxation", seed: int = 0) -> RadiusBracket:
        """A certified bracket of the radius, the supremum of the distance over the cell (:func:`.radius.bracket`).

        Args:
            effort: ``"box"`` (linear programmes only), ``"relaxation"`` (the semidefinite relaxation with all products;
                at most 64 dimensions; vertices, which is exact, up to 6) or ``"branching"`` (the relaxation on pieces
                of the cell until the bracket is tight or the pieces are used up).
            seed: of the directions from which the search for far points starts. The bracket is certified for any.
        """
        from kwta_theory.geometry.radius import bracket

        return bracket(self, effort, seed)

    def active_rows(self) -> Rows:
        """Rows that hold the threshold somewhere in the cell: the smallest winner or the largest loser at some point.

        These are the facets of the polyhedron of ``(x', tau)``, by linear programmes in floating point. All others can
        be left out: the cell stays the same.
        """
        from kwta_theory.geometry.enumeration import active_rows

        return active_rows(self)

    def vertices(self) -> Array:
        """The vertices of the cell, ``(vertices, input_dim)``, in floating point; up to 6 dimensions.

        Without a bias the cell is cut at ``x . x' = |x|^2``: the points are ``x' = x + |x| u``.

        Raises:
            InvalidArgumentError: for more dimensions, an unbounded cell or one without interior.
        """
        from kwta_theory.geometry.enumeration import vertices

        return vertices(self)

    def squared_distance(self, y: Sequence[int | Fraction]) -> Fraction:
        """The squared distance of a point in homogeneous coordinates (:mod:`.certificate`), exactly; ``e(y) > 0``."""
        x = [Fraction(value) for value in self.x.tolist()]
        point = y[: self.input_dim]
        if self.bias is not None:
            return sum(((Fraction(a, y[-1]) - b) ** 2 for a, b in zip(point, x, strict=True)), start=Fraction(0))
        along = sum((a * b for a, b in zip(point, x, strict=True)), start=Fraction(0))
        size = sum((b * b for b in x), start=Fraction(0))
        return size * sum((Fraction(a) ** 2 for a in point), start=Fraction(0)) / along**2 - 1

    def forms(self, rows: Rows) -> Array:
        """Coefficients of the inequalities ``b_i(y) >= 0`` over ``(x', tau)`` or ``(x', tau, 1)``, without rounding."""
        sign = np.where(self.winners[rows], 1.0, -1.0)[:, None]
        parts = [self.weight[rows], -np.ones((len(rows), 1))]
        if self.bias is not None:
            parts.append(self.bias[rows, None])
        return sign * np.hstack(parts)

    def unit_form(self) -> Array:
        """Coefficients of ``e(y)``, which is positive on the cell."""
        if self.bias is None:
            return np.append(self.x, 0.0)
        return np.append(np.zeros(self.input_dim + 1), 1.0)

    def _point(self, name: str, point: npt.ArrayLike) -> Array:
        array = _real(name, point, 1)
        if len(array) != self.input_dim:
            raise InvalidArgumentError(f"{name} has length {len(array)}: it must be {self.input_dim}.")
        return array

    def _outputs(self, point: Array, *, with_bias: bool = True) -> tuple[Array, Array]:
        """Outputs and a bound on their errors.

        In any order of summation ``|fl(w . x) - w . x| <= m u / (1 - m u) |w| |x|`` with ``u = 2^-53`` (Higham,
        Accuracy and Stability of Numerical Algorithms, Section 3.1, and Cauchy-Schwarz). Taken here: ``(m + 8) 2^-52``,
        more than twice that, which covers the rounding of the norms and of this bound; products that underflow add at
        most ``m 2^-1074``, covered by ``1e-300``.
        """
        values = self.weight @ point
        sizes = self.row_norms * np.linalg.norm(point)
        if self.bias is not None and with_bias:
            values = values + self.bias
            sizes = sizes + np.abs(self.bias)
        return values, (len(point) + 8) * 2.0**-52 * sizes + 1e-300

    def _exact(self, rows: Rows, point: Array, *, with_bias: bool = True) -> list[Fraction]:
        bias = self.bias[rows] if self.bias is not None and with_bias else None
        return exact.outputs(self.weight[rows], bias, point)

    def _pattern(self) -> tuple[npt.NDArray[np.bool_], tuple[int, int] | None]:
        values, errors = self._outputs(self.x)
        low, high = values - errors, values + errors
        last = self.width - self.k
        # above the (k+1)-th largest upper end: at most k - 1 others can be larger; below the k-th largest lower end:
        # k others are
        winners = low > np.partition(high, last - 1)[last - 1]
        close = np.flatnonzero(~winners & ~(high < np.partition(low, last)[last]))
        if len(close) == 0:
            return winners, None
        found = self._exact(close, self.x)
        order = sorted(range(len(close)), key=lambda place: (-found[place], place))
        taken = self.k - int(winners.sum())
        winners[close[order[:taken]]] = True
        if 0 < taken < len(close) and found[order[taken - 1]] == found[order[taken]]:
            return winners, (int(close[order[taken - 1]]), int(close[order[taken]]))
        return winners, None

    def _has_pattern(self, point: Array) -> bool:
        values, errors = self._outputs(point)
        return self._separated(values, errors, point, weakly=False, with_bias=True)

    def allows_ray(self, ray: Array) -> bool:
        """Whether ``x + s ray`` has the pattern of ``x`` for every ``s >= 0`` and goes to infinite distance, exactly.

        Along the ray ``W (x + s v) + b`` changes by ``s W v``: what beats another output at ``x`` still does where no
        winner of ``W v`` is below a loser. Without a bias it must also leave the direction of ``x`` and reach 90
        degrees in the limit: ``v`` is no multiple of ``x`` and ``v . x <= 0``.
        """
        ray = self._point("ray", ray)
        if not ray.any():
            return False
        if self.bias is None:
            v, x = ([Fraction(value) for value in array.tolist()] for array in (ray, self.x))
            along = sum((a * b for a, b in zip(v, x, strict=True)), start=Fraction(0))
            if along > 0 or along**2 == sum(a * a for a in v) * sum(b * b for b in x):
                return False
        values, errors = self._outputs(ray, with_bias=False)
        return self._separated(values, errors, ray, weakly=True, with_bias=False)

    def _separated(self, values: Array, errors: Array, point: Array, *, weakly: bool, with_bias: bool) -> bool:
        """Whether every winner beats every loser; equal outputs go to the smaller index, or count as beating."""
        low, high, mask = values - errors, values + errors, self.winners
        ceiling = high[~mask].max()
        floor = low[mask].min()
        if floor > ceiling:
            return True
        if high[mask].min() < low[~mask].max():
            return False
        weak, strong = np.flatnonzero(mask & (low <= ceiling)), np.flatnonzero(~mask & (high >= floor))
        winners = self._exact(weak, point, with_bias=with_bias)
        losers = self._exact(strong, point, with_bias=with_bias)
        if weakly:
            return min(winners) >= max(losers)
        return min(zip(winners, (-weak).tolist(), strict=True)) > max(zip(losers, (-strong).tolist(), strict=True))
