"""The figure of a statement: what is claimed, what the exact law says and what was measured, against the width."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kwta_theory.statements import words
from kwta_theory.statements.case import Curve
from kwta_theory.statements.verdict import Verdict

LN10 = math.log(10)
EXACT, CLAIMED, MEASURED, GRANTED, FIRST, PROVED = "#1f4e79", "#b5541c", "#2e7d32", "#b5541c", "#555555", "#7b3f9d"


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
            axis.set_title(name, fontsize=10)
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    columns = 3 if len(panels) > 1 else 2
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=columns, fontsize=8.5)
    axes[0].set_ylabel("log10 of the probability of failure")
    return figure


def draw_panel(axis: Axes, curves: Sequence[Curve], verdicts: Sequence[Verdict]) -> None:
    """Draw one panel; a width far beyond the others is named at the edge instead of stretching the axis."""
    reach = max(x for curve in curves if curve.kind != "claimed" for x in curve.log_width) / LN10
    level = max((v.claimed_log_failure for v in verdicts if v.claimed_log_failure is not None), default=0.0) / LN10
    floor = max(1.25 * min(level, -2.0), -1e6)
    for curve in curves:
        x = [value / LN10 for value in curve.log_width]
        y = [max(value / LN10, 2 * floor) for value in curve.log_failure]
        if curve.kind == "bracket" and curve.log_failure_lower is not None:
            lower = [max(value / LN10, 2 * floor) for value in curve.log_failure_lower]
            axis.fill_between(x, lower, y, color=EXACT, alpha=0.3, label=curve.label)
            axis.plot(x, y, color=EXACT, linewidth=1)
            axis.plot(x, lower, color=EXACT, linewidth=1)
        elif curve.kind in ("exact", "proved"):
            axis.plot(x, y, color=EXACT if curve.kind == "exact" else PROVED, linewidth=1.6, label=curve.label)
        elif x[0] <= 3 * reach:
            axis.plot(x, y, color=CLAIMED, linewidth=2.2, label=curve.label)
        else:
            axis.axhline(y[0], color=CLAIMED, linewidth=1.2, linestyle="--", label=f"{curve.label} (level)")
    draw_measured(axis, verdicts)
    draw_widths(axis, verdicts, reach)
    axis.set_ylim(floor, 0.04 * abs(floor))
    axis.set_xlabel("log10 of the width")
    axis.grid(alpha=0.25)


def draw_measured(axis: Axes, verdicts: Sequence[Verdict]) -> None:
    """Frequencies of failure with their intervals."""
    seen: str | None = "measured, with interval"
    unseen: str | None = "measured, no failure: upper end of interval"
    for verdict in verdicts:
        if verdict.measured is None:
            continue
        x = math.log10(float(str(verdict.parameters["width"]).replace(",", "")))
        interval, value = verdict.measured.interval, verdict.measured.failures.value
        high = math.log10(interval.upper)
        if value > 0:
            low = math.log10(interval.lower)
            axis.plot([x, x], [low, high], color=MEASURED, linewidth=1.5)
            axis.plot(x, math.log10(value), "o", color=MEASURED, markersize=5, label=seen)
            seen = None
        else:
            axis.plot(x, high, marker="v", color=MEASURED, markersize=6, linestyle="none", label=unseen)
            unseen = None


def draw_widths(axis: Axes, verdicts: Sequence[Verdict], reach: float) -> None:
    """The width that the proof grants, and where the conclusion is first true."""
    granted = next((v.granted_log_width for v in verdicts if v.granted_log_width is not None), None)
    if granted is not None and granted / LN10 <= 3 * reach:
        axis.axvline(granted / LN10, color=GRANTED, linestyle=":", label="width that the proof grants")
    elif granted is not None:
        axis.annotate(
            f"the proof grants it from width {words.width(granted)} on  →",
            (0.98, 0.90),
            xycoords="axes fraction",
            ha="right",
            fontsize=8,
            color=GRANTED,
        )
    first = next((v.first_true_log_width for v in verdicts if v.first_true_log_width is not None), None)
    if first is not None:
        axis.axvline(first / LN10, color=FIRST, linestyle="-.", linewidth=1, label="level first reached, at the latest")


def as_svg(figure: Figure) -> str:
    """The figure as SVG markup, without the XML prologue; the same figure gives the same text."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "kwta_theory", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
