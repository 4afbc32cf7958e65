"""How an activation layer cuts a polygon on which its inputs are affine: into the cells of its patterns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kwta_theory.regions.layers import Pointwise, Winners
from kwta_theory.regions.mesh import Mesh

RESOLUTION = 2.0**-48
"""Points of the unit square are told apart down to this: some dozens of units in the last place of 1."""


@dataclass(frozen=True)
class Inputs:
    """Affine functions ``value + gradient . (point - centre)``, ``(units,)`` and ``(2, units)``; their rounding."""

    centre: np.ndarray
    value: np.ndarray
    gradient: np.ndarray
    noise: float

    def at(self, corners: np.ndarray, units: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The values of some units at the corners of a polygon, ``(corners, units)``."""
        away = corners - self.centre
        gradient = self.gradient[:, units]
        return self.value[units] + away[:, :1] * gradient[0] + away[:, 1:] * gradient[1]


class KnotCells:
    """The cells of a piecewise linear function of each entry: half-planes ``z_i <= knot``."""

    def __init__(self, layer: Pointwise) -> None:
        self.knots = layer.knots.cpu().numpy()

    def cut(self, mesh: Mesh, polygon: int, inputs: Inputs) -> dict[int, np.ndarray]:
        """Cut a polygon into cells; the pattern of each, the number of knots below each entry."""
        units = len(inputs.value)
        steep = np.hypot(*inputs.gradient)
        todo = [(polygon, np.arange(len(self.knots) * units), np.zeros(len(self.knots) * units, dtype=bool))]
        cells = {}
        while todo:
            polygon, open_, above = todo.pop()
            knot, unit = np.divmod(open_, units)
            height = inputs.at(mesh.corners(polygon), unit) - self.knots[knot]
            noise = inputs.noise + RESOLUTION * steep[unit]
            low, high = height.min(0), height.max(0)
            crossing = (low < -noise) & (high > noise)
            settled = ~crossing
            above[open_[settled]] = (height.mean(0) > 0)[settled] & (high > inputs.noise)[settled]
            if not crossing.any():
                cells[polygon] = above.reshape(len(self.knots), units).sum(0, dtype=np.uint8)
                continue
            open_, height, noise = open_[crossing], height[:, crossing], noise[crossing]
            fairest = (np.minimum(-low, high)[crossing] / steep[unit[crossing]]).argmax()
            parts = mesh.split(polygon, height[:, fairest].tolist(), float(noise[fairest]))
            # On its two sides this one is settled, whatever the rounding at the ends of the cut: so it ends.
            rest, one = np.delete(open_, fairest), open_[fairest]
            signs = (True, False) if parts else (bool(height[:, fairest].mean() > 0),)
            for part, sign in zip(parts or (polygon,), signs, strict=True):
                above = above.copy()
                above[one] = sign
                todo.append((part, rest, above))
        return cells


class _Cut(NamedTuple):
    """A pair of units, their difference at the corners of a polygon, and the size of its rounding."""

    pair: tuple[int, int]
    height: np.ndarray
    noise: float


class WinnerCells:
    """The cells of competitions: ``z_i >= z_j`` for all winners ``i`` and losers ``j`` of each group.

    A set of winners is right on a whole polygon if it is right at its corners. Where it is not, the edge of the cell
    is looked for between such a corner and the middle, by Newton's method on ``min over winners - max over losers``,
    which is concave and piecewise linear; the polygon is cut along the line ``z_i = z_j`` of that edge. Cuts that go
    beyond the cell are undone when all are made: parts with the same pattern are one cell.
    """

    def __init__(self, layer: Winners, units: int) -> None:
        self.layer = layer
        self.k = layer.k
        self.groups = np.arange(units)[None] if layer.groups is None else layer.groups.cpu().numpy()

    def cut(self, mesh: Mesh, polygon: int, inputs: Inputs) -> dict[int, np.ndarray]:
        """Cut a polygon into cells; the pattern of each, as :meth:`Winners.pattern` has it."""
        won = self.groups >= 0
        everyone = np.arange(len(self.groups)) if self.k < self.groups.shape[1] else np.arange(0)
        done: frozenset[tuple[int, int]] = frozenset()
        todo = [(polygon, everyone, won, done)]
        cells = {}
        while todo:
            polygon, open_, won, done = todo.pop()
            height = self._at(mesh.corners(polygon), open_, inputs)
            won[open_] = winners(height, inputs.noise, self.k)
            broken, cut = self._edge(height, won[open_], open_, inputs, done)
            parts = None if cut is None else mesh.split(polygon, cut.height.tolist(), cut.noise)
            if cut is None or parts is None:
                cells[polygon] = self._pattern(won, len(inputs.value))
                continue
            # No pair cuts twice, whatever the rounding at the ends of a cut: so it ends.
            todo += [(part, open_[broken], won.copy(), done | {cut.pair}) for part in parts]
        return cells

    def _at(self, corners: np.ndarray, open_: np.ndarray, inputs: Inputs) -> np.ndarray:
        """Values ``(corners, groups, size)``; what is missing never wins."""
        members = self.groups[open_]
        height = inputs.at(corners, members.ravel()).reshape(len(corners), *members.shape)
        return np.where(members >= 0, height, -np.inf)

    def _edge(
        self, height: np.ndarray, won: np.ndarray, open_: np.ndarray, inputs: Inputs, done: frozenset[tuple[int, int]]
    ) -> tuple[np.ndarray, _Cut | None]:
        """Groups whose winners are not right everywhere, and the difference whose zeros cut the polygon."""
        gap = np.where(won, height, np.inf).min(2) - np.where(won, -np.inf, height).max(2)
        broken = (gap < -inputs.noise).any(0)
        for place in np.argsort(gap, axis=None):
            corner, group = np.unravel_index(place, gap.shape)
            if not gap[corner, group] < -inputs.noise:
                break
            for i, j in self._pairs(height[corner, group], height[:, group].mean(0), won[group], inputs.noise):
                cut = height[:, group, i] - height[:, group, j]
                one, other = self.groups[open_[group], [i, j]].tolist()
                steep = np.hypot(*(inputs.gradient[:, one] - inputs.gradient[:, other]))
                noise = inputs.noise + RESOLUTION * float(steep)
                pair = min(one, other), max(one, other)
                if pair not in done and cut.min() < -noise and cut.max() > noise:
                    return broken, _Cut(pair, cut, noise)
        return broken, None

    @staticmethod
    def _pairs(corner: np.ndarray, middle: np.ndarray, won: np.ndarray, noise: float) -> list[tuple[int, int]]:
        """Pairs (winner, loser) in the wrong order on the way from a corner to the middle, the last one first."""
        pairs: list[tuple[int, int]] = []
        part = 0.0
        winner, loser = np.flatnonzero(won), np.flatnonzero(~won & (corner > -np.inf))
        while part < 1.0:
            here = (1 - part) * corner + part * middle if part else corner
            i, j = winner[here[winner].argmin()], loser[here[loser].argmax()]
            gap, ahead = here[i] - here[j], middle[i] - middle[j]
            if gap >= -noise or (i, j) in pairs:
                break
            pairs.append((int(i), int(j)))
            part += (1 - part) * -gap / max(ahead - gap, -gap)
        return pairs[::-1]

    def _pattern(self, won: np.ndarray, units: int) -> np.ndarray:
        if self.layer.pool:
            return won.argmax(1)
        pattern = np.zeros(units, dtype=np.uint8)
        pattern[self.groups[won]] = 1
        return pattern


def winners(height: np.ndarray, noise: float, k: int) -> np.ndarray:
    """The ``k`` largest in the middle of a polygon, ``(groups, size)``, from the values at its corners.

    Entries that differ by no more than rounding from the last winner on the whole polygon are equal to it, and among
    equals the smaller index wins.
    """
    middle = height.mean(0)
    last = np.argpartition(-middle, k - 1, axis=1)[:, k - 1 : k] if middle.size else np.zeros((len(middle), 1), int)
    ahead = middle - np.take_along_axis(middle, last, 1)
    apart = np.abs(height - np.take_along_axis(height, last[None], 2)).max(0)
    equal = (apart <= noise) | (ahead == 0)
    above = (ahead > 0) & ~equal
    slots = k - above.sum(1, keepdims=True)
    return above | (equal & (equal.cumsum(1) <= slots))
