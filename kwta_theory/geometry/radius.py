"""The radius of a cell from both sides: a witness below, a certificate above."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from kwta_theory.checks import InvalidArgumentError, check_integer
from kwta_theory.geometry import enumeration, exact, relaxation
from kwta_theory.geometry.certificate import BoxCertificate, Certificate, check_certificate
from kwta_theory.geometry.exact import Array
from kwta_theory.geometry.programmes import CertificationError, Polytope, polytope, recession

if TYPE_CHECKING:
    from kwta_theory.geometry.cell import PatternCell

EFFORTS = ("box", "relaxation", "branching")
"""Levels of effort, the cheapest first."""
_STARTS = {"box": 8, "relaxation": 32, "branching": 64}
_SHRINKS = 30
_FLAT = 1e-11


@dataclass(frozen=True, eq=False)
class RadiusBracket:
    """``lower <= R <= upper`` with the evidence for each end.

    Attributes:
        lower: the distance of the witness from ``x``, rounded downwards; infinity for a proven unbounded cell.
        upper: what the certificate proves, rounded upwards; infinity where nothing was proven. So it is for a cell that
            touches 90 degrees and reaches no further, or whose unbounded directions form a flat set: none of them may
            be a vector of float64, so there is no ray to check, and ``unbounded`` is False.
        witness: an input ``x'`` with the pattern of ``x``, checked exactly, at distance at least ``lower``. None for
            an unbounded cell, whose evidence is ``ray``.
        certificate: evidence for ``upper``; None where ``upper`` is infinite.
        ray: for a cell proven to be unbounded a direction ``v`` such that ``x + s v`` has the pattern of ``x`` for
            every ``s >= 0``, checked exactly (:meth:`.PatternCell.allows_ray`).
        effort: the effort that was asked for.
    """

    lower: float
    upper: float
    witness: Array | None
    certificate: Certificate | None
    ray: Array | None
    effort: str

    @property
    def unbounded(self) -> bool:
        """Whether the cell is proven to be unbounded (without a bias: to reach 90 degrees)."""
        return self.ray is not None

    @property
    def ratio(self) -> float:
        """``upper / lower``; 1 where both are zero or infinite."""
        if self.upper == self.lower:
            return 1.0
        return self.upper / self.lower if self.lower > 0 else math.inf

    @property
    def beta(self) -> tuple[float, float]:
        """The bracket of ``R^2``, rounded outwards: without a bias, the ``beta`` of Theorem 1."""
        return (
            self.lower if math.isinf(self.lower) else max(math.nextafter(self.lower**2, 0.0), 0.0),
            math.nextafter(self.upper**2, math.inf) if self.upper else 0.0,
        )


def bracket(cell: PatternCell, effort: str = "relaxation", seed: int = 0) -> RadiusBracket:
    """Bracket the radius of a cell (see :meth:`.PatternCell.radius`).

    Lower end. ``|u|^2`` is convex, so the step ``u <- argmax <u_t, u>`` over the polytope, one linear programme, never
    decreases it; it ends in a vertex. From random directions, the corners of the box and, with the relaxation, the
    directions that it points to. The best point, rounded to float64, is tested by k-WTA in exact arithmetic and moved
    towards a point deep inside until it passes.

    Upper end. By effort: a box (linear programmes); the relaxation, or up to 6 dimensions all vertices; the relaxation
    on pieces. Whatever the solvers say, :func:`.check_certificate` alone decides the number.

    Raises:
        InvalidArgumentError: for an effort that is not known or not for this many dimensions, and for a cell without
            interior (possible with ties at the threshold only), where no bracket in floating point is attempted.
        CertificationError: when a witness or a certificate that must exist was not found.
    """
    if effort not in EFFORTS:
        raise InvalidArgumentError(f"effort={effort!r} is not allowed: it must be one of {', '.join(EFFORTS)}.")
    seed = check_integer("seed", seed)
    if effort != "box" and cell.input_dim > relaxation.LARGEST_INPUT_DIM:
        raise InvalidArgumentError(
            f"effort={effort!r} is for at most {relaxation.LARGEST_INPUT_DIM} dimensions, the cell has "
            f"{cell.input_dim}: effort='box' brackets it."
        )
    ray, rows = recession(cell)
    if ray is not None and cell.allows_ray(ray):
        return RadiusBracket(math.inf, math.inf, None, None, ray, effort)
    space = polytope(cell, rows)
    centre = interior(space)
    bounds = space.box()
    if bounds is None:  # at 90 degrees to within rounding, with no ray that could be proven
        lower, witness = _checked(cell, space.point(centre), [space.point(centre)])
        return RadiusBracket(lower, math.inf, witness, None, None, effort)
    heights, multipliers, corners = bounds
    search = Search(space)
    rng = np.random.default_rng(np.random.SeedSequence([seed, cell.input_dim]))
    corners.sort(key=lambda y: -float(np.linalg.norm(y[:-1])))
    for y in corners[: _STARTS[effort] // 4]:
        search.climb(y[:-1])
    for direction in rng.standard_normal((_STARTS[effort], space.frame.dim)):
        search.climb(direction)
    certificate, upper = _certificate(space, effort, centre, heights, multipliers, search)
    lower, witness = _checked(cell, space.point(centre), search.far())
    if not lower <= upper:
        raise CertificationError(f"the witness at {lower!r} is beyond the certified bound {upper!r}.")
    return RadiusBracket(lower, upper, witness, certificate, None, effort)


def interior(space: Polytope) -> Array:
    """A point deep inside, at ``x`` where that is deep enough; raises where there is no interior."""
    centre, depth = space.centre()
    if depth <= _FLAT:
        tie = space.cell.tie
        because = f"rows {tie[0]} and {tie[1]} tie at the threshold" if tie else "its rows leave no room in float64"
        raise InvalidArgumentError(
            f"the cell of x has no interior together with its threshold: {because}. Its radius is not bracketed."
        )
    return centre


class Search:
    """Far points of a polytope, by successive linear programmes."""

    def __init__(self, space: Polytope) -> None:
        self.space = space
        self.found: list[tuple[float, Array]] = []

    def climb(self, direction: Array) -> None:
        """From a direction to a vertex that no further step improves."""
        best = -1.0
        while True:
            found = self.space.maximise(np.append(direction, 0.0))
            if found is None:
                raise CertificationError("a cell inside a box was called unbounded.")
            v = found[0][:-1]
            size = float(np.linalg.norm(v))
            if size <= best * (1 + 1e-9):
                return
            best, direction = size, v
            if size > 0:
                self.found.append((size, found[0]))

    @property
    def best(self) -> float:
        """The largest ``|v|`` so far."""
        return max((size for size, _ in self.found), default=0.0)

    def far(self) -> list[Array]:
        """The inputs that belong to the farthest point."""
        return [self.space.point(max(self.found, key=lambda pair: pair[0])[1])] if self.found else []


def _certificate(
    space: Polytope, effort: str, centre: Array, heights: Array, multipliers: Array, search: Search
) -> tuple[Certificate, float]:
    """The best certificate of an effort and what it proves."""
    table = np.pad(multipliers[:, :-1], ((0, 0), (0, 0), (0, len(space.rows) - multipliers.shape[2])))
    box = BoxCertificate(space.rows, table / space.norms)
    best: tuple[Certificate, float] = (box, check_certificate(space.cell, box))
    if effort == "box" or space.frame.dim == 0 or not search.best:
        return best
    if space.cell.input_dim <= enumeration.LARGEST_INPUT_DIM:
        vertices = enumeration.certificate(space, centre)
        if vertices is not None:
            search.found += [(float(np.linalg.norm(y[:-1])), y) for y in vertices[2]]
            return vertices[:2]
    products = relaxation.certificate(space, centre, heights, multipliers, search, branching=effort == "branching")
    return products if products[1] < best[1] else best


def _checked(cell: PatternCell, centre: Array, points: list[Array]) -> tuple[float, Array]:
    """The first point that passes, moved towards the centre by ever larger steps, and its distance, rounded down."""
    for point in points:
        size = float(np.linalg.norm(point - cell.x))
        share = 2.0**-53 * max(1.0, float(np.linalg.norm(cell.x)) / size) if size > 0 else 1.0  # rounding, in the cell
        for step in range(_SHRINKS):
            trial = point if step == 0 else point + min(1.0, share * 4.0**step) * (centre - point)
            if np.isfinite(trial).all() and cell.contains(trial):
                return distance_below(cell, trial), trial
    if not cell.contains(cell.x):
        raise CertificationError("x does not have the pattern of x.")
    return 0.0, np.array(cell.x)


def distance_below(cell: PatternCell, point: Array) -> float:
    """The distance of a point of the cell from ``x`` (see :func:`.pattern_cell`), exactly, rounded downwards."""
    y: list[Any] = [Fraction(value) for value in point.tolist()]
    if cell.bias is not None:
        y = [*y, Fraction(0), Fraction(1)]
    return exact.root_below(cell.squared_distance(y))
