"""Widths and probabilities as a person reads them, from their logarithms: nothing here can overflow."""

from __future__ import annotations

import math


def power_of_ten(log_value: float, digits: int = 1) -> str:
    """``exp(log_value)`` as ``"8.5e8"``, and as ``"10^2,479,321"`` beyond the range of a float.

    >>> power_of_ten(math.log(8.5e8)), power_of_ten(5.7e6), power_of_ten(-math.inf)
    ('8.5e8', '10^2,475,479', '0')
    """
    if log_value == -math.inf:
        return "0"
    exponent = log_value / math.log(10)
    if abs(exponent) >= 1000:
        return f"10^{exponent:,.0f}"
    whole = math.floor(exponent)
    mantissa = f"{10 ** (exponent - whole):.{digits}f}"
    if mantissa.startswith("10"):
        mantissa, whole = f"{1:.{digits}f}", whole + 1
    return f"{mantissa}e{whole}"


def width(log_width: float) -> str:
    """A width: all its digits below a million, a power of ten above.

    >>> width(math.log(4096)), width(math.log(1e12))
    ('4,096', '1.0e12')
    """
    if log_width < math.log(999_999.5):
        return f"{math.exp(log_width):,.0f}"
    return power_of_ten(log_width)


def probability(log_probability: float) -> str:
    """A probability: three digits where it is of ordinary size, a power of ten below.

    >>> probability(math.log(0.25)), probability(-181.4)
    ('0.25', '1.7e-79')
    """
    if log_probability > math.log(1e-4):
        return f"{math.exp(log_probability):.3g}"
    return power_of_ten(log_probability)


def at_least(log_failure: float) -> str:
    """The claim ``P >= 1 - exp(log_failure)``.

    >>> at_least(math.log(0.05)), at_least(-784 * math.log(2)), at_least(0.3)
    ('P >= 0.95', 'P >= 1 - 9.8e-237', 'nothing (bound 1.35 >= 1)')
    """
    if log_failure >= 0:
        return f"nothing (bound {probability(log_failure)} >= 1)"
    if log_failure > math.log(1e-3):
        return f"P >= {-math.expm1(log_failure):.4g}"
    return f"P >= 1 - {probability(log_failure)}"


def success(log_failure: float) -> str:
    """A probability of success from the logarithm of the probability of failure.

    >>> success(math.log(0.25)), success(-50.0), success(-math.inf), success(0.0)
    ('0.75', '1 - 1.9e-22', '1', '0')
    """
    if log_failure == -math.inf:
        return "1"
    if log_failure >= 0:
        return "0"
    if log_failure < math.log(1e-3):
        return f"1 - {probability(log_failure)}"
    return f"{-math.expm1(log_failure):.4g}"
