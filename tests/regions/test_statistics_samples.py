"""Numbers over lines: intervals that hold for every law, with infinite and missing values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Interval, Mean
from kwta_theory.regions import LineSample


@pytest.mark.parametrize("case", range(40))
def test_quantile_intervals_are_those_of_the_binomial_law(case):
    """The ranks again, from the tails of the binomial distribution; drawn, so that no tail equals the error exactly."""
    rng = np.random.default_rng([17, case])
    p, error, values = rng.uniform(0.05, 0.95), rng.uniform(1e-3, 0.5), rng.integers(0, 20, rng.integers(1, 60))
    values = [math.inf if value > 15 else float(value) for value in values]
    n, ordered = len(values), sorted(values)
    found = LineSample(tuple(values), "units").quantile_interval(p, error)
    left = [j for j in range(1, n + 1) if stats.binom.cdf(j - 1, n, p) <= error / 2]
    right = [j for j in range(1, n + 1) if stats.binom.sf(j - 1, n, p) <= error / 2]
    assert found.lower == (ordered[left[-1] - 1] if left else 0.0)
    assert found.upper == (ordered[right[0] - 1] if right else math.inf)


@pytest.mark.parametrize("draw", ["geometric", "infinite", "cauchy"])
def test_coverage_of_the_median(draw):
    """1,000 samples of 25 lines at error 0.1: coverage is at least 0.9. The control takes four boundaries of a line for
    samples of their own (values repeated four times) and covers 0.82 (with atoms), 0.58 and 0.59."""
    rng = np.random.default_rng(11)
    shape = (1000, 25)
    values, median = {
        "geometric": (rng.geometric(0.3, shape).astype(float), stats.geom(0.3).median()),
        "infinite": (np.where(rng.random(shape) < 0.3, math.inf, rng.random(shape)), 0.5 / 0.7),
        "cauchy": (np.abs(rng.standard_cauchy(shape)), 1.0),
    }[draw]
    samples = [LineSample(tuple(row), "units") for row in values]
    covered = sum(median in sample.quantile_interval(0.5, 0.1) for sample in samples)
    assert stats.binom.cdf(covered, 1000, 0.9) > 2e-6  # one-sided, as |z| < 4.6
    repeated = [LineSample(tuple(np.repeat(row, 4)), "units") for row in values]
    wrong = sum(median in sample.quantile_interval(0.5, 0.1) for sample in repeated)
    assert stats.binom.cdf(wrong, 1000, 0.9) < 2e-6


@given(values=st.lists(st.floats(0, 100), min_size=1, max_size=40), p=st.floats(0, 1))
@settings(deadline=None)
def test_quantiles_are_numpys_averaged_inverse(values, p):
    found = LineSample(tuple(values), "units").quantile(p)
    # numpy rounds p n where it is near an integer; there the answer is one of its neighbours
    if abs(p * len(values) - round(p * len(values))) > 1e-9:
        assert found == pytest.approx(np.quantile(values, p, method="averaged_inverted_cdf"))


def test_the_median_is_the_usual_one():
    rng = np.random.default_rng(3)
    for n in range(1, 12):
        values = rng.random(n)
        assert LineSample(tuple(values), "units").median == pytest.approx(np.median(values))
    assert LineSample((1.0, math.inf, math.inf), "units").median == math.inf


def test_missing_values_are_counted_and_left_out():
    sample = LineSample((1.0, math.nan, 3.0), "units")
    assert (sample.count, sample.undefined, sample.defined) == (2, 1, (1.0, 3.0))
    assert sample.mean == 2.0
    assert sample.standard_error == pytest.approx(1.0)


def test_means_of_bounded_statistics_have_the_interval_of_the_mean():
    sample = LineSample((0.5, -0.25, math.nan, 1.0), "cosine", -1.0, 1.0)
    assert sample.mean_interval(0.05) == Mean.of([0.5, -0.25, 1.0], -1, 1).interval(0.05)
    assert LineSample((), "cosine", -1.0, 1.0).mean_interval(0.05) == Interval(-1.0, 1.0)
    assert LineSample((), "units").quantile_interval(0.5, 0.05) == Interval(0.0, math.inf)


def test_refusals():
    with pytest.raises(InvalidArgumentError, match="holds for every law"):
        LineSample((1.0, 2.0), "units").mean_interval(0.05)
    with pytest.raises(InvalidArgumentError, match=r"outside \[-1.0, 1.0\]"):
        LineSample((1.5,), "cosine", -1.0, 1.0)
    empty = LineSample((math.nan,), "units")
    with pytest.raises(InvalidArgumentError, match="no line with a value: 0 lines have a value and 1 have none"):
        empty.mean  # noqa: B018
    with pytest.raises(InvalidArgumentError, match="no line with a value"):
        empty.quantile(0.5)
    with pytest.raises(InvalidArgumentError, match="needs two or more finite values"):
        LineSample((1.0,), "units").standard_error  # noqa: B018
    with pytest.raises(InvalidArgumentError, match="needs two or more finite values"):
        LineSample((1.0, math.inf), "units").standard_error  # noqa: B018
    with pytest.raises(InvalidArgumentError, match=r"probability=1\.0"):
        LineSample((1.0,), "units").quantile_interval(1.0, 0.05)
    with pytest.raises(InvalidArgumentError, match="error=0"):
        LineSample((1.0,), "units").quantile_interval(0.5, 0)
