"""The figure itself: panels of the house's width, legend and captions below them, colours, settings, SVG."""

from __future__ import annotations

import contextlib
import io
import textwrap
from collections.abc import Iterator

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

EXACT, CLAIMED, MEASURED, GRANTED, FIRST, PROVED = "#1f4e79", "#b5541c", "#2e7d32", "#b5541c", "#555555", "#7b3f9d"
# For several series: told apart also by those who do not see red and green apart, and in print.
PALETTE = ("#1f4e79", "#d08020", "#2e7d32", "#7b3f9d", "#b02a2a", "#3aa0b5", "#555555")
# Of a caption, whose type is 8 points: letters to the inch, inches to the line.
_LETTERS, _LINE = 17.5, 0.145
# Inches between what stands below the panels; the label of what does.
_GAP, _BELOW = 0.08, "below"


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
