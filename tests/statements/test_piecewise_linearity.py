"""Piecewise linearity: exact networks against the package's activation, laws as properties, planted falsehoods."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory.inputs import Inputs
from kwta_theory.statements import integer_networks as nets
from kwta_theory.statements import piecewise_counts as counts
from kwta_theory.statements import piecewise_linearity as pl
from kwta_theory.statements import piecewise_linearity_printed as printed
from kwta_theory.statements import piecewise_routes as routes
from kwta_theory.statements.case import Claim
from kwta_theory.statements.finding import RouteContext, Says
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import Outcome, Verdict

SETTINGS = Settings(width=512)
POINTS = Inputs.__new__(Inputs)  # the statement does not look at its points
CONTEXT = RouteContext(7, 1e-4, SETTINGS.budget)


def judged(statement, case: Claim) -> Verdict:
    return judge(statement, "-", case, SETTINGS, 1e-4, seed=3)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_repaired_claims_hold_and_routes_agree(seed):
    for case in pl.STATEMENT.cases(POINTS, dataclasses.replace(SETTINGS, seed=seed)):
        verdict = judged(pl.STATEMENT, case)
        assert verdict.outcome is Outcome.HOLDS, verdict.reason
        assert verdict.routes_agree
        assert {finding.says for finding in verdict.findings} == {Says.SETTLES, Says.SURVIVES}
        assert all(finding.instances >= 30 for finding in verdict.findings)


def test_printed_claims_are_refuted_by_both_routes_and_the_witness_replays():
    shown = []
    for case in pl.AS_PRINTED.cases(POINTS, SETTINGS):
        verdict = judged(pl.AS_PRINTED, case)
        assert verdict.outcome is Outcome.REFUTED
        assert all(finding.says is Says.REFUTES for finding in verdict.findings), verdict.reason
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(verdict.witness, {})
        shown.append(out.getvalue())
    assert shown[0] == "tensor([3.]) tensor([4.])\n"
    assert shown[1] == "tensor([ True, False]) tensor([False,  True])\n"
    assert shown[2] == shown[3]
    assert shown[2].startswith("tensor([[ True, False],\n        [False,  True]]) tensor([[0.],\n        [0.]])")


def test_there_are_no_hypotheses():
    assert pl.STATEMENT.check_hypotheses(Settings(width=3, sparsity_ratio=1.0)) is None


networks = st.builds(
    lambda seed, shape, k, bias: nets.draw_network(seed, shape, k, bias=bias),
    st.integers(0, 10**6),
    st.sampled_from([(5, 2), (4, 6, 1), (5, 4, 5, 2)]),
    st.integers(0, 4),
    st.booleans(),
)
vectors = st.lists(st.integers(-99, 99), min_size=3, max_size=3)


@given(networks, vectors)
@settings(max_examples=40, deadline=None)
def test_exact_network_is_the_float_network(network, x):
    masks, output = nets.evaluate(network, x)
    floats, patterns = nets.torch_network(network)(torch.tensor(x, dtype=torch.float64))
    assert patterns.tolist() == list(itertools.chain(*masks))
    assert np.allclose([float(v) for v in output], floats.numpy(), rtol=1e-10)


@given(networks, vectors, st.fractions(Fraction(1, 1000), 1000, max_denominator=1000))
@settings(max_examples=40, deadline=None)
def test_the_composed_map_is_the_network_and_points_of_the_cell_have_its_patterns(network, x, c):
    masks, output = nets.evaluate(network, x)
    matrix, offset, cell = nets.compose(network, masks)
    assert nets.affine(matrix, x, offset) == output
    assert all(value >= 0 for value in nets.affine(cell, [*x, 1]))
    if not any(map(any, network.biases)):
        assert offset == [0] * len(offset)
        assert nets.evaluate(network, [c * v for v in x])[0] == masks


@given(networks, vectors, vectors, st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_the_walk_agrees_with_the_network_inside_every_piece(network, start, direction, parts):
    found = list(nets.walk(network, start, direction))
    assert found[0].start == 0
    assert found[-1].end == 1
    for piece, following in itertools.pairwise(found):
        assert piece.end == following.start
        assert piece.masks != following.masks
    for piece in found:
        t = piece.start + (piece.end - piece.start) * Fraction(parts, 31)
        masks, output = nets.evaluate(network, [a + t * d for a, d in zip(start, direction, strict=True)])
        assert masks == piece.masks or not any(direction)
        assert output == [v + s * (t - piece.start) for v, s in zip(piece.value, piece.slope, strict=True)]


def test_a_cell_holds_no_other_pattern():
    """Convexity and completeness of the inequalities: strictly inside them, the patterns are those of the cell."""
    for network, segment, found in nets.pieces(5, bias=True):
        for piece, other in itertools.permutations(found[:4], 2):
            cell = nets.compose(network, piece.masks)[2]
            inside = nets.point(segment, (other.start + other.end) / 2)
            assert min(nets.affine(cell, [*inside, 1])) < 0


def test_relu_is_the_classical_network():
    network = nets.draw_network(3, (5, 1), 0, bias=True)
    x = [3, -2, 7]
    hidden = [max(v, 0) for v in nets.affine(network.weights[0], x, network.biases[0])]
    assert nets.evaluate(network, x)[1] == nets.affine(network.weights[1], hidden, network.biases[1])


def test_planted_falsehoods_are_refuted(monkeypatch):
    """Each mistake goes through the routes that settle the true form."""
    true_compose, true_walk = nets.compose, nets.walk

    def forgets_the_biases(network, masks):
        matrix, _, cell = true_compose(network, masks)
        return matrix, [0] * len(matrix), cell

    monkeypatch.setattr(counts, "compose", forgets_the_biases)
    assert routes.affine_exactly(1)(CONTEXT).says is Says.REFUTES
    monkeypatch.setattr(
        counts, "compose", lambda network, masks: true_compose(network, tuple((*m[1:], m[0]) for m in masks))
    )
    assert routes.affine_exactly(1)(CONTEXT).says is Says.REFUTES
    monkeypatch.setattr(counts, "compose", lambda network, _: true_compose(network, ((False,) * 7,)))
    assert routes.maps_differ_exactly(1)(CONTEXT).says is Says.REFUTES
    monkeypatch.setattr(counts, "compose", true_compose)

    def steps_over_a_change(network, start, direction):
        found = list(true_walk(network, start, direction))
        return [found[0], *found[2:]] if len(found) > 2 else found

    monkeypatch.setattr(nets, "walk", steps_over_a_change)
    nets.pieces.cache_clear()
    assert routes.jumps_exactly(1, relu=True)(CONTEXT).says is Says.REFUTES
    nets.pieces.cache_clear()
    monkeypatch.setattr(nets, "walk", true_walk)


def test_claims_of_the_other_activation_are_refuted(monkeypatch):
    """ "k-WTA is joined" and "ReLU is disconnected", by both routes; the witness replays."""
    true_jumps, true_bisected = counts.jumps, counts.bisected_jumps
    monkeypatch.setattr(routes, "jumps", lambda seed, *, relu: true_jumps(seed, relu=not relu))
    monkeypatch.setattr(routes, "bisected_jumps", lambda seed, *, relu: true_bisected(seed, relu=not relu))
    for relu in (False, True):
        for route in (routes.jumps_exactly(2, relu=relu), routes.jumps_by_bisection(2, relu=relu)):
            finding = route(CONTEXT)
            assert finding.says is Says.REFUTES
            assert finding.against == finding.instances
            with contextlib.redirect_stdout(io.StringIO()):
                exec(finding.witness, {})


def test_biases_and_large_perturbations_are_seen_by_the_float_routes(monkeypatch):
    assert counts.scaled_layer(200, 20, 5, bias=False) == 0
    assert counts.scaled_layer(200, 20, 5, bias=True) > 30
    true_network = nets.torch_network

    def bent(network):
        run = true_network(network)
        return lambda x: (run(x)[0] * (1 + 1e-6 * x.sum(dim=-1, keepdim=True) ** 2), run(x)[1])

    monkeypatch.setattr(counts, "torch_network", bent)
    finding = routes.affine_by_autograd(1)(CONTEXT)
    assert finding.says is Says.REFUTES
    assert finding.witness


def test_equal_maps_are_seen_by_the_float_route(monkeypatch):
    def flat(network):
        return lambda x: (x.sum(dim=-1, keepdim=True), (x > 0))

    monkeypatch.setattr(counts, "torch_network", flat)
    finding = routes.gradients_differ(1)(CONTEXT)
    assert finding.says is Says.REFUTES
    assert finding.against == finding.instances


def test_constant_terms_refute_the_cone(monkeypatch):
    true = counts.scaling_defects
    monkeypatch.setattr(routes, "scaling_defects", lambda seed, **_: true(seed, bias=True))
    assert routes.cones_exactly(1)(CONTEXT).says is Says.REFUTES


def test_a_degenerate_cell_is_refused():
    network = printed.TWO_PATTERNS_ONE_MAP  # at 0 both outputs tie: no step leaves both patterns alone
    with pytest.raises(ArithmeticError, match="degenerate"):
        nets.simplex(network, [Fraction(0)] * 3, ((False, True),))
