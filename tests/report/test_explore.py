"""The figures that sliders redraw: tested without a kernel, then once in a real one."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Proportion
from kwta_theory.report import explore as explore_module
from kwta_theory.report.explore import (
    MISSING,
    VIEW,
    Slider,
    explore,
    interval_points,
    picture,
    show,
    table,
    written_table,
)


class Shown:
    """Stands in for ``IPython.display.display`` and its handles: keeps what is shown, and how often it changed."""

    def __init__(self) -> None:
        self.bundles: list[dict[str, Any]] = []
        self.updates = 0

    def __call__(self, bundle: dict[str, Any], *, raw: bool, display_id: bool = False) -> Shown | None:
        assert raw
        self.bundles.append(bundle)
        return self if display_id else None

    def update(self, bundle: dict[str, Any], *, raw: bool) -> None:
        assert raw
        self.bundles[0] = bundle
        self.updates += 1

    @property
    def text(self) -> str:
        return str(self.bundles[0]["text/plain"])


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    display = Shown()
    monkeypatch.setattr("IPython.display.display", display)
    return display


def labelled(x: object, y: object) -> Figure:
    figure = Figure(figsize=(2, 2))
    figure.subplots().set(xlabel=str(x), ylabel=str(y))
    return figure


def test_a_picture_is_a_png_and_words_and_the_same_bytes_each_time() -> None:
    first, second = picture(labelled("width", "P")), picture(labelled("width", "P"))
    assert first == second
    assert base64.b64decode(first["image/png"]).startswith(b"\x89PNG")
    assert first["text/plain"] == "[figure: P against width]"
    assert b"Software" not in base64.b64decode(first["image/png"])
    assert picture(Figure())["text/plain"] == "[figure: no axes]"


def test_tables_align_numbers_and_refuse_ragged_rows() -> None:
    written = written_table(["a", "b"], [[1, "x"], [2.5, 3]])
    assert written["text/markdown"].splitlines() == ["| a | b |", "|---:|:---|", "| 1 | x |", "| 2.5 | 3 |"]
    assert written["text/plain"] == written["text/markdown"]
    with pytest.raises(InvalidArgumentError, match=r"rows have \[1, 2\] cells and there are 2 headings"):
        written_table(["a", "b"], [[1, 2], [3]])
    with pytest.raises(InvalidArgumentError, match="there are 0 headings"):
        written_table([], [])


def test_show_and_table_show_one_thing_each(shown: Shown) -> None:
    show(labelled("x", "y"))
    table(["a"], [[1]])
    assert [sorted(bundle) for bundle in shown.bundles] == [
        ["image/png", "text/plain"],
        ["text/markdown", "text/plain"],
    ]


def test_the_intervals_of_a_figure_share_their_error() -> None:
    """Bonferroni by hand: two counts, each end of each interval at a quarter of the error."""
    points = interval_points({1.0: Proportion(3, 10), 2.0: Proportion(10, 10)}, error=0.02)
    for (x, value, lower, upper), (place, count) in zip(points, [(1.0, 3), (2.0, 10)], strict=True):
        interval = Proportion(count, 10).interval(0.01)
        assert (x, value, lower, upper) == (place, count / 10, interval.lower, interval.upper)
    assert points[0][2:] != (Proportion(3, 10).interval(0.02).lower, Proportion(3, 10).interval(0.02).upper)
    assert interval_points({}) == []
    with pytest.raises(InvalidArgumentError, match="error=2"):
        interval_points({1.0: Proportion(1, 2)}, error=2)


def test_a_slider_redraws_the_same_picture(shown: Shown) -> None:
    explorer = explore(labelled, x=Slider("x", [1, 2], 1), y=Slider("y", "abc", "b"))
    assert shown.text == "[figure: b against 1]"
    explorer.sliders["x"].value = 2
    explorer.sliders["y"].value = "c"
    assert shown.text == "[figure: c against 2]"
    assert shown.updates == 2
    assert len(shown.bundles) == 2, "the picture, and the sliders once"
    assert shown.bundles[1]["text/plain"] == "Sliders, once the notebook runs: x, y."
    assert explorer.button is None


def test_layers_are_drawn_at_the_first_values_and_then_on_demand_once_for_each(shown: Shown) -> None:
    drawn: list[int] = []

    def measure(x: int) -> str:
        drawn.append(x)
        return f"counted {x}"

    explorer = explore(lambda x, measured: labelled(x, measured), measure, x=Slider("x", [1, 2], 1))
    assert (drawn, shown.text) == ([1], "[figure: counted 1 against 1]")
    explorer.sliders["x"].value = 2
    assert (drawn, shown.text) == ([1], "[figure: None against 2]"), "moving draws no layers and shows no old count"
    explorer.button.click()
    assert (drawn, shown.text) == ([1, 2], "[figure: counted 2 against 2]")
    explorer.button.click()
    explorer.sliders["x"].value = 1
    assert (drawn, shown.text) == ([1, 2], "[figure: counted 1 against 1]"), "a count is kept"
    assert (explorer.button.disabled, explorer.button.description) == (False, "Draw layers")


def test_an_error_takes_the_place_of_the_picture_and_the_button_stays_alive(shown: Shown) -> None:
    def draw(x: int, measured: object) -> Figure:
        if x == 2:
            raise InvalidArgumentError("x=2 is not allowed.")
        return labelled(x, measured)

    def count(x: int) -> float:
        if x == 3:
            raise InvalidArgumentError("nothing to draw at 3.")
        return 1 / (x - 4)

    explorer = explore(draw, count, x=Slider("x", [1, 2, 3, 4], 1))
    explorer.sliders["x"].value = 2
    assert shown.bundles[0] == {"text/plain": "x=2 is not allowed."}
    explorer.sliders["x"].value = 3
    explorer.button.click()
    assert shown.bundles[0] == {"text/plain": "nothing to draw at 3."}
    explorer.sliders["x"].value = 4
    explorer.button.click()
    assert shown.bundles[0] == {"text/plain": "ZeroDivisionError: division by zero"}
    assert not explorer.button.disabled


@pytest.mark.parametrize(("start", "error"), [(2, InvalidArgumentError), (4, ZeroDivisionError)])
def test_an_error_at_the_first_values_passes_so_that_a_broken_notebook_fails(
    start: int, error: type[Exception], shown: Shown
) -> None:
    def draw(x: int) -> Figure:
        if x == 2:
            raise InvalidArgumentError("x=2 is not allowed.")
        return labelled(1 / (x - 4), "")

    with pytest.raises(error):
        explore(draw, x=Slider("x", [1, 2, 4], start))


def test_without_ipywidgets_the_picture_stays_and_a_sentence_says_what_to_install(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    explorer = explore(labelled, x=Slider("x", [1, 2], 1), y=Slider("y", [3, 4], 3))
    assert "image/png" in shown.bundles[0]
    assert shown.bundles[1] == {"text/plain": MISSING}
    assert (explorer.sliders, explorer.button) == ({}, None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Slider("x", [1], 1), "at least two, and no two equal"),
        (lambda: Slider("x", [1, 1], 1), "at least two, and no two equal"),
        (lambda: Slider("x", [1, 2], 3), "start=3 of 'x' is not allowed: it must be one of"),
        (lambda: explore(labelled), "sliders are missing"),
    ],
)
def test_bad_use_is_a_sentence(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        make()


def test_the_text_of_a_value_can_be_chosen() -> None:
    assert Slider("x", [1, 2], 1, lambda value: f"10^{value}").options() == [("10^1", 1), ("10^2", 2)]


def test_nothing_of_jupyter_is_imported_with_the_module() -> None:
    """The source says it: both imports stand inside functions (a fresh interpreter would take a second)."""
    top = [
        line for line in Path(explore_module.__file__).read_text().splitlines() if line.startswith(("import", "from"))
    ]
    assert top
    assert not any("IPython" in line or "ipywidgets" in line for line in top)


CELLS = (
    """
from matplotlib.figure import Figure
from kwta_theory.report.explore import Slider, explore
def draw(x, measured):
    figure = Figure(figsize=(1, 1))
    figure.subplots().set(xlabel=f"x = {x}", ylabel=str(measured))
    return figure
explorer = explore(draw, lambda x: 10 * x, x=Slider("x", [1, 2], 1))
""",
    "explorer.sliders['x'].value = 2",
    "explorer.button.click()",
)


def test_in_a_real_kernel_the_picture_of_the_first_cell_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(notebook, timeout=60)
    texts = []
    with client.setup_kernel(cwd=str(tmp_path)):
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
            figure, sliders = notebook.cells[0].outputs
            assert base64.b64decode(figure.data["image/png"]).startswith(b"\x89PNG")
            assert VIEW in sliders.data
            texts.append(figure.data["text/plain"])
    assert texts == ["[figure: 10 against x = 1]", "[figure: None against x = 2]", "[figure: 20 against x = 2]"]
    assert all(not cell.outputs for cell in notebook.cells[1:])
