"""Results depend on seed and parameters only: not on the budget, the workers, or how many trials are asked for."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from kwta_theory import simulation
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.simulation import drawing
from kwta_theory.simulation.drawing import Layer, Settings, groups_within, run_tiles

RNG = np.random.default_rng(0)
FEW, MANY = RNG.standard_normal((5, 8)), RNG.standard_normal((150, 8))
DIRECTIONS = np.hstack([np.zeros((150, 1)), RNG.standard_normal((150, 3))])
LEAST = 16 * 2**20


def pair(**options):
    return simulation.same_pattern(150, 10, 0.98, **{"trials": 3000, **options})


def wide_pair(**options):
    return simulation.same_pattern(300_000, 2, 0.99, **{"trials": 6, "memory_budget": 2**28, **options})


def change(**options):
    return simulation.pattern_change(400, 40, [1, 0, 0, 0], DIRECTIONS, 0.05, **{"trials": 40, **options})


def wide_change(**options):
    return simulation.pattern_change(9000, 40, [1, 0, 0, 0], DIRECTIONS, 0.02, **{"trials": 3, **options})


def narrow(**options):
    return simulation.pattern_overlap(500, 3, points=FEW, **{"trials": 300, **options})


def wide(**options):
    return simulation.pattern_overlap(6000, 30, points=MANY, **{"trials": 4, **options})


def dense_wide(**options):
    return simulation.pattern_overlap(6000, 300, points=MANY, **{"trials": 3, **options})


def fitted(**options):
    return simulation.interpolation(500, 3, np.arange(5), points=FEW, **{"trials": 150, **options})


def binary(**options):
    return simulation.distinct_patterns(30, 3, 12, 5, 0.4, **{"trials": 60, **options})


RUNS = [pair, wide_pair, change, wide_change, narrow, wide, dense_wide, fitted, binary]


@pytest.mark.parametrize("run", RUNS)
def test_workers_change_nothing_and_the_seed_changes_something(run):
    alone = run(seed=1)
    assert run(seed=1, workers=2) == alone
    assert run(seed=1, workers=3) == alone
    if run is not wide_pair:  # its six trials all fail
        assert run(seed=2) != alone


@pytest.mark.parametrize("run", [change, wide_change, wide, dense_wide, fitted, binary])
def test_the_budget_changes_nothing(run, monkeypatch):
    groups = []
    split = groups_within

    def watched(*arguments):
        groups.append(split(*arguments))
        return groups[-1]

    monkeypatch.setattr("kwta_theory.simulation.winners.groups_within", watched)
    monkeypatch.setattr("kwta_theory.simulation.pairs.groups_within", watched)
    results = [run(memory_budget=budget) for budget in (2**30, least(run), least(run) + 2**21)]
    assert results[0] == results[1] == results[2]
    if run in (wide_change, dense_wide):  # where the inputs do not fit at once
        assert len(groups[0]) < len(groups[1])


def least(run) -> int:
    """The budget that the sentence of the error asks for."""
    with pytest.raises(InvalidArgumentError, match="at least") as error:
        run(memory_budget=1)
    needed = int(str(error.value).split("at least ")[1].split()[0])
    with pytest.raises(InvalidArgumentError, match="too small"):
        run(memory_budget=needed - 1)
    return needed


@pytest.mark.parametrize("run", RUNS)
def test_more_workers_need_more_memory(run):
    with pytest.raises(InvalidArgumentError, match="with workers=4"):
        run(memory_budget=1 if run is wide_pair else least(run), workers=4)


@pytest.mark.parametrize("run", [narrow, wide, fitted, binary])
def test_fewer_trials_are_a_prefix_of_more(run, monkeypatch):
    """The counts of n trials plus those of the trials after them are the counts of all."""
    monkeypatch.setattr(drawing, "CPU_TILE", 2**14)
    shares = []
    split = run_tiles

    def watched(tiles, settings, job):
        shares.append(list(tiles))
        return split(tiles, settings, job)

    module = {narrow: "overlaps", wide: "overlaps", fitted: "fitting", binary: "bernoulli"}[run]
    monkeypatch.setattr(f"kwta_theory.simulation.{module}.run_tiles", watched)
    long, short = (run(trials=n) for n in (4, 3))
    taken = [sum(count for _, count in tiles) for tiles in shares]
    assert taken == [4, 3]
    assert shares[1] == shares[0][: len(shares[1])] or shares[1][:-1] == shares[0][: len(shares[1]) - 1]
    if run in (narrow, wide):
        assert 0 <= (long.totals - short.totals).min() <= (long.totals - short.totals).max() <= long.k
    if run is fitted:
        np.testing.assert_array_equal(long.minimum_norm[:3], short.minimum_norm)
    if run is binary:
        assert long.distinct.successes - short.distinct.successes in (0, 1)


def test_interpolations_of_a_long_run_begin_with_those_of_a_short_one():
    long, short = fitted(trials=1200), fitted(trials=130)
    np.testing.assert_array_equal(long.minimum_norm[:130], short.minimum_norm)
    np.testing.assert_array_equal(long.proof_residual[:130], short.proof_residual)


def test_prefix_of_counts_is_exact():
    """Of a pair, by the trials one after another: the count after n trials never falls and rises by 0 or 1."""
    counts = [simulation.same_pattern(200, 5, 0.97, n, seed=3).successes for n in range(1, 60)]
    steps = np.diff([0, *counts])
    assert set(steps) == {0, 1}


def settings(**changes) -> Settings:
    defaults = {"trials": 1, "seed": 0, "device": "cpu", "dtype": torch.float64, "memory_budget": 2**30, "workers": 1}
    return Settings.checked(**{**defaults, **changes})


def test_shape_of_a_tile_follows_from_the_layer_alone():
    for budget in (2**24, 2**34):
        for workers in (1, 8):
            layer = Layer.create(np.eye(3, 4), 1000, settings(memory_budget=budget, workers=workers))
            assert layer.trials_per_tile == 2**18 // 4000
            assert layer.chunk == 1000
            layer = Layer.create(np.eye(100, 784), 4096, settings(memory_budget=budget, workers=workers))
            assert layer.trials_per_tile == 1
            assert layer.chunk == 2**18 // 784


def test_an_accelerator_gets_larger_tiles_and_one_thread(monkeypatch):
    place = torch.device("cuda")
    monkeypatch.setattr(drawing, "resolve_device", lambda *_: place)
    made = settings(device="cuda", workers=5)
    assert made.workers == 1
    assert made.tile == drawing.ACCELERATOR_TILE > drawing.CPU_TILE


def test_parts_of_the_outputs_are_the_outputs():
    """Products of whole blocks: any grouping of the inputs gives the same bits."""
    layer = Layer.create(MANY, 20_000, settings())
    whole = layer.outputs(0)
    parts = [slice(0, 1), slice(1, 70), slice(70, 150)]
    assert torch.equal(torch.cat([layer.outputs(0, [part]) for part in parts], dim=1), whole)
    assert torch.equal(layer.outputs(0, parts), whole)
    assert not torch.equal(layer.outputs(1), whole)


def test_outputs_are_gaussian_with_the_right_covariance():
    layer = Layer.create(FEW, 1000, settings())
    y = torch.cat([layer.outputs(tile) for tile in range(2)]).transpose(1, 2).reshape(-1, 5).numpy()
    n, covariance = len(y), FEW @ FEW.T
    spread = np.sqrt((covariance**2 + np.outer(np.diagonal(covariance), np.diagonal(covariance))) / n)
    assert (np.abs(y.T @ y / n - covariance) < 4.6 * spread).all()
    assert (np.abs(y.T @ y / n - np.eye(5)) > 4.6 * spread).any()  # negative control


def test_a_job_has_one_thread_and_leaves_the_others_alone():
    seen, other = [], []

    def job(tiles):
        seen.append(torch.get_num_threads())
        elsewhere = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
        elsewhere.start()
        elsewhere.join()
        return list(tiles)

    before = torch.get_num_threads()
    tiles = [(i, 1) for i in range(7)]
    for workers in (1, 2, 9):
        assert [tile for share in run_tiles(tiles, settings(workers=workers), job) for tile in share] == tiles
    assert set(seen) == {1}
    assert set(other) == {before}
    assert torch.get_num_threads() == before


def test_groups_cover_the_inputs_and_fill_a_quarter_of_what_is_free():
    free = settings(memory_budget=drawing.OVERHEAD + 1000)
    groups = groups_within(range(1, 60), 20, 200, free)
    assert [i for group in groups for i in range(group.start, group.stop)] == list(range(1, 60))
    assert {group.stop - group.start for group in groups[:-1]} == {10}
    assert len(groups_within(range(3), 800, 200, free)) == 3
    with pytest.raises(InvalidArgumentError, match="too small"):
        groups_within(range(3), 801, 200, free)
