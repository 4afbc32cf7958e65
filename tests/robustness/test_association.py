"""Rank correlations against scipy and against regressions, their intervals by simulation, and peaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.robustness.association import associations, peak

NUMBERS = st.lists(st.floats(-10, 10).map(lambda x: round(x, 1)), min_size=12, max_size=12)


def one(x, y, z=None, groups=None, **options):
    z = list(range(len(x))) if z is None else z
    return associations({"x": x}, y, z, range(len(x)) if groups is None else groups, **options)[0]


@settings(max_examples=40, deadline=None)
@given(NUMBERS, NUMBERS, NUMBERS)
def test_correlations_are_those_of_scipy_and_of_what_regressions_leave(x, y, z):
    found = one(x, y, z, draws=100)
    constant = min(map(np.ptp, (x, y))) == 0
    assert found.correlation == pytest.approx(0.0 if constant else stats.spearmanr(x, y).statistic, abs=1e-12)
    rest = [_residual(stats.rankdata(v), stats.rankdata(z)) for v in (x, y)]
    if min(np.linalg.norm(r) for r in rest) > 1e-6:
        assert found.partial == pytest.approx(np.corrcoef(rest)[0, 1], abs=1e-9)
    else:
        assert found.partial == 0


def _residual(values, by):
    values, by = values - values.mean(), by - by.mean()
    return values - (values @ by / (by @ by) * by if by @ by else 0)


@settings(max_examples=20, deadline=None)
@given(NUMBERS, NUMBERS)
def test_increasing_maps_change_nothing_and_a_falling_one_the_sign(x, y):
    found = one(x, y, draws=100)
    assert one(np.exp(x), np.array(y) ** 3, draws=100) == found
    assert one(-np.array(x), y, draws=100).correlation == -found.correlation


def draw(random, groups, copies, rho=0.6):
    """Networks in groups of copies, correlated with the target by a Gaussian copula."""
    x = random.standard_normal(groups)
    y = rho * x + np.sqrt(1 - rho**2) * random.standard_normal(groups)
    return np.repeat(x, copies), np.repeat(y, copies), np.repeat(np.arange(groups), copies)


def covered(by_group, repeats=150):
    true = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's correlation of a Gaussian copula
    random, hits = np.random.default_rng(7), 0
    for _ in range(repeats):
        x, y, groups = draw(random, 30, 5)
        interval = one(x, y, groups=groups if by_group else None, draws=200).interval
        hits += true in interval
    return hits


def test_intervals_cover_when_whole_groups_are_drawn_and_not_when_copies_count_as_networks():
    # The percentile bootstrap of 30 groups covers somewhat less than 0.95. Of 150 intervals, each covering with 0.88,
    # fewer than 113 cover with probability 8e-6; treated as 150 networks, 0.6 of them would.
    assert stats.binom.cdf(112, 150, 0.88) < 1e-5
    assert covered(by_group=True) >= 113
    assert covered(by_group=False) < 113


def test_the_best_statistic_is_the_one_that_makes_the_target():
    random = np.random.default_rng(3)
    target = random.standard_normal(40)
    noise, close = random.standard_normal(40), target + 0.1 * random.standard_normal(40)
    found = {a.statistic: a for a in associations(
        {"noise": noise, "close": close, "same": [1.0] * 40}, target, noise, range(40), draws=300)}  # fmt: skip
    assert found["close"].best == 1
    assert sum(a.best for a in found.values()) == pytest.approx(1)
    assert (found["same"].correlation, found["same"].partial, found["same"].best) == (0, 0, 0)
    assert 0 in found["noise"].interval
    assert found["noise"].partial == 0  # given itself, nothing is left
    assert (found["close"].networks, found["close"].groups) == (40, 40)


def test_a_confounded_statistic_loses_its_correlation_given_the_confounder():
    random = np.random.default_rng(5)
    accuracy = random.standard_normal(200)
    x, y = (accuracy + 0.3 * random.standard_normal(200) for _ in range(2))
    found = one(x, y, accuracy, draws=300)
    assert found.correlation > 0.8
    assert 0 in found.partial_interval
    assert 0 not in found.interval


def test_seed_draws_and_error_matter():
    x, y, groups = draw(np.random.default_rng(1), 20, 2)
    base = one(x, y, groups=groups, draws=200)
    assert one(x, y, groups=groups, draws=200) == base
    assert one(x, y, groups=groups, draws=200, seed=1).interval != base.interval
    assert one(x, y, groups=groups, draws=300).interval != base.interval
    wide = one(x, y, groups=groups, draws=200, error=0.01).interval
    assert wide.lower < base.interval.lower
    assert wide.upper > base.interval.upper


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"statistics": {}}, "statistics is empty: give at least one"),
        ({"statistics": {"x": [1, 2]}}, r"statistics\['x'\] has 2 numbers and groups 6"),
        ({"target": [1, 2, 3, 4, 5, float("nan")]}, r"target\[5\]=nan is not allowed"),
        ({"given": [1]}, "given has 1 numbers and groups 6"),
        ({"groups": [1, 1, 2, 2, 3, 4]}, "groups has 4 different ones: at least 5"),
        ({"error": 0}, "error=0 is not allowed"),
        ({"draws": 99}, "draws=99 is not allowed"),
        ({"seed": -1}, "seed=-1 is not allowed"),
    ],
)
def test_what_associations_refuse(change, sentence):
    arguments = {"statistics": {"x": range(6)}, "target": range(6), "given": range(6), "groups": range(6), **change}
    with pytest.raises(InvalidArgumentError, match=sentence):
        associations(**arguments)


def test_a_clear_peak_is_found_and_noise_leaves_it_open():
    clear = {0.1: [0.3, 0.32], 0.2: [0.8, 0.82], 0.4: [0.5, 0.52]}
    assert peak(clear, 500) == (0.2, peak(clear, 500)[1])
    assert (peak(clear, 500)[1].lower, peak(clear, 500)[1].upper) == (0.1, 0.4)
    level = {0.1: [0.5, 0.5], 0.2: [0.51, 0.51], 0.4: [0.5, 0.5]}
    assert (peak(level, 100)[1].lower, peak(level, 100)[1].upper) == (0, 1)
    # The more images, the less is left open.
    assert peak(level, 10**6)[1].upper == 0.4
    # Trainings that differ leave it open, however many images.
    assert peak({0.1: [0.2, 0.9], 0.2: [0.6, 0.6]}, 10**6)[1].upper == 1
    assert peak({0.1: [0.5], 0.2: [0.5]}, 10)[0] == 0.1


def test_the_range_holds_the_true_peak_as_often_as_it_says():
    # Three trainings of each of four ratios; both noises. Of 200 ranges at least 180: each covers with 0.95 or more,
    # because the noise of the images is counted twice (P(fewer than 175 of 200 at 0.95) = 3e-5).
    random, hits, wrong = np.random.default_rng(11), 0, 0
    means = {0.1: 0.4, 0.2: 0.46, 0.3: 0.5, 0.4: 0.47}
    for seed in range(200):
        shares = {
            ratio: random.binomial(200, np.clip(mean + 0.02 * random.standard_normal(3), 0, 1)) / 200
            for ratio, mean in means.items()
        }
        _, interval = peak(shares, 200, draws=200, seed=seed)
        hits += interval.lower < 0.3 < interval.upper
        wrong += interval.lower < 0.1 < interval.upper
    assert hits >= 175
    assert wrong < 100


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (({0.1: [0.5]}, 10), r"robust has 1 ratio\(s\): at least two"),
        (({0.1: [0.5], 0.2: []}, 10), r"robust\[0.2\] is empty"),
        (({0.1: [0.5], 0.2: [1.5]}, 10), r"robust\[0.2\]=1.5 is not allowed"),
        (({0.1: [0.5], 0.2: [0.5]}, 0), "images=0 is not allowed"),
    ],
)
def test_what_peak_refuses(arguments, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        peak(*arguments)


def test_peak_options_matter():
    shares = {0.1: [0.4, 0.5], 0.2: [0.55, 0.5], 0.3: [0.5, 0.52], 0.4: [0.45, 0.5]}
    assert len({str(peak(shares, 100, error=error)[1]) for error in (0.05, 0.9)}) == 2
    with pytest.raises(InvalidArgumentError, match="draws=10"):
        peak(shares, 100, draws=10)
    # Where the draws leave out hardly enough, it depends on which they are.
    assert len({str(peak(shares, 100, draws=100, error=0.2, seed=seed)[1]) for seed in range(30)}) > 1
