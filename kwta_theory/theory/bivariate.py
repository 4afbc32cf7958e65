"""The four quadrants of a bivariate normal pair on a grid of levels, each to almost full relative accuracy.

``X`` and ``Y`` are standard normal with correlation ``alpha`` in (-1, 1); the levels are ``s`` for ``X`` and ``t`` for
``Y``. Everything is written with ``u = (s + t) / 2``, ``v = t - s`` and ``T = sqrt((1 - alpha) / (1 + alpha))``, the
tangent of half the angle between the two inputs, because then the levels and the correlation separate.

Derivation. ``d Phi2 / d alpha`` is the joint density (Plackett). Integrating it from ``alpha`` to 1, where
``P(X > s, Y < t) = [Phi(t) - Phi(s)]_+``, with the substitution ``r = cos(w)``, ``tau = tan(w / 2)``, gives

    P(X > s, Y < t) = [Phi(t) - Phi(s)]_+  + I        P(X > s, Y > t) = [Phi(-t) - Phi(s)]_+ + K
    P(X < s, Y > t) = [Phi(s) - Phi(t)]_+  + I        P(X < s, Y < t) = [Phi(s) - Phi(-t)]_+ + K

    I, K = exp(-u^2/2 - v^2/8) / pi * Int exp(-v^2 / (8 tau^2) - u^2 tau^2 / 2) d tau / (1 + tau^2)

over ``0 < tau < T`` for ``I`` and over ``T < tau < infinity`` for ``K`` (the second column is the same argument from
-1 to ``alpha``). No term is negative, so nothing cancels, whatever the sign of ``alpha``. The exponential splits into a
factor of ``v`` and a factor of ``u``: on a grid the integral is one matrix product. ``1/tau`` for ``tau`` turns ``K``
into ``I`` with ``u`` and ``v/2`` exchanged and ``1/T`` for ``T``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

# The trapezoidal rule in z: the integrand is analytic and decays in a strip about the real line. Measured against
# mpmath over all scales, the error is below 1e-13 (tests/theory/test_bivariate.py). Each end leaves out exp(_LOWER).
_STEP = 0.16
_LOWER = math.log(1e-15)
_GAUSS_NODES, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(10)


def half_angle_tangent(cosine: float) -> float:
    """``tan(w/2) = sqrt((1 - cosine) / (1 + cosine))`` for the angle ``w`` between two inputs."""
    return math.sqrt((1.0 - cosine) / (1.0 + cosine))


def mills_ratio(level: Array) -> Array:
    """``Q(level) / phi(level)``, by the scaled complementary error function, so that it does not underflow."""
    return math.sqrt(math.pi / 2) * special.erfcx(level / math.sqrt(2.0))


def sector(rows: Array, columns: Array, end: float) -> Array:
    """``Int_0^end exp(-r^2 (1/x^2 - 1/end^2) / 2 - c^2 x^2 / 2) dx / (1 + x^2)`` for every row ``r`` and column ``c``.

    The factor ``exp(r^2 / (2 end^2))`` keeps the entries from underflowing together.

    Args:
        rows: values of ``r``, shape ``(R,)``.
        columns: values of ``c``, shape ``(C,)``.
        end: upper limit, positive.

    Returns:
        Array of shape ``(R, C)``.
    """
    # x = end / (1 + exp(-z)): distances from both ends are geometric in z, so a layer of any width at either end is
    # resolved, whichever of the many scales (r, 1/c, 1, end) makes it.
    scale_at_zero = max(1.0, end, end * float(np.abs(columns).max()))
    scale_at_end = 1.0 + float(np.square(rows).max()) / (end * end)
    z = np.arange(_LOWER - math.log(scale_at_zero), -_LOWER + math.log(scale_at_end), _STEP)
    fraction = special.expit(z)
    rest = special.expit(-z)
    x = end * fraction
    weight = _STEP * x * rest / (1.0 + x * x)
    inverse_square = rest * (1.0 + fraction) / (x * x)  # 1/x^2 - 1/end^2
    left = np.exp(np.multiply.outer(-0.5 * rows * rows, inverse_square)) * weight
    right = np.exp(np.multiply.outer(x * x, -0.5 * columns * columns))
    # Products small enough for BLAS to stay on one thread: the bits then do not depend on the number of cores, and a
    # busy machine does not make a product of 0.1 ms wait for a second core.
    block = max(1, 250_000 // right.size)
    return np.concatenate([left[i : i + block] @ right for i in range(0, len(left), block)])


def normal_interval(center: Array, half: Array) -> Array:
    """``(Phi(c + h) - Phi(c - h)) / phi(c)`` for every row ``h >= 0`` and column ``c``, without cancellation.

    A narrow interval is integrated by Gauss-Legendre (10 nodes; the integrand hardly changes there), a wide one is the
    difference of two tails. Shape ``(len(half), len(center))``. Where the answer overflows it is infinite.
    """
    c = np.abs(center)
    result = np.empty((half.size, c.size))
    narrow = half * max(1.0, float(c.max())) < 0.5
    if narrow.any():
        h = half[narrow]
        y = 0.5 * np.multiply.outer(h, 1.0 + _GAUSS_NODES)
        inner = np.cosh(y[:, None, :] * c[None, :, None]) * np.exp(-0.5 * y * y)[:, None, :]
        result[narrow] = h[:, None] * (inner @ _GAUSS_WEIGHTS)
    if not narrow.all():
        h = half[~narrow][:, None]
        low, high = c - h, c + h
        with np.errstate(over="ignore", invalid="ignore"):
            tails = np.exp(-0.5 * h * h) * (np.exp(c * h) * mills_ratio(low) - np.exp(-c * h) * mills_ratio(high))
            whole = (special.ndtr(high) - special.ndtr(low)) * (math.sqrt(2 * math.pi) * np.exp(0.5 * c * c))
        result[~narrow] = np.where(low < 0.0, whole, tails)
    return result


@dataclass(frozen=True)
class Quadrants:
    """Quadrant masses on a grid, each of shape ``(len(v), len(u))``; all but the last relative to ``phi(u)``."""

    first_only: Array  # P(X > s, Y < t) / phi(u)
    second_only: Array  # P(X < s, Y > t) / phi(u)
    log_both: Array  # log(P(X > s, Y > t) / phi(u))
    neither: Array  # P(X < s, Y < t)


def quadrants(u: Array, v: Array, slope: float) -> Quadrants:
    """The four quadrant masses at levels ``s = u - v/2`` and ``t = u + v/2`` on the grid of ``u`` and ``v``.

    Args:
        u: mean of the two levels, shape ``(U,)``.
        v: difference of the two levels, shape ``(V,)``.
        slope: ``half_angle_tangent(cosine)``.

    Masses below 1e-300 of their scale are returned as 1e-300 so that ratios stay finite; such points carry no weight in
    any integral of this package, whose integrands contain the mass as a factor.
    """
    h = 0.5 * v
    rows = h[:, None]
    scale = math.sqrt(2 / math.pi)
    near = scale * np.exp(-0.5 * h * h * (1.0 + slope**-2))[:, None] * sector(h, u, slope)
    far = scale * np.exp(-0.5 * h * h)[:, None] * sector(u, h, 1.0 / slope).T
    step = normal_interval(u, np.abs(h))
    first_only = np.where(rows > 0.0, step, 0.0) + near
    second_only = np.where(rows < 0.0, step, 0.0) + near
    far_log_scale = -0.5 * (u * slope) ** 2
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        density = np.exp(-0.5 * u * u) / math.sqrt(2 * math.pi)
        # Phi(s) - Phi(-t), or its negative where u < 0: the interval of centre v/2 and half-width |u|.
        gap = (normal_interval(h, np.abs(u)) * (np.exp(-0.5 * h * h) / math.sqrt(2 * math.pi))).T
        log_both = np.log(np.maximum(far, 1e-300)) + far_log_scale
        negative = u < 0.0
        if negative.any():
            s = u[negative] - rows
            above = mills_ratio(s) * np.exp(rows * u[negative] - 0.5 * rows * rows)
            side = first_only[:, negative]
            summed = gap[:, negative] / density[negative] + np.exp(log_both[:, negative])
            # Far out the sum overflows; there nearly all of {X > s} has Y > t, and the difference is exact.
            log_both[:, negative] = np.log(np.where(side < 0.5 * above, above - side, summed))
        below = special.ndtr(u - rows)
        side = second_only * density
        summed = np.where(negative, 0.0, gap) + far * (density * np.exp(far_log_scale))
        neither = np.where(~negative & (side < 0.5 * below), below - side, summed)
    return Quadrants(
        np.maximum(first_only, 1e-300), np.maximum(second_only, 1e-300), log_both, np.maximum(neither, 1e-300)
    )
