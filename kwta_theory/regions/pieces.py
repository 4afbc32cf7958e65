"""Segments cut into pieces, and the layers that cut them: what a forward pass on pieces carries along.

A line is ``x(t) = start + t (end - start)``, ``0 <= t <= 1``. A piece is an interval of one line. On a piece a tensor
of
the network is affine, ``y(t) = y(c) + y' (t - c)`` with ``c`` the middle of the piece, and is kept as the two numbers
``y(c)`` and ``y'`` for each of its entries. An affine layer maps them to two such numbers; an activation layer first
cuts
the pieces where its pattern changes. Cutting a piece changes no function, only ``c``, so tensors computed before the
cut
stay usable (a shortcut of a residual block is one) and follow when they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Protocol

import torch

from kwta_theory.checks import InvalidArgumentError

RESOLUTION = 2.0**-50
"""Positions ``t`` in [0, 1] are told apart down to four units in the last place of 1."""

PIECES_AT_ONCE = 32
"""Of a pass that is given up, whose pieces are too many to be looked at together."""


class Changes(NamedTuple):
    """Where a pattern changes, in any order: the piece, ``t``, and how far off rounding may have put ``t``."""

    piece: torch.Tensor
    t: torch.Tensor
    reach: torch.Tensor


class ActivationLayer(Protocol):
    """A layer that is affine as long as its pattern is held. ``z`` is ``(2, pieces, units)``: values and slopes."""

    def changes(self, z: torch.Tensor, pieces: Pieces, noise: torch.Tensor) -> Changes:
        """Every change of the pattern inside a piece; ``noise`` is the size below which a value is rounding."""

    def pattern(self, z: torch.Tensor, pieces: Pieces, noise: torch.Tensor) -> torch.Tensor:
        """The pattern of each piece, given that it does not change: ``(pieces, outputs)``, uint8 or int64."""

    def apply(self, z: torch.Tensor, pattern: torch.Tensor) -> torch.Tensor:
        """The outputs, ``(2, pieces, *shape of one sample)``."""


class Pieces:
    """Intervals ``[low, high]`` of lines, sorted by line and position; a generation for every cut."""

    def __init__(self, line: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> None:
        self.line, self.low, self.high = line, low, high
        self._parents: list[torch.Tensor] = []
        self._centres: list[torch.Tensor] = [(low + high) / 2]

    def __len__(self) -> int:
        return len(self.line)

    @property
    def generation(self) -> int:
        """How often the pieces were cut."""
        return len(self._parents)

    @property
    def centre(self) -> torch.Tensor:
        """The middle of each piece."""
        return self._centres[-1]

    @property
    def half(self) -> torch.Tensor:
        """Half the length of each piece."""
        return (self.high - self.low) / 2

    def cut(self, piece: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Cut at positions sorted by piece and ``t``, all different. Returns, for each, the piece on its right."""
        parent = torch.arange(len(self), device=piece.device).repeat_interleave(
            torch.bincount(piece, minlength=len(self)) + 1
        )
        right = torch.arange(1, len(piece) + 1, device=piece.device) + piece
        self.line, self.low, self.high = self.line[parent], self.low[parent], self.high[parent]
        self.low[right] = t
        self.high[right - 1] = t
        self._parents.append(parent)
        self._centres.append((self.low + self.high) / 2)
        return right

    def ancestors(self, generation: int) -> torch.Tensor:
        """The piece of an earlier generation in which each piece of today lies."""
        index = torch.arange(len(self.centre), device=self.centre.device)
        for parent in reversed(self._parents[generation:]):
            index = parent[index]
        return index

    def follow(self, rows: torch.Tensor, generation: int) -> torch.Tensor:
        """Values and slopes at the centres of an earlier generation, at those of today."""
        if generation == self.generation:
            return rows
        return self.part(rows, generation, slice(None))[1]

    def part(self, rows: torch.Tensor, generation: int, which: slice) -> tuple[Pieces, torch.Tensor, torch.Tensor]:
        """Some pieces of today, values and slopes of an earlier generation there, and their ancestors in it."""
        index = self.ancestors(generation)[which]
        rows = rows.index_select(1, index)
        shift = self.centre[which] - self._centres[generation][index]
        rows[0].addcmul_(rows[1], shift.view(-1, *(1,) * (rows.ndim - 2)))
        return Pieces(self.line[which], self.low[which], self.high[which]), rows, index


@dataclass
class Breakpoints:
    """What one layer found: for each breakpoint its line and ``t``; its units are ``unit[owner == breakpoint]``."""

    layer: int
    line: torch.Tensor
    t: torch.Tensor
    owner: torch.Tensor
    unit: torch.Tensor


class Module(NamedTuple):
    """Where a pass is: the path of a module in the model, its class, and whether that is one of torch or of ours."""

    path: str
    kind: str
    known: bool


class TooManyPiecesError(Exception):
    """The pieces no longer fit in the memory allowed; they are correct, and each can be gone on with by itself."""


class ForwardPass:
    """One pass of a network over pieces: the pieces, the layers met so far, the breakpoints they made."""

    def __init__(self, pieces: Pieces, tolerance: float, most_pieces: int | None, keep_patterns: bool) -> None:
        self.pieces = pieces
        self.tolerance = tolerance
        self.most_pieces = most_pieces
        self.keep_patterns = keep_patterns
        self.widest = 1
        self.layers: list[str] = []
        self.breakpoints: list[Breakpoints] = []
        self.patterns: list[tuple[int, torch.Tensor]] = []
        self.modules: list[Module] = []

    def refuse(self, what: str) -> NoReturn:
        """Raise, naming the layer in which the pass is."""
        here = self.modules[-1]
        where = f"layer {here.path!r} ({here.kind})" if here.path else f"the model ({here.kind})"
        raise InvalidArgumentError(f"{where} {what}")

    def activate(self, rows: torch.Tensor, layer: ActivationLayer, name: str) -> torch.Tensor:
        """Cut the pieces where the layer's pattern changes, and return its outputs on the new pieces."""
        self.layers.append(self._unused(name))
        pieces, z = self.pieces, rows.flatten(2) if rows.ndim > 2 else rows.unsqueeze(2)
        noise = self._noise(z)
        piece, t = merge(layer.changes(z, pieces, noise))
        generation = pieces.generation
        right = pieces.cut(piece, t)
        if self.most_pieces is not None and len(pieces) > self.most_pieces:
            self._give_up(layer, z, noise, generation, right)
        z = pieces.follow(z, generation)
        pattern = layer.pattern(z, pieces, noise[pieces.ancestors(generation)])
        self._record(right, (pattern[right] != pattern[right - 1]).nonzero())
        if self.keep_patterns:
            self.patterns.append((pieces.generation, pattern))
        return layer.apply(z, pattern)

    def _record(self, right: torch.Tensor, changed: torch.Tensor) -> None:
        """The breakpoints of this layer: the pieces on their right, and pairs (breakpoint, unit that changes)."""
        line, t = self.pieces.line[right], self.pieces.low[right]
        self.breakpoints.append(Breakpoints(len(self.layers) - 1, line, t, changed[:, 0], changed[:, 1]))

    def _give_up(
        self, layer: ActivationLayer, z: torch.Tensor, noise: torch.Tensor, generation: int, right: torch.Tensor
    ) -> NoReturn:
        """Record the breakpoints, from the patterns of some pieces at a time, and end the pass."""
        changed, size = [right.new_zeros((0, 2))], PIECES_AT_ONCE
        for first in range(0, len(right), size):
            # Every piece between two cuts of these, and the one before the first: their neighbours.
            some = right[first : first + size]
            begin, end = int(some[0]) - 1, int(some[-1]) + 1
            part, rows, index = self.pieces.part(z, generation, slice(begin, end))
            pattern = layer.pattern(rows, part, noise[index])
            here = (pattern[some - begin] != pattern[some - begin - 1]).nonzero()
            here[:, 0] += first
            changed.append(here)
        self._record(right, torch.cat(changed))
        raise TooManyPiecesError

    def _noise(self, z: torch.Tensor) -> torch.Tensor:
        """``tolerance`` times the largest absolute value of the layer on each piece."""
        if z.shape[1] == 0 or z.shape[2] == 0:
            return z.new_zeros(z.shape[1])
        return self.tolerance * torch.addcmul(z[0].abs(), z[1].abs(), self.pieces.half[:, None]).amax(1)

    def _unused(self, name: str) -> str:
        """The name of a layer; a layer used again is called ``name#2``."""
        number = 1
        while (tried := name if number == 1 else f"{name}#{number}") in self.layers:
            number += 1
        return tried


def merge(changes: Changes) -> tuple[torch.Tensor, torch.Tensor]:
    """Changes sorted by piece and ``t``; those whose order is within rounding become one, at the ``t`` of the first.

    Two neighbours are one if they are no further apart than rounding may have moved both.
    """
    order = changes.t.argsort(stable=True)
    order = order[changes.piece[order].argsort(stable=True)]
    piece, t, reach = (part[order] for part in changes)
    new = torch.ones_like(piece, dtype=torch.bool)
    new[1:] = (piece[1:] != piece[:-1]) | (t[1:] - t[:-1] > reach[1:] + reach[:-1])
    return piece[new], t[new]
