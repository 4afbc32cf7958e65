"""Lemmas 6 and 7: the sizes of nets that hold, the printed ones that do not, and where they do."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.inputs import points_with_cosine
from kwta_theory.statements import lemma_6, lemma_7
from kwta_theory.statements.case import Claim
from kwta_theory.statements.finding import RouteContext, Says
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Budget, Settings
from kwta_theory.statements.verdict import Outcome
from kwta_theory.theory import nets

SETTINGS = Settings(budget=Budget("tiny", 1e6, 1000))
POINTS = points_with_cosine(2, 0.9)
CONTEXT = RouteContext(5, 1e-4, SETTINGS.budget)


def verdicts(statement, **changes):
    settings = dataclasses.replace(SETTINGS, **changes)
    statement.check_hypotheses(settings)
    return [judge(statement, "-", claim, settings, 1e-4, 0) for claim in statement.cases(POINTS, settings)]


@pytest.mark.parametrize("statement", [lemma_6.STATEMENT, lemma_7.STATEMENT])
@pytest.mark.parametrize("changes", [{}, {"input_dim": 2}, {"input_dim": 3072, "cosine": 0.95}, {"cosine": 0.55}])
def test_the_repaired_sizes_hold_and_the_printed_ones_at_theorem_8(statement, changes):
    results = verdicts(statement, **changes)
    assert [v.outcome for v in results] == [Outcome.HOLDS] * 2
    assert all(v.routes_agree for v in results)
    assert results[0].scope == "repaired: 2 for 1"


@pytest.mark.parametrize("statement", [lemma_6.AS_PRINTED, lemma_7.AS_PRINTED])
@pytest.mark.parametrize("input_dim", [27, 100, 784, 5000])
def test_as_printed_they_are_refuted_by_both_routes(statement, input_dim):
    verdict = verdicts(statement, input_dim=input_dim)[-1]
    assert verdict.outcome is Outcome.REFUTED
    assert all(finding.says is Says.REFUTES for finding in verdict.findings)
    for finding in verdict.findings:
        code, _, value = finding.witness.partition("; ")
        names: dict[str, object] = {}
        exec(code, names)
        needed, allowed = eval(value, names)
        assert needed > allowed + 1e-3


def test_as_printed_in_low_dimensions():
    circle, sphere = verdicts(lemma_6.AS_PRINTED, input_dim=10)
    assert circle.outcome is Outcome.HOLDS
    assert circle.parameters["d"] == 2
    assert sphere.outcome is Outcome.UNDECIDED
    assert "would decide" in sphere.reason
    assert verdicts(lemma_7.AS_PRINTED, input_dim=2)[0].outcome is Outcome.HOLDS
    assert verdicts(lemma_7.AS_PRINTED, input_dim=3)[0].outcome is Outcome.HOLDS
    # Where only the computed integral is sharp enough, the other route does not contradict it.
    (_, between) = verdicts(lemma_6.AS_PRINTED, input_dim=22)
    assert [finding.says for finding in between.findings] == [Says.SURVIVES, Says.REFUTES]
    assert between.outcome is Outcome.REFUTED


def test_the_other_side_of_theorem_8():
    """Without a cosine of Theorem 8 only the repaired form is judged; a slice near the equator has Theorem 8's net."""
    assert len(verdicts(lemma_6.STATEMENT, cosine=0.3)) == 1
    assert len(verdicts(lemma_7.STATEMENT, cosine=-0.3)) == 1
    for_all, at_theorem_8 = (verdicts(lemma_7.STATEMENT, cosine=c)[1] for c in (0.87, 0.86))
    assert for_all.parameters["epsilon"] == "every value in (0, 1)"
    assert at_theorem_8.scope == "at the net of Theorem 8"
    assert isinstance(at_theorem_8.parameters["epsilon"], float)


def test_a_planted_size_is_refuted():
    """Half of what a net needs is refuted; a little more than what is known to suffice holds."""
    d, distance = 50, 0.3
    limit = nets.log_net_lower_bound(d, distance) - math.log(2.0)
    routes = (lemma_6.existence(d, distance, limit), lemma_6.necessity(d, distance, limit))
    planted = Claim({"d": d}, "half of the points that are needed", routes)
    verdict = judge(lemma_6.STATEMENT, "-", planted, SETTINGS, 1e-4, 0)
    assert verdict.outcome is Outcome.REFUTED
    exec(verdict.witness, {})
    true = nets.log_net_upper_bound(d, distance) + 1e-3
    routes = (lemma_6.existence(d, distance, true), lemma_6.necessity(d, distance, true))
    verdict = judge(lemma_6.STATEMENT, "-", Claim({}, "enough", routes), SETTINGS, 1e-4, 0)
    assert verdict.outcome is Outcome.HOLDS


def test_other_routes_see_planted_falsehoods(monkeypatch):
    size = nets.log_printed_net_size
    monkeypatch.setattr(nets, "log_printed_net_size", lambda d, x: size(d, x) - 700 * d)
    found = lemma_7.over_distances(50, 0.4)(CONTEXT)
    assert found.says is Says.REFUTES
    exec(found.witness, {})
    monkeypatch.undo()
    assert lemma_7.over_distances(50, 0.4)(CONTEXT).says is Says.SURVIVES
    monkeypatch.setattr(nets, "sphere_net", lambda d, _: np.eye(d)[:1])
    found = lemma_7.constructed(CONTEXT)
    assert found.says is Says.REFUTES
    exec(found.witness, {})
    monkeypatch.setattr(nets, "sphere_net", lambda d, x: np.ones((math.ceil(2 + 4 / x**2), d)))
    found = lemma_6.constructed_nets(2)(CONTEXT)
    assert found.says is Says.REFUTES
    exec(found.witness, {})
    monkeypatch.setattr(lemma_6, "separated", lambda *_: 10**9)
    found = lemma_6.greedy_sets(CONTEXT)
    assert found.says is Says.REFUTES
    exec(found.witness, {})


def test_greedy_sets_are_separated_and_complete():
    generator = np.random.default_rng(np.random.SeedSequence(4))
    assert lemma_6.separated(generator, 1, 0.5, 100) == 2
    # On the circle at least half of the corners of the densest polygon and at most all of them.
    most = math.floor(2 * math.pi / (2 * math.asin(0.25)))
    assert most / 2 <= lemma_6.separated(generator, 2, 0.5, 4000) <= most


def test_slices():
    net = lemma_7.slice_net(0.6, 0.3, 4)
    assert np.allclose(np.linalg.norm(net, axis=1), 1, rtol=0, atol=1e-15)
    assert (net[:, 0] == 0.6).all()
    with pytest.raises(InvalidArgumentError, match="input_dim=4 is not allowed"):
        lemma_7.slice_net(0.6, 0.3, 5)
    with pytest.raises(InvalidArgumentError, match="hypothesis of Lemma 7"):
        lemma_7.STATEMENT.check_hypotheses(dataclasses.replace(SETTINGS, cosine=1.0))


def test_the_net_of_theorem_8():
    """Through the number that the proof prints for the size of its net."""
    m, width, alpha = SETTINGS.input_dim, SETTINGS.width, SETTINGS.cosine
    inverse = 720 * alpha * math.sqrt(m * width) / math.sqrt(2 * math.pi * (1 - alpha**2))
    assert math.isclose(lemma_6.theorem8_distance(SETTINGS), 1 / inverse, rel_tol=1e-12)


def test_sizes_in_words():
    assert lemma_6.times(math.log(4.96)) == "4.96"
    assert lemma_6.times(5000.0).startswith("10^2")
