"""The judge on made-up evidence: every outcome, every branch, and what it must never say."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwta_theory.confidence import Proportion
from kwta_theory.statements.case import Case, FirstTrue, Sample, Statement
from kwta_theory.statements.judge import decide_outcome, judge
from kwta_theory.statements.settings import Budget, Settings
from kwta_theory.statements.verdict import LogBracket, Measurement, Outcome

ERROR = 1e-3


def claim(log_failure: float = math.log(0.05), granted: float | None = None, log_width: float = 5.0) -> Case:
    return Case({"k": 1}, log_width, "P >= 0.95", log_failure, granted)


def law(lower: float, upper: float | None = None) -> LogBracket:
    return LogBracket(math.log(lower), math.log(lower if upper is None else upper), "a law")


def counted(failures: int, trials: int) -> Measurement:
    return Measurement(Proportion(failures, trials), ERROR, "simulation", 0)


def outcome(case: Case, exact: LogBracket | None = None, measured: Measurement | None = None) -> Outcome:
    return decide_outcome(case, exact, measured)[0]


def test_the_exact_law_decides_both_ways():
    assert outcome(claim(), law(0.04)) is Outcome.HOLDS
    assert outcome(claim(), law(0.06)) is Outcome.REFUTED


def test_a_bracket_across_the_level_is_left_to_counting():
    assert outcome(claim(), law(0.001, 0.5)) is Outcome.UNDECIDED
    assert outcome(claim(), law(0.001, 0.5), counted(10, 10_000)) is Outcome.HOLDS
    assert outcome(claim(), law(0.001, 0.5), counted(2_000, 10_000)) is Outcome.REFUTED


def test_counting_too_few_trials_names_the_number_that_would_decide():
    result, reason = decide_outcome(claim(), None, counted(3, 100))
    assert result is Outcome.UNDECIDED
    assert "trials would decide" in reason


def test_an_observed_rate_on_the_level_is_decided_by_no_number():
    result, reason = decide_outcome(claim(), None, counted(5, 100))
    assert result is Outcome.UNDECIDED
    assert "no number of trials would decide" in reason


def test_below_the_granted_width_nothing_is_claimed_whatever_is_true_there():
    for exact in (law(1e-9), law(0.9)):
        result, reason = decide_outcome(claim(granted=6.0), exact, None)
        assert result is Outcome.VACUOUS
        assert ("reaches the claimed level all the same" in reason) == (exact.upper < math.log(0.05))


def test_at_the_granted_width_the_claim_is_judged():
    assert outcome(claim(granted=5.0), law(0.9)) is Outcome.REFUTED


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        (counted(0, 10_000), "reaches the claimed level all the same"),
        (counted(9_000, 10_000), "misses the claimed level"),
        (counted(5, 100), "leaves open"),
    ],
)
def test_what_was_measured_at_a_vacuous_width_is_told(measured: Measurement, says: str):
    assert says in decide_outcome(claim(granted=6.0), None, measured)[1]


def test_a_vacuous_width_without_evidence_says_so():
    assert "nothing was measured there" in decide_outcome(claim(granted=6.0), None, None)[1]


def test_an_empty_bound_is_vacuous_even_where_the_law_is_known():
    result, reason = decide_outcome(claim(log_failure=0.3), law(0.5), counted(5_000, 10_000))
    assert result is Outcome.VACUOUS
    assert "nothing is claimed" in reason


def test_routes_that_disagree_decide_nothing():
    result, reason = decide_outcome(claim(), law(1e-6), counted(5_000, 10_000))
    assert result is Outcome.UNDECIDED
    assert "one of them is wrong" in reason


def test_no_evidence_is_undecided():
    result, reason = decide_outcome(claim(), None, None)
    assert result is Outcome.UNDECIDED
    assert "neither an exact law nor a simulation" in reason


@given(
    failures=st.integers(0, 500),
    extra=st.integers(0, 500),
    lower=st.floats(-50, 0),
    gap=st.floats(0, 20),
    level=st.floats(-30, 2),
    granted=st.one_of(st.none(), st.floats(0, 10)),
)
def test_a_verdict_is_never_stronger_than_its_evidence(failures, extra, lower, gap, level, granted):
    """HOLDS needs an upper end below the level, REFUTED a lower end above it, and both an applicable claim."""
    exact = LogBracket(lower, min(lower + gap, 0.0), "a law")
    measured = counted(failures, failures + extra + 1)
    result = outcome(claim(level, granted), exact, measured)
    interval = measured.interval
    if result in (Outcome.HOLDS, Outcome.REFUTED):
        assert granted is None or granted <= 5.0
        assert level < 0
    if result is Outcome.HOLDS:
        assert exact.upper <= level or interval.upper <= math.exp(level)
    if result is Outcome.REFUTED:
        assert exact.lower > level or interval.lower > math.exp(level)


def statement_of(case: Case) -> Statement:
    return Statement("made-up", "Made up", "Text", lambda _: None, lambda *_: iter([case]), lambda *_: [])


def test_a_refutation_carries_a_witness_that_can_be_replayed():
    case = dataclasses.replace(
        claim(),
        simulate=lambda trials, _: Sample(Proportion(0, trials)),
        simulate_call="draw({trials}, seed={seed})",
        normals_per_trial=1.0,
    )
    settings = Settings(budget=Budget("test", normals=1e3, max_trials=500))
    verdict = judge(statement_of(case), "points", case, settings, ERROR, seed=7)
    assert verdict.outcome is Outcome.REFUTED
    assert verdict.witness == "draw(500, seed=7)"
    exact = dataclasses.replace(case, exact=lambda: law(0.9, 1.0), exact_call="law()")
    assert judge(statement_of(exact), "points", exact, settings, ERROR, seed=7).witness == "law()"


def test_a_trial_beyond_the_budget_is_not_simulated_and_said():
    case = dataclasses.replace(
        claim(), simulate=lambda trials, _: Sample(Proportion(trials, trials)), normals_per_trial=1e9
    )
    settings = Settings(budget=Budget("test", normals=1e3, max_trials=500))
    verdict = judge(statement_of(case), "points", case, settings, ERROR, seed=0)
    assert verdict.measured is None
    assert verdict.outcome is Outcome.UNDECIDED
    assert "not simulated" in verdict.reason


def test_the_search_for_the_first_true_width_is_reported():
    case = dataclasses.replace(claim(), exact=lambda: law(0.01), first_true=lambda: FirstTrue("from width 9 on", 2.2))
    verdict = judge(statement_of(case), "points", case, Settings(), ERROR, seed=0)
    assert verdict.first_true == "from width 9 on"
    assert verdict.first_true_log_width == 2.2


def test_an_unordered_bracket_is_refused():
    with pytest.raises(ValueError, match="a bracket must be ordered"):
        LogBracket(-1.0, -2.0, "a law")
