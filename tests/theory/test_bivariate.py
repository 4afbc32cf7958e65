"""The quadrants of a bivariate normal pair against mpmath, over scales from 1e-8 to 4000."""

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from kwta_theory.theory.bivariate import half_angle_tangent, mills_ratio, normal_interval, quadrants, sector

# 30 digits and integration in log x, split at the scales of both ends: another variable and another rule.
SECTORS = [
    (1.2, 0.1, 0.0709),
    (5.0, 0.1, 0.0709),
    (17.0, 0.2, 1.0),
    (0.0, 30.0, 1.0),
    (0.01, 30.0, 1.0),
    (1e-6, 5.0, 1e-6),
    (30.0, 0.01, 1.7),
    (4000.0, 1e-4, 2.0),
    (1e-4, 4000.0, 0.5),
    (1e-8, 4000.0, 7e-8),
    (1.3, 1e-6, 1e6),
    (0.5, 1.0, 1e7),
]


def sector_by_mpmath(row: float, column: float, end: float) -> float:
    with mp.workdps(30):
        r, c, top = mp.mpf(row), mp.mpf(column), mp.log(end)

        def integrand(y: mp.mpf) -> mp.mpf:
            x = mp.exp(y)
            return x * mp.exp(-r * r / 2 * (1 / x**2 - 1 / mp.mpf(end) ** 2) - c * c * x * x / 2) / (1 + x * x)

        layer = 1 / (1 + (c * end) ** 2 + (r / end) ** 2)
        points = {top - mp.mpf(i) / 4 for i in range(320)} | {top - layer * 2**i for i in range(8)}
        return float(mp.quad(integrand, sorted(points)))


@pytest.mark.parametrize(("row", "column", "end"), SECTORS)
def test_sector_agrees_with_mpmath(row, column, end):
    value = sector(np.array([row]), np.array([column]), end)[0, 0]
    assert value == pytest.approx(sector_by_mpmath(row, column, end), rel=2e-13)


def test_sector_without_levels_is_the_angle_and_rows_and_columns_are_not_exchanged():
    rows, columns = np.array([0.0, 0.3, 1.1]), np.array([0.0, 0.7])
    value = sector(rows, columns, 0.6)
    assert value.shape == (3, 2)
    assert value[0, 0] == pytest.approx(math.atan(0.6), rel=1e-13)
    assert value[2, 1] == pytest.approx(sector_by_mpmath(1.1, 0.7, 0.6), rel=1e-12)
    assert abs(value[2, 1] / sector_by_mpmath(0.7, 1.1, 0.6) - 1) > 0.05  # negative control


def test_owen_t_is_half_a_sector():
    """At ``v = 0``: ``P(X > s, Y < s) = 2 T(s, slope)``."""
    levels = np.array([0.0, 0.5, 2.0, 6.0])
    slope = half_angle_tangent(0.7)
    mixed = quadrants(levels, np.array([0.0]), slope).first_only[0] * np.exp(-0.5 * levels**2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(mixed, 2 * special.owens_t(levels, slope), rtol=1e-12)


@pytest.mark.parametrize("center", [0.0, 0.05, 3.0, -3.0, 35.0])
@pytest.mark.parametrize("half", [0.0, 1e-12, 1e-3, 0.4, 2.0])
def test_normal_interval(center, half):
    with mp.workdps(40):
        c, h = mp.mpf(center), mp.mpf(half)
        exact = float((mp.erfc((c - h) / mp.sqrt(2)) - mp.erfc((c + h) / mp.sqrt(2))) / 2 / mp.npdf(c))
    value = normal_interval(np.array([center]), np.array([half]))[0, 0]
    assert value == pytest.approx(exact, rel=1e-13, abs=0.0)


def test_mills_ratio_far_out():
    assert mills_ratio(np.array([4000.0]))[0] == pytest.approx(1 / 4000 * (1 - 1 / 4000**2 + 3 / 4000**4), rel=1e-14)


def mass_by_mpmath(u: float, v: float, cosine: float) -> list[float]:
    """The four quadrants as one-dimensional integrals of a density times a conditional tail."""
    with mp.workdps(25):
        alpha, s, t = mp.mpf(cosine), mp.mpf(u) - mp.mpf(v) / 2, mp.mpf(u) + mp.mpf(v) / 2
        rho = mp.sqrt((1 - alpha) * (1 + alpha))

        def integral(sign: int, low: mp.mpf, high: mp.mpf) -> float:
            def integrand(x: mp.mpf) -> mp.mpf:
                return mp.npdf(x) * mp.erfc(sign * (t - alpha * x) / rho / mp.sqrt(2)) / 2

            turn, width = (t / alpha, rho / abs(alpha)) if alpha else (s, mp.mpf(1))
            inner = [turn + i * width for i in (-60, -20, -5, -1, 0, 1, 5, 20, 60)]
            inner += [s + d * mp.mpf(i) / max(1, abs(s)) for i in (1, 3, 10, 30) for d in (-1, 1)]
            return float(mp.quad(integrand, sorted({low, high} | {p for p in inner if low < p < high})))

        far = 40 + abs(s)
        return [integral(-1, s, far), integral(1, -far, s), integral(1, s, far), integral(-1, -far, s)]


@pytest.mark.parametrize(("cosine", "u"), [(1 - 1e-12, 2.5), (0.999, -3.0), (0.5, 0.01), (0.0, 2.5), (-0.5, -1.0)])
def test_quadrants_agree_with_mpmath(cosine, u):
    slope = half_angle_tangent(cosine)
    differences = np.array([0.0, 0.6, -4.0]) * min(slope, 1.0)
    masses = quadrants(np.array([u]), differences, slope)
    density = math.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)
    for i, v in enumerate(differences.tolist()):
        value = [
            masses.first_only[i, 0] * density,
            masses.second_only[i, 0] * density,
            math.exp(masses.log_both[i, 0]) * density,
            masses.neither[i, 0],
        ]
        np.testing.assert_allclose(value, mass_by_mpmath(u, v, cosine), rtol=1e-11)


@given(st.floats(-6, 8), st.floats(-4, 4), st.floats(-0.999999, 0.999999))
@settings(deadline=None, max_examples=60)
def test_quadrants_are_a_distribution_with_the_right_margins(u, v, cosine):
    masses = quadrants(np.array([u]), np.array([v]), half_angle_tangent(cosine))
    density = math.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)
    first, second = masses.first_only[0, 0] * density, masses.second_only[0, 0] * density
    both, neither = math.exp(masses.log_both[0, 0]) * density, masses.neither[0, 0]
    assert first + second + both + neither == pytest.approx(1.0, abs=1e-12)
    assert first + both == pytest.approx(special.ndtr(-(u - v / 2)), rel=1e-12)
    assert second + both == pytest.approx(special.ndtr(-(u + v / 2)), rel=1e-12)


def test_nothing_underflows_at_level_4000():
    """There ``P(X > s, Y > t)`` is about ``exp(-u^2 / (1 + alpha))``: its logarithm is finite and right."""
    u, cosine = 4000.0, 0.5
    masses = quadrants(np.array([u]), np.array([0.0]), half_angle_tangent(cosine))
    # Savage's expansion of the tail: (1 + alpha)^2 / (2 pi u^2 sqrt(1 - alpha^2)) exp(-u^2 / (1 + alpha)).
    log_tail = 2 * math.log(1.5) - math.log(2 * math.pi * u * u * math.sqrt(0.75)) - u * u / 1.5
    log_density = -0.5 * u * u - 0.5 * math.log(2 * math.pi)
    assert masses.log_both[0, 0] == pytest.approx(log_tail - log_density, abs=1e-6)
    assert masses.first_only[0, 0] == pytest.approx(1 / u, rel=1e-6)
