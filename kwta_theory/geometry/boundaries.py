"""The nearest boundaries of a cell, in closed form over pairs of a winner and a loser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.geometry.exact import Array

if TYPE_CHECKING:
    from kwta_theory.geometry.cell import PatternCell, Rows

_SEEDS, _PAIRS = 16, 4096


@dataclass(frozen=True, eq=False)
class Boundary:
    """Where a cell ends first.

    Attributes:
        distance: in the measure of the cell (see :func:`.pattern_cell`); infinity where there is no boundary.
        winner, loser: the two rows that change places there; -1 where there is none.
        direction: the way there, a unit vector, ``(input_dim,)``, without a bias perpendicular to ``x``.
    """

    distance: float
    winner: int
    loser: int
    direction: Array


def nearest_boundary(cell: PatternCell) -> Boundary:
    """The smallest distance to the hyperplane on which a winner and a loser tie, over all pairs, without a search.

        without a bias:  min (w_i - w_j) . x / |x| / |(w_i - w_j)_perp|     (perp: perpendicular to x; a tangent)
        with a bias:     min ((w_i - w_j) . x + b_i - b_j) / |w_i - w_j|

    With ``s = (w_i - w_j) . x / |w_i - w_j| / |x|`` the sine of the angle, the first is ``s / sqrt(1 - s^2)``. Rows
    that differ by a multiple of ``x`` never tie. Pairs that cannot be nearer than one already found, by
    ``|w_i - w_j| <= |w_i| + |w_j|``, are not looked at. Floating point, 0 with a tie.
    """
    unit = cell.x / np.linalg.norm(cell.x) if cell.bias is None else None
    heights = cell.outputs if unit is None else cell.weight @ unit
    order = np.argsort(-heights, kind="stable")
    winners, losers = order[cell.winners[order]], order[~cell.winners[order]]
    best, pair, way = np.inf, (-1, -1), np.zeros(cell.input_dim)
    sizes = cell.row_norms

    def look(some: Rows, others: Rows) -> None:
        nonlocal best, pair, way
        first, second = np.repeat(some, len(others)), np.tile(others, len(some))
        gaps = np.maximum(heights[first] - heights[second], 0.0)
        both = sizes[first] + sizes[second]
        with np.errstate(divide="ignore", invalid="ignore"):
            least = np.where(both > 0, gaps / both, np.inf)
        near = np.flatnonzero(least <= best)
        near = near[np.argsort(least[near], kind="stable")]
        for chunk in (near[i : i + _PAIRS] for i in range(0, len(near), _PAIRS)):
            if least[chunk[0]] > best:
                return
            apart = cell.weight[second[chunk]] - cell.weight[first[chunk]]
            if unit is not None:
                apart = apart - np.outer(apart @ unit, unit)
            norms = np.linalg.norm(apart, axis=1)
            there = norms > 1e-13 * both[chunk]  # rows that are equal but for rounding do not tie
            if not there.any():
                continue
            distances = np.where(there, gaps[chunk] / np.where(there, norms, 1.0), np.inf)
            at = int(np.argmin(distances))
            if distances[at] < best:
                best, way = float(distances[at]), apart[at] / norms[at]
                pair = (int(first[chunk[at]]), int(second[chunk[at]]))

    look(winners[-_SEEDS:], losers[:_SEEDS])
    if np.isfinite(best):
        winners, losers = (
            winners[heights[winners] - heights[losers[0]] <= best * (sizes[winners] + sizes[losers].max())],
            losers[heights[winners[-1]] - heights[losers] <= best * (sizes[losers] + sizes[winners].max())],
        )
    step = max(1, 2**20 // max(len(losers), 1))
    for start in range(0, len(winners), step):
        look(winners[start : start + step], losers)
    return Boundary(best, *pair, way)


def boundary_along(cell: PatternCell, directions: Array) -> Array:
    """The end of the cell along ``x + t v`` (with a bias) or ``x/|x| + t v`` (without), ``v`` made a unit vector.

    ``g(t) = min over winners of (z_i + t s_i) - max over losers of (z_j + t s_j)``, ``s = W v``, is concave and
    piecewise linear with ``g(0) >= 0``, and the cell ends at its root. Newton's method from the right: the pair that is
    worst at ``t = infinity`` gives a first upper bound, then the pair that attains ``g`` at the current ``t``; every
    step goes down to the root of a line above ``g``, and there are finitely many lines.
    """
    unit = cell.x / np.linalg.norm(cell.x) if cell.bias is None else None
    heights = cell.outputs if unit is None else cell.weight @ unit
    sizes = np.linalg.norm(directions, axis=1)
    if unit is not None:
        directions = directions - np.outer(directions @ unit, unit)
    norms = np.linalg.norm(directions, axis=1)
    bad = np.flatnonzero(norms <= 1e-12 * sizes)
    if bad.size:
        raise InvalidArgumentError(
            f"directions has row {bad[0]} zero{' or parallel to x' if unit is not None else ''}: no way leads out."
        )
    winners = cell.winners
    upper, lower = heights[winners], heights[~winners]
    found = np.empty(len(directions))
    for number, direction in enumerate(directions / norms[:, None]):
        slopes = cell.weight @ direction
        up, down = slopes[winners], slopes[~winners]
        i, j = int(np.argmin(up)), int(np.argmax(down))
        t = np.inf
        while down[j] > up[i]:
            root = max(float(upper[i] - lower[j]), 0.0) / float(down[j] - up[i])
            if root >= t:
                break
            t = root
            i, j = int(np.argmin(upper + t * up)), int(np.argmax(lower + t * down))
        found[number] = t
    return found
