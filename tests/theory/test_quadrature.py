"""The plane quadrature on densities whose integral is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory.theory.quadrature import QuadratureError, log_integral


def gaussian(mean_u, mean_v, sd_u, sd_v, correlation):
    def log_density(u, v):
        x, y = (u - mean_u) / sd_u, ((v - mean_v) / sd_v)[:, None]
        square = (x * x - 2 * correlation * x * y + y * y) / (1 - correlation**2)
        return -0.5 * square - math.log(2 * math.pi * sd_u * sd_v * math.sqrt(1 - correlation**2))

    return log_density


@given(
    st.floats(-3, 3),
    st.floats(-3, 3),
    st.floats(-12, 1).map(math.exp),
    st.floats(-12, 1).map(math.exp),
    st.floats(-0.99, 0.99),
)
@settings(deadline=None, max_examples=40)
def test_a_gaussian_anywhere_of_any_shape(mean_u, mean_v, sd_u, sd_v, correlation):
    density = gaussian(mean_u, mean_v, sd_u, sd_v, correlation)
    assert log_integral(density, (0.0, 0.0), (1.0, 1.0)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 30])
def test_two_gumbel_variables(k):
    """``exp(-k x - exp(-x))`` integrates to ``Gamma(k)``: one tail exponential, the other double exponential."""

    def log_density(u, v):
        x, y = u - v[:, None] / 2, u + v[:, None] / 2
        return -k * (x + y) - np.exp(-x) - np.exp(-y)

    assert log_integral(log_density, (0.0, 0.0), (1.0, 1.0)) == pytest.approx(2 * math.lgamma(k), abs=1e-9)


def test_far_below_underflow():
    density = gaussian(0.0, 0.0, 1.0, 1.0, 0.0)
    assert log_integral(lambda u, v: density(u, v) - 1e6, (0.3, 0.0), (1.0, 1.0)) == pytest.approx(-1e6, abs=1e-9)


def test_a_jump_is_refused():
    def half_plane(u, v):
        return np.where(u > 0.1234, -0.5 * (u - 0.3) ** 2, -40.0) - 0.5 * v[:, None] ** 2

    with pytest.raises(QuadratureError, match="did not settle"):
        log_integral(half_plane, (0.5, 0.0), (1.0, 1.0))


def test_no_decay_is_refused():
    with pytest.raises(QuadratureError, match="does not decay"):
        log_integral(lambda u, v: -np.log1p(u * u) - v[:, None] ** 2 / 2, (0.1, 0.0), (1.0, 1.0))


def test_no_peak_is_refused():
    with pytest.raises(QuadratureError, match="no peak"):
        log_integral(lambda u, v: u + 0 * v[:, None], (0.0, 0.0), (1.0, 1.0))


def test_a_vanishing_integrand_is_refused():
    with pytest.raises(QuadratureError, match="vanishes"):
        log_integral(lambda u, v: np.full((v.size, u.size), -np.inf), (0.0, 0.0), (1.0, 1.0))
