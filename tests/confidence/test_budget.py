from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import ErrorBudget

laws = settings(derandomize=True, database=None, deadline=None, max_examples=100)
totals = st.floats(1e-12, 0.99)


@laws
@given(totals, st.integers(1, 50))
def test_equal_shares_are_spent_to_the_end_and_not_beyond(total: float, claims: int) -> None:
    """Exact bookkeeping: 49 shares of 1/49, each rounded, must neither fail at the last one nor exceed the total."""
    budget = ErrorBudget(total)
    share = budget.share(claims)
    assert share == pytest.approx(total / claims, rel=1e-15)
    for _ in range(claims):
        budget = budget.spend(share)
    assert budget.spent == claims * Fraction(share) <= Fraction(total)
    assert budget.remaining < 1e-14 * total


@laws
@given(totals, st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20))
def test_weighted_shares_are_in_proportion(total: float, weights: list[float]) -> None:
    shares = ErrorBudget(total).split(weights)
    assert sum(Fraction(share) for share in shares) <= Fraction(total)
    assert shares == pytest.approx([total * weight / math.fsum(weights) for weight in weights], rel=1e-12)


@laws
@given(totals)
def test_what_is_left_is_shared_after_some_is_spent(total: float) -> None:
    budget = ErrorBudget(total).spend(total / 2)
    assert budget.remaining == total / 2
    assert budget.share(1) == total / 2
    assert budget.total == total


def test_spending_returns_a_new_budget() -> None:
    budget = ErrorBudget(0.5)
    budget.spend(0.25)
    assert budget.remaining == 0.5


def test_more_than_remains_is_refused() -> None:
    budget = ErrorBudget(0.01)
    with pytest.raises(
        InvalidArgumentError, match=r"error=0\.02 is more than remains of the error budget: 0\.01 of 0\.01"
    ):
        budget.spend(0.02)
    with pytest.raises(InvalidArgumentError, match="more than remains"):
        budget.spend(0.01).spend(1e-300)
    with pytest.raises(InvalidArgumentError, match="is spent: nothing remains to share"):
        budget.spend(0.01).share(1)


@pytest.mark.parametrize("total", [0.0, 1.0, -1.0, math.nan])
def test_total_outside_the_open_unit_interval_is_refused(total: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"total=.* must be a finite number in \(0, 1\)"):
        ErrorBudget(total)


@pytest.mark.parametrize("spent", [Fraction(-1), Fraction(1), math.nan, "0"])
def test_spent_outside_the_total_is_refused(spent: Fraction) -> None:
    with pytest.raises(InvalidArgumentError, match=r"spent=.* must lie in \[0, total=0\.5\]"):
        ErrorBudget(0.5, spent)


def test_wrong_shares_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="number_of_claims=0"):
        ErrorBudget(0.1).share(0)
    with pytest.raises(InvalidArgumentError, match="weights is empty"):
        ErrorBudget(0.1).split([])
    with pytest.raises(InvalidArgumentError, match=r"weights\[1\]=0\.0"):
        ErrorBudget(0.1).split([1.0, 0.0])
    with pytest.raises(InvalidArgumentError, match="error=0"):
        ErrorBudget(0.1).spend(0.0)
