"""Lemma 10: exact caps, the argument without a net, counts, and bounds that are false."""

from __future__ import annotations

import dataclasses
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kwta_theory import theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.inputs import points_with_cosine
from kwta_theory.statements import lemma_10
from kwta_theory.statements.finding import Says
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Budget, Settings
from kwta_theory.statements.verdict import Outcome

SETTINGS = Settings(input_dim=50, budget=Budget("tiny", 5e6, 20_000))
POINTS = points_with_cosine(2, 0.9)


def verdicts(settings=SETTINGS):
    lemma_10.STATEMENT.check_hypotheses(settings)
    claims = lemma_10.STATEMENT.cases(POINTS, settings)
    return [judge(lemma_10.STATEMENT, "-", claim, settings, 1e-4, 0) for claim in claims]


def test_it_holds_at_the_parameters_and_for_all():
    results = verdicts()
    assert [v.outcome for v in results] == [Outcome.HOLDS] * 4
    assert [v.parameters["m"] for v in results] == [50, 4, 50, "every m >= 1"]
    assert all(v.routes_agree for v in results)
    assert results[1].findings[2].instances == 20_000


def test_low_dimensions_and_cosines_next_to_one():
    assert [v.parameters["m"] for v in verdicts(dataclasses.replace(SETTINGS, input_dim=3))] == [3, 3, "every m >= 1"]
    close = verdicts(dataclasses.replace(SETTINGS, cosine=1 - 1e-9))
    assert len(close) == 3  # the beta' of Theorem 10 is 1 in double precision
    assert all(v.outcome is Outcome.HOLDS for v in close)


@given(st.integers(1, 100_000), st.floats(1e-9, 0.4999999))
@settings(deadline=None, max_examples=300)
def test_the_law_is_above_the_bound_and_above_the_argument(m, gap):
    cosine = 1.0 - gap
    room = theory.log_cap_fraction(m, cosine) - lemma_10.log_bound(m, cosine)
    assert room > 0
    if m >= 2:
        assert room >= lemma_10.log_net_free_room(m - 1) - 1e-9 * abs(theory.log_cap_fraction(m, cosine))


def test_each_step_of_the_argument():
    """Chords, the least over s, and Watson's bound of the beta function, each on its own."""
    s = np.linspace(1e-9, 1.0, 10_001)
    assert (np.log1p(s) + 0.5 * np.log1p(-s * s / 4) >= s * lemma_10.CHORD - 1e-15).all()
    assert (np.log1p(s) >= s * math.log(2) - 1e-15).all()
    for n in (1, 2, 3, 4, 10, 1000, 10**6):
        slope = n * lemma_10.CHORD + math.log(2)
        grid = np.geomspace(1e-9, 10, 100_001)
        assert (slope * grid - np.log(grid)).min() == pytest.approx(1 + math.log(slope), rel=1e-6)
        with mp.workdps(30):
            assert mp.beta(mp.mpf(n) / 2, 0.5) <= mp.sqrt(mp.pi / (mp.mpf(n) / 2 - mp.mpf(1) / 4))
            exact = 1 + math.log(slope) - float(mp.log(n * mp.beta(mp.mpf(n) / 2, 0.5)))
        assert lemma_10.log_net_free_room(n) == pytest.approx(exact, abs=1e-7)
        if n >= 4:
            least = 1 + math.log(lemma_10.CHORD) + 0.5 * math.log((2 * n - 1) / (4 * math.pi))
            assert 0 < least <= lemma_10.log_net_free_room(n)


def test_the_leading_term_is_below_the_area():
    """In 30 digits: sin^n / (n B(n/2, 1/2)) against the integral of (1 - t^2)^((n-2)/2)."""
    with mp.workdps(30):
        for n, c in ((1, 0.6), (3, 0.9), (20, 0.51), (20, 0.999)):
            scale = mp.beta(mp.mpf(n) / 2, 0.5)
            if n == 1:
                area = mp.acos(c) / mp.pi
            else:
                area = mp.quad(lambda t, n=n: (1 - t * t) ** (mp.mpf(n - 2) / 2), [c, 1]) / scale
            assert mp.sqrt(1 - mp.mpf(c) ** 2) ** n / (n * scale) <= area


@pytest.mark.parametrize("m", [2, 3, 4, 6])
def test_counts_against_the_law(m):
    """100,000 vectors and caps of 5 to 25 %: sd at most 0.0014; the negative control is a cap one dimension up."""
    cosine, trials = 0.7, 100_000
    points = np.random.default_rng(np.random.SeedSequence([10, m])).standard_normal((trials, m))
    count = int((points[:, 0] >= cosine * np.linalg.norm(points, axis=1)).sum())
    for dim, right in ((m, True), (m + 1, False)):
        p = math.exp(theory.log_cap_fraction(dim, cosine))
        assert (abs(count - trials * p) < 4.6 * math.sqrt(trials * p * (1 - p))) is right


def replay(witness: str):
    *statements, expression = witness.split("; ")
    names: dict[str, object] = {}
    exec("\n".join(statements), names)
    return eval(expression, names)


def test_a_bound_without_its_power_is_refuted(monkeypatch):
    """``1/(1 + 1/sqrt(2(1-beta)))`` to the power 1 for m."""
    true_bound = lemma_10.log_bound
    monkeypatch.setattr(lemma_10, "log_bound", lambda _, c: true_bound(1, c))
    results = verdicts()
    assert [v.outcome for v in results[:3]] == [Outcome.REFUTED] * 3
    assert results[1].findings[2].says is Says.REFUTES  # the counts see it, too
    area, _ = replay(results[0].witness)
    assert area == theory.log_cap_fraction(50, 0.9)
    assert not results[3].routes_agree


def test_a_bound_that_is_too_large_by_a_tenth_is_refuted_for_all(monkeypatch):
    """The argument leaves 7.5 %; with a constant of 1.1 it says nothing, and the grid finds m = 1."""
    true_bound, true_room = lemma_10.log_bound, lemma_10.log_net_free_room
    monkeypatch.setattr(lemma_10, "log_bound", lambda m, c: true_bound(m, c) + math.log(1.1))
    monkeypatch.setattr(lemma_10, "log_net_free_room", lambda n: true_room(n) - math.log(1.1))
    result = verdicts()[-1]
    assert result.outcome is Outcome.REFUTED
    assert [finding.against > 0 for finding in result.findings] == [False, True]
    assert math.isclose(replay(result.witness), math.log(0.5))


def test_equality_is_not_told_apart(monkeypatch):
    monkeypatch.setattr(lemma_10, "log_bound", theory.log_cap_fraction)
    result = verdicts()[0]
    assert result.outcome is Outcome.UNDECIDED
    assert "too close for double precision" in result.findings[0].text


@pytest.mark.parametrize("cosine", [0.5, 1.0, 0.2])
def test_hypotheses(cosine):
    with pytest.raises(InvalidArgumentError, match=f"cosine={cosine} is outside the hypothesis of Lemma 10"):
        lemma_10.STATEMENT.check_hypotheses(dataclasses.replace(SETTINGS, cosine=cosine))
