"""Logarithm of the chi-square tail, at any distance: Theorem 10 needs tails like exp(-6e6)."""

from __future__ import annotations

import math
from typing import SupportsFloat, SupportsIndex

from scipy import special

from kwta_theory.checks import check_integer, check_number


def _upper_gamma_fraction(shape: float, x: float) -> float:
    """``Gamma(a, x) exp(x) x^-a`` for ``x > a + 1``: Legendre's continued fraction by Lentz's method.

        1/(x+1-a - 1(1-a)/(x+3-a - 2(2-a)/(x+5-a - ...)))

    For ``x > a`` it converges geometrically with ratio about ``exp(-4 sqrt((x - a) / n))`` at step ``n``.
    """
    b = x + 1.0 - shape
    c = math.inf
    d = 1.0 / b
    value = d
    for n in range(1, 1_000_000):
        step = -n * (n - shape)
        b += 2.0
        d = 1.0 / (b + step * d)
        c = b + step / c
        value *= c * d
        if abs(c * d - 1.0) < 4e-16:
            return value
    raise ArithmeticError(f"the continued fraction of the chi-square tail did not converge at a={shape:g}, x={x:g}.")


def chi_square_log_tail(value: SupportsFloat, degrees: SupportsIndex) -> float:
    """``log P(Z >= value)`` for ``Z`` chi-square with ``degrees`` degrees of freedom: ``log Q(degrees/2, value/2)``.

    Below the mean and a little above it, scipy's regularised incomplete gamma function; beyond, its continued fraction
    in logs. ``scipy.stats.chi2.logsf`` is ``-inf`` from about ``value = 1500`` on.

    Args:
        value: at least 0.
        degrees: at least 1.

    >>> round(chi_square_log_tail(3000.0, 2), 9)
    -1500.0
    """
    x = 0.5 * check_number("value", value, 0.0)
    shape = 0.5 * check_integer("degrees", degrees, minimum=1)
    if x <= shape + 2.0:
        return math.log(float(special.gammaincc(shape, x)))
    return shape * math.log(x) - x - math.lgamma(shape) + math.log(_upper_gamma_fraction(shape, x))


def chi_square_log_tail_drop(value: SupportsFloat, growth: SupportsFloat, degrees: SupportsIndex) -> float:
    """``log P(Z >= value) - log P(Z >= (1 + growth) value)``, positive, also where both logarithms are huge.

    Where both tails come from the continued fraction ``F``, the difference is
    ``growth x - a log(1 + growth) + log F(x) - log F((1 + growth) x)`` with ``x = value / 2``, ``a = degrees / 2``.

    >>> round(chi_square_log_tail_drop(1e15, 1e-13, 2), 6)
    50.0
    """
    value = check_number("value", value, 0.0)
    growth = check_number("growth", growth, 0.0)
    shape = 0.5 * check_integer("degrees", degrees, minimum=1)
    x, farther = 0.5 * value, 0.5 * (1.0 + growth) * value
    if x <= shape + 2.0:
        return chi_square_log_tail(value, degrees) - chi_square_log_tail(2.0 * farther, degrees)
    fractions = math.log(_upper_gamma_fraction(shape, x) / _upper_gamma_fraction(shape, farther))
    return growth * x - shape * math.log1p(growth) + fractions
