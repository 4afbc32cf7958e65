"""``kwta bounds``: the order of the widths, what they rest on, and what a person reads."""

from __future__ import annotations

import math

import pytest

from kwta_theory import inputs, theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.report import bounds as shown
from kwta_theory.statements import Budget, Settings
from kwta_theory.statements.bounds import theorem_1_bounds, theorem_10_bounds

TINY = Budget("tiny", normals=4e6, max_trials=4_000)


@pytest.fixture(scope="module")
def first():
    return theorem_1_bounds(Settings(input_dim=12, beta=0.2, budget=TINY))


@pytest.fixture(scope="module")
def tenth():
    return theorem_10_bounds(Settings(failure=0.2, budget=TINY), inputs.points_with_cosine(3, 0.6, 5))


def test_theorem_1_from_the_proof_to_one_fixed_point(first):
    proof, exact, pointwise = (bound.log_width for bound in first.bounds)
    assert proof > exact > pointwise
    cosine = theory.cosine_from_beta(0.2)
    assert math.isclose(proof, math.log(theory.theorem8_width(12, 0.1, cosine, failure=1 - 1e-16)), rel_tol=1e-9)
    level = -12 * math.log(2)
    assert theory.theorem8_exact_failure(round(math.exp(exact)), 12, 0.1, cosine, log=True) <= level
    assert theory.same_pattern(round(math.exp(pointwise)), round(math.exp(pointwise)) // 10, cosine, log=True) <= level
    assert first.ratio(first.bounds[2]) == "1"
    assert first.measured[0][0] == pointwise
    assert "which supports P >= 0." in first.remarks[0]


def test_theorem_10_brackets_the_truth(tenth):
    proof, argument, late, seen_late, seen_early, early = (bound.log_width for bound in tenth.bounds)
    assert proof > argument > late - 1e-3  # a search rounds up by 1e-4 at most
    assert early <= seen_early <= seen_late <= late
    assert tenth.ratio(tenth.bounds[3]) == "1"
    assert "decided by counting at" in tenth.remarks[0]


def test_without_a_budget_for_counting_the_law_alone_answers():
    small = Budget("small", normals=1e3, max_trials=10)
    bounds = theorem_10_bounds(Settings(failure=0.2, budget=small), inputs.points_with_cosine(3, 0.6, 5))
    assert len(bounds.bounds) == 4
    assert bounds.remarks == ()
    assert theorem_1_bounds(Settings(input_dim=12, beta=0.2, budget=small)).remarks == ()


def test_hypotheses_are_checked():
    with pytest.raises(InvalidArgumentError, match="outside the hypothesis of Theorem 1"):
        theorem_1_bounds(Settings(sparsity_ratio=0.5, budget=TINY))
    with pytest.raises(InvalidArgumentError, match="hold 1 point"):
        theorem_10_bounds(Settings(budget=TINY), inputs.points_with_cosine(1, 0.6, 5))


def test_table_sentences_and_figure(first, tenth):
    for bounds in (first, tenth):
        assert shown.table(bounds).row_count == len(bounds.bounds)
        assert any("the proof asks for a layer" in sentence for sentence in shown.sentences(bounds))
        axis = shown.figure(bounds).axes[0]
        labels = axis.get_legend_handles_labels()[1]
        for bound in bounds.bounds:
            assert any(label.startswith(bound.source) for label in labels)
