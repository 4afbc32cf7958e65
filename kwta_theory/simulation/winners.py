"""Winners of many inputs in one layer, whatever its width, within a budget: what overlaps and interpolation share."""

from __future__ import annotations

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
    groups: list[slice]
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
            return cls(layer, k, [slice(None)], layer.width)
        lists = points * k * (4 + (item if keep_values else 0))
        # A segment with its flags and keys; then its k winners merged with the k so far.
        per_input = segment_rows(layer, k) * (item + 12) + k * (5 * item + 80)
        numbering = 48 * points * k if points * k < layer.width else 0
        fixed = lists + numbering + points**2 * 24 + 2**18 * 32 + extra
        drawing = lists + layer.drawing_bytes + extra
        require(max(fixed + 4 * 256 * points, drawing + per_input), settings)
        groups = groups_within(range(points), per_input, drawing, settings)
        room = (settings.share - fixed) // 4
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
        factor = self.layer.factor
        indices = torch.empty(len(factor), self.k, dtype=torch.int32, device=factor.device)
        values = factor.new_empty(indices.shape if keep_values else (0, 0))
        for group in self.groups:
            found, rows = streamed_winners(self.layer, self.k, tile, group)
            indices[group] = rows
            if keep_values:
                values[group] = found
        return indices, values


def streamed_winners(layer: Layer, k: int, tile: int, inputs: slice) -> tuple[Tensor, Tensor]:
    """Values and indices of the winners of a wide trial, ``(inputs, k)``, from at least ``k`` of its rows at a time."""
    count = len(range(len(layer.factor))[inputs])
    values = layer.factor.new_empty(count, 0)
    indices = torch.empty(count, 0, dtype=torch.int32, device=layer.factor.device)
    # Filled again and again: buffers that come and go between the draws would fragment the memory.
    segment = layer.factor.new_empty(count, segment_rows(layer, k))
    first = held = 0
    for start, piece in layer.chunks(tile, [inputs]):
        rows = piece.shape[-1]
        segment[:, held : held + rows] = piece
        held += rows
        if held >= k or start + rows == layer.width:
            values, indices = merge_winners(values, indices, segment[:, :held], first, k)
            first, held = first + held, 0
    return values, indices


def segment_rows(layer: Layer, k: int) -> int:
    """Rows that are collected before winners are selected: whole chunks, at least ``k`` rows."""
    return -(-k // layer.chunk) * layer.chunk
