"""The notebooks: executed from the first cell to the last, and what is kept in them is what their code says."""

from __future__ import annotations

import ast
import base64
import functools
import re
import runpy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import NotebookNode

from kwta_theory.report import explore as explore_module
from kwta_theory.report.explore import Slider, picture

FOLDER = Path(__file__).parents[1] / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
EXECUTE = runpy.run_path(str(FOLDER / "execute.py"))
LONGEST_CELL = 15  # lines: what needs more belongs in the package
UPDATE_SECONDS = 0.4  # twice what an idle machine may take: a test shares its processor's cache with others

each_notebook = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


@functools.cache
def kept(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def readable(notebook: NotebookNode) -> list[list[tuple[str, str]]]:
    """For each code cell its outputs: the text of each, and for a picture only that there is one."""
    return [
        [
            (kind, "" if kind == "image/png" else str(text))
            for output in cell.outputs
            for kind, text in sorted({"stream": output.get("text", ""), **output.get("data", {})}.items())
        ]
        for cell in code_cells(notebook)
    ]


def test_there_is_one_notebook_for_each_stop_on_the_way() -> None:
    assert [path.name for path in PATHS] == [
        "1_activation.ipynb",
        "2_theorem_1.ipynb",
        "3_disjointness.ipynb",
        "4_interpolation.ipynb",
        "5_regions.ipynb",
        "6_density_and_robustness.ipynb",
    ]


@each_notebook
def test_what_is_kept_is_clean(path: Path) -> None:
    notebook = kept(path)
    nbformat.validate(notebook)
    assert notebook.metadata == EXECUTE["METADATA"]
    assert [cell.id for cell in notebook.cells] == [f"cell-{i:02d}" for i in range(1, len(notebook.cells) + 1)]
    assert all(cell.metadata == {} for cell in notebook.cells)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    pictureless = re.sub(r'"image/png": "[^"]*"', "", path.read_text(encoding="utf-8"))
    for trace in ("/home", "/root", "/tmp", "/work", "Users\\", "site-packages", "model_id", "0x", "Warning"):
        assert trace not in pictureless


@each_notebook
def test_no_cell_is_a_wall_of_code(path: Path) -> None:
    assert max(len(cell.source.splitlines()) for cell in code_cells(kept(path))) <= LONGEST_CELL


@each_notebook
def test_beside_every_slider_is_a_picture_that_needs_none(path: Path) -> None:
    for cell in code_cells(kept(path)):
        if cell.source.startswith("explore("):
            figure, sliders = cell.outputs
            assert base64.b64decode(figure.data["image/png"]).startswith(b"\x89PNG")
            assert list(sliders.data) == ["text/plain"]


@pytest.mark.slow
@each_notebook
def test_execution_gives_the_outputs_that_are_kept(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By nbmake, in a fresh kernel; every word and number is compared, pictures only by their presence."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))  # nobody's own start-up files
    assert readable(EXECUTE["executed"](path)) == readable(kept(path))


def test_a_changed_number_would_be_seen() -> None:
    """The negative control of the comparison: one digit in the text of one output."""
    notebook = nbformat.reads(PATHS[1].read_text(encoding="utf-8"), as_version=4)
    output = next(o for cell in code_cells(notebook) for o in cell.outputs if "12,150" in str(o.get("data")))
    output.data["text/plain"] = output.data["text/plain"].replace("12,150", "12,151")
    assert readable(notebook) != readable(kept(PATHS[1]))


def test_a_cell_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    path = tmp_path / "broken.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)
    with pytest.raises(RuntimeError, match=r"broken\.ipynb: .*ZeroDivisionError"):
        EXECUTE["executed"](path)


def needed_for_sliders(source: str) -> bool:
    """Cells that import, define and explore, and those that only set what these need."""
    simple = ast.Assign | ast.Import | ast.ImportFrom | ast.FunctionDef
    explores = source.startswith("explore(")
    return explores or (all(isinstance(node, simple) for node in ast.parse(source).body) and "for " not in source[:4])


@each_notebook
def test_every_slider_draws_at_its_ends_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each slider is moved to both ends from the first picture, without Monte Carlo.

    Seconds of the processor: the median of each figure.
    """
    explored: list[tuple[Callable[..., Any], bool, dict[str, Slider]]] = []

    def record(draw: Callable[..., Any], measure: object = None, **sliders: Slider) -> None:
        explored.append((draw, measure is not None, sliders))

    monkeypatch.setattr(explore_module, "explore", record)
    monkeypatch.chdir(FOLDER)  # where Jupyter runs them
    names: dict[str, Any] = {}
    for cell in code_cells(kept(path)):
        if needed_for_sliders(cell.source):
            exec(compile(cell.source, f"{path.name} {cell.id}", "exec"), names)
    assert explored
    for draw, measured, sliders in explored:
        start = {name: slider.start for name, slider in sliders.items()}
        seconds = []
        for name, slider in sliders.items():
            for value in (slider.values[0], slider.start, slider.values[-1]):
                began = time.process_time()
                shown = picture(draw(**{**start, name: value}, **({"measured": None} if measured else {})))
                seconds.append(time.process_time() - began)
                assert shown["image/png"]
        assert statistics.median(seconds) < UPDATE_SECONDS, (draw.__name__, seconds)
