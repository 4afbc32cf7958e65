"""The steps of Lemma 5 against mpmath, enumeration, drawn layers, the exact law of a pair and the printed bound."""

from __future__ import annotations

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory import theory
from kwta_theory.checks import InvalidArgumentError, winners
from kwta_theory.theory import lemma5_steps
from kwta_theory.theory.lemma5_steps import (
    Lemma5Counts,
    binomial_log_lower_tail,
    binomial_log_tail,
    claim5_row_failure,
    lemma5_best_steps,
    lemma5_epsilon,
    lemma5_exact_steps,
    lemma5_levels,
    log_event,
)


def tail_by_mpmath(least: int, n: int, p: float, terms: int = 4000) -> float:
    """The sum of the masses from ``least`` on, each from the one before; the rest is below 1e-25 of it."""
    with mp.workdps(40):
        q = mp.mpf(p)
        log_first = mp.loggamma(n + 1) - mp.loggamma(least + 1) - mp.loggamma(n - least + 1)
        log_first += least * mp.log(q) + (n - least) * mp.log1p(-q)
        total, term = mp.mpf(0), mp.mpf(1)
        for j in range(least, min(n, least + terms) + 1):
            total += term
            term *= (n - j) * q / ((j + 1) * (1 - q))
        assert term < total * mp.mpf(10) ** -25
        return float(log_first + mp.log(total))


@pytest.mark.parametrize(
    ("least", "n", "p"),
    [
        (3, 10, 0.2),
        (110, 1000, 0.1),
        (900, 1000, 0.1),  # underflow: the continued fraction in logs
        (1000, 1000, 0.1),
        (10**6, 10**12, 9e-7),  # a million expected, at a width of 1e12
        (2 * 10**6, 10**12, 9e-7),
        (15 * 10**10, 10**12, 0.1),
    ],
)
def test_upper_tail_against_mpmath(least, n, p):
    assert binomial_log_tail(least, n, p) == pytest.approx(tail_by_mpmath(least, n, p), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(
    ("most", "n", "p"),
    [(1, 10, 0.2), (90, 1000, 0.1), (5, 1000, 0.4), (50, 10**9, 1e-6), (0, 10**9, 1e-6), (0, 10**12, 1e-10)],
)
def test_lower_tail_against_mpmath(most, n, p):
    """Also with p = 1e-10, whose complement keeps only six digits of it."""
    with mp.workdps(40):
        q = mp.mpf(p)
        masses = [mp.binomial(n, j) * q**j * (1 - q) ** (n - j) for j in range(most + 1)]
        exact = float(mp.log(mp.fsum(masses)))
    assert binomial_log_lower_tail(most, n, p) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize(("n", "p"), [(3000, 0.3), (10**7, 0.01)])
def test_the_hand_over_to_logs_is_smooth(n, p, monkeypatch):
    """With the hand-over moved, each route alone gives the same number."""
    mean, sd = n * p, math.sqrt(n * p * (1 - p))
    for z in (4.0, 12.0, 30.0):
        above, below = round(mean + z * sd), round(mean - z * sd)
        plain = binomial_log_tail(above, n, p), binomial_log_lower_tail(below, n, p)
        with monkeypatch.context() as patch:
            patch.setattr(lemma5_steps, "SMALLEST_TAIL", 0.4)
            logs = binomial_log_tail(above, n, p), binomial_log_lower_tail(below, n, p)
        assert logs == pytest.approx(plain, rel=1e-9)


@given(st.integers(1, 2000), st.floats(0.001, 0.999), st.data())
@settings(deadline=None, max_examples=60)
def test_the_tails_are_complements_and_monotone(n, p, data):
    least = data.draw(st.integers(-1, n + 1))
    upper, lower = binomial_log_tail(least, n, p), binomial_log_lower_tail(least - 1, n, p)
    assert math.exp(upper) + math.exp(lower) == pytest.approx(1.0, abs=1e-11)
    assert binomial_log_tail(least + 1, n, p) <= upper + 1e-12
    assert lower == pytest.approx(binomial_log_tail(n - least + 1, n, 1.0 - p), rel=1e-8, abs=1e-11)


def test_levels_are_the_quantiles():
    with mp.workdps(30):
        for ratio, cosine in itertools.product((0.4799, 0.1, 1e-9), (0.5001, 0.9, 0.9999)):
            epsilon = lemma5_epsilon(cosine)
            for sign, level in zip((2, 1, -1, -2), lemma5_levels(ratio, cosine), strict=True):
                tail = mp.erfc(mp.mpf(level) / mp.sqrt(2)) / 2
                assert float(tail) == pytest.approx((1 + sign * epsilon) * ratio, rel=1e-12)
                assert level > 0


def test_the_row_of_claim_5():
    with mp.workdps(30):
        exact = float(mp.ncdf(mp.sqrt(2 * mp.pi) / 6))
    assert claim5_row_failure() == pytest.approx(exact, rel=1e-15)
    for cosine in (0.51, 0.8, 0.999):
        sine = math.sqrt(1 - cosine**2)
        assert 16 * lemma5_epsilon(cosine) * cosine / sine == pytest.approx(1 / 6)


def event_by_enumeration(counts: Lemma5Counts, v: float, w: float) -> float:
    """The definition of E, summed over all counts of the five cells."""
    small = counts.window
    cells = (counts.above - small, small, 2 * small, small, 1 - counts.reaching - small)
    total = 0.0
    n = counts.width
    for a in range(n + 1):
        for b in range(n - a + 1):
            for c in range(n - a - b + 1):
                for d in range(n - a - b - c + 1):
                    if not (
                        a + b <= (1 - counts.epsilon / 2) * counts.k
                        and a + b + c >= (1 + counts.epsilon / 2) * counts.k
                        and min(b, d) >= counts.epsilon * counts.k / 2
                    ):
                        continue
                    numbers = (a, b, c, d, n - a - b - c - d)
                    ways = math.factorial(n)
                    for number in numbers:
                        ways //= math.factorial(number)
                    mass = float(ways) * math.prod(q**e for q, e in zip(cells, numbers, strict=True))
                    total += mass * v**b * w**d
    return total


@pytest.mark.parametrize(("width", "k", "cosine"), [(8, 2, 0.6), (12, 5, 0.51), (14, 3, 0.95)])
@pytest.mark.parametrize(("v", "w"), [(1.0, 1.0), (0.66, 1.0), (1.0, 0.5)])
def test_the_event_by_enumeration(width, k, cosine, v, w):
    counts = Lemma5Counts.of(width, k, cosine)
    low, high = log_event(counts, v, w)
    exact = math.log(event_by_enumeration(counts, v, w))
    assert low <= exact <= high
    assert high - low < 1e-7


def test_the_event_is_impossible_with_one_winner():
    assert log_event(Lemma5Counts.of(100, 1, 0.8)) == (-math.inf, -math.inf)


def test_beyond_the_sum_the_union_bound_brackets_the_event(monkeypatch):
    counts = Lemma5Counts.of(200_000, 90_000, 0.51)
    low, high = log_event(counts, 0.7, 1.0)
    monkeypatch.setattr(lemma5_steps, "LARGEST_SUM", 0)
    wide_low, wide_high = log_event(counts, 0.7, 1.0)
    assert wide_low <= low < high <= wide_high
    assert wide_high - wide_low < 0.1
    assert log_event(Lemma5Counts.of(400, 100, 0.9))[0] == -math.inf  # the four chances add up to more than 1


def test_thresholds_are_exact_integers():
    for width, k, cosine in ((1000, 480 - 1, 0.51), (10**12, 10**11, 0.9), (7, 1, 0.999)):
        counts = Lemma5Counts.of(width, k, cosine)
        with mp.workdps(60):
            e = mp.mpf(counts.epsilon)
            assert counts.most_above == int(mp.floor((1 - e / 2) * k))
            assert counts.least_reaching == int(mp.ceil((1 + e / 2) * k))
            assert counts.least_in_window == int(mp.ceil(e * k / 2))


def test_claim_4_against_drawn_normals():
    """Normals compared with the quantiles. 40,000 layers: sd 0.0025, so a shift of 0.012 (3 % of 0.4) is seen."""
    width, k, cosine, trials = 200, 90, 0.51, 40_000
    counts = Lemma5Counts.of(width, k, cosine)
    far, _, near, edge = lemma5_levels(counts.ratio, cosine)
    generator = np.random.default_rng(np.random.SeedSequence([11]))
    hits = np.zeros(2)
    for _ in range(40):
        x = generator.standard_normal((trials // 40, width))
        hits[0] += ((x >= near).sum(axis=1) >= (1 - counts.epsilon / 2) * k).sum()
        hits[1] += (((x >= near) & (x <= edge)).sum(axis=1) <= counts.epsilon * k / 2).sum()
    many, _, empty = counts.log_claim4()
    for count, law in zip(hits, (many, empty), strict=True):
        p = math.exp(law)
        assert abs(count - trials * p) < 4.6 * math.sqrt(trials * p * (1 - p))
    # Negative control: the tail without equality, (12)'s reading of a weak inequality.
    p = math.exp(counts.log_not_e1_e2()[0])
    strict = math.exp(binomial_log_tail(counts.most_above + 2, width, counts.above))
    assert p == pytest.approx(math.exp(many))
    assert abs(hits[0] - trials * strict) > 4.6 * math.sqrt(trials * strict * (1 - strict))
    assert far > 0


@pytest.mark.parametrize("cosine", [0.51, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.47])
@pytest.mark.parametrize("width", [1000, 10**5, 10**7, 10**9])
def test_exact_law_below_the_steps_below_the_printed_bound(width, ratio, cosine):
    margin = theory.lemma5_margin(cosine)
    k = winners(width, ratio)
    exact = theory.same_pattern(width, k, cosine, margin=margin, log=True)
    steps = lemma5_exact_steps(width, ratio, cosine, log=True)
    best = lemma5_best_steps(width, ratio, cosine, log=True)
    printed = theory.lemma5_failure_bound(width, ratio, cosine, log=True)
    assert exact <= best <= steps + 1e-9
    assert steps <= printed


def test_the_best_window_makes_a_difference_and_so_does_the_margin():
    steps, best = (f(10**5, 0.1, 0.9, log=True) for f in (lemma5_exact_steps, lemma5_best_steps))
    assert best < 100 * steps < 0
    assert lemma5_best_steps(10**5, 0.1, 0.9, log=True, margin=0.0) < best
    assert lemma5_best_steps(10**4, 0.1, 0.9) == pytest.approx(math.exp(lemma5_best_steps(10**4, 0.1, 0.9, log=True)))
    assert lemma5_exact_steps(10**7, 0.1, 0.9) == pytest.approx(math.exp(lemma5_exact_steps(10**7, 0.1, 0.9, log=True)))


def test_the_steps_bound_what_is_counted_on_drawn_layers():
    """The best window at width 60: 0.2 of a bound against failures counted on drawn layers.

    20,000 layers; the failure probability is about 0.003, so that a bound below it would be seen at a fifth of it.
    """
    width, ratio, cosine, trials = 60, 0.4, 0.7, 20_000
    k, margin = winners(width, ratio), theory.lemma5_margin(cosine)
    generator = np.random.default_rng(np.random.SeedSequence([12]))
    x = generator.standard_normal((trials, width))
    y = cosine * x + math.sqrt(1 - cosine**2) * generator.standard_normal((trials, width))
    order = np.argsort(-x, axis=1)
    moved = np.take_along_axis(y, order, axis=1)
    failures = int((moved[:, :k].min(axis=1) >= moved[:, k:].max(axis=1) - margin).sum())
    exact = theory.same_pattern(width, k, cosine, margin=margin)
    assert abs(failures - trials * exact) < 4.6 * math.sqrt(trials * exact)
    assert failures / trials <= lemma5_best_steps(width, ratio, cosine)


def test_errors():
    with pytest.raises(InvalidArgumentError, match=r"cosine=0.5 is outside the hypothesis of Lemma 5"):
        lemma5_epsilon(0.5)
    with pytest.raises(InvalidArgumentError, match=r"sparsity_ratio=0.48 is outside the hypothesis"):
        lemma5_levels(0.48, 0.8)
    with pytest.raises(InvalidArgumentError, match="k=48 is outside the hypothesis of Lemma 5"):
        Lemma5Counts.of(100, 48, 0.8)
    with pytest.raises(InvalidArgumentError, match="width=3 is below k=4"):
        Lemma5Counts.of(3, 4, 0.8)
    with pytest.raises(InvalidArgumentError, match="trials=0"):
        binomial_log_tail(1, 0, 0.5)
    with pytest.raises(InvalidArgumentError, match=r"probability=1.0"):
        binomial_log_tail(1, 2, 1.0)
    with pytest.raises(InvalidArgumentError, match=r"most=0.5"):
        binomial_log_lower_tail(0.5, 2, 0.5)
    with pytest.raises(InvalidArgumentError, match=r"upper_weight=0.0"):
        log_event(Lemma5Counts.of(100, 10, 0.8), upper_weight=0.0)
    with pytest.raises(InvalidArgumentError, match=r"lower_weight=2.0"):
        log_event(Lemma5Counts.of(100, 10, 0.8), lower_weight=2.0)
    with pytest.raises(InvalidArgumentError, match="margin=-1"):
        lemma5_best_steps(100, 0.1, 0.8, margin=-1)


def test_a_continued_fraction_that_does_not_settle_says_so(monkeypatch):
    monkeypatch.setattr(lemma5_steps, "MOST_STEPS", 3)
    with pytest.raises(ArithmeticError, match="did not converge at a=900"):
        binomial_log_tail(900, 1000, 0.1)
