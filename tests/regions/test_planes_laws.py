"""Laws that the regions of a plane obey, ties, counts in closed form, arguments."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from region_networks import KINDS, drawn, network
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.regions import PlaneRegions, plane_regions
from kwta_theory.regions.mesh import Mesh
from kwta_theory.regions.pieces import Module
from kwta_theory.regions.planes import _PlanePass
from kwta_theory.theory import boundary_density, lwta_boundary_density, relu_boundary_density

CONTINUOUS = ("relu", "leaky")
seeds = st.integers(0, 10**6)
Slice = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def plane_of(rng: np.random.Generator, size: int = 4) -> Slice:
    u, v = 2 * drawn(rng, 1, size), 2 * drawn(rng, 1, size)
    return 0.3 * drawn(rng, 1, size) - (u + v) / 2, u, v


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def shoelace(corners: torch.Tensor) -> float:
    x, y = corners.T
    return float((x * y.roll(-1) - y * x.roll(-1)).sum() / 2)


def is_a_partition(plane: PlaneRegions) -> None:
    """Convex polygons, counter-clockwise, that fit edge to edge and cover the unit square."""
    assert float(plane.areas.sum()) == pytest.approx(1.0, abs=1e-13)
    directed: dict[tuple[int, int], int] = {}
    for number, polygon in enumerate(plane.polygons):
        corners = plane.vertices[polygon]
        assert shoelace(corners) == pytest.approx(float(plane.areas[number]), abs=1e-14)
        sides = corners.roll(-1, 0) - corners
        after = sides.roll(-1, 0)
        turn = sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0]
        assert bool((turn >= -1e-13 * sides.norm(dim=1) - 1e-13 * after.norm(dim=1)).all())
        loop = polygon.tolist()
        for edge in zip(loop, loop[1:] + loop[:1], strict=True):
            assert edge not in directed
            directed[edge] = number
    for (p, q), (left, right) in zip(plane.edges.tolist(), plane.sides.tolist(), strict=True):
        assert directed.pop((p, q)) == left
        assert directed.pop((q, p)) == right
    # What is left over is the border of the square, once around.
    starts, ends = (plane.vertices[list(part)] for part in zip(*directed, strict=True))
    assert bool((((starts == ends) & ((starts == 0) | (starts == 1))).any(1)).all())
    assert float((ends - starts).abs().sum()) == pytest.approx(4.0, abs=1e-13)
    # Euler: corners - edges + polygons = 1.
    assert len(plane.vertices) - (len(plane.edges) + len(directed)) + plane.count == 1
    assert len({frozenset(pair) for pair in plane.sides.tolist()}) == len(plane.sides)
    assert all(len(units) > 0 for units in plane.units)
    assert torch.equal(plane.region_at(plane.centroids), torch.arange(plane.count))


@given(seed=seeds, kind=st.sampled_from(list(KINDS)))
@settings(max_examples=15, deadline=None)
def test_partition_and_limits(seed, kind):
    """The polygons are a partition; limits at an edge are those of the network itself, a little to its two sides."""
    rng = np.random.default_rng(seed)
    model, where = network(kind, rng), plane_of(rng)
    plane = plane_regions(model, *where, patterns=True)
    is_a_partition(plane)
    assert plane.patterns is not None
    everything = torch.cat([pattern.long() for pattern in plane.patterns.values()], dim=1)
    assert len(everything.unique(dim=0)) == plane.count
    assert plane.layer_names == ("1", "3")

    p, q = plane.vertices[plane.edges].unbind(1)
    long = (q - p).norm(dim=1) > 1e-3
    middle, normal_ = (p + q) / 2, torch.stack([-(q - p)[:, 1], (q - p)[:, 0]], 1) / (q - p).norm(dim=1)[:, None]
    for sign, limits in ((1, plane.left_values), (-1, plane.right_values)):
        points = middle + sign * 1e-9 * normal_
        truth = model(where[0] + points[:, :1] * where[1] + points[:, 1:] * where[2])
        torch.testing.assert_close(limits.mean(1)[long], truth[long], rtol=0, atol=1e-6)
    if kind in CONTINUOUS:
        assert plane.jumps.abs().max() < 1e-10
    else:
        # The map of a competition with two units that change places is no other at its edge by continuity.
        assert plane.jumps[long].abs().amax((1, 2)).median() > 1e-2
    # Next to each other: something of the layer that parted them changes, nothing of the layers before it.
    for (left, right), name, units in zip(plane.sides.tolist(), plane.layers, plane.units, strict=True):
        for earlier in plane.layer_names:
            differ = (plane.patterns[earlier][left] != plane.patterns[earlier][right]).nonzero().squeeze(1)
            if earlier == name:
                assert torch.equal(differ, units)
                break
            assert len(differ) == 0


@given(seed=seeds, kind=st.sampled_from(list(KINDS)))
@settings(max_examples=10, deadline=None)
def test_other_coordinates(seed, kind):
    """A range is another origin and other directions; with u and v exchanged the plane is seen from behind."""
    rng = np.random.default_rng(seed)
    model, (origin, u, v) = network(kind, rng), plane_of(rng)
    part = plane_regions(model, origin, u, v, a=(-0.25, 0.5), b=(0.5, 1.5), patterns=True)
    moved = plane_regions(model, origin - 0.25 * u + 0.5 * v, 0.75 * u, v)
    size = torch.tensor([0.75, 1.0], dtype=torch.float64)
    close(part.vertices, torch.tensor([-0.25, 0.5]) + size * moved.vertices)
    close(part.centroids, torch.tensor([-0.25, 0.5]) + size * moved.centroids)
    close(part.areas, 0.75 * moved.areas)
    close(part.values, moved.values)
    close(part.gradients * size[:, None], moved.gradients)
    close(part.jumps, moved.jumps)
    points = torch.tensor([-0.25, 0.5]) + size * torch.from_numpy(rng.random((500, 2)))
    close(part.value_at(points), model(origin + points[:, :1] * u + points[:, 1:] * v))

    whole, behind = plane_regions(model, origin, u, v), plane_regions(model, origin, v, u)
    assert whole.count == behind.count
    other = behind.region_at(whole.centroids.flip(1))
    assert len(other.unique()) == whole.count
    close(whole.areas, behind.areas[other])
    close(whole.values, behind.values[other])
    close(whole.gradients, behind.gradients[other].flip(1))


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_a_layer_of_relu_is_an_arrangement_of_lines(seed):
    """Regions: one, one more for each line that meets the square, one more for each crossing inside it."""
    rng = np.random.default_rng(seed)
    linear = nn.Linear(2, 40).double().requires_grad_(False)
    linear.weight.copy_(drawn(rng, 40, 2))
    linear.bias.copy_(0.5 * drawn(rng, 40))
    plane = plane_regions(nn.Sequential(linear, nn.ReLU()), torch.zeros(1, 2), *torch.eye(2)[:, None])
    is_a_partition(plane)
    w, c = linear.weight.numpy(), linear.bias.numpy()
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ w.T + c
    met = (corners.min(0) < 0) & (corners.max(0) > 0)
    crossings = [
        np.linalg.solve(w[[i, j]], -c[[i, j]]) for i, j in itertools.combinations(range(40), 2) if met[i] and met[j]
    ]
    inside = sum(bool(((x > 0) & (x < 1)).all()) for x in crossings)
    assert plane.count == 1 + met.sum() + inside


@pytest.mark.parametrize(
    ("kind", "density"),
    [
        ("relu", relu_boundary_density(64)),
        ("kwta", boundary_density(64, 16)),
        ("lwta", lwta_boundary_density(64, 4)),
    ],
)
def test_the_mean_number_of_sectors_is_the_closed_form(kind, density):
    """Random layers without biases around the origin, where all cells meet in a point: one sector for each change of
    pattern, ``2 pi`` times the density in the mean. 100 layers: a standard error of about 1 %; ReLU has 128 always.
    """
    rng = np.random.default_rng(17)
    counts = []
    for _ in range(100):
        linear = nn.Linear(2, 64, bias=False).double().requires_grad_(False)
        linear.weight.copy_(drawn(rng, 64, 2))
        plane = plane_regions(
            nn.Sequential(linear, KINDS[kind]()), torch.tensor([[-0.4, -0.7]]), *torch.eye(2)[:, None]
        )
        counts.append(plane.count)
        assert float(plane.areas.sum()) == pytest.approx(1.0, abs=1e-13)
    mean, error = np.mean(counts), np.std(counts, ddof=1) / math.sqrt(len(counts))
    assert abs(mean - 2 * math.pi * density) <= 4.6 * error + 1e-9
    # Negative control: 10 % more or less is rejected.
    assert abs(mean - 1.1 * 2 * math.pi * density) > 4.6 * error
    assert abs(mean - 0.9 * 2 * math.pi * density) > 4.6 * error


# Ties -------------------------------------------------------------------------------------------------------------


def duplicated(model: nn.Sequential) -> nn.Sequential:
    """Every unit of the first layer twice, next to one another; the next layer takes half of each."""
    twin = copy.deepcopy(model)
    twin[0].weight = nn.Parameter(model[0].weight.repeat_interleave(2, 0), requires_grad=False)
    twin[0].bias = nn.Parameter(model[0].bias.repeat_interleave(2, 0), requires_grad=False)
    twin[2].weight = nn.Parameter(model[2].weight.repeat_interleave(2, 1) / 2, requires_grad=False)
    return twin


@pytest.mark.parametrize("kind", KINDS)
def test_duplicate_units(kind):
    """Twins, exact and up to rounding: the same regions; the earlier twin wins first; ReLU is what it was without."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        model, where = network(kind, rng), plane_of(rng)
        twin = duplicated(model)
        noisy = copy.deepcopy(twin)
        noisy[0].weight.mul_(1 + 1e-15 * drawn(rng, *twin[0].weight.shape))
        a, b = (plane_regions(m, *where, patterns=True) for m in (twin, noisy))
        is_a_partition(a)
        is_a_partition(b)
        assert a.count == b.count
        region = b.region_at(a.centroids)
        close(a.areas, b.areas[region])
        assert a.patterns is not None
        assert b.patterns is not None
        assert bool((a.patterns["1"][:, 0::2] >= a.patterns["1"][:, 1::2]).all())
        assert torch.equal(a.patterns["1"], b.patterns["1"][region])
        if kind in CONTINUOUS:
            plain = plane_regions(model, *where)
            assert plain.count == a.count
            assert plain.layers == a.layers
            for name, units, doubled in zip(a.layers, plain.units, a.units, strict=True):
                first = [2 * i + part for i in units.tolist() for part in (0, 1)]
                assert doubled.tolist() == (first if name == "1" else units.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_all_boundaries_through_one_point(kind):
    """A network without biases around the origin: cones, and their number does not depend on where the square lies."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        model = network(kind, rng)
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.bias.zero_()
        u, v = drawn(rng, 1, 4), drawn(rng, 1, 4)
        planes = [plane_regions(model, -a * u - b * v, u, v) for a, b in ((0.5, 0.5), (0.37, 0.71))]
        for plane in planes:
            is_a_partition(plane)
        assert planes[0].count == planes[1].count > 4


@pytest.mark.parametrize("kind", ["kwta", "lwta", "leaky"])
@pytest.mark.parametrize("bias", [False, True])
def test_constant_borders_of_images(kind, bias):
    """A convolution over a constant border, where most positions are equal: the tolerance is varied by 4096."""
    rng = np.random.default_rng(14)
    act, conv = KINDS[kind], nn.Conv2d(1, 4, 3, padding=1, bias=bias)
    model = nn.Sequential(conv, act(), nn.Conv2d(4, 4, 3, padding=1), act(), nn.Flatten(), nn.Linear(4 * 144, 2))
    model = model.double().requires_grad_(False)
    for p in model.parameters():
        p.copy_(0.5 * drawn(rng, *p.shape))
    origin = torch.full((1, 1, 12, 12), 0.3, dtype=torch.float64)
    u, v = torch.zeros_like(origin), torch.zeros_like(origin)
    for direction in (u, v):
        direction[:, :, 4:8, 4:8] = 0.15 * drawn(rng, 4, 4)
    planes = [plane_regions(model, origin, u, v, tolerance=2.0**-p) for p in (34, 40, 46)]
    is_a_partition(planes[1])
    assert len({plane.count for plane in planes}) == 1
    assert planes[0].count > 4


@pytest.mark.parametrize("kind", KINDS)
def test_dead_units_and_degenerate_planes(kind):
    """Units without weights; a plane that is a line, where the regions are strips; one that is a point."""
    rng = np.random.default_rng(15)
    model, (origin, u, v) = network(kind, rng), plane_of(rng)
    strips = plane_regions(model, origin, u, torch.zeros_like(v))
    is_a_partition(strips)
    assert len(strips.edges) == strips.count - 1 > 0
    assert strips.gradients[:, 1].abs().max() == 0
    point = plane_regions(model, origin, 0 * u, 0 * v)
    assert (point.count, point.edges.shape, point.jumps.shape) == (1, (0, 2), (0, 2, 2))
    assert point.areas.tolist() == [1.0]
    model[0].weight[3:9] = 0.0
    model[0].bias[3:9] = 0.0
    is_a_partition(plane_regions(model, origin, u, v))
    for p in model.parameters():
        p.zero_()
    assert plane_regions(model, origin, u, v).count == 1


def test_the_tolerance_merges():
    """Two lines 1e-6 apart are two, and one if the tolerance is larger than that."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()).double().requires_grad_(False)
    model[0].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    model[0].bias.copy_(torch.tensor([-0.5, -0.5 - 1e-6], dtype=torch.float64))
    square = torch.zeros(1, 2), *torch.eye(2)[:, None]
    fine, coarse = plane_regions(model, *square), plane_regions(model, *square, tolerance=1e-4)
    assert fine.count == 3
    assert coarse.count == 2
    assert coarse.units[0].tolist() == [0, 1]
    is_a_partition(coarse)


# The mesh ---------------------------------------------------------------------------------------------------------


def test_a_mesh_cuts_merges_and_straightens():
    mesh = Mesh()
    assert mesh.split(0, [1.0, 2.0, 3.0, 1e-9], 1e-6) is None
    left, right = mesh.split(0, [1.0, -1.0, -1.0, 1.0], 0.0)
    above, below = mesh.split(left, [-0.5, -0.5, 0.5, 0.5], 0.0)
    assert len(mesh.polygons[right]) == 5
    # The ends of the second cut are on the first one and on the border.
    assert mesh.merge({above: "same", below: "same", right: "other"}) == [above, right]
    mesh.straighten()
    assert sorted(map(len, mesh.polygons.values())) == [4, 4]
    assert mesh.merge({above: "same", right: "same"}) == [above]
    mesh.straighten()
    assert sorted(mesh.polygons[above]) == [0, 1, 2, 3]


def test_a_mesh_takes_a_third_change_of_sign_for_rounding():
    mesh = Mesh()
    mesh.split(0, [1.0, -1.0, -1.0, 1.0], 0.0)
    polygon, _ = mesh.split(0, [1.0, 1.0, -1.0, -1.0], 0.0)
    corners = len(mesh.polygons[polygon])
    assert mesh.split(polygon, [1.0, -1e-15, 1e-15, -1.0][:corners], 0.0) is not None
    assert sum(shoelace(torch.from_numpy(mesh.corners(p))) for p in mesh.polygons) == pytest.approx(1.0)


def test_a_mesh_leaves_a_ring_as_it_is():
    """A union with a hole is no polygon."""
    mesh = Mesh()
    for direction in ((1.0, 0.0), (0.0, 1.0)):
        for at in (0.3, 0.6):
            for polygon in list(mesh.polygons):
                mesh.split(polygon, (mesh.corners(polygon) @ direction - at).tolist(), 1e-12)
    assert len(mesh.polygons) == 9
    centre = next(p for p in mesh.polygons if np.allclose(mesh.corners(p).mean(0), 0.45))
    kinds = {p: p == centre for p in mesh.polygons}
    assert sorted(mesh.merge(kinds)) == sorted(mesh.polygons)
    assert len(mesh.polygons) == 9


# Arguments --------------------------------------------------------------------------------------------------------


def test_the_model_is_left_as_it_was_and_computed_in_float64():
    rng = np.random.default_rng(9)
    model, where = network("kwta", rng).float().requires_grad_(True), plane_of(rng)
    before = copy.deepcopy(model.state_dict())
    single = plane_regions(model, *(part.float() for part in where), device="cpu")
    double = plane_regions(copy.deepcopy(model).double(), *(part.float() for part in where))
    assert torch.equal(single.vertices, double.vertices)
    assert torch.equal(single.values, double.values)
    assert single.values.dtype == torch.float64
    assert not single.values.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    assert not model[1]._forward_hooks
    assert "forward" not in vars(model[1])


def test_positions_and_options():
    rng = np.random.default_rng(3)
    model, where = network("kwta", rng), plane_of(rng)
    plane = plane_regions(model, *where)
    assert plane.patterns is None
    assert plane.region_at(torch.tensor([[0.5, 0.5], [1.5, 0.5], [0.0, 1.0], [-1e-3, 0.0]])).sign().tolist()[1] == -1
    assert plane.region_at(torch.tensor([[0.0, 1.0], [-1e-3, 0.0]])).lt(0).tolist() == [False, True]
    with pytest.raises(InvalidArgumentError, match="outside the rectangle"):
        plane.value_at(torch.tensor([[2.0, 0.0]]))
    with pytest.raises(InvalidArgumentError, match=r"layer '[13]' \(KWTA\) makes more than most_regions=2 regions"):
        plane_regions(model, *where, most_regions=2)
    assert plane_regions(model, *where, most_regions=plane.count).count == plane.count
    assert plane_regions(nn.Linear(4, 3), *where).count == 1


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def test_arguments():
    model, (origin, u, v) = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), plane_of(np.random.default_rng(0))
    for arguments, words in (
        (("model", origin, u, v), "model is a str"),
        ((model, origin.numpy(), u, v), "origin is not a tensor"),
        ((model, origin, u.bool(), v), "u is not a tensor"),
        ((model, origin[0], u, v), r"origin has shape \(4,\)"),
        ((model, origin, u, v.repeat(2, 1)), r"v has shape \(2, 4\)"),
        ((model, origin, u, v * torch.nan), "v has NaN or infinity"),
        ((model, origin, u, v[:, :3]), "must be the same"),
        ((nn.Sequential(model, Pair()), origin, u, v), "returned a tuple"),
        ((nn.Sequential(model, nn.Sigmoid()), origin, u, v), r"layer '1' \(Sigmoid\) calls sigmoid"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            plane_regions(*arguments)
    for options, words in (
        ({"a": (1.0, 1.0)}, r"a=\(1.0, 1.0\): the range"),
        ({"b": (1.0, 0.0)}, r"b=\(1.0, 0.0\): the range"),
        ({"a": (0.0, math.inf)}, "a=inf"),
        ({"tolerance": 0}, "tolerance=0"),
        ({"most_regions": 0}, "most_regions=0"),
        ({"device": "nowhere"}, "device='nowhere'"),
    ):
        with pytest.raises(InvalidArgumentError, match=words):
            plane_regions(model, origin, u, v, **options)


def test_an_activation_without_cells_on_planes_is_refused():
    run = _PlanePass(torch.device("cpu"), 1e-12, 10)
    run.modules.append(Module("act", "Strange", True))
    with pytest.raises(InvalidArgumentError, match=r"layer 'act' \(Strange\) has an activation that is treated along"):
        run._rule(object(), 3)
