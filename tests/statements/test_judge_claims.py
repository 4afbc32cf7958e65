"""Outright claims and further laws before the judge: what settles, what refutes, what only searches."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from kwta_theory.confidence import Proportion
from kwta_theory.statements.case import Case, Claim, Sample, Statement
from kwta_theory.statements.finding import Finding, RouteContext, Says, search, settle, sufficient
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Budget, Settings
from kwta_theory.statements.verdict import LogBracket, Outcome, Verdict

SETTINGS = Settings(budget=Budget("tiny", 1e6, 1000))
STATEMENT = Statement("toy", "Toy", "Anything.", lambda _: None, lambda *_: iter(()))
PROVED = settle("an exact maximum", True, "the largest value is 0.9, below 1", witness="")
BROKEN = settle("an exact maximum", False, "the largest value is 1.1, above 1", witness="1 + 0.1")
SURVIVED = search("random triples", 500, 0, "none of 500 is against it")
FOUND = search("random triples", 500, 3, "3 of 500 are against it", witness="draw(17)")


def judged(*findings: Finding, **fields: object) -> Verdict:
    claim = Claim({"m": 3}, "f <= 1", tuple(lambda _, f=finding: f for finding in findings), **fields)
    return judge(STATEMENT, "-", claim, SETTINGS, 1e-4, seed=7)


def test_a_proof_in_numbers_holds():
    verdict = judged(PROVED, SURVIVED)
    assert verdict.outcome is Outcome.HOLDS
    assert "an exact maximum: the largest value is 0.9" in verdict.reason
    assert verdict.findings == (PROVED, SURVIVED)
    assert "width" not in verdict.parameters


def test_no_number_of_instances_settles():
    verdict = judged(SURVIVED, SURVIVED, would_decide="an enumeration")
    assert verdict.outcome is Outcome.UNDECIDED
    assert "which decides nothing" in verdict.reason
    assert verdict.reason.endswith("an enumeration would decide")


def test_one_instance_refutes_with_its_witness():
    verdict = judged(SURVIVED, FOUND)
    assert verdict.outcome is Outcome.REFUTED
    assert verdict.witness == "draw(17)"
    assert judged(BROKEN).outcome is Outcome.REFUTED


def test_a_sufficient_condition_that_fails_says_nothing():
    assert judged(sufficient("a bound", True, "it is below")).outcome is Outcome.HOLDS
    assert judged(sufficient("a bound", False, "it is not below"), SURVIVED).outcome is Outcome.UNDECIDED


def test_a_proof_and_an_instance_against_it_decide_nothing():
    verdict = judged(PROVED, FOUND)
    assert verdict.outcome is Outcome.UNDECIDED
    assert not verdict.routes_agree
    assert "the routes disagree" in verdict.reason
    assert verdict.witness is None


def test_every_route_gets_a_seed_of_its_own_and_the_share_of_the_error():
    seen: list[RouteContext] = []

    def route(context: RouteContext) -> Finding:
        seen.append(context)
        return SURVIVED

    judge(STATEMENT, "-", Claim({}, "f <= 1", (route, route)), SETTINGS, 1e-4, seed=7)
    assert seen[0].seed != seen[1].seed
    assert {context.error for context in seen} == {1e-4}
    assert seen[0].budget is SETTINGS.budget


def test_scope_and_width_of_a_claim_are_shown():
    verdict = judged(PROVED, scope="every x'", log_width=math.log(64))
    assert verdict.label == "toy (every x')"
    assert verdict.parameters["width"] == "64"


def test_a_claim_is_written_as_json():
    record = json.loads(json.dumps(judged(PROVED, SURVIVED).as_json(), allow_nan=False))
    assert record["claimed_log_failure"] is None
    assert [finding["says"] for finding in record["findings"]] == ["SETTLES", "SURVIVES"]


def test_a_refutation_has_an_instance_and_a_witness_and_nothing_else_has():
    with pytest.raises(ValueError, match="against=0 does not go with REFUTES"):
        Finding("r", Says.REFUTES, "t", witness="w")
    with pytest.raises(ValueError, match="against=2 does not go with SURVIVES"):
        Finding("r", Says.SURVIVES, "t", 5, 2)
    with pytest.raises(ValueError, match="witness='' does not go with REFUTES"):
        Finding("r", Says.REFUTES, "t", 5, 2)
    with pytest.raises(ValueError, match="witness='w' does not go with SETTLES"):
        Finding("r", Says.SETTLES, "t", witness="w")


def law(low: float, high: float, route: str) -> LogBracket:
    return LogBracket(math.log(low), math.log(high), route)


CASE = Case({"k": 1}, 5.0, "P >= 0.95", math.log(0.05), None, exact=lambda: law(0.01, 0.5, "a bracket"))


def judged_case(**fields: object) -> Verdict:
    return judge(STATEMENT, "-", dataclasses.replace(CASE, **fields), SETTINGS, 1e-4, seed=7)


def test_a_second_law_can_decide_where_the_first_leaves_it_open():
    assert judged_case().outcome is Outcome.UNDECIDED
    verdict = judged_case(also=(lambda: law(0.001, 0.04, "a bound"),))
    assert verdict.outcome is Outcome.HOLDS
    assert "at most 0.04 by a bound" in verdict.reason
    assert verdict.also[0].route == "a bound"
    refuted = judged_case(also=(lambda: law(0.06, 0.4, "a bound"),), exact_call="law()")
    assert refuted.outcome is Outcome.REFUTED
    assert "at least 0.06 by a bound" in refuted.reason
    assert refuted.witness == "law()"


def test_laws_that_cannot_both_be_right_decide_nothing():
    verdict = judged_case(also=(lambda: law(0.6, 0.7, "another law"),))
    assert verdict.outcome is Outcome.UNDECIDED
    assert not verdict.routes_agree
    assert "a bracket gives a failure probability in [0.01, 0.5], another law gives" in verdict.reason


def test_a_second_law_that_misses_the_counts_is_a_disagreement():
    def simulate(trials: int, seed: int) -> Sample:
        return Sample(Proportion(trials // 2, trials))

    also = (lambda: law(0.01, 0.02, "a bound"),)
    verdict = judged_case(simulate=simulate, normals_per_trial=1e3, exact=None, also=also)
    assert not verdict.routes_agree
    assert "a bound gives a failure probability in [0.01, 0.02], simulation an interval" in verdict.reason


def test_what_is_withheld_stays_undecided_though_the_evidence_would_do():
    sure = lambda: law(1e-9, 1e-8, "a bound")  # noqa: E731
    assert judged_case(exact=sure).outcome is Outcome.HOLDS
    verdict = judged_case(exact=sure, withheld="the second route is missing")
    assert verdict.outcome is Outcome.UNDECIDED
    assert verdict.reason.endswith("and 0.05 is allowed; still, the second route is missing")
    open_bracket = judged_case(withheld="the second route is missing")
    assert open_bracket.outcome is Outcome.UNDECIDED
    assert judged_case(exact=lambda: law(0.1, 0.2, "a"), withheld="x", exact_call="y").outcome is Outcome.REFUTED
