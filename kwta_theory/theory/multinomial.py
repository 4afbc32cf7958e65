"""Multinomial probabilities by Loader's saddle-point form: no difference of large log-factorials.

With expected counts ``M_i = l p_i`` and ``n_1 + ... + n_c = l``, ``p_1 + ... + p_c = 1``,

    l! / (n_1! ... n_c!) p_1^n_1 ... p_c^n_c = exp( R(l) - R(n_1) - ... - R(n_c) - D(n_1, M_1) - ... - D(n_c, M_c) )

    R(n) = log n! - (n log n - n)   (0 at n = 0)         D(n, M) = n log(n / M) + M - n  >= 0   (M at n = 0)

Each ``D`` is computed from the small difference ``n - M``, so its absolute error is a few units of rounding of that
difference, where ``lgamma`` loses all digits of a moderate answer at ``l = 1e9``.

Reference: C. Loader, Fast and accurate computation of binomial probabilities (2000).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def factorial_remainder(count: float) -> float:
    """``R(n) = log n! - (n log n - n)``, about ``log(2 pi n) / 2``; 0 at 0. ``count`` need not be whole.

    >>> abs(factorial_remainder(5) - (math.log(120) - 5 * math.log(5) + 5)) < 1e-15
    True
    """
    if count == 0.0:
        return 0.0
    if count < 16.0:
        return math.lgamma(count + 1.0) - count * math.log(count) + count
    inverse = 1.0 / count
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
    return 0.5 * math.log(2 * math.pi * count) + series


def deviance(count: float, log_mean: Array, surplus: Array | None = None) -> Array:
    """``D(n, M) = n log(n / M) + M - n``, elementwise in ``log M``.

    Args:
        count: ``n >= 0``.
        log_mean: ``log M``; ``M`` itself may under- or overflow.
        surplus: ``n - M`` where the caller knows it better than the subtraction does.

    Returns:
        Array of the shape of ``log_mean``; infinite where ``M`` overflows.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        mean = np.exp(log_mean)
        if count == 0.0:
            return mean
        if surplus is None:
            surplus = count - mean
        ratio = surplus / mean
        close = np.abs(surplus) < 0.5 * mean
        direct = count * (math.log(count) - log_mean) - surplus
        return np.where(close, mean * ((1.0 + ratio) * np.log1p(ratio) - ratio), direct)
