"""Theorems 1, 8 and 9 for every ``x'``: called true by certificates, false by witnesses, and by nothing else."""

from __future__ import annotations

import ast
import dataclasses
import math

import numpy as np
import pytest

from kwta_theory import inputs, verify
from kwta_theory.confidence import Proportion
from kwta_theory.geometry.reach import LARGEST_STORED, Reach
from kwta_theory.statements import (
    STATEMENTS,
    Budget,
    LogBracket,
    Measurement,
    Outcome,
    Settings,
    pointwise,
    theorem_1,
    theorem_8,
    theorem_9,
)
from kwta_theory.statements.case import Case, Sample
from kwta_theory.statements.judge import decide_outcome, judge
from kwta_theory.statements.settings import BUDGETS

BUDGET = Budget("small", normals=8_192 * 400, max_trials=2_000)
SETTINGS = Settings(width=200, budget=BUDGET)
NAMES = ["theorem-1-cells", "theorem-8-cells", "theorem-9-cells"]


def case_at(input_dim: int, width: int, granted: float, settings: Settings = SETTINGS) -> Case:
    rotation = dataclasses.replace(theorem_1.claim(input_dim, settings), granted_width=granted)
    first = inputs.Inputs("e_1", np.eye(input_dim)[:1], "the first unit vector")
    return pointwise.every_case(first, settings, rotation, width)


def judged(case: Case):
    return judge(STATEMENTS["theorem-1-cells"], "-", case, SETTINGS, 1e-5, seed=7)


def test_at_the_width_of_the_proof_the_theorems_hold_by_certificates_and_below_it_claim_nothing():
    found = verify(NAMES, budget="quick", width=200)
    assert {v.statement for v in found} == set(NAMES)
    for v in found:
        assert v.scope == "every x'"
        assert v.note == pointwise.CERTIFIED
        assert v.routes_agree
        granted = v.log_width >= v.granted_log_width
        assert v.outcome is (Outcome.HOLDS if granted else Outcome.VACUOUS), v.reason
        if granted:
            assert v.log_width > math.log(3e8)
            assert v.measured.held == v.measured.failures.trials
    dimensions = {(v.statement, v.parameters["m"]) for v in found}
    assert dimensions == {
        ("theorem-1-cells", 2),
        ("theorem-1-cells", 3),
        ("theorem-8-cells", 2),
        ("theorem-9-cells", 2),
    }


def test_below_the_width_what_was_measured_is_told():
    verdict = judged(case_at(2, 70, granted=1e9))
    assert verdict.outcome is Outcome.VACUOUS
    assert "true in 3" in verdict.reason
    assert "of 400 trials" in verdict.reason


def test_witnesses_refute_and_their_call_gives_the_same_counts():
    verdict = judged(case_at(2, 30, granted=30.0))
    assert verdict.outcome is Outcome.REFUTED
    scope: dict[str, object] = {}
    *before, last = verdict.witness.split("; ")
    exec("; ".join(before), scope)
    found = eval(ast.unparse(ast.parse(last)), scope)
    counts = verdict.measured.failures
    assert found == Reach(counts.trials - counts.successes, counts.successes, 0)


def test_the_argument_alone_calls_nothing_true_or_false():
    """At 3e-5 of failure by the law, without counts; then a law above the level, with certificates against it."""
    case = case_at(2, 4096, granted=30.0)
    assert case.exact().upper < case.claimed_log_failure
    assert decide_outcome(case, case.exact(), None)[0] is Outcome.UNDECIDED
    above = LogBracket(math.log(0.9), 0.0, "a law")
    assert decide_outcome(case, above, None)[0] is Outcome.UNDECIDED
    counts = Measurement(Proportion(0, 400), 1e-5, "simulation", 0)
    assert decide_outcome(case, case.exact(), counts)[0] is Outcome.HOLDS
    outcome, reason = decide_outcome(case, above, counts)
    assert outcome is Outcome.UNDECIDED
    assert "the routes disagree" in reason


def test_open_layers_count_against_both_sides():
    measured = Measurement(Proportion(10, 200), 1e-3, "simulation", 0, open=50)
    assert measured.held == 140
    assert measured.interval.lower == Proportion(10, 200).interval(1e-3).lower
    assert measured.interval.upper == Proportion(60, 200).interval(1e-3).upper
    case = case_at(2, 4096, granted=30.0)
    outcome, reason = decide_outcome(case, None, measured)
    assert outcome is Outcome.UNDECIDED
    assert reason.startswith("10 failures and 50 open in 200 trials leave")
    assert "to close the open ones would decide, more trials would not" in reason
    few = dataclasses.replace(measured, failures=Proportion(30, 200), open=2)
    assert "trials would decide if the observed rate persisted" in decide_outcome(case, None, few)[1]
    vacuous = decide_outcome(dataclasses.replace(case, granted_log_width=99.0), None, measured)[1]
    assert "true in 140 and open in 50 of 200 trials" in vacuous


def test_open_layers_reach_the_measurement():
    def simulate(trials: int, seed: int) -> Sample:
        return Sample(Proportion(trials - 30, trials), open=20)

    verdict = judged(dataclasses.replace(case_at(2, 4096, granted=30.0), simulate=simulate, exact=None))
    assert verdict.measured.failures == Proportion(10, 400)
    assert verdict.measured.open == 20
    assert verdict.as_json()["measured"]["open"] == 20


def test_points_in_few_dimensions_are_decided_by_their_cells_and_others_are_not():
    for dim, held in ((2, True), (7, False)):
        found = verify(["theorem-1"], inputs.gaussian_points(2, dim, seed=1), BUDGET, width=200)
        every = [v for v in found if v.scope == "every x'"]
        at_proof = max(every, key=lambda v: v.log_width)
        assert at_proof.outcome is (Outcome.HOLDS if held else Outcome.UNDECIDED)
        assert (at_proof.measured is not None) is held
        assert ("is not computed here" in at_proof.reason) is not held


def test_the_budget_chooses_the_dimensions_that_it_can_decide():
    def dimensions(claim, budget: str) -> list[int]:
        return pointwise.decidable_dimensions(Settings(budget=BUDGETS[budget]), claim)

    assert dimensions(theorem_1.claim, "quick") == [2, 3]
    assert dimensions(theorem_1.claim, "standard") == [2, 3, 4]
    assert dimensions(theorem_8.claim, "quick") == [2]
    assert dimensions(theorem_9.claim, "thorough") == [2, 3, 4]


def test_the_limit_on_stored_layers_is_that_of_the_room():
    assert pointwise.LARGEST_STORED == LARGEST_STORED
    assert case_at(2, LARGEST_STORED, 30.0).normals_per_trial == 2 * LARGEST_STORED
    assert case_at(2, 10 * LARGEST_STORED, 30.0).normals_per_trial == pointwise.FEWEST_NORMALS_IN_THE_PLANE
    assert case_at(3, 200, 30.0).normals_per_trial == pointwise.FEWEST_NORMALS
    assert "65,536" in pointwise.CERTIFIED


@pytest.mark.parametrize(("width", "input_dim"), [(3, 2), (10, 2), (3, 6), (60, 3), (10**9, 2)])
def test_no_row_is_ever_too_long(width, input_dim):
    assert pointwise.log_norm_failure(width, input_dim) < -280
