"""Pictures of cells: what is drawn is what the geometry says, and what cannot be drawn is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.geometry import pattern_cell
from kwta_theory.report.cells import draw_plane, draw_space, faces, offsets, perpendicular_basis


def cell_of(input_dim: int, width: int = 60, k: int = 6, seed: int = 0, x=None, bias=None):
    weight = np.random.default_rng(seed).standard_normal((width, input_dim))
    return pattern_cell(weight, np.eye(input_dim)[0] if x is None else x, k, bias)


def lines(axis) -> dict[str, np.ndarray]:
    return {line.get_label(): np.array(line.get_data()).ravel() for line in axis.lines}


def test_the_plane_shows_the_cell_its_witness_and_its_nearest_boundary():
    axis = Figure().subplots()
    cell = cell_of(3, x=[0.3, -1.0, 2.0])
    bracket = draw_plane(axis, cell)
    assert bracket.ratio < 1 + 1e-9
    shown = lines(axis)
    assert shown["x"].tolist() == [0, 0]
    witness = next(value for label, value in shown.items() if label.startswith("witness"))
    assert np.linalg.norm(witness) == pytest.approx(bracket.lower, rel=1e-9)
    assert np.linalg.norm(shown["nearest boundary"]) == pytest.approx(cell.nearest_boundary().distance, rel=1e-9)
    # the corners, taken back to inputs and drawn together a little, have the pattern; pushed apart they have not
    (polygon,) = [patch for patch in axis.patches if patch.get_label() == "same pattern as x"]
    basis, unit = perpendicular_basis(cell.x), cell.x / np.linalg.norm(cell.x)
    corners = polygon.get_xy()[:-1]
    middle = corners.mean(axis=0)
    assert len(corners) == len(cell.vertices())
    for factor, inside in ((1 - 1e-6, True), (1 + 1e-6, False)):
        points = unit + (middle + factor * (corners - middle)) @ basis.T
        assert (cell.contains(points) == inside).all()
    assert np.ptp(axis.get_xlim()) == pytest.approx(2.5 * bracket.lower)


def test_the_rows_at_an_edge_tie_there():
    axis = Figure().subplots()
    cell = cell_of(3, seed=4)
    draw_plane(axis, cell)
    active, tied = set(cell.active_rows().tolist()), []
    for text in axis.texts:
        winner, loser = map(int, text.get_text().split(" | "))
        assert cell.winners[winner]
        assert not cell.winners[loser]
        assert {winner, loser} <= active
        tied.append((winner, loser))
    assert len(tied) >= 3
    without = Figure().subplots()
    draw_plane(without, cell, rows=False)
    assert not without.texts


def test_neighbours_are_coloured_by_their_patterns():
    axis = Figure().subplots()
    cell = cell_of(3, seed=4)
    draw_plane(axis, cell)
    colours, own = (np.ma.filled(image.get_array(), np.nan) for image in axis.images)
    assert len(np.unique(colours)) > 3
    # the area of the cell in pixels against the shoelace formula over its vertices
    (polygon,) = [patch for patch in axis.patches if patch.get_label() == "same pattern as x"]
    x, y = polygon.get_xy().T
    area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
    pixel = (np.ptp(axis.get_xlim()) / len(own)) ** 2
    assert np.nansum(own) * pixel == pytest.approx(area, rel=0.03)


def test_an_unbounded_cell_in_the_plane_is_coloured_as_far_as_it_is_seen():
    cell = pattern_cell(np.eye(3), [1.0, 0.2, 0.1], 1)
    axis = Figure().subplots()
    bracket = draw_plane(axis, cell)
    assert bracket.unbounded
    assert axis.get_xlim() == (-3.0, 3.0)
    assert "witness" not in " ".join(lines(axis))
    assert np.nansum(np.ma.filled(axis.images[1].get_array(), np.nan)) > 1000
    assert [patch.get_label() for patch in axis.patches] == ["same pattern as x"]


def test_space_shows_a_solid():
    figure = Figure()
    axis = figure.add_subplot(projection="3d")
    cell = cell_of(4, seed=1)
    bracket = draw_space(axis, cell)
    (solid,) = axis.collections
    assert solid.get_label() == "same pattern as x"
    far = next(np.array(line.get_data_3d()).ravel() for line in axis.lines if line.get_label().startswith("witness"))
    assert np.linalg.norm(far) == pytest.approx(bracket.lower, rel=1e-9)
    assert {"x", "nearest boundary"} <= {line.get_label() for line in axis.lines}


def test_the_faces_of_a_solid_obey_euler():
    cell = cell_of(4, seed=2)
    corners = offsets(cell, cell.vertices())
    found = faces(corners)
    edges = {frozenset((int(a), int(b))) for side in found for a, b in zip(side, np.roll(side, -1), strict=True)}
    assert len(corners) - len(edges) + len(found) == 2


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=6).filter(lambda x: np.linalg.norm(x) > 1e-3))
def test_the_basis_is_orthonormal_and_perpendicular(x):
    basis = perpendicular_basis(x)
    assert np.allclose(basis.T @ basis, np.eye(len(x) - 1), atol=1e-12)
    assert np.allclose(np.array(x) / np.linalg.norm(x) @ basis, 0, atol=1e-12)


def test_offsets_do_not_see_the_length():
    cell = cell_of(3, x=[0.0, 2.0, 1.0])
    point = np.array([0.3, 1.0, 1.0])
    assert np.allclose(offsets(cell, point), offsets(cell, 7 * point))
    cosine = point @ cell.x / np.linalg.norm(point) / np.linalg.norm(cell.x)
    assert np.linalg.norm(offsets(cell, point)) == pytest.approx(math.tan(math.acos(cosine)))


@pytest.mark.parametrize(
    ("draw", "arguments", "message"),
    [
        (draw_plane, {"input_dim": 4}, "the cell has 4 dimensions: this picture is of 3"),
        (draw_plane, {"input_dim": 3, "bias": np.ones(60)}, "the cell has a bias"),
        (draw_space, {"input_dim": 3}, "the cell has 3 dimensions: this picture is of 4"),
        (draw_space, {"input_dim": 4, "bias": np.ones(60)}, "the cell has a bias"),
        (draw_space, {"input_dim": 4, "width": 4, "k": 1}, "unbounded"),
    ],
)
def test_what_is_refused(draw, arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        draw(None, cell_of(**arguments))
