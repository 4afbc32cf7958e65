"""The pair laws against referees: closed forms, orthant probabilities, and the plain formulas in 30 digits.

The referee shares the formulas of the law with the package and nothing of its arithmetic: log-binomials from mpmath,
quadrant masses as one-dimensional integrals over a conditional tail, the others by subtraction in 34 digits, a fixed
grid. The control is a law that leaves out one term.
"""

import math
from functools import cache

import mpmath as mp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from kwta_theory.theory import disjoint_patterns, intersecting_patterns, overlap_probability, same_pattern


def cheng(a, b):
    """Orthant probability of four normals with correlations a, b, ab in a square (Cheng 1969)."""
    s = math.asin
    linear = (s(a) + s(b) + s(a * b)) / (4 * math.pi)
    return 1 / 16 + linear + (s(a) ** 2 + s(b) ** 2 - s(a * b) ** 2) / (4 * math.pi**2)


@pytest.mark.parametrize("cosine", [-0.999, -0.7, -0.2, 0.0, 0.3, 0.8, 0.99, 1 - 1e-7, 1 - 1e-12])
def test_widths_two_and_three_in_closed_form(cosine):
    """l = 2: the sign of a difference. l = 3: the winner beats two others in both inputs, a square of correlations."""
    assert same_pattern(2, 1, cosine) == pytest.approx(0.5 + math.asin(cosine) / math.pi, rel=1e-9)
    assert same_pattern(3, 1, cosine) == pytest.approx(3 * cheng(cosine, 0.5), rel=1e-9)
    assert same_pattern(3, 2, cosine) == pytest.approx(3 * cheng(cosine, 0.5), rel=1e-9)
    assert disjoint_patterns(3, 1, cosine) == pytest.approx(1 - 3 * cheng(cosine, 0.5), rel=1e-9, abs=1e-10)


@pytest.mark.parametrize(("width", "k"), [(2, 1), (3, 1), (4, 2), (10, 3), (12, 6), (40, 4), (1000, 2), (10**6, 3)])
def test_independent_inputs_are_hypergeometric(width, k):
    """At cosine 0 the second pattern is a uniform k-subset."""
    for j in range(k + 1):
        exact = math.comb(k, j) * math.comb(width - k, k - j) / math.comb(width, k)
        assert overlap_probability(width, k, 0.0, j) == pytest.approx(exact, rel=1e-9)
    assert same_pattern(width, k, 0.0) == pytest.approx(1 / math.comb(width, k), rel=1e-9)
    disjoint = math.comb(width - k, k) / math.comb(width, k)
    assert disjoint_patterns(width, k, 0.0) == pytest.approx(disjoint, rel=1e-9)
    assert intersecting_patterns(width, k, 0.0) == pytest.approx(1 - disjoint, rel=1e-8)


def test_independent_inputs_at_a_billion():
    with mp.workdps(50):
        exact = float(-mp.log(mp.binomial(10**9, 1000)))
    assert same_pattern(10**9, 1000, 0.0, log=True) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize(("width", "cosine"), [(4, -0.4), (4, 0.6), (5, 0.6)])
def test_enumeration_by_orthants(width, cosine):
    """k = 1 by brute force: row 1 wins in both inputs, or row 1 in one and row 2 in the other; the rest is symmetry."""

    def orthant(first, second):
        def beats(winner):
            others = [i for i in range(width) if i != winner]
            matrix = np.zeros((width - 1, width))
            matrix[range(width - 1), others] = -1.0
            matrix[:, winner] = 1.0
            return matrix

        rows = np.block([[beats(first), np.zeros((width - 1, width))], [np.zeros((width - 1, width)), beats(second)]])
        joint = np.kron([[1.0, cosine], [cosine, 1.0]], np.eye(width))
        law = multivariate_normal(np.zeros(2 * width - 2), rows @ joint @ rows.T, seed=1, abseps=1e-6, releps=1e-6)
        return float(law.cdf(np.zeros(2 * width - 2)))

    assert same_pattern(width, 1, cosine) == pytest.approx(width * orthant(0, 0), abs=1e-4)
    assert disjoint_patterns(width, 1, cosine) == pytest.approx(width * (width - 1) * orthant(0, 1), abs=1e-4)


@cache
def legendre(nodes):
    x, w = np.polynomial.legendre.leggauss(nodes)
    return [(mp.mpf(float(a)), mp.mpf(float(b))) for a, b in zip(x, w, strict=True)]


def mixed_mass(s, t, alpha, rho):
    """``P(X > s, Y < t)``: the density of ``X`` times the conditional chance, over ``x = s + rho y``."""
    shift = (t - alpha * s) / rho  # Y < t means noise below shift - alpha y
    top = min(mp.mpf(15) / rho, (14 + max(shift, 0)) / alpha)
    total = mp.mpf(0)
    for node, weight in legendre(56):
        y = top * (1 + node) / 2
        total += weight * mp.npdf(s + rho * y) * mp.erfc((alpha * y - shift) / mp.sqrt(2))
    return total * top * rho / 4


def referee(width, k, cosine, kind, center, half_u, half_v, nodes=(34, 34), mistake=None):
    """Log of the plain double integral, for a cosine in (0, 1), by the trapezoidal rule on a fixed box."""
    with mp.workdps(34):
        alpha = mp.mpf(cosine)
        rho = mp.sqrt((1 - alpha) * (1 + alpha))
        n, r = width - k, width - 2 * k
        if kind == "same":
            constant = mp.log(mp.binomial(width, k))
        else:
            constant = mp.log(mp.binomial(width, k)) + mp.log(mp.binomial(width - k, k))
        step_u, step_v = mp.mpf(2 * half_u) / nodes[0], mp.mpf(2 * half_v) / nodes[1]
        total, edge, top = mp.mpf(0), mp.mpf(0), mp.mpf(0)
        for j in range(nodes[1] // 2 + 1):  # the integrand is even in v
            v = step_v * j
            for i in range(nodes[0] + 1):
                u = center - half_u + step_u * i
                s, t = u - v / 2, u + v / 2
                a, b = mixed_mass(s, t, alpha, rho), mixed_mass(t, s, alpha, rho)
                q = mp.erfc(s / mp.sqrt(2)) / 2 - a
                c = mp.erfc(-s / mp.sqrt(2)) / 2 - b
                joint = mp.npdf(s) * mp.npdf((t - alpha * s) / rho) / rho
                y_below, x_below = mp.ncdf((t - alpha * s) / rho), mp.ncdf((s - alpha * t) / rho)
                c_s, c_t = mp.npdf(s) * y_below, mp.npdf(t) * x_below
                b_s, a_t = mp.npdf(s) * (1 - y_below), mp.npdf(t) * (1 - x_below)
                if kind == "same":
                    pairs = 0 if mistake == "pairs" else n * (n - 1) * c_s * c_t / c**2
                    value = mp.exp(constant + k * mp.log(q) + n * mp.log(c)) * (n * joint / c + pairs)
                else:
                    by_s, by_t = (k * b_s / b, r * c_s / c), (k * a_t / a, r * c_t / c)
                    attained = by_s[0] * by_t[0] + by_s[0] * by_t[1] + by_s[1] * by_t[0]
                    attained += r * joint / c + (0 if mistake == "pairs" else r * (r - 1) * c_s * c_t / c**2)
                    value = mp.exp(constant + k * mp.log(a) + k * mp.log(b) + r * mp.log(c)) * attained
                total += value if j == 0 else 2 * value
                top = max(top, value)
                if i in (0, nodes[0]) or j == nodes[1] // 2:
                    edge = max(edge, value)
        assert edge < top * mp.mpf("1e-7")
        return float(mp.log(total * step_u * step_v))


# width, k, cosine, law, box (center and half-size in u, half-size in v), then what `referee` gave for it.
CASES = [
    (20, 2, 0.9, "same", 1.75856554, 2.75, 2.59, -0.9738259281700291),
    (20, 2, 0.9, "disjoint", 1.42482619, 2.65, 2.18, -2.6204333253159082),
    (1000, 2, 0.7, "disjoint", 3.3125183, 1.36, 2.47, -0.37875907001888826),
    (10**4, 1000, 0.99, "same", 1.31776678, 0.136, 0.084, -199.9589508305914),
    (10**6, 3, 0.9, "same", 4.99890443, 0.988, 1.66, -4.866493089103766),
    (10**6, 3, 0.9, "disjoint", 4.77918948, 0.775, 1.3, -0.9560211481328101),
    (10**9, 5, 0.97, "disjoint", 5.86362211, 0.488, 0.602, -3.403657328675066),
    (10**9, 10**5, 1 - 1e-7, "same", 3.71941578, 0.00645, 0.00032, -139.01490943229916),
    (10**9, 10**8, 1 - 1e-14, "same", 1.28157859, 0.000437, 2.93e-07, -18.50655730967637),
    (10**9, 10**8, 0.95, "same", 1.33667374, 0.000422, 0.000345, -46739933.71632994),
    (10**9, 10**8, 1 - 1e-14, "disjoint", 1.06153834, 0.000368, 1.01e-10, -3120210328.770248),
]
# Smaller grids, computed now: their own error is the tolerance of 1e-8 at most.
LIVE = [
    (10**4, 1000, 0.99, "same", 1.31776678, 0.11, 0.07, (16, 16)),
    (5000, 50, 0.95, "disjoint", 2.23612517, 0.302, 0.257, (18, 18)),
    (10**9, 10**8, 1 - 1e-14, "same", 1.28157859, 0.000414, 2.77e-07, (20, 20)),
]
LAWS = {"same": same_pattern, "disjoint": disjoint_patterns}


@pytest.mark.parametrize("case", CASES)
def test_against_the_referee(case):
    """1e-9 relative in the probability; for logarithms of tens of millions, rounding of the logarithm."""
    width, k, cosine, kind, *_, exact = case
    value = LAWS[kind](width, k, cosine, log=True)
    assert value == pytest.approx(exact, rel=2e-15, abs=1e-9)


@pytest.mark.parametrize("case", LIVE)
def test_against_the_referee_computed_now(case):
    width, k, cosine, kind, *box, nodes = case
    value = LAWS[kind](width, k, cosine, log=True)
    assert referee(width, k, cosine, kind, *box, nodes=nodes) == pytest.approx(value, abs=1e-8)
    recorded = [exact for *head, _, _, _, exact in CASES if tuple(head) == case[:4]]
    assert recorded in ([], [pytest.approx(value, abs=1e-9)])


@pytest.mark.parametrize("case", LIVE[:2])
def test_control_a_law_without_its_pairs_is_far_from_ours(case):
    """Leaving out the n (n-1) term, "s and t come from different rows", costs more than 10 %, where 1e-8 is tested."""
    width, k, cosine, kind, *box, _ = case
    wrong = referee(width, k, cosine, kind, *box, nodes=(12, 12), mistake="pairs")
    assert wrong - LAWS[kind](width, k, cosine, log=True) < -0.1
