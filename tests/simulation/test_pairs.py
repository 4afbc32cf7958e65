"""Estimators of a pair against exact small cases, each other, and a reference in Python loops on the same numbers.

z-scores at sizes fixed beforehand, |z| < 4.6: a false alarm once in 240,000 comparisons. The negative controls apply
the same test to a plausible mistake.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Proportion
from kwta_theory.seeding import Stream
from kwta_theory.simulation import drawing, pattern_change, same_pattern

LIMIT = 4.6
TRIALS = 40_000  # one standard error is at most 0.0025


def z_score(counted: Proportion, probability: float) -> float:
    return (counted.value - probability) / math.sqrt(probability * (1 - probability) / counted.trials)


def options(method: str) -> dict:
    return {"method": method, "input_dim": 7} if method == "dense" else {}


@pytest.mark.parametrize("method", ["gram", "dense"])
@pytest.mark.parametrize("cosine", [-0.9, 0.0, 0.6, 0.99])
def test_two_outputs_order_alike_with_the_arcsine_law(cosine, method):
    """``W_1 - W_2`` is Gaussian: both differences have one sign with probability ``1/2 + asin(alpha)/pi``."""
    counted = same_pattern(2, 1, cosine, TRIALS, seed=1, **options(method))
    assert abs(z_score(counted, 0.5 + math.asin(cosine) / math.pi)) < LIMIT
    assert abs(z_score(counted, 0.5 + math.asin(cosine - 0.05) / math.pi)) > LIMIT  # negative control


@pytest.mark.parametrize("method", ["gram", "dense"])
@pytest.mark.parametrize(("width", "k"), [(5, 2), (6, 5), (7, 1)])
def test_independent_patterns_agree_with_probability_one_in_all(width, k, method):
    counted = same_pattern(width, k, 0.0, TRIALS, seed=2, **options(method))
    assert abs(z_score(counted, 1 / math.comb(width, k))) < LIMIT
    assert abs(z_score(counted, 1 / math.comb(width + 1, k))) > LIMIT  # negative control


@pytest.mark.parametrize("method", ["gram", "dense"])
@pytest.mark.parametrize(("width", "k", "cosine", "probability"), [(20, 2, 0.9, 0.377635), (1000, 2, 0.7, 0.017501)])
def test_values_known_from_the_exact_law(width, k, cosine, probability, method):
    counted = same_pattern(width, k, cosine, TRIALS, seed=3, **options(method))
    assert abs(z_score(counted, probability)) < LIMIT
    assert abs(z_score(same_pattern(width, k, cosine - 0.06, TRIALS, seed=3), probability)) > LIMIT  # negative control


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
@pytest.mark.parametrize("method", ["gram", "dense"])
def test_cosines_one_and_minus_one_are_certain(method, dtype):
    arguments = {**options(method), "dtype": dtype, "trials": 500}
    assert same_pattern(30, 4, 1.0, **arguments).successes == 500
    assert same_pattern(30, 4, -1.0, **arguments).successes == 0
    assert same_pattern(30, 30, -1.0, **arguments).successes == 500  # everyone wins


def reference(width, k, cosine, trials, seed, margin, dtype):
    """The definition, trial by trial, in Python numbers, on the numbers of the first tile."""
    size = drawing.CPU_TILE // (2 * width)
    normals = Stream(seed, "layer").normals((0, 0), (size, 2, width), torch.device("cpu"), dtype)
    factor = torch.tensor([[1, 0], [cosine, math.sqrt((1 - cosine) * (1 + cosine))]], dtype=torch.float64)
    count = 0
    for x, y in (factor.to(dtype) @ normals)[:trials].tolist():
        winners, other = (set(sorted(range(width), key=lambda i, v=v: (-v[i], i))[:k]) for v in (x, y))
        losers = set(range(width)) - winners
        close = all(y[i] >= y[j] - margin for i in winners for j in losers)
        count += close if margin else winners == other
    return count


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_counts_are_those_of_the_definition_on_the_same_numbers(dtype, margin):
    arguments = (30, 4, 0.97, 400)
    counted = same_pattern(*arguments, seed=4, margin=margin, dtype=dtype).successes
    assert counted == reference(*arguments, 4, margin, dtype)
    assert counted != reference(*arguments, 5, margin, dtype)  # negative control: other numbers


def test_margin_seed_and_dtype_change_the_count():
    base = same_pattern(100, 10, 0.99, 2000).successes
    assert same_pattern(100, 10, 0.99, 2000, margin=0.3).successes > base
    assert same_pattern(100, 10, 0.99, 2000, seed=1).successes != base
    assert same_pattern(100, 10, 0.99, 2000, dtype=torch.bfloat16).successes != base


def in_space(cosine: float, count: int = 1) -> tuple[np.ndarray, np.ndarray, float]:
    """A point of length 3, perpendicular directions, and the distance that gives the cosine."""
    rng = np.random.default_rng(6)
    point = rng.standard_normal(8)
    point *= 3 / np.linalg.norm(point)
    directions = rng.standard_normal((count, 8))
    directions -= np.outer(directions @ point, point) / 9
    return point, directions, 3 * math.sqrt(1 / cosine**2 - 1)


@pytest.mark.parametrize("method", ["gram", "dense"])
@pytest.mark.parametrize("scale", [1.0, 0.01, 250.0])
def test_a_change_of_pattern_has_the_law_of_the_pair(method, scale):
    point, directions, distance = in_space(0.9, 3)
    result = pattern_change(20, 2, point, directions, distance, TRIALS, scale=scale, seed=7, method=method)
    for changed in result.changed:
        assert abs(z_score(changed, 1 - 0.377635)) < LIMIT
        assert abs(z_score(changed, 0.377635)) > LIMIT  # negative control: same for changed
    other = pattern_change(20, 2, point, directions, distance, TRIALS, seed=8, method="gram").all_changed
    pooled = (result.all_changed + other).value
    assert abs(result.all_changed.value - other.value) < LIMIT * math.sqrt(pooled * (1 - pooled) * 2 / TRIALS)
    assert result.all_changed.successes < min(changed.successes for changed in result.changed)


@pytest.mark.parametrize("method", ["gram", "dense"])
def test_distance_zero_never_changes_and_opposite_sides_are_different_events(method):
    point, directions, distance = in_space(0.9)
    both = np.vstack([directions, -directions, directions])
    result = pattern_change(50, 5, point, both, [0.0, distance, distance], 1000, method=method)
    assert result.changed[0].successes == 0
    assert 0 < result.changed[1].successes < 1000
    assert result.changed[1] != result.changed[2]
    assert result.all_changed.successes == 0


def test_tiny_distances_keep_their_precision():
    """Far below the spacing of doubles near |x| = 1e6 a change is rare; with x' formed there it would be noise."""
    rates = [pattern_change(1000, 500, [1e6, 0.0], [0.0, 1.0], d, 20_000).changed[0].value / d for d in (100.0, 1000.0)]
    assert rates[0] == pytest.approx(rates[1], rel=0.25)  # the rate per distance is constant: boundaries are dense
    assert pattern_change(1000, 500, [1e6, 0.0], [0.0, 1.0], 1e-12, 5000).changed[0].successes == 0


def test_scale_matters_with_a_margin_and_a_negative_one_reverses():
    point, directions, distance = in_space(0.9)
    base = (50, 5, point, directions, distance, 1000)
    assert pattern_change(*base, scale=2.0) == pattern_change(*base)
    assert pattern_change(*base, scale=-1.0).changed[0].successes == 1000
    few, many = (pattern_change(*base, margin=0.5, scale=s).changed[0].successes for s in (0.5, 5.0))
    assert few < many < pattern_change(*base).changed[0].successes


def test_margin_of_a_change_is_the_margin_of_the_pair():
    """Rows of variance 1, ``|x'| = 1``: the complement of ``same_pattern`` with the same margin."""
    cosine = 0.9
    sine = math.sqrt(1 - cosine**2)
    changed = pattern_change(20, 2, [1.0, 0.0], [0.0, 1.0], sine / cosine, TRIALS, scale=cosine, margin=0.3).changed[0]
    kept = same_pattern(20, 2, cosine, TRIALS, margin=0.3, seed=8)
    pooled = (changed.complement() + kept).value
    z = (changed.complement().value - kept.value) / math.sqrt(pooled * (1 - pooled) * 2 / TRIALS)
    assert abs(z) < LIMIT


GOOD = {"width": 20, "k": 2, "point": [1.0, 0.0], "directions": [[0.0, 1.0]], "distance": 0.1, "trials": 10}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 1}, "width=1 is below k=2"),
        ({"k": 0}, "k=0 is not allowed"),
        ({"point": [0.0, 0.0]}, "point has a zero row"),
        ({"point": [[1.0, 0.0], [0.0, 1.0]]}, r"point has shape \(2, 2\): it must be one input"),
        ({"point": [math.nan, 0.0]}, "point has NaN or infinity"),
        ({"directions": [[0.0, 0.0]]}, "directions has a zero row"),
        ({"directions": [[0.0, 1.0, 0.0]]}, "directions have 3 entries and point has 2"),
        ({"directions": [[0.0, 1.0], [3.0, 4.0]]}, "not perpendicular to point: row 1 has inner product 0.6"),
        ({"distance": -0.1}, "distance=.*-0.1.* is not allowed"),
        ({"distance": [0.1, 0.2]}, r"distance has shape \(2,\): it must be one number or one for each of the 1"),
        ({"distance": math.inf}, "distance=.*inf.* is not allowed"),
        ({"scale": 0.0}, "scale=0.0 is not allowed"),
        ({"scale": math.nan}, "scale=nan is not allowed"),
        ({"margin": -1.0}, "margin=-1.0 is not allowed"),
        ({"trials": 0}, "trials=0 is not allowed"),
        ({"seed": -1}, "seed=-1 is not allowed"),
        ({"method": "tail"}, "method='tail' is not allowed"),
        ({"device": "quantum"}, "device='quantum' is not there"),
        ({"dtype": torch.int32}, r"dtype=torch\.int32 is not allowed: it must be one of torch\.float64"),
        ({"workers": 0}, "workers=0 is not allowed"),
        ({"memory_budget": 1000}, "memory_budget=1000 bytes is too small: this layer needs at least"),
    ],
)
def test_bad_arguments_of_a_change(changes, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        pattern_change(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 1}, "width=1 is below k=2"),
        ({"width": 2**30}, r"width=1073741824 is too wide to draw: it must be below 2\^30"),
        ({"cosine": 1.01}, "cosine=1.01 is not allowed"),
        ({"margin": math.inf}, "margin=inf is not allowed"),
        ({"input_dim": 3}, "input_dim=3 has no effect with method='gram'"),
        ({"method": "dense"}, "input_dim is missing"),
        ({"trials": 1.5}, "trials=1.5 is not allowed"),
        ({"width": 10**8}, "memory_budget=1073741824 bytes is too small: .* MiB"),
    ],
)
def test_bad_arguments_of_a_pair(changes, sentence):
    good = {"width": 20, "k": 2, "cosine": 0.9, "trials": 10}
    with pytest.raises(InvalidArgumentError, match=sentence):
        same_pattern(**{**good, **changes})
