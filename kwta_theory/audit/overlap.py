"""How many winners two inputs are expected to share: the Gaussian layer without bias, exactly where that is cheap."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BarycentricInterpolator

from kwta_theory import theory
from kwta_theory.checks import check_width_and_winners

Array = npt.NDArray[np.float64]

MOST_TERMS = 64
"""The exact law is summed where winners or losers are no more than this many."""
_NODES = 33


def is_exact(width: int, k: int) -> bool:
    """Whether :func:`expected_overlap` is the exact law at this width, and not the limit of a large one."""
    return min(k, width - k) <= MOST_TERMS


def expected_overlap(width: int, k: int, cosines: npt.ArrayLike) -> Array:
    """The expected share of common winners, ``E |A(x) and A(x')| / k``, in a Gaussian layer without bias.

    The law depends on the cosine of the two inputs alone. Exact, where winners or losers are at most 64:

        (1/k) Sum_j  j P(|A and A'| = j)        (:func:`kwta_theory.theory.overlap_probability`),

    whose difference from the limit is interpolated in the square root of the angle between 33 Chebyshev nodes: right
    to 5e-6. Beyond, that limit itself, of a large width at the same ratio ``gamma = k / width``,

        1 - (2 / gamma) T(q, sqrt((1 - cosine) / (1 + cosine)))        (:func:`kwta_theory.theory.limiting_overlap`),

    ``q = Q^{-1}(gamma)`` and ``T`` Owen's function. The two are no more than 0.0024 apart for 64 winners at widths from
    130 to 1e8 and nine cosines from 0.3 to 0.99999; for an expert router, 2 of 8, up to 0.027.

    Args:
        width: units.
        k: winners, at most ``width``.
        cosines: of the inputs of the layer, any shape, in [-1, 1]; NaN stays NaN.

    Returns:
        Shares in [0, 1], float64, of the shape of ``cosines``.

    >>> expected_overlap(8, 2, [0.0, 0.6, 1.0]).round(4).tolist()  # an expert router: 2 of 8
    [0.25, 0.517, 1.0]
    >>> float(expected_overlap(4096, 409, 0.6)) == theory.limiting_overlap(409 / 4096, 0.6)
    True
    """
    width, k = check_width_and_winners(width, k)
    given = np.asarray(cosines, dtype=np.float64)
    clipped = np.clip(given, -1.0, 1.0)  # a cosine that was computed may be a hair beyond
    if k == width:
        return np.where(np.isnan(given), np.nan, 1.0)
    flat = [math.nan if math.isnan(c) else theory.limiting_overlap(k / width, c) for c in clipped.ravel().tolist()]
    limit = np.asarray(flat, dtype=np.float64).reshape(clipped.shape)
    return (
        np.clip(limit + _correction(width, k)(np.sqrt(np.arccos(clipped))), 0.0, 1.0) if is_exact(width, k) else limit
    )


@functools.lru_cache(maxsize=64)
def _correction(width: int, k: int) -> BarycentricInterpolator:
    """The exact share minus its limit as a function of the square root of the angle."""
    roots = np.sqrt(np.pi) * (1 - np.cos(np.pi * np.arange(_NODES) / (_NODES - 1))) / 2
    cosines = np.cos(roots**2).tolist()
    return BarycentricInterpolator(
        roots, [_exact(width, k, c) - theory.limiting_overlap(k / width, c) for c in cosines]
    )


def _exact(width: int, k: int, cosine: float) -> float:
    """The sum, from its middle to both sides until what is left out does not matter."""
    least = max(0, 2 * k - width)
    middle = min(k, max(least, round(k * theory.limiting_overlap(k / width, cosine))))
    total = 0.0
    for side in (range(middle, k + 1), range(middle - 1, least - 1, -1)):
        for overlap in side:
            chance = theory.overlap_probability(width, k, cosine, overlap)
            total += overlap * chance
            if chance < 1e-13 and abs(overlap - middle) > 2:
                break
    return total / k
