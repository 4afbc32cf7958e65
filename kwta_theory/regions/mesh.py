"""A square cut into convex polygons that share their corners, so that neighbours fit whatever the rounding."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

CORNERS = 4


class Mesh:
    """The unit square as polygons: lists of corners, counter-clockwise, and for each directed edge its polygon.

    A cut puts its two ends into both polygons that share the edge they lie on. So every edge has one polygon on each
    side (or the outside on one), there are no gaps, and areas sum to that of the square up to the rounding of the sum.
    """

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
        self.polygons: dict[int, list[int]] = {0: [0, 1, 2, 3]}
        self.side: dict[tuple[int, int], int] = {}
        self._next = 1
        self._claim(0)

    def corners(self, polygon: int) -> np.ndarray:
        """The corners of a polygon, ``(corners, 2)``."""
        return np.array([self.points[i] for i in self.polygons[polygon]])

    def edges(self, polygon: int) -> list[tuple[int, int]]:
        """The directed edges of a polygon."""
        loop = self.polygons[polygon]
        return list(zip(loop, loop[1:] + loop[:1], strict=True))

    def split(self, polygon: int, height: Sequence[float], noise: float) -> tuple[int, int] | None:
        """Cut along the zeros of an affine function given at the corners: ``(above, below)``, or None if it has none.

        A corner at which the function is not beyond ``noise`` lies on the cut.
        """
        heights = list(height)
        while True:
            told = [n for n, h in enumerate(heights) if abs(h) > noise]
            turns = [
                (p, q) for p, q in zip(told, told[1:] + told[:1], strict=True) if (heights[p] > 0) != (heights[q] > 0)
            ]
            if len(turns) <= 2:
                break
            # A polygon is convex up to rounding, so a third change of sign is rounding.
            noise = min(abs(heights[n]) for n in told)
        if not turns:
            return None
        down, up = turns if heights[turns[0][0]] > 0 else turns[::-1]
        loop = list(self.polygons[polygon])
        first, last = self._crossing(loop, heights, *up), self._crossing(loop, heights, *down)
        loop = self.polygons[polygon]
        loop = loop[loop.index(first) :] + loop[: loop.index(first)]
        other, self._next = self._next, self._next + 1
        at = loop.index(last)
        self.polygons[polygon], self.polygons[other] = loop[: at + 1], [*loop[at:], first]
        self._claim(polygon)
        self._claim(other)
        return polygon, other

    def _crossing(self, loop: list[int], height: list[float], p: int, q: int) -> int:
        """The corner between places ``p`` and ``q`` of the loop at which the height is zero; made if there is none."""
        between = [(p + n) % len(loop) for n in range(1, (q - p) % len(loop))]
        if between:
            return loop[min(between, key=lambda n: abs(height[n]))]
        (x, y), (x_end, y_end) = self.points[loop[p]], self.points[loop[q]]
        part = height[p] / (height[p] - height[q])
        new = len(self.points)
        self.points.append((x + part * (x_end - x), y + part * (y_end - y)))
        for start, end in ((loop[p], loop[q]), (loop[q], loop[p])):
            owner = self.side.pop((start, end), None)
            if owner is not None:
                corners = self.polygons[owner]
                corners.insert(corners.index(start) + 1, new)
                self.side[start, new] = self.side[new, end] = owner
        return new

    def _claim(self, polygon: int) -> None:
        for edge in self.edges(polygon):
            self.side[edge] = polygon

    def merge(self, kinds: dict[int, Hashable]) -> list[int]:
        """Make one of neighbours of the same kind, among the polygons named; returns those that remain, in order."""
        remaining, seen = [], set()
        for polygon in kinds:
            if polygon in seen:
                continue
            group, todo = {polygon}, [polygon]
            while todo:
                for start, end in self.edges(todo.pop()):
                    other = self.side.get((end, start))
                    if other is not None and other not in group and kinds.get(other) == kinds[polygon]:
                        group.add(other)
                        todo.append(other)
            seen |= group
            remaining += [polygon] if len(group) == 1 or self._unite(polygon, group) else sorted(group)
        return remaining

    def _unite(self, polygon: int, group: set[int]) -> bool:
        """Put a group into one polygon, unless it is no polygon (which convex unions are)."""
        inside = {edge for member in group for edge in self.edges(member)}
        border = [(start, end) for start, end in inside if (end, start) not in inside]
        after = dict(border)
        loop = [border[0][0]]
        while len(loop) <= len(border) and (following := after[loop[-1]]) != loop[0]:
            loop.append(following)
        if len(loop) != len(border):
            return False
        for edge in inside:
            del self.side[edge]
        for member in group:
            del self.polygons[member]
        self.polygons[polygon] = loop
        self._claim(polygon)
        return True

    def straighten(self) -> None:
        """Leave out corners at which two edges meet in a straight line: ends of cuts that were merged away."""
        meeting: dict[int, set[int]] = {}
        for start, end in self.side:
            meeting.setdefault(start, set()).add(end)
            meeting.setdefault(end, set()).add(start)
        straight = {corner for corner, ends in meeting.items() if len(ends) == 2 and corner >= CORNERS}
        if straight:
            self.side = {}
            for polygon, loop in self.polygons.items():
                self.polygons[polygon] = [corner for corner in loop if corner not in straight]
                self._claim(polygon)
