"""The proofs in numbers: closed forms again, the inequalities of each step, and the hypotheses."""

import math

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.theory import (
    cosine_from_beta,
    intersecting_patterns,
    lemma5_failure_bound,
    lemma5_margin,
    same_pattern,
    theorem8_width,
    theorem9_width,
    theorem10_log_width,
)
from kwta_theory.theory.exact_arguments import first_width, theorem8_exact_failure, theorem10_exact_failure
from kwta_theory.theory.proof_bounds import theorem8_log_width

COSINES = st.floats(0.5, 1.0, exclude_min=True, exclude_max=True)


def test_lemma5_margin_is_four_epsilon_root_two_pi():
    cosine = 0.7
    epsilon = math.sqrt(1 - cosine**2) / (96 * cosine)
    assert lemma5_margin(cosine) == pytest.approx(4 * epsilon * math.sqrt(2 * math.pi), rel=1e-14)


def test_lemma5_failure_bound_term_by_term():
    width, ratio, cosine = 3e7, 0.2, 0.6
    epsilon = math.sqrt(1 - cosine**2) / (96 * cosine)
    terms = 4 * math.exp(-(epsilon**2) * ratio * width / 24)
    terms += (2 / 3) ** (epsilon * ratio * width / 2) + 0.5 ** (epsilon * ratio * width / 2)
    assert lemma5_failure_bound(width, ratio, cosine) == pytest.approx(terms, rel=1e-12)
    assert lemma5_failure_bound(width, ratio, cosine, log=True) == pytest.approx(math.log(terms), rel=1e-12)
    small = 500.0  # where the two powers are not negligible
    powers = [base ** (epsilon * ratio * small / 2) for base in (2 / 3, 1 / 2)]
    assert lemma5_failure_bound(small, ratio, cosine) == pytest.approx(
        4 * math.exp(-(epsilon**2) * ratio * small / 24) + sum(powers), rel=1e-12
    )


@given(st.floats(1e-4, 0.02))
@settings(deadline=None)
def test_the_steps_of_claim_4(epsilon):
    """Thresholds on the safe side, and Chernoff exponents (upper d^2/3, lower d^2/2, of the mean) at least eps^2/24."""
    assert (1 + epsilon / 2) * (1 - epsilon) <= 1 - epsilon / 2
    assert (epsilon / 2) ** 2 * (1 - 2 * epsilon) / 3 >= epsilon**2 / 24
    assert (1 - epsilon / 3) * (1 + epsilon) >= 1 + epsilon / 2
    assert (epsilon / 3) ** 2 * (1 + epsilon) / 2 >= epsilon**2 / 18
    assert 0.5**2 * epsilon / 2 >= epsilon**2 / 24
    assert (1 + 2 * epsilon) * 0.48 < 0.5


@pytest.mark.parametrize("cosine", [0.51, 0.7, 0.99])
@pytest.mark.parametrize("ratio", [0.01, 0.2, 0.479])
def test_claim_3_holds_with_the_square_and_its_tail_bound_fails_without(cosine, ratio):
    epsilon = math.sqrt(1 - cosine**2) / (96 * cosine)
    upper, lower = -special.ndtri((1 - 2 * epsilon) * ratio), -special.ndtri((1 + 2 * epsilon) * ratio)
    assert 0 < upper - lower <= 8 * epsilon * math.sqrt(2 * math.pi)
    assert special.ndtr(-upper) <= math.exp(-(upper**2) / 2)
    if upper > 1:  # the density's lower bound as printed, exp(-R/2) for exp(-R^2/2), is false
        assert math.exp(-(upper**2) / 2) < math.exp(-upper / 2)


@pytest.mark.parametrize(("width", "ratio", "cosine"), [(10**7, 0.3, 0.55), (10**8, 0.1, 0.8), (10**9, 0.4, 0.9)])
def test_lemma5_bound_is_above_the_exact_probability(width, ratio, cosine):
    """The exact chance that no winner falls by the margin, from the pair law, is below what the proof grants."""
    exact = same_pattern(width, round(ratio * width), cosine, lemma5_margin(cosine), log=True)
    assert exact < lemma5_failure_bound(width, ratio, cosine, log=True) < 0


def test_theorem8_widths_of_the_notes():
    assert theorem9_width(2, 0.1, 0.1) == pytest.approx(8.5e8, rel=0.01)
    assert theorem9_width(32, 0.1, 0.1) == pytest.approx(1.5e10, rel=0.01)
    assert theorem9_width(784, 0.1, 0.005) == pytest.approx(9.5e12, rel=0.01)


@given(st.integers(1, 3000), st.floats(1e-4, 0.479), st.floats(0.501, 0.9999), st.floats(1e-6, 0.999))
@settings(deadline=None, max_examples=40)
def test_theorem8_width_is_where_the_bound_crosses(m, ratio, cosine, failure):
    def log_bound(width):
        net = 720 * cosine * math.sqrt(m * width) / math.sqrt(2 * math.pi * (1 - cosine**2))
        return m * math.log(1 + net) + lemma5_failure_bound(width, ratio, cosine, log=True)

    width = theorem8_width(m, ratio, cosine, failure)
    target = math.log(failure) - m * math.log(2)
    assert log_bound(width * 1.001) < target < log_bound(width * 0.999)
    assert log_bound(width * 100) < target < log_bound(width / 100)


def test_theorem8_width_grows_with_what_is_harder():
    width = theorem8_width(10, 0.1, 0.9)
    assert theorem8_width(11, 0.1, 0.9) > width
    assert theorem8_width(10, 0.05, 0.9) > width
    assert theorem8_width(10, 0.1, 0.95) > width
    assert theorem8_width(10, 0.1, 0.9, failure=0.1) > width


def theorem8_by_mpmath(m, ratio, cosine, delta):
    """Bisection on ``log l`` in the paper's own symbols at 50 digits."""
    with mp.workdps(50):
        alpha, gamma = mp.mpf(cosine), mp.mpf(ratio)
        sine = mp.sqrt(1 - alpha**2)
        epsilon = sine / (96 * alpha)

        def log_bound(width):
            terms = 4 * mp.exp(-(epsilon**2) * gamma * width / 24)
            terms += mp.mpf(2) ** (epsilon * gamma * width / 2) / mp.mpf(3) ** (epsilon * gamma * width / 2)
            terms += mp.mpf(2) ** (-epsilon * gamma * width / 2)
            return m * mp.log(1 + 720 * alpha * mp.sqrt(m * width) / (mp.sqrt(2 * mp.pi) * sine)) + mp.log(terms)

        low, high = mp.mpf(0), mp.mpf(2000)
        for _ in range(70):
            middle = (low + high) / 2
            above = log_bound(mp.exp(middle)) > mp.log(mp.mpf(delta)) - m * mp.log(2)
            low, high = (middle, high) if above else (low, middle)
        return float(high)


@pytest.mark.parametrize("m", [1, 2, 784, 10_000])
@pytest.mark.parametrize("ratio", [0.479, 1e-3, 1e-300])
@pytest.mark.parametrize(
    ("cosine", "delta"), [(0.500001, 0.5), (0.9, 1e-300), (1 - 1e-9, 0.999999), (1 - 1e-15, 5e-324)]
)
def test_theorem8_log_width_against_mpmath(m, ratio, cosine, delta):
    """1e-11 of the logarithm; and of the width itself where it is a float."""
    expected = theorem8_by_mpmath(m, ratio, cosine, delta)
    assert theorem8_log_width(m, ratio, cosine, delta) == pytest.approx(expected, rel=1e-12)
    if expected < 709:
        assert theorem8_width(m, ratio, cosine, delta) == pytest.approx(math.exp(expected), rel=1e-10)


@pytest.mark.parametrize(
    ("m", "ratio", "cosine", "delta"),
    [(1, 0.1, 0.9, 0.5), (2, 0.1, 0.95, 0.5), (2, 0.29, 0.999, 1e-6), (5, 0.2, 0.8, 0.05), (12, 0.05, 0.9, 0.5)],
)
def test_theorem8_exact_width_is_where_the_exact_bound_falls_to_the_claim(m, ratio, cosine, delta):
    width = theorem8_width(m, ratio, cosine, delta, constants="exact")
    assert width == int(width) <= theorem8_width(m, ratio, cosine, delta)
    assert theorem8_log_width(m, ratio, cosine, delta, "exact") == math.log(width)
    k = math.floor(ratio * width + 1e-9)
    assert width == first_width(k, ratio)
    assert theorem8_exact_failure(int(width), m, ratio, cosine) <= delta * 2.0**-m
    if k > 1:
        assert theorem8_exact_failure(first_width(k - 1, ratio), m, ratio, cosine) > delta * 2.0**-m
    for later in (k + 1, k + 7, k + 40):  # it stays below
        assert theorem8_exact_failure(first_width(later, ratio), m, ratio, cosine) <= delta * 2.0**-m
    beta = 1 / cosine**2 - 1
    assert theorem9_width(m, ratio, beta, delta, "exact") == theorem8_width(
        m, ratio, cosine_from_beta(beta), delta, "exact"
    )


@pytest.mark.parametrize(("points", "k"), [(2, 1), (10, 1), (2, 3), (1000, 40)])
@pytest.mark.parametrize(("cosine", "delta"), [(0.51, 0.5), (0.79, 0.05), (0.95, 1e-9), (1 - 1e-9, 0.5)])
def test_theorem10_exact_width_is_where_the_exact_bound_falls_to_the_claim(points, k, cosine, delta):
    log_width = theorem10_log_width(points, 784, k, cosine, delta, constants="exact")
    assert log_width <= theorem10_log_width(points, 2, k, cosine, delta)
    assert log_width == theorem10_log_width(points, 2, k, cosine, delta, constants="exact")
    if log_width > math.log(2 * k + 2) and log_width < 1e7:
        at = [theorem10_exact_failure(log_width * factor, points, k, cosine) for factor in (0.9999, 1.0, 1.0001)]
        assert at[0] > delta > at[2]
        assert at[1] == pytest.approx(delta, rel=1e-6)


def test_theorem10_exact_width_of_one_winner_by_the_law_of_the_pair():
    log_width = theorem10_log_width(10, 784, 1, 0.79, 0.05, constants="exact")
    assert 45 * intersecting_patterns(None, 1, 0.79, log_width=log_width) == pytest.approx(0.05, rel=1e-9)


def theorem10_by_mpmath(n, m, k, cosine, delta):
    """Bisection on ``log R`` in the proof's own quantities at 60 digits."""
    with mp.workdps(80):
        alpha, delta = mp.mpf(cosine), mp.mpf(delta)
        beta = (2 + alpha + mp.sqrt(2 - alpha**2)) / 4
        epsilon = (1 / beta - 1) / 2
        inner = (1 + epsilon) * beta
        net = (1 + 2 / mp.sqrt(2 * (1 - inner))) ** m
        eta = (delta / 100) / (100 * k * mp.log(n / delta) * net)

        def tail(z):
            return mp.gammainc(mp.mpf(m) / 2, z / 2, mp.inf, regularized=True)

        low, high = mp.mpf(0), mp.mpf(60)
        for _ in range(120):
            middle = (low + high) / 2
            square = mp.exp(2 * middle)
            outer = tail((1 + epsilon) ** 2 * square)
            low, high = (middle, high) if outer > eta * (tail(square) - outer) else (low, middle)
        return float(mp.log(delta / 100) - mp.log(tail((1 + epsilon) ** 2 * mp.exp(2 * high))))


@pytest.mark.parametrize(
    ("n", "m", "k", "cosine", "delta"),
    [
        (2, 2, 1, 0.51, 0.5),
        (10, 784, 3, 0.95, 0.5),
        (1000, 32, 40, 0.8, 0.01),
        (2, 5, 1, 0.999999, 0.999),
        (2, 2, 1, 1 - 1e-09, 0.5),
        (10, 10000, 3, 0.6, 1e-300),
        (10**9, 10000, 1, 1 - 1e-09, 5e-324),
    ],
)
def test_theorem10_log_width_against_mpmath(n, m, k, cosine, delta):
    assert theorem10_log_width(n, m, k, cosine, delta) == pytest.approx(
        theorem10_by_mpmath(n, m, k, cosine, delta), rel=1e-10
    )


def test_theorem10_log_width_grows_with_what_is_harder():
    width = theorem10_log_width(10, 20, 2, 0.9)
    assert theorem10_log_width(11, 20, 2, 0.9) > width
    assert theorem10_log_width(10, 21, 2, 0.9) > width
    assert theorem10_log_width(10, 20, 3, 0.9) > width
    assert theorem10_log_width(10, 20, 2, 0.91) > width
    assert theorem10_log_width(10, 20, 2, 0.9, failure=0.4) > width


@pytest.mark.parametrize("n", [2, 3, 1000])
@pytest.mark.parametrize("delta", [1e-6, 0.5, 0.9999])
@pytest.mark.parametrize("k", [1, 5, 1000])
def test_the_chernoff_step_of_theorem_10(n, delta, k):
    """Fewer than ``k`` of an expected ``100 k log(N/delta)`` rows: at most ``delta / (100 N)``, exactly too."""
    mean = 100 * k * math.log(n / delta)
    chernoff = -0.5 * mean * (1 - k / mean) ** 2
    assert chernoff <= math.log(delta / (100 * n))
    assert stats.poisson.logcdf(k - 1, mean) <= chernoff
    alone = 100 * math.log(1 / 0.99)  # a single point, delta = 0.99: the step is false there
    assert -0.5 * alone * (1 - 1 / alone) ** 2 > math.log(0.99 / 100)


def test_lemma9_for_the_proof_of_theorem_10():
    """``beta > alpha + sqrt(1 - beta^2)`` strictly, for every ``alpha`` in (0.5, 1)."""
    for i in range(1, 500):
        alpha = 0.5 + i / 1000
        beta = (2 + alpha + math.sqrt(2 - alpha**2)) / 4
        assert beta < 1
        assert alpha + math.sqrt(1 - beta**2) < beta


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lemma5_margin(0.5), r"cosine=0.5 is outside the hypothesis of Lemma 5"),
        (lambda: lemma5_margin(1.0), r"cosine=1.0 is outside the hypothesis of Lemma 5"),
        (lambda: lemma5_failure_bound(100, 0.48, 0.9), r"sparsity_ratio=0.48 is outside the hypothesis of Lemma 5"),
        (lambda: lemma5_failure_bound(0.5, 0.1, 0.9), r"width=0.5 is not allowed"),
        (lambda: theorem8_width(0, 0.1, 0.9), r"input_dim=0 is not allowed"),
        (lambda: theorem8_width(2, 0.5, 0.9), r"sparsity_ratio=0.5 is outside the hypothesis of Theorem 8"),
        (lambda: theorem8_width(2, 0.1, 0.4), r"cosine=0.4 is outside the hypothesis of Theorem 8"),
        (lambda: theorem8_width(2, 0.1, 0.9, 1.0), r"failure=1.0 is outside the hypothesis of Theorem 8"),
        (lambda: theorem8_width(2, 0.1, 0.9, 0.5, "sharp"), r"constants='sharp' is not allowed"),
        (lambda: theorem8_width(2, 1e-306, 0.9), r"above the largest float; theorem8_log_width gives"),
        (lambda: theorem10_log_width(2, 2, 1, 0.9, 0.5, "sharp"), r"constants='sharp' is not allowed"),
        (lambda: theorem9_width(2, 0.1, 1.0), r"beta=1.0 is outside the hypothesis of Theorem 9"),
        (lambda: theorem10_log_width(1, 2, 1, 0.9), r"points=1 is not allowed"),
        (lambda: theorem10_log_width(2, 1, 1, 0.9), r"input_dim=1 is not allowed"),
        (lambda: theorem10_log_width(2, 2, 0, 0.9), r"k=0 is not allowed"),
        (lambda: theorem10_log_width(2, 2, 1, 0.5), r"cosine=0.5 is outside the hypothesis of Theorem 10"),
        (lambda: theorem10_log_width(2, 2, 1, 0.9, 0.0), r"failure=0.0 is outside the hypothesis of Theorem 10"),
        (lambda: theorem10_log_width(2, 2, 1, math.nan), r"cosine=nan is not allowed"),
    ],
)
def test_hypotheses_are_named(call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call()


@given(COSINES)
@settings(deadline=None)
def test_widths_exist_for_every_cosine(cosine):
    if cosine < 1 - 1e-9:
        assert theorem8_width(3, 0.1, cosine) > 1e6
        assert theorem10_log_width(3, 3, 1, cosine) > 0
    assert cosine_from_beta(0.0) == 1.0
