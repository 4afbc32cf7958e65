"""The regions of a plane by other routes: the regions of lines in it, dense sampling, enumeration by programmes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from region_networks import ACTIVATIONS, convolutional, dense, normal, randomise, sampled_patterns
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection
from torch import nn

from kwta_theory import KWTA, LWTA
from kwta_theory.networks import Architecture, build
from kwta_theory.regions import PlaneRegions, line_regions, plane_regions


def uniform(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


Slice = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def plane_of(seed: int, *shape: int, scale: float = 2.0) -> Slice:
    """A square around a point near the origin, where many units change."""
    u, v = scale * normal(200 + seed, 1, *shape), scale * normal(300 + seed, 1, *shape)
    return 0.3 * normal(100 + seed, 1, *shape) - (u + v) / 2, u, v


def inputs(where: Slice, points: torch.Tensor) -> torch.Tensor:
    origin, u, v = where
    a, b = (part.view(-1, *(1,) * (origin.ndim - 1)) for part in points.T)
    return origin + a * u + b * v


NETWORKS = [(dense, (5,), 2.0), (convolutional, (1, 8, 8), 0.12)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("network", "shape", "scale"), NETWORKS)
def test_chords_have_the_regions_of_lines(network, shape, scale, activation):
    """Along random chords: as many regions, the same breakpoints, limits, slopes, layers and units."""
    met = 0
    for seed in range(2):
        model, where = randomise(network(activation), seed), plane_of(seed, *shape, scale=scale)
        plane = plane_regions(model, *where, patterns=True)
        edge_of = {frozenset(pair): n for n, pair in enumerate(plane.sides.tolist())}
        ends = uniform(seed, 2, 12, 2)
        for line, start, end in zip(
            line_regions(model, *(inputs(where, points) for points in ends), patterns=True), *ends, strict=True
        ):
            at = (line.ends[1:] + line.ends[:-1]) / 2
            region = plane.region_at(start + at[:, None] * (end - start))
            # One region of the line is one of the plane, and the next is another.
            assert bool((region[1:] != region[:-1]).all())
            assert len(region.unique()) == line.count
            for name in plane.layer_names:
                assert plane.patterns is not None
                assert line.patterns is not None
                assert torch.equal(plane.patterns[name][region], line.patterns[name])
            along = (plane.gradients[region] * (end - start).view(1, 2, 1)).sum(1)
            torch.testing.assert_close(along, line.slopes, rtol=1e-9, atol=1e-9)
            for n, (t, left, right) in enumerate(
                zip(line.breakpoints, region[:-1].tolist(), region[1:].tolist(), strict=True)
            ):
                edge = edge_of[frozenset((left, right))]
                p, q = plane.vertices[plane.edges[edge]]
                point = start + t * (end - start)
                part = float(((point - p) @ (q - p)) / ((q - p) @ (q - p)))
                assert -1e-7 < part < 1 + 1e-7
                torch.testing.assert_close(p + part * (q - p), point, rtol=0, atol=1e-9)
                sign = 1.0 if plane.sides[edge, 0] == left else -1.0
                jump = sign * torch.lerp(*plane.jumps[edge], part)
                torch.testing.assert_close(jump, line.jumps[n], rtol=1e-8, atol=1e-8)
                assert plane.layers[edge] == line.layers[n]
                assert torch.equal(plane.units[edge], line.units[n])
                met += 1
    assert met > 80


def test_the_comparison_with_lines_sees_a_wrong_plane():
    """Negative control: the plane of another network, and of the network at another place, on the same chords."""
    model, where = randomise(dense("kwta"), 0), plane_of(0, 5)
    ends = uniform(0, 2, 12, 2)
    lines = line_regions(model, *(inputs(where, points) for points in ends))
    for other, elsewhere in ((randomise(dense("kwta"), 1), where), (model, plane_of(1, 5))):
        plane = plane_regions(other, *elsewhere)
        met = [
            plane.region_at(start + (line.ends[1:, None] + line.ends[:-1, None]) / 2 * (end - start))
            for line, start, end in zip(lines, *ends, strict=True)
        ]
        assert sum(bool((region[1:] == region[:-1]).any()) for region in met) > 6


def agrees_with_sampling(model: nn.Module, where: Slice, points: torch.Tensor) -> PlaneRegions:
    """At every point the pattern is the one in the list, the output is the one in the list."""
    plane = plane_regions(model, *where, patterns=True)
    truth = model(inputs(where, points))
    torch.testing.assert_close(plane.value_at(points), truth, rtol=1e-9, atol=1e-9 * float(truth.abs().max()))
    region = plane.region_at(points)
    assert plane.patterns is not None
    for name, pattern in sampled_patterns(model, inputs(where, points), plane.layer_names).items():
        if isinstance(dict(model.named_modules())[name], nn.MaxPool2d):
            first = (region[:, None] == region).int().argmax(1)  # indices of another kind: the same in each region
            assert torch.equal(pattern, pattern[first])
        else:
            assert torch.equal(pattern, plane.patterns[name][region])
    return plane


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_sampling(activation):
    """100 x 100 points; every region of some size is seen."""
    grid = (torch.arange(100, dtype=torch.float64) + 0.4871) / 100
    points = torch.cartesian_prod(grid, grid)
    for seed in range(2):
        plane = agrees_with_sampling(randomise(dense(activation), seed), plane_of(seed, 5), points)
        seen = torch.bincount(plane.region_at(points), minlength=plane.count)
        assert bool((seen[plane.areas > 4e-3] > 0).all())
        # Each region has its share of the points: those that differ lie within a cell of the grid of its border.
        assert bool(((seen / 1e4 - plane.areas).abs() < 0.06).all())


@pytest.mark.parametrize("activation", ["relu", "kwta", "lwta"])
def test_pooling_and_convolutions_by_sampling(activation):
    agrees_with_sampling(randomise(convolutional(activation), 5), plane_of(5, 1, 8, 8, scale=0.2), uniform(5, 2000, 2))


@pytest.mark.parametrize(("activation", "scale"), [("relu", 0.003), ("kwta-0.1", 0.02), ("lwta-4", 0.01)])
@pytest.mark.parametrize("name", ["smallcnn", "resnet18"])
def test_networks_of_the_package_agree_with_sampling(name, activation, scale):
    """Shortcuts, batch norm, global pooling: on a small piece of a plane."""
    model = build(Architecture(name, activation, image_size=8, width_factor=0.25), seed=3).double().eval()
    model.requires_grad_(False)
    where = uniform(0, 1, 1, 8, 8), scale * normal(1, 1, 1, 8, 8), scale * normal(2, 1, 1, 8, 8)
    plane = agrees_with_sampling(model, where, uniform(6, 200, 2))
    assert plane.count > 4
    assert float(plane.areas.sum()) == pytest.approx(1.0, abs=1e-12)


# Enumeration ------------------------------------------------------------------------------------------------------

Option = tuple[np.ndarray, np.ndarray, np.ndarray]
"""A pattern of a layer: the pattern, rows C and numbers c with ``C z + c >= 0``, the matrix of the outputs."""


def options(layer: nn.Module, size: int) -> Iterator[Option]:
    """All patterns of an activation layer; a pooling has windows of two, one after the other."""
    unit = np.eye(size)
    if isinstance(layer, nn.ReLU):
        for pattern in itertools.product((0, 1), repeat=size):
            yield np.array(pattern), unit * (2 * np.array(pattern) - 1)[:, None], np.diag(pattern)
    elif isinstance(layer, nn.MaxPool1d):
        for places in itertools.product((0, 1), repeat=size // 2):
            first = 2 * np.arange(size // 2)
            taken, left = first + places, first + 1 - places
            yield np.array(places), unit[taken] - unit[left], unit[taken]
    else:
        group = size if isinstance(layer, KWTA) else layer.group_size
        k = int(layer.sparsity_ratio * size + 1e-9) if isinstance(layer, KWTA) else 1
        groups = [range(first, first + group) for first in range(0, size, group)]
        for chosen in itertools.product(*(itertools.combinations(members, k) for members in groups)):
            won = np.isin(np.arange(size), list(itertools.chain(*chosen)))
            rows = [unit[i] - unit[j] for members in groups for i in members for j in members if won[i] and not won[j]]
            yield won.astype(int), np.array(rows), np.diag(won.astype(float))


def matrix_of(module: nn.Module, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """The matrix and the constant of an affine layer."""
    size = int(np.prod(shape))
    out = module(torch.cat([torch.zeros(1, size), torch.eye(size)]).double().view(-1, *shape))
    numbers = out.flatten(1).numpy()
    return (numbers[1:] - numbers[0]).T, numbers[0], tuple(out.shape[1:])


def enumerated(model: nn.Sequential, where: Slice) -> dict[tuple[bytes, ...], float]:
    """The area of every combination of patterns, by a linear programme and the intersection of its half-planes."""
    found: dict[tuple[bytes, ...], float] = {}

    def area(rows: np.ndarray) -> float:
        """Of ``rows . (a, b, 1) >= 0``; zero if no disc of radius 1e-9 fits in."""
        length = np.linalg.norm(rows[:, :2], axis=1)
        if bool((rows[length == 0, 2] < 0).any()):
            return 0.0
        rows, length = rows[length > 0], length[length > 0]
        disc = linprog([0, 0, -1], np.column_stack([-rows[:, :2], length]), rows[:, 2], bounds=[(None, None)] * 3)
        if disc.status == 2 or disc.x[2] < 1e-9:
            return 0.0
        return float(ConvexHull(HalfspaceIntersection(-rows, disc.x[:2]).intersections).volume)

    def go(depth: int, shape: tuple[int, ...], now: np.ndarray, rows: np.ndarray, met: tuple[bytes, ...]) -> None:
        while depth < len(model) and not isinstance(model[depth], nn.ReLU | KWTA | LWTA | nn.MaxPool1d):
            matrix, constant, shape = matrix_of(model[depth], shape)
            now = matrix @ now
            now[:, 2] += constant
            depth += 1
        if depth == len(model):
            found[met] = area(rows)
            return
        layer = model[depth]
        after = tuple(layer(torch.zeros(1, *shape).double()).shape[1:])
        for pattern, conditions, output in options(layer, len(now)):
            more = np.concatenate([rows, conditions @ now])
            if area(more) > 0:
                go(depth + 1, after, output @ now, more, (*met, pattern.astype(np.int64).tobytes()))

    start = np.stack([part.flatten().numpy() for part in (where[1], where[2], where[0])], axis=1)
    square = np.array([[1.0, 0, 0], [-1.0, 0, 1], [0, 1.0, 0], [0, -1.0, 1]])
    go(0, tuple(where[0].shape[1:]), start, square, ())
    return found


SMALL = {
    "relu": lambda: nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)),
    "kwta": lambda: nn.Sequential(nn.Linear(3, 6), KWTA(0.34), nn.Linear(6, 5), KWTA(0.4), nn.Linear(5, 1)),
    "one winner": lambda: nn.Sequential(nn.Linear(3, 8), KWTA(0.125), nn.Linear(8, 8), KWTA(0.125), nn.Linear(8, 1)),
    "lwta": lambda: nn.Sequential(nn.Linear(3, 6), LWTA(3), nn.Linear(6, 6), LWTA(2), nn.Linear(6, 1)),
    "pooling": lambda: nn.Sequential(
        nn.Linear(3, 12), nn.Unflatten(1, (2, 6)), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 5), nn.ReLU()
    ),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 2, 2), KWTA(0.25), nn.Conv2d(2, 4, 2), nn.ReLU(), nn.Flatten()
    ),
}


@pytest.mark.parametrize("kind", SMALL)
def test_equal_to_enumeration(kind):
    """Every combination of patterns of all layers: the same ones exist, with the same area."""
    total = 0
    for seed in range(2):
        model, where = randomise(SMALL[kind](), seed), plane_of(seed, 9 if kind == "convolution" else 3, scale=3.0)
        plane = plane_regions(model, *where, patterns=True)
        assert plane.patterns is not None
        keys = zip(*([p.long().numpy().tobytes() for p in layer] for layer in plane.patterns.values()), strict=True)
        found = dict(zip(keys, plane.areas.tolist(), strict=True))
        expected = enumerated(model, where)
        # The patterns of all layers together hold on one convex polygon, so each combination is met once.
        assert len(found) == plane.count
        assert found.keys() == expected.keys()
        assert [found[key] for key in expected] == pytest.approx(list(expected.values()), rel=1e-6, abs=1e-12)
        total += plane.count
    assert total > 12
