"""The smallest width at which something is true."""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import optimize

from kwta_theory.statements.case import FirstTrue
from kwta_theory.statements.settings import Settings

# Wider layers take seconds a trial.
LARGEST_MEASURED_WIDTH = 10**5


def smallest_width(holds: Callable[[int], bool], minimum: int, maximum: int) -> int | None:
    """Doubling, then bisection: an integer width at which ``holds`` is true while it is false one step below.

    ``holds`` need not be monotone (``k = floor(gamma l)`` makes saw teeth): the answer is a place where it changes from
    false to true, and ``minimum`` itself where it is true there. ``None`` where it is false at every doubling up to
    ``maximum``.

    >>> smallest_width(lambda width: width >= 1000, minimum=2, maximum=10**9)
    1000
    """
    low, high = minimum - 1, minimum
    while not holds(high):
        if high >= maximum:
            return None
        low, high = high, min(2 * high, maximum)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def smallest_log_width(excess: Callable[[float], float], minimum: float, maximum: float) -> float | None:
    """The logarithm of the width at which ``excess`` falls to zero, to four digits, for widths of any size.

    ``excess`` is continuous and positive below the answer: the log failure probability less its level, which is almost
    linear in the log width, so that Brent's method needs few evaluations. Rounded up, so that ``excess <= 0`` there.
    ``None`` where it is positive at every step of the search up to ``maximum``.

    >>> round(smallest_log_width(lambda x: 5.0 - 0.25 * x, minimum=1.0, maximum=1e6), 2)
    20.0
    """
    low = high = minimum
    while excess(high) > 0:
        if high >= maximum:
            return None
        low, high = high, min(max(high + math.log(4), 1.5 * high), maximum)
    if high == minimum:
        return minimum
    root = float(optimize.brentq(excess, low, high, rtol=1e-5, xtol=1e-6))
    step = 1e-5 * root
    while excess(root) > 0:
        root, step = min(root + step, high), 2 * step
    return root


def widths_to_measure(settings: Settings, first: FirstTrue) -> list[int]:
    """The width asked for and, within reach of simulation, the width at which the claimed level is first reached."""
    widths = [settings.width]
    if first.log_width is not None and first.log_width <= math.log(LARGEST_MEASURED_WIDTH):
        widths.append(math.ceil(math.exp(first.log_width) * (1 - 1e-12)))
    return sorted(set(widths))
