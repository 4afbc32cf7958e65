"""Integrals over the plane of a density with one smooth peak, by the trapezoidal rule on an adapted grid.

For an analytic integrand that decays on both sides the trapezoidal rule converges exponentially in the number of nodes
(Trefethen and Weideman, SIAM Review 2014): halving the step squares the relative error. So the sum over every second
node, which is already there, tells the error of the full sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LogDensity = Callable[[Array, Array], Array]

# A point below exp(-_DEPTH) of the peak is outside the box. The integrands fall at least exponentially there.
_DEPTH = 32.0
# The sum over every second node may differ by this much: about its square is what the full sum is then off by. (At 3e-6
# one small layer in 600 was off by 3e-9, since the square comes with a factor; at 1e-7 the worst was 5e-14.)
_HALF_GRID_TOLERANCE = 1e-7
_MAXIMUM_NODES = 1_000_000


class QuadratureError(ArithmeticError):
    """A double integral did not settle to the accuracy promised; no number is returned in its place."""


def _zoom(log_line: Callable[[Array], Array], center: float, half: float) -> tuple[float, float]:
    """Peak of a function of one variable and its spread ``1/sqrt(-f'')`` there."""
    nodes = 25
    for _ in range(200):
        x = center + half * np.linspace(-1.0, 1.0, nodes)
        y = log_line(x)
        best = int(np.argmax(y))
        if not np.isfinite(y[best]):
            raise QuadratureError(f"the integrand vanishes on the whole starting line around {center:g}.")
        center = float(x[best])
        if best in (0, nodes - 1):
            half *= 1.5
            continue
        step = 2.0 * half / (nodes - 1)
        drop = float(2.0 * y[best] - y[best - 1] - y[best + 1])
        if drop > 1.0:
            half = 2.0 * step
        elif drop < 1e-4:  # the line is too short to see a curvature above the rounding
            half *= 8.0
        else:
            return center, step / math.sqrt(drop)
    raise QuadratureError("no peak of the integrand was found.")


@dataclass(frozen=True)
class _Peak:
    """A peak, the spread along each axis, and the slope ``du/dv`` of the ridge through it."""

    u: float
    v: float
    spread_u: float
    spread_v: float
    shear: float


def _find_peak(log_density: LogDensity, start: tuple[float, float], reach: tuple[float, float]) -> _Peak:
    u, v = start
    reach_u, reach_v = reach
    shear = 0.0
    for _ in range(60):
        before_u, before_v = u, v
        u, spread_u = _zoom(lambda x, v=v: log_density(x, np.array([v]))[0], u, reach_u)  # type: ignore[misc]

        def along_ridge(x: Array, u: float = u, v: float = v, shear: float = shear) -> Array:
            if shear == 0.0:
                return log_density(np.array([u]), x)[:, 0]
            return np.diagonal(log_density(u + shear * (x - v), x))

        v, spread_v = _zoom(along_ridge, v, reach_v)
        u += shear * (v - before_v)
        settled = abs(v - before_v) < 2.0 * spread_v and abs(u - before_u) < 2.0 * (spread_u + abs(shear) * spread_v)
        reach_u, reach_v = 8.0 * spread_u, 8.0 * spread_v
        if v == start[1]:  # an axis of symmetry: no margin
            return _Peak(u, v, spread_u, spread_v, 0.0)
        stencil = np.array([-0.5, 0.0, 0.5])
        y = log_density(u + spread_u * stencil, v + spread_v * stencil)
        bend = float(2.0 * y[1, 1] - y[1, 0] - y[1, 2])
        twist = 0.25 * float(y[2, 2] - y[2, 0] - y[0, 2] + y[0, 0])
        new_shear = twist / bend * spread_u / spread_v if bend > 0.0 else shear
        settled = settled and abs(new_shear - shear) * spread_v < 0.5 * spread_u
        shear = new_shear
        if settled:
            # A ridge that hardly leans is as well covered by an upright grid, which costs less.
            return _Peak(u, v, spread_u, spread_v, shear if abs(shear) * spread_v > 0.3 * spread_u else 0.0)
    raise QuadratureError("no peak of the integrand was found.")


def _enclose(value: LogDensity, peak: _Peak) -> Array:
    """Lower and upper ends, in both variables, of a box outside which the integrand is below ``exp(-_DEPTH)``."""
    spreads = (peak.spread_u, peak.spread_v)
    box = np.array([[-6, 6], [-6, 6]])  # in units of the spreads
    for _ in range(60):
        grids = [spreads[i] * np.arange(box[i, 0], box[i, 1] + 1) for i in (0, 1)]
        y = value(grids[0], grids[1])
        inside = y > y.max() - _DEPTH
        grown = box.copy()
        for axis in (0, 1):
            hit = np.flatnonzero(inside.any(axis=axis))  # the first variable runs along the last axis
            width = box[axis, 1] - box[axis, 0]
            grown[axis, 0] += -(width // 2) if hit[0] == 0 else hit[0] - 1
            grown[axis, 1] += width // 2 if hit[-1] == width else hit[-1] + 1 - width
        if (grown[:, 0] >= box[:, 0]).all() and (grown[:, 1] <= box[:, 1]).all():
            return np.array(spreads)[:, None] * grown
        if (grown[:, 1] - grown[:, 0] + 1).prod() > _MAXIMUM_NODES:
            break
        box = grown
    raise QuadratureError("the integrand does not decay: no box around its peak was found.")


def log_integral(log_density: LogDensity, start: tuple[float, float], reach: tuple[float, float]) -> float:
    """Logarithm of the integral over the plane of ``exp(log_density)``.

    Args:
        log_density: maps nodes of shapes ``(U,)`` and ``(V,)`` to values of shape ``(V, U)``; ``-inf`` for zero.
        start: a point near the peak, in both variables.
        reach: how far from it the search along each variable begins.

    Returns:
        The logarithm, with an absolute error of about 1e-10 beside the error of ``log_density`` itself.

    Raises:
        QuadratureError: when no peak is found, or the sum does not settle.
    """
    peak = _find_peak(log_density, start, reach)

    def value(x: Array, y: Array) -> Array:
        if peak.shear == 0.0:
            return log_density(peak.u + x, peak.v + y)
        rows = [log_density(peak.u + x + peak.shear * row, np.array([peak.v + row])) for row in y.tolist()]
        return np.concatenate(rows)

    box = _enclose(value, peak)
    steps = [0.45 * peak.spread_u, 0.45 * peak.spread_v]
    difference = [math.inf, math.inf]
    for _ in range(8):
        # An odd number of nodes, so that every second one reaches both ends.
        counts = [2 * math.ceil((box[i, 1] - box[i, 0]) / (2 * steps[i])) + 1 for i in (0, 1)]
        if counts[0] * counts[1] > _MAXIMUM_NODES:
            break
        grids = [np.linspace(box[i, 0], box[i, 1], counts[i]) for i in (0, 1)]
        y = value(grids[0], grids[1])
        top = float(y.max())
        weight = np.exp(y - top)
        total = float(weight.sum())
        difference = [
            abs(2.0 * float(weight[:, ::2].sum()) / total - 1.0),
            abs(2.0 * float(weight[::2].sum()) / total - 1.0),
        ]
        # A log density of -1e10 is itself rounded by 1e-6; no grid settles below that.
        tolerance = max(_HALF_GRID_TOLERANCE, 4.0 * math.ulp(1.0) * abs(top))
        if max(difference) <= tolerance:
            area = math.prod((box[i, 1] - box[i, 0]) / (counts[i] - 1) for i in (0, 1))
            return top + math.log(total * area)
        steps = [steps[i] / (1.0 if difference[i] <= tolerance else 1.6) for i in (0, 1)]
    raise QuadratureError(
        f"the double integral did not settle: halving the grid still changes it by {max(difference):.1e} of its value."
    )
