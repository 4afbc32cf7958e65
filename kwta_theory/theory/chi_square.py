"""Logarithm of the chi-square tail, at any distance: Theorem 10 needs tails like exp(-6e6). The radii of Lemma 8."""

from __future__ import annotations

import math
from typing import SupportsFloat, SupportsIndex

from scipy import optimize, special

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number


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


def chi_square_log_ratio(value: SupportsFloat, growth: SupportsFloat, degrees: SupportsIndex) -> float:
    """``log( P(Z >= (1+e) R) / P(R <= Z <= (1+e) R) )``, the ratio of Lemma 8: ``-log(exp(drop) - 1)``.

    ``drop`` is :func:`chi_square_log_tail_drop`. It is the integral of ``y h(y)`` over ``d log y`` from ``R`` to
    ``(1+e) R`` with the hazard ``h``, and ``1 / (y h(y)) = Int_1^inf u^(m/2-1) exp(-(u-1) y/2) du`` decreases with
    ``y``: so the ratio falls strictly with ``R``, for every ``m >= 1``, and one value bounds all beyond.

    Args:
        value: ``R > 0``.
        growth: ``e > 0``.
        degrees: ``m``, at least 1.

    Returns:
        The logarithm; ``inf`` where the window is too light for double precision.

    >>> round(chi_square_log_ratio(20.0, 1.0, 2), 6)  # two degrees: 1 / (exp(10) - 1)
    -9.999955
    """
    value = check_number("value", value, 0.0, open_minimum=True)
    growth = check_number("growth", growth, 0.0, open_minimum=True)
    shape = 0.5 * check_integer("degrees", degrees, minimum=1)
    if 0.5 * value < shape:  # both tails may be near 1: the window is the difference of the small lower parts
        window = float(special.gammainc(shape, 0.5 * (1.0 + growth) * value) - special.gammainc(shape, 0.5 * value))
        return chi_square_log_tail((1.0 + growth) * value, degrees) - math.log(window) if window > 0.0 else math.inf
    drop = chi_square_log_tail_drop(value, growth, degrees)
    return -drop - math.log(-math.expm1(-drop)) if drop > 0.0 else math.inf


def _lemma8_arguments(
    degrees: SupportsIndex, epsilon: SupportsFloat, eta: SupportsFloat | None, log_eta: SupportsFloat | None
) -> tuple[int, float, float]:
    """``(m, e, log eta)``, checked: exactly one of ``eta`` and ``log_eta`` is given."""
    m = check_integer("degrees", degrees, minimum=2)
    e = check_number("epsilon", epsilon, 0.0, 1.0, open_minimum=True, open_maximum=True)
    if eta is not None and log_eta is None:
        return m, e, math.log(check_number("eta", eta, 0.0, 1.0, open_minimum=True, open_maximum=True))
    if log_eta is not None and eta is None:
        return m, e, check_number("log_eta", log_eta, maximum=0.0, open_maximum=True)
    raise InvalidArgumentError(f"eta={eta!r} and log_eta={log_eta!r} are not allowed: exactly one must be given.")


def lemma8_radius(
    degrees: SupportsIndex,
    epsilon: SupportsFloat,
    eta: SupportsFloat | None = None,
    *,
    log_eta: SupportsFloat | None = None,
) -> float:
    """From which ``R`` on the proof of Lemma 8 grants ``P(Z >= (1+e) R) / P(R <= Z <= (1+e) R) <= eta``.

    The proof asks for three things:

        e^(eR/2) >= 4/e,    e^(eR/8) >= R^(m/2-1),    e^(eR/4) >= (16/9)/eta

    The first is ``R >= (2/e) log(4/e)``, which falls with ``e`` and so exceeds ``2 log 4 = 2.7726 > 2.7183``, Euler's
    number. The step "for all t >= R, t^(m/2-1) <= e^(et/8)" needs that margin of 2 %, though the
    text does not say so: ``log(t)/t`` falls only from Euler's number on, and without the first condition the second
    may hold at some ``R`` near 1 and fail beyond. For the same reason the ``R`` that satisfy all three are a half line,
    and its end is returned.

    Args:
        degrees: ``m``, at least 2.
        epsilon: ``e`` in (0, 1).
        eta: in (0, 1), or ``None`` with ``log_eta``.
        log_eta: its logarithm, where it underflows.

    >>> round(lemma8_radius(2, 0.5, 0.05), 4) == round(8 * math.log(16 / 9 / 0.05), 4)
    True
    """
    m, e, level = _lemma8_arguments(degrees, epsilon, eta, log_eta)
    radius = max(2.0 / e * math.log(4.0 / e), 4.0 / e * (math.log(16.0 / 9.0) - level))
    power = 0.5 * m - 1.0

    def excess(log_radius: float) -> float:
        return power * log_radius - e / 8.0 * math.exp(log_radius)

    low = math.log(radius)
    if excess(low) <= 0.0:
        return radius
    high = low + 1.0
    while excess(high) > 0.0:
        low, high = high, high + 1.0
    root = math.exp(float(optimize.brentq(excess, low, high, xtol=1e-15)))
    return root * (1.0 + 1e-12)  # rounded up, so that the condition holds at what is returned


def lemma8_exact_radius(
    degrees: SupportsIndex,
    epsilon: SupportsFloat,
    eta: SupportsFloat | None = None,
    *,
    log_eta: SupportsFloat | None = None,
) -> float:
    """The smallest ``R`` of Lemma 8: the root of :func:`chi_square_log_ratio` ``= log eta``; arguments as there.

    >>> round(lemma8_exact_radius(2, 0.5, 0.05), 6) == round(4 * math.log(21), 6)  # two degrees: 1/(e^(eR/2) - 1)
    True
    """
    m, e, level = _lemma8_arguments(degrees, epsilon, eta, log_eta)
    high = math.log(lemma8_radius(m, e, log_eta=level))
    low = high - 1.0
    while chi_square_log_ratio(math.exp(low), e, m) < level:
        low, high = low - 1.0, low
    root = optimize.brentq(lambda x: chi_square_log_ratio(math.exp(x), e, m) - level, low, high, xtol=1e-14)
    return math.exp(float(root))
