"""Boundary density and jumps against 30 digits, closed forms, enumeration of the pairs' formula, and drawn normals."""

from __future__ import annotations

import functools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.theory import boundaries


@functools.cache
def referee(width: int, k: int) -> tuple[float, float, float]:
    """``rho``, ``E[x*]`` and ``E[x*^2]`` from the count over pairs, in 30 digits, without the reduction to Beta.

    ``C(l, 2) C(l-2, k-1)`` by gamma functions, ``phi^2 Q^(k-1) Phi^(l-k-1)`` over panels about its peak.
    """
    with mpmath.workdps(60):
        l, j = mpmath.mpf(width), mpmath.mpf(k)  # noqa: E741
        above = lambda s: mpmath.erfc(s / mpmath.sqrt(2)) / 2  # noqa: E731
        log_pairs = mpmath.loggamma(l + 1) - mpmath.loggamma(j) - mpmath.loggamma(l - j) - mpmath.log(2)

        def log_density(s: mpmath.mpf) -> mpmath.mpf:
            return -s * s + (j - 1) * mpmath.log(above(s)) + (l - j - 1) * mpmath.log(above(-s))

        peak = -mpmath.mpf(float(special.ndtri(k / width)))
        spread = mpmath.mpf(1)
        for _ in range(60):  # Newton with a damped step
            slope, bend = (mpmath.diff(log_density, peak, n, h=spread * mpmath.mpf("1e-12")) for n in (1, 2))
            spread = 1 / mpmath.sqrt(-bend)
            peak -= max(-spread, min(spread, slope / bend))
            if abs(slope / bend) < spread / 1000:
                break
        base = log_density(peak)
        mp_nodes = [peak + spread * n for n in (-60, -40, -25, -14, -9, -6, -4, -2, 0, 2, 4, 6, 9, 14, 25, 40, 60)]

    with mpmath.workdps(30):
        moment = [
            mpmath.quad(lambda s, p=p: s**p * mpmath.exp(log_density(s) - base), mp_nodes, maxdegree=8)
            for p in (0, 1, 2)
        ]
    with mpmath.workdps(60):
        density = mpmath.exp(log_pairs + base) * moment[0] / mpmath.pi / mpmath.sqrt(mpmath.pi)
        return float(density), float(moment[1] / moment[0]), float(moment[2] / moment[0])


CASES = [(2, 1), (3, 2), (10, 3), (100, 1), (1000, 1), (4096, 409), (100, 50), (1000, 900), (10**6, 1), (10**6, 10**5),
         (10**9, 7), (10**12, 10**11), (10**15, 10**14), (10**15, 1)]  # fmt: skip


@pytest.mark.parametrize(("width", "k"), CASES)
def test_density_and_moments_against_30_digits(width, k):
    density, mean, square = referee(width, k)
    law = boundaries.swap_value(width, k)
    assert math.isclose(boundaries.boundary_density(width, k), density, rel_tol=1e-10)
    assert math.isclose(law.mean, mean, rel_tol=1e-10, abs_tol=1e-13)
    assert math.isclose(law.root_mean_square**2, square, rel_tol=1e-10)
    assert math.isclose(boundaries.jump_size(width, k), math.sqrt(2 * square), rel_tol=1e-10)


def test_the_widest_layers_follow_their_asymptotics():
    """``k = 1``: ``l phi(S) = S e (1 + O(1/S^2))``, ``e = l Q(S)`` nearly exponential, so ``rho ~ q/sqrt(pi)``."""
    level = -special.ndtri_exp(-300 * math.log(10))
    assert math.isclose(boundaries.boundary_density(1e300, 1), level / math.sqrt(math.pi), rel_tol=2 / level**2)
    # With k winners e is a sum of k exponentials, of mean k, and S hardly moves.
    assert math.isclose(boundaries.boundary_density(1e300, 3) / boundaries.boundary_density(1e300, 1), 3, rel_tol=1e-2)


def test_half_of_the_widest_layer_keeps_its_digits_where_the_swap_value_nearly_vanishes():
    """``x*`` is Gaussian there with variance ``pi/(2 l)`` up to ``O(1/l)``."""
    law = boundaries.swap_value(10**15, 10**15 // 2)
    assert math.isclose(law.root_mean_square**2, math.pi / 2e15, rel_tol=1e-7)


@pytest.mark.parametrize("width", [2, 3, 4, 5, 8])
def test_beta_form_against_scipy(width):
    """``(l/sqrt(pi)) E[phi(Q^{-1}(U))]`` as printed, by an adaptive rule in ``u``."""
    for k in range(1, width):
        beta = stats.beta(k, width - k)
        value, _ = integrate.quad(
            lambda u, beta=beta: beta.pdf(u) * stats.norm.pdf(special.ndtri(u)), 0, 1, epsabs=1e-12, limit=200
        )
        assert math.isclose(boundaries.boundary_density(width, k), width / math.sqrt(math.pi) * value, rel_tol=1e-8)


def test_closed_forms_of_small_layers():
    assert math.isclose(boundaries.boundary_density(2, 1), 1 / math.pi, rel_tol=1e-14)
    # Three outputs: every pair meets at 1/pi, and the third is above or below with equal chance.
    assert math.isclose(boundaries.boundary_density(3, 1), 1.5 / math.pi, rel_tol=1e-14)
    assert math.isclose(boundaries.swap_value(2, 1).root_mean_square, math.sqrt(0.5), rel_tol=1e-14)
    assert math.isclose(boundaries.swap_value(2, 1).mean_absolute, 1 / math.sqrt(math.pi), rel_tol=1e-13)
    assert math.isclose(boundaries.jump_size(2, 1), 1.0, rel_tol=1e-14)


@given(width=st.integers(2, 60))
@settings(max_examples=20, deadline=None)
def test_all_pairs_meet_once_in_a_half_turn(width):
    """Summed over ``k`` the changes are all meetings: ``C(l, 2)/pi`` per radian, with ``E[x*^2] = 1/2`` over them."""
    density = [boundaries.boundary_density(width, k) for k in range(1, width)]
    squares = [boundaries.swap_value(width, k).root_mean_square ** 2 for k in range(1, width)]
    assert math.isclose(math.fsum(density), math.comb(width, 2) / math.pi, rel_tol=1e-12)
    assert math.isclose(np.dot(density, squares), math.comb(width, 2) / math.pi / 2, rel_tol=1e-12)


@given(width=st.integers(2, 10**6), data=st.data())
@settings(max_examples=30, deadline=None)
def test_losers_are_the_winners_of_the_opposite_input(width, data):
    k = data.draw(st.integers(1, width - 1))
    assert boundaries.boundary_density(width, k) == pytest.approx(boundaries.boundary_density(width, width - k), 1e-13)
    here, there = boundaries.swap_value(width, k), boundaries.swap_value(width, width - k)
    assert here.mean == pytest.approx(-there.mean, rel=1e-12, abs=1e-12)
    assert here.root_mean_square == pytest.approx(there.root_mean_square, rel=1e-9)
    assert abs(here.mean) <= here.mean_absolute * (1 + 1e-12) <= here.root_mean_square * (1 + 1e-11)


def test_limit_of_large_widths():
    for ratio in (0.05, 0.3, 0.8):
        q = float(stats.norm.isf(ratio))
        limit = boundaries.limiting_boundary_density(ratio)
        assert math.isclose(limit, stats.norm.pdf(q) / math.sqrt(math.pi), rel_tol=1e-13)
        assert math.isclose(boundaries.boundary_density(10**8, round(ratio * 10**8)) / 10**8, limit, rel_tol=1e-6)
        assert math.isclose(boundaries.swap_value(10**8, round(ratio * 10**8)).mean, q, rel_tol=1e-5)
    assert boundaries.limiting_boundary_density(0.5) < 0.7072 * boundaries.relu_boundary_density(1)


def test_no_change_where_all_win():
    assert boundaries.boundary_density(7, 7) == 0.0
    assert boundaries.boundary_density(1, 1) == 0.0
    assert boundaries.lwta_boundary_density(6, 1) == 0.0


def test_relu_and_groups():
    assert boundaries.relu_boundary_density(9) == 9 / math.pi
    assert boundaries.lwta_boundary_density(12, 4) == 3 * boundaries.boundary_density(4, 1)
    assert boundaries.lwta_boundary_density(12, 12) == boundaries.boundary_density(12, 1)


def test_density_by_drawing_the_order_statistic():
    """``E[phi(S)]`` with ``S`` drawn as the k-th largest of ``l - 1``. n = 40,000: a standard error of 0.2 %, so that
    one winner or one row too many, worth 5 % and 10 %, is far outside."""
    width, k, n = 20, 3, 40_000
    normals = np.random.default_rng(np.random.SeedSequence(5)).standard_normal((n, width - 1))
    drawn = stats.norm.pdf(np.sort(normals, axis=1)[:, -k]) * width / math.sqrt(math.pi)
    error = drawn.std(ddof=1) / math.sqrt(n)
    assert abs(drawn.mean() - boundaries.boundary_density(width, k)) < 4.6 * error
    for wrong in (boundaries.boundary_density(width, k + 1), boundaries.boundary_density(width - 1, k)):
        assert abs(drawn.mean() - wrong) > 4.6 * error  # negative controls


@pytest.mark.parametrize("width", [2, 3, 7, 40, 101])
def test_the_jump_shrinks_up_to_half_and_grows_beyond(width):
    sizes = np.array([boundaries.jump_size(width, k) for k in range(1, width)])
    means = np.array([boundaries.swap_value(width, k).mean for k in range(1, width)])
    half = (width - 1) // 2  # steps k -> k + 1 that stay at or below the middle
    assert (np.diff(sizes)[: max(half - (width % 2), 0)] < 0).all()
    assert (np.diff(sizes)[-(half - (width % 2)) :] > 0).all() or half - (width % 2) <= 0
    assert (np.diff(means) < 0).all()


def test_variation_of_the_jumps():
    law = boundaries.swap_value(50, 5)
    rate = boundaries.boundary_density(50, 5)
    assert math.isclose(
        boundaries.jump_variation(50, 5, "total variation"), rate * law.mean_absolute * 2 / math.sqrt(math.pi)
    )
    assert math.isclose(
        boundaries.jump_variation(50, 5, "quadratic variation"), rate * boundaries.jump_size(50, 5) ** 2
    )


@pytest.mark.parametrize(("measure", "limit"), [("total variation", 0.15866), ("quadratic variation", 0.07865)])
def test_best_ratio(measure, limit):
    assert math.isclose(boundaries.best_sparsity_ratio(measure), limit, rel_tol=1e-4)
    assert boundaries.best_sparsity_ratio(measure) == pytest.approx(
        stats.norm.sf(1.0 if measure == "total variation" else math.sqrt(2))
    )
    found = [boundaries.best_sparsity_ratio(measure, width) for width in (10**3, 10**5)]
    assert abs(found[1] - limit) < 2e-4
    assert abs(found[0] - limit) < 2e-3
    assert boundaries.best_sparsity_ratio(measure, 2) == 0.5


@pytest.mark.parametrize("measure", ["total variation", "quadratic variation"])
def test_refined_search_finds_what_enumeration_finds(measure):
    width = 1200
    best = max(range(1, width // 2 + 1), key=lambda k: boundaries.jump_variation(width, k, measure))
    assert boundaries.best_sparsity_ratio(measure, width) == best / width
    values = [boundaries.jump_variation(width, k, measure) for k in range(1, width // 2 + 1)]
    assert (np.diff(values[:best]) > 0).all()  # one peak, as the search takes for granted
    assert (np.diff(values[best - 1 :]) < 0).all()


def test_errors():
    with pytest.raises(InvalidArgumentError, match=r"width=3 is below k=4"):
        boundaries.boundary_density(3, 4)
    with pytest.raises(InvalidArgumentError, match="k=5 is the width"):
        boundaries.swap_value(5, 5)
    with pytest.raises(InvalidArgumentError, match="k=5 is the width"):
        boundaries.jump_size(5, 5)
    with pytest.raises(InvalidArgumentError, match=r"sparsity_ratio=1\.0"):
        boundaries.limiting_boundary_density(1.0)
    with pytest.raises(InvalidArgumentError, match="width=0"):
        boundaries.relu_boundary_density(0)
    with pytest.raises(InvalidArgumentError, match="width=10 is not a multiple of group_size=4"):
        boundaries.lwta_boundary_density(10, 4)
    with pytest.raises(InvalidArgumentError, match="measure='jumps' is not allowed"):
        boundaries.jump_variation(10, 4, "jumps")
    with pytest.raises(InvalidArgumentError, match="measure='' is not allowed"):
        boundaries.best_sparsity_ratio("")
    with pytest.raises(InvalidArgumentError, match="width=1 is not allowed"):
        boundaries.best_sparsity_ratio("total variation", 1)
