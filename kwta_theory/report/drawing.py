"""What is drawn on axes: exact curves, bands between bounds, estimates with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.report.canvas import EXACT, MEASURED

LN10 = math.log(10)
Numbers = npt.ArrayLike
Row = Mapping[str, Any]


def law(
    axis: Axes,
    x: Numbers,
    y: Numbers,
    *,
    label: str | None = None,
    color: str = EXACT,
    log: bool = False,
    from_log: bool = False,
    style: str = "-",
) -> None:
    """An exact curve.

    Args:
        axis: to draw on.
        x: abscissae.
        y: the values; natural logarithms of them with ``from_log``.
        label: in the legend.
        color: of the line.
        log: draw ``log10`` of the values; zeros leave a gap.
        from_log: ``y`` holds natural logarithms, so values below the smallest float are allowed with ``log``.
        style: of the line, as in matplotlib.
    """
    shown = _shown(y, log, from_log)
    axis.plot(np.asarray(x, dtype=np.float64), shown, style, color=color, linewidth=1.6, label=label)


def band(
    axis: Axes,
    x: Numbers,
    lower: Numbers,
    upper: Numbers,
    *,
    label: str | None = None,
    color: str = EXACT,
    log: bool = False,
    from_log: bool = False,
) -> None:
    """What lies between two exact bounds; the other arguments are those of :func:`law`.

    With ``log`` a lower bound of 0 is drawn as 10^-400, below every axis.
    """
    places, low, high = np.asarray(x, dtype=np.float64), _shown(lower, log, from_log), _shown(upper, log, from_log)
    if log:
        low = np.where(np.isnan(low), -400.0, low)
    axis.fill_between(places, low, high, color=color, alpha=0.25, linewidth=0, label=label)
    for end in (low, high):
        axis.plot(places, end, color=color, linewidth=1)


def _shown(values: Numbers, log: bool, from_log: bool) -> npt.NDArray[np.float64]:
    """What the axis shows of values or of their natural logarithms; NaN where it can show nothing."""
    given = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = (given if from_log else np.log(given)) / LN10 if log else np.exp(given) if from_log else given
    return np.where(np.isfinite(shown), shown, np.nan)


def estimates(
    axis: Axes,
    x: str | Sequence[float],
    rows: Sequence[Row],
    *,
    label: str | None = None,
    color: str = MEASURED,
    failure: bool = False,
    log: bool = False,
    marker: str = "o",
) -> None:
    """Estimates with their intervals, from the rows of :func:`kwta_theory.campaign.rows`.

    A point with a bar, where both ends of the interval say something. Where the event was never seen, only the upper
    end is marked, by a triangle that points down; where it was always seen, only the lower end, by one that points up.
    On a logarithmic axis the first also holds for every interval that reaches down to 0.

    Args:
        axis: to draw on.
        x: abscissae, or the name of a column.
        rows: with ``estimate``, ``lower`` and ``upper``.
        label: in the legend, once.
        color: of points and bars.
        failure: draw ``1 - value``, the probability that the event does not happen.
        log: draw ``log10`` of the values.
        marker: of the points.

    Raises:
        InvalidArgumentError: numbers of abscissae and rows differ; ``failure`` of a mean that is no probability.
    """
    places = [float(row[x]) for row in rows] if isinstance(x, str) else [float(value) for value in x]
    if len(places) != len(rows):
        raise InvalidArgumentError(
            f"x has {len(places)} values and there are {len(rows)} rows: one for each is needed."
        )
    if failure and any(row.get("kind", "event") == "value" for row in rows):
        raise InvalidArgumentError("failure=True is not allowed for a mean without bounds: it has no complement.")
    points: list[tuple[float, float, float, float]] = []
    for place, row in zip(places, rows, strict=True):
        value, lower, upper = float(row["estimate"]), float(row["lower"]), float(row["upper"])
        if failure:
            value, lower, upper = 1 - value, 1 - upper, 1 - lower
        points.append((place, value, lower, upper))
    bounded = all(row.get("kind", "event") != "value" for row in rows)
    marks(axis, points, label=label, color=color, log=log, marker=marker, bounded=bounded)


def marks(
    axis: Axes,
    points: Sequence[tuple[float, float, float, float]],
    *,
    label: str | None = None,
    color: str = MEASURED,
    log: bool = False,
    marker: str = "o",
    bounded: bool = True,
) -> None:
    """Points ``(x, value, lower, upper)`` as in :func:`estimates`.

    An interval without ends says nothing: its point is left out.

    Args:
        axis: to draw on.
        points: what is drawn.
        label: in the legend, once.
        color: of everything.
        log: draw ``log10``.
        marker: of the points.
        bounded: the values are probabilities or shares, so that 0 is "never" and 1 is "always".
    """

    def shown(value: float) -> float:
        return math.log10(value) if log else value

    whole, never, always = [], [], []
    scaled = log or axis.get_yscale() == "log"
    for x, value, lower, upper in points:
        if math.isinf(lower) or math.isinf(upper):
            continue
        if (bounded and value <= 0) or (scaled and lower <= 0 < upper):
            never.append((x, shown(upper)))
        elif bounded and value >= 1:
            always.append((x, shown(lower)))
        elif not scaled or lower > 0:
            whole.append((x, shown(value), shown(lower), shown(upper)))
    if whole:
        x, value, lower, upper = np.array(whole).T
        bars = np.maximum([value - lower, upper - value], 0.0)
        axis.errorbar(
            x, value, bars, fmt=marker, color=color, markersize=4.5, elinewidth=1.4, capsize=2.5, label=label, zorder=3
        )
        label = None
    for ends, triangle in ((never, "v"), (always, "^")):
        if ends:
            x, y = np.array(ends).T
            axis.plot(x, y, triangle, color=color, markersize=6, markerfacecolor="white", label=label, zorder=3)
            label = None
