"""The density under the exact laws of a pair of patterns: one double integral for every size of the overlap.

Rows of ``(W x, W x')`` are i.i.d. bivariate normal pairs ``(X, Y)`` with the cosine ``alpha`` of the two inputs as
correlation, so the law of ``(A, A')`` depends on the width ``l``, on ``k`` and on ``alpha`` alone.

Let ``s`` be the (k+1)-st largest ``X`` and ``t`` the (k+1)-st largest ``Y``. With ``j = |A and A'|``, given ``s, t``:
``j`` rows have ``X > s, Y > t`` (mass ``q``), ``k - j`` have ``X > s, Y < t`` (mass ``a``), ``k - j`` have
``X < s, Y > t`` (mass ``b``) and the ``r = l - 2k + j`` others have neither (mass ``c``). ``s`` is attained by a row in
``A' - A`` or by one of the others, ``t`` by a row in ``A - A'`` or by one of the others. Hence

    P(|A and A'| = j) = l! / (j! (k-j)!^2 r!) Int Int q^j a^(k-j) b^(k-j) c^r E ds dt
    E = [ (k-j) b_s/b + r c_s/c ] [ (k-j) a_t/a + r c_t/c ]  -  r (c_s/c)(c_t/c)  +  r c_st/c
    b_s = phi(s) P(Y > t | X = s),  a_t = phi(t) P(X > s | Y = t),  c_st = phi2(s, t)
    c_s = phi(s) P(Y < t | X = s),  c_t = phi(t) P(X < s | Y = t)

``j = k`` is "same pattern" (then ``c^r E ds dt`` is ``d[Phi2^(l-k)]``), ``j = 0`` is "disjoint patterns".
The margin of Lemma 5 replaces ``t`` by ``t - margin`` in ``q`` and ``a`` for ``j = k``.

The multinomial factor is evaluated by saddle points (``multinomial``), the masses without cancellation (``bivariate``),
relative to ``phi(u)`` and with ``l phi(u)`` in place of ``l``, so that a width of ``exp(1e7)`` is a number like others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt
from scipy import special

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.theory.bivariate import half_angle_tangent, quadrants
from kwta_theory.theory.multinomial import deviance, factorial_remainder
from kwta_theory.theory.quadrature import QuadratureError, log_integral

Array = npt.NDArray[np.float64]

_LARGEST_FLOAT_WIDTH = 1e300
_LOG_LARGEST = math.log(_LARGEST_FLOAT_WIDTH)
_LARGEST_LOG_WIDTH = 1e8
_LARGEST_EXPONENT = 1e10
_STEEP = 2.0


@dataclass(frozen=True)
class Layer:
    """Width and winners of a layer; beyond 1e300 ``width`` is infinite and ``log_width`` says how large it is."""

    width: float
    log_width: float
    k: float

    @property
    def losers(self) -> float:
        """Number of losers; infinite with the width."""
        return self.width - self.k


def check_layer(width: SupportsFloat | None, k: SupportsIndex, log_width: SupportsFloat | None) -> Layer:
    """Return the layer, from its width or from the natural logarithm of its width, after checking both.

    Raises:
        InvalidArgumentError: unless exactly one of ``width`` and ``log_width`` is given and ``1 <= k <= width``.
    """
    k = check_integer("k", k, minimum=1, maximum=2**53)
    if (width is None) == (log_width is None):
        raise InvalidArgumentError(
            f"width={width!r} with log_width={log_width!r} is not allowed: give exactly one of the two."
        )
    if width is None:
        number = check_number("log_width", log_width, 0.0, _LARGEST_LOG_WIDTH)  # type: ignore[arg-type]
        # In logarithms: the width of math.log(2 * k + 1) may be a rounding below 2 k + 1.
        if number < math.log(2 * k + 1):
            raise InvalidArgumentError(
                f"log_width={log_width!r} is not allowed with k={k}: it must be at least log(2k + 1) = "
                f"{math.log(2 * k + 1):g}; give width itself for narrow layers."
            )
        value = max(math.exp(number), 2 * k + 1) if number <= _LOG_LARGEST else math.inf
        return Layer(value, number, float(k))
    try:
        value = float(width)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(width, bool) or not 1 <= value <= _LARGEST_FLOAT_WIDTH or (value < 2**53 and value != int(value)):
        raise InvalidArgumentError(
            f"width={width!r} is not allowed: it must be a whole number in [1, 1e300]; give log_width beyond."
        )
    if value < k:
        raise InvalidArgumentError(
            f"width={width!r} is below k={k}: a layer must have at least as many outputs as winners."
        )
    return Layer(value, math.log(value), float(k))


def pair_log_density(
    layer: Layer, cosine: float, overlaps: Sequence[float], margin: float = 0.0, center: float = 0.0
) -> Callable[[Array, Array], Array]:
    """Logarithm of the joint density of ``(u, v)`` and "the overlap is one of ``overlaps``", as a function on grids.

    Args:
        layer: width and winners.
        cosine: of the two inputs, in (-1, 1).
        overlaps: sizes ``j`` of the overlap, each with ``l - 2k + j >= 0``.
        margin: of Lemma 5; only with ``overlaps = [k]``.
        center: a value of ``u`` near the peak; ``l phi(u)`` is computed from the difference to it.
    """
    slope = half_angle_tangent(cosine)
    rho = 2.0 * slope / (1.0 + slope * slope)
    finite = math.isfinite(layer.width)
    base = layer.log_width - 0.5 * center * center - 0.5 * math.log(2 * math.pi)

    def log_density(u: Array, v: Array) -> Array:
        h = 0.5 * v[:, None]
        masses = quadrants(u, v, slope)
        log_both, first_only = masses.log_both, masses.first_only
        if margin:
            shifted = quadrants(u - 0.5 * margin, v - margin, slope)
            ratio = 0.5 * u * margin - 0.125 * margin * margin  # log of phi(u - margin/2) / phi(u)
            log_both, first_only = shifted.log_both + ratio, shifted.first_only * np.exp(ratio)
        log_scale = base - 0.5 * (u - center) * (u + center)  # log of l phi(u)
        with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
            scale = np.exp(log_scale)
            log_first, log_second = log_scale + np.log(first_only), log_scale + np.log(masses.second_only)
            at_s, at_t = np.exp(h * u - 0.5 * h * h), np.exp(-h * u - 0.5 * h * h)  # phi(s), phi(t) over phi(u)
            toward = h / slope
            # Ratios b_s/b, a_t/a, c_s/c, c_t/c, c_st/c; the last three with l in front.
            b_s = at_s * special.ndtr(-slope * u - toward) / masses.second_only
            a_t = at_t * special.ndtr(-slope * u + toward) / masses.first_only
            c_s = scale * at_s * special.ndtr(slope * u + toward) / masses.neither
            c_t = scale * at_t * special.ndtr(slope * u - toward) / masses.neither
            exponent = -0.5 * (toward * toward + h * h) - 0.5 * (slope * u) ** 2
            c_st = scale * np.exp(exponent) / (math.sqrt(2 * math.pi) * rho * masses.neither)
            expected_winners = np.exp(log_scale + log_both) + scale * (first_only + masses.second_only)
            total: Array | None = None
            for overlap in overlaps:
                apart = layer.k - overlap
                others = layer.width - 2 * layer.k + overlap
                share = others / layer.width if finite else 1.0
                share_of_two = (others - 1.0) / layer.width if finite else 1.0
                attained = (apart * b_s) * (apart * a_t) + share * (
                    apart * (b_s * c_t + c_s * a_t) + share_of_two * c_s * c_t + c_st
                )
                term = np.log(attained)
                term -= deviance(overlap, log_scale + log_both)
                term -= deviance(apart, log_first) + deviance(apart, log_second)
                term -= factorial_remainder(overlap) + 2.0 * factorial_remainder(apart)
                if finite:
                    surplus = expected_winners - (2 * layer.k - overlap)
                    term -= deviance(others, layer.log_width + np.log(masses.neither), surplus)
                    term += factorial_remainder(layer.width) - factorial_remainder(others)
                # Where l phi(u) overflows, the expected number of winners is infinite and the density zero.
                term = np.where(np.isfinite(term), term, -np.inf)
                total = term if total is None else np.logaddexp(total, term)
        if total is None:
            raise InvalidArgumentError("overlaps=[] is not allowed: it must name at least one size.")
        return total

    return log_density


def log_law(layer: Layer, cosine: float, overlaps: Sequence[float], margin: float = 0.0, *, log: bool = True) -> float:
    """``log P(|A and A'| in overlaps)`` for a cosine in (-1, 1) and ``1 <= k <= width / 2``.

    Beyond a logarithm of about -1e10, which only an enormous width with nearly opposite inputs reaches, its rounding
    exceeds the accuracy: refused with ``log``, and ``-inf`` (the probability is 0 in double precision) without.
    """
    start = -float(special.ndtri_exp(math.log(layer.k) - layer.log_width))
    slope = half_angle_tangent(cosine)
    # A common winner costs about (slope u)^2 / 2 in the exponent, unless the losers give way, which costs about l.
    exponent = min(min(overlaps) * (start * slope) ** 2 / 2.0, layer.width)
    if exponent > _LARGEST_EXPONENT:
        if not log:
            return -math.inf
        raise QuadratureError(f"the probability is about exp(-{exponent:.0e}): double precision does not resolve it.")
    reach = min(2.0, 6.0 / max(1.0, start))
    log_density = pair_log_density(layer, cosine, overlaps, margin, start)
    if slope <= _STEEP or start > 40.0:
        logarithm = log_integral(log_density, (start, 0.0), (reach, min(slope, reach)))
    else:
        # For nearly opposite inputs the masses have a kink at u = 0, rounded off on the scale 1/slope, inside a peak of
        # width 1. With u = sinh(z)/slope both scales cost the same.
        def in_z(z: Array, v: Array) -> Array:
            return log_density(np.sinh(z) / slope, v) + np.log(np.cosh(z) / slope)

        z = math.asinh(slope * start)
        # With few outputs and opposite inputs s is nearly -t: then the first line reaches back to u = 0.
        begin, half = (0.5 * z, 0.5 * z + 2.0) if start < 2.0 else (z, 2.0)
        logarithm = log_integral(in_z, (begin, 0.0), (half, reach))
    # A probability: what exceeds 1 is the rounding of the sum.
    return min(0.0, logarithm)
