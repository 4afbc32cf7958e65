"""The exact arguments are bounds (against exact laws and simulation), and choose well what they leave free."""

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kwta_theory import simulation
from kwta_theory.checks import InvalidArgumentError, winners
from kwta_theory.inputs import points_with_cosine
from kwta_theory.theory import chi_square_log_tail, intersecting_patterns, log_cap_fraction, same_pattern
from kwta_theory.theory import exact_arguments as exact

LEVEL = stats.norm.sf(4.6)


def failure_on_the_circle(width, k, cosine):
    """For ``m = 2`` there are two ``x'`` at a cosine of alpha, and ``x`` lies between them.

    Both have the pattern of ``x`` exactly when they have one pattern (cells are convex), so
    P(fail) = 2 S(alpha) - S(2 alpha^2 - 1).
    """
    return 2 * same_pattern(width, k, cosine) - same_pattern(width, k, 2 * cosine**2 - 1)


@pytest.mark.parametrize(
    ("width", "ratio", "cosine"), [(10, 0.3, 0.95), (60, 0.1, 0.9), (400, 0.1, 0.99), (7, 0.45, 0.8)]
)
def test_on_the_circle_the_bound_is_twice_the_law_of_a_pair(width, ratio, cosine):
    true = failure_on_the_circle(width, winners(width, ratio), cosine)
    assert true <= exact.theorem8_exact_failure(width, 2, ratio, cosine) <= 2 * true


def scan_circle(width, k, cosine, trials, seed):
    """In how many layers some ``x'`` on a fine arc beyond the angle has the pattern of ``x = e_1``, by a loop."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    angles = math.acos(cosine) + np.linspace(0, 0.4, 81)
    angles = np.concatenate([angles, -angles])
    directions = np.stack([np.cos(angles), np.sin(angles)])
    count = 0
    for _ in range(trials):
        rows = rng.standard_normal((width, 2))
        order = np.argsort(-rows[:, 0])
        values = rows[order] @ directions
        count += bool((values[:k].min(axis=0) > values[k:].max(axis=0)).any())
    return count


def test_scanning_the_angle_finds_the_failures_on_the_circle():
    """4000 layers see a bias of 0.035; the law of one x' alone, half as large, is rejected."""
    width, k, cosine, trials = 60, 6, 0.98, 4000
    count = scan_circle(width, k, cosine, trials, seed=1)
    true = failure_on_the_circle(width, k, cosine)
    assert stats.binomtest(count, trials, true).pvalue > 2 * LEVEL
    assert stats.binomtest(count, trials, same_pattern(width, k, cosine)).pvalue < 2 * LEVEL
    assert stats.binomtest(count, trials, exact.theorem8_exact_failure(width, 2, 0.1, cosine), "greater").pvalue > LEVEL


def hardest_by_ascent(rows, k, cosine, starts, rng):
    """Whether some ``x'`` at the cosine keeps the pattern of ``e_1``: subgradient ascent of the least gap."""
    rows = rows[np.argsort(-rows[:, 0])]
    sine = math.sqrt(1 - cosine**2)
    z = rng.standard_normal((rows.shape[1] - 1, starts))
    z /= np.linalg.norm(z, axis=0)
    for step in range(60):
        values = cosine * rows[:, :1] + sine * rows[:, 1:] @ z
        low, high = values[:k].argmin(axis=0), k + values[k:].argmax(axis=0)
        if (values[low, range(starts)] > values[high, range(starts)]).any():
            return True
        z += 0.5 / (1 + step) * (rows[low, 1:] - rows[high, 1:]).T
        z /= np.linalg.norm(z, axis=0)
    return False


def test_in_higher_dimensions_failures_found_stay_below_the_bound_and_above_the_law_of_one_point():
    """The search finds some of the failures: their number may not exceed the bound. One fixed x' is no bound."""
    width, m, cosine, trials = 150, 3, 0.94, 400
    rng = np.random.default_rng(np.random.SeedSequence(2))
    found = sum(hardest_by_ascent(rng.standard_normal((width, m)), 15, cosine, 12, rng) for _ in range(trials))
    bound = exact.theorem8_exact_failure(width, m, 0.1, cosine)
    assert bound < 1
    assert stats.binomtest(found, trials, bound, "greater").pvalue > LEVEL
    assert stats.binomtest(found, trials, same_pattern(width, 15, cosine), "greater").pvalue < LEVEL


def bound_by_hand(width, m, k, cosine, difference, half_sine):
    """The formula of the docstring, for any choice, in plain numbers."""
    margin = 2 * difference * math.sqrt(1 - cosine**2) * half_sine
    pairs = k * (width - k) * stats.chi2.sf(difference**2 / 2, m - 1)
    return pairs + same_pattern(width, k, cosine, margin) / math.exp(log_cap_fraction(m - 1, 1 - 2 * half_sine**2))


@pytest.mark.parametrize(
    ("width", "m", "ratio", "cosine"), [(300, 3, 0.1, 0.95), (1500, 8, 0.2, 0.9), (6000, 32, 0.1, 0.95)]
)
def test_the_choice_is_the_best_on_a_grid_and_the_record_gives_the_bound(width, m, ratio, cosine):
    k = winners(width, ratio)
    bound = exact.theorem8_exact_argument(width, m, ratio, cosine)
    half_sine = math.sin(bound.angle / 2)
    value = math.exp(bound.log_failure)
    assert bound.margin == pytest.approx(2 * bound.difference * math.sqrt(1 - cosine**2) * half_sine, rel=1e-9)
    assert value == pytest.approx(bound_by_hand(width, m, k, cosine, bound.difference, half_sine), rel=1e-6)
    assert bound.log_caps == pytest.approx(-log_cap_fraction(m - 1, math.cos(bound.angle)), rel=1e-6)
    for stretch in (0.5, 0.8, 0.95, 1.05, 1.2, 2.0):
        for narrow in (0.2, 0.8, 0.95, 1.0, 1.05, 1.2, 2.0):
            other = bound_by_hand(width, m, k, cosine, bound.difference * stretch, half_sine * narrow)
            assert value <= other * (1 + 1e-5)
    # A margin of 0 would be no bound: it is the law of a single x' alone.
    assert same_pattern(width, k, cosine) < value


@pytest.mark.parametrize("dim", [2, 3, 10, 783])
def test_caps_cost_less_than_the_nets_of_the_paper(dim):
    for angle in (1e-12, 1e-6, 9.9e-4, 1.1e-3, 0.01, 0.3, 1.0, math.pi / 3):
        log_caps = exact._log_caps(dim, math.sin(angle / 2))
        chord = 2 * math.sin(angle / 2)
        assert log_caps <= dim * math.log1p(1 / chord)  # Lemma 6 as printed; the textbook has (1 + 2 / chord)^d
        with mp.workdps(25):
            area = mp.quad(
                lambda t: mp.sin(t) ** (dim - 2), [0] + [angle * part for part in (0.5, 0.9, 0.97, 0.99, 0.997, 1)]
            ) / mp.beta((dim - 1) / mp.mpf(2), 0.5)
            true = float(-mp.log(area))
        assert true - 1e-9 * abs(true) <= log_caps <= true + 1e-6  # never less than the truth, apart from rounding


def test_whole_sphere_and_degenerate_layers():
    assert exact._log_caps(5, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert exact.theorem8_exact_failure(50, 1, 0.1, 0.9) == 0.0  # in one dimension no x' has that cosine
    assert exact.theorem8_exact_failure(5, 2, 1 - 1e-16, 0.9) == 1.0  # all outputs win
    assert exact.theorem8_exact_failure(20, 50, 0.1, 0.9) == 1.0  # the bound exceeds 1 there


def test_failure_falls_from_width_to_width_and_with_the_angle():
    grid = [
        exact.theorem8_exact_argument(exact.first_width(k, 0.1), 6, 0.1, 0.95).log_failure for k in range(40, 100, 6)
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(grid))
    tooth = [exact.theorem8_exact_argument(width, 6, 0.1, 0.95).log_failure for width in range(400, 410, 3)]
    assert all(later < earlier for earlier, later in itertools.pairwise(tooth))
    assert exact.theorem8_exact_failure(600, 6, 0.1, 0.95) > exact.theorem8_exact_failure(600, 6, 0.1, 0.94)
    assert exact.theorem8_exact_failure(600, 6, 0.1, 0.95, log=True) == pytest.approx(
        math.log(exact.theorem8_exact_failure(600, 6, 0.1, 0.95)), rel=1e-12
    )


@given(st.integers(1, 10_000), st.floats(1e-4, 0.999))
@settings(deadline=None)
def test_first_width_is_the_first_with_k_winners(k, ratio):
    width = exact.first_width(k, ratio)
    assert winners(width, ratio) >= k
    if width > 1:
        try:
            assert winners(width - 1, ratio) < k
        except InvalidArgumentError:  # no winner at all
            assert k == 1


@given(st.integers(1, 10**6), st.integers(1, 5000), st.floats(0.3, 3.0))
@settings(deadline=None)
def test_first_integer_of_a_decreasing_function(root, start, power):
    calls = []

    def excess(k):
        calls.append(k)
        return (root - k) * (1 + abs(root - k)) ** (power - 1) - 0.5

    assert exact._first_integer(excess, start) == root
    assert exact._first_integer(lambda k: 1.0 if k < root else -1.0, start) == root
    assert len(calls) < 90


def common_tail_by_mpmath(level, cosine):
    """``log Q2(v, v; alpha)`` as the integral of ``phi(x) Q((v - alpha x)/sqrt(1 - alpha^2))`` over ``x > v``."""
    with mp.workdps(30):
        v, alpha = mp.mpf(level), mp.mpf(cosine)
        sine = mp.sqrt(1 - alpha**2)
        scale = 1 / (1 + v)

        def integrand(y):  # x = v + y scale, relative to phi(v)
            x = y * scale
            return mp.exp(-v * x - x * x / 2) * mp.erfc((v * (1 - alpha) - alpha * x) / (sine * mp.sqrt(2))) / 2

        area = scale * mp.quad(integrand, [0, 1, 3, 10, 30, 100, 400])
        return float(mp.log(area) - v * v / 2 - mp.log(2 * mp.pi) / 2)


@pytest.mark.parametrize("cosine", [-0.5, 0.0, 0.6, 0.95])
@pytest.mark.parametrize("log_width", [5.0, 40.0, 900.0])
def test_the_threshold_bound_term_by_term_against_mpmath(cosine, log_width):
    """At the choice of the code no other is asked for: minimise the plain formula by mpmath's numbers on a grid."""
    points, k = 7, 2
    code = exact._threshold_log_bound(log_width, points, k, cosine)

    def by_hand(mean):
        with mp.workdps(30):
            tail = mp.mpf(mean) * mp.exp(-mp.mpf(log_width))
            level = mp.findroot(lambda v: mp.log(mp.ncdf(-v)) - mp.log(tail), math.sqrt(2 * log_width))
            common = math.log(21) + log_width + common_tail_by_mpmath(level, cosine)
            few = mp.exp(tail) * mp.exp(-mean) * (1 + mean)
            return float(mp.log(mp.exp(common) + points * few))

    top = min(0.5 * math.exp(min(log_width, 50.0)), 60.0 + 1.2 * log_width * max(1.0, (1 - cosine) / (1 + cosine)))
    values = [by_hand(mean) for mean in np.geomspace(2.0, max(2.1, top), 9)]
    assert code <= min(values) + 1e-6
    assert code >= min(values) - 0.2 * abs(min(values)) - 1.0  # the grid is coarse


@pytest.mark.parametrize(("mean", "k", "width"), [(3.0, 2, 20), (9.0, 4, 30), (30.0, 10, 1000), (200.0, 100, 10**6)])
def test_few_rows_above_the_threshold_are_rarer_than_the_poisson_bound(mean, k, width):
    bound = (k - 1) * mean / width + chi_square_log_tail(2 * mean, 2 * k)
    true = stats.binom.logcdf(k - 1, width, mean / width)
    assert true <= bound
    # Without exp((k-1) p) it is a bound here, too, but not for every layer:
    assert stats.binom.logcdf(1, 3, 1 / 3) > chi_square_log_tail(2.0, 4)
    assert stats.binom.logcdf(1, 3, 1 / 3) <= 1 / 3 + chi_square_log_tail(2.0, 4)


@pytest.mark.parametrize("cosine", [-0.4, 0.3, 0.8, 0.97])
@pytest.mark.parametrize(("log_width", "k"), [(7.0, 1), (12.0, 3), (100.0, 2), (5000.0, 5)])
def test_theorem10_bound_of_two_points_is_above_the_law_of_the_pair(cosine, log_width, k):
    law = intersecting_patterns(None, k, cosine, log=True, log_width=log_width)
    bound = exact.theorem10_exact_failure(log_width, 2, k, cosine, log=True)
    assert law <= bound + 1e-9 * abs(law)
    if k == 1:
        assert bound == pytest.approx(law, rel=1e-12)
        assert exact._threshold_log_bound(log_width, 2, 1, cosine) > law


@pytest.mark.parametrize(
    ("k", "width", "points", "cosine", "trials"), [(1, 3000, 6, 0.3, 1000), (3, 100_000, 4, 0.1, 100)]
)
def test_theorem10_bound_against_simulation(k, width, points, cosine, trials):
    """Enough layers to see that the bound without the number of pairs is none (by a factor of at least 4)."""
    result = simulation.disjoint_patterns(
        width, k, trials=trials, points=points_with_cosine(points, cosine).points, seed=3
    )
    failures = trials - result.all_pairs.successes
    bound = exact.theorem10_exact_failure(math.log(width), points, k, cosine)
    assert bound < 1
    assert stats.binomtest(failures, trials, bound, "greater").pvalue > LEVEL
    if k == 1:
        single = intersecting_patterns(width, 1, cosine)
        assert stats.binomtest(failures, trials, single, "greater").pvalue < LEVEL


def test_theorem10_failure_falls_with_the_width_and_grows_with_what_is_harder():
    grid = [exact.theorem10_exact_failure(x, 5, 3, 0.7, log=True) for x in (22.0, 23.0, 30.0, 300.0, 1e4, 1e6, 1e8)]
    assert all(later < earlier for earlier, later in itertools.pairwise(grid))
    grid = [exact.theorem10_exact_failure(x, 5, 1, 0.7, log=True) for x in (10.0, 20.0, 30.0, 300.0, 1e4, 1e6, 1e8)]
    assert all(later < earlier for earlier, later in itertools.pairwise(grid))
    # far out the slope per log width is (1 - alpha)/(1 + alpha): Sibuya
    assert grid[-1] == pytest.approx(-1e8 * 0.3 / 1.7, rel=1e-5)
    base = exact.theorem10_exact_failure(40.0, 5, 2, 0.7)
    assert exact.theorem10_exact_failure(40.0, 6, 2, 0.7) > base
    assert exact.theorem10_exact_failure(40.0, 5, 3, 0.7) > base
    assert exact.theorem10_exact_failure(40.0, 5, 2, 0.71) > base
    assert exact.theorem10_exact_failure(40.0, 5, 2, 0.7, log=True) == pytest.approx(math.log(base), rel=1e-12)
    assert exact.theorem10_exact_failure(3.0, 100, 2, 0.9) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact.theorem8_exact_failure(0, 2, 0.1, 0.9), "width=0 is not allowed"),
        (lambda: exact.theorem8_exact_failure(20, 0, 0.1, 0.9), "input_dim=0 is not allowed"),
        (lambda: exact.theorem8_exact_failure(20, 2, 0.01, 0.9), "leaves floor"),
        (lambda: exact.theorem8_exact_failure(20, 2, 1.0, 0.9), "sparsity_ratio=1.0 is not allowed"),
        (lambda: exact.theorem8_exact_failure(20, 2, 0.1, 1.0), "cosine=1.0 is not allowed"),
        (lambda: exact.theorem10_exact_failure(30.0, 1, 1, 0.9), "points=1 is not allowed"),
        (lambda: exact.theorem10_exact_failure(30.0, 2, 0, 0.9), "k=0 is not allowed"),
        (lambda: exact.theorem10_exact_failure(30.0, 2, 1, -1.0), "cosine=-1.0 is not allowed"),
        (lambda: exact.theorem10_exact_failure(1e9, 2, 1, 0.9), "log_width=1000000000.0 is not allowed"),
        (lambda: exact.theorem10_exact_failure(1.0, 2, 3, 0.9), "at least log"),
    ],
)
def test_arguments_are_named(call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call()
