"""Parts of figures, for scripts, notebooks and reports: exact curves, estimates with intervals, convergence, fits.

Every function draws on the axes that it is given; nothing here uses pyplot or leaves a trace in matplotlib's settings.
A quantity that spans hundreds of powers of ten is drawn as its ``log10`` on a linear axis (``log=True``), because
``exp(-3000)`` is no float.
"""

from __future__ import annotations

import contextlib
import io
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

from kwta_theory.checks import InvalidArgumentError, check_number

if TYPE_CHECKING:
    from kwta_theory.campaign import Ledger, Task
    from kwta_theory.campaign.ledger import Chunk

LN10 = math.log(10)
EXACT, CLAIMED, MEASURED, GRANTED, FIRST, PROVED = "#1f4e79", "#b5541c", "#2e7d32", "#b5541c", "#555555", "#7b3f9d"
# For several series: told apart also by those who do not see red and green apart, and in print.
PALETTE = ("#1f4e79", "#d08020", "#2e7d32", "#7b3f9d", "#b02a2a", "#3aa0b5", "#555555")
# Of a caption, whose type is 8 points: letters to the inch, inches to the line.
_LETTERS, _LINE = 17.5, 0.145
# Inches between what stands below the panels; the label of what does.
_GAP, _BELOW = 0.08, "below"
Numbers = npt.ArrayLike
Row = Mapping[str, Any]


# The figure.


def panels(columns: int = 1, rows: int = 1, *, height: float = 4.6, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of the house's width (8 inches; 10 for several columns) with its axes, row by row.

    Written at 130 dots per inch it is 1040 (1300) pixels wide, and text of 9 points is 12 (10) high at 800.

    Args:
        columns: of panels.
        rows: of panels.
        height: of one row, in inches.
        share_y: one vertical axis for all.
    """
    figure = Figure(figsize=(8.0 if columns == 1 else 10.0, height * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=share_y).flat)
    for axis in axes:
        axis.grid(alpha=0.25)
    return figure, axes


def legend(figure: Figure, *, columns: int = 3) -> None:
    """One legend below the panels, never over the data; a label that occurs several times is shown once."""
    entries = {
        label: handle for axis in figure.axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    if entries:
        drawn = figure.legend(entries.values(), entries, loc="lower center", ncols=columns, fontsize=9, frameon=False)
        drawn.set_label(_BELOW)
        _stack(figure)


def caption(figure: Figure, text: str) -> None:
    """Small text under the figure: n, seed, what the intervals mean. Lines are broken to the figure's width.

    The figure grows by the height of the text, so that the panels keep theirs. A second caption goes below the first.
    """
    width, height = figure.get_size_inches()
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, int(width * _LETTERS))]
    figure.set_size_inches(width, height + _LINE * len(lines) + _GAP)
    figure.text(0.01, 0.0, "\n".join(lines), fontsize=8, color="#333333", va="bottom", label=_BELOW)
    _stack(figure)


def captions(figure: Figure) -> list[Text]:
    """The captions that a figure has."""
    return [text for text in figure.texts if text.get_label() == _BELOW]


def _stack(figure: Figure) -> None:
    """From the lower edge: captions, then the legend; the panels share what is left."""
    height, bottom = figure.get_figheight(), 0.0  # in inches
    for text in reversed(captions(figure)):
        text.set_y((bottom + _GAP / 2) / height)
        bottom += _LINE * len(text.get_text().splitlines()) + _GAP
    for entry in figure.legends:
        if entry.get_label() == _BELOW:
            entry.set_bbox_to_anchor((0, bottom / height, 1, 1 - bottom / height), figure.transFigure)
            bottom += entry.get_window_extent().height / figure.dpi + _GAP
    figure.set_layout_engine("constrained", rect=(0, bottom / height, 1, 1 - bottom / height))


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's own defaults with a few of ours, whatever the user's settings; they are put back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.size": 10, "axes.titlesize": 10.5, "legend.fontsize": 9})
        yield


def as_svg(figure: Figure) -> str:
    """The figure as SVG markup, without the XML prologue; the same figure gives the same text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "kwta_theory", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


# What is drawn on it.


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


# Convergence.


@dataclass(frozen=True)
class Running:
    """An estimate as its trials came in: arrays of equal length, one entry for each shown number of trials."""

    trials: npt.NDArray[np.float64]
    estimates: npt.NDArray[np.float64]
    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]


def running(
    source: Ledger | Sequence[Chunk],
    task: Task,
    seed: int = 0,
    outcome: str | None = None,
    error: float = 1e-3,
    *,
    most: int = 200,
) -> Running:
    """The running estimate with its confidence sequence, after the chunks of one task and seed.

    The whole band contains the expectation with probability at least ``1 - error``, at all trials together (for means
    without known bounds: in the limit of many trials).

    Args:
        source: an open ledger, or the chunks themselves in order.
        task: whose.
        seed: of its stream; without effect on chunks.
        outcome: its name; None for the first of the task.
        error: of the band.
        most: entries shown, spaced evenly in the logarithm where there are more chunks.

    Raises:
        InvalidArgumentError: an outcome that the task does not have, no chunks.
    """
    from kwta_theory.campaign import Ledger, Tally, estimate

    found = next((o for o in task.outcomes if o.name == (outcome or task.primary.name)), None)
    if found is None:
        names = ", ".join(o.name for o in task.outcomes)
        raise InvalidArgumentError(f"outcome={outcome!r} is not measured by {task.estimator!r}: it measures {names}.")
    chunks = source.chunks(task, seed) if isinstance(source, Ledger) else list(source)
    if not chunks:
        raise InvalidArgumentError(f"{task.title} has no chunks with seed {seed}: run it first.")
    shown = {round(n) for n in np.geomspace(1, len(chunks), most)}
    tally, entries = Tally(), []
    for number, chunk in enumerate(chunks, start=1):
        tally += chunk.tally
        if number in shown:
            now = estimate(tally, found, error)
            entries.append((now.trials, now.value, now.interval.lower, now.interval.upper))
    return Running(*np.array(entries, dtype=np.float64).T)


def convergence(
    axis: Axes,
    trials: Numbers,
    estimates: Numbers,
    lower: Numbers,
    upper: Numbers,
    exact: float | None = None,
    *,
    label: str = "running estimate",
    color: str = MEASURED,
) -> None:
    """A running estimate with its confidence sequence against the trials, on a logarithmic axis.

    The four arrays are those of :class:`Running`; ``exact`` is drawn as a level.
    """
    x = np.asarray(trials, dtype=np.float64)
    axis.fill_between(
        x, np.asarray(lower), np.asarray(upper), color=color, alpha=0.2, linewidth=0, label="confidence sequence"
    )
    axis.plot(x, np.asarray(estimates), color=color, linewidth=1.4, label=label)
    if exact is not None:
        axis.axhline(exact, color=EXACT, linewidth=1.4, linestyle="--", label="exact")
    axis.set_xscale("log")
    axis.set_xlabel("trials")


# Scaling.


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
