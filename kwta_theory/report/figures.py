"""The figure of a statement: what is claimed, what the exact law says and what was measured, against the width."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kwta_theory.report import plots
from kwta_theory.report.plots import CLAIMED, EXACT, FIRST, GRANTED, LN10, MEASURED, PROVED
from kwta_theory.report.plots import as_svg as as_svg  # for the HTML report
from kwta_theory.statements import words
from kwta_theory.statements.case import Curve
from kwta_theory.statements.verdict import Measurement, Verdict

# For each set of inputs: the curves, and the verdicts on it.
Panels = dict[str, tuple[list[Curve], list[Verdict]]]


def drawn(panels: Panels) -> bool:
    """Whether there is anything to draw against the width."""
    return any(curves for curves, _ in panels.values())


def statement_figure(panels: Panels) -> Figure:
    """One panel for each set of inputs.

    The vertical axis is ``log10`` of the probability that the conclusion fails, so that ``10^-236`` can be shown; the
    horizontal axis is ``log10`` of the width. A measured point has its interval; where no failure was seen, only the
    upper end of the interval is drawn.

    Args:
        panels: for each name of inputs the curves and the verdicts on them.
    """
    figure = Figure(figsize=(max(5.2 * len(panels), 6.4), 4.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (name, (curves, verdicts)) in zip(axes, panels.items(), strict=True):
        draw_panel(axis, curves, verdicts)
        if name != "-":
            axis.set_title(name, loc="left", fontsize=10)
    plots.legend(figure, columns=3 if len(panels) > 1 else 2)
    axes[0].set_ylabel("log10 of the probability of failure")
    return figure


def reach_of(curves: Sequence[Curve]) -> float:
    """``log10`` of the largest width at which something other than a level is drawn."""
    return max(x for curve in curves if curve.kind != "claimed" for x in curve.log_width) / LN10


def lowest(levels: Sequence[float | None]) -> float:
    """The lower end of the vertical axis (``log10``) that shows the given levels (natural logarithms)."""
    level = max((value for value in levels if value is not None), default=0.0) / LN10
    return max(1.25 * min(level, -2.0), -1e6)


def draw_panel(axis: Axes, curves: Sequence[Curve], verdicts: Sequence[Verdict]) -> None:
    """Draw one panel; a width far beyond the others is named at the edge instead of stretching the axis."""
    draw_curves(axis, curves, lowest([verdict.claimed_log_failure for verdict in verdicts]))
    draw_measured(axis, verdicts, reach_of(curves))
    draw_widths(axis, verdicts, reach_of(curves))


def draw_curves(axis: Axes, curves: Sequence[Curve], floor: float) -> None:
    """Laws, bounds and levels, down to ``floor`` (``log10``)."""
    reach = reach_of(curves)
    for curve in curves:
        x = [value / LN10 for value in curve.log_width]
        y = [max(value / LN10, 2 * floor) for value in curve.log_failure]
        if curve.kind == "bracket" and curve.log_failure_lower is not None:
            lower = [max(value / LN10, 2 * floor) for value in curve.log_failure_lower]
            plots.band(axis, x, lower, y, label=curve.label)
        elif curve.kind in ("exact", "proved"):
            plots.law(axis, x, y, color=EXACT if curve.kind == "exact" else PROVED, label=curve.label)
        elif x[0] <= 3 * reach:
            axis.plot(x, y, color=CLAIMED, linewidth=2.2, label=curve.label)
        else:
            axis.axhline(y[0], color=CLAIMED, linewidth=1.2, linestyle="--", label=f"{curve.label} (level)")
    axis.set_ylim(floor, 0.04 * abs(floor))
    axis.set_xlabel("log10 of the width")
    axis.grid(alpha=0.25)


def draw_measured(axis: Axes, verdicts: Sequence[Verdict], reach: float) -> None:
    """Frequencies of failure with their intervals, as far as the axis reaches; each kind of mark is named once."""
    named: set[str] = set()
    for verdict in verdicts:
        if verdict.measured is None or verdict.log_width is None or verdict.log_width / LN10 > 3 * reach:
            continue
        label = draw_count(axis, verdict.log_width, verdict.measured, named)
        named.add(label)


def draw_count(axis: Axes, log_width: float, measured: Measurement, named: Collection[str] = ()) -> str:
    """One count: the frequency with its interval, or one end of it where no failure, or nothing else, was seen.

    Returns:
        The label of the mark, which goes to the legend unless it is in ``named`` already.
    """
    x, interval, value = log_width / LN10, measured.interval, measured.failures.value
    label = "measured, with interval"
    if value == 0:
        label = "measured, no failure: upper end of interval"
    elif value == 1:
        label = "measured, only failures: lower end of interval"
    shown = None if label in named else label
    point = (x, value, interval.lower, interval.upper)
    plots.marks(axis, [point], label=shown, color=MEASURED, log=True)
    return label


def draw_widths(axis: Axes, verdicts: Sequence[Verdict], reach: float) -> None:
    """The width that the proof grants, and where the conclusion is first true."""
    granted = next((v.granted_log_width for v in verdicts if v.granted_log_width is not None), None)
    if granted is not None and granted / LN10 <= 3 * reach:
        axis.axvline(granted / LN10, color=GRANTED, linestyle=":", label="width that the proof grants")
    elif granted is not None:
        # Above the axes: inside, a curve would cross it.
        text = f"the proof grants it from width {words.width(granted)} on"
        axis.set_title(text, loc="right", fontsize=8, color=GRANTED)
    first = next((v.first_true_log_width for v in verdicts if v.first_true_log_width is not None), None)
    if first is not None:
        axis.axvline(first / LN10, color=FIRST, linestyle="-.", linewidth=1, label="level first reached, at the latest")
