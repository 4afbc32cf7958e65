from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kwta_theory.campaign import Moments, Tally, Task, Until, estimate
from kwta_theory.campaign.estimate import asymptotic_sequence
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Interval, confidence_sequence

COIN = Task.of("coin", p=0.5, chunk_trials=10)
HEADS, LEVEL, SCORE = COIN.outcomes


def tally(heads, trials):
    half = Moments(trials / 2, trials / 3)
    return Tally(trials, {"heads": heads}, {"level": half, "score": half})


def test_rules_are_read_from_text():
    rules = Until.parse(["relative-error=0.05,trials=4e4", "seconds=1.5", "decided=0.9"], error=0.01)
    assert rules == Until(relative_error=0.05, trials=40_000, seconds=1.5, decided=0.9, error=0.01)
    assert isinstance(rules.trials, int)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], "until is empty: give at least one of relative-error, trials, seconds, decided"),
        (["forever"], "until='forever' is not known"),
        (["trials"], "until='trials' is not allowed: write trials=NUMBER"),
        (["decided"], "write decided=NUMBER"),
        (["trials=many"], "write trials=NUMBER"),
        (["trials=1,trials=2"], "until='trials' is given twice"),
        (["trials=0"], "trials=0 is not allowed"),
        (["trials=1.5"], "trials=1.5 is not allowed"),
        (["trials=inf"], "trials=inf is not allowed"),
        (["relative-error=0"], "relative-error=0.0 is not allowed"),
        (["seconds=nan"], "seconds=nan is not allowed"),
        (["decided=1.1"], "decided=1.1 is not allowed"),
    ],
)
def test_bad_rules_are_refused(rules, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Until.parse(rules)


def test_the_error_is_checked_and_matters():
    with pytest.raises(InvalidArgumentError, match="error=0 is not allowed"):
        Until(trials=1, error=0)
    count = tally(50, 100)
    rough, strict = Until(relative_error=0.3, error=0.2), Until(relative_error=0.3, error=1e-6)
    assert rough.met(COIN, count) == "relative-error"
    assert strict.met(COIN, count) is None


def test_whichever_comes_first():
    both = Until(trials=200, relative_error=0.2)
    assert both.met(COIN, tally(0, 0)) is None
    assert both.met(COIN, tally(50, 100)) is None
    assert both.met(COIN, tally(0, 200)) == "trials"
    assert both.met(COIN, tally(180, 190)) == "relative-error"
    assert Until(decided=0.2).met(COIN, tally(50, 100)) == "decided"
    assert Until(decided=0.48).met(COIN, tally(50, 100)) is None


def test_an_event_that_never_happens_has_no_relative_error():
    assert Until(relative_error=0.9).met(COIN, tally(0, 10**9)) is None


def test_a_share_can_be_decided_and_a_value_cannot():
    share = Task(COIN.estimator, 1, {}, 10, (LEVEL,))
    value = Task(COIN.estimator, 1, {}, 10, (SCORE,))
    Until(decided=0.2).check(share)
    assert Until(decided=0.2).met(share, tally(50, 100)) == "decided"
    assert Until(decided=0.49).met(share, tally(50, 100)) is None
    with pytest.raises(InvalidArgumentError, match=r"decided=0\.2 needs a probability or a share"):
        Until(decided=0.2).check(value)


def test_trials_left_is_a_forecast():
    found = estimate(tally(50, 100), HEADS, 1e-3)
    assert Until(trials=400).trials_left(tally(50, 100), found) == 300
    wanted = found.relative_error / 2
    assert Until(relative_error=wanted).trials_left(tally(50, 100), found) == pytest.approx(300)
    assert Until(relative_error=wanted, trials=150).trials_left(tally(50, 100), found) == 50
    assert Until(seconds=1).trials_left(tally(50, 100), found) == math.inf


def test_intervals_are_those_of_the_confidence_room():
    count = tally(30, 100)
    assert estimate(count, HEADS, 0.01).interval == confidence_sequence(30, 100, 0.01)
    assert estimate(count, HEADS, 0.01).method == "anytime-valid"
    # A share that is always 0 or 1 is a count.
    zeros_and_ones = Tally(100, {}, {"level": Moments(30, 30)})
    assert estimate(zeros_and_ones, LEVEL, 0.01).interval == confidence_sequence(30, 100, 0.01)
    assert estimate(count, SCORE, 0.01).method == "asymptotic"
    for outcome, interval in ((HEADS, (0, 1)), (LEVEL, (0, 1)), (SCORE, (-math.inf, math.inf))):
        nothing = estimate(Tally(), outcome, 0.01)
        assert (nothing.value, nothing.interval.lower, nothing.interval.upper) == (None, *interval)
        assert nothing.relative_error == math.inf
    assert estimate(tally(1, 1), SCORE, 0.01).relative_error == math.inf
    with pytest.raises(InvalidArgumentError, match=r"error=1\.5 is not allowed"):
        estimate(count, HEADS, 1.5)


def ever_missed(error, radius):
    """In how many of 400 runs of up to 20,000 skewed values an interval, looked at 50 times, ever missed the mean."""
    generator = np.random.default_rng(20240229)
    looks = np.unique(np.geomspace(300, 20_000, 50).astype(int))
    missed = 0
    for _ in range(400):
        values = generator.exponential(size=20_000)
        sums, squares = values.cumsum()[looks - 1], (values**2).cumsum()[looks - 1]
        bad = False
        for n, total, square in zip(looks.tolist(), sums.tolist(), squares.tolist(), strict=True):
            bad |= abs(total / n - 1) > radius(Tally(n, {}, {"v": Moments(total, square)}), error)
        missed += bad
    return missed


def test_the_asymptotic_sequence_survives_looking_and_the_fixed_interval_does_not():
    # At error 0.1, 400 runs: at most 40 misses expected, 40 + 4.6 * 6 = 68 at the outside. The fixed interval, seen
    # 50 times over two decades, misses in about a third of the runs, 20 of those standard errors away.
    def sequence(tally, error):
        return asymptotic_sequence(tally, "v", error).width / 2

    def fixed(tally, error):
        return 1.6449 * math.sqrt(tally.variance("v") / tally.trials)

    assert ever_missed(0.1, sequence) <= 68
    assert ever_missed(0.1, fixed) > 68


def test_the_asymptotic_sequence_is_its_formula():
    count = Tally(1000, {}, {"v": Moments(500.0, 400.0)})
    error = 0.05
    rho2 = (-2 * math.log(error) + math.log(-2 * math.log(error) + 1)) / 1000
    n, s = 1000, math.sqrt(count.variance("v"))
    factor = 2 * (n * rho2 + 1) / (n**2 * rho2) * math.log(math.sqrt(n * rho2 + 1) / error)
    radius = s * math.sqrt(factor)
    found = asymptotic_sequence(count, "v", error)
    assert found.lower == pytest.approx(0.5 - radius)
    assert found.upper == pytest.approx(0.5 + radius)
    # About 1.6 times the fixed interval where it is tightest: the price of looking.
    assert 1.3 < radius / (1.96 * s / math.sqrt(n)) < 1.9
    assert asymptotic_sequence(Tally(1, {}, {"v": Moments(1, 1)}), "v", 0.05).width == math.inf


def coverage(trials, probability, interval):
    """Of a mean of values 1 with a small probability, else 0, enumerated over how many ones there are."""
    ones = np.arange(trials + 1)
    law = stats.binom(trials, probability)
    held = [interval(Tally(trials, {}, {"v": Moments(int(n), int(n))})) for n in ones]
    return float(sum(law.pmf(n) for n, found in zip(ones, held, strict=True) if probability in found))


@pytest.mark.parametrize("trials", [2, 10, 150, 1000])
def test_equal_values_claim_nothing(trials):
    # Half of the runs of so many trials see only zeros. Enumerated, so no allowance for chance.
    probability = 1 - 0.5 ** (1 / trials)
    assert coverage(trials, probability, lambda tally: asymptotic_sequence(tally, "v", 0.05)) >= 0.95

    def zero_wide(tally):  # the control: the same formula without the refusal
        spread = tally.variance("v") > 0
        return asymptotic_sequence(tally, "v", 0.05) if spread else Interval(tally.mean("v"), tally.mean("v"))

    assert coverage(trials, probability, zero_wide) <= 0.5


@given(st.floats(1e-100, 1e100), st.sampled_from([-1.0, 1.0]), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_the_rounding_of_equal_values_is_no_spread(size, sign, chunks):
    value = sign * size
    count = sum(Tally(n, {}, {"v": Moments.of([value] * n)}) for n in chunks)
    assert asymptotic_sequence(count, "v", 0.05).width == math.inf
    # Values that do differ, by a part in a million, are told from rounding.
    other = count + Tally(2, {}, {"v": Moments.of([value, value * (1 + 1e-5 * count.trials**0.5)])})
    found = asymptotic_sequence(other, "v", 0.05)
    assert 0 < found.width < 1e-2 * size
    assert found.lower < value < found.upper


def test_equal_values_never_meet_a_relative_error():
    value = Task(COIN.estimator, 1, {}, 10, (SCORE,))
    equal = Tally(10**6, {"heads": 1}, {"level": Moments(1, 1), "score": Moments(2 * 10**6, 4 * 10**6)})
    assert estimate(equal, SCORE).value == 2.0
    assert estimate(equal, SCORE).relative_error == math.inf
    assert Until(relative_error=0.9, trials=10**6).met(value, equal) == "trials"
