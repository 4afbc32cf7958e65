"""Linear programmes over a cell, in floating point, with only the rows that matter. Nothing here is trusted.

HiGHS through ``highspy``, which keeps the basis from one objective to the next: with 192 rows at 32 dimensions a
programme took 1.1 ms of processor time, and 4.5 ms by ``scipy.optimize.linprog``, which starts afresh (30 random
objectives).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import highspy
import numpy as np

from kwta_theory.geometry.exact import Array

if TYPE_CHECKING:
    from kwta_theory.geometry.cell import PatternCell, Rows

TOLERANCE = 1e-9
"""Violations, in rows of length 1 and units of the cell, that linear programmes leave."""
_ADDED = 8
_PER_DIM = 3
_WIDE = 200


class CertificationError(RuntimeError):
    """A computation that ought to succeed for every cell did not; never an answer that is wrong."""


class _Silent(highspy.Highs):
    """HiGHS prints its licence when a model enables its callbacks, which the constructor does."""

    def enableCallbacks(self) -> highspy.HighsStatus:  # noqa: N802  (the name in highspy)
        self.silent()
        return super().enableCallbacks()


class LinearProgramme:
    """``maximise c . y`` subject to ``A y + a >= 0``; rows can be added, and the last basis is the next start."""

    def __init__(self, matrix: Array, offsets: Array, bound: float = highspy.kHighsInf) -> None:
        self.dim = matrix.shape[1]
        self._columns = np.arange(self.dim, dtype=np.int32)
        self._model = _Silent()
        for option, value in (("presolve", "off"), ("parallel", "off"), ("simplex_strategy", 4)):
            self._model.setOptionValue(option, value)
        self._model.addVars(self.dim, np.full(self.dim, -bound), np.full(self.dim, bound))
        self._model.changeObjectiveSense(highspy.ObjSense.kMaximize)
        self.add(matrix, offsets)

    def add(self, matrix: Array, offsets: Array) -> None:
        """Add rows."""
        count = len(matrix)
        starts = np.arange(0, count * self.dim, self.dim, dtype=np.int32)
        self._model.addRows(
            count,
            -offsets,
            np.full(count, highspy.kHighsInf),
            count * self.dim,
            starts,
            np.tile(self._columns, count),
            np.ascontiguousarray(matrix).ravel(),
        )

    def maximise(self, objective: Array) -> tuple[Array, Array] | None:
        """The point and the multipliers of the rows (not negative); None where there is no largest value."""
        self._model.changeColsCost(self.dim, self._columns, np.ascontiguousarray(objective, dtype=np.float64))
        self._model.run()
        status = self._model.getModelStatus()
        if status not in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kUnbounded):
            self._model.clearSolver()
            self._model.run()
            status = self._model.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            solution = self._model.getSolution()
            return np.array(solution.col_value), np.maximum(-np.array(solution.row_dual), 0.0)
        if status in (highspy.HighsModelStatus.kUnbounded, highspy.HighsModelStatus.kUnboundedOrInfeasible):
            return None
        raise CertificationError(f"a linear programme over the cell ended with the status {status.name}.")


@dataclass(frozen=True, eq=False)
class Frame:
    """Coordinates in which the cell has size about 1.

    ``x' = unit (x/unit + scale Q v)`` and ``tau = unit (level + scale (w . Q v + size t))``. The same vector ``w``
    may be taken from every row, because only differences of rows matter.

    Attributes:
        basis: ``Q``, ``(input_dim, n)`` with orthonormal columns, perpendicular to ``x`` without a bias.
        unit: ``|x|`` without a bias, 1 with one.
        scale: of the distances.
        common: ``w``, the mean of the rows near the threshold.
        size: of what is left of them, so that scaling the layer changes nothing.
        level: of the threshold, between the smallest winner and the largest loser at ``x``, divided by ``unit``.
    """

    basis: Array
    unit: float
    scale: float
    common: Array
    size: float
    level: float

    @property
    def dim(self) -> int:
        """Dimension of ``v``."""
        return self.basis.shape[1]


class Polytope:
    """The cell in a :class:`Frame`: ``A y + a >= 0`` over ``y = (v, t)``, rows of length 1, a part of the rows.

    Attributes:
        rows: of the layer, those in the programme; ``matrix``, ``offsets`` and ``norms`` (by which they were divided)
            belong to them.
        others: rows that may still be violated; the rest of the layer cannot be, inside the box that is known.
    """

    def __init__(self, cell: PatternCell, rows: Rows, others: Rows, frame: Frame) -> None:
        self.cell, self.frame = cell, frame
        self.rows, self.others = rows, others
        self.matrix, self.offsets, self.norms = self.equations(rows)
        self._other_matrix, self._other_offsets, _ = self.equations(others)
        self._programme = LinearProgramme(self.matrix, self.offsets)

    def equations(self, rows: Rows) -> tuple[Array, Array, Array]:
        """``A``, ``a`` and the lengths by which rows of the layer were divided."""
        frame = self.frame
        sign = np.where(self.cell.winners[rows], 1.0, -1.0)
        matrix = sign[:, None] * np.hstack(
            [(self.cell.weight[rows] - frame.common) @ frame.basis, np.full((len(rows), 1), -frame.size)]
        )
        # longer numbers where the machine has them: the cell may be far smaller than the outputs
        heights = self.cell.weight[rows].astype(np.longdouble) @ self.cell.x.astype(np.longdouble)
        if self.cell.bias is not None:
            heights = heights + self.cell.bias[rows]
        offsets = (sign * (heights / frame.unit - frame.level) / frame.scale).astype(np.float64)
        norms = np.linalg.norm(matrix, axis=1)
        return matrix / norms[:, None], offsets / norms, norms

    def maximise(self, objective: Array) -> tuple[Array, Array] | None:
        """The largest ``c . y`` over all rows that may matter: solve, add what is violated most, repeat."""
        while True:
            found = self._programme.maximise(objective)
            if found is None or len(self.others) == 0:
                return found
            values = self._other_matrix @ found[0] + self._other_offsets
            order = np.argsort(values, kind="stable")[:_ADDED]
            order = order[values[order] < -TOLERANCE]
            if len(order) == 0:
                return found
            self._add(order)

    def _add(self, order: Rows) -> None:
        """Take some of ``others``, by their positions, into the programme."""
        rows = self.others[order]
        matrix, offsets, norms = self.equations(rows)
        self.rows, self.norms = np.append(self.rows, rows), np.append(self.norms, norms)
        self.matrix, self.offsets = np.vstack([self.matrix, matrix]), np.append(self.offsets, offsets)
        self._programme.add(matrix, offsets)
        self.others = np.delete(self.others, order)
        self._other_matrix = np.delete(self._other_matrix, order, axis=0)
        self._other_offsets = np.delete(self._other_offsets, order)

    def point(self, y: Array) -> Array:
        """The input ``x'`` that belongs to ``y``."""
        return self.cell.x + self.frame.unit * (self.frame.scale * (self.frame.basis @ y[: self.frame.dim]))

    def box(self) -> tuple[Array, Array, list[Array]] | None:
        """Bounds in the directions of the axes of ``x'``, and of ``t``, both ways.

        Returns:
            The largest values and the largest negatives, ``(2, input_dim + 1)``, multipliers ``(2, input_dim + 1,
            rows)`` and the points where they are attained; None where a programme has no largest value.
        """
        axes = np.zeros((self.cell.input_dim + 1, self.frame.dim + 1))
        axes[:-1, :-1], axes[-1, -1] = self.frame.basis, 1.0
        heights, points, multipliers = np.zeros((2, len(axes))), [], []
        for sign in (0, 1):
            for number, axis in enumerate(axes):
                found = self.maximise(axis if sign == 0 else -axis)
                if found is None:
                    return None
                points.append(found[0])
                multipliers.append(found[1])
                heights[sign, number] = (1 - 2 * sign) * axis @ found[0]
        # rows that came later have multiplier zero in what was solved before, where they were not violated
        table = np.array([np.pad(row, (0, len(self.rows) - len(row))) for row in multipliers])
        return heights, table.reshape(2, len(axes), -1), points

    def centre(self) -> tuple[Array, float]:
        """A point deep inside and its distance from the boundary, in units of the frame, at most 1."""
        while True:
            matrix = np.hstack([self.matrix, -np.ones((len(self.matrix), 1))])
            top = np.zeros((1, matrix.shape[1]))
            top[0, -1] = -1.0
            programme = LinearProgramme(np.vstack([matrix, top]), np.append(self.offsets, 1.0), bound=1e6)
            found = programme.maximise(-top[0])
            if found is None:
                raise CertificationError("no point deep inside the cell was found.")
            y, depth = found[0][:-1], float(found[0][-1])
            values = self._other_matrix @ y + self._other_offsets
            if len(values) == 0 or values.min() >= depth - TOLERANCE or values.min() > 0 or depth <= TOLERANCE:
                return y, depth if len(values) == 0 else min(depth, float(values.min()))
            self._add(np.argsort(values, kind="stable")[:_ADDED])


def nearest_rows(cell: PatternCell, count: int) -> Rows:
    """The winners with the smallest and the losers with the largest outputs at ``x``, at most ``count`` of each."""
    parts = []
    for mask, sign in ((cell.winners, 1.0), (~cell.winners, -1.0)):
        rows = np.flatnonzero(mask)
        if len(rows) > count:
            rows = rows[np.argpartition(sign * cell.outputs[rows], count - 1)[:count]]
        parts.append(np.sort(rows))
    return np.concatenate(parts)


def frame_of(cell: PatternCell, rows: Rows) -> Frame:
    """Coordinates scaled by how far the rows given are from the threshold."""
    dim, unit = cell.input_dim, 1.0
    basis = np.eye(dim)
    if cell.bias is None:
        unit = float(np.linalg.norm(cell.x))
        mirror = cell.x / unit
        mirror[0] += np.copysign(1.0, mirror[0])
        basis = (basis - 2 * np.outer(mirror, mirror) / (mirror @ mirror))[:, 1:]  # Householder: column 0 is -+ x/|x|
    heights, winners = cell.outputs[rows] / unit, cell.winners[rows]
    level = float(heights[winners].min() + heights[~winners].max()) / 2
    common = cell.weight[rows].mean(axis=0)
    size = float(np.median(np.linalg.norm((cell.weight[rows] - common) @ basis, axis=1))) or 1.0
    reach = float(np.median(np.abs(heights - level)))
    return Frame(basis, unit, reach / size if reach > 0 else 1.0, common, size, level)


def recession(cell: PatternCell) -> tuple[Array | None, Rows]:
    """A direction ``v`` in which the cell is probably unbounded, deep inside all such directions; None where none is.
    And rows that show it.

    ``maximise s`` subject to ``b_i(v, t) >= s |b_i|`` (without the offsets of the layer), ``-1 <= v <= 1`` and, without
    a bias, ``v . x/|x| <= -s``. Starts from the rows nearest to the threshold and adds violated rows of the whole
    layer. With a bias a winner and a loser may have the same weights (both zero, say): then ``t`` is fixed by them, and
    the other rows are compared with theirs.
    """
    rows = nearest_rows(cell, _PER_DIM * cell.input_dim)
    common = cell.weight[rows].mean(axis=0)
    size = float(np.median(np.linalg.norm(cell.weight[rows] - common, axis=1))) or 1.0
    width, pin = 2 * cell.input_dim, None
    while True:
        forms = cell.forms(rows)[:, : cell.input_dim + 1]
        forms[:, :-1] -= np.where(cell.winners[rows], 1.0, -1.0)[:, None] * common
        forms[:, -1] *= size if pin is None else 0.0
        sizes = np.linalg.norm(forms, axis=1)
        forms, sizes = forms[sizes > 0], sizes[sizes > 0]
        matrix = np.hstack([forms / sizes[:, None], -np.ones((len(forms), 1))])
        if cell.bias is None:
            back = np.append(-cell.x / np.linalg.norm(cell.x), [0.0, -1.0])
            matrix = np.vstack([matrix, back])
        objective = np.zeros(cell.input_dim + 2)
        objective[-1] = 1.0
        found = LinearProgramme(matrix, np.zeros(len(matrix)), bound=1.0).maximise(objective)
        if found is None:
            raise CertificationError("a bounded linear programme was called unbounded.")
        depth, ray, level = found[0][-1], found[0][: cell.input_dim], found[0][cell.input_dim]
        if depth <= TOLERANCE:
            if pin is not None or cell.bias is None or (pin := _same_weights(cell, rows)) is None:
                return None, rows
            common = pin
            continue
        values = np.where(cell.winners, 1.0, -1.0) * (cell.weight @ ray - common @ ray)
        if pin is None:
            values -= np.where(cell.winners, 1.0, -1.0) * size * level
        else:
            values[(cell.weight == pin).all(axis=1)] = np.inf
        values = values / np.hypot(cell.row_norms + np.linalg.norm(common), size)
        violated = np.argpartition(values, min(width, cell.width - 1))[:width]
        violated = np.setdiff1d(violated[values[violated] < depth / 2], rows)
        if len(violated) == 0:
            return ray, rows
        rows = np.append(rows, violated)


def _same_weights(cell: PatternCell, rows: Rows) -> Array | None:
    """The weights that a winner and a loser share; None where no two do."""
    winners = {tuple(cell.weight[row].tolist()) for row in rows[cell.winners[rows]]}
    shared = [row for row in rows[~cell.winners[rows]] if tuple(cell.weight[row].tolist()) in winners]
    return cell.weight[shared[0]] if shared else None


def polytope(cell: PatternCell, rows: Rows) -> Polytope:
    """The rows that may matter, in coordinates of size about 1.

    For a wide layer the rows given, those of :func:`recession`, first give a box. Inside that box a row whose
    output stays on its side of every threshold cannot be violated and is left out for good, so what follows hardly
    depends on the width.
    """
    if cell.width <= _WIDE * cell.input_dim:
        return Polytope(cell, rows, np.setdiff1d(np.arange(cell.width), rows), frame_of(cell, rows))
    count = _PER_DIM * cell.input_dim
    nothing = np.zeros(0, dtype=np.intp)
    while True:
        first = Polytope(cell, rows, nothing, frame_of(cell, rows))
        bounds = first.box()
        if bounds is not None or len(rows) == cell.width:
            break
        count *= 4
        rows = np.union1d(rows, nearest_rows(cell, count))
    if bounds is None:
        return first
    heights, frame = np.abs(bounds[0]), first.frame
    reach = float(np.linalg.norm(heights[:, :-1].max(axis=0))) * frame.scale
    middle = frame.level + frame.scale * frame.size * float(bounds[0][0, -1] - bounds[0][1, -1]) / 2
    half = frame.scale * frame.size * float(bounds[0][0, -1] + bounds[0][1, -1]) / 2
    margins = np.where(cell.winners, 1.0, -1.0) * (cell.outputs / frame.unit - middle)
    near = np.flatnonzero(margins <= (reach * (cell.row_norms + np.linalg.norm(frame.common)) + half) * (1 + 1e-6))
    scaled = Frame(
        frame.basis, frame.unit, max(reach / 2, 1e-300) if reach > 0 else frame.scale, frame.common, frame.size, middle
    )
    return Polytope(cell, rows, np.setdiff1d(near, rows), scaled)
