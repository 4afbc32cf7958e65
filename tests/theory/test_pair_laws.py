"""Laws that the pair probabilities obey, their limits, and their arguments."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from scipy.stats import multivariate_normal

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.theory import (
    QuadratureError,
    beta_from_cosine,
    cosine_from_beta,
    disjoint_patterns,
    disjoint_patterns_bounds,
    intersecting_patterns,
    limiting_overlap,
    overlap_probability,
    same_pattern,
)
from kwta_theory.theory.pair_density import check_layer, log_law, pair_log_density

COSINES = st.one_of(st.floats(-0.999, 1.0), st.floats(0.0, 14.0).map(lambda x: 1.0 - 10.0**-x))
WIDTHS = st.floats(math.log(3), math.log(1e9)).map(lambda x: int(math.exp(x)))
SIZES = settings(deadline=None, max_examples=40)


@st.composite
def layers(draw):
    width = draw(WIDTHS)
    return width, max(1, min(width, int(width ** draw(st.floats(0.0, 1.0)))))


def test_the_values_of_the_notes():
    assert same_pattern(20, 2, 0.9) == pytest.approx(0.377635, abs=1e-6)
    assert disjoint_patterns(20, 2, 0.9) == pytest.approx(0.072771, abs=1e-6)
    assert same_pattern(1000, 2, 0.7) == pytest.approx(0.017501, abs=1e-6)
    assert disjoint_patterns(1000, 2, 0.7) == pytest.approx(0.684711, abs=1e-6)
    assert same_pattern(100, 1, 0.8) == pytest.approx(0.321846, abs=1e-6)
    assert 1e-87 < same_pattern(10_000, 1000, 0.99) < 2e-87


@given(WIDTHS, COSINES)
@SIZES
def test_one_winner_is_the_same_or_disjoint(width, cosine):
    """Two integrals with different integrands, so this is a check of both."""
    assert same_pattern(width, 1, cosine) + disjoint_patterns(width, 1, cosine) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(("width", "k"), [(3, 1), (5, 2), (7, 5), (30, 6), (12, 6), (10_000, 4)])
@pytest.mark.parametrize("cosine", [-1 + 1e-13, -0.97, -0.3, 0.5, 0.95, 1 - 1e-9])
def test_the_overlaps_sum_to_one(width, k, cosine):
    chances = [overlap_probability(width, k, cosine, j) for j in range(k + 1)]
    assert math.fsum(chances) == pytest.approx(1.0, abs=1e-9)
    assert chances[k] == same_pattern(width, k, cosine)
    assert chances[0] == disjoint_patterns(width, k, cosine)
    assert intersecting_patterns(width, k, cosine) == pytest.approx(math.fsum(chances[1:]), rel=1e-8)


@given(layers(), COSINES, COSINES)
@SIZES
def test_closer_inputs_have_the_same_pattern_more_often(layer, one, other):
    low, high = sorted((one, other))
    a, b = same_pattern(*layer, low, log=True), same_pattern(*layer, high, log=True)
    assert -math.inf <= a <= b + 1e-9 + 1e-14 * abs(b)
    assert b <= 0.0


@given(layers(), COSINES)
@SIZES
def test_complement_symmetry(layer, cosine):
    width, k = layer
    assert same_pattern(width, k, cosine, log=True) == (
        same_pattern(width, width - k, cosine, log=True) if k < width else 0.0
    )


@pytest.mark.parametrize(("width", "k"), [(3, 2), (10, 7), (50, 45)])
@pytest.mark.parametrize("cosine", [-0.5, 0.6, 0.99])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_complement_symmetry_without_the_reduction(width, k, cosine, margin):
    """Above half the width the package exchanges winners and losers; here the integral itself is taken there."""
    direct = log_law(check_layer(width, k, None), cosine, [float(k)], margin)
    assert same_pattern(width, k, cosine, margin, log=True) == pytest.approx(direct, abs=1e-9)


@given(layers(), COSINES, st.floats(0, 3), st.floats(0, 3))
@SIZES
def test_a_margin_only_helps(layer, cosine, one, other):
    small, large = sorted((one, other))
    values = [same_pattern(*layer, cosine, margin, log=True) for margin in (0.0, small, large)]
    slack = 1e-9 + 1e-14 * abs(values[0])
    assert values[0] <= values[1] + slack <= values[2] + 2 * slack <= 3 * slack


def test_margin_zero_is_no_margin_and_a_tiny_one_is_close():
    plain = same_pattern(100, 10, 0.9)
    assert same_pattern(100, 10, 0.9, 0.0) == plain
    assert 0 < same_pattern(100, 10, 0.9, 1e-6) / plain - 1 < 1e-3
    assert same_pattern(100, 10, 0.9, 30.0) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("cosine", [-0.6, 0.0, 0.7])
@pytest.mark.parametrize("margin", [0.1, 2.5])
def test_a_margin_at_width_two_and_three_by_orthants(cosine, margin):
    """The winner of the first input against each loser: a difference in X is positive, in Y above ``-margin``."""
    two = 2 * multivariate_normal([0, 0], [[2, 2 * cosine], [2 * cosine, 2]]).cdf([0.0, margin])
    assert same_pattern(2, 1, cosine, margin) == pytest.approx(two, abs=1e-8)
    covariance = np.kron([[1.0, cosine], [cosine, 1.0]], [[2.0, 1.0], [1.0, 2.0]])
    law = multivariate_normal(np.zeros(4), covariance, seed=1, abseps=1e-6, releps=1e-6)
    assert same_pattern(3, 1, cosine, margin) == pytest.approx(3 * float(law.cdf([0, 0, margin, margin])), abs=1e-4)


@pytest.mark.parametrize(
    ("width", "k", "cosine", "margin"),
    [(883_189, 161_953, 0.4688, 6.35), (10**8, 40, 0.3, 8.0), (4096, 409, 0.9, 0.05), (10**9, 10**8, 0.99, 2.0)],
)
def test_large_margins_lean_the_peak_and_still_settle(width, k, cosine, margin):
    """The largest loser of ``x'`` is then far above the threshold; a wider margin brings the answer nearer to 1."""
    values = [same_pattern(width, k, cosine, factor * margin, log=True) for factor in (0.9, 1.0, 1.1)]
    assert values[0] < values[1] < values[2] < 0


def test_identical_and_opposite_inputs():
    assert same_pattern(10, 3, 1) == same_pattern(10, 3, 1.0, margin=0.2) == 1.0
    assert disjoint_patterns(10, 3, 1) == 0.0
    assert disjoint_patterns(10, 3, 1, log=True) == -math.inf
    assert same_pattern(10, 3, -1) == 0.0
    assert disjoint_patterns(10, 5, -1) == intersecting_patterns(10, 5, 1) == 1.0
    assert intersecting_patterns(10, 5, -1) == 0.0
    assert intersecting_patterns(10, 5, -1, log=True) == -math.inf
    assert overlap_probability(10, 7, -1, 4) == 1.0  # 2 k - l winners are common to both ends
    assert overlap_probability(10, 7, -1, 5) == 0.0


def test_all_outputs_win_or_more_than_half():
    assert same_pattern(7, 7, -1) == same_pattern(7, 7, 0.3, 0.5) == same_pattern(1, 1, -0.2) == 1.0
    assert disjoint_patterns(7, 4, 0.3) == 0.0
    assert intersecting_patterns(7, 4, 0.3) == 1.0
    assert overlap_probability(7, 4, 0.3, 0, log=True) == -math.inf
    assert overlap_probability(7, 4, 0.3, 1) > 0


@given(layers(), COSINES)
@SIZES
def test_logarithm_and_value(layer, cosine):
    for law in (same_pattern, disjoint_patterns, intersecting_patterns):
        value = law(*layer, cosine)
        assert 0.0 <= value <= 1.0
        assert math.exp(law(*layer, cosine, log=True)) == pytest.approx(value, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("law", [same_pattern, disjoint_patterns, intersecting_patterns])
def test_width_as_a_float_and_as_a_logarithm(law):
    value = law(10**6, 3, 0.9, log=True)
    assert law(1e6, 3, 0.9, log=True) == law(np.float64(1e6), 3, 0.9, log=True) == value
    assert law(None, 3, 0.9, log=True, log_width=math.log(10**6)) == pytest.approx(value, abs=1e-9)
    # Beyond 1e300 the Poisson limit takes over: the two sides of the hand-over agree, and a wider layer differs.
    below, above = (law(None, 3, 0.9, log=True, log_width=math.log(1e300) + d) for d in (-1e-9, 1e-9))
    assert below == pytest.approx(above, abs=1e-8)
    assert law(None, 3, 0.9, log=True, log_width=2000.0) != above


@pytest.mark.parametrize("k", [1, 2, 3, 7, 11])
def test_the_smallest_log_width_that_the_sentence_names_is_allowed(k):
    exact = same_pattern(2 * k + 1, k, 0.5)
    assert same_pattern(None, k, 0.5, log_width=math.log(2 * k + 1)) == pytest.approx(exact, rel=1e-12)
    with pytest.raises(InvalidArgumentError, match=r"at least log\(2k \+ 1\)"):
        same_pattern(None, k, 0.5, log_width=math.log(2 * k + 1) - 1e-9)


@pytest.mark.parametrize("cosine", [0.5, 0.95, 0.999999])
@pytest.mark.parametrize("log_width", [1e3, 1e5, 1e7])
def test_astronomical_widths(cosine, log_width):
    """One winner: same + disjoint = 1; and Sibuya's exponent (1 - alpha)/(1 + alpha) up to logarithms."""
    same = same_pattern(None, 1, cosine, log_width=log_width)
    assert same + disjoint_patterns(None, 1, cosine, log_width=log_width) == pytest.approx(1.0, abs=1e-8)
    exponent = (1 - cosine) / (1 + cosine)
    drop = same_pattern(None, 1, cosine, log=True, log_width=log_width) - same_pattern(
        None, 1, cosine, log=True, log_width=1.01 * log_width
    )
    if exponent * log_width > 100:
        assert drop == pytest.approx(exponent * 0.01 * log_width, rel=0.02, abs=0.05)
    for k in (2, 5):
        both = disjoint_patterns(None, k, cosine, log_width=log_width)
        both += intersecting_patterns(None, k, cosine, log_width=log_width)
        assert both == pytest.approx(1.0, abs=1e-8)


def test_intersecting_patterns_where_the_complement_has_no_digits():
    """At cosine 0 and width 1e20 two winners meet with probability about 4e-20: 1 - disjoint is rounding."""
    assert disjoint_patterns(1e20, 2, 0.0) == pytest.approx(1.0, abs=1e-11)
    assert intersecting_patterns(1e20, 2, 0.0) == pytest.approx(4e-20, rel=1e-8)
    width, k = 10**5, 30
    exact = 1 - math.comb(width - k, k) / math.comb(width, k)  # 0.009: the sum over overlaps
    assert intersecting_patterns(width, k, 0.0) == pytest.approx(exact, rel=1e-9)
    assert intersecting_patterns(width, k, 0.0, log=True) == pytest.approx(math.log(exact), rel=1e-9)


def test_bounds_for_many_points():
    cosines = [0.1, 0.5, 0.5, -0.3]
    chances = [intersecting_patterns(10**5, 2, c) for c in cosines]
    lower, upper = disjoint_patterns_bounds(10**5, 2, cosines)
    assert lower == pytest.approx(1 - sum(chances), rel=1e-12)
    assert upper == pytest.approx(1 - max(chances), rel=1e-12)
    assert disjoint_patterns_bounds(10**5, 2, np.array(cosines).reshape(2, 2)) == (lower, upper)
    assert disjoint_patterns_bounds(10**5, 2, [0.5]) == pytest.approx((1 - chances[1],) * 2, rel=1e-12)
    assert disjoint_patterns_bounds(100, 10, [0.9, 0.9])[0] == 0.0  # the sum over pairs exceeds 1
    assert disjoint_patterns_bounds(None, 2, cosines, log_width=math.log(10**5)) == pytest.approx(
        (lower, upper), rel=1e-8
    )


@given(st.floats(0.001, 0.999), st.floats(-0.999, 0.9999))
@settings(deadline=None, max_examples=100)
def test_limiting_overlap_by_both_routes(ratio, cosine):
    """Owen's T against the bivariate distribution function."""
    level = special.ndtri(ratio)
    both = multivariate_normal([0, 0], [[1, cosine], [cosine, 1]]).cdf([level, level])
    assert limiting_overlap(ratio, cosine) == pytest.approx(float(both) / ratio, abs=1e-9 / ratio)


def test_limiting_overlap_ends_and_order():
    assert limiting_overlap(0.3, 1.0) == 1.0
    assert limiting_overlap(0.3, 0.0) == pytest.approx(0.3)
    assert limiting_overlap(0.3, -1.0) == pytest.approx(0.0, abs=1e-15)
    assert limiting_overlap(0.7, -1.0) == pytest.approx(0.4 / 0.7)
    values = [limiting_overlap(0.1, c) for c in np.linspace(-1, 1, 41)]
    assert values == sorted(values)


def test_limiting_overlap_is_the_limit_of_the_exact_mean():
    """The mean of the exact law approaches it with an error of order 1/width."""

    def mean(width):
        k = width // 5
        return sum(j * overlap_probability(width, k, 0.8, j) for j in range(k + 1)) / k

    limit = limiting_overlap(0.2, 0.8)
    scaled = [width * (mean(width) - limit) for width in (20, 80, 320)]
    assert max(scaled) / min(scaled) == pytest.approx(1.0, abs=0.2)
    assert abs(mean(320) - limit) < 0.002


@given(st.floats(1e-6, 1e6))
def test_beta_and_cosine_are_inverse(beta):
    assert beta_from_cosine(cosine_from_beta(beta)) == pytest.approx(beta, rel=1e-9)


def test_beta_of_a_right_triangle():
    """``x = (1, 0)``, ``d = (0, 2)``."""
    assert cosine_from_beta(4.0) == pytest.approx(1 / math.sqrt(5), rel=1e-15)
    assert beta_from_cosine(1.0) == 0.0


def test_what_double_precision_cannot_resolve_is_refused():
    with pytest.raises(QuadratureError, match="does not resolve it"):
        same_pattern(None, 3, -1 + 1e-10, log=True, log_width=1000.0)
    assert same_pattern(None, 3, -1 + 1e-10, log_width=1000.0) == 0.0
    assert disjoint_patterns_bounds(None, 3, [-1 + 1e-10], log_width=1000.0) == (1.0, 1.0)
    assert same_pattern(10**9, 3, -1 + 1e-10, log=True) < -1000  # at such a width it is resolved


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: same_pattern(0, 1, 0.5), r"width=0 is not allowed"),
        (lambda: same_pattern(10.5, 1, 0.5), r"width=10.5 is not allowed: it must be a whole number"),
        (lambda: same_pattern(10**301, 1, 0.5), r"give log_width beyond"),
        (lambda: same_pattern(10**400, 1, 0.5), r"give log_width beyond"),
        (lambda: same_pattern(math.inf, 1, 0.5), r"width=inf is not allowed"),
        (lambda: same_pattern(math.nan, 1, 0.5), r"width=nan is not allowed"),
        (lambda: same_pattern(True, 1, 0.5), r"width=True is not allowed"),
        (lambda: same_pattern("wide", 1, 0.5), r"width='wide' is not allowed"),
        (lambda: same_pattern(10, 0, 0.5), r"k=0 is not allowed"),
        (lambda: same_pattern(10, 11, 0.5), r"width=10 is below k=11"),
        (lambda: same_pattern(10, 2.0, 0.5), r"k=2.0 is not allowed"),
        (lambda: same_pattern(10, 2, 1.5), r"cosine=1.5 is not allowed"),
        (lambda: same_pattern(10, 2, 0.5, margin=-0.1), r"margin=-0.1 is not allowed"),
        (lambda: same_pattern(10, 2, -1.0, margin=0.1), r"margin=0.1 is not allowed with cosine=-1.0"),
        (lambda: same_pattern(None, 2, 0.5), r"give exactly one of the two"),
        (lambda: same_pattern(10, 2, 0.5, log_width=3.0), r"give exactly one of the two"),
        (lambda: same_pattern(None, 2, 0.5, log_width=1.0), r"log_width=1.0 is not allowed with k=2"),
        (lambda: same_pattern(None, 2, 0.5, log_width=1e9), r"log_width=1000000000.0 is not allowed"),
        (lambda: overlap_probability(10, 2, 0.5, 3), r"overlap=3 is not allowed"),
        (lambda: disjoint_patterns(10, 2, math.nan), r"cosine=nan is not allowed"),
        (lambda: disjoint_patterns_bounds(10, 2, []), r"cosines is not allowed"),
        (lambda: disjoint_patterns_bounds(10, 2, ["a"]), r"cosines is not allowed"),
        (lambda: disjoint_patterns_bounds(10, 2, [0.5, 1.1]), r"cosines=1.1 is not allowed"),
        (lambda: limiting_overlap(0.0, 0.5), r"sparsity_ratio=0.0 is not allowed"),
        (lambda: limiting_overlap(0.1, 2), r"cosine=2 is not allowed"),
        (lambda: cosine_from_beta(-1), r"beta=-1 is not allowed"),
        (lambda: beta_from_cosine(0), r"cosine=0 is not allowed"),
        (lambda: pair_log_density(check_layer(10, 2, None), 0.5, [])(np.zeros(1), np.zeros(1)), r"overlaps=\[\]"),
    ],
)
def test_arguments(call, message):
    with pytest.raises(InvalidArgumentError, match=message):
        call()
