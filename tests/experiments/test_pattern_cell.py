"""The script that draws cells: its files, its table, and the numbers that its docstring says were seen."""

from __future__ import annotations

import csv
import dataclasses
import functools
import runpy
from pathlib import Path

import numpy as np
import pytest

from kwta_theory.report import plots
from kwta_theory.report.experiment import main

SCRIPT = Path(__file__).parents[2] / "experiments" / "pattern_cell.py"


@functools.cache
def script() -> dict:
    return runpy.run_path(str(SCRIPT))


def few(draws: int):
    script()["table"].__globals__["DRAWS"] = dict.fromkeys(("quick", "standard", "thorough"), draws)
    return script()["EXPERIMENT"]


def test_it_writes_its_table_and_figures_and_finds_no_contradiction(tmp_path):
    drawn = []
    experiment = few(3)
    kept = {
        name: (lambda found, draw=draw: drawn.append(draw(found)) or drawn[-1])
        for name, draw in experiment.figures.items()
    }
    code = main(
        dataclasses.replace(experiment, figures=kept), ["--results", str(tmp_path), "--workers", "1", "--quiet"]
    )
    assert code == 0
    with (tmp_path / "pattern_cell.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["inside"] for row in rows} == {"True"}
    for stem in ("pattern_cell", "pattern_cell_space"):
        assert (tmp_path / f"{stem}.png").read_bytes()[:4] == b"\x89PNG"
    assert all(plots.captions(figure) for figure in drawn)


def test_a_witness_nearer_than_the_nearest_boundary_would_be_a_finding(tmp_path, monkeypatch):
    experiment = few(2)
    right = script()["cell_of"]

    class Wrong:
        def __init__(self, cell):
            self.cell = cell

        def __getattr__(self, name):
            return getattr(self.cell, name)

        def nearest_boundary(self):
            found = self.cell.nearest_boundary()
            return dataclasses.replace(found, distance=1e3)

    monkeypatch.setitem(script()["table"].__globals__, "cell_of", lambda *sizes: Wrong(right(*sizes)))
    wrong = dataclasses.replace(experiment, figures={})
    assert main(wrong, ["--results", str(tmp_path), "--workers", "1", "--quiet"]) == 1


def test_what_was_seen_is_seen_in_a_smaller_sample():
    """Medians of 60 layers: their intervals by order statistics (ranks 15 and 46, error 1e-4) contain those of 400."""
    few(60)
    rows = [row for row in script()["table"]("quick", 1) if row["l"] == 160]
    for input_dim, far, active in ((3, 9, 8), (4, 17, 12)):
        own = [row for row in rows if row["m"] == input_dim and not row["unbounded"]]
        assert len(own) == 60
        ratios = np.sort([row["lower"] / row["nearest"] for row in own])
        assert ratios[14] <= far <= ratios[45]
        counts = np.sort([row["active_rows"] for row in own])
        assert counts[14] <= active <= counts[45]
        assert not ratios[14] <= 3 * far <= ratios[45]  # the control


@pytest.mark.parametrize("input_dim", [3, 4])
def test_cells_are_of_the_first_unit_vector(input_dim):
    cell = script()["cell_of"](0, input_dim, 40, 4, 0)
    assert cell.x.tolist() == np.eye(input_dim)[0].tolist()
    assert (cell.width, cell.k, cell.bias) == (40, 4, None)
    assert not np.array_equal(cell.weight, script()["cell_of"](0, input_dim, 40, 4, 1).weight)
