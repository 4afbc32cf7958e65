"""Nets and packings of the sphere: known coverings, exact covering radii, and the inequality behind the lower bound."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.spatial import ConvexHull

from kwta_theory import theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.statements import lemma_6
from kwta_theory.theory import codes, nets


def covering_radius(points):
    """The farthest distance of the sphere from the points: the emptiest caps stand on the facets of the hull."""
    heights = -ConvexHull(points).equations[:, -1]
    return math.sqrt(2.0 - 2.0 * heights.min())


@pytest.mark.parametrize("distance", [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.99, 1.2])
def test_constructed_nets_reach_every_point(distance):
    sphere = nets.sphere_net(3, distance)
    assert np.allclose(np.linalg.norm(sphere, axis=1), 1.0, rtol=0, atol=1e-15)
    assert covering_radius(sphere) <= distance + 1e-12
    assert len(nets.sphere_net(1, distance)) == 2
    polygon = nets.sphere_net(2, distance)
    count = len(polygon)
    assert 2 * math.sin(math.pi / (2 * count)) <= distance + 1e-15 < 2 * math.sin(math.pi / (2 * (count - 1)))


@pytest.mark.parametrize("distance", [0.1, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("input_dim", [1, 2, 3])
def test_bounds_around_the_constructed_nets(input_dim, distance):
    size = math.log(len(nets.sphere_net(input_dim, distance)))
    assert nets.log_net_lower_bound(input_dim, distance) <= size + 1e-12
    assert size <= input_dim * math.log1p(2 / distance)


def known_coverings():
    yield "octahedron", codes.cross_polytope(3), math.acos(1 / math.sqrt(3))
    yield "icosahedron", codes.icosahedron(), math.radians(37.3773681)
    yield "16-cell", codes.cross_polytope(4), math.pi / 3
    yield "24-cell", codes.root_system_d(4), math.pi / 4
    yield "600-cell", codes.cell_600(), math.radians(22.2387561)
    for d in (3, 4, 5, 6):
        yield f"simplex {d}", codes.simplex(d), math.acos(1 / d)


@pytest.mark.parametrize(("name", "points", "angle"), list(known_coverings()))
def test_known_coverings_are_above_the_lower_bound(name, points, angle):
    distance = 2 * math.sin(angle / 2)
    assert math.isclose(covering_radius(points), distance, abs_tol=1e-7)
    d = points.shape[1]
    assert nets.log_net_lower_bound(d, distance) <= math.log(len(points))
    # Negative control: three times the bound would rule the coverings with smaller caps out.
    assert angle > 1.2 or nets.log_net_lower_bound(d, distance) + math.log(3.0) > math.log(len(points))


def test_the_simplex_bound_on_spherical_triangles():
    """Girard: angles and areas of random triangles against the right side at their own circumradius."""
    generator = np.random.default_rng(np.random.SeedSequence(1))
    checked, closest = 0, math.inf
    for _ in range(3000):
        v = generator.standard_normal(3) + generator.uniform(0.02, 2) * generator.standard_normal((3, 3))
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        normal = np.linalg.solve(v, np.ones(3))
        height = 1 / np.linalg.norm(normal)  # of the plane of the corners: cos(circumradius)
        angles = []
        for i in range(3):
            p, q = (v[(i + s) % 3] - (v[(i + s) % 3] @ v[i]) * v[i] for s in (1, 2))
            angles.append(math.acos(np.clip(p @ q / np.linalg.norm(p) / np.linalg.norm(q), -1, 1)))
        excess = sum(angles) - math.pi
        if excess < 1e-6 or height < 0.1:
            continue
        checked += 1
        ratio = math.log(sum(angles) / (2 * math.pi)) - math.log(excess / (4 * math.pi))
        closest = min(closest, ratio - lemma_6.log_simplex_bound(3, math.sqrt(2 - 2 * height)))
    assert checked > 2000
    assert -1e-9 < closest < 0.05  # attained by small regular triangles, so that 5 % more would be refuted


def solid_angle(corner, others):
    """Van Oosterom and Strackee, over 4 pi."""
    a, b, c = ((x - corner) / np.linalg.norm(x - corner) for x in others)
    value = 2 * math.atan2(abs(np.dot(a, np.cross(b, c))), 1 + a @ b + b @ c + c @ a)
    return value / (4 * math.pi)


def test_regular_tetrahedra_have_the_least_angle_for_their_volume():
    """The Euclidean inequality in three dimensions, which the integral J_3 gives as the limit of small nets."""
    generator = np.random.default_rng(np.random.SeedSequence(2))
    regular = codes.simplex(3)

    def ratio(corners):
        volume = abs(np.linalg.det(corners[1:] - corners[0])) / 6
        return sum(solid_angle(x, np.delete(corners, i, axis=0)) for i, x in enumerate(corners)) / volume

    best = ratio(regular)
    for spread in generator.uniform(0.01, 2, 1000):
        corners = regular + spread * generator.standard_normal((4, 3))
        assert ratio(corners / np.linalg.norm(corners, axis=1, keepdims=True)) >= best * (1 - 1e-12)
    # N caps of a small angle t: N = best * (2 pi^2) / t^3, the sphere in R^4 having the area 2 pi^2.
    t = 1e-4
    assert math.isclose(lemma_6.log_simplex_bound(4, t), math.log(best * 2 * math.pi**2 / t**3), abs_tol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_integral_and_its_bound(n):
    integrand = lambda *x: math.exp(-(sum(t * t for t in x) + sum(x) ** 2) / 2)  # noqa: E731
    exact = integrate.nquad(integrand, [(0, 12)] * n, opts={"epsabs": 1e-6, "epsrel": 1e-6})[0]
    bound = nets._log_simplex_integral(n)
    assert math.log(exact) - 0.2 < bound <= math.log(exact) + 1e-9
    # The contour integral has the same factors around it, so its surplus is that of the integral.
    factors = lemma_6.log_simplex_bound(n + 1, 1e-3) - math.log(exact)
    other = math.log(2 * math.sqrt(math.pi)) + math.lgamma(n + 2) - math.lgamma((n + 1) / 2)
    edge = 2 * (n + 1) / n * 1e-6 * (1 - 2.5e-7)
    other += (n + 1) * math.log1p(-5e-7) - n / 2 * math.log(edge)
    assert math.isclose(factors, other, abs_tol=1e-5)


def test_known_simplex_densities():
    """Caps of angle t -> 0: 2 pi/(3 sqrt 3) in the plane, the tetrahedron's in space, n/e^1.5 in high dimensions."""
    t = 1e-6
    density = {
        n: math.exp(lemma_6.log_simplex_bound(n + 1, t) + float(nets._log_fraction_below(n + 1, t)))
        for n in (1, 2, 3, 10_000)
    }
    tetrahedron = 4 / 3 * (3 * math.acos(1 / 3) - math.pi) / ((8 / 3) ** 1.5 / (6 * math.sqrt(2)))
    assert math.isclose(density[1], 1.0, rel_tol=1e-9)
    assert math.isclose(density[2], 2 * math.pi / (3 * math.sqrt(3)), rel_tol=1e-9)
    assert math.isclose(density[3], tetrahedron, rel_tol=1e-9)
    assert math.isclose(density[10_000], 10_000 / math.exp(1.5), rel_tol=1e-3)


def test_the_bounded_and_the_computed_integral_in_high_dimensions():
    for d in (4, 25, 100, 784, 10_000):
        surplus = lemma_6.log_simplex_bound(d, 1 / (d - 1)) - nets.log_net_lower_bound(d, 1 / (d - 1))
        assert 0 < surplus < 0.17  # 1/2 - log(2)/2 = 0.153 for large d


@given(st.integers(1, 5000), st.floats(1e-6, 1.4))
@settings(deadline=None, max_examples=200)
def test_the_bounds_are_in_order_and_the_area_bound_is_below(d, distance):
    low, high = nets.log_net_lower_bound(d, distance), nets.log_net_upper_bound(d, distance)
    assert low <= high + 1e-9 * abs(high)
    assert high <= d * math.log1p(2 / distance) + 1e-9
    if distance > 1e-5:
        area = -theory.log_cap_fraction(d, 1 - distance**2 / 2)
        # 1 - distance^2/2 is rounded: the cosine has a relative error of 1e-16/distance^2 in the angle.
        assert high >= area - 1e-9 * abs(area) - d * 4e-16 / distance**2


@given(st.integers(2, 2000), st.floats(1e-3, 1.5))
@settings(deadline=None, max_examples=200)
def test_the_leading_term_is_below_the_cap(d, angle):
    exact = theory.log_cap_fraction(d, math.cos(angle))
    assert nets._log_fraction_below(d, angle) <= exact + 1e-9 * (1 + abs(exact))
    assert exact <= nets._log_fraction_below(d, angle) - math.log(math.cos(angle)) + 1e-9 * (1 + abs(exact))


def test_random_caps_with_a_repair_by_trying():
    """The argument itself on the circle and the sphere: the repaired set is a net, and it is small on average."""
    generator = np.random.default_rng(np.random.SeedSequence(3))
    for d in (2, 3):
        theta, eta = 0.6, 0.2
        fine = nets.sphere_net(d, 2 * math.sin(eta / 2))
        fraction = math.exp(theory.log_cap_fraction(d, math.cos(theta - eta)))
        count = math.ceil(math.log(len(fine) * fraction) / fraction)
        sizes = []
        for _ in range(200):
            points = generator.standard_normal((count, d))
            points /= np.linalg.norm(points, axis=1, keepdims=True)
            missed = fine[(fine @ points.T).max(axis=1) < math.cos(theta - eta)]
            net = np.vstack([points, missed])
            if d == 3:
                assert covering_radius(net) <= 2 * math.sin(theta / 2) + 1e-12
            sizes.append(len(net))
        expected = count + len(fine) * (1 - fraction) ** count
        # Uncovered points are clustered: a standard deviation of a few points, 200 draws; a bias of 10 % would show.
        z = (np.mean(sizes) - expected) / (np.std(sizes, ddof=1) / math.sqrt(200))
        assert abs(z) < 4.6
        wrong = count + len(fine) * (1 - fraction / 2) ** count
        assert abs(np.mean(sizes) - wrong) / (np.std(sizes, ddof=1) / math.sqrt(200)) > 4.6


def test_where_the_printed_size_is_false():
    for d in (*range(25, 200), 784, 3072, 10_000):
        assert nets.log_net_lower_bound(d, 1 / (d - 1)) > nets.log_printed_net_size(d, 1 / (d - 1)) + 1e-3
    for d in range(19, 25):  # with the integral computed
        assert lemma_6.log_simplex_bound(d, 1 / (d - 1)) > nets.log_printed_net_size(d, 1 / (d - 1)) + 1e-3
    for d in range(2, 19):
        ratios = [
            lemma_6.log_simplex_bound(d, x) - nets.log_printed_net_size(d, x) for x in np.geomspace(1e-3, 0.9, 99)
        ]
        assert max(ratios) < 0


@pytest.mark.parametrize("d", [16, 32, 100, 784, 3072])
def test_where_the_printed_size_is_true(d):
    for distance in np.linspace(11 / d, 0.999, 50):
        assert nets.log_net_upper_bound(d, distance) < nets.log_printed_net_size(d, distance)
    assert nets.log_net_upper_bound(d, 1e-12) < nets.log_printed_net_size(d, 1e-12)


def test_errors_of_nets():
    with pytest.raises(InvalidArgumentError, match="input_dim=0"):
        nets.log_net_upper_bound(0, 0.5)
    with pytest.raises(InvalidArgumentError, match=r"distance=1\.5"):
        nets.log_net_lower_bound(3, 1.5)
    with pytest.raises(InvalidArgumentError, match=r"distance=0\.0"):
        nets.log_printed_net_size(3, 0.0)
    with pytest.raises(InvalidArgumentError, match="input_dim=4 is not allowed: nets are constructed"):
        nets.sphere_net(4, 0.5)
    with pytest.raises(InvalidArgumentError, match=r"distance=1e-05"):
        nets.sphere_net(2, 1e-5)


@pytest.mark.parametrize(
    ("points", "count", "cosine"),
    [
        (codes.regular_polygon(7), 7, math.cos(2 * math.pi / 7)),
        (codes.simplex(5), 6, -1 / 5),
        (codes.cross_polytope(6), 12, 0.0),
        (codes.icosahedron(), 12, 1 / math.sqrt(5)),
        (codes.root_system_d(5), 40, 0.5),
        (codes.cell_600(), 120, math.cos(math.pi / 5)),
        (codes.root_system_e8(), 240, 0.5),
    ],
)
def test_codes_have_their_known_sizes_and_cosines(points, count, cosine):
    assert len(points) == count
    assert np.allclose(np.linalg.norm(points, axis=1), 1.0, rtol=0, atol=1e-14)
    assert math.isclose(codes.largest_cosine(points), cosine, abs_tol=1e-14)
    brute = max(float(p @ q) for p, q in itertools.combinations(points, 2))
    assert math.isclose(brute, cosine, abs_tol=1e-14)


def test_codes_that_fit():
    names = [name for name, _ in codes.constructed(8, 0.5)]
    assert names == ["simplex", "cross-polytope", "regular polygon", "icosahedron", "E8", "24-cell"]
    assert "600-cell" in [name for name, _ in codes.constructed(4, 0.81)]
    assert [name for name, _ in codes.constructed(1, 0.3)] == ["simplex", "cross-polytope"]
    with pytest.raises(InvalidArgumentError, match=r"cosine=1\.0"):
        codes.constructed(3, 1.0)
    with pytest.raises(InvalidArgumentError, match="corners=0"):
        codes.regular_polygon(0)
    with pytest.raises(InvalidArgumentError, match="input_dim=1"):
        codes.root_system_d(1)
    with pytest.raises(InvalidArgumentError, match="input_dim=0"):
        codes.simplex(0)
    with pytest.raises(InvalidArgumentError, match="input_dim=0"):
        codes.cross_polytope(0)
