"""Winners of many inputs in one layer, whatever its width, within a budget: what overlaps and interpolation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kwta_theory.simulation.drawing import Layer, Settings, groups_within, require
from kwta_theory.simulation.kernels import (
    compress,
    index_overlaps,
    mask_overlaps,
    merge_winners,
    winner_mask,
    winners_of,
)


@dataclass(frozen=True)
class Plan:
    """How the winners of a tile are found: at once in a narrow layer, by streaming its rows in a wide one.

    Only the grouping of inputs and the columns laid out at a time depend on the budget; neither changes a result.
    """

    layer: Layer
    k: int
    groups: list[list[slice]]
    columns: int

    @classmethod
    def create(cls, layer: Layer, k: int, settings: Settings, extra: int, *, keep_values: bool = False) -> Plan:
        """Fit the working set of one trial, and ``extra`` bytes of the estimator's own, to the budget."""
        points = len(layer.factor)
        item = layer.factor.element_size()
        if layer.narrow:
            numbers = layer.trials_per_tile * points * layer.width
            pairs = layer.trials_per_tile * points**2
            require(layer.drawing_bytes + numbers * (2 * item + 32) + pairs * 24 + extra, settings)
            return cls(layer, k, [list(layer.blocks)], layer.width)
        lists = points * k * (4 + (item if keep_values else 0))
        # The rows of a segment, reduced to k and merged with the k so far: values, 64-bit positions and keys of each.
        segment = -(-k // layer.chunk) * layer.chunk
        per_input = segment * (2 * item + 24) + min(segment, k) * (4 * item + 48)
        groups = groups_within(layer.blocks, per_input, lists + layer.drawing_bytes + extra, settings)
        numbering = 48 * points * k if points * k < layer.width else 0
        fixed = lists + numbering + points**2 * 24 + 2**20 * 24 + extra
        require(fixed + 4 * 256 * points, settings)
        room = settings.memory_budget // settings.workers // 2 - fixed
        return cls(layer, k, groups, max(256, min(room // (4 * points), 2**26 // points)))

    def overlaps(self, tile: int) -> Tensor:
        """``|A_i and A_j|``, shape ``(trials, U, U)``."""
        if self.layer.narrow:
            return mask_overlaps(winner_mask(self.layer.outputs(tile), self.k))
        lists, _ = self._stream(tile, keep_values=False)
        columns, count = compress(lists, self.layer.width)
        return index_overlaps(columns, count, self.columns)[None]

    def winners(self, tile: int) -> tuple[Tensor, Tensor]:
        """Indices and values of the winners, each of shape ``(trials, U, k)``."""
        if self.layer.narrow:
            values, indices = winners_of(self.layer.outputs(tile), self.k)
            return indices, values
        indices, values = self._stream(tile, keep_values=True)
        return indices[None], values[None]

    def _stream(self, tile: int, *, keep_values: bool) -> tuple[Tensor, Tensor]:
        """Lists of winners (32-bit: there are many), group by group; every group draws the same numbers again."""
        parts = [streamed_winners(self.layer, self.k, tile, group) for group in self.groups]
        indices = torch.cat([part[1] for part in parts])
        return indices, torch.cat([part[0] for part in parts]) if keep_values else indices


def streamed_winners(layer: Layer, k: int, tile: int, blocks: Sequence[slice]) -> tuple[Tensor, Tensor]:
    """Values and indices of the winners of a wide trial, ``(inputs, k)``, from at least ``k`` of its rows at a time."""
    count = sum(block.stop - block.start for block in blocks)
    values = layer.factor.new_empty(count, 0)
    indices = torch.empty(count, 0, dtype=torch.int64, device=layer.factor.device)
    pieces: list[Tensor] = []
    first = held = 0
    for start, piece in layer.chunks(tile, blocks):
        pieces.append(piece)
        held += piece.shape[-1]
        if held >= k or start + piece.shape[-1] == layer.width:
            values, indices = merge_winners(values, indices, torch.cat(pieces, dim=-1), first, k)
            pieces, first, held = [], first + held, 0
    return values, indices.to(torch.int32)
