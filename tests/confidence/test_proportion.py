from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import (
    Interval,
    Proportion,
    clopper_pearson,
    largest_supported_confidence,
    lower_bound,
    upper_bound,
)

laws = settings(derandomize=True, database=None, deadline=None, max_examples=100)
FALSE_ALARM = 4e-6  # of one statistical assertion: some 200 of them give about one in a thousand

errors = st.floats(1e-12, 0.99)


@st.composite
def proportions(draw: st.DrawFn, max_trials: int = 10**6) -> Proportion:
    trials = draw(st.integers(0, max_trials))
    return Proportion(draw(st.integers(0, trials)), trials)


def wald(successes: int, trials: int, error: float) -> Interval:
    """The textbook interval that this package must not use."""
    value = successes / trials
    radius = stats.norm.isf(error / 2) * math.sqrt(value * (1 - value) / trials)
    return Interval(value - radius, value + radius)


def beta_below(a: int, b: int, p: float | mpmath.mpf) -> float:
    """P(beta(a, b) <= p) by quadrature over the log-odds, downwards from p in steps of half a standard deviation."""
    with mpmath.workdps(40):
        top, deviation = mpmath.log(p) - mpmath.log1p(-p), mpmath.sqrt(mpmath.mpf(1) / a + mpmath.mpf(1) / b)
        log_beta = mpmath.loggamma(a) + mpmath.loggamma(b) - mpmath.loggamma(a + b)

        def density(t: mpmath.mpf) -> mpmath.mpf:
            return mpmath.exp(-a * mpmath.log1p(mpmath.exp(-t)) - b * mpmath.log1p(mpmath.exp(t)) - log_beta)

        return float(mpmath.quad(density, [top - j * deviation / 2 for j in range(60, -1, -1)]))


class TestInterval:
    def test_is_closed(self) -> None:
        interval = Interval(-1.0, 2.0)
        assert -1.0 in interval
        assert 2.0 in interval
        assert math.nextafter(2.0, 3.0) not in interval
        assert math.nan not in interval
        assert interval.width == 3.0

    @pytest.mark.parametrize("ends", [(1.0, 0.0), (math.nan, 0.0), (0.0, math.nan)])
    def test_refuses_ends_out_of_order(self, ends: tuple[float, float]) -> None:
        with pytest.raises(InvalidArgumentError, match="out of order"):
            Interval(*ends)


class TestProportion:
    @laws
    @given(proportions(), proportions(), proportions())
    def test_is_a_commutative_monoid(self, a: Proportion, b: Proportion, c: Proportion) -> None:
        assert a + b == b + a
        assert (a + b) + c == a + (b + c)
        assert a + Proportion(0, 0) == a == Proportion() + a
        assert sum([a, b, c]) == a + b + c
        assert (a + b).trials == a.trials + b.trials

    @laws
    @given(proportions())
    def test_complement(self, count: Proportion) -> None:
        assert count.complement().complement() == count
        assert count.complement().successes == count.failures
        assert count + count.complement() == Proportion(count.trials, 2 * count.trials)

    def test_value(self) -> None:
        assert Proportion(1, 4).value == 0.25
        assert Proportion(10**30, 3 * 10**30).value == 1 / 3
        with pytest.raises(InvalidArgumentError, match="no trials has no value"):
            _ = Proportion(0, 0).value

    def test_takes_the_integers_of_numpy_as_python_integers(self) -> None:
        count = Proportion(np.int32(2**31 - 1), np.int32(2**31 - 1))  # type: ignore[arg-type]
        assert (count + count).successes == 2**32 - 2
        assert type(count.successes) is int

    @pytest.mark.parametrize(
        ("successes", "trials", "match"),
        [
            (3, 2, r"successes=3 is not allowed: it must be an integer in \[0, 2\]"),
            (-1, 2, "successes=-1"),
            (0, -1, "trials=-1"),
            (0.5, 1, "successes=0.5"),
            (True, 1, "successes=True"),
        ],
    )
    def test_refuses_what_is_no_count(self, successes: int, trials: int, match: str) -> None:
        with pytest.raises(InvalidArgumentError, match=match):
            Proportion(successes, trials)

    def test_is_frozen_and_adds_only_its_like(self) -> None:
        count = Proportion(1, 2)
        with pytest.raises(dataclasses.FrozenInstanceError):
            count.trials = 3  # type: ignore[misc]
        with pytest.raises(TypeError):
            count + 1  # type: ignore[operator]
        with pytest.raises(TypeError):
            1 + count
        with pytest.raises(TypeError):
            sum([count], start=2.0)

    def test_interval_is_clopper_pearson(self) -> None:
        assert Proportion(3, 17).interval(0.01) == clopper_pearson(3, 17, 0.01)


class TestClopperPearson:
    @pytest.mark.parametrize(("successes", "trials"), [(1, 1), (3, 10), (10, 10), (1, 500), (250, 500), (10**5, 10**6)])
    @pytest.mark.parametrize("error", [0.5, 0.01, 1e-9])
    def test_bounds_solve_the_binomial_tail(self, successes: int, trials: int, error: float) -> None:
        lower = lower_bound(successes, trials, error)
        assert stats.binom.sf(successes - 1, trials, lower) == pytest.approx(error, rel=1e-8)
        if successes < trials:
            upper = upper_bound(successes, trials, error)
            assert stats.binom.cdf(successes, trials, upper) == pytest.approx(error, rel=1e-8)

    @pytest.mark.parametrize(
        ("successes", "trials"), [(1000, 132_579_327), (10**6 - 3, 10**6), (5 * 10**11, 10**12), (10**12 - 7, 10**12)]
    )
    @pytest.mark.parametrize("error", [0.25, 1e-9])
    def test_bounds_at_large_counts_against_quadrature(self, successes: int, trials: int, error: float) -> None:
        """The beta density is integrated in 40 digits; scipy's inverse misses the first of these by a factor of 2."""
        lower, upper = lower_bound(successes, trials, error), upper_bound(successes, trials, error)
        # A bound near 1 is known to half a unit of rounding only, which is this much of its tail probability.
        failures = trials - successes
        blurred = 1e-15 * trials * math.sqrt(trials / failures / successes) * 10
        assert beta_below(successes, failures + 1, lower) == pytest.approx(error, rel=1e-8 + blurred)
        assert beta_below(failures, successes + 1, 1 - mpmath.mpf(upper)) == pytest.approx(error, rel=1e-8 + blurred)

    @pytest.mark.parametrize("error", [0.3, 0.05, 1e-3])
    @pytest.mark.parametrize("trials", [1, 2, 5, 20, 60])
    def test_covers_exactly_by_enumeration(self, trials: int, error: float) -> None:
        """Every outcome is enumerated, also at the probabilities where coverage is worst: just beyond the ends."""
        intervals = [clopper_pearson(x, trials, error) for x in range(trials + 1)]
        ends = np.array([[i.lower, i.upper] for i in intervals])
        grid = np.concatenate([np.linspace(0, 1, 101), ends.ravel() * (1 - 1e-9), ends.ravel() * (1 + 1e-9)])
        for p in grid[grid <= 1]:
            mass = stats.binom.pmf(np.arange(trials + 1), trials, p)
            assert mass @ (p < ends[:, 0]) <= error / 2 * (1 + 1e-6)
            assert mass @ (p > ends[:, 1]) <= error / 2 * (1 + 1e-6)

    def test_enumeration_rejects_wald(self) -> None:
        """Negative control: at n = 60 and p = 0.005 the 95 % Wald interval covers with probability 0.26."""
        mass = stats.binom.pmf(np.arange(61), 60, 0.005)
        covered = sum(mass[x] for x in range(61) if 0.005 in wald(x, 60, 0.05))
        assert covered == pytest.approx(0.26, abs=0.005)

    @pytest.mark.parametrize("probability", [0.003, 0.2, 0.5, 0.999])
    def test_covers_in_simulation(self, probability: float) -> None:
        # 20,000 replications: a miss rate of 0.06 instead of at most 0.05 is seen with certainty (z = 6).
        misses, replications = self.misses(clopper_pearson, probability)
        assert stats.binom.sf(misses - 1, replications, 0.05) > FALSE_ALARM

    def test_simulation_rejects_wald(self) -> None:
        misses, replications = self.misses(wald, 0.003)
        assert stats.binom.sf(misses - 1, replications, 0.05) < FALSE_ALARM

    @staticmethod
    def misses(
        interval: Callable[[int, int, float], Interval],
        probability: float,
        trials: int = 1000,
        replications: int = 20_000,
    ) -> tuple[int, int]:
        drawn = np.random.default_rng(20240607).binomial(trials, probability, replications)
        outcomes, how_often = np.unique(drawn, return_counts=True)
        missed = [probability not in interval(int(x), trials, 0.05) for x in outcomes]
        return int(how_often[missed].sum()), replications

    @laws
    @given(proportions(10**9), errors)
    def test_is_symmetric_and_contains_the_value(self, count: Proportion, error: float) -> None:
        interval, mirrored = count.interval(error), count.complement().interval(error)
        assert interval.lower == pytest.approx(1 - mirrored.upper, rel=1e-9, abs=1e-12)
        assert interval.upper == pytest.approx(1 - mirrored.lower, rel=1e-9, abs=1e-12)
        if count.trials:
            assert count.value in interval
        else:
            assert interval == Interval(0.0, 1.0)

    @laws
    @given(proportions(10**9), errors, errors)
    def test_is_nested_in_the_error(self, count: Proportion, one: float, other: float) -> None:
        strict, loose = count.interval(min(one, other)), count.interval(max(one, other))
        assert strict.lower <= loose.lower * (1 + 1e-12)
        assert loose.upper <= strict.upper * (1 + 1e-12)

    @laws
    @given(st.integers(1, 60), errors)
    def test_is_monotone_in_successes(self, trials: int, error: float) -> None:
        intervals = [clopper_pearson(x, trials, error) for x in range(trials + 1)]
        assert all(a.lower < b.lower and a.upper < b.upper for a, b in itertools.pairwise(intervals[:-1]))

    @pytest.mark.parametrize("error", [0.0, 1.0, -0.1, math.nan, "a"])
    def test_refuses_an_error_outside_the_open_unit_interval(self, error: float) -> None:
        for function in (lower_bound, upper_bound, clopper_pearson):
            with pytest.raises(InvalidArgumentError, match=r"error=.* must be a finite number in \(0, 1\)"):
                function(1, 2, error)

    def test_refuses_wrong_counts(self) -> None:
        with pytest.raises(InvalidArgumentError, match="successes=3"):
            clopper_pearson(3, 2, 0.1)


@pytest.mark.parametrize("trials", [1, 100, 10**6, 10**12])
def test_largest_supported_confidence_is_the_root_of_the_error(trials: int) -> None:
    supported = largest_supported_confidence(trials, 0.001)
    assert supported == pytest.approx(math.exp(math.log(0.001) / trials), rel=1e-14)
    assert upper_bound(0, trials, 0.001) == pytest.approx(-math.expm1(math.log(0.001) / trials), rel=1e-12)


def test_a_probability_near_one_is_not_supported_by_a_small_count() -> None:
    """Confirming 1 - 2^-20 takes log(1000) * 2^20 = 7.2 million trials without a failure."""
    assert largest_supported_confidence(10**6, 0.001) < 1 - 2.0**-20 < largest_supported_confidence(8 * 10**6, 0.001)
