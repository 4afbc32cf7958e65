"""Records add like the runs that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from kwta_theory import simulation
from kwta_theory.checks import InvalidArgumentError

POINTS = np.array([[1.0, 0.0, 0.5], [0.2, 1.0, 0.0], [0.0, 0.3, 1.0]])


def overlap(seed: int, k: int = 2, points: np.ndarray = POINTS) -> simulation.PatternOverlap:
    return simulation.pattern_overlap(20, k, trials=30, points=points, seed=seed)


def fitted(seed: int) -> simulation.Interpolation:
    return simulation.interpolation(20, 2, [1, 2, 3], 30, points=POINTS, seed=seed)


def changed(seed: int) -> simulation.PatternChange:
    return simulation.pattern_change(20, 2, [1.0, 0.0, 0.0], np.eye(3)[1:], 0.5, 30, seed=seed)


@pytest.mark.parametrize("run", [overlap, fitted, changed])
def test_addition_is_associative_and_sum_works(run):
    a, b, c = run(0), run(1), run(2)
    assert (a + b) + c == a + (b + c) == sum([a, b, c])
    assert a != b
    assert a != 1


@pytest.mark.parametrize("run", [overlap, changed])
def test_addition_of_counts_commutes(run):
    assert run(0) + run(1) == run(1) + run(0)


def test_trials_are_appended_in_order():
    a, b = fitted(0), fitted(1)
    np.testing.assert_array_equal((a + b).minimum_norm, np.concatenate([a.minimum_norm, b.minimum_norm]))
    assert (a + b).any_vector.trials == 60


def test_equality_sees_every_number_and_treats_nan_as_itself():
    """Width 4 with 3 winners: most trials cannot build the proof's v, and NaN says so."""
    run = [simulation.interpolation(4, 3, [1, 2, 3], 30, points=POINTS, seed=s) for s in (0, 0, 1)]
    assert np.isnan(run[0].proof_norm).any()
    assert run[0] == run[1]
    assert run[0] != run[2]


def test_different_questions_do_not_add():
    with pytest.raises(InvalidArgumentError, match="k=2 and k=3 cannot be added"):
        overlap(0) + overlap(0, k=3)
    with pytest.raises(InvalidArgumentError, match=r"totals has shapes \(3, 3\) and \(2, 2\)"):
        overlap(0) + overlap(0, points=POINTS[:2])
    with pytest.raises(InvalidArgumentError, match="changed has 2 and 1 entries"):
        changed(0) + simulation.pattern_change(20, 2, [1.0, 0.0, 0.0], np.eye(3)[1], 0.5, 30)
    with pytest.raises(TypeError):
        overlap(0) + fitted(0)
    with pytest.raises(TypeError):
        1 + overlap(0)


def test_records_do_not_print_one_number_per_trial():
    assert len(repr(fitted(0))) < 300
