"""Crossings of boundaries against all pairs and a fine grid on the same normals, exact identities, and the exact law.

z-scores at sizes fixed beforehand, |z| < 4.6; each negative control applies the same test to a plausible mistake.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from kwta_theory.activation import activation_pattern
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.seeding import Stream
from kwta_theory.simulation import crossings, drawing
from kwta_theory.simulation.crossings import boundary_crossings
from kwta_theory.theory import boundaries

LIMIT = 4.6
FULL = 2 * math.pi


def normals(width: int, trials: int, seed: int) -> np.ndarray:
    """The numbers of the first tile, as the estimator draws them: ``(trials, 2, width)``."""
    size = drawing.CPU_TILE // (2 * width)
    return Stream(seed, "layer").normals((0, 0), (size, 2, width), torch.device("cpu"), torch.float64)[:trials].numpy()


def all_pairs(x: np.ndarray, y: np.ndarray, k: int, angle: float) -> list[float]:
    """Every meeting of two outputs with ``k - 1`` others above: the values ``x*``, one trial, no sweep."""
    found = []
    for i in range(len(x)):
        for j in range(i):
            first = math.atan2(x[j] - x[i], y[i] - y[j]) % math.pi
            for t in np.arange(first, angle, math.pi):
                z = x * math.cos(t) + y * math.sin(t)
                others = np.delete(z, [i, j])
                if (others > z[i]).sum() == k - 1:
                    found.append(float(z[i] + z[j]) / 2)
    return found


@pytest.mark.parametrize(("width", "k", "angle"), [(2, 1, FULL), (6, 2, FULL), (9, 8, 1.0), (7, 3, 7.5), (12, 5, 0.3)])
def test_sweep_finds_what_all_pairs_find(width, k, angle):
    pairs = normals(width, 60, seed=4)
    found = crossings.turn(*torch.from_numpy(pairs).unbind(dim=1), k, angle)
    for trial, (x, y) in enumerate(pairs):
        values = np.array(all_pairs(x, y, k, angle))
        expected = [len(values), values.sum(), np.abs(values).sum(), (values**2).sum()]
        assert found[:, trial].tolist() == pytest.approx(expected, abs=1e-10)
    counted = boundary_crossings(width, k, 60, angle=angle, seed=4)
    assert counted.changes.total == float(found[0].sum())
    assert counted.squared_values.total == pytest.approx(float(found[3].sum()), rel=1e-13)


def test_sweep_finds_what_a_fine_grid_shows():
    """A grid only sees changes of the pattern; at 40,000 steps a turn it misses none in these 8 layers."""
    width, k = 30, 3
    x, y = torch.from_numpy(normals(width, 8, seed=2)).unbind(dim=1)
    t = torch.linspace(0, FULL, 40_001, dtype=torch.float64)[:, None]
    found = crossings.turn(x, y, k, FULL)[0].tolist()
    for trial, count in enumerate(found):
        pattern = activation_pattern(x[trial] * t.cos() + y[trial] * t.sin(), k)
        assert (pattern[1:] != pattern[:-1]).any(dim=1).sum() == count


@pytest.mark.parametrize("width", [2, 5, 16])
def test_all_pairs_meet_exactly_once_in_a_half_turn(width):
    pairs = torch.from_numpy(normals(width, 50, seed=9)).unbind(dim=1)
    met = sum(crossings.turn(*pairs, k, math.pi)[0] for k in range(1, width))
    assert (met == math.comb(width, 2)).all()


def test_winners_and_losers_change_places_in_a_half_turn():
    x, y = torch.from_numpy(normals(11, 100, seed=1)).unbind(dim=1)
    here, there = crossings.turn(x, y, 3, math.pi), crossings.turn(-x, -y, 8, math.pi)
    assert (here[0] == there[0]).all()
    assert torch.allclose(here[1], -there[1], atol=1e-10)
    whole, opposite = crossings.turn(x, y, 3, FULL)[0], crossings.turn(x, y, 8, FULL)[0]
    assert (whole == opposite).all()
    assert (whole == here[0] + crossings.turn(-x, -y, 3, math.pi)[0]).all()


# Standard errors of the mean count: below 0.3 % at these sizes, so that one winner more (4 % or more) is seen.
@pytest.mark.parametrize(("width", "k", "angle", "trials"), [(5, 2, FULL, 20_000), (20, 3, FULL, 20_000),
                                                            (20, 17, 0.4, 60_000), (100, 10, FULL, 3000)])  # fmt: skip
def test_counts_and_values_follow_the_exact_law(width, k, angle, trials):
    counted = boundary_crossings(width, k, trials, angle=angle, seed=6)

    def z(summed: crossings.TrialSum, expected: float) -> float:
        return (summed.mean(trials) - expected) / summed.standard_error(trials)

    expected = angle * boundaries.boundary_density(width, k)
    law = boundaries.swap_value(width, k)
    assert abs(z(counted.changes, expected)) < LIMIT
    assert abs(z(counted.values, expected * law.mean)) < LIMIT
    assert abs(z(counted.absolute_values, expected * law.mean_absolute)) < LIMIT
    assert abs(z(counted.squared_values, expected * law.root_mean_square**2)) < LIMIT
    # Negative controls: a winner less, ReLU's density, and the k-th output at a fixed angle in place of a change.
    assert abs(z(counted.changes, angle * boundaries.boundary_density(width, k - 1))) > LIMIT
    assert abs(z(counted.changes, angle * boundaries.relu_boundary_density(width))) > LIMIT
    fixed = np.sort(np.random.default_rng(np.random.SeedSequence(3)).standard_normal((20_000, width)))[:, -k]
    assert abs(z(counted.squared_values, expected * float((fixed**2).mean()))) > LIMIT


def test_groups_of_lwta_are_narrow_layers_with_one_winner():
    """Four groups of five: four independent layers of width 5 with ``k = 1``."""
    trials = 20_000
    counted = boundary_crossings(5, 1, 4 * trials, angle=1.0, seed=8).changes
    expected = boundaries.lwta_boundary_density(20, 5) / 4
    assert abs(counted.mean(4 * trials) - expected) < LIMIT * counted.standard_error(4 * trials)
    assert abs(counted.mean(4 * trials) - boundaries.lwta_boundary_density(20, 4) / 5) > LIMIT * counted.standard_error(
        4 * trials
    )


def test_nothing_changes_where_all_win():
    assert boundary_crossings(6, 6, 20).changes == crossings.TrialSum(0.0, 0.0)


def test_ties_and_equal_outputs_do_not_trap_the_sweep():
    """Equal rows are never told apart; opposite ones meet at once; integers meet three at a time."""
    x = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, -1.0, 1.0, -1.0], [2.0, 1.0, 0.0, 1.0]])
    y = torch.tensor([[2.0, 2.0, 2.0, 2.0], [1.0, -1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 1.0]])
    counts = crossings.turn(x.double(), y.double(), 2, FULL)[0]
    assert counts[0] == 0
    assert (counts < 20).all()


def test_result_depends_on_seed_and_parameters_only():
    base = boundary_crossings(300, 30, 2000, angle=0.2, seed=5)
    assert boundary_crossings(300, 30, 2000, angle=0.2, seed=5, workers=2, memory_budget=2**31) == base
    assert boundary_crossings(300, 30, 2000, angle=0.2, seed=6) != base
    assert boundary_crossings(300, 30, 2000, angle=0.3, seed=5) != base
    # 436 trials fill the first tile; they are the first of any longer run.
    counts = crossings.turn(*torch.from_numpy(normals(300, 436, seed=5)).unbind(dim=1), 30, 0.2)[0]
    assert boundary_crossings(300, 30, 436, angle=0.2, seed=5).changes.total == float(counts.sum())
    assert boundary_crossings(300, 30, 100, angle=0.2, seed=5).changes.total == float(counts[:100].sum())


def test_records_add():
    parts = [boundary_crossings(10, 2, 30, seed=seed) for seed in (1, 2)]
    both = sum(parts)
    assert both.trials == 60
    assert both.changes.total == parts[0].changes.total + parts[1].changes.total
    assert both.squared_values.total_squares == sum(part.squared_values.total_squares for part in parts)
    with pytest.raises(InvalidArgumentError, match="cannot be added"):
        parts[0] + boundary_crossings(10, 3, 30)
    with pytest.raises(InvalidArgumentError, match="cannot be added"):
        parts[0] + dataclasses.replace(parts[1], angle=1.0)


def test_errors():
    with pytest.raises(InvalidArgumentError, match="width=3 is below k=4"):
        boundary_crossings(3, 4)
    with pytest.raises(InvalidArgumentError, match=r"angle=0\.0 is not allowed"):
        boundary_crossings(3, 1, angle=0.0)
    with pytest.raises(InvalidArgumentError, match="trials=0"):
        boundary_crossings(3, 1, 0)
    with pytest.raises(InvalidArgumentError, match="memory_budget=1000 bytes is too small"):
        boundary_crossings(3, 1, memory_budget=1000)
