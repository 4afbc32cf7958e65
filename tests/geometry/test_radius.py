"""The bracket of the radius: other routes to the same number, the laws it obeys, and its evidence."""

from __future__ import annotations

import ast
import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.geometry import (
    EFFORTS,
    BoxCertificate,
    CertificationError,
    PatternCell,
    ProductCertificate,
    VertexCertificate,
    check_certificate,
    enumeration,
    pattern_cell,
    programmes,
    radius,
    relaxation,
)


def cell_of(width: int, input_dim: int, k: int, seed: int = 0, *, bias: bool = False) -> PatternCell:
    """Biases are large, for otherwise the winners lead ever more along ``x`` and the cell is unbounded."""
    rng = np.random.default_rng([seed, width, input_dim])
    weight, x = rng.standard_normal((width, input_dim)), rng.standard_normal(input_dim)
    return pattern_cell(weight, x, k, 2.0 * rng.standard_normal(width) if bias else None)


@pytest.fixture
def no_vertices(monkeypatch):
    monkeypatch.setattr(enumeration, "LARGEST_INPUT_DIM", 0)


def distance(cell: PatternCell, point: np.ndarray) -> float:
    """By definition, in floating point."""
    if cell.bias is not None:
        return float(np.linalg.norm(point - cell.x))
    unit = cell.x / np.linalg.norm(cell.x)
    along = point @ unit
    return float(np.linalg.norm(point / along - unit))


def is_inside(cell: PatternCell, point: np.ndarray) -> bool:
    """k winners take all by sorting fractions over all rows, without a filter."""
    sets = []
    for x in (cell.x, point):
        values = [
            sum(Fraction(w) * Fraction(v) for w, v in zip(row, x.tolist(), strict=True)) for row in cell.weight.tolist()
        ]
        if cell.bias is not None:
            values = [value + Fraction(offset) for value, offset in zip(values, cell.bias.tolist(), strict=True)]
        sets.append(set(sorted(range(len(values)), key=lambda row: (-values[row], row))[: cell.k]))
    return sets[0] == sets[1]


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("seed", range(5))
def test_in_two_dimensions_the_radius_is_the_farther_of_two_boundaries(seed, effort):
    cell = cell_of(100, 2, 10, seed)
    found = cell.radius(effort=effort)
    way = np.array([-cell.x[1], cell.x[0]])
    truth = cell.boundary_along([way, -way]).max()
    assert found.lower <= truth * (1 + 1e-12)
    assert found.upper >= truth * (1 - 1e-12)
    assert found.ratio < 1 + 1e-9


@pytest.mark.parametrize("bias", [False, True])
def test_in_few_dimensions_the_radius_is_that_of_a_fine_grid_of_directions(bias):
    """20,000 angles: the farthest of them is short of a corner by at most (angle step) * R / tan(corner angle / 2)."""
    cell = cell_of(60, 2 if bias else 3, 8, seed=4, bias=bias)
    angles = np.linspace(0, 2 * np.pi, 20_001)
    basis = np.eye(2) if bias else np.linalg.svd(cell.x[None])[2][1:]
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ basis
    truth = cell.boundary_along(directions).max()
    found = cell.radius()
    assert truth <= found.upper
    assert found.lower == pytest.approx(truth, rel=3e-3)
    assert found.ratio < 1 + 1e-9
    assert isinstance(found.certificate, VertexCertificate)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("input_dim", [3, 4, 5, 6])
def test_every_route_brackets_what_the_vertices_give(input_dim, bias, no_vertices, monkeypatch):
    cell = cell_of(60 * input_dim, input_dim, 6 * input_dim, seed=1, bias=bias)
    brackets = {effort: cell.radius(effort=effort) for effort in EFFORTS}
    monkeypatch.undo()
    exact = cell.radius()
    assert exact.ratio < 1 + 1e-9
    for found in brackets.values():
        assert found.lower <= exact.upper
        assert exact.lower <= found.upper
    assert isinstance(brackets["box"].certificate, BoxCertificate)
    if brackets["relaxation"].upper < brackets["box"].upper:  # the box is exact where one vertex is extreme in all axes
        assert isinstance(brackets["relaxation"].certificate, ProductCertificate)
    assert brackets["box"].upper >= brackets["relaxation"].upper >= brackets["branching"].upper * (1 - 1e-3)
    assert brackets["branching"].ratio < 1.0011


def test_more_effort_gives_a_tighter_bracket():
    """In 12 dimensions, where the relaxation of the whole cell is not exact and vertices are not listed."""
    cell = cell_of(1000, 12, 100)
    box, whole, pieces = (cell.radius(effort=effort) for effort in EFFORTS)
    assert pieces.ratio < 1.0011 < whole.ratio < 1.1 < box.ratio
    for found in (box, whole, pieces):
        assert check_certificate(cell, found.certificate) == found.upper
        assert is_inside(cell, found.witness)
        assert distance(cell, found.witness) == pytest.approx(found.lower, rel=1e-12)
        low, high = found.beta
        assert Fraction(low) <= Fraction(found.lower) ** 2
        assert Fraction(found.upper) ** 2 <= Fraction(high)
    assert cell.radius(effort="box", seed=1).upper == box.upper


def test_directions_drawn_at_random_do_not_see_the_radius():
    """MATH.md, section 4: 2,000 directions stay far below a witness, so they are no check of "for all"."""
    cell = cell_of(1000, 16, 100)
    seen = cell.boundary_along(np.random.default_rng(0).standard_normal((2000, 16))).max()
    assert seen < cell.radius(effort="box").lower / 2


@pytest.mark.parametrize(("input_dim", "width"), [(48, 3000), (8, 5000)])
def test_many_dimensions_and_a_wide_layer_take_the_box(input_dim, width):
    cell = cell_of(width, input_dim, width // 10)
    found = cell.radius(effort="box")
    assert 0 < found.lower < found.upper < 10 * found.lower
    assert is_inside(cell, found.witness)


def test_what_is_left_out_changes_nothing(monkeypatch):
    """Constraint generation against all rows at once."""
    cell = cell_of(800, 7, 80)
    few = cell.radius(effort="box")
    monkeypatch.setattr(programmes, "_PER_DIM", 1000)
    everything = cell.radius(effort="box")
    assert len(everything.certificate.rows) == 800
    assert len(few.certificate.rows) < 200
    assert few.upper == pytest.approx(everything.upper, rel=1e-6)
    assert few.lower == pytest.approx(everything.lower, rel=1e-6)


def test_small_cells_of_wide_layers_keep_their_digits():
    """Radius about 1e-5, so squares are 1e-10: the bracket stays exact, because its check is."""
    found = cell_of(100_000, 3, 10_000).radius()
    assert 0 < found.lower < 1e-3
    assert found.ratio < 1 + 1e-9


@pytest.mark.parametrize("effort", EFFORTS)
def test_one_dimension(effort):
    found = pattern_cell([[1.0], [2.0], [-1.0]], [0.5], 1).radius(effort=effort)
    assert (found.lower, found.upper, found.ratio, found.beta) == (0.0, 0.0, 1.0, (0.0, 0.0))
    assert not found.unbounded
    # with biases: 2 x + 0, x + 1, -x + 3; the third leads for x < 1, the first above
    biased = pattern_cell([[2.0], [1.0], [-1.0]], [0.5], 1, [0.0, 1.0, 3.0]).radius(effort=effort)
    assert biased.unbounded


# laws


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10**6), st.integers(-30, 30), st.integers(-30, 30))
def test_scaling_changes_nothing_and_a_rotation_only_rounding(input_dim, seed, scale, other_scale):
    cell = cell_of(150, input_dim, 20, seed)
    found = cell.radius()
    scaled = pattern_cell(cell.weight * 2.0**scale, cell.x * 2.0**other_scale, cell.k).radius()
    assert scaled.lower == pytest.approx(found.lower, rel=1e-8)
    assert scaled.upper == pytest.approx(found.upper, rel=1e-8)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((input_dim, input_dim)))[0]
    turned = pattern_cell(cell.weight @ turn.T, turn @ cell.x, cell.k).radius()
    assert turned.upper == pytest.approx(found.upper, rel=1e-8)
    assert turned.lower == pytest.approx(found.lower, rel=1e-8)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6), st.booleans())
def test_a_permutation_of_the_rows_changes_indices_only(input_dim, seed, bias):
    cell = cell_of(80, input_dim, 10, seed, bias=bias)
    order = np.random.default_rng(seed).permutation(80)
    other = pattern_cell(cell.weight[order], cell.x, cell.k, cell.bias[order] if bias else None)
    assert (other.winners == cell.winners[order]).all()
    first, second = cell.radius(), other.radius()
    assert second.unbounded == first.unbounded
    if not first.unbounded:
        assert second.upper == pytest.approx(first.upper, rel=1e-8)
        assert set(order[other.active_rows()].tolist()) == set(cell.active_rows().tolist())
    assert other.nearest_boundary().distance == pytest.approx(cell.nearest_boundary().distance, rel=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10**6), st.booleans())
def test_rows_that_cut_the_cell_shrink_it(input_dim, seed, winner):
    """A loser (or winner) is added that ties with the threshold half-way to the witness: the witness is lost."""
    cell = cell_of(100, input_dim, 10, seed)
    found = cell.radius()
    middle = (cell.x / np.linalg.norm(cell.x) + found.witness / (cell.x @ found.witness) * np.linalg.norm(cell.x)) / 2
    outputs, at_x = cell.weight @ middle, cell.outputs
    threshold = (outputs[cell.winners].min() + outputs[~cell.winners].max()) / 2
    height = (at_x[cell.winners].min() + at_x[~cell.winners].max()) / 2
    # w . x = height - margin and w . middle = threshold: on the threshold's side of x, beyond it after the middle
    margin = 1e-3 if winner else -1e-3
    pair = np.stack([cell.x, middle])
    row = np.linalg.lstsq(pair, np.array([height + margin, threshold]), rcond=None)[0]
    if not 0 < abs(margin) < at_x[cell.winners].min() - height:
        return
    more = pattern_cell(np.vstack([cell.weight, row]), cell.x, cell.k + winner)
    assert bool(more.winners[-1]) == winner
    assert more.radius().upper <= found.upper * (1 + 1e-9)
    assert not more.contains(found.witness) or more.radius().upper >= found.lower * (1 - 1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 9), st.integers(0, 10**6), st.booleans(), st.sampled_from(EFFORTS))
def test_every_point_found_inside_is_within_the_bracket(input_dim, seed, bias, effort):
    """Points of the cell by random directions and by their segments have the pattern and are not beyond the bound."""
    cell = cell_of(40 * input_dim, input_dim, 4 * input_dim, seed, bias=bias)
    found = cell.radius(effort=effort)
    if found.unbounded:
        assert cell.allows_ray(found.ray)
        for far in (1.0, 1e3, 1e6):
            assert is_inside(cell, cell.x + far * found.ray)
        return
    assert is_inside(cell, found.witness)
    assert found.lower <= found.upper
    distances = cell.boundary_along(np.random.default_rng(seed).standard_normal((50, input_dim)))
    assert distances.max() <= found.upper * (1 + 1e-9)
    for share in (0.25, 0.5, 0.75):
        assert is_inside(cell, cell.x + share * (found.witness - cell.x))


# evidence


def test_a_witness_moved_outwards_is_caught():
    cell = cell_of(500, 8, 50)
    found = cell.radius()
    assert cell.contains(found.witness)
    assert not cell.contains(cell.x + (found.witness - cell.x) * (1 + 1e-6))
    # a point that fails is moved towards the centre until it passes, never reported
    lower, witness = radius._checked(cell, cell.x, [cell.x + (found.witness - cell.x) * (1 + 1e-12)])
    assert cell.contains(witness)
    assert lower == pytest.approx(found.lower, rel=1e-9)
    assert radius._checked(cell, cell.x, [np.full(8, np.nan)])[0] == 0.0


def _damaged(values: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    halved, negated, shuffled, noisy = values * 0.5, -values, values.copy(), values * rng.uniform(0, 2, values.shape)
    rng.shuffle(shuffled.reshape(-1))
    lost = values.copy()
    lost.reshape(-1)[np.argmax(values)] = 0.0
    broken = values.copy()
    broken.reshape(-1)[np.argmax(values)] = np.nan
    return [halved, negated, shuffled, noisy, lost, broken, np.zeros_like(values), values * 1.01]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_certificate_does_not_prove_less_than_the_truth(seed, bias, no_vertices, monkeypatch):
    """The truth by vertices. Every damage keeps the bound valid; those that matter make it worse or infinite."""
    cell = cell_of(200, 4, 20, seed, bias=bias)
    rng = np.random.default_rng(seed)
    box, products = (cell.radius(effort=effort).certificate for effort in ("box", "branching"))
    monkeypatch.undo()
    truth = cell.radius()
    seen = []
    seen += [check_certificate(cell, BoxCertificate(box.rows, each)) for each in _damaged(box.multipliers, rng)]
    leaf = products.tree
    while not isinstance(leaf, relaxation.Leaf):
        leaf = leaf.above
    for multipliers in _damaged(leaf.multipliers, rng):
        damaged = _replaced(products.tree, leaf, relaxation.Leaf(multipliers))
        seen.append(check_certificate(cell, ProductCertificate(products.rows, damaged)))
    seen.append(check_certificate(cell, ProductCertificate(products.rows[::-1], products.tree)))
    seen.append(check_certificate(cell, BoxCertificate(box.rows[::-1], box.multipliers)))
    assert min(seen) >= truth.lower
    assert math.isinf(max(seen))


def _replaced(tree, leaf, other):
    if tree is leaf:
        return other
    if isinstance(tree, relaxation.Split):
        return relaxation.Split(tree.cut, _replaced(tree.above, leaf, other), _replaced(tree.below, leaf, other))
    return tree


def test_damaged_vertices_prove_nothing():
    cell = cell_of(200, 4, 20)
    found = cell.radius().certificate
    rows, tight, slack = found.rows, found.tight, found.slack
    exact = check_certificate(cell, found)
    assert math.isfinite(exact)
    swapped = tight.copy()
    swapped[0, 0] = next(row for row in range(len(rows)) if row not in tight[0])
    for damaged in (tight[1:], tight[:0], swapped, np.vstack([tight, tight[:1]]), tight[:, 1:], tight * 0):
        assert check_certificate(cell, VertexCertificate(rows, damaged, slack)) == math.inf
    assert check_certificate(cell, VertexCertificate(rows[::-1], tight, slack)) >= exact
    assert check_certificate(cell, VertexCertificate(rows, tight, slack - 1.0)) == exact  # negative: set to zero
    farther = check_certificate(cell, VertexCertificate(rows, tight, slack + 1e-9))
    assert exact < farther < exact * 1.001
    # of a part of the vertices the farthest may be missing: the check would have believed it without the edges
    assert check_certificate(cell, VertexCertificate(rows, tight[: len(tight) // 2], slack)) == math.inf


def test_certificates_that_do_not_fit_are_refused():
    cell = cell_of(200, 4, 20)
    box = cell.radius(effort="box").certificate
    vertices = cell.radius().certificate
    for certificate, sentence in (
        (None, "certificate is a NoneType: it must be"),
        (BoxCertificate(box.rows + 200, box.multipliers), "certificate.rows must be a list of row numbers"),
        (BoxCertificate(box.rows, box.multipliers[:, 1:]), "multipliers of shape"),
        (VertexCertificate(vertices.rows, vertices.tight[0], vertices.slack), "certificate.tight must be a table"),
        (VertexCertificate(vertices.rows, vertices.tight, vertices.slack[1:]), "multipliers of shape"),
        (ProductCertificate(box.rows, relaxation.Leaf(np.eye(2))), "multipliers of shape"),
        (
            ProductCertificate(
                box.rows, relaxation.Split(np.ones(2), relaxation.Leaf(np.eye(2)), relaxation.Leaf(np.eye(2)))
            ),
            "a cut that is not 5 finite numbers",
        ),
    ):
        with pytest.raises(InvalidArgumentError, match=sentence):
            check_certificate(cell, certificate)


def test_the_check_has_no_part_in_the_solvers(monkeypatch):
    """A solver that answers nonsense can only lose the bound."""
    cell = cell_of(1000, 8, 100)
    truth = cell.radius(effort="branching")

    def nonsense(rows, start, entries, tolerance, enough):
        return relaxation.Solution(np.outer(start, start), np.full((len(rows), len(rows)), 1e-3))

    monkeypatch.setattr(relaxation, "solve", nonsense)
    found = cell.radius()
    assert found.upper >= truth.lower
    assert found.upper > 1.1 * truth.upper


# cells that are not of the usual kind


def octahedron() -> PatternCell:
    """``|u_1| + |u_2| + |u_3| <= 1``: four facets meet in every corner, and R = 1."""
    losers = [[0.0, *signs] for signs in itertools.product([-1.0, 1.0], repeat=3)]
    return pattern_cell([[1.0, 0.0, 0.0, 0.0], *losers], [1.0, 0.0, 0.0, 0.0], 1)


def test_a_degenerate_cell_is_bracketed_with_rows_moved_outwards():
    found = octahedron().radius()
    assert found.lower <= 1.0 <= found.upper
    assert found.ratio < 1 + 1e-7
    assert isinstance(found.certificate, VertexCertificate)
    assert (found.certificate.slack > 0).all()
    assert len(octahedron().vertices()) == 6


def test_unbounded_cells_are_said_to_be():
    """A quarter of the plane: 90 degrees are reached only at 45 degrees more; and a half-plane."""
    open_cone = pattern_cell([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], 1).radius()
    assert open_cone.unbounded
    assert (open_cone.lower, open_cone.upper, open_cone.ratio) == (math.inf, math.inf, 1.0)
    assert open_cone.witness is None
    assert open_cone.certificate is None
    assert open_cone.beta == (math.inf, math.inf)
    few = cell_of(20, 16, 4)  # few rows in many dimensions
    found = few.radius(effort="box")
    assert found.unbounded
    assert few.allows_ray(found.ray)


def test_units_without_weights_on_both_sides_do_not_hide_an_unbounded_cell():
    """Two dead units, one ahead by its bias and one behind: 0.5 >= tau >= -0.5, and the others part to the right."""
    weight = [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [-1.0, 0.1], [-1.0, -0.1]]
    found = pattern_cell(weight, [2.0, 0.0], 2, [0.5, -0.5, 0.0, 0.0, 0.0]).radius()
    assert found.unbounded
    closed = pattern_cell([*weight, [1.0, 0.0]], [2.0, 0.0], 2, [0.5, -0.5, 0.0, 0.0, 0.0, -5.0]).radius()
    assert not closed.unbounded
    assert closed.upper == closed.lower == math.inf or closed.upper < math.inf
    two = [[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.1]]  # tau is fixed twice: no ray has room
    assert pattern_cell(two, [2.0, 0.0], 2, [0.5, -0.5, 0.0, -3.0, 0.0]).radius().upper == math.inf


@pytest.mark.parametrize("scale", [1e-40, 1e40])
def test_pieces_keep_their_digits_at_any_scale(scale):
    """Multipliers of rows and of constants have different units: each is rounded in its own."""
    cell = cell_of(112, 8, 37, seed=3)
    found = pattern_cell(cell.weight * scale, cell.x, cell.k).radius(effort="branching")
    assert found.upper == pytest.approx(cell.radius(effort="branching").upper, rel=1e-3)
    assert found.ratio < 1.0011


def test_a_large_part_common_to_all_rows_changes_nothing():
    """Outputs change by the same amount: the bracket stays, up to the digits that the rows lose."""
    cell = cell_of(60, 7, 20, bias=True)
    common = 1e6 * np.random.default_rng(0).standard_normal(7)
    moved = pattern_cell(cell.weight + common, cell.x, cell.k, cell.bias).radius(effort="branching")
    assert moved.upper == pytest.approx(cell.radius(effort="branching").upper, rel=1e-3)


def test_a_ray_that_leaves_the_cell_is_refused():
    cell = pattern_cell([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], 1)  # x_1 > x_2 (ties to row 0)
    assert cell.allows_ray([0.0, -1.0])  # 90 degrees in the limit
    assert cell.allows_ray([-1.0, -1.0])  # along the boundary, at 135 degrees
    assert not cell.allows_ray([0.0, 1.0])  # into the other cell
    assert not cell.allows_ray([1.0, -1.0])  # inside, but never beyond 45 degrees
    assert not cell.allows_ray([-1.0, 0.0])  # back along x: out through zero
    assert not cell.allows_ray([0.0, 0.0])
    biased = pattern_cell([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], 1, [0.0, 0.0])
    assert biased.allows_ray([1.0, -1.0])  # a polyhedron: any direction to infinity
    assert not biased.allows_ray([0.0, 1.0])


def test_a_cell_that_touches_ninety_degrees_is_never_called_bounded():
    """``x_1 >= 0`` cut by ``x_2 >= -x_1``: the closure reaches 90 degrees and not more; no float has room beyond."""
    cell = pattern_cell([[1.0, 0.0], [-1.0, 0.0], [-1.0, -2.0]], [1.0, 0.0], 1)
    found = cell.radius()
    assert found.upper == math.inf or found.unbounded
    wedge = pattern_cell([[1.0, 0.0], [-1.0, 0.0]], [1.0, 0.0], 1)  # the half-plane x_1 >= 0
    assert wedge.radius().upper == math.inf


def test_ties_at_the_threshold():
    """With room inside the cell is bracketed; without, it is said."""
    tie = pattern_cell([[1.0, 1.0], [1.0, 0.0], [1.0, -1.0]], [1.0, 0.0], 2)
    assert tie.tie == (1, 2)
    assert tie.nearest_boundary().distance == 0.0
    assert tie.radius().unbounded
    side = pattern_cell([[1.0, 0.0], [1.0, 1.0], [0.5, -1.0]], [1.0, 0.0], 1)  # -1/2 <= u <= 0
    assert side.tie == (0, 1)
    found = side.radius()
    assert found.lower == pytest.approx(0.5, rel=1e-9)
    assert found.upper == pytest.approx(0.5, rel=1e-9)
    flat = pattern_cell([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0]], [1.0, 0.0], 1)  # u >= 0 and u <= 0
    with pytest.raises(InvalidArgumentError, match=r"no interior .*rows 0 and [12] tie at the threshold"):
        flat.radius()
    equal = pattern_cell([[1.0, 0.0], [1.0, 0.0], [0.5, 1.0], [0.5, -1.0]], [1.0, 0.0], 1)
    with pytest.raises(InvalidArgumentError, match="rows 0 and 1 tie"):
        equal.radius()


def test_bad_arguments_of_the_bracket():
    cell = cell_of(50, 3, 5)
    with pytest.raises(InvalidArgumentError, match="effort='much' is not allowed: it must be one of box, relaxation"):
        cell.radius(effort="much")
    with pytest.raises(InvalidArgumentError, match="seed=-1 is not allowed"):
        cell.radius(seed=-1)
    with pytest.raises(InvalidArgumentError, match="for at most 64 dimensions, the cell has 65: effort='box'"):
        cell_of(300, 65, 30).radius(effort="relaxation")


# what never happens, made to happen


def test_a_solver_that_fails_is_reported(monkeypatch):
    cell = cell_of(100, 3, 10)
    monkeypatch.setattr(
        programmes._Silent, "getModelStatus", lambda *_: programmes.highspy.HighsModelStatus.kIterationLimit
    )
    with pytest.raises(CertificationError, match="ended with the status kIterationLimit"):
        cell.radius()


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (0, "a bounded linear programme was called unbounded"),
        (1, "no point deep inside the cell was found"),
        (10, "a cell inside a box was called unbounded"),
    ],
)
def test_a_programme_that_loses_its_largest_value_is_reported(number, sentence, monkeypatch):
    """One programme for a ray, one for the centre, eight for the box (three axes, the threshold), then the search."""
    maximise, count = programmes.LinearProgramme.maximise, itertools.count()
    monkeypatch.setattr(programmes.Polytope, "maximise", lambda self, c: self._programme.maximise(c))
    monkeypatch.setattr(
        programmes.LinearProgramme, "maximise", lambda self, c: maximise(self, c) if next(count) < number else None
    )
    with pytest.raises(CertificationError, match=sentence):
        cell_of(100, 3, 10).radius()


def test_ends_that_contradict_each_other_are_reported(monkeypatch):
    cell = cell_of(100, 3, 10)
    monkeypatch.setattr(radius, "check_certificate", lambda *_: 1e-9)
    with pytest.raises(CertificationError, match="is beyond the certified bound"):
        cell.radius(effort="box")
    monkeypatch.setattr(PatternCell, "contains", lambda *_: False)
    with pytest.raises(CertificationError, match="x does not have the pattern of x"):
        cell.radius(effort="box")


def test_a_bound_at_ninety_degrees_that_no_ray_proves_is_infinite(monkeypatch):
    """The ray is not believed: the upper end stays infinite, the lower end finite, and nothing is called unbounded."""
    cell = pattern_cell([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.0], 1)
    monkeypatch.setattr(PatternCell, "allows_ray", lambda *_: False)
    found = cell.radius()
    assert found.upper == math.inf
    assert 0 <= found.lower < math.inf
    assert not found.unbounded
    assert found.ratio == math.inf
    assert cell.contains(found.witness)


def test_certificates_are_checked_as_often_as_they_are_shifted(monkeypatch):
    """Multipliers short of definite by more than the first shift: the next one makes them a certificate."""
    cell = cell_of(500, 8, 50)
    monkeypatch.setattr(relaxation, "_SHIFTS", (-1.0, 1e-5))
    found = cell.radius()
    assert math.isfinite(found.upper)
    assert found.lower <= found.upper


def test_the_room_imports_neither_of_the_other_two_routes():
    """Nor torch: geometry is a route of its own."""
    for file in Path(radius.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith(("torch", "kwta_theory.theory", "kwta_theory.simulation")) for name in names)
