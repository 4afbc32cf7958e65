"""Cap areas against arbitrary precision, closed forms and known packings."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from kwta_theory import theory
from kwta_theory.checks import InvalidArgumentError


def referee(m: int, c: float) -> mpmath.mpf:
    """``P(cosine >= c)`` as the integral of ``(1 - t^2)^((m-3)/2)``, which shares nothing with the beta function."""
    with mpmath.workdps(40):
        density = lambda t: (1 - t * t) ** (mpmath.mpf(m - 3) / 2)  # noqa: E731
        width = (1 - mpmath.mpf(c) ** 2) / (1 + m * c)  # over which the integrand falls by a factor of about e
        nodes = [c + width * 2**j for j in range(24) if c + width * 2**j < 1]
        return mpmath.log(
            mpmath.quad(density, [c, *nodes, 1])
            * mpmath.gamma(mpmath.mpf(m) / 2)
            / (mpmath.sqrt(mpmath.pi) * mpmath.gamma(mpmath.mpf(m - 1) / 2))
        )


@pytest.mark.parametrize("m", [3, 4, 7, 50, 784, 3072])
@pytest.mark.parametrize("c", [0.0, 0.3, 0.75, 0.99])
def test_cap_fraction_against_the_integral_in_40_digits(m, c):
    assert math.isclose(theory.log_cap_fraction(m, c), float(referee(m, c)), rel_tol=1e-11, abs_tol=1e-12)


@pytest.mark.parametrize("c", [-0.9, -0.2, 0.4, 1 - 1e-12])
def test_circle_and_sphere_in_closed_form(c):
    angle = 2 * math.atan2(math.sqrt((1 - c) * (1 + c)), 1 + c)
    assert math.isclose(math.exp(theory.log_cap_fraction(2, c)), angle / math.pi, rel_tol=1e-12)
    assert math.isclose(math.exp(theory.log_cap_fraction(3, c)), (1 - c) / 2, rel_tol=1e-9)


def test_ends():
    assert theory.log_cap_fraction(5, -1.0) == 0.0
    assert theory.log_cap_fraction(5, 1.0) == -math.inf
    assert theory.log_cap_fraction(1, 0.3) == math.log(0.5)


def test_small_caps_continue_past_underflow():
    """Both sides of the hand-over, where the fraction is about 1e-280."""
    values = [theory.log_cap_fraction(784, c) for c in np.linspace(0.89, 0.91, 41)]
    steps = np.diff(values)
    assert values[0] > math.log(1e-280) > values[-1]
    assert (np.abs(np.diff(steps)) < 0.02).all()


@pytest.mark.parametrize(
    ("m", "c", "points"), [(2, math.cos(2 * math.pi / 5), 5), (3, 0.0, 6), (8, 0.5, 240), (24, 0.5, 196560)]
)
def test_known_spherical_codes_obey_the_packing_bound(m, c, points):
    """The pentagon, the octahedron, the kissing numbers of E8 and of the Leech lattice."""
    assert math.log(points) <= theory.log_packing_bound(m, c) + 1e-12


def test_errors():
    with pytest.raises(InvalidArgumentError, match="input_dim=0"):
        theory.log_cap_fraction(0, 0.5)
    with pytest.raises(InvalidArgumentError, match=r"cosine=1.5"):
        theory.log_cap_fraction(3, 1.5)
    with pytest.raises(InvalidArgumentError, match=r"cosine=1.0"):
        theory.log_packing_bound(3, 1.0)
