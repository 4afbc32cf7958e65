"""Figures that sliders redraw, and tables, for the notebooks: what is shown live is what is kept.

:func:`explore` shows a picture at the first values of its sliders and, where layers are drawn, what was counted there.
A slider replaces this picture by the next one. So a notebook that is opened without running has the picture at the
first values, and none of its outputs depends on a widget being alive.

IPython comes with every notebook and is imported when something is shown; ipywidgets likewise. Without ipywidgets the
picture stays and a sentence takes the place of the sliders.
"""

from __future__ import annotations

import base64
import importlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from kwta_theory.checks import InvalidArgumentError, check_number
from kwta_theory.confidence import Proportion

DOTS_PER_INCH = 100
VIEW = "application/vnd.jupyter.widget-view+json"
MISSING = "Sliders need ipywidgets: pip install 'kwta-theory[notebooks]'. The picture shows the first values."

Bundle = dict[str, Any]


def picture(figure: Figure) -> Bundle:
    """The figure as a PNG, and in words for a reader of text: ``[figure: vertical against horizontal axis]``.

    The same figure gives the same bytes: nothing in the file says when or with what it was made.

    >>> figure = Figure()
    >>> _ = figure.subplots().set(xlabel="width", ylabel="probability")
    >>> picture(figure)["text/plain"]
    '[figure: probability against width]'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    panels = [(axis.get_ylabel(), axis.get_xlabel()) for axis in figure.axes]
    words = "; ".join(f"{y} against {x}" for y, x in panels if x and y)
    return {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": f"[figure: {words or 'no axes'}]"}


def written_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Bundle:
    r"""A table in Markdown, which a notebook sets, and the same text for where it does not. Numbers go to the right.

    Args:
        headings: one for each column; formulas between dollar signs are set.
        rows: cells as they are to be read: text, or numbers that are written as ``str`` writes them.

    Raises:
        InvalidArgumentError: no column, or a row of another length.

    >>> print(written_table(["k", "verdict"], [[1, "holds"]])["text/markdown"])
    | k | verdict |
    |---:|:---|
    | 1 | holds |
    """
    cells = [list(row) for row in rows]
    if not headings or any(len(row) != len(headings) for row in cells):
        lengths = sorted({len(row) for row in cells})
        raise InvalidArgumentError(
            f"rows have {lengths} cells and there are {len(headings)} headings: they must be equal, and at least one."
        )
    numbers = [all(isinstance(row[i], int | float) for row in cells) for i in range(len(headings))]
    rules = ["---:" if number else ":---" for number in numbers]
    lines = [f"| {' | '.join(map(str, row))} |" for row in [headings, *cells]]
    lines.insert(1, f"|{'|'.join(rules)}|")
    return dict.fromkeys(("text/markdown", "text/plain"), "\n".join(lines))


def interval_points(counts: Mapping[float, Proportion], error: float = 1e-3) -> list[tuple[float, float, float, float]]:
    """Counts at some abscissae as ``(x, value, lower, upper)`` for :func:`kwta_theory.report.plots.marks`.

    The intervals are those of Clopper and Pearson, for numbers of trials fixed beforehand, at ``error`` over the number
    of counts: all of them hold together with probability at least ``1 - error``.

    >>> interval_points({4.0: Proportion(0, 100), 5.0: Proportion(50, 100)})[1][:2]
    (5.0, 0.5)
    """
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    intervals = {x: count.interval(error / len(counts)) for x, count in counts.items()}
    return [(x, count.value, intervals[x].lower, intervals[x].upper) for x, count in counts.items()]


def show(figure: Figure) -> None:
    """Show a figure below the cell."""
    _display(picture(figure))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Show a table below the cell, see :func:`written_table`."""
    _display(written_table(headings, rows))


@dataclass(frozen=True)
class Slider:
    """The values of one argument that a reader can choose.

    Args:
        label: what stands beside the slider; formulas between dollar signs are set.
        values: in their order, at least two, all different.
        start: the first one shown.
        text: writes a value beside the slider, ``str`` if not given.

    Raises:
        InvalidArgumentError: fewer than two values, two equal ones, or a start that is none of them.

    >>> Slider("winners", [1, 2, 4], 2).options()
    [('1', 1), ('2', 2), ('4', 4)]
    """

    label: str
    values: Sequence[Any]
    start: Any
    text: Callable[[Any], str] = str

    def __post_init__(self) -> None:
        if len(self.values) < 2 or len(set(self.values)) < len(self.values):
            raise InvalidArgumentError(
                f"values={list(self.values)!r} of {self.label!r} are not allowed: at least two, and no two equal."
            )
        if self.start not in self.values:
            raise InvalidArgumentError(
                f"start={self.start!r} of {self.label!r} is not allowed: it must be one of {list(self.values)!r}."
            )

    def options(self) -> list[tuple[str, Any]]:
        """Texts and values."""
        return [(self.text(value), value) for value in self.values]


class Explorer:
    """A picture that follows its sliders, see :func:`explore`.

    Attributes:
        sliders: the widgets by the name of their argument; empty without ipywidgets.
        button: the widget that draws layers; None where nothing is drawn, and without ipywidgets.
        values: the arguments of the picture that is shown.
    """

    def __init__(
        self, draw: Callable[..., Figure], measure: Callable[..., Any] | None, sliders: Mapping[str, Slider]
    ) -> None:
        self._draw, self._measure = draw, measure
        self._measured: dict[tuple[Any, ...], Any] = {}
        self.values = {name: slider.start for name, slider in sliders.items()}
        if measure is not None:
            self._count()
        self._handle = _display(self.bundle(), display_id=True)
        self.sliders: dict[str, Any] = {}
        self.button: Any = None
        self._add_widgets(sliders)

    def bundle(self) -> Bundle:
        """The picture at the values, with what was measured there, if anything."""
        measured = {} if self._measure is None else {"measured": self._measured.get(tuple(self.values.values()))}
        return picture(self._draw(**self.values, **measured))

    def _count(self) -> None:
        """Measure at the values, once for each of them."""
        key = tuple(self.values.values())
        if self._measure is not None and key not in self._measured:
            self._measured[key] = self._measure(**self.values)

    def _add_widgets(self, sliders: Mapping[str, Slider]) -> None:
        try:
            ipywidgets = importlib.import_module("ipywidgets")
        except ImportError:
            _display({"text/plain": MISSING})
            return
        for name, slider in sliders.items():
            widget = ipywidgets.SelectionSlider(
                options=slider.options(),
                value=slider.start,
                description=slider.label,
                style={"description_width": "14em"},
                layout={"width": "40em"},
            )
            widget.observe(lambda change, name=name: self._move(name, change["new"]), names="value")
            self.sliders[name] = widget
        names = ", ".join(slider.label for slider in sliders.values())
        words = f"Sliders, once the notebook runs: {names}."
        if self._measure is not None:
            self.button = ipywidgets.Button(description="Draw layers")
            self.button.on_click(lambda _: self._press())
            words += " A button draws layers there."
        box = ipywidgets.VBox([*self.sliders.values(), *([self.button] if self.button else [])])
        _display({**_view(box), "text/plain": words})

    def _move(self, name: str, value: Any) -> None:
        self.values[name] = value
        self._refresh()

    def _press(self) -> None:
        self.button.disabled, self.button.description = True, "drawing ..."
        self._refresh(count=True)
        self.button.disabled, self.button.description = False, "Draw layers"

    def _refresh(self, *, count: bool = False) -> None:
        """Replace the picture. ipywidgets would hide an error of a callback in a log, so it is shown in its place."""
        try:
            if count:
                self._count()
            bundle = self.bundle()
        except InvalidArgumentError as refusal:
            bundle = {"text/plain": str(refusal)}
        except Exception as error:
            bundle = {"text/plain": f"{type(error).__name__}: {error}"}
        self._handle.update(bundle, raw=True)


def explore(draw: Callable[..., Figure], measure: Callable[..., Any] | None = None, **sliders: Slider) -> Explorer:
    """Show ``draw`` at the first values of the sliders, and redraw it whenever one of them moves.

    Args:
        draw: takes one argument for each slider, by name, and ``measured`` where ``measure`` is given; returns the
            figure. Exact formulas: it is called at every step of a slider and should take less than 0.2 seconds.
        measure: takes the same arguments without ``measured`` and simulates. Called for the first values at once, so
            that the picture that is kept has it, and then when the reader presses the button; what it returns goes to
            ``draw`` as ``measured``, which is None at values where nothing was simulated. It must draw from a seed that
            is fixed beforehand: to press again changes nothing.
        **sliders: one for each argument.

    Returns:
        The explorer; end the line with a semicolon, or its text is shown.

    Raises:
        InvalidArgumentError: no slider. What ``draw`` and ``measure`` raise at the first values passes; what they raise
            later is shown in place of the picture.
    """
    if not sliders:
        raise InvalidArgumentError("sliders are missing: give at least one, by the name of an argument of draw.")
    return Explorer(draw, measure, sliders)


def _display(bundle: Bundle, *, display_id: bool = False) -> Any:
    from IPython.display import display

    return display(bundle, raw=True, display_id=True) if display_id else display(bundle, raw=True)


def _view(widget: Any) -> Bundle:
    """The widget alone, without the description of its parts that ipywidgets would put in the place of text."""
    bundle = widget._repr_mimebundle_()
    return {VIEW: bundle[VIEW]} if VIEW in bundle else {}
