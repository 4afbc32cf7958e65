"""Patterns of many layers at once: pure functions of tensors, for any device, without a host synchronisation.

Nothing here draws, reads a value back or branches on data, so that a GPU's queue never waits; a test runs each function
on fake CUDA tensors, where a hidden synchronisation is an error. ``y`` stands for the outputs ``W x`` of layers before
the activation: the last dimension is the width, the others are batch. Outputs are finite.
"""

from __future__ import annotations

import torch
from torch import Tensor


def threshold(y: Tensor, k: int) -> Tensor:
    """The k-th largest output, shape ``(..., 1)``. ``topk`` without sorting beats ``kthvalue`` and ``sort`` here."""
    return y.topk(k, dim=-1, sorted=False).values.amin(dim=-1, keepdim=True)


def winner_mask(y: Tensor, k: int) -> Tensor:
    """The activation pattern as a mask of exactly ``k`` winners, ties to the smaller index.

    Above the k-th largest value everyone wins; of those equal to it the first ones win, until there are ``k``.
    """
    level = threshold(y, k)
    above = y > level
    tied = y == level
    places = k - above.sum(dim=-1, keepdim=True, dtype=torch.int32)
    return above | (tied & (tied.cumsum(dim=-1, dtype=torch.int32) <= places))


def winner_positions(y: Tensor, index: Tensor, k: int) -> Tensor:
    """Positions of the ``k`` winners, shape ``(..., k)``, in no particular order, ties to the smaller ``index``.

    ``topk`` promises nothing about ties, so it only finds the threshold; a second ``topk`` takes the smallest of keys
    that put everything above the threshold first, then the tied ones by index. The keys of those that can be taken are
    distinct, so nothing is left to chance.

    Args:
        y: outputs, shape ``(..., n)``.
        index: integer index of each output in the layer, broadcastable to ``y``; below ``2^30``.
        k: number of winners, at most ``n``.
    """
    level = threshold(y, k)
    far = torch.full((), 2**31 - 1, dtype=torch.int32, device=y.device)
    index = index.to(torch.int32)
    key = torch.where(y > level, index - 2**30, torch.where(y == level, index, far))
    return key.topk(k, dim=-1, largest=False, sorted=False).indices


def winners_of(y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and indices of the ``k`` winners of whole layers, each of shape ``(..., k)``, in no particular order."""
    positions = winner_positions(y, torch.arange(y.shape[-1], device=y.device), k)
    return y.gather(-1, positions), positions


def merge_winners(values: Tensor, indices: Tensor, y: Tensor, start: int, k: int) -> tuple[Tensor, Tensor]:
    """The winners of the first ``start + c`` rows from those of the first ``start`` and the next ``c`` outputs.

    Winners of a union are among the winners of its parts, so a layer of any width is reduced in pieces.

    Args:
        values: winners so far, shape ``(N, j)`` with ``j + c >= k``; ``j = 0`` at the beginning.
        indices: their int32 indices in the layer.
        y: outputs of rows ``start, ..., start + c - 1``, shape ``(N, c)``.
        start: the first of these rows.
        k: number of winners.
    """
    if y.shape[-1] > k:
        y, positions = winners_of(y, k)
        rows = (positions + start).to(torch.int32)
    else:
        rows = torch.arange(start, start + y.shape[-1], dtype=torch.int32, device=y.device).expand(y.shape)
    values = torch.cat([values, y], dim=-1)
    indices = torch.cat([indices, rows], dim=-1)
    positions = winner_positions(values, indices, k)
    return values.gather(-1, positions), indices.gather(-1, positions)


def keeps_pattern(mask: Tensor, y: Tensor, margin: float) -> Tensor:
    """Whether outputs ``y`` have the pattern ``mask``, without selecting again.

    The pattern is the same iff every winner beats every loser, that is iff the smallest winner beats the largest
    loser: two reductions in place of a selection. Equal values are decided by index: the last winner with that value
    must come before the first loser with it. With a margin ``mu > 0`` the event is that no winner falls more than
    ``mu`` below a loser, ``min winners >= max losers - mu``.

    Args:
        mask: a pattern, broadcastable to ``y``.
        y: outputs, shape ``(..., l)``.
        margin: ``mu >= 0``, in the units of ``y``.

    Returns:
        A bool tensor of shape ``(...)``. Where everyone wins it is True: there is no loser to beat.
    """
    mask = mask.expand(y.shape)
    lowest = y.masked_fill(~mask, torch.inf).amin(dim=-1, keepdim=True)
    highest = y.masked_fill(mask, -torch.inf).amax(dim=-1, keepdim=True)
    if margin > 0:
        return (lowest >= highest - margin).squeeze(-1)
    width = y.shape[-1]
    index = torch.arange(width, dtype=torch.int32, device=y.device)
    last_winner = torch.where(mask & (y == lowest), index, -1).amax(dim=-1, keepdim=True)
    first_loser = torch.where(~mask & (y == highest), index, width).amin(dim=-1, keepdim=True)
    return ((lowest > highest) | ((lowest == highest) & (last_winner < first_loser))).squeeze(-1)


def mask_overlaps(mask: Tensor) -> Tensor:
    """``|A_i and A_j|`` for all pairs from masks ``(..., N, l)``: int64, shape ``(..., N, N)``.

    A matrix product in single precision, exact because the counts stay below 2^24 (the width does: wider layers go
    through :func:`index_overlaps`).
    """
    ones = mask.to(torch.float32)
    return (ones @ ones.transpose(-1, -2)).to(torch.int64)


def compress(indices: Tensor, width: int) -> tuple[Tensor, int]:
    """Number the union of the winners without gaps, so that what nobody wins takes no space.

    Args:
        indices: winners ``(..., N, k)``.
        width: of the layer.

    Returns:
        columns ``(..., N, k)``, equal exactly where the indices are, all below the second value
        ``min(N k, width)``. Where ``N k >= width`` nothing is gained and the indices are returned.
    """
    *batch, points, k = indices.shape
    if points * k >= width:
        return indices, width
    ordered, order = indices.reshape(*batch, points * k).sort(dim=-1)
    rank = torch.zeros_like(ordered)
    rank[..., 1:] = (ordered[..., 1:] != ordered[..., :-1]).cumsum(dim=-1)
    return torch.empty_like(rank).scatter_(-1, order, rank).reshape(indices.shape), points * k


def index_overlaps(columns: Tensor, count: int, block: int) -> Tensor:
    """``|A_i and A_j|`` for all pairs from lists of winners ``(N, k)``: int64, shape ``(N, N)``.

    Args:
        columns: winners, numbered below ``count``.
        count: number of columns.
        block: columns that are laid out at a time; any number gives the same result.
    """
    points, k = columns.shape
    overlaps = torch.zeros(points, points, dtype=torch.int64, device=columns.device)
    rows = max(1, 2**18 // k)
    for start in range(0, count, block):
        size = min(block, count - start)
        ones = torch.zeros(points, size + 1, dtype=torch.float32, device=columns.device)
        for first in range(0, points, rows):
            local = columns[first : first + rows].to(torch.int64) - start
            # What lies outside the block falls into a last column that is then ignored.
            outside = (local < 0) | (local >= size)
            ones[first : first + rows].scatter_(1, local.masked_fill(outside, size), 1.0)
        overlaps += (ones[:, :size] @ ones[:, :size].T).to(torch.int64)
    return overlaps


def histogram(overlaps: Tensor, k: int) -> Tensor:
    """How many pairs ``i < j`` share 0, 1, ..., k winners, from overlaps ``(..., N, N)``: int64, shape ``(k + 1,)``."""
    points = overlaps.shape[-1]
    first, second = torch.triu_indices(points, points, offset=1, device=overlaps.device)
    sizes = overlaps[..., first, second].reshape(-1)
    counts = torch.zeros(k + 1, dtype=torch.int64, device=overlaps.device)
    return counts.scatter_add_(0, sizes, torch.ones_like(sizes))


def off_diagonal_maximum(overlaps: Tensor) -> Tensor:
    """The largest overlap of two different points, from overlaps ``(..., N, N)``: shape ``(...)``, -1 if ``N = 1``."""
    diagonal = torch.eye(overlaps.shape[-1], dtype=torch.bool, device=overlaps.device)
    return overlaps.masked_fill(diagonal, -1).amax(dim=(-2, -1))
