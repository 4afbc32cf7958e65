"""The script of Figure 1 in two dimensions, at settings so small that nothing is fitted."""

from __future__ import annotations

import csv
import dataclasses
import runpy
from pathlib import Path

import pytest
import torch
from matplotlib.collections import LineCollection
from one_thread import one_thread  # noqa: F401  (a fixture)

from kwta_theory.regions.pictures import edge_jumps
from kwta_theory.report import plots
from kwta_theory.robustness import study

PATH = Path(__file__).parents[2] / "experiments" / "figure_1_plane.py"


@pytest.fixture(scope="module")
def script():
    found = runpy.run_path(str(PATH))
    names = found["measure"].__globals__
    names |= {"WIDTH": 12, "NETWORKS": {"small": 6, "paper": 6}, "STEPS": {"small": 3, "paper": 3}, "GRID": 5}
    return names


def test_the_script_writes_its_table_and_its_figure(script, tmp_path):
    drawn = []

    def kept(run, rows):
        drawn.append(script["figure"](run, rows))
        return drawn[-1]

    small = dataclasses.replace(script["STUDY"], figures={"figure_1_plane": kept})
    assert study.main(small, ["--results", str(tmp_path), "--networks", str(tmp_path), "--quiet"]) == 0
    with (tmp_path / "figure_1_plane.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["activation"] for row in rows] == ["kwta-0.1", "kwta-0.2", "relu"]
    for row in rows:
        for name in ("regions", "jump", "fit_error", "error"):
            assert float(row[f"{name}_lower"]) <= float(row[name]) <= float(row[f"{name}_upper"])
    assert [float(row["jump"]) > 0.01 for row in rows] == [True, True, False]
    (figure,) = drawn
    text = " ".join(caption.get_text() for caption in plots.captions(figure)).replace("\n", " ")
    assert "n = 6 networks" in text
    assert "seed 0" in text
    # ReLU, in the last column: grey edges only.
    for axis in (figure.axes[2], figure.axes[5]):
        grey, coloured = (c for c in axis.collections if isinstance(c, LineCollection))
        assert len(grey.get_segments()) > 0
        assert len(coloured.get_segments()) == 0


def test_statistics_are_those_of_the_edges(script):
    plane = script["square"](script["network"]("kwta-0.2", 0))
    found = script["statistics"](plane)
    sizes, total, weighted = edge_jumps(plane), 0.0, 0.0
    for (p, q), size in zip(plane.vertices[plane.edges], sizes, strict=True):
        if size > 1e-12:
            total += float((p - q).norm())
            weighted += float((p - q).norm() * size)
    assert found["regions"] == plane.count
    assert found["jump_density"] == pytest.approx(total / 4)
    assert found["jump"] == pytest.approx(weighted / total)
    assert found["largest_jump"] == pytest.approx(float(sizes.max()))
    # Another square, another network, another seed: other numbers.
    assert script["square"](script["network"]("kwta-0.2", 0), 0.1).count < plane.count
    assert script["square"](script["network"]("kwta-0.2", 1)).count != plane.count
    assert not torch.equal(script["points"](0), script["points"](1))


def test_the_fit_gets_better(script):
    x = script["points"](0)
    y = script["target"](x)
    first, last = (script["regression"].fit(script["network"]("relu", 0), x, y, steps) for steps in (1, 200))
    assert last < 0.7 * first
