"""Loader's form against exact integers and mpmath."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory.theory.multinomial import deviance, factorial_remainder


@pytest.mark.parametrize("count", [0.3, 1.0, 2.0, 7.5, 15.999, 16.0, 17.0, 1e3, 1e9, 1e300])
def test_factorial_remainder(count):
    with mp.workdps(700 if count > 1e100 else 50):
        n = mp.mpf(count)
        exact = float(mp.loggamma(n + 1) - n * mp.log(n) + n)
    assert factorial_remainder(count) == pytest.approx(exact, rel=4e-14)


def test_factorial_remainder_at_zero():
    assert factorial_remainder(0.0) == 0.0


@given(st.floats(1, 1e12), st.floats(-0.6, 3.0))
@settings(deadline=None, max_examples=100)
def test_deviance(count, offset):
    log_mean = math.log(count) + offset
    with mp.workdps(40):
        n, log_m = mp.mpf(count), mp.mpf(log_mean)
        exact = float(n * (mp.log(n) - log_m) + mp.exp(log_m) - n)
    surplus = abs(count - math.exp(log_mean))
    assert deviance(count, np.array(log_mean)) == pytest.approx(
        exact, rel=1e-12, abs=4e-16 * log_mean * surplus + 1e-15
    )


def test_deviance_uses_the_surplus_it_is_given():
    log_mean = np.array(math.log(1e300))
    assert deviance(1e300, log_mean, np.array(0.0)) == 0.0
    assert deviance(1e16, np.array(math.log(1e16)), np.array(3e8)) == pytest.approx(4.5, rel=1e-6)


def test_deviance_of_no_count_and_of_far_means():
    assert deviance(0.0, np.array(1.0)) == pytest.approx(math.e)
    assert deviance(2.0, np.array(-1e6)) == pytest.approx(2e6 + 2 * math.log(2) - 2)
    assert deviance(2.0, np.array(1e6)) == math.inf


def test_a_binomial_at_a_billion():
    """``C(l, k) p^k q^(l-k)`` at its mode, where a difference of ``lgamma`` has lost seven digits."""
    width, k, p = 10**9, 10**8, 0.1
    logarithm = (
        factorial_remainder(width)
        - factorial_remainder(k)
        - factorial_remainder(width - k)
        - deviance(float(k), np.array(math.log(width * p)))
        - deviance(float(width - k), np.array(math.log(width * (1 - p))))
    )
    with mp.workdps(50):
        exact = float(mp.log(mp.binomial(width, k)) + k * mp.log(mp.mpf("0.1")) + (width - k) * mp.log(mp.mpf("0.9")))
    assert float(logarithm) == pytest.approx(exact, abs=1e-11)
