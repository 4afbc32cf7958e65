"""The semidefinite relaxation with all products of inequalities, on the cell or on pieces of it.

With ``z = (v, t, 1)`` and the rows ``B`` of the cell, the row ``(0, ..., 0, 1)`` among them, ``Z = z z'`` satisfies

    maximise trace of the v-block of Z   subject to   B Z B' >= 0 entrywise,  Z semidefinite,  Z_last,last = 1.

``B Z B' >= 0`` are the products of all pairs of inequalities (reformulation-linearisation, Sherali and Adams). Its dual
multipliers ``L_ij >= 0`` make ``g e^2 - |v|^2 - sum L_ij b_i b_j`` a semidefinite form, which is the certificate.

All products cost little here. In Newton's matrix the products contribute ``sum_ij d_ij (b_i o b_j)(b_i o b_j)'``, which
is a rearrangement of the entries of ``K' D K``, where row ``i`` of ``K`` is ``b_i b_i'``: with ``N`` rows and ``p``
entries in ``Z`` that is ``N^2 p + N p^2`` operations instead of the ``N^2 p^2`` of a list of products. So the method is
a primal-dual interior-point method of our own (Nesterov-Todd scaling, predictor and corrector) in dense matrices, and
an iteration at 32 dimensions and 180 rows takes about 20 ms of one core. (In a trial a general solver, given 2,500 of
the 17,000 products as a list, took 1.5 minutes.)
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from kwta_theory.geometry.certificate import Leaf, ProductCertificate, Split, check_certificate
from kwta_theory.geometry.exact import Array

if TYPE_CHECKING:
    from kwta_theory.geometry.programmes import Polytope
    from kwta_theory.geometry.radius import Search

LARGEST_INPUT_DIM = 64
_ITERATIONS = 80
_TOLERANCE, _ROUGH = 2e-4, 1e-3
_TIGHT = 1.001
_NONZERO = 1e-10
_SHIFTS = (1e-7, 1e-5, 1e-3, 1e-1)


class Entries:
    """Symmetric matrices of one size as vectors of their upper triangles, and the rearrangements that Newton needs."""

    def __init__(self, size: int) -> None:
        self.upper = np.triu_indices(size)
        first, second = self.upper
        place = np.zeros((size, size), dtype=np.intp)
        place[self.upper] = np.arange(len(first))
        self.place = np.maximum(place, place.T)
        self.weights = np.where(first == second, 1.0, 2.0)
        self._pairs = (
            (self.place[np.ix_(first, first)], self.place[np.ix_(second, second)]),
            (self.place[first[:, None], second], self.place[second[:, None], first]),
        )
        self._flat = [a * len(first) + b for a, b in self._pairs]
        self._doubled = np.outer(self.weights, self.weights / 2)

    def gather(self, table: Array) -> Array:
        """``sum_ij d_ij (b_i o b_j)(b_i o b_j)'`` from ``table = K' D K``."""
        total = table.take(self._flat[0])
        total += table.take(self._flat[1])
        total *= self._doubled
        return total

    def kronecker(self, matrix: Array) -> Array:
        """The operator ``X -> V X V``."""
        flat = matrix[self.upper]
        (a, b), (c, d) = self._pairs
        total = flat.take(a)
        total *= flat.take(b)
        other = flat.take(c)
        other *= flat.take(d)
        total += other
        total *= self._doubled
        return total


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solve leaves: the relaxed matrix and the multipliers ``L``, symmetric, over all ordered pairs."""

    matrix: Array
    multipliers: Array


@np.errstate(all="ignore")  # where numbers overflow the last finite answer is returned
def solve(rows: Array, start: Array, entries: Entries, tolerance: float, enough: float) -> Solution:
    """The relaxation for the inequalities ``rows``, the last of which is ``(0, ..., 0, 1)``.

    Args:
        rows: ``(N, size)``.
        start: ``(size,)``, a point ``(v, t, 1)`` near the middle.
        entries: of the size.
        tolerance: of the duality gap, relative.
        enough: stop as soon as the bound is below this.
    """
    count, size = rows.shape
    products = entries.place.shape[0] + count * (count + 1) / 2
    half = np.full((count, count), 0.5)
    np.fill_diagonal(half, 1.0)  # every unordered pair once
    squares = rows[:, entries.upper[0]] * rows[:, entries.upper[1]]
    objective = np.diag(np.append(np.ones(size - 2), [0.0, 0.0]))
    corner = np.zeros((size, size))
    corner[-1, -1] = 1.0

    Z = np.outer(start, start) + 0.3 / size * (np.eye(size) - corner)
    S = np.maximum(rows @ Z @ rows.T, 1e-2)
    L, M, bound = 0.1 / S, 0.1 * np.linalg.inv(Z), 0.0
    best = Solution(Z, L * half)
    for _ in range(_ITERATIONS):
        dual = bound * corner - objective - rows.T @ (L * half) @ rows - M
        primal = rows @ Z @ rows.T - S
        gap = float(np.sum(L * S * half) + np.sum(Z * M))
        value = float(np.sum(objective * Z))
        if not math.isfinite(gap):
            break
        best = Solution(Z, L * half)
        if np.abs(dual).max() < 1e-5 and (gap < tolerance * abs(value) or bound < enough):
            break
        try:
            step = _Newton(rows, entries, half, squares, Z, S, L, M, primal, dual)
            dZ, dS, dL, dM, _ = step.direction(0.0, np.zeros(()))
            alpha, alpha_dual = _length(Z, dZ, S, dS), _length(M, dM, L, dL)
            after = float(np.sum((L + alpha_dual * dL) * (S + alpha * dS) * half))
            after += float(np.sum((Z + alpha * dZ) * (M + alpha_dual * dM)))
            centring = min(max(after / gap, 0.01) ** 3, 1.0)
            dZ, dS, dL, dM, change = step.direction(centring * gap / products, dL * dS * (alpha * alpha_dual))
            alpha, alpha_dual = (min(0.95 * length, 1.0) for length in (_length(Z, dZ, S, dS), _length(M, dM, L, dL)))
        except (np.linalg.LinAlgError, ValueError):  # not definite any more, or not finite: as far as float64 goes
            break
        Z, S = Z + alpha * dZ, S + alpha * dS
        L, M, bound = L + alpha_dual * dL, M + alpha_dual * dM, bound + alpha_dual * change
    return best


class _Newton:
    """One Newton system, factorised, for several right-hand sides."""

    def __init__(
        self,
        rows: Array,
        entries: Entries,
        half: Array,
        squares: Array,
        Z: Array,
        S: Array,
        L: Array,
        M: Array,
        primal: Array,
        dual: Array,
    ) -> None:
        self.rows, self.entries, self.half = rows, entries, half
        self.S, self.L, self.M, self.primal, self.dual = S, L, M, primal, dual
        system = entries.gather(squares.T @ ((L / S * half) @ squares))
        factor = np.linalg.cholesky(Z)
        values, vectors = np.linalg.eigh(factor.T @ M @ factor)
        scaled = linalg.solve_triangular(factor, vectors * np.maximum(values, 1e-300) ** 0.25, lower=True, trans=1)
        self.scaling = scaled @ scaled.T  # W^-1, where W M W = Z
        system += entries.kronecker(self.scaling)
        self.inverse = np.linalg.inv(Z)
        self.system = linalg.cho_factor(system[:-1, :-1], overwrite_a=True)  # Z_last,last stays 1

    def direction(self, target: float, correction: Array) -> tuple[Array, Array, Array, Array, float]:
        """Changes of ``Z, S, L, M`` and of the bound towards complementarity ``target``."""
        rows, half, entries = self.rows, self.half, self.entries
        toward = (target - correction - self.L * self.primal) / self.S - self.L
        toward_matrix = target * self.inverse - self.M
        right = rows.T @ (toward * half) @ rows + toward_matrix - self.dual
        flat = np.zeros(len(entries.weights))
        flat[:-1] = linalg.cho_solve(self.system, (right[entries.upper] * entries.weights)[:-1])
        dZ = flat[entries.place]
        moved = rows @ dZ @ rows.T
        dL = toward - self.L / self.S * moved
        dM = toward_matrix - self.scaling @ dZ @ self.scaling
        change = float((rows.T @ (dL * half) @ rows + dM - self.dual)[-1, -1])
        return dZ, moved + self.primal, dL, dM, change


def _length(matrix: Array, matrix_change: Array, values: Array, changes: Array) -> float:
    """How far one may go with ``matrix`` semidefinite and ``values`` not negative, at most 1 / 0.95."""
    factor = np.linalg.cholesky(matrix)
    turned = linalg.solve_triangular(factor, linalg.solve_triangular(factor, matrix_change, lower=True).T, lower=True)
    least = min(float(np.linalg.eigvalsh((turned + turned.T) / 2)[0]), float((changes / values).min()))
    return min(-1.0 / least, 1.0 / 0.95) if least < 0 else 1.0 / 0.95


class Piece:
    """A part of the cell with its relaxation: inequalities, multipliers, bound on ``|v|^2``, and how to cut it."""

    def __init__(self, rows: Array, cuts: list[Array], tree: _Tree) -> None:
        self.rows, self.cuts, self.tree = rows, cuts, tree
        self.children: tuple[Array, Piece, Piece] | None = None
        self.multipliers = np.zeros((len(rows), len(rows)))
        self.bound = math.inf
        self.middle, self.axis, self.spread = np.zeros(0), np.zeros(0), 0.0

    def solve(self, start: Array, tolerance: float, enough: float, parent: Piece | None = None) -> None:
        """Solve the relaxation; a piece that does worse than what it is cut from takes over the multipliers of that."""
        found = solve(self.rows, start, self.tree.entries, tolerance, enough)
        self.multipliers = found.multipliers
        self.bound = self.shifted(_SHIFTS[0])[1]
        if parent is not None and not self.bound <= parent.bound:
            last = len(parent.rows) - 1
            self.multipliers = np.insert(np.insert(parent.multipliers, last, 0.0, axis=0), last, 0.0, axis=1)
            self.bound = parent.bound
        self.middle = found.matrix[:, -1].copy()
        centred = found.matrix[:-2, :-2] - np.outer(self.middle[:-2], self.middle[:-2])
        values, vectors = np.linalg.eigh(centred)
        self.axis, self.spread = vectors[:, -1], math.sqrt(max(float(values[-1]), 0.0))

    @np.errstate(all="ignore")
    def shifted(self, shift: float) -> tuple[Array, float]:
        """Multipliers that leave a definite form with room ``shift``, and the bound that they give.

        The multipliers of a solver leave a form whose smallest eigenvalue may be a little below zero. Those of the box,
        ``sum over axes of (h - v_a)(h + v_a)``, have the form ``-|v|^2`` (and ``-t^2``): as much of them is added.
        """
        last = len(self.tree.box) - 1
        box = np.zeros_like(self.multipliers)
        keep = np.append(np.arange(last), len(self.rows) - 1)
        box[np.ix_(keep, keep)] = self.tree.box
        form = -self.tree.objective - self.rows.T @ self.multipliers @ self.rows
        least = float(np.linalg.eigvalsh(form[:-1, :-1])[0])
        multipliers = self.multipliers + max(shift - least, 0.0) * box
        form = -self.tree.objective - self.rows.T @ multipliers @ self.rows
        try:
            factor = linalg.cho_factor(form[:-1, :-1])
        except np.linalg.LinAlgError:
            return multipliers, math.inf
        bound = float(form[:-1, -1] @ linalg.cho_solve(factor, form[:-1, -1]) - form[-1, -1])
        return multipliers, bound if math.isfinite(bound) else math.inf

    def cut(self) -> None:
        """Cut where the relaxed matrix is spread most, through its middle, and solve both parts."""
        row = np.concatenate([self.axis, [0.0, -float(self.axis @ self.middle[:-2])]])
        parts = []
        for sign in (1.0, -1.0):
            rows = np.insert(self.rows, len(self.rows) - 1, sign * row, axis=0)
            part = Piece(rows, [*self.cuts, sign * row], self.tree)
            start = np.append(self.middle[:-1], 1.0)
            start[:-2] += sign * self.spread / 2 * self.axis
            part.solve(start, _ROUGH, self.tree.enough(), self)
            parts.append(part)
        self.children = (row, parts[0], parts[1])


class _Tree:
    """The pieces of a cell, in coordinates where the farthest point known has length 1."""

    def __init__(self, space: Polytope, heights: Array, multipliers: Array, search: Search) -> None:
        self.space, self.search = space, search
        self.size = search.best
        touched = np.any(multipliers > _NONZERO, axis=(0, 1))
        touched = np.pad(touched, (0, len(space.rows) - len(touched)))
        points = np.array([y for _, y in search.found])
        touched = touched | ((points @ space.matrix.T + space.offsets) < 1e-7).any(axis=0)
        self.kept = np.flatnonzero(touched)
        rows = np.hstack([space.matrix[self.kept], space.offsets[self.kept, None] / self.size])
        self.lengths = np.linalg.norm(rows[:, :-1], axis=1)
        self.rows = np.vstack([rows, np.append(np.zeros(rows.shape[1] - 1), 1.0)])
        self.entries = Entries(rows.shape[1])
        self.objective = np.diag(np.append(np.ones(space.frame.dim), [0.0, 0.0]))
        table = np.pad(multipliers, ((0, 0), (0, 0), (0, len(space.rows) - multipliers.shape[2])))[:, :, self.kept]
        scaled = heights / self.size
        gaps = scaled.max(axis=0) - scaled
        ends = np.concatenate([table, gaps[:, :, None]], axis=2)
        box = np.einsum("ai,aj->ij", ends[0], ends[1])
        self.box = (box + box.T) / 2

    def enough(self) -> float:
        """A squared bound that leaves nothing to gain."""
        return (self.search.best / self.size * _TIGHT) ** 2

    def forms(self, row: Array) -> Array:
        """A cut in the coordinates of certificates."""
        frame, cell = self.space.frame, self.space.cell
        way = frame.basis @ row[:-2]
        offset = row[-1] * frame.scale * self.size
        if cell.bias is None:
            return np.append(way + offset * cell.x / frame.unit, 0.0)
        return np.concatenate([way, [0.0, offset - way @ cell.x]])

    def node(self, piece: Piece, shift: float) -> Split | Leaf:
        """The tree of a certificate."""
        if piece.children is not None:
            row, above, below = piece.children
            return Split(self.forms(row), self.node(above, shift), self.node(below, shift))
        frame = self.space.frame
        factors = np.full(len(piece.rows), frame.unit)
        factors[: len(self.kept)] /= self.space.norms[self.kept]
        factors[-1] = frame.scale * self.size
        table = piece.shifted(shift)[0]
        # as many binary digits as matter in these coordinates: exact arithmetic is faster, the shift leaves more room
        exponents = np.frexp(factors)[1]
        digits = np.add.outer(exponents, exponents) + (math.frexp(float(table.max()))[1] - 50)
        return Leaf(np.ldexp(np.round(np.ldexp(table * np.outer(factors, factors), -digits)), digits))


def pieces_allowed(input_dim: int) -> int:
    """How often a cell is cut at most: a fixed number, so that results do not depend on the machine."""
    return min(400, max(4, int(40 * (32 / input_dim) ** 5)))


def certificate(
    space: Polytope, centre: Array, heights: Array, multipliers: Array, search: Search, *, branching: bool
) -> tuple[ProductCertificate, float]:
    """The certificate of the relaxation and the bound that it proves; see :func:`.radius.bracket`."""
    tree = _Tree(space, heights, multipliers, search)
    root = Piece(tree.rows, [], tree)
    root.solve(np.append(centre / tree.size, 1.0), _TOLERANCE, tree.enough())
    _look(root, search)
    if branching:
        heap = [(-root.bound, 0, root)]
        for number in range(pieces_allowed(space.cell.input_dim)):
            if -heap[0][0] <= tree.enough():
                break
            worst = heapq.heappop(heap)[2]
            worst.cut()
            assert worst.children is not None
            for side, part in enumerate(worst.children[1:]):
                _look(part, search)
                heapq.heappush(heap, (-part.bound, 2 * number + side + 1, part))
    for shift in _SHIFTS:
        found = ProductCertificate(space.rows[tree.kept], tree.node(root, shift))
        bound = check_certificate(space.cell, found)
        if math.isfinite(bound):
            break
    return found, bound


def _look(piece: Piece, search: Search) -> None:
    """Search for far points where the relaxation sees them."""
    for direction in (piece.middle[:-2], piece.axis, -piece.axis):
        search.climb(direction)
