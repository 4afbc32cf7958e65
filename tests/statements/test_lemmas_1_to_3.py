"""Lemmas 1 to 3: orderings, cells as half-spaces, the antipode; and rules for patterns under which they are false."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.inputs import points_with_cosine
from kwta_theory.statements import lemma_1, lemma_2, lemma_3, orderings
from kwta_theory.statements.finding import RouteContext, Says
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Budget, Settings
from kwta_theory.statements.verdict import Outcome

SETTINGS = Settings(width=64, input_dim=20, budget=Budget("tiny", 1e6, 1000))
POINTS = points_with_cosine(2, 0.9)
CONTEXT = RouteContext(5, 1e-4, SETTINGS.budget)


def verdicts(statement, settings=SETTINGS):
    statement.check_hypotheses(settings)
    return [judge(statement, "-", claim, settings, 1e-4, 0) for claim in statement.cases(POINTS, settings)]


@pytest.mark.parametrize("statement", [lemma_1.STATEMENT, lemma_2.STATEMENT, lemma_3.STATEMENT])
def test_they_hold(statement):
    results = verdicts(statement)
    assert {v.outcome for v in results} == {Outcome.HOLDS}
    for v in results:
        assert v.routes_agree
        assert [finding.says for finding in v.findings] == [Says.SETTLES, Says.SURVIVES]
        assert all(finding.instances > 0 for finding in v.findings)


def test_lemma_2_as_printed_is_false_and_its_witness_replays():
    results = verdicts(lemma_2.AS_PRINTED)
    assert [v.parameters["m"] for v in results] == [1, 2, 20]
    assert {v.outcome for v in results} == {Outcome.REFUTED}
    for v in results:
        code, _, value = v.witness.rpartition("; ") if v.parameters["m"] == 2 else (v.witness, "", "")
        names: dict[str, object] = {}
        exec(code, names)  # up to the patterns at x and -x
        x, weights = names["x"], names["W"]
        pattern = orderings.patterns
        assert (pattern(weights @ x, 1) == pattern(weights @ -x, 1)).all()
        if value:
            assert not any((found == pattern(weights @ x, 1)).all() for found in eval(value, names))
    assert "passes through 0" in results[0].note


@pytest.mark.parametrize("m", [2, 3, 4, 7])
def test_the_counterexample_for_every_direction_by_linear_programming(m):
    """No ``u != 0`` orthogonal to ``x`` keeps all other outputs at most 0: each coordinate is 0 at its extremes."""
    weights = lemma_2.counterexample(m)
    assert weights.shape == (m + 1, m)
    assert (weights[:, 0] == 0).all()
    for coordinate, sign in itertools.product(range(1, m), (1, -1)):
        objective = np.zeros(m)
        objective[coordinate] = sign
        bounds = [(0, 0), *[(-1, 1)] * (m - 1)]
        result = linprog(objective, A_ub=weights[1:], b_ub=np.zeros(m), bounds=bounds)
        assert abs(result.fun) < 1e-12
    # Negative control: without the last row there is such a direction.
    result = linprog(-objective * sign, A_ub=weights[1:-1], b_ub=np.zeros(m - 1), bounds=bounds)
    assert linprog(objective * sign, A_ub=weights[1:-1], b_ub=np.zeros(m - 1), bounds=bounds).fun == -1
    assert result.success


def test_no_smaller_counterexample_on_the_circle():
    """With two outputs a cell is a half-plane or everything, so that some x' at any cosine shares the pattern of x."""
    for entries in itertools.product((-1, 0, 1), repeat=4):
        weights = np.array(entries).reshape(2, 2)
        directions = lemma_2.all_directions(weights)
        for k in (1, 2):
            pattern = orderings.patterns(directions @ weights.T, k)
            for x in directions:
                normal = np.array([-x[1], x[0]])
                own = orderings.patterns(weights @ x, k)
                sides = [orderings.patterns(weights @ (100 * x + s * normal), k) for s in (1, -1)]
                assert any((own == side).all() for side in sides)
            assert len(np.unique(pattern, axis=0)) <= 2


def test_fubini_numbers_and_no_repetition():
    counts = []
    for width in range(1, 7):
        ranks = orderings.weak_orderings(width)
        assert len({tuple(row) for row in ranks.tolist()}) == len(ranks)
        counts.append(len(ranks))
    assert counts == [1, 3, 13, 75, 541, 4683]
    with pytest.raises(InvalidArgumentError, match="width=8"):
        orderings.weak_orderings(8)
    with pytest.raises(InvalidArgumentError, match="below k=4"):
        orderings.patterns(np.array([1, 2, 3]), 4)


def test_three_patterns_of_the_same_vectors():
    """The definition, the library's threshold, and a sort that is stable in the index."""
    for values, k in orderings.every_ordering_and_k():
        sort = np.argsort(-values, axis=1, kind="stable")[:, :k]
        by_sort = np.zeros(values.shape, dtype=bool)
        np.put_along_axis(by_sort, sort, True, axis=1)
        assert (orderings.patterns(values, k) == by_sort).all()
        assert (orderings.library_patterns(values, k) == by_sort).all()


@given(st.data())
@hypothesis_settings(deadline=None, max_examples=150)
def test_convexity_in_rational_arithmetic(data):
    """Lemma 1 with a bias, and Lemma 3, for any integers."""
    m, width = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 12))
    k = data.draw(st.integers(1, width))
    numbers = st.integers(-3, 3)
    draw = lambda *shape: np.array(  # noqa: E731
        data.draw(st.lists(numbers, min_size=math.prod(shape), max_size=math.prod(shape)))
    ).reshape(shape)
    weights, bias, points = draw(width, m), draw(width), draw(6, m)
    pattern = orderings.patterns(points @ weights.T + bias, k)
    part, whole = data.draw(st.integers(0, 9)), 9
    for i, j in itertools.combinations(range(6), 2):
        outputs = (part * points[i] + (whole - part) * points[j]) @ weights.T + whole * bias
        if (pattern[i] == pattern[j]).all():
            assert (orderings.patterns(outputs, k) == pattern[i]).all()
        lost = lemma_3.least_winner_and_largest_loser(points[j] @ weights.T + bias, pattern[i])
        assert not (lost and (pattern[i] == pattern[j]).all())


def by_absolute_value(values, k):
    return orderings.patterns(np.abs(values), k)


def ties_by_the_sum(values, k):
    """Ties to the smaller or to the larger index, as the sum of the vector decides: no order of pairs."""
    reverse = orderings.patterns(values[..., ::-1], k)[..., ::-1]
    return np.where((values.sum(axis=-1) % 2 == 0)[..., None], orderings.patterns(values, k), reverse)


def test_convexity_is_refuted_under_other_rules(monkeypatch):
    """Drawn layers find the one that is no convex rule, the enumeration the one that is no order of pairs."""
    monkeypatch.setattr(orderings, "library_patterns", by_absolute_value)
    found = lemma_1.random_layers(64)(CONTEXT)
    assert found.says is Says.REFUTES
    exec(found.witness, {})
    (verdict,) = verdicts(lemma_1.STATEMENT)
    assert verdict.outcome is Outcome.UNDECIDED  # ranks are never negative: the enumeration sees no difference
    assert not verdict.routes_agree
    monkeypatch.setattr(orderings, "library_patterns", ties_by_the_sum)
    assert lemma_1.half_spaces(CONTEXT).says is Says.REFUTES
    assert verdicts(lemma_1.STATEMENT)[0].outcome is Outcome.REFUTED


def test_lemma_2_is_refuted_under_another_rule(monkeypatch):
    monkeypatch.setattr(orderings, "library_patterns", by_absolute_value)
    found = lemma_2.around_the_circle(CONTEXT)
    assert found.says is Says.REFUTES
    exec(found.witness, {})


def test_the_antipode_is_refuted_where_the_sign_is_lost(monkeypatch):
    monkeypatch.setattr(orderings, "library_patterns", by_absolute_value)
    monkeypatch.setattr(orderings, "patterns", lambda values, k: original(np.abs(values), k))
    found = lemma_2.gaussian_outputs(64)(CONTEXT)
    assert found.says is Says.REFUTES
    assert found.against == 200
    exec(found.witness, {})
    assert lemma_2.opposite_orderings(CONTEXT).says is Says.REFUTES


original = orderings.patterns


def test_lemma_3_is_refuted_under_another_rule(monkeypatch):
    monkeypatch.setattr(orderings, "patterns", lambda values, k: original(-values, k))
    monkeypatch.setattr(orderings, "library_patterns", lambda values, k: original(-values, k))
    (verdict,) = verdicts(lemma_3.STATEMENT)
    assert verdict.outcome is Outcome.REFUTED
    for finding in verdict.findings:
        assert finding.says is Says.REFUTES
        exec(finding.witness, {})


def test_the_laws_of_the_order_are_refuted_without_the_rule_for_ties(monkeypatch):
    monkeypatch.setattr(orderings, "beats", lambda values: values[..., :, None] > values[..., None, :])
    assert orderings.order_violations() == 7  # all orderings of three entries with a tie
    assert lemma_2.positive_combination(CONTEXT).says is Says.REFUTES


def test_lemma_3_needs_the_strict_inequality_and_has_no_converse():
    y, tied = np.array([2, 1]), np.array([1, 1])
    assert (orderings.patterns(y, 1) == orderings.patterns(tied, 1)).all()  # y'_i = y'_j, the same pattern
    other = np.array([1, 2])
    assert (orderings.patterns(other, 1) != orderings.patterns(tied, 1)).any()  # different, with no y'_i < y'_j
    assert not lemma_3.least_winner_and_largest_loser(tied, orderings.patterns(other, 1))


@given(st.floats(0.01, 0.99), st.floats(0.001, 0.999))
def test_the_vector_at_the_cosine_is_the_stated_combination(alpha, share):
    theta = math.acos(alpha)
    phi = theta + share * (math.pi - theta)
    x, far = np.array([1.0, 0.0]), np.array([math.cos(phi), math.sin(phi)])
    near = (math.sin(phi - theta) * x + math.sin(theta) * far) / math.sin(phi)
    assert math.sin(phi - theta) > 0 < math.sin(theta)
    assert np.allclose(near, [alpha, math.sin(theta)], rtol=0, atol=1e-15 / math.sin(phi) + 1e-15)


@pytest.mark.parametrize("cosine", [0.0, -0.5, 1.0])
def test_hypothesis_of_lemma_2(cosine):
    with pytest.raises(InvalidArgumentError, match="hypothesis of Lemma 2"):
        lemma_2.STATEMENT.check_hypotheses(dataclasses.replace(SETTINGS, cosine=cosine))


def test_one_output_and_one_input():
    with pytest.raises(InvalidArgumentError, match="input_dim=0"):
        lemma_2.counterexample(0)
    assert lemma_2.counterexample(1).tolist() == [[0], [0]]
    lonely = Settings(width=1, sparsity_ratio=1.0, input_dim=2, budget=SETTINGS.budget)
    for statement in (lemma_1.STATEMENT, lemma_2.STATEMENT, lemma_3.STATEMENT):
        assert {v.outcome for v in verdicts(statement, lonely)} == {Outcome.HOLDS}
