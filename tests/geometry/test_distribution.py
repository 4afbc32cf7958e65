"""The law of the radius: single draws by brute force, the logic of brackets, what the intervals promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.geometry import CertificationError, PatternCell, RadiusDistribution, pattern_cell, radius_distribution
from kwta_theory.geometry import distribution as module
from kwta_theory.seeding import Stream

LARGEST_Z = 4.6


def layer(seed: int, index: int, width: int, input_dim: int) -> np.ndarray:
    sequence = Stream(seed, "radius-distribution").sequence(index)
    return np.random.Generator(np.random.SFC64(sequence)).standard_normal((width, input_dim))


def radius_in_the_plane(weight: np.ndarray, k: int) -> float:
    """Walk to both sides of ``x`` along ``(1, t)`` through all crossings of two outputs, sorting between them."""
    a, b = weight.T
    top = set(np.argsort(-a, kind="stable")[:k])
    with np.errstate(divide="ignore"):
        crossings = [(a[i] - a[j]) / (b[j] - b[i]) for i in range(len(a)) for j in range(i)]
    ends = []
    for sign in (1.0, -1.0):
        places = np.sort([sign * t for t in crossings if sign * t > 0])
        places = places if len(places) else np.ones(1)
        between = [*(places[:-1] + places[1:]) / 2, 2 * places[-1]]
        same = [set(np.argsort(-(a + sign * t * b), kind="stable")[:k]) == top for t in between]
        ends.append(float(places[same.index(False)]) if False in same else math.inf)
    return max(ends)


def made(lower: list[float], upper: list[float]) -> RadiusDistribution:
    return RadiusDistribution(10, 3, 2, 0, "box", np.array(lower), np.array(upper))


@pytest.mark.parametrize(("width", "k"), [(3, 1), (12, 3), (30, 12)])
def test_each_draw_in_the_plane_is_what_walking_through_all_crossings_finds(width, k):
    sample = radius_distribution(width, 2, k, draws=12, seed=5)
    by_hand = np.array([radius_in_the_plane(layer(5, index, width, 2), k) ** 2 for index in range(12)])
    np.testing.assert_allclose(sample.lower, by_hand, rtol=1e-9)
    np.testing.assert_allclose(sample.upper, by_hand, rtol=1e-9)
    assert sample.uncertified == 0
    assert not np.allclose(radius_distribution(width, 2, k, draws=12, seed=6).lower, by_hand)  # would be noticed


def test_the_cell_of_two_rows_is_a_half_space_and_fails_at_every_level():
    sample = radius_distribution(2, 3, 1, draws=5, seed=0)
    assert np.all(np.isinf(sample.lower))
    assert np.all(np.isinf(sample.upper))
    assert sample.probability(1e6).fails == 5  # unbounded cells fail at every beta


def test_brackets_decide_what_they_can_and_leave_the_rest_open():
    sample = made([0.1, 0.3, 0.5, math.inf, 0.0], [0.2, 0.4, math.inf, math.inf, math.inf])
    found = sample.probability(0.35)
    assert (found.holds, found.fails, found.open) == (1, 2, 2)
    assert (found.brackets.lower, found.brackets.upper) == (1 / 5, 3 / 5)
    # the witness at exactly beta refutes; the certificate at exactly beta decides nothing
    assert sample.probability(0.3).fails == 3
    assert sample.probability(0.2).holds == 0
    assert sample.probability(np.nextafter(0.2, 1)).holds == 1
    assert sample.probability(1e300).holds == 2  # infinite upper ends never hold, whatever beta


def test_the_interval_takes_certain_successes_below_and_open_ones_too_above():
    found = made([0.1] * 6 + [0.3] * 4, [0.2] * 6 + [0.5] * 4).probability(0.4, error=0.02)
    # Clopper and Pearson by the beta law
    assert found.interval.lower == pytest.approx(stats.beta.ppf(0.01, 6, 5), rel=1e-9)
    assert found.interval.upper == 1.0
    assert found.error == 0.02
    assert made([0.1] * 6 + [0.3] * 4, [0.2] * 6 + [0.5] * 4).probability(0.4).interval.lower < found.interval.lower


def test_the_simultaneous_band_is_that_of_dvoretzky_kiefer_wolfowitz():
    rng = np.random.default_rng(0)
    values = rng.exponential(size=1000)
    sample = made(list(values), list(values))
    found = sample.probability(1.0, error=0.01, simultaneous=True)
    assert found.interval.width == pytest.approx(2 * math.sqrt(math.log(200) / 2000))
    assert found.simultaneous
    inside = [1 - math.exp(-b) in sample.probability(b, simultaneous=True).interval for b in np.geomspace(0.01, 9, 50)]
    assert all(inside)
    wrong = [math.exp(-b) in sample.probability(b, simultaneous=True).interval for b in np.geomspace(0.01, 9, 50)]
    assert not all(wrong)


@given(
    st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2)), min_size=1, max_size=12),
    st.floats(0.01, 2),
    st.floats(0.01, 2),
    st.floats(0.05, 0.95),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_true_radii_are_the_report_contains_what_they_give(pairs, beta, other, level):
    """Any values inside the brackets: their count, their interval and their quantile lie in what is reported."""
    lower, upper = np.sort(np.array(pairs), axis=1).T
    truth = lower + 0.37 * (upper - lower)
    sample, exact = made(list(lower), list(upper)), made(list(truth), list(truth))
    for simultaneous in (False, True):
        ours = sample.probability(beta, simultaneous=simultaneous)
        ideal = exact.probability(beta, simultaneous=simultaneous)
        assert ours.brackets.lower <= ideal.holds / sample.draws <= ours.brackets.upper
        assert ours.interval.lower <= ideal.interval.lower
        assert ideal.interval.upper <= ours.interval.upper
        small, large = sorted([beta, other])
        assert sample.probability(small).holds <= sample.probability(large).holds
    ours, ideal = sample.quantile(level), exact.quantile(level)
    assert ours.brackets.lower <= ideal.brackets.lower <= ours.brackets.upper
    assert ours.interval.lower <= ideal.interval.lower
    assert ideal.interval.upper <= ours.interval.upper


def misses(level: float, quantile: float) -> int:
    """Of 2,000 samples of 40 exponentials, how often the interval of the quantile misses a number."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(2000):
        values = list(rng.exponential(size=40))
        missed += quantile not in made(values, values).quantile(level, error=0.1).interval
    return missed


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_the_interval_of_a_quantile_misses_no_more_often_than_it_says(level):
    # 2,000 samples: at a true rate of 0.1 the count exceeds 262 with probability 2e-6; a rate of 0.15 is seen
    allowed = stats.binom.isf(2e-6, 2000, 0.1)
    assert misses(level, -math.log(1 - level)) <= allowed
    assert misses(level, -1.4 * math.log(1 - level)) > allowed  # a wrong quantile is missed


def test_the_ends_of_a_quantile_are_zero_and_infinity_where_the_sample_is_too_small():
    found = made([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).quantile(0.5, error=1e-3)
    assert (found.interval.lower, found.interval.upper) == (0.0, math.inf)
    assert (found.brackets.lower, found.brackets.upper) == (2.0, 2.0)


@pytest.mark.parametrize("width", [3, 5])
def test_unbounded_cells_in_the_plane_have_their_exact_frequency(width):
    """With one winner in the plane the cell is bounded where the winner's second entry is not the extreme one.

    The second entries do not depend on which row wins: ``P(unbounded) = 2 / l``. The sizes see 2 / (l + 1.8).
    """
    draws = {3: 700, 5: 900}[width]
    sample = radius_distribution(width, 2, 1, draws=draws, seed=3)
    unbounded = sample.probability(1e12).fails

    def z(share: float) -> float:
        return (unbounded / draws - share) / math.sqrt(share * (1 - share) / draws)

    assert abs(z(2 / width)) < LARGEST_Z
    assert abs(z(2 / (width + 1.8))) > LARGEST_Z


def test_seeds_are_kept_and_workers_change_nothing():
    one = radius_distribution(60, 3, 6, draws=6, seed=1, effort="relaxation")
    two = radius_distribution(60, 3, 6, draws=6, seed=1, effort="relaxation", workers=2)
    more = radius_distribution(60, 3, 6, draws=8, seed=1, effort="relaxation")
    np.testing.assert_array_equal(one.lower, two.lower)
    np.testing.assert_array_equal(one.upper, two.upper)
    np.testing.assert_array_equal(one.lower, more.lower[:6])
    assert not np.array_equal(one.lower, radius_distribution(60, 3, 6, draws=6, seed=2, effort="relaxation").lower)
    box = radius_distribution(60, 3, 6, draws=6, seed=1)
    assert np.all(box.upper >= one.lower)  # brackets of the same layers
    assert np.all(one.upper <= box.upper * (1 + 1e-9))
    assert np.any(one.upper < 0.99 * box.upper)
    assert (one.effort, one.width, one.input_dim, one.k, one.seed, one.draws) == ("relaxation", 60, 3, 6, 1, 6)


def test_a_draw_that_fails_is_kept_and_decides_nothing(monkeypatch):
    class Broken(PatternCell):
        def radius(self, *_: object):
            raise CertificationError("no")

    drawn = iter(range(4))

    def sometimes(weight, x, k):
        cell = pattern_cell(weight, x, k)
        return Broken(cell.weight, cell.x, cell.k, None) if next(drawn) % 2 else cell

    monkeypatch.setattr(module, "pattern_cell", sometimes)
    sample = radius_distribution(40, 2, 4, draws=4, seed=0)
    assert sample.uncertified == 2
    assert list(np.isinf(sample.upper)) == [False, True, False, True]
    assert list(sample.lower[1::2]) == [0.0, 0.0]
    assert sample.probability(1e9).open == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 1}, "width=1 is not allowed"),
        ({"input_dim": 300}, "input_dim=300 is not allowed"),
        ({"k": 20}, "k=20 is not allowed"),
        ({"draws": 0}, "draws=0 is not allowed"),
        ({"seed": -1}, "seed=-1 is not allowed"),
        ({"workers": 0}, "workers=0 is not allowed"),
        ({"effort": "much"}, "effort='much' is not allowed"),
        ({"input_dim": 65, "effort": "relaxation"}, "at most 64 dimensions, not input_dim=65"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(InvalidArgumentError, match=message):
        radius_distribution(**{"width": 20, "input_dim": 2, "k": 2, "draws": 1, "seed": 0} | change)


def test_bad_levels_and_brackets():
    sample = made([0.1], [0.2])
    for beta in (0.0, -1.0, math.nan):
        with pytest.raises(InvalidArgumentError, match="beta="):
            sample.probability(beta)
    with pytest.raises(InvalidArgumentError, match="error="):
        sample.probability(0.1, error=0)
    with pytest.raises(InvalidArgumentError, match="level="):
        sample.quantile(1.0)
    with pytest.raises(InvalidArgumentError, match="error="):
        sample.quantile(0.5, error=1.0)
    for lower, upper in (([0.2], [0.1]), ([], []), ([-1.0], [0.0]), ([math.nan], [1.0]), ([0.1], [0.1, 0.2])):
        with pytest.raises(InvalidArgumentError, match="0 <= lower <= upper"):
            made(lower, upper)
