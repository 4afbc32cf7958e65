"""The chi-square tail against mpmath, with the hand-over between the two routes."""

import math

import mpmath as mp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.theory import chi_square_log_tail
from kwta_theory.theory.chi_square import _upper_gamma_fraction, chi_square_log_tail_drop


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
