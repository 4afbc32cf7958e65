"""The arguments of Theorems 8 and 10 with exact laws in place of their inequalities: rigorous bounds, much sharper.

The proofs lose in every step: Chernoff, Markov, the size of a net, a margin fixed beforehand. Here each of these steps
is replaced by the exact law or by the best constant, and what the argument leaves free is chosen best. What remains
lost is the unions: over pairs of rows, over pairs of points, and from a failing point to a cap around it. Every choice
gives a valid bound, so an imprecise minimum costs sharpness, never truth. Numbers are as accurate as the laws they come
from (``pair_laws``: 1e-8 relative).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import SupportsFloat, SupportsIndex

import numpy as np
from scipy import optimize, special

from kwta_theory.checks import check_integer, check_number, winners
from kwta_theory.theory.bivariate import half_angle_tangent, mills_ratio, quadrants
from kwta_theory.theory.chi_square import chi_square_log_tail
from kwta_theory.theory.pair_density import check_layer
from kwta_theory.theory.pair_laws import intersecting_patterns, same_pattern
from kwta_theory.theory.sphere import log_cap_fraction

# Where the best margin lies, in units of sqrt(1 - alpha^2) m / k: between 1.7 and 20 for widths from 1e3 to 1e8.
_TYPICAL_MARGIN = 5.0
_MARGIN_REACH = math.log(1e3)
_LARGEST_LOG_WIDTH = 1e8  # of the exact pair law


@dataclass(frozen=True)
class RotationBound:
    """A bound of the failure probability of Theorem 8 and the free choices that give it.

    Attributes:
        log_failure: natural logarithm of the bound; from 0 on it says nothing.
        margin: ``mu``, by how much a winner falls below a loser at a point that a cap forgives, for unit inputs and
            standard normal weights.
        difference: ``rho``, how far apart the rows of a winner and a loser may be, perpendicular to ``x``.
        angle: ``theta``, radius of the caps on the sphere of directions perpendicular to ``x``, in radians.
        log_caps: ``-log(area fraction of a cap)``, in the place of the logarithm of the size of a net.
    """

    log_failure: float
    margin: float
    difference: float
    angle: float
    log_caps: float


def theorem8_exact_argument(
    width: SupportsIndex, input_dim: SupportsIndex, sparsity_ratio: SupportsFloat, cosine: SupportsFloat
) -> RotationBound:
    """Bound of ``P(some x' at a cosine of at most alpha has the pattern of x)``, with the choices that make it least.

        P(fail) <= k (l - k) P(chi2_{m-1} > rho^2 / 2)  +  P(same pattern up to mu) / cap(theta)
        mu = 2 rho sqrt(1 - alpha^2) sin(theta / 2),    k = floor(gamma l)

    for every ``rho`` and ``theta``. Here ``P(same pattern up to mu)`` is the exact law :func:`same_pattern` with
    margin ``mu`` and ``cap(theta)`` the part of the unit sphere of ``m - 1`` dimensions within an angle of ``theta``.

    The steps, those of the paper's proof with nothing given away:

    1. ``x = e_1``; the hardest ``x'`` have a cosine of exactly ``alpha`` (Lemma 2; the opposite direction, which the
       convexity does not reach, never has the same pattern for ``k < l``, almost surely). They are
       ``y = alpha x + sqrt(1 - alpha^2) z`` with ``z`` in the unit sphere perpendicular to ``x``, of ``m - 1``
       dimensions.
    2. Let ``y'`` fail: at ``y'`` no winner ``i`` of ``x`` is below a loser ``j``. For a ``y`` with ``z`` within the
       angle ``theta`` of ``z'``, ``|y - y'| <= 2 sqrt(1 - alpha^2) sin(theta / 2)``, perpendicular to ``x``. So at
       ``y`` no winner is more than ``mu`` below a loser, if ``|W_i - W_j| <= rho``, perpendicular to ``x``, for all
       pairs. (The paper bounds ``|W_i| + |W_j|``.)
    3. The winners of ``x`` depend on ``W x`` alone, which is independent of the rest. For given winners the
       ``k (l - k)`` differences have ``|W_i - W_j|^2 / 2`` chi-square with ``m - 1`` degrees of freedom.
    4. One failing ``y'`` makes a whole cap of ``y`` fail up to ``mu``: with Fubini's theorem,
       ``cap(theta) P(fail, all differences <= rho) <= E[part of all y that fail up to mu] = P(same pattern up to mu)``.
       This takes the place of the union over a net; ``1 / cap(theta)`` is less than the size of any net of angle
       ``theta``, for the caps around a net cover the sphere.
    5. Theorem 8 conditions on ``|W_i| <= 10 sqrt(m)`` for entries of variance ``1/l``, an event of probability at least
       ``1 - l P(chi2_m > 100 m l)``; the bound is divided by it, and holds with the condition and without.

    For ``m = 2`` there are two points at a cosine of ``alpha``, the margin is 0 and the bound is twice the exact law
    of a pair; for ``m = 1`` there is none and the failure is 0.

    Args:
        width: ``l``, at least 1.
        input_dim: ``m``, at least 1.
        sparsity_ratio: ``gamma`` in (0, 1), with at least one winner. Where all outputs win, the failure is 1.
        cosine: ``alpha`` in (0, 1).

    Raises:
        InvalidArgumentError: for an argument outside its range.
        QuadratureError: if the exact law does not settle.

    >>> bound = theorem8_exact_argument(2000, 8, 0.1, 0.9)
    >>> round(bound.log_failure), round(bound.margin, 3)
    (-91, 0.031)
    """
    m = check_integer("input_dim", input_dim, minimum=1)
    outputs = check_integer("width", width, minimum=1)
    ratio = check_number("sparsity_ratio", sparsity_ratio, 0.0, 1.0, open_minimum=True, open_maximum=True)
    k = winners(outputs, ratio)
    alpha = check_number("cosine", cosine, 0.0, 1.0, open_minimum=True, open_maximum=True)
    if k == outputs:
        return RotationBound(0.0, 0.0, 0.0, 0.0, 0.0)
    # - log P(all rows are within the bound that Theorem 8 conditions on)
    condition = -math.log1p(-math.exp(math.log(outputs) + chi_square_log_tail(100.0 * m * outputs, m)))
    if m == 1:
        return RotationBound(-math.inf, 0.0, 0.0, 0.0, 0.0)
    if m == 2:
        log_caps = math.log(2.0)
        log_failure = log_caps + same_pattern(outputs, k, alpha, log=True) + condition
        return RotationBound(log_failure, 0.0, math.inf, 0.0, log_caps)
    sine = math.sqrt((1.0 - alpha) * (1.0 + alpha))

    def with_margin(log_margin: float) -> RotationBound:
        margin = math.exp(log_margin)
        log_same = same_pattern(outputs, k, alpha, margin, log=True)
        best = _best_caps(m - 1, math.log(k) + math.log(outputs - k), margin / sine, log_same)
        return RotationBound(best.log_failure + condition, margin, best.difference, best.angle, best.log_caps)

    center = math.log(_TYPICAL_MARGIN * sine * m / k)
    high = min(center + _MARGIN_REACH, math.log(sine))  # larger ones forgive so much that the bound exceeds 1
    least = optimize.minimize_scalar(
        lambda log_margin: with_margin(log_margin).log_failure,
        bounds=(min(center, high) - _MARGIN_REACH, high),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return with_margin(float(least.x))


def _best_caps(dim: int, log_pairs: float, relative_margin: float, log_same: float) -> RotationBound:
    """The least ``pairs * P(chi2_dim > rho^2/2) + same / cap(theta)`` with ``2 rho sin(theta/2) = relative_margin``."""

    def choice(log_half_square: float) -> RotationBound:
        half_square = math.exp(log_half_square)
        difference = math.sqrt(2.0 * half_square)
        half_sine = min(1.0, relative_margin / (2.0 * difference))
        log_caps = _log_caps(dim, half_sine)
        log_failure = float(np.logaddexp(log_pairs + chi_square_log_tail(half_square, dim), log_same + log_caps))
        return RotationBound(log_failure, 0.0, difference, 2.0 * math.asin(half_sine), log_caps)

    # P(chi2 > d + 2 sqrt(d t) + 2 t) <= exp(-t) (Laurent and Massart): beyond, the first term is below the second.
    t = max(0.0, log_pairs - log_same) + 10.0
    least = optimize.minimize_scalar(
        lambda log_half_square: choice(log_half_square).log_failure,
        bounds=(math.log(dim), math.log(dim + 2.0 * math.sqrt(dim * t) + 2.0 * t)),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return choice(float(least.x))


def _log_caps(dim: int, half_sine: float) -> float:
    """``-log cap(theta)``, or slightly more, from ``sin(theta / 2)``, for ``dim >= 2``.

        cap(theta) = Int_0^theta sin^(d-2) / B((d-1)/2, 1/2) >= sin^(d-1)(theta) / ((d-1) B((d-1)/2, 1/2)),

    with a factor of at most ``1/cos(theta)`` between the two: it stands for the cap where the cosine rounds to 1.
    """
    sine = 2.0 * half_sine * math.sqrt((1.0 - half_sine) * (1.0 + half_sine))
    if half_sine < 5e-4:
        return math.log(dim - 1) + float(special.betaln(0.5 * (dim - 1), 0.5)) - (dim - 1) * math.log(sine)
    # The cosine is rounded towards 1: a smaller cap makes the bound larger.
    return -log_cap_fraction(dim, math.nextafter(1.0 - 2.0 * half_sine * half_sine, 1.0))


def theorem8_exact_failure(
    width: SupportsIndex,
    input_dim: SupportsIndex,
    sparsity_ratio: SupportsFloat,
    cosine: SupportsFloat,
    log: bool = False,
) -> float:
    """Bound of the failure probability of Theorem 8 at a width: at most 1; see :func:`theorem8_exact_argument`.

    It holds for every ``x'`` at once, unlike :func:`same_pattern`, which is the exact law for one fixed ``x'``.

    >>> round(theorem8_exact_failure(200, 2, 0.1, 0.9) / same_pattern(200, 20, 0.9), 9)
    2.0
    """
    log_failure = min(0.0, theorem8_exact_argument(width, input_dim, sparsity_ratio, cosine).log_failure)
    return log_failure if log else math.exp(log_failure)


def first_width(k: int, sparsity_ratio: float) -> int:
    """The least width of which ``k`` outputs win: the least ``l`` with ``winners(l, sparsity_ratio) >= k``.

    >>> first_width(29, 0.29), first_width(3, 0.4)
    (100, 8)
    """
    # :func:`winners` takes a product within four units of rounding below an integer for that integer.
    return math.ceil(Fraction(k) / (Fraction(sparsity_ratio) * (1 + 4 * Fraction(math.ulp(1.0)))))


def theorem8_exact_width(input_dim: int, sparsity_ratio: float, cosine: float, failure: float) -> int:
    """The width of ``theorem8_width(..., constants="exact")``, which checks the arguments and says what it means."""
    target = math.log(failure) - input_dim * math.log(2.0)

    def excess(k: int) -> float:
        bound = theorem8_exact_argument(first_width(k, sparsity_ratio), input_dim, sparsity_ratio, cosine)
        return bound.log_failure - target

    return first_width(_first_integer(excess, input_dim), sparsity_ratio)


def _first_integer(excess: Callable[[int], float], start: int) -> int:
    """The least integer ``k >= 1`` with ``excess(k) <= 0``, for a decreasing function that is nearly linear."""
    low, high = 0, start
    tried = [(start, excess(start))]
    while tried[-1][1] > 0.0:
        low, high = high, 2 * high
        tried.append((high, excess(high)))
    while high - low > 1:
        # The secant through the last two, and every third time the middle, in logarithms, in case that it crawls.
        (before, value_before), (last, value) = tried[-2:] if len(tried) > 1 else (*tried, *tried)
        if value != value_before and len(tried) % 3:
            guess = last + math.ceil(value * (last - before) / (value_before - value))
        else:
            guess = math.isqrt(max(low, 1) * high)
        guess = min(max(guess, low + 1), high - 1)
        tried.append((guess, excess(guess)))
        low, high = (guess, high) if tried[-1][1] > 0.0 else (low, guess)
    return high


def theorem10_exact_failure(
    log_width: SupportsFloat, points: SupportsIndex, k: SupportsIndex, cosine: SupportsFloat, log: bool = False
) -> float:
    """Bound of ``P(some of N patterns share a winner)`` for points with cosines of at most ``alpha``: at most 1.

        P(fail) <= C(N, 2) l Q2(v, v; alpha)  +  N P(Binomial(l, Q(v)) < k)        for every threshold v

    If each input has ``k`` rows above ``v``, all winners are above ``v``, and a common winner of two inputs is a row
    above ``v`` in both. ``Q2(v, v; .)`` increases with the cosine (Slepian), so ``alpha`` bounds every pair, and the
    dimension of the inputs does not enter. With ``p = Q(v)`` and ``lambda = l p``,

        P(Binomial(l, p) < k) <= exp((k - 1) p) P(Poisson(lambda) < k)

    because ``C(l, i) <= l^i / i!`` and ``(1-p)^(l-i) <= exp(-lambda + i p)``. The bound is minimised over ``lambda``.
    For each ``lambda`` both terms decrease with ``l``, so where the bound falls below ``delta``, it stays below: ``v``
    increases with ``l``, and ``P(Y > v | X > v) = E[2 Q(T X) | X > v]`` with
    ``T = sqrt((1 - alpha)/(1 + alpha))`` decreases with ``v`` (differentiate ``Q2(v, v)``).

    For ``k = 1`` the pair law is sharper: a common winner is the same pattern, whose probability increases with the
    cosine (Slepian), so ``C(N, 2)`` times :func:`intersecting_patterns` at ``alpha`` is a bound, too, and the lesser of
    the two is returned. For ``k > 1`` that monotonicity is not known, and the pair law is not used.

    Args:
        log_width: natural logarithm of the width ``l``, up to 1e8; ``l`` at least ``2 k + 1``.
        points: ``N``, at least 2.
        k: winners, at least 1.
        cosine: ``alpha`` in (-1, 1), at least the cosine of every pair.
        log: return the natural logarithm.

    >>> pair = intersecting_patterns(None, 1, 0.5, log_width=30.0)
    >>> round(theorem10_exact_failure(30.0, 10, 1, 0.5) / pair, 9)
    45.0
    """
    k = int(check_layer(None, k, log_width).k)
    n = check_integer("points", points, minimum=2)
    alpha = check_number("cosine", cosine, -1.0, 1.0, open_minimum=True, open_maximum=True)
    log_failure = _threshold_log_bound(float(log_width), n, k, alpha)
    if k == 1:
        log_failure = min(log_failure, _pair_log_bound(float(log_width), n, alpha))
    return min(0.0, log_failure) if log else math.exp(min(0.0, log_failure))


def _log_pairs(points: int) -> float:
    return math.log(points) + math.log(points - 1) - math.log(2.0)


def _pair_log_bound(log_width: float, points: int, cosine: float) -> float:
    return _log_pairs(points) + intersecting_patterns(None, 1, cosine, log=True, log_width=log_width)


def _threshold_log_bound(log_width: float, points: int, k: int, cosine: float) -> float:
    slope = half_angle_tangent(cosine)

    def log_common(log_mean: float) -> float:
        """Log of ``C(N,2) l Q2(v, v) = C(N,2) lambda Q2(v, v) / Q(v)``: the huge logarithms are never formed."""
        level = np.array([-float(special.ndtri_exp(log_mean - log_width))])
        log_both = float(quadrants(level, np.zeros(1), slope).log_both[0, 0])
        return _log_pairs(points) + log_mean + log_both - math.log(mills_ratio(level)[0])

    def log_bound(log_mean: float) -> float:
        # P(Poisson(lambda) < k) = P(chi2_2k > 2 lambda)
        shortfall = (k - 1) * math.exp(log_mean - log_width) + chi_square_log_tail(2.0 * math.exp(log_mean), 2 * k)
        return float(np.logaddexp(log_common(log_mean), math.log(points) + shortfall))

    low = math.log(k)
    # P(chi2_2k > 2k + 2 sqrt(2k t) + 2t) <= exp(-t): beyond, the shortfall is below the other term, which only grows.
    t = max(0.0, math.log(points) - log_common(low)) + 10.0
    high = min(math.log(k + math.sqrt(2.0 * k * t) + t), log_width - math.log(2.0))
    least = optimize.minimize_scalar(log_bound, bounds=(low, high), method="bounded", options={"xatol": 1e-8})
    return float(least.fun)


def theorem10_exact_log_width(points: int, k: int, cosine: float, failure: float) -> float:
    """The log width of ``theorem10_log_width(..., constants="exact")``, which checks the arguments."""
    target = math.log(failure)
    low = math.log(2 * k + 2)
    log_width = _root(lambda x: _threshold_log_bound(x, points, k, cosine) - target, low, math.inf)
    if k == 1:
        by_pairs = _root(lambda x: _pair_log_bound(x, points, cosine) - target, low, _LARGEST_LOG_WIDTH)
        log_width = min(log_width, by_pairs)
    return log_width


def _root(excess: Callable[[float], float], low: float, limit: float) -> float:
    """Where a decreasing function crosses 0, from ``low`` on; infinite if not up to ``limit``."""
    if excess(low) <= 0.0:
        return low
    high = min(2.0 * low, limit)
    while excess(high) > 0.0:
        if high == limit:
            return math.inf
        low, high = high, min(2.0 * high, limit)
    return float(optimize.brentq(excess, low, high, xtol=1e-12))
