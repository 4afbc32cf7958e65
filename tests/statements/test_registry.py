"""Every statement of the paper, judged: what is true settles, what is printed wrongly falls to a witness that runs."""

from __future__ import annotations

import re

import pytest

from kwta_theory import inputs
from kwta_theory.statements import DEFAULT, STATEMENTS, Budget, Outcome, Settings
from kwta_theory.statements.case import Claim
from kwta_theory.statements.judge import judge

POINTS = inputs.gaussian_points(5, 16, seed=2)
SETTINGS = Settings(budget=Budget("tiny", normals=2e6, max_trials=2_000))
OUTRIGHT = [
    *(
        "piecewise-linearity",
        "appendix-b",
        "lemma-1",
        "lemma-2",
        "lemma-3",
        "claim-3",
        "lemma-6",
        "lemma-7",
        "lemma-8",
        "lemma-9",
    ),
    *("lemma-10", "remark-1"),
]
PRINTED = [name for name in STATEMENTS if name.endswith("-as-printed")]


def verdicts(name: str):
    statement = STATEMENTS[name]
    statement.check_hypotheses(SETTINGS)
    return [judge(statement, "-", case, SETTINGS, 1e-5, 3) for case in statement.cases(POINTS, SETTINGS)]


def test_every_numbered_statement_of_the_appendix_is_there():
    lemmas = [f"lemma-{n}" for n in range(1, 11)]
    claims = [f"claim-{n}" for n in range(3, 7)]
    theorems = [f"theorem-{n}" for n in (1, 2, 8, 9, 10, 11)]
    assert {*lemmas, *claims, *theorems, "example-1", "remark-1", "piecewise-linearity", "appendix-b"} <= set(DEFAULT)


@pytest.mark.parametrize("name", OUTRIGHT)
def test_what_is_true_is_settled_by_one_route_and_contradicted_by_none(name):
    found = verdicts(name)
    assert found
    for verdict in found:
        assert verdict.outcome is Outcome.HOLDS, verdict.reason
        assert verdict.routes_agree


@pytest.mark.parametrize("name", OUTRIGHT)
def test_every_outright_claim_has_two_routes(name):
    for case in STATEMENTS[name].cases(POINTS, SETTINGS):
        if isinstance(case, Claim):
            assert len(case.routes) >= 2


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_printed_wrongly_is_refuted_and_stays_outside_the_default_run(name):
    assert name not in DEFAULT
    refuted = [verdict for verdict in verdicts(name) if verdict.outcome is Outcome.REFUTED]
    assert refuted
    for verdict in refuted:
        assert verdict.witness


@pytest.mark.parametrize("name", PRINTED)
def test_the_witnesses_run_as_they_stand(name):
    for verdict in verdicts(name):
        if verdict.outcome is Outcome.REFUTED:
            exec(compile(verdict.witness, name, "exec"), {})


@pytest.mark.parametrize("name", DEFAULT)
def test_a_statement_says_where_it_stands_in_the_paper(name):
    statement = STATEMENTS[name]
    assert re.search(r"(Lemma|Theorem|Claim|Example|Remark) \d|Section|Appendix", statement.title)
    assert statement.text.strip()
