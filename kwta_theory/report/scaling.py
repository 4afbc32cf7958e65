"""Power laws fitted to points, with an interval for the exponent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from scipy import stats

from kwta_theory.checks import InvalidArgumentError, check_number
from kwta_theory.report.canvas import FIRST
from kwta_theory.report.drawing import Numbers


@dataclass(frozen=True)
class Fit:
    """A power law ``y = exp(intercept) x^slope`` fitted to points.

    Attributes:
        slope: the exponent.
        intercept: natural logarithm of the value at ``x = 1``.
        slope_interval: contains the exponent with probability ``1 - error``, if the power law holds.
        slope_standard_error: of the exponent.
        error: of the interval.
        method: what the interval rests on, in words.
        chi_square: sum of the squared residuals over their standard errors; None where these were not given.
        degrees: of freedom, points less two.
        ends: smallest and largest x.
    """

    slope: float
    intercept: float
    slope_interval: tuple[float, float]
    slope_standard_error: float
    error: float
    method: str
    chi_square: float | None
    degrees: int
    ends: tuple[float, float]

    def value(self, x: Numbers) -> npt.NDArray[np.float64]:
        """The fitted power law at some x."""
        return np.exp(self.intercept + self.slope * np.log(np.asarray(x, dtype=np.float64)))


def scaling_fit(x: Numbers, y: Numbers, standard_error: Numbers | None = None, *, error: float = 1e-3) -> Fit:
    """Weighted least squares of ``log y`` against ``log x``.

        minimise  Sum_i w_i (log y_i - a - b log x_i)^2,   w_i = (y_i / s_i)^2,
        b = Sum w (u - u') v / Sum w (u - u')^2,    Var b = 1 / Sum w (u - u')^2,
        u = log x, v = log y, u' the weighted mean of u,

    because ``log y_i`` has standard error ``s_i / y_i`` to first order. With standard errors the interval of the slope
    is the normal one with these variances; ``chi_square`` far above ``degrees`` says that no power law fits. Without
    them all points weigh alike, their common variance is estimated from the residuals, and the interval is Student's,
    exact for normal errors of equal variance.

    Args:
        x: positive, at least two different; three points without standard errors.
        y: positive.
        standard_error: of each y, positive, in its unit.
        error: probability that the interval misses the slope.

    Raises:
        InvalidArgumentError: arrays that do not fit together, numbers that are not positive, too few points.

    >>> fit = scaling_fit([1, 10, 100], [2, 20, 200], [0.1, 1, 10])
    >>> round(fit.slope, 9), round(fit.slope_interval[1] - fit.slope_interval[0], 6)
    (1.0, 0.10105)
    """
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    u, v = _logarithms("x", x), _logarithms("y", y)
    known = standard_error is not None
    log_error = _logarithms("standard_error", standard_error) - v if standard_error is not None else np.zeros_like(v)
    if not len(u) == len(v) == len(log_error):
        raise InvalidArgumentError("x, y and standard_error must have the same length.")
    if len(u) < (2 if known else 3) or np.ptp(u) == 0:
        raise InvalidArgumentError(
            f"x has {len(u)} values: a slope needs two different ones, three points without standard errors."
        )
    weights = np.exp(-2 * log_error)
    centred = u - np.average(u, weights=weights)
    spread = float(np.sum(weights * centred**2))
    slope = float(np.sum(weights * centred * v) / spread)
    intercept = float(np.average(v - slope * u, weights=weights))
    residual = float(np.sum(weights * (v - intercept - slope * u) ** 2))
    degrees = len(u) - 2
    if known:
        deviation, quantile = spread**-0.5, float(stats.norm.isf(error / 2))
        method = "normal, from the given standard errors"
    else:
        deviation, quantile = (residual / degrees / spread) ** 0.5, float(stats.t.isf(error / 2, degrees))
        method = f"Student's t with {degrees} degrees of freedom, from the residuals"
    interval = (slope - quantile * deviation, slope + quantile * deviation)
    ends = (float(np.exp(u.min())), float(np.exp(u.max())))
    return Fit(slope, intercept, interval, deviation, error, method, residual if known else None, degrees, ends)


def _logarithms(name: str, given: Numbers) -> npt.NDArray[np.float64]:
    array = np.asarray(given, dtype=np.float64)
    if array.ndim != 1 or not np.all(np.isfinite(array)) or not np.all(array > 0):
        raise InvalidArgumentError(f"{name}={given!r} is not allowed: it must be a list of positive finite numbers.")
    return np.log(array)


def draw_fit(axis: Axes, fit: Fit, *, color: str = FIRST, label: str | None = None, log: bool = False) -> None:
    """The fitted power law over the range of its points, with its exponent in the legend.

    Args:
        axis: to draw on; with logarithmic axes, or with ``log``.
        fit: from :func:`scaling_fit`.
        color: of the line.
        label: in the legend; None for the exponent with its interval.
        log: draw ``log10 y`` against ``log10 x`` on linear axes.
    """
    low, high = fit.slope_interval
    level = f"{100 * (1 - fit.error):.6g} %"
    text = f"fit: exponent {fit.slope:.3g}, {level}: [{low:.3g}, {high:.3g}]" if label is None else label
    x = np.geomspace(*fit.ends, 50)
    points = (np.log10(x), np.log10(fit.value(x))) if log else (x, fit.value(x))
    axis.plot(*points, "--", color=color, linewidth=1.3, label=text)
