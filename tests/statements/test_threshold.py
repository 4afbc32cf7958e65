"""Finding by drawing where a probability crosses a level, on a law that is known."""

from __future__ import annotations

import math

import numpy as np

from kwta_theory import seeding
from kwta_theory.confidence import Proportion
from kwta_theory.statements.threshold import STEPS, crossing

# Failure exp(-0.25 x) falls below 0.05 at x = 11.98...
TRUE = -math.log(0.05) / 0.25


def draw(log_width: float, trials: int, seed: int) -> Proportion:
    failure = math.exp(-0.25 * log_width)
    return Proportion(int(np.random.default_rng(seed).binomial(trials, 1 - failure)), trials)


def test_the_bracket_contains_the_crossing_and_narrows_with_the_trials():
    """Each search errs with probability 1e-4 at most: 40 searches give a false alarm in 250."""
    widths = {}
    for trials in (500, 20_000):
        found = [crossing(draw, 0.95, 1.0, 40.0, trials, 1e-4, seed) for seed in range(20)]
        assert all(result.below < TRUE < result.above for result in found)
        assert all(result.decisions <= 2 * STEPS for result in found)
        widths[trials] = np.median([result.above - result.below for result in found])
    assert widths[20_000] < 0.5 * widths[500]


def test_another_law_gives_another_bracket():
    """The negative control: with half the exponent the crossing lies twice as far, and no bracket holds the old one."""

    def slower(log_width: float, trials: int, seed: int) -> Proportion:
        return draw(0.5 * log_width, trials, seed)

    found = crossing(slower, 0.95, 1.0, 80.0, 20_000, 1e-4, 0)
    assert found.below > TRUE
    assert found.below < 2 * TRUE < found.above


def test_the_same_seed_gives_the_same_search_and_each_width_its_own_stream():
    seeds = []

    def record(log_width: float, trials: int, seed: int) -> Proportion:
        seeds.append((log_width, seed))
        return draw(log_width, trials, seed)

    first = crossing(record, 0.95, 1.0, 40.0, 2_000, 1e-4, 3)
    assert crossing(draw, 0.95, 1.0, 40.0, 2_000, 1e-4, 3) == first
    assert crossing(draw, 0.95, 1.0, 40.0, 2_000, 1e-4, seeding.derive(3, "other")) != first
    assert len({seed for _, seed in seeds}) == len(seeds)


def test_a_narrow_bracket_is_left_as_it_is():
    assert crossing(draw, 0.95, 11.97, 12.0, 500, 1e-4, 0).decisions == 0
