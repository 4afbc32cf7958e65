from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special, stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Interval, Mean, confidence_sequence

laws = settings(derandomize=True, database=None, deadline=None, max_examples=100)
FALSE_ALARM = 4e-6
Values = npt.NDArray[np.float64]

chunks = st.lists(st.floats(-2.0, 5.0), max_size=30)


class TestTally:
    @laws
    @given(chunks, chunks, chunks)
    def test_is_a_commutative_monoid_to_the_last_bit(self, x: list[float], y: list[float], z: list[float]) -> None:
        a, b, c = (Mean.of(values, -2.0, 5.0) for values in (x, y, z))
        assert a + b == b + a
        assert (a + b) + c == a + (b + c) == sum([c, a, b])
        assert a + Mean(-2.0, 5.0) == a == Mean(-2.0, 5.0) + a

    @laws
    @given(st.lists(st.floats(-2.0, 5.0), min_size=2, max_size=50))
    def test_value_and_variance_are_those_of_numpy(self, values: list[float]) -> None:
        mean = Mean.of(values, -2.0, 5.0)
        assert mean.count == len(values)
        assert mean.value == pytest.approx(np.mean(values), rel=1e-13, abs=1e-13)
        assert mean.variance == pytest.approx(np.var(values, ddof=1), rel=1e-9, abs=1e-13)

    def test_range_far_from_zero_does_not_cancel(self) -> None:
        values = 1e9 + np.array([0.25, 0.5, 0.75])
        assert Mean.of(values, 1e9, 1e9 + 1).variance == 0.0625

    def test_equal_values_have_no_variance(self) -> None:
        assert Mean.of([0.1] * 7, 0.0, 1.0).variance == pytest.approx(0.0, abs=1e-16)

    def test_any_shape_and_none_at_all(self) -> None:
        assert Mean.of(np.full((2, 3), 0.5), 0, 1).count == 6
        assert Mean.of([], 0, 1) == Mean(0.0, 1.0)

    def test_ends_of_the_range_are_hit_exactly(self) -> None:
        lower, upper = 1.6, 7.3  # 1.6 + (7.3 - 1.6) is not 7.3 in binary
        assert lower + (upper - lower) != upper
        assert Mean.of([upper], lower, upper).value == upper
        assert Mean(lower, upper).interval(0.1) == Interval(lower, upper) == Mean(lower, upper).sequence(0.1)

    @pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
    def test_refuses_a_value_outside_the_range(self, value: float) -> None:
        with pytest.raises(InvalidArgumentError, match=r"values\[1\]=.* must lie in \[0, 1\]"):
            Mean.of([0.5, value], 0, 1)

    @pytest.mark.parametrize("ends", [(1.0, 0.0), (1.0, 1.0), (-1e308, 1e308)])
    def test_refuses_an_empty_or_endless_range(self, ends: tuple[float, float]) -> None:
        with pytest.raises(InvalidArgumentError, match=r"must be below upper=.* by a finite amount"):
            Mean(*ends)

    @pytest.mark.parametrize("sums", [(1, 2, 1), (1, Fraction(1, 2), 1), (1, 1, -1)])
    def test_refuses_sums_of_no_values(self, sums: tuple[int, Fraction, Fraction]) -> None:
        with pytest.raises(InvalidArgumentError, match="are not the sums of values in"):
            Mean(0.0, 1.0, *sums)

    @pytest.mark.parametrize("total", [math.nan, math.inf, "one"])
    def test_refuses_what_is_no_sum(self, total: Fraction) -> None:
        with pytest.raises(InvalidArgumentError, match="are not sums"):
            Mean(0.0, 1.0, 1, total)

    def test_refuses_different_ranges_and_other_types(self) -> None:
        with pytest.raises(InvalidArgumentError, match="the range must be the same"):
            Mean(0.0, 1.0) + Mean(0.0, 2.0)
        with pytest.raises(TypeError):
            Mean(0.0, 1.0) + 1  # type: ignore[operator]
        with pytest.raises(TypeError):
            1 + Mean(0.0, 1.0)

    def test_refuses_mean_and_variance_of_too_few(self) -> None:
        with pytest.raises(InvalidArgumentError, match="no mean of no values"):
            _ = Mean(0.0, 1.0).value
        with pytest.raises(InvalidArgumentError, match=r"count=1 .* a variance needs at least two"):
            _ = Mean.of([0.5], 0, 1).variance


def central_limit(values: Values, error: float) -> Interval:
    """The textbook interval, which knows nothing about a large value that has not been seen yet."""
    radius = stats.norm.isf(error / 2) * values.std(ddof=1) / math.sqrt(len(values))
    return Interval(values.mean() - radius, values.mean() + radius)


class TestEmpiricalBernstein:
    def test_is_the_formula_of_maurer_and_pontil(self) -> None:
        values = np.random.default_rng(1).beta(2, 5, 400)
        radius = math.sqrt(2 * values.var(ddof=1) * math.log(2 / 0.025) / 400) + 7 * math.log(2 / 0.025) / (3 * 399)
        interval = Mean.of(values, 0, 1).interval(0.05)
        assert (interval.lower, interval.upper) == pytest.approx((values.mean() - radius, values.mean() + radius))

    @laws
    @given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=50), st.floats(1e-6, 0.5))
    def test_scales_with_the_values(self, values: list[float], error: float) -> None:
        unit = Mean.of(values, 0, 1).interval(error)
        scaled = Mean.of([4 * value - 2 for value in values], -2, 2).interval(error)
        assert (scaled.lower, scaled.upper) == pytest.approx((4 * unit.lower - 2, 4 * unit.upper - 2), abs=1e-7)

    @laws
    @given(st.lists(st.floats(0.0, 1.0), max_size=50), st.floats(1e-6, 0.5), st.floats(1e-6, 0.5))
    @example([2e-313], 0.1, 0.2)  # a sum so small that only a p below all floats is rejected
    @example([1 - 2**-53] * 3, 0.1, 0.2)
    def test_is_nested_in_the_error(self, values: list[float], one: float, other: float) -> None:
        mean = Mean.of(values, 0, 1)
        for interval in (mean.interval, mean.sequence):
            strict, loose = interval(min(one, other)), interval(max(one, other))
            assert strict.lower <= loose.lower + 1e-12
            assert loose.upper <= strict.upper + 1e-12

    def test_small_variance_makes_it_narrow(self) -> None:
        quiet = Mean.of(0.5 + 0.01 * np.random.default_rng(2).uniform(-1, 1, 10_000), 0, 1)
        assert quiet.interval(0.01).width < 0.2 * quiet.sequence(0.01).width

    @pytest.mark.parametrize("probability", [0.02, 0.5])
    def test_covers(self, probability: float) -> None:
        """Rare large values are the hard case: 40 values that are 0 or 1, drawn 4,000 times."""
        missed = self.misses(lambda values: Mean.of(values, 0, 1).interval(0.1), probability)
        assert stats.binom.sf(missed - 1, 4000, 0.1) > FALSE_ALARM

    def test_the_same_test_rejects_the_central_limit_interval(self) -> None:
        """Negative control: with probability 0.98^40 = 0.45 all values are 0, and the textbook interval is a point."""
        missed = self.misses(lambda values: central_limit(values, 0.1), 0.02)
        assert stats.binom.sf(missed - 1, 4000, 0.1) < FALSE_ALARM

    @staticmethod
    def misses(interval: Callable[[Values], Interval], probability: float) -> int:
        drawn = (np.random.default_rng(3).random((4000, 40)) < probability).astype(np.float64)
        return sum(probability not in interval(values) for values in drawn)

    @pytest.mark.parametrize("error", [0.0, 1.0, math.nan])
    def test_refuses_a_wrong_error(self, error: float) -> None:
        for interval in (Mean(0.0, 1.0).interval, Mean(0.0, 1.0).sequence):
            with pytest.raises(InvalidArgumentError, match=r"error=.* must be a finite number in \(0, 1\)"):
                interval(error)


class TestSequence:
    def test_of_zeros_and_ones_is_that_of_the_count(self) -> None:
        mean = Mean.of([1.0] * 3 + [0.0] * 7, 0, 1)
        assert mean.sequence(0.05) == confidence_sequence(3, 10, 0.05)
        assert mean.sequence(0.05, (2, 2)) == confidence_sequence(3, 10, 0.05, (2, 2)) != mean.sequence(0.05)

    @pytest.mark.parametrize("shape", [(0.05, 0.05), (0.2, 2.0)])
    def test_covers_at_the_worst_time(self, shape: tuple[float, float]) -> None:
        # 1,000 paths of 1,000 beta values at error 0.3; laws of nearly two values, where it is nearly tight.
        missed = self.worst_time_misses(shape, lambda total, n: Mean(0, 1, n, total, Fraction(0)).sequence(0.3))
        assert stats.binom.sf(missed - 1, 1000, 0.3) > FALSE_ALARM

    def test_the_same_test_rejects_a_fixed_time_interval(self) -> None:
        """Negative control: the normal interval at the right variance, right at one time, looked at 1,000 times."""

        def fixed_time(total: Fraction, count: int) -> Interval:
            radius = stats.norm.isf(0.15) * math.sqrt(0.25 / 1.1 / count)
            return Interval(float(total) / count - radius, float(total) / count + radius)

        missed = self.worst_time_misses((0.05, 0.05), fixed_time)
        assert stats.binom.sf(missed - 1, 1000, 0.3) < FALSE_ALARM

    @staticmethod
    def worst_time_misses(shape: tuple[float, float], interval: Callable[[Fraction, int], Interval]) -> int:
        expected = shape[0] / sum(shape)
        drawn = np.random.default_rng(5).beta(*shape, (1000, 1000))
        totals, times = np.cumsum(drawn, axis=1), np.arange(1, 1001)
        evidence = special.betaln(totals + 0.5, times - totals + 0.5)
        evidence -= totals * math.log(expected) + (times - totals) * math.log1p(-expected)
        worst = evidence.argmax(axis=1)
        return sum(
            expected not in interval(Fraction(path[at]), int(times[at])) for path, at in zip(totals, worst, strict=True)
        )
