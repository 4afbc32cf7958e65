"""Kernels against the definition: Python loops with the paper's order, on numbers that tie."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from kwta_theory.activation import activation_pattern
from kwta_theory.simulation import kernels

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def order(row: list[float]) -> list[int]:
    """Indices from the strongest to the weakest: larger value first, then smaller index."""
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


def pattern(row: list[float], k: int) -> set[int]:
    return set(order(row)[:k])


def tied_rows(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    """Few different values, signed zeros among them, so that most thresholds are tied."""
    values = np.array([-1.5, -0.0, 0.0, 0.25, 0.25, 2.0])
    return torch.from_numpy(np.random.default_rng(seed).choice(values, (rows, width)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 3, 6, 11, 12])
def test_masks_are_the_pattern_of_the_activation(dtype, k):
    y = tied_rows(200, 12).to(dtype)
    mask = kernels.winner_mask(y, k)
    assert torch.equal(mask, activation_pattern(y, k))
    assert [set(np.flatnonzero(row)) for row in mask.numpy()] == [pattern(row, k) for row in y.tolist()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_normals_tie_and_agree_with_the_activation(dtype):
    y = torch.from_numpy(np.random.default_rng(1).standard_normal((50, 4096))).to(dtype)
    mask = kernels.winner_mask(y, 409)
    assert torch.equal(mask, activation_pattern(y, 409))
    assert ((y >= kernels.threshold(y, 409)).sum(dim=-1) > 409).any()  # the numbers do tie


def test_negative_control_ties_broken_upwards_are_another_pattern():
    y = tied_rows(200, 12)
    assert not torch.equal(kernels.winner_mask(y.flip(-1), 5).flip(-1), activation_pattern(y, 5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 4, 9])
def test_lists_of_winners_are_the_pattern(dtype, k):
    y = tied_rows(100, 9).to(dtype)
    values, indices = kernels.winners_of(y, k)
    assert [set(row) for row in indices.tolist()] == [pattern(row, k) for row in y.tolist()]
    assert torch.equal(values, y.gather(-1, indices))


@pytest.mark.parametrize(
    ("k", "sizes"),
    [(k, s) for k in (1, 3, 7, 20) for s in ((20,), (7, 7, 6), (12, 1, 1, 6), (20, 0)) if s[0] >= k],
)
def test_winners_of_a_stream_are_the_winners_of_the_whole(k, sizes):
    y = tied_rows(60, 20)
    values, indices, start = y[:, :0], torch.empty(60, 0, dtype=torch.int32), 0
    for size in sizes:
        values, indices = kernels.merge_winners(values, indices, y[:, start : start + size], start, k)
        start += size
    assert [set(row) for row in indices.tolist()] == [pattern(row, k) for row in y.tolist()]
    assert torch.equal(values, y.gather(-1, indices.to(torch.int64)))


@pytest.mark.parametrize("k", [1, 3, 5, 6])
def test_one_selection_decides_whether_two_patterns_are_the_same(k):
    """All pairs of rows over two values and one in between: ties inside, outside and across the boundary."""
    rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)), dtype=torch.float64)
    rows = torch.cat([rows, torch.full((len(rows), 1), 0.5, dtype=torch.float64)], dim=1)
    x, y = rows.repeat_interleave(len(rows), dim=0), rows.repeat(len(rows), 1)
    same = kernels.keeps_pattern(kernels.winner_mask(x, k), y, 0.0)
    expected = [pattern(a, k) == pattern(b, k) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert same.tolist() == expected
    assert any(expected)
    if k < 6:
        assert not all(expected)


@pytest.mark.parametrize("margin", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_margin_is_the_event_of_lemma_5(margin, k):
    x, y = torch.from_numpy(np.random.default_rng(2).standard_normal((2, 300, 5)))
    kept = kernels.keeps_pattern(kernels.winner_mask(x, k), y, margin).tolist()
    expected = []
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        winners = pattern(a, k)
        falls = [b[i] < b[j] - margin for i in winners for j in range(5) if j not in winners]
        expected.append(not any(falls))
    assert kept == expected
    assert any(expected)


def lists_and_masks(points: int, width: int, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    y = tied_rows(points, width, seed=3)
    return kernels.winners_of(y, k)[1], kernels.winner_mask(y, k)


@pytest.mark.parametrize(("points", "width", "k"), [(4, 50, 3), (6, 10, 4), (2, 9, 9), (5, 1000, 1)])
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_overlaps_of_lists_and_of_masks_are_set_intersections(points, width, k, block):
    indices, mask = lists_and_masks(points, width, k)
    columns, count = kernels.compress(indices, width)
    assert count == min(points * k, width)
    sets = [set(row) for row in indices.tolist()]
    expected = [[len(a & b) for b in sets] for a in sets]
    assert kernels.mask_overlaps(mask).tolist() == expected
    assert kernels.index_overlaps(columns.to(torch.int32), count, block).tolist() == expected


def test_compressed_columns_are_equal_exactly_where_the_indices_are():
    indices = torch.tensor([[[7, 90], [90, 3]], [[5, 6], [8, 9]]])
    columns, count = kernels.compress(indices, 100)
    assert count == 4
    assert columns.tolist() == [[[1, 2], [2, 0]], [[0, 1], [2, 3]]]


def test_histogram_and_the_largest_overlap():
    overlaps = torch.tensor([[[3, 1, 0], [1, 3, 1], [0, 1, 3]], [[3, 3, 0], [3, 3, 0], [0, 0, 3]]])
    assert kernels.histogram(overlaps, 3).tolist() == [3, 2, 0, 1]
    assert kernels.off_diagonal_maximum(overlaps).tolist() == [1, 3]
