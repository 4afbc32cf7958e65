"""Areas of caps on the unit sphere, and what they say about nets and packings (Lemmas 6, 7 and 10, Remark 1)."""

from __future__ import annotations

import math
from typing import SupportsFloat, SupportsIndex

from scipy import special

from kwta_theory.checks import check_cosine, check_integer, check_number

# Below this the incomplete beta function is close to underflow, and its series converges fast.
SMALLEST_FRACTION = 1e-280


def log_cap_fraction(input_dim: SupportsIndex, cosine: SupportsFloat) -> float:
    """``log P(<e, y>/|y| >= c)`` for ``y ~ N(0, I_m)``: the part of the unit sphere within an angle of a point.

    The square of one coordinate of a uniform unit vector is Beta(1/2, (m-1)/2), so for ``c >= 0``

        P = I_{1-c^2}((m-1)/2, 1/2) / 2

    with the regularised incomplete beta function ``I_x(a, b) = x^a / (a B(a, b)) 2F1(a, 1-b; a+1; x)``, which gives the
    logarithm where ``I`` underflows. For ``c < 0`` it is one minus the opposite cap.

    Args:
        input_dim: ``m``, at least 1.
        cosine: ``c`` in [-1, 1].

    >>> round(math.exp(log_cap_fraction(3, 0.5)), 12), round(math.exp(log_cap_fraction(2, 0.0)), 12)
    (0.25, 0.5)
    """
    m = check_integer("input_dim", input_dim, minimum=1)
    c = check_cosine(cosine)
    if c == -1.0:
        return 0.0
    if m == 1:
        return math.log(0.5)
    square = (1.0 - c) * (1.0 + c)  # without the cancellation of 1 - c^2 at small angles
    if square == 0.0:
        return -math.inf
    a = 0.5 * (m - 1)
    fraction = float(special.betainc(a, 0.5, square))
    if c < 0.0:
        return math.log1p(-0.5 * fraction)
    if fraction > SMALLEST_FRACTION:
        return math.log(0.5 * fraction)
    series = float(special.hyp2f1(a, 0.5, a + 1.0, square))
    return a * math.log(square) - math.log(2.0 * a) - float(special.betaln(a, 0.5)) + math.log(series)


def log_packing_bound(input_dim: SupportsIndex, cosine: SupportsFloat) -> float:
    """``log`` of the most points on the unit sphere whose pairwise cosines are all at most ``c``, bounded by areas.

    The caps of half the angle around the points overlap on their rims at most, so their areas add up to at most that of
    the sphere: ``N <= 1 / fraction(cos(arccos(c)/2))``. A maximal set of this kind, with strict inequality, is a net:
    every point of the sphere is within the angle ``arccos(c)`` of one of them. So this bounds the smallest net, too.

    Args:
        input_dim: ``m``, at least 1.
        cosine: ``c`` in [-1, 1).

    >>> round(math.exp(log_packing_bound(2, 0.5)), 9)  # the regular hexagon is the best
    6.0
    """
    c = check_number("cosine", cosine, -1.0, 1.0, open_maximum=True)
    return -log_cap_fraction(input_dim, math.sqrt(0.5 * (1.0 + c)))
