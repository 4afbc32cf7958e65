"""Every statement of the paper, judged: what is true settles, what is printed wrongly falls to a witness that runs."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

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


def replayed(witness: str) -> list[Any]:
    """What the witness prints and what its expressions are, in order."""
    shown: list[Any] = []
    names: dict[str, Any] = {"print": lambda *values: shown.append(values)}
    for node in ast.parse(witness).body:
        if isinstance(node, ast.Expr):
            value = eval(compile(ast.Expression(node.value), "witness", "eval"), names)
            shown += [value] if value is not None else []
        else:
            exec(compile(ast.Module([node], []), "witness", "exec"), names)
    return shown


def not_linear(shown, reason):
    f_of_2x, twice_f = (value.item() for value in shown[0])
    return f_of_2x != twice_f and f"f(2 x) = {f_of_2x:g} and 2 f(x) = {twice_f:g}" in reason


def other_pattern_at_a_multiple(shown, _):
    return shown[0][0].tolist() != shown[0][1].tolist()


def two_patterns_and_one_map(shown, _):
    (left, right), difference = shown[0][0].tolist(), shown[0][1]
    return left != right and not difference.any()


def larger_jump_with_more_winners(shown, reason):
    fewer, more = shown[0]
    return fewer < more and f"up to {more:.3g}" in reason


def same_pattern_at_the_opposite_only(shown, _):
    (at_x, at_minus_x), *at_cosine = shown
    return (at_x == at_minus_x).all() and not any((other == at_x).all() for others in at_cosine for other in others)


def net_above_the_size_claimed(shown, reason):
    needed, claimed = shown[0]
    return needed > claimed and f"at least {math.exp(needed - claimed):.3g} times the size claimed" in reason


def no_room_for_a_shrinkage(shown, _):
    first, second, cosine, beta = shown[0]
    return first <= 1 and second >= beta and cosine >= beta  # so cosine > (1 - eps) beta for every eps > 0


# What each witness must show, and a change to it that makes the sentence true of it: then it must show nothing.
SHOWS = {
    "f is linear": (not_linear, r"\+ 1\.0", "+ 0.0"),
    "at c x": (other_pattern_at_a_multiple, r"0\.0, -1\.5", "0.0, 0.0"),
    "another linear map": (two_patterns_and_one_map, r"\[2\.0, 1\.0\]", "[2.0, 1.5]"),
    "are disconnected": (two_patterns_and_one_map, r"\[2\.0, 1\.0\]", "[2.0, 1.5]"),
    "the smaller gamma": (larger_jump_with_more_winners, r"\((\d+), \d+(\).*\()\d+, \d+\)", r"(\1, 1\2\1, 2)"),
    "smaller cosine": (
        same_pattern_at_the_opposite_only,
        r"lemma_2\.counterexample\((\d+)\)",
        r"np.concatenate([np.eye(\1, dtype=int), -np.eye(\1, dtype=int)])",
    ),
    "a net of at most": (net_above_the_size_claimed, r"bound\((\d+), [\d.]+\)", r"bound(\1, 0.9)"),
    "for some eps": (no_room_for_a_shrinkage, r"x = y = z = np\.eye\(2\)\[0\]", "x, y, z = np.eye(3)"),
}


@pytest.mark.parametrize("name", PRINTED)
def test_a_witness_reproduces_what_refutes_the_sentence(name):
    for verdict in verdicts(name):
        if verdict.outcome is Outcome.REFUTED:
            ((shows, part, mended),) = [entry for words, entry in SHOWS.items() if words in verdict.claimed]
            assert shows(replayed(verdict.witness), verdict.reason), verdict.witness
            control, changes = re.subn(part, mended, verdict.witness, count=1)
            assert changes == 1
            assert not shows(replayed(control), verdict.reason), control


@pytest.mark.parametrize("name", DEFAULT)
def test_a_statement_says_where_it_stands_in_the_paper(name):
    statement = STATEMENTS[name]
    assert re.search(r"(Lemma|Theorem|Claim|Example|Remark) \d|Section|Appendix", statement.title)
    assert statement.text.strip()
