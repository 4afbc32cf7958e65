"""Appendix B: the jump at a swap and its size, with planted falsehoods through the same routes."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math

import numpy as np
import pytest

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.inputs import Inputs
from kwta_theory.statements import appendix_b
from kwta_theory.statements.finding import RouteContext, Says
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import Outcome
from kwta_theory.theory import boundaries

SETTINGS = Settings(width=300)
POINTS = Inputs.__new__(Inputs)  # the statement does not look at its points
CONTEXT = RouteContext(7, 1e-4, SETTINGS.budget)


@pytest.mark.parametrize("width", [4, 5, 301, 600])
@pytest.mark.parametrize("seed", [0, 1])
def test_repaired_claims_hold_and_routes_agree(width, seed):
    settings = dataclasses.replace(SETTINGS, width=width, sparsity_ratio=0.4, seed=seed)
    for case in appendix_b.STATEMENT.cases(POINTS, settings):
        verdict = judge(appendix_b.STATEMENT, "-", case, settings, 1e-4, seed=3)
        assert verdict.outcome is Outcome.HOLDS, verdict.reason
        assert verdict.routes_agree


def test_printed_claims_are_refuted_by_both_routes_and_the_witness_replays():
    cases = list(appendix_b.AS_PRINTED.cases(POINTS, SETTINGS))
    assert [round(math.exp(case.log_width)) for case in cases] == [300, 32]
    for case in cases:
        verdict = judge(appendix_b.AS_PRINTED, "-", case, SETTINGS, 1e-4, seed=3)
        assert verdict.outcome is Outcome.REFUTED
        assert all(finding.says is Says.REFUTES for finding in verdict.findings)
        for finding in verdict.findings:
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(finding.witness, {})
            if "jump_size" in finding.witness:  # a winner more, and a larger jump
                smaller, larger = map(float, out.getvalue().split())
                assert smaller < larger
            else:
                assert out.getvalue() == f"({finding.instances}, {finding.against})\n"


def test_the_printed_sentence_is_true_up_to_one_half_and_exactly_false_beyond():
    """The finding counts the steps: half of them fall, half of them rise."""
    finding = appendix_b._monotone("quadrature", 300, beyond_half=True)(CONTEXT)
    assert (finding.instances, finding.against) == (298, 149)
    sizes = appendix_b.enumerated_sizes(300)
    assert np.allclose(sizes, sizes[::-1], rtol=1e-9)
    assert sizes.argmin() == 149


@pytest.mark.parametrize("width", [3, 10, 97, 1000])
def test_both_rules_give_the_same_sizes(width):
    assert np.allclose(appendix_b.enumerated_sizes(width), appendix_b.trapezoidal_sizes(width), rtol=1e-11)


def test_swaps_are_met_at_every_k_and_in_wide_layers():
    changes, wrong = appendix_b.exact_swaps(4)
    assert changes > 30
    assert wrong == 0
    for width, k in [(2, 1), (50, 49), (1000, 100)]:
        tried, against = appendix_b.extrapolated_swaps(width, k, 4)
        assert tried >= 5
        assert against == 0


def test_wrong_jumps_are_refuted(monkeypatch):
    """A wrong activation in the route that extrapolates: half of each value, and one winner too many."""
    from kwta_theory import activation

    true = activation.kwta
    for wrong in (lambda z, k: true(z, k) / 2, lambda z, k: true(z, k + 1)):
        monkeypatch.setattr(activation, "kwta", wrong)
        finding = appendix_b._swaps_by_extrapolation(200, 20)(CONTEXT)
        assert finding.says is Says.REFUTES
        assert finding.against > 0.9 * finding.instances
        with contextlib.redirect_stdout(io.StringIO()):
            exec(finding.witness, {})


def test_a_wrong_exact_route_is_refuted(monkeypatch):
    monkeypatch.setattr(appendix_b, "exact_swaps", lambda _: (50, 2))
    finding = appendix_b._swaps_exactly(1)(CONTEXT)
    assert (finding.says, finding.against) == (Says.REFUTES, 2)
    assert finding.witness.endswith("print(appendix_b.exact_swaps(1))")


def test_a_wrong_law_of_the_swap_value_is_refuted(monkeypatch):
    """Its distance from 1 in place of its size: then the jump is not monotone up to one half."""
    appendix_b.enumerated_sizes.cache_clear()
    true = boundaries.jump_size
    monkeypatch.setattr(boundaries, "jump_size", lambda width, k: abs(true(width, k) - 1))
    assert appendix_b._monotone("quadrature", 300, beyond_half=False)(CONTEXT).says is Says.REFUTES
    appendix_b.enumerated_sizes.cache_clear()


def test_sizes_that_differ_by_rounding_only_decide_nothing(monkeypatch):
    for sign in (-1, 1):
        monkeypatch.setattr(appendix_b, "enumerated_sizes", lambda width, s=sign: 1 + s * 1e-12 * np.arange(width - 1))
        finding = appendix_b._monotone("quadrature", 20, beyond_half=False)(CONTEXT)
        assert (finding.says, finding.instances) == (Says.SURVIVES, 9)


def test_every_layer_has_larger_jumps_near_the_full_width_than_at_one_half():
    layers, larger = appendix_b.swept_layers(1)
    assert layers == 200
    assert larger > 190


def test_wide_layers_are_judged_where_every_k_can_be_tried(monkeypatch):
    monkeypatch.setattr(appendix_b, "ENUMERATED_WIDTH", 100)
    case = list(appendix_b.STATEMENT.cases(POINTS, SETTINGS))[1]
    assert case.parameters["k"] == "1 to 50"
    assert "judged at 100" in case.note
    assert math.exp(case.log_width) == pytest.approx(100)


def test_hypotheses():
    with pytest.raises(InvalidArgumentError, match=r"sparsity_ratio=1\.0 makes all 20 outputs win"):
        appendix_b.STATEMENT.check_hypotheses(Settings(width=20, sparsity_ratio=1.0))
    with pytest.raises(InvalidArgumentError, match="width=3 leaves at most one k"):
        appendix_b.AS_PRINTED.check_hypotheses(Settings(width=3, sparsity_ratio=0.5))
    appendix_b.STATEMENT.check_hypotheses(SETTINGS)
