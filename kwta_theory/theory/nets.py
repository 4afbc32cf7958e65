"""How many points a net of the unit sphere needs, from both sides (Definition 7, Lemmas 6 and 7).

An ``epsilon``-net of the unit sphere in ``R^d`` is a set of its points such that every point of the sphere is within
the Euclidean distance ``epsilon`` of one of them: a covering by caps of angle ``theta = 2 arcsin(epsilon/2)``. The
bounds of this module hold for the smallest net at each ``d`` and ``epsilon`` separately.
"""

from __future__ import annotations

import math
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt
from scipy import special

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number


def _check(input_dim: SupportsIndex, distance: SupportsFloat) -> tuple[int, float]:
    d = check_integer("input_dim", input_dim, minimum=1)
    # Below 1e-100 nothing is at stake and squares underflow; from sqrt(2) on the caps are no longer below a hemisphere.
    return d, check_number("distance", distance, 1e-100, math.sqrt(2.0), open_maximum=True)


def _log_fraction_below(d: int, angle: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    """A lower bound of ``log_cap_fraction``, without cancellation at any angle in (0, pi/2).

    With ``n = d - 1``, ``fraction = sin^n / (n B(n/2, 1/2)) * 2F1(n/2, 1/2; n/2 + 1; sin^2)`` (see
    :func:`~kwta_theory.theory.sphere.log_cap_fraction`), and the series has positive terms and begins with 1.
    """
    n = d - 1
    return n * np.log(np.sin(angle)) - math.log(n) - float(special.betaln(0.5 * n, 0.5))


def log_net_upper_bound(input_dim: SupportsIndex, distance: SupportsFloat) -> float:
    """``log`` of a number of points with which an ``epsilon``-net of the unit sphere in ``R^d`` exists.

    The least of three bounds.

    - Volume (the textbook's): in a largest set with distances above ``epsilon``, the balls of radius ``epsilon/2`` are
      disjoint and lie in one of radius ``1 + epsilon/2``, and the set is a net: ``N <= (1 + 2/epsilon)^d``.
    - Area: the same with caps of half the angle, ``N <= 1/f(theta/2)``, ``f`` the part of the sphere in a cap.
    - Random caps and a repair: for any ``eta < theta`` let ``Y`` be an angular ``eta``-net of at most ``M =
      1/f(eta/2)`` points. Of ``n`` uniform points, the expected number of points of ``Y`` farther than ``theta -
      eta`` from all of them is at most ``M (1 - f(theta - eta))^n <= M exp(-n f)``. So for some draw, these points of
      ``Y`` together with the ``n`` are a net; ``n = ceil(max(0, log(M f))/f)`` gives ``N <= 1 + (1 + max(0, log(M
      f)))/f``. ``eta`` is chosen on a grid, and every choice gives a valid bound. This is the one of the order ``d
      log d`` above the area alone.

    Args:
        input_dim: ``d``, at least 1.
        distance: ``epsilon`` in [1e-100, sqrt(2)).

    >>> round(math.exp(log_net_upper_bound(1, 0.5)))
    2
    >>> log_net_upper_bound(784, 0.5) < 784 * math.log(1 + 1 / 0.5)
    True
    """
    d, epsilon = _check(input_dim, distance)
    if d == 1:
        return math.log(2.0)
    theta = 2.0 * math.asin(0.5 * epsilon)
    volume, area = d * math.log1p(2.0 / epsilon), -float(_log_fraction_below(d, 0.5 * theta))
    eta = theta * np.geomspace(0.05 / d, 0.9, 80)
    log_f = _log_fraction_below(d, theta - eta)
    log_mf = np.maximum(0.0, log_f - _log_fraction_below(d, 0.5 * eta))
    random = np.logaddexp(0.0, np.log1p(log_mf) - log_f)
    return min(volume, area, float(random.min()))


def log_net_lower_bound(input_dim: SupportsIndex, distance: SupportsFloat) -> float:
    """``log`` of a number of points that every ``epsilon``-net of the unit sphere in ``R^d`` must have.

    The larger of the area bound, ``N >= 1/f(theta)``, and the simplex bound of Coxeter, Few and Rogers, carried over to
    the sphere as follows. Let ``n = d - 1``.

    The facets of the convex hull of a net (``theta < pi/2``), cut into simplices without new vertices, give spherical
    simplices ``T`` that tile the sphere, whose vertices ``v_0, ..., v_n`` lie on the rim of a cap that is empty of
    further points, hence of an angle at most ``theta``. At every point of the net the angles of the ``T`` add up to
    the full angle, so with angles and areas as parts of the whole, and ``N`` points,

        N = sum over T of (sum of its angles) >= min over T of (sum of its angles) / area(T).

    With ``D = |det(v_0, ..., v_n)|`` and ``g_ij = <v_i, v_j>``, a Gaussian integral over the cone of ``T`` at ``v_i``
    and one over the cone of ``T`` at the origin give

        angle_i = pi^(-n/2) D int_{lambda >= 0} exp(-sum_jk lambda_j lambda_k (g_jk - g_ij g_ik)) d lambda,
        area(T) <= pi^(-d/2) D int_{mu >= 0} exp(-cos^2(theta) (sum mu)^2) d mu
                = pi^(-d/2) D Gamma(d/2) / (2 n! cos^d(theta)).

    Average the first over ``i`` and over the orders of the ``lambda_j``. By Jensen's inequality the exponent may be
    averaged instead. As ``1 - g^2 <= 2 (1 - g)`` and ``(1 - g_ij)(1 - g_ik) >= 0``, the averaged exponent is at most
    ``(s/2) (sum lambda^2 + (sum lambda)^2)``, with ``s`` the mean of ``|v_i - v_j|^2``, which for ``n + 1`` points on a
    sphere of radius ``sin(theta)`` is at most ``2 d sin^2(theta)/n``. Hence

        N >= 2 d! sqrt(pi) cos^d(theta) / Gamma(d/2) * s^(-n/2) J_n,
        J_n = int_{lambda >= 0} exp(-(sum lambda^2 + (sum lambda)^2)/2) d lambda.

    ``J_n`` is bounded from below by Jensen's inequality once more. With ``lambda_j`` independent of density
    ``exp(-lambda^2/2 - y lambda)/R(y)``, ``R`` the Mills ratio, and ``mu`` and ``var`` the mean and the variance of
    their sum, ``J_n = R(y)^n E exp(y sum - sum^2/2) >= R(y)^n exp(y mu - (mu^2 + var)/2)`` for every ``y``.

    For large ``d`` the simplex bound exceeds the area bound by a factor near ``d/e^1.5`` at small ``epsilon``.

    Args:
        input_dim: ``d``, at least 1.
        distance: ``epsilon`` in [1e-100, sqrt(2)).

    Source: Coxeter, Few, Rogers, Covering space with equal spheres, Mathematika 6 (1959), for Euclidean space.

    >>> math.exp(log_net_lower_bound(3, 0.6408)) < 12 < math.exp(log_net_upper_bound(3, 0.6408))  # the icosahedron
    True
    """
    d, epsilon = _check(input_dim, distance)
    if d == 1:
        return math.log(2.0)
    n, cosine = d - 1, 1.0 - 0.5 * epsilon * epsilon
    log_sine = math.log(epsilon) + 0.5 * math.log1p(-0.25 * epsilon * epsilon)
    # The series of _log_fraction_below is at most 1/cos, as (1/2)_k a/((a+k) k!) <= (1/2)_k/k!.
    area = math.log(n) + float(special.betaln(0.5 * n, 0.5)) - n * log_sine + math.log(cosine)
    simplex = (
        math.log(2.0)
        + math.lgamma(d + 1)
        + 0.5 * math.log(math.pi)
        + d * math.log(cosine)
        - math.lgamma(0.5 * d)
        - 0.5 * n * math.log(2.0 * d / n)
        - n * log_sine
        + _log_simplex_integral(n)
    )
    return max(area, simplex)


def _log_simplex_integral(n: int) -> float:
    """The lower bound of ``log J_n`` above, best over ``y`` near the saddle point ``sqrt(n)``."""
    y = math.sqrt(n) * np.linspace(0.5, 1.3, 33)
    mills = math.sqrt(0.5 * math.pi) * special.erfcx(y / math.sqrt(2.0))
    mean = 1.0 / mills - y
    variance = 1.0 - y * mean - mean * mean
    return float((n * np.log(mills) + y * n * mean - 0.5 * ((n * mean) ** 2 + n * variance)).max())


def log_printed_net_size(input_dim: SupportsIndex, distance: SupportsFloat) -> float:
    """``d log(1 + 1/epsilon)``, the size of Lemma 6 as printed, which :func:`log_net_lower_bound` may exceed.

    >>> log_net_lower_bound(784, 1 / 783) > log_printed_net_size(784, 1 / 783)
    True
    """
    d, epsilon = _check(input_dim, distance)
    return d * math.log1p(1.0 / epsilon)


def sphere_net(input_dim: SupportsIndex, distance: SupportsFloat) -> npt.NDArray[np.float64]:
    """An ``epsilon``-net of the unit sphere in ``R^d`` for ``d <= 3``, as an array of shape ``(N, d)``.

    - ``d = 1``: both points.
    - ``d = 2``: a regular polygon of ``ceil(pi / (2 arcsin(epsilon/2)))`` corners, the smallest net there is.
    - ``d = 3``: rings of equal latitude, with or without the poles, the fewest points over the number of rings. A point
      at polar angle ``phi`` within ``delta`` of the longitude of a point of the ring at ``phi_j`` is within an angle
      of cosine ``cos(phi) cos(phi_j) + sin(phi) sin(phi_j) cos(delta)``. Over a band of ``phi`` this is a cosine of a
      shifted ``phi``, whose least value is at an end of the band, so two ends are all there is to check.

    Args:
        input_dim: ``d`` in [1, 3].
        distance: ``epsilon`` in [1e-3, sqrt(2)).

    >>> [len(sphere_net(d, 0.99)) for d in (1, 2, 3)]
    [2, 4, 6]
    """
    d, epsilon = _check(input_dim, distance)
    if d > 3:
        raise InvalidArgumentError(f"input_dim={d} is not allowed: nets are constructed for input_dim in [1, 3].")
    epsilon = check_number("distance", distance, 1e-3, math.sqrt(2.0), open_maximum=True)
    if d == 1:
        return np.array([[-1.0], [1.0]])
    theta = 2.0 * math.asin(0.5 * epsilon)
    if d == 2:
        return _circle(math.ceil(math.pi / theta))
    rings = min(_ring_plans(theta), key=lambda plan: sum(count for _, count in plan))
    return np.concatenate(
        [np.column_stack([math.sin(polar) * _circle(count), np.full(count, math.cos(polar))]) for polar, count in rings]
    )


def _circle(count: int) -> npt.NDArray[np.float64]:
    angles = 2.0 * math.pi * np.arange(count) / count
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _ring_plans(theta: float) -> list[list[tuple[float, int]]]:
    """Polar angle and number of points of each ring, for each number of bands, with the poles and without."""
    plans = []
    # What lies within theta of a pole, less a guard against rounding, is left to the pole where there is one.
    for edge, poles in ((0.0, []), (theta - 1e-12, [(0.0, 1), (math.pi, 1)])):
        fewest = math.ceil((math.pi - 2.0 * edge) / (2.0 * theta))
        for bands in range(fewest, 3 * fewest + 3):
            half = (0.5 * math.pi - edge) / bands
            if half < theta:
                middles = [edge + (2 * j + 1) * half for j in range(bands)]
                plans.append(poles + [(middle, _ring_size(middle, half, theta)) for middle in middles])
    return plans


def _ring_size(middle: float, half: float, theta: float) -> int:
    """The fewest points of a ring at polar angle ``middle`` whose caps of angle ``theta`` cover the band around it."""
    size = 1
    for end in (middle - half, middle + half):
        across = math.sin(middle) * math.sin(end)
        if across <= 0.0:  # the pole itself, within half < theta of the ring
            continue
        cosine = (math.cos(theta) - math.cos(middle) * math.cos(end)) / across
        if cosine > -1.0:
            size = max(size, math.ceil(math.pi / math.acos(cosine) * (1.0 + 1e-12)))
    return size
