"""The laws of k-WTA as properties, each on hypothesis examples full of ties, signed zeros, infinities and NaN."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kwta_theory.activation import activation_pattern, kwta, lwta
from kwta_theory.testing import layer_outputs_and_winners, reference_kwta, same_values

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
Case = tuple[torch.Tensor, int]
laws = settings(derandomize=True, database=None, deadline=None, max_examples=100)


def cases(
    *, batch_shape: tuple[int, ...] = (), min_width: int = 1, allow_nan: bool = True, allow_infinity: bool = True
) -> st.SearchStrategy[Case]:
    return st.sampled_from(DTYPES).flatmap(
        lambda dtype: layer_outputs_and_winners(
            dtype, batch_shape=batch_shape, min_width=min_width, allow_nan=allow_nan, allow_infinity=allow_infinity
        )
    )


@st.composite
def integer_cases(draw: st.DrawFn, max_width: int = 6) -> Case:
    """Small integers in float64, on which sums and multiples by eighths are exact."""
    entries = draw(st.lists(st.integers(-4, 4), min_size=1, max_size=max_width))
    return torch.tensor(entries, dtype=torch.float64), draw(st.integers(1, len(entries)))


def identical(a: torch.Tensor, b: torch.Tensor) -> bool:
    return same_values(a, b, zero_signs=True)


def kth_and_next(y: torch.Tensor, k: int) -> tuple[float, float]:
    ordered = y.sort(descending=True).values.tolist()
    return ordered[k - 1], ordered[k] if k < len(ordered) else float("-inf")


@laws
@given(cases())
def test_agrees_with_the_reference_on_python_floats(case: Case) -> None:
    y, k = case
    assert identical(kwta(y, k), torch.tensor(reference_kwta(y.tolist(), k), dtype=y.dtype))


@laws
@given(cases())
def test_exactly_k_survive_ties_to_the_smaller_index(case: Case) -> None:
    y, k = case
    mask = activation_pattern(y, k)
    assert mask.sum() == k
    # Winners and losers in the order of the definition: no loser ranks above a winner.
    rank = {i: (value != value, 0.0 if value != value else value, -i) for i, value in enumerate(y.tolist())}
    winners = set(mask.nonzero().flatten().tolist())
    assert winners == set(sorted(rank, key=rank.__getitem__, reverse=True)[:k])


@laws
@given(cases())
def test_nested_in_k(case: Case) -> None:
    y, _ = case
    masks = [activation_pattern(y, k) for k in range(1, len(y) + 1)]
    assert masks[-1].all()
    for smaller, larger in itertools.pairwise(masks):
        assert (larger | ~smaller).all()


@laws
@given(cases())
def test_gradient_is_the_mask(case: Case) -> None:
    y, k = case
    leaf = y.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kwta(leaf, k).sum(), leaf)
    assert torch.equal(gradient, activation_pattern(y, k).to(y.dtype))


@laws
@given(cases(batch_shape=(3,)))
def test_a_row_in_a_batch_is_the_row_alone_and_dim_is_where_the_units_are(case: Case) -> None:
    y, k = case
    out = kwta(y, k)
    assert identical(out, torch.stack([kwta(row, k) for row in y]))
    assert identical(out, kwta(y.T, k, dim=0).T)


def idempotent(y: torch.Tensor, k: int) -> bool:
    once = kwta(y, k)
    return same_values(kwta(once, k), once)


@laws
@given(cases())
def test_idempotent_exactly_when_no_winner_is_negative(case: Case) -> None:
    y, k = case
    smallest_winner, _ = kth_and_next(y, k)
    assert idempotent(y, k) == (k == len(y) or not smallest_winner < 0)


def test_idempotence_fails_on_a_negative_winner() -> None:
    assert not idempotent(torch.tensor([1.0, -1.0, -2.0]), 2)


def equivariant(y: torch.Tensor, k: int, order: list[int]) -> bool:
    return same_values(kwta(y[order], k), kwta(y, k)[order])


@laws
@given(st.data(), cases())
def test_permutation_equivariant_without_a_tie_across_the_boundary(data: st.DataObject, case: Case) -> None:
    y, k = case
    kth, following = kth_and_next(y, k)
    tied = k < len(y) and (kth == following or (kth != kth and following != following))
    assume(not tied or kth == 0)
    assert equivariant(y, k, data.draw(st.permutations(range(len(y)))))


@laws
@given(cases(min_width=2, allow_nan=False))
def test_a_tie_across_the_boundary_breaks_permutation_equivariance(case: Case) -> None:
    y, _ = case
    tied = [k for k in range(1, len(y)) if kth_and_next(y, k)[0] == kth_and_next(y, k)[1] != 0]
    assume(tied)
    k = tied[0]
    mask, at_threshold = activation_pattern(y, k), y == kth_and_next(y, k)[0]
    winner, loser = int((mask & at_threshold).nonzero()[0]), int((~mask & at_threshold).nonzero()[0])
    order = list(range(len(y)))
    order[winner], order[loser] = loser, winner
    assert not equivariant(y, k, order)


@laws
@given(cases(), st.integers(-8, 8))
def test_positive_scale_equivariance(case: Case, exponent: int) -> None:
    y, k = case
    scaled = y * 2.0**exponent
    assume(identical(scaled / 2.0**exponent, y))  # no overflow, no lost bit of a subnormal
    assert identical(kwta(scaled, k), kwta(y, k) * 2.0**exponent)


@laws
@given(cases(), st.floats(0.01, 100.0))
def test_pattern_of_a_multiple_when_rounding_merges_no_values(case: Case, factor: float) -> None:
    y, k = case
    scaled = y * factor
    assume(torch.equal(_dense_ranks(scaled), _dense_ranks(y)))
    assert torch.equal(activation_pattern(scaled, k), activation_pattern(y, k))


def _dense_ranks(y: torch.Tensor) -> torch.Tensor:
    return torch.stack([(y < value).sum() + (y.isnan().logical_not().sum() if value != value else 0) for value in y])


@laws
@given(cases())
def test_the_pattern_depends_on_the_order_of_the_entries_only(case: Case) -> None:
    y, k = case
    assert torch.equal(activation_pattern(_dense_ranks(y), k), activation_pattern(y, k))


@laws
@given(integer_cases(), st.integers(-1000, 1000))
def test_pattern_of_a_translation(case: Case, shift: int) -> None:
    y, k = case
    assert torch.equal(activation_pattern(y + shift, k), activation_pattern(y, k))


@laws
@given(cases())
def test_all_winners_is_the_identity_and_one_group_is_one_winner(case: Case) -> None:
    y, _ = case
    assert identical(kwta(y, len(y)), y)
    assert identical(lwta(y, len(y)), kwta(y, 1))
    assert identical(lwta(y, 1), y)


@laws
@given(cases(batch_shape=(3,)))
def test_groups_do_not_see_one_another(case: Case) -> None:
    y, _ = case
    assert identical(lwta(y.flatten(), y.shape[1]), torch.cat([kwta(group, 1) for group in y]))


def pattern_is_convex(
    pattern: Callable[[torch.Tensor, int], torch.Tensor], y: torch.Tensor, other: torch.Tensor, k: int, eighths: int
) -> bool:
    """Whether a point between ``y`` and ``other`` has their pattern, if they share one."""
    shared = pattern(y, k)
    between = (eighths * y + (8 - eighths) * other) / 8
    return not torch.equal(pattern(other, k), shared) or torch.equal(pattern(between, k), shared)


@st.composite
def same_pattern_pairs(draw: st.DrawFn) -> tuple[torch.Tensor, int, torch.Tensor]:
    """Two vectors of small integers; the second is arranged so that its pattern is mostly that of the first."""
    y, k = draw(integer_cases())
    entries = torch.tensor(draw(st.lists(st.integers(-4, 4), min_size=len(y), max_size=len(y))), dtype=torch.float64)
    order = torch.cat([activation_pattern(y, k).nonzero(), (~activation_pattern(y, k)).nonzero()]).flatten()
    return y, k, torch.empty_like(y).scatter(0, order, entries.sort(descending=True).values)


@laws
@given(same_pattern_pairs(), st.integers(0, 8))
def test_vectors_with_one_pattern_form_a_convex_set(case: tuple[torch.Tensor, int, torch.Tensor], eighths: int) -> None:
    """Lemma 1 for the outputs of the layer; every sum here is exact."""
    y, k, other = case
    assert pattern_is_convex(activation_pattern, y, other, k, eighths)


def test_convexity_rejects_winners_by_magnitude() -> None:
    def by_magnitude(y: torch.Tensor, k: int) -> torch.Tensor:
        return activation_pattern(y.abs(), k)

    y, other = torch.tensor([2.0, 1.0]), torch.tensor([-2.0, 1.0])
    assert not pattern_is_convex(by_magnitude, y, other, 1, 4)


def lemma_3_applies(y: torch.Tensor, other: torch.Tensor, k: int) -> bool:
    """Some winner of ``y`` is strictly below some loser of ``y`` in ``other``."""
    mask = activation_pattern(y, k)
    return bool((other[mask][:, None] < other[~mask]).any())


@laws
@given(st.data(), integer_cases())
def test_lemma_3_and_its_converse(data: st.DataObject, case: Case) -> None:
    y, k = case
    n = len(y)
    other = torch.tensor(data.draw(st.lists(st.integers(-4, 4), min_size=n, max_size=n)), dtype=torch.float64)
    mask = activation_pattern(y, k)
    differ = not torch.equal(mask, activation_pattern(other, k))
    if lemma_3_applies(y, other, k):
        assert differ
    # The exact condition: a winner is below a loser, or equal to one that comes before it.
    index = torch.arange(n)
    tie = (other[mask][:, None] == other[~mask]) & (index[mask][:, None] > index[~mask])
    assert differ == (lemma_3_applies(y, other, k) or bool(tie.any()))


def test_lemma_3_is_sufficient_and_not_necessary() -> None:
    y, other = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0])
    assert not lemma_3_applies(y, other, 1)
    assert not torch.equal(activation_pattern(y, 1), activation_pattern(other, 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_examples_do_reach_ties_across_the_boundary(dtype: torch.dtype) -> None:
    """Without them most laws above would say little: at least a fifth of the examples with k < width have one."""
    tied = []

    @settings(derandomize=True, database=None, deadline=None, max_examples=200)
    @given(layer_outputs_and_winners(dtype, min_width=2))
    def look(case: Case) -> None:
        y, k = case
        if k < len(y):
            kth, following = kth_and_next(y, k)
            tied.append(kth == following)

    look()
    assert sum(tied) > len(tied) / 5
