"""Remark 1: packings by volumes, areas and known sets; bounds that these refute; the repaired step of the proof."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kwta_theory import inputs, theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.statements import remark_1
from kwta_theory.statements.finding import Says
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Budget, Settings
from kwta_theory.statements.verdict import Outcome

SETTINGS = Settings(budget=Budget("tiny", 1e6, 1000))


def verdict_of(claim):
    return judge(remark_1.STATEMENT, "-", claim, SETTINGS, 1e-4, 0)


@pytest.mark.parametrize(
    "points",
    [
        inputs.mnist_images(10, seed=0),
        inputs.gaussian_points(10, 32, seed=0),
        inputs.points_with_cosine(10, 0.9),
        inputs.gaussian_points(1, 5, seed=0),
        inputs.gaussian_points(2, 1, seed=1),
    ],
    ids=lambda points: points.name,
)
def test_it_holds_for_the_points_of_a_run(points):
    remark_1.STATEMENT.check_hypotheses(SETTINGS)
    (claim,) = remark_1.STATEMENT.cases(points, SETTINGS)
    verdict = verdict_of(claim)
    assert verdict.outcome is Outcome.HOLDS
    assert verdict.parameters["N"] == points.count
    assert verdict.parameters["m"] == points.input_dim
    largest = points.max_cosine() if points.count > 1 else 0
    assert verdict.parameters["alpha"] == pytest.approx(largest if largest > 0.5 else 0.9)


@given(st.integers(1, 100_000), st.floats(1e-9, 0.4999999))
def test_areas_are_below_the_bound_for_all(m, gap):
    cosine = 1.0 - gap
    assert theory.log_packing_bound(m, cosine) <= remark_1.log_bound(m, cosine) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("m", "cosine", "count"), [(4, math.cos(math.pi / 5), 120), (8, 0.5, 240), (24, 0.5, 196_560), (2, 0.9, 13)]
)
def test_known_sets_obey_it_and_refute_less(m, cosine, count):
    """600-cell, E8, Leech lattice, polygon: below the bound, and above the same with 1 for 2."""
    assert math.log(count) < remark_1.log_bound(m, cosine)
    one_for_two = m * math.log1p(0.5 / math.sqrt(2 * (1 - cosine)))
    assert math.log(count) > one_for_two


def test_planted_bounds_are_refuted_by_the_sets_that_are_there():
    """The 600-cell against a hundred points, and the points of the run against fewer than they are."""
    verdict = verdict_of(remark_1.claim(4, 0.81, 5, limit=math.log(100)))
    assert verdict.outcome is Outcome.REFUTED
    assert verdict.findings[2].says is Says.REFUTES
    assert verdict.findings[0].says is Says.SURVIVES
    code, _, value = verdict.witness.partition("; ")
    names: dict[str, object] = {}
    exec(code, names)
    sets, limit = eval(value, names)
    assert max(math.log(count) for _, count, cosine in sets if cosine <= 0.81) > limit
    verdict = verdict_of(remark_1.claim(3, 0.6, 500, limit=math.log(400)))
    assert verdict.findings[3].says is Says.REFUTES
    exec(verdict.findings[3].witness, {})
    # By areas nothing is settled there, and by volumes neither.
    half = remark_1.claim(50, 0.9, 5, limit=remark_1.log_bound(50, 0.9) / 2)
    assert verdict_of(half).outcome is Outcome.UNDECIDED


def test_a_net_may_not_be_half_open_but_that_is_harmless():
    """A point within rho of two unit vectors 2 rho apart is their midpoint, of length sqrt(1 - rho^2) < 1."""
    for alpha in (0.51, 0.9, 0.999):
        rho = math.sqrt((1 - alpha) / 2)
        x = np.array([[math.cos(t), math.sin(t)] for t in (0.0, math.acos(alpha))])
        assert math.isclose(np.linalg.norm(x[0] - x[1]), 2 * rho, rel_tol=1e-9)
        middle = x.mean(axis=0)
        assert math.isclose(np.linalg.norm(middle), math.sqrt(1 - rho**2), rel_tol=1e-12)
        assert np.linalg.norm(middle) < 1


@pytest.mark.parametrize("cosine", [0.5, 1.0])
def test_hypothesis_of_the_remark(cosine):
    with pytest.raises(InvalidArgumentError, match="hypothesis of Remark 1"):
        remark_1.STATEMENT.check_hypotheses(dataclasses.replace(SETTINGS, cosine=cosine))
