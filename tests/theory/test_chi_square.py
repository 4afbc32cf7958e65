"""The chi-square tail against mpmath, with the hand-over between the two routes."""

import math

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.theory import chi_square_log_tail
from kwta_theory.theory.chi_square import (
    _upper_gamma_fraction,
    chi_square_log_ratio,
    chi_square_log_tail_drop,
    lemma8_exact_radius,
    lemma8_radius,
)


def by_mpmath(value, degrees):
    with mp.workdps(60):
        return float(mp.log(mp.gammainc(mp.mpf(degrees) / 2, mp.mpf(value) / 2, mp.inf, regularized=True)))


@pytest.mark.parametrize("degrees", [1, 2, 3, 32, 784, 3072])
@pytest.mark.parametrize("ratio", [0.5, 0.999, 1.0, 1.01, 2.0, 50.0, 1e5])
def test_against_mpmath(degrees, ratio):
    value = degrees * ratio
    assert chi_square_log_tail(value, degrees) == pytest.approx(by_mpmath(value, degrees), rel=1e-10)


@pytest.mark.parametrize("degrees", [1, 2, 5, 50, 784, 10_000])
def test_the_two_routes_meet(degrees):
    """At the hand-over and on both sides of it each route alone gives the same number."""
    shape = degrees / 2
    for x in (shape + 1.5, shape + 2.0, shape + 2.5):
        fraction = shape * math.log(x) - x - math.lgamma(shape) + math.log(_upper_gamma_fraction(shape, x))
        assert fraction == pytest.approx(math.log(special.gammaincc(shape, x)), abs=1e-11)


def test_scipy_underflows_where_this_does_not():
    assert stats.chi2.logsf(3000.0, 2) == -math.inf
    assert chi_square_log_tail(3000.0, 2) == pytest.approx(-1500.0, rel=1e-15)
    assert chi_square_log_tail(1e8, 2) == pytest.approx(-5e7, rel=1e-15)


@given(st.integers(1, 4000), st.floats(0, 1e6), st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=50)
def test_it_falls(degrees, value, step):
    assert chi_square_log_tail(value + step, degrees) < chi_square_log_tail(value, degrees) + 1e-12


@pytest.mark.parametrize(
    ("value", "growth", "degrees"),
    [(1e14, 1e-12, 5), (1e6, 1e-3, 784), (700.0, 0.1, 784), (790.0, 1e-9, 784), (3.0, 2.0, 1)],
)
def test_the_drop_of_the_tail(value, growth, degrees):
    with mp.workdps(60):
        x, a, g = mp.mpf(value) / 2, mp.mpf(degrees) / 2, mp.mpf(growth)
        exact = float(mp.log(mp.gammainc(a, x, mp.inf) / mp.gammainc(a, (1 + g) * x, mp.inf)))
    assert chi_square_log_tail_drop(value, growth, degrees) == pytest.approx(exact, rel=1e-10, abs=1e-13)


def test_arguments():
    with pytest.raises(InvalidArgumentError, match=r"growth=-0.1"):
        chi_square_log_tail_drop(1.0, -0.1, 3)
    with pytest.raises(InvalidArgumentError, match="value=-1"):
        chi_square_log_tail(-1, 3)
    with pytest.raises(InvalidArgumentError, match="degrees=0"):
        chi_square_log_tail(1.0, 0)


def ratio_by_mpmath(value, growth, degrees):
    with mp.workdps(60):
        a, x = mp.mpf(degrees) / 2, mp.mpf(value) / 2
        far = (1 + mp.mpf(growth)) * x
        return float(mp.log(mp.gammainc(a, far, mp.inf) / mp.gammainc(a, x, far)))


@pytest.mark.parametrize(
    ("value", "growth", "degrees"), [(3.0, 0.5, 2), (500.0, 0.01, 784), (1e5, 0.3, 50), (9, 2, 1), (783.0, 0.01, 784)]
)
def test_the_ratio_of_lemma_8(value, growth, degrees):
    assert chi_square_log_ratio(value, growth, degrees) == pytest.approx(
        ratio_by_mpmath(value, growth, degrees), rel=1e-9
    )


@given(st.integers(1, 4000), st.floats(1e-3, 1e5), st.floats(1e-3, 2.0), st.floats(1e-3, 1.0))
@settings(deadline=None, max_examples=100)
def test_the_ratio_falls_with_the_radius(degrees, value, growth, step):
    """What makes one radius settle all beyond it."""
    near = chi_square_log_ratio(value, growth, degrees)
    far = chi_square_log_ratio(value * (1.0 + step), growth, degrees)
    assert far <= near + 1e-9 * max(1.0, abs(near))


def three_conditions(radius, degrees, epsilon, log_eta):
    return (
        epsilon * radius / 2 >= math.log(4 / epsilon) - 1e-12
        and epsilon * radius / 8 >= (degrees / 2 - 1) * math.log(radius) - 1e-12
        and epsilon * radius / 4 >= math.log(16 / 9) - log_eta - 1e-12
    )


@given(st.integers(2, 3000), st.floats(1e-3, 0.999), st.floats(-5000.0, -1e-3), st.floats(0.0, 10.0))
@settings(deadline=None, max_examples=200)
def test_the_radius_of_the_proof(degrees, epsilon, log_eta, beyond):
    """Its three conditions hold from there on, one fails a little before, and the conclusion is true."""
    radius = lemma8_radius(degrees, epsilon, log_eta=log_eta)
    assert radius > 2 * math.log(4) > math.e
    for at in (radius, radius * (1 + beyond)):
        assert three_conditions(at, degrees, epsilon, log_eta)
        assert chi_square_log_ratio(at, epsilon, degrees) <= log_eta
    assert not three_conditions(radius * (1 - 1e-6), degrees, epsilon, log_eta)
    exact = lemma8_exact_radius(degrees, epsilon, log_eta=log_eta)
    assert exact <= radius
    assert chi_square_log_ratio(exact, epsilon, degrees) == pytest.approx(log_eta, rel=1e-8, abs=1e-8)


def test_the_second_condition_alone_does_not_carry_the_step():
    """At m = 4, eps = 1/2, R = 1: e^(eps R/8) >= R^(m/2-1), and at t = 2 the other way round. 2 log 4 > e saves it."""
    assert math.exp(0.5 / 8) >= 1.0 ** (4 / 2 - 1)
    assert math.exp(0.5 * 2 / 8) < 2.0 ** (4 / 2 - 1)
    assert not three_conditions(1.0, 4, 0.5, math.log(0.9))
    # There the conclusion fails, too, for a small eta: the first condition is not for show.
    assert chi_square_log_ratio(1.0, 0.5, 4) > math.log(0.9)


def test_eta_and_its_logarithm_are_the_same():
    assert lemma8_radius(10, 0.3, 0.01) == lemma8_radius(10, 0.3, log_eta=math.log(0.01))
    assert lemma8_exact_radius(10, 0.3, 0.01) == lemma8_exact_radius(10, 0.3, log_eta=math.log(0.01))
    assert lemma8_radius(2, 0.9, 0.001) > lemma8_radius(2, 0.9, 0.01)
    assert lemma8_exact_radius(10, 0.3, 0.001) > lemma8_exact_radius(10, 0.3, 0.01)


def test_arguments_of_lemma_8():
    with pytest.raises(InvalidArgumentError, match="degrees=1"):
        lemma8_radius(1, 0.5, 0.1)
    with pytest.raises(InvalidArgumentError, match=r"epsilon=1.0"):
        lemma8_radius(2, 1.0, 0.1)
    with pytest.raises(InvalidArgumentError, match="eta=0 "):
        lemma8_exact_radius(2, 0.5, 0)
    with pytest.raises(InvalidArgumentError, match=r"log_eta=0.0"):
        lemma8_radius(2, 0.5, log_eta=0.0)
    for arguments in ({}, {"eta": 0.1, "log_eta": -1.0}):
        with pytest.raises(InvalidArgumentError, match="exactly one must be given"):
            lemma8_radius(2, 0.5, **arguments)
    with pytest.raises(InvalidArgumentError, match="value=0"):
        chi_square_log_ratio(0, 0.5, 2)
    with pytest.raises(InvalidArgumentError, match="growth=0"):
        chi_square_log_ratio(1, 0, 2)
