"""Lemma 4: exact rows, Chernoff, counts, and a lemma with a wrong constant."""

from __future__ import annotations

import dataclasses
import math

import mpmath as mp
import numpy as np
import pytest

from kwta_theory.inputs import points_with_cosine
from kwta_theory.statements import lemma_4
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Budget, Settings
from kwta_theory.statements.verdict import LogBracket, Outcome

SETTINGS = Settings(width=256, input_dim=20, budget=Budget("tiny", 1e6, 1000))
POINTS = points_with_cosine(2, 0.9)


def verdicts(settings=SETTINGS):
    lemma_4.STATEMENT.check_hypotheses(settings)
    cases = lemma_4.STATEMENT.cases(POINTS, settings)
    return [judge(lemma_4.STATEMENT, "-", case, settings, 1e-4, 0) for case in cases]


def test_it_holds_everywhere_and_the_routes_agree():
    results = verdicts()
    assert [v.outcome for v in results] == [Outcome.HOLDS] * 3
    assert all(v.routes_agree for v in results)
    assert [v.parameters.get("width") for v in results] == ["256", "1", None]
    assert results[0].measured.failures.successes == 0


def test_one_entry_is_judged_once():
    assert len(verdicts(dataclasses.replace(SETTINGS, width=1, sparsity_ratio=1.0, input_dim=2))) == 3


@pytest.mark.parametrize(("width", "m", "factor"), [(1, 1, 10.0), (7, 3, 1.5), (50, 2, 0.4), (4096, 784, 10.0)])
def test_the_law_against_mpmath(width, m, factor):
    with mp.workdps(50):
        p = mp.gammainc(mp.mpf(m) / 2, mp.mpf(factor) ** 2 * m * width / 2, mp.inf, regularized=True)
        exact = float(mp.log(1 - (1 - p) ** width)) if p > mp.mpf(10) ** -30 else float(mp.log(width * p))
    assert lemma_4.log_long_row(width, m, factor) == pytest.approx(exact, rel=1e-9)


def test_the_law_against_dense_layers():
    """20,000 layers of 6 rows with 3 entries, at a factor where half of them have a long row: sd 0.0035."""
    width, m, factor, trials = 6, 3, 0.6, 20_000
    rows = np.random.default_rng(np.random.SeedSequence([4])).standard_normal((trials, width, m))
    count = int(((rows**2).sum(axis=2).max(axis=1) > factor**2 * m * width).sum())
    for rows_assumed, right in ((width, True), (width - 1, False)):  # negative control: one row too few
        log_tail = lemma_4.theory.chi_square_log_tail(factor**2 * m * width, m)
        p = math.exp(lemma_4.log_some_row_above(log_tail, rows_assumed))
        assert (abs(count - trials * p) < 4.6 * math.sqrt(trials * p * (1 - p))) is right
    assert 0.1 < count / trials < 0.9


def test_chernoff_is_above_the_law_and_largest_at_one_entry():
    for width in (1, 2, 3, 100, 10**6):
        for m in (1, 2, 5, 784):
            assert lemma_4.log_long_row(width, m) <= lemma_4.log_chernoff(width, m) <= lemma_4.log_chernoff(1, 1)


def test_enough_is_the_099_point():
    for width, m in ((1, 1), (256, 20), (4096, 784)):
        assert lemma_4.log_long_row(width, m, lemma_4.enough(width, m)) == pytest.approx(math.log(0.01), rel=1e-6)


def test_certain_and_nearly_impossible_rows():
    assert lemma_4.log_some_row_above(0.0, 5) == 0.0
    for log_tail in (-18.0, -20.0, -22.0):
        with mp.workdps(40):
            exact = float(mp.log(1 - (1 - mp.exp(log_tail)) ** 3))
        assert lemma_4.log_some_row_above(log_tail, 3) == pytest.approx(exact, rel=1e-9)


def test_a_planted_falsehood_is_refuted(monkeypatch):
    """A tenth of the factor, on one entry: P(|N(0, 1)| > 1) is 0.32."""
    law, case = lemma_4.log_long_row, lemma_4.case(1, 1)
    monkeypatch.setattr(lemma_4, "log_long_row", lambda width, m: law(width, m, 1.0))
    verdict = judge(lemma_4.STATEMENT, "-", dataclasses.replace(case, also=(), simulate=None), SETTINGS, 1e-4, 0)
    assert verdict.outcome is Outcome.REFUTED
    assert replay(verdict.witness) == pytest.approx(math.log(math.erfc(1 / math.sqrt(2))))
    # With the other routes in place they contradict it, and nothing is decided.
    assert not judge(lemma_4.STATEMENT, "-", case, SETTINGS, 1e-4, 0).routes_agree


def test_a_planted_constant_in_the_claim_for_all(monkeypatch):
    claim = list(lemma_4.STATEMENT.cases(POINTS, SETTINGS))[-1]
    monkeypatch.setattr(lemma_4, "LOG_FAILURE", -100.0)
    verdict = judge(lemma_4.STATEMENT, "-", claim, SETTINGS, 1e-4, 0)
    assert verdict.outcome is Outcome.REFUTED
    assert replay(verdict.witness) > -100.0


def test_curves():
    exact, claimed = lemma_4.STATEMENT.curves(POINTS, SETTINGS)
    assert max(exact.log_failure) < claimed.log_failure[0] == math.log(0.01)
    assert exact.log_width[-1] == pytest.approx(math.log(256))


def test_brackets_are_finite():
    law = lemma_4.case(4096, 784).exact()
    assert isinstance(law, LogBracket)
    assert -1e9 < law.lower == law.upper < -1e8


def replay(witness: str):
    *statements, expression = witness.split("; ")
    names: dict[str, object] = {}
    exec("\n".join(statements), names)
    return eval(expression, names)
