"""Pictures of regions: what is drawn is what was counted; and the formula for a random first layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from region_networks import dense, normal, randomise
from torch import nn

from kwta_theory import KWTA, LWTA, theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.regions import line_regions, plane_regions
from kwta_theory.regions.expected import expected_first_layer
from kwta_theory.regions.pictures import draw_counts, draw_line, draw_plane, edge_jumps, rivals, through, window

AXES = torch.eye(2, dtype=torch.float64)
ORIGIN = torch.zeros(1, 2)


def drawn(model: nn.Module, **options):
    axis = Figure().subplots()
    plane = plane_regions(model, ORIGIN, AXES[:1], AXES[1:], a=(-1, 1), b=(-1, 1))
    return axis, plane, draw_plane(axis, plane, **options)


def step() -> nn.Module:
    """The larger of two numbers is kept: jumps at the diagonal by twice the common value."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), KWTA(0.5), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
    return model


def test_edges_have_the_colour_of_their_jumps():
    axis, plane, picture = drawn(step(), output=torch.ones(1))
    assert (plane.count, picture.regions, picture.jumping) == (2, 2, 1.0)
    continuous, jumps = (c for c in axis.collections if isinstance(c, LineCollection))
    assert len(continuous.get_segments()) == 0
    # From -2 to 2 along the diagonal, zero in the middle: the mean square is 4/3.
    assert jumps.get_array().tolist() == pytest.approx([2 / 3**0.5])
    assert edge_jumps(plane).tolist() == pytest.approx([2 / 3**0.5])


def test_a_continuous_network_has_grey_edges_only():
    axis, plane, picture = drawn(randomise(nn.Sequential(nn.Linear(2, 12), nn.ReLU(), nn.Linear(12, 1)), 0))
    continuous, jumps = (c for c in axis.collections if isinstance(c, LineCollection))
    assert len(continuous.get_segments()) == len(plane.edges) > 10
    assert len(jumps.get_segments()) == 0
    assert (picture.jumping, picture.largest_jump) == (0.0, 0.0)


def random_net(kind=lambda: KWTA(0.25)) -> nn.Module:
    return randomise(nn.Sequential(nn.Linear(2, 16), kind(), nn.Linear(16, 3)), 1)


def test_the_surface_is_the_network():
    """At the corners of the triangles, moved a little inwards; the negative control is another output."""
    model, weights = random_net(), torch.tensor([1.0, -1.0, 0.5]).double()
    _, _, picture = drawn(model, output=weights)
    mesh = picture.faces
    triangulation = mesh._triangulation
    corners = np.stack([triangulation.x, triangulation.y], axis=1)[triangulation.triangles]
    heights = mesh.get_array()[triangulation.triangles]
    (a, b), (c, d) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    area = np.abs(a * d - b * c) / 2
    assert area.sum() == pytest.approx(4.0)
    inside = torch.from_numpy(corners.mean(1)[area > 1e-6])
    values = model(inside) @ weights
    np.testing.assert_allclose(heights.mean(1)[area > 1e-6], values.detach().numpy(), rtol=1e-9, atol=1e-9)
    wrong = model(inside) @ weights.flip(0)
    assert np.abs(heights.mean(1)[area > 1e-6] - wrong.detach().numpy()).max() > 0.1


def test_options_change_something():
    model = random_net()
    _, _, plain = drawn(model)
    _, _, scaled = drawn(model, value_range=(-5.0, 7.0), largest_jump=0.25)
    assert scaled.faces.get_clim() == (-5.0, 7.0) != plain.faces.get_clim()
    assert scaled.edges.norm.vmax == 0.25 != plain.edges.norm.vmax
    _, _, wide = drawn(model, width=5.0)
    assert max(wide.edges.get_linewidths()) == pytest.approx(5.0)
    assert max(plain.edges.get_linewidths()) == pytest.approx(1.2)
    _, _, other = drawn(model, output=torch.tensor([1.0, 0.0, 0.0]))
    assert other.faces.get_clim() != plain.faces.get_clim()
    with pytest.raises(InvalidArgumentError, match=r"output has shape \(2,\): it must be that of one output, \(3,\)"):
        drawn(model, output=torch.ones(2))


def test_the_plane_goes_through_its_three_inputs():
    images = normal(0, 3, 1, 4, 4)
    origin, u, v = through(images)
    for place, image in zip(((0, 0), (1, 0), (0, 1)), images, strict=True):
        torch.testing.assert_close(origin[0] + place[0] * u[0] + place[1] * v[0], image)
    with pytest.raises(InvalidArgumentError, match="a plane goes through three inputs"):
        through(images[:2])


def test_the_window_holds_about_as_many_regions_as_asked_for():
    model = randomise(dense("kwta"), 3)
    plane = through(3 * normal(1, 3, 5))
    sides = [window(model, *plane, regions=n) for n in (5, 60, 10_000)]
    assert sides == sorted(sides)
    assert sides[-1] == 1.0
    counts = [plane_regions(model, *plane, a=(0, side), b=(0, side)).count for side in sides[:2]]
    assert 1 <= counts[0] <= 25
    assert 6 <= counts[1] <= 300
    with pytest.raises(InvalidArgumentError, match="regions=0 is not allowed"):
        window(model, *plane, regions=0)


def test_what_is_shown_of_a_classifier():
    assert rivals(torch.tensor([2.0]))[1] == "output"
    weights, words = rivals(torch.tensor([0.0, -1.0, 3.0]))
    assert (weights.tolist(), words) == ([-1.0, 0.0, 1.0], "output 2 minus output 0")


def test_stems_are_the_jumps_of_the_line():
    start, end = normal(5, 1, 2), normal(6, 1, 2)
    (line,) = line_regions(random_net(), start, end)
    axis = Figure().subplots()
    largest = draw_line(axis, line, 3.0)
    sizes = line.jumps.norm(dim=1)
    assert largest == float(sizes.max())
    (stems,) = axis.collections
    segments = np.array(stems.get_segments())
    np.testing.assert_allclose(segments[:, 1, 1], sizes)
    np.testing.assert_allclose(segments[:, 0, 0], 3.0 * line.breakpoints)
    (smooth,) = line_regions(random_net(nn.ReLU), start, end)
    axis = Figure().subplots()
    assert draw_line(axis, smooth, 1.0) == 0.0
    assert [text.get_text() for text in axis.texts] == [f"{smooth.count - 1:,} boundaries, no jump"]
    with pytest.raises(InvalidArgumentError, match=r"length=0\.0 is not allowed"):
        draw_line(axis, line, 0.0)


def test_every_count_is_in_a_bar():
    axis = Figure().subplots()
    draw_counts(axis, [3, 3, 900, 41, 7])
    assert sum(bar.get_height() for bar in axis.patches) == 5
    assert axis.lines[0].get_xdata()[0] == 7
    with pytest.raises(InvalidArgumentError, match="counts is empty"):
        draw_counts(axis, [])


# The expected number of boundaries of a random first layer, against counts on layers that are drawn.

LAYERS = {
    "dense relu": (lambda: nn.Sequential(nn.Linear(6, 12, bias=False), nn.ReLU()), (6,)),
    "dense kwta": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 12, bias=False), KWTA(0.25)), (2, 3)),
    "dense lwta, an incomplete group": (
        lambda: nn.Sequential(nn.Linear(6, 11, bias=False), LWTA(3, partial_group=True)), (6,)),
    "convolution, leaky relu": (lambda: nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.LeakyReLU()),
                                (1, 4, 4)),
    "convolution, lwta": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), LWTA(2)), (1, 4, 4)),
}  # fmt: skip


def counts(make, start: torch.Tensor, end: torch.Tensor, layers: int) -> np.ndarray:
    return np.array(
        [line_regions(randomise(make(), seed), start, end)[0].count - 1 for seed in range(layers)], dtype=float
    )


@pytest.mark.parametrize("name", LAYERS)
def test_random_layers_have_as_many_boundaries_as_expected(name):
    """400 layers: with a standard deviation of about sqrt(mean) a bias of a quarter of a mean near 5 is 11 sigma."""
    make, shape = LAYERS[name]
    start, end = normal(1, 1, *shape), normal(2, 1, *shape)
    if len(shape) == 3:
        start[..., 0], end[..., 0] = 0.0, 0.0  # a blank border, as images have it
    found = counts(make, start, end, 400)
    (expected,) = expected_first_layer(make(), start, end).tolist()
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert found.mean() > 1
    assert abs(found.mean() - expected) < 4.6 * error
    assert abs(found.mean() - 1.25 * expected) > 4.6 * error  # negative control
    assert abs(found.mean() - 0.75 * expected) > 4.6 * error


def test_the_formula_in_simple_cases():
    start, end = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 2.0], [1e-6, 0.0], [1.0, 1.0]])
    layer = nn.Sequential(nn.Linear(2, 10), KWTA(0.3))
    right, straight, from_zero = expected_first_layer(layer, start, end).tolist()
    assert right == pytest.approx(theory.boundary_density(10, 3) * math.pi / 2)
    assert (straight, from_zero) == (0.0, 0.0)
    tiny = expected_first_layer(layer, start[:1], start[:1] + torch.tensor([[0.0, 1e-7]]))
    assert float(tiny) == pytest.approx(theory.boundary_density(10, 3) * 1e-7, rel=1e-6)
    assert expected_first_layer(nn.Sequential(nn.Linear(2, 3)), start, end).tolist() == [0.0] * 3
    assert expected_first_layer(nn.Sequential(nn.Linear(2, 3), KWTA(1.0)), start, end).tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 2, 1), nn.ReLU()), "begins with AvgPool2d"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), KWTA(0.5)), "units compete that meet different"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Hardtanh()), "first activation layer of this network: there are those"),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2)), "there are those of ReLU"),
    ],
)
def test_where_there_is_no_formula_it_is_said(model, message):
    with pytest.raises(InvalidArgumentError, match=message):
        expected_first_layer(model, normal(0, 1, 1, 4, 4), normal(1, 1, 1, 4, 4))
