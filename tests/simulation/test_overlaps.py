"""Disjoint patterns and overlaps: counting formulas at cosine 0, known values, both methods, streamed and held."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Proportion
from kwta_theory.seeding import Stream
from kwta_theory.simulation import disjoint_patterns, drawing, pattern_overlap
from kwta_theory.simulation.layers import from_gram

LIMIT = 4.6
TRIALS = 40_000


def z_score(counted: Proportion, probability: float) -> float:
    return (counted.value - probability) / math.sqrt(probability * (1 - probability) / counted.trials)


def options(method: str) -> dict:
    return {"method": method, "input_dim": 6} if method == "dense" else {}


@pytest.mark.parametrize("method", ["gram", "dense"])
@pytest.mark.parametrize(("width", "k"), [(6, 2), (9, 3), (5, 1)])
def test_independent_patterns_are_disjoint_as_random_subsets_are(width, k, method):
    counted = disjoint_patterns(width, k, 0.0, TRIALS, seed=1, **options(method)).all_pairs
    assert abs(z_score(counted, math.comb(width - k, k) / math.comb(width, k))) < LIMIT
    assert abs(z_score(counted, math.comb(width, k) / math.comb(width + k, k))) > LIMIT  # negative control: l + k for l


@pytest.mark.parametrize("method", ["gram", "dense"])
@pytest.mark.parametrize(("width", "k", "cosine", "probability"), [(20, 2, 0.9, 0.072771), (1000, 2, 0.7, 0.684711)])
def test_values_known_from_the_exact_law(width, k, cosine, probability, method):
    counted = disjoint_patterns(width, k, cosine, TRIALS, seed=2, **options(method)).all_pairs
    assert abs(z_score(counted, probability)) < LIMIT
    wrong = disjoint_patterns(width, k, cosine - 0.03, TRIALS, seed=2).all_pairs
    assert abs(z_score(wrong, probability)) > LIMIT  # negative control: a cosine that is off by 0.03


@pytest.mark.parametrize("method", ["gram", "dense"])
def test_overlap_of_independent_patterns_is_hypergeometric(method):
    """Pearson's chi-square with 3 degrees of freedom; 31.8 is exceeded with probability 6e-7."""
    width, k = 12, 3
    seen = pattern_overlap(width, k, 0.0, TRIALS, seed=3, **options(method))

    def chi_square(width: int) -> float:
        law = np.array([math.comb(k, j) * math.comb(width - k, k - j) for j in range(k + 1)]) / math.comb(width, k)
        return float(((seen.histogram - TRIALS * law) ** 2 / (TRIALS * law)).sum())

    assert chi_square(width) < 31.8
    assert chi_square(width - 1) > 31.8  # negative control
    spread = math.sqrt(k / width * (1 - k / width) * (width - k) / (width - 1) / k / TRIALS)  # of the mean of |.|/k
    assert seen.standard_error[0, 1] == pytest.approx(spread, rel=0.03)
    assert abs(seen.mean[0, 1] - k / width) < LIMIT * spread


def test_overlap_and_disjointness_are_counted_on_the_same_layers():
    seen = pattern_overlap(30, 3, 0.8, 2000, seed=4)
    assert seen.histogram[0] == disjoint_patterns(30, 3, 0.8, 2000, seed=4).all_pairs.successes
    assert seen.histogram.sum() == seen.trials == 2000
    assert seen.totals[0, 1] == (seen.histogram * np.arange(4)).sum()
    assert seen.squares[0, 1] == (seen.histogram * np.arange(4) ** 2).sum()
    np.testing.assert_array_equal(np.diagonal(seen.mean), 1)
    with pytest.raises(InvalidArgumentError, match="trials=1 has no standard error"):
        _ = pattern_overlap(30, 3, 0.8, 1).standard_error


POINTS = np.random.default_rng(5).standard_normal((4, 6)) + 0.8


def test_points_gram_matrix_and_dense_layer_have_one_law():
    counts = [
        disjoint_patterns(40, 2, trials=TRIALS, points=POINTS, seed=6),
        disjoint_patterns(40, 2, trials=TRIALS, points=POINTS * [[3], [1], [1e-5], [7]], seed=7, method="dense"),
        disjoint_patterns(40, 2, trials=TRIALS, gram=POINTS @ POINTS.T, seed=8),
    ]
    wrong = disjoint_patterns(40, 2, trials=TRIALS, points=POINTS + 0.3, seed=9)

    def z(a: Proportion, b: Proportion) -> float:
        pooled = (a + b).value
        return (a.value - b.value) / math.sqrt(pooled * (1 - pooled) * 2 / TRIALS)

    for other in counts[1:]:
        assert abs(z(counts[0].all_pairs, other.all_pairs)) < LIMIT
        for i in range(4):
            for j in range(i):
                assert abs(z(counts[0].pair(i, j), other.pair(i, j))) < LIMIT
    assert abs(z(counts[0].all_pairs, wrong.all_pairs)) > LIMIT  # negative control


def test_counts_are_those_of_the_definition_on_the_same_numbers():
    width, k, trials = 25, 3, 200
    gram = POINTS[:3] @ POINTS[:3].T
    factor = torch.from_numpy(from_gram(gram).factor)
    size = drawing.CPU_TILE // (width * 3)
    normals = Stream(9, "layer").normals((0, 0), (size, 3, width), torch.device("cpu"), torch.float64)
    pairs, everything, sizes = np.zeros((3, 3), dtype=int), 0, np.zeros(k + 1, dtype=int)
    for rows in (factor @ normals)[:trials].tolist():
        sets = [set(sorted(range(width), key=lambda t, row=row: (-row[t], t))[:k]) for row in rows]
        shared = [[len(a & b) for b in sets] for a in sets]
        pairs += np.array(shared) == 0
        everything += shared[0][1] == shared[0][2] == shared[1][2] == 0
        for i, j in ((0, 1), (0, 2), (1, 2)):
            sizes[shared[i][j]] += 1
    counted = disjoint_patterns(width, k, trials=trials, gram=gram, seed=9)
    np.testing.assert_array_equal(counted.pair_counts, pairs)
    assert counted.all_pairs.successes == everything
    np.testing.assert_array_equal(pattern_overlap(width, k, trials=trials, gram=gram, seed=9).histogram, sizes)


def test_multiples_are_never_disjoint_and_share_everything():
    points = np.vstack([POINTS, POINTS[1] * 5])
    for width in (40, 200_000):  # held at once, and streamed
        trials = 300 if width == 40 else 3
        seen = pattern_overlap(width, 2, trials=trials, points=points)
        assert seen.totals[1, 4] == 2 * trials
        assert seen.squares[1, 4] == 4 * trials
        np.testing.assert_array_equal(seen.totals[4], seen.totals[1])
        assert disjoint_patterns(width, 2, trials=trials, points=points).all_pairs.successes == 0


@pytest.mark.parametrize("k", [2, 40])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_streaming_equals_holding_the_layer(monkeypatch, k, dtype):
    """The same numbers through both routes: a tile smaller than the layer makes it stream, in chunks of 17 rows."""
    width, columns = 130, 6
    normals = Stream(0, "stored").normals((0,), (20, columns, width), torch.device("cpu"), dtype)

    def stored(self, index, shape, device, dtype):
        trial, chunk = index
        if len(shape) == 3:
            return normals[:, :, :width][: shape[0]]
        return normals[trial, :, chunk * 17 : chunk * 17 + shape[1]]

    monkeypatch.setattr(Stream, "normals", stored)
    points = np.random.default_rng(1).standard_normal((9, columns))
    arguments = {"trials": 20, "points": points, "dtype": dtype}
    monkeypatch.setattr(drawing, "CPU_TILE", 20 * width * 9)
    held = pattern_overlap(width, k, **arguments)
    monkeypatch.setattr(drawing, "CPU_TILE", 17 * 9)
    streamed = pattern_overlap(width, k, **arguments)
    assert streamed == held
    monkeypatch.setattr(drawing, "POINT_BLOCK", 4)
    monkeypatch.setattr(drawing, "CPU_TILE", 17 * 6)
    assert pattern_overlap(width, k, **arguments) == held
    normals += torch.linspace(0, 1, width, dtype=dtype)  # negative control
    assert pattern_overlap(width, k, **arguments) != held


@pytest.mark.parametrize("estimator", [disjoint_patterns, pattern_overlap])
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 1}, "width=1 is below k=2"),
        ({"points": POINTS}, "cosine and points was given: exactly one"),
        ({"cosine": None}, "nothing was given"),
        ({"cosine": math.nan}, "cosine=nan is not allowed"),
        ({"cosine": None, "points": POINTS[:1]}, "points holds one input"),
        ({"cosine": None, "points": POINTS * math.inf}, "points has NaN or infinity in row 0"),
        ({"cosine": None, "gram": POINTS}, "gram has shape"),
        ({"method": "dense"}, "input_dim is missing"),
        ({"trials": 0}, "trials=0 is not allowed"),
        ({"memory_budget": 10**6}, "memory_budget=1000000 bytes is too small: this layer needs at least"),
        ({"device": "cuda:9"}, "device='cuda:9' is not there"),
    ],
)
def test_bad_arguments(estimator, changes, sentence):
    good = {"width": 20, "k": 2, "cosine": 0.9, "trials": 10}
    with pytest.raises(InvalidArgumentError, match=sentence):
        estimator(**{**good, **changes})
