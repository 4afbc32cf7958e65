"""Lemma 9: the exact maximum, the explicit shrinkage next to cosine one, and bounds that are too small."""

from __future__ import annotations

import dataclasses
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.inputs import points_with_cosine
from kwta_theory.statements import lemma_8, lemma_9
from kwta_theory.statements.case import Claim
from kwta_theory.statements.finding import RouteContext, Says
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Budget, Settings
from kwta_theory.statements.verdict import Outcome

SETTINGS = Settings(budget=Budget("tiny", 1e6, 20_000))
POINTS = points_with_cosine(2, 0.9)
CONTEXT = RouteContext(5, 1e-4, SETTINGS.budget)
COSINES = [0.0, 1e-9, 0.1, 0.5, 0.7, 0.9, 0.99, 1 - 1e-6, 1 - 1e-12, math.nextafter(1, 0)]


def verdicts(statement, cosine):
    settings = dataclasses.replace(SETTINGS, cosine=cosine)
    statement.check_hypotheses(settings)
    return [judge(statement, "-", claim, settings, 1e-4, 0) for claim in statement.cases(POINTS, settings)]


@pytest.mark.parametrize("cosine", COSINES)
def test_it_holds(cosine):
    results = verdicts(lemma_9.STATEMENT, cosine)
    assert [v.outcome for v in results] == [Outcome.HOLDS] * 3
    assert all(v.routes_agree for v in results)
    assert results[2].parameters["eps_alpha"] > 0


def test_as_printed_it_is_refuted_at_cosine_one():
    (verdict,) = verdicts(lemma_9.AS_PRINTED, 0.9)
    assert verdict.outcome is Outcome.REFUTED
    code, _, value = verdict.witness.rpartition("; ")
    names: dict[str, object] = {}
    exec(code, names)
    assert eval(value, names) == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("cosine", COSINES)
def test_shrinkage_against_forty_digits(cosine):
    with mp.workdps(60):
        alpha = mp.mpf(cosine)
        beta = (2 + alpha + mp.sqrt(2 - alpha**2)) / 4
        expected = 1 - (alpha + mp.sqrt(1 - beta**2)) / beta
        assert math.isclose(lemma_8.net_gap(cosine), float(1 - beta), rel_tol=1e-14)
        assert math.isclose(lemma_9.shrinkage(cosine), float(expected), rel_tol=2e-14)


def test_shrinkage_falls_to_zero_with_the_gap():
    gaps = 2.0 ** np.arange(-53, 1)  # so that 1 - gap is exact
    values = [lemma_9.shrinkage(1.0 - gap) for gap in gaps]
    assert (np.diff(values) > 0).all()
    assert 0 < values[0] < values[-1] < 1
    assert math.isclose(values[0] / gaps[0], 1 - 1 / math.sqrt(2), rel_tol=1e-9)


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 0.8), (0.6, 0.6), (0.9, 0.997), (0.7, 0.2), (0.0, 1.0)])
def test_the_maximum_by_optimisation_over_angles(alpha, beta):
    """Three unit vectors in space: a polar angle for y, one for z, and the angle between their planes."""

    def negative(angles):
        a, b, between = angles
        return -(math.cos(a) * math.cos(b) + math.sin(a) * math.sin(b) * math.cos(between))

    bounds = [(math.acos(alpha), math.pi), (0.0, math.acos(beta)), (0.0, math.pi)]
    starts = [[(low + high) / 2 for low, high in bounds], [bounds[0][0], bounds[1][1], 0.1]]
    found = max(-minimize(negative, start, bounds=bounds, tol=1e-14).fun for start in starts)
    assert math.isclose(found, lemma_9.largest_cosine(alpha, beta), abs_tol=1e-6)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(2, 10), st.integers(0, 2**32))
@hypothesis_settings(deadline=None, max_examples=150)
def test_no_triple_is_above_the_maximum_nor_that_above_the_bound(alpha, beta, m, seed):
    cosines = lemma_9.triples(np.random.default_rng(seed), 50, m, alpha, beta)
    largest = lemma_9.largest_cosine(alpha, beta)
    assert cosines.max() <= largest + 1e-14
    assert largest <= alpha + math.sqrt((1 - beta) * (1 + beta)) + 1e-15
    # Monotonic in both: more room can only raise the maximum.
    assert lemma_9.largest_cosine(alpha * 0.99, beta) <= largest + 1e-15
    assert lemma_9.largest_cosine(alpha, min(1.0, beta * 1.01)) <= largest + 1e-15


def test_vectors_and_not_only_their_cosines():
    """The same from vectors: y and z built in coordinates, the hypotheses and the conclusion read off."""
    generator = np.random.default_rng(np.random.SeedSequence(6))
    alpha, beta, seen = 0.4, 0.75, 0
    for _ in range(20_000):
        x, y, z = generator.standard_normal((3, int(generator.integers(2, 11))))
        z = x + 0.4 * z
        cosine = lambda u, v: float(u @ v / np.linalg.norm(u) / np.linalg.norm(v))  # noqa: E731
        if cosine(x, y) <= alpha and cosine(x, z) >= beta:
            seen += 1
            assert cosine(y, z) <= lemma_9.largest_cosine(alpha, beta) + 1e-14
    assert seen > 5000


@pytest.mark.parametrize("step", ["missing root", "sign", "square"])
def test_planted_falsehoods_are_refuted(step):
    alpha, beta = 0.3, 0.9
    wrong = {"missing root": alpha + (1 - beta**2), "sign": alpha - math.sqrt(1 - beta**2), "square": alpha**2 + 0.43}
    bound = wrong[step]
    room = bound - lemma_9.largest_cosine(alpha, beta)
    assert room < 0
    routes = (lemma_9.exact_maximum(alpha, beta, bound, room), lemma_9.random_triples(alpha, beta, bound))
    verdict = judge(lemma_9.STATEMENT, "-", Claim({}, "planted", routes), SETTINGS, 1e-4, 0)
    assert verdict.outcome is Outcome.REFUTED
    assert all(finding.says is Says.REFUTES for finding in verdict.findings)
    for finding in verdict.findings:
        code, _, value = finding.witness.rpartition("; ")
        names: dict[str, object] = {}
        exec(code, names)
        found, limit = eval(value, names)
        assert found > limit


def test_a_shrinkage_twice_as_large_is_refuted():
    """At alpha = 0.99: the exact maximum leaves room for about twice the paper's, so three times is too much."""
    beta, eps = 1 - lemma_8.net_gap(0.99), lemma_9.shrinkage(0.99)
    bound = (1 - 4 * eps) * beta
    assert lemma_9.random_triples(0.99, beta, bound)(CONTEXT).says is Says.REFUTES
    assert lemma_9.random_triples(0.99, beta, (1 - eps) * beta)(CONTEXT).says is Says.SURVIVES


@pytest.mark.parametrize("cosine", [-0.1, 1.0])
def test_hypothesis(cosine):
    with pytest.raises(InvalidArgumentError, match="hypothesis of Lemma 9"):
        lemma_9.STATEMENT.check_hypotheses(dataclasses.replace(SETTINGS, cosine=cosine))
