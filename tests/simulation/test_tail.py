"""Layers from the rows that can win alone: the exact law of a pair, the gram route, enumeration, widths beyond floats.

Each statistical test says what bias its size shows, and stands beside a negative control that it rejects.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kwta_theory import theory
from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Proportion
from kwta_theory.simulation import disjoint_patterns, drawing, interpolation, pattern_overlap, tail
from kwta_theory.simulation.drawing import Settings
from kwta_theory.simulation.layers import from_cosine, from_points
from kwta_theory.simulation.tail import Tail, Width, normal_excess, normal_level

LIMIT = 4.6
P_VALUE = 4e-6  # two-sided, that of LIMIT
POINTS = np.random.default_rng(5).standard_normal((6, 8)) + 0.8


def accepted(counted: Proportion, probability: float) -> bool:
    return stats.binomtest(counted.successes, counted.trials, min(1.0, probability)).pvalue > P_VALUE


def z_score(a: Proportion, b: Proportion) -> float:
    pooled = (a + b).value
    if pooled in (0.0, 1.0):
        return 0.0
    return (a.value - b.value) / math.sqrt(pooled * (1 - pooled) * (1 / a.trials + 1 / b.trials))


def checked(trials: int = 1, **changes) -> Settings:
    good = {"seed": 0, "device": "cpu", "dtype": torch.float64, "memory_budget": 2**30, "workers": 1}
    return Settings.checked(trials, **{**good, **changes})


def create(cosine: float, width: int, k: int, **changes) -> Tail:
    return Tail.create(from_cosine(cosine).factor, Width.checked(width, k, "tail", None)[0], k, checked(**changes))


# Numbers: against arbitrary precision.


@pytest.mark.parametrize("log_tail", [-0.7, -3.0, -50.0, -1000.0, -1e6, -1e8])
def test_level_is_that_of_arbitrary_precision(log_tail):
    """The error of the level, times the hazard ``u``, is the relative error of the tail probability: below u^2 eps."""
    with mpmath.workdps(40):
        level = normal_level(log_tail)
        error = float(mpmath.log(mpmath.erfc(mpmath.mpf(level) / mpmath.sqrt(2)) / 2) - mpmath.mpf(log_tail))
    assert abs(error) < 4e-16 * (4 + level**2)


@pytest.mark.parametrize("level", [0.0, 0.3, 2.0, 8.0, 40.0, 1000.0, 14142.0])
def test_excess_is_that_of_arbitrary_precision(level):
    exponential = [0.0, 1e-12, 1e-3, 0.4, 1.0, 5.0, 37.0]
    excess = normal_excess(level, torch.tensor(exponential, dtype=torch.float64)).tolist()
    assert excess[0] == 0.0
    with mpmath.workdps(60):
        for t, e in zip(exponential[1:], excess[1:], strict=True):
            tails = [mpmath.log(mpmath.erfc((mpmath.mpf(level) + shift) / mpmath.sqrt(2))) for shift in (0, e)]
            assert float(tails[0] - tails[1]) == pytest.approx(t, rel=4e-15, abs=4e-15)


@given(st.floats(0.0, 14_200.0), st.lists(st.floats(0.0, 40.0), min_size=2, max_size=8))
@settings(max_examples=100, deadline=None)
def test_excess_is_an_increasing_map_that_keeps_the_spacing_of_draws(level, exponential):
    """Two exponentials apart by 1e-9 stay apart, at levels whose own spacing in float64 is coarser than theirs."""
    t = torch.tensor(sorted(exponential), dtype=torch.float64)
    excess = normal_excess(level, t)
    assert (excess.diff() >= 0).all()
    assert (normal_excess(level, t + 1e-9 * (1 + t)) > excess).all()


@pytest.mark.parametrize("cosine", [-0.5, 0.0, 0.9, 1 - 1e-9])
def test_excesses_are_those_of_the_row_that_the_docstring_builds(cosine):
    """``w = g + (z - f_i.g) f_i`` and ``y = F w - u`` in the plainest way, from the numbers of the same streams."""
    layer = create(cosine, 10**6, 2)
    excess, kept = layer._proposals((3,), 500, layer.mean)
    uniforms = layer.stream.uniforms((3, 1), (3, 500), torch.device("cpu")).numpy()
    g = layer.stream.normals((3, 2), (500, 2), torch.device("cpu"), torch.float64).numpy()
    F = layer.factor.numpy()
    own = F[np.floor(2 * uniforms[0]).astype(int)]
    z = stats.norm.isf((1 - uniforms[1]) * layer.mean / 10**6)
    w = g + (z - (own * g).sum(axis=1))[:, None] * own
    np.testing.assert_allclose(excess.numpy() + layer.level, w @ F.T, atol=1e-12)
    np.testing.assert_array_equal(kept.numpy(), uniforms[2] < 1 / (excess.numpy() >= 0).sum(axis=1))


# The law: against theory, against the gram route, and what a wrong thinning or level would give.

# (width, log_width, k, cosine); 100,000 trials show a bias of 0.7 % of a probability of one half.
CASES = [
    (40, None, 1, 0.3),
    (1000, None, 2, 0.7),
    (10**4, None, 3, 0.5),
    (10**12, None, 1, 0.95),
    (10**12, None, 3, 0.95),
    (2**62, None, 1, 0.99),
    (2**70, None, 2, 0.99),
    (None, 300 * math.log(10), 1, 0.9995),
    (None, 300 * math.log(10), 3, 0.9995),
    (None, 1e8, 1, 0.99999999),
]


@pytest.mark.parametrize(("width", "log_width", "k", "cosine"), CASES)
def test_pairs_follow_the_exact_law(width, log_width, k, cosine):
    def law(cosine: float) -> float:
        return theory.disjoint_patterns(None if width is None else float(width), k, cosine, log_width=log_width)

    counted = disjoint_patterns(width, k, cosine, 100_000, method="tail", seed=1, log_width=log_width).all_pairs
    assert 0.02 < law(cosine) < 0.98
    assert accepted(counted, law(cosine))
    assert not accepted(counted, law(1 - (1 - cosine) * 1.05))  # negative control: an angle off by 2.5 %


@pytest.mark.parametrize(("width", "k", "cosine"), [(300, 3, 0.9), (10**12, 3, 0.95)])
def test_overlaps_follow_the_exact_law(width, k, cosine):
    """Pearson's chi-square with 3 degrees of freedom; 31.8 is exceeded with probability 6e-7."""
    seen = pattern_overlap(width, k, cosine, 60_000, method="tail", seed=2)

    def chi_square(cosine: float) -> float:
        law = 60_000 * np.array([theory.overlap_probability(float(width), k, cosine, j) for j in range(k + 1)])
        return float(((seen.histogram - law) ** 2 / law).sum())

    assert chi_square(cosine) < 31.8
    assert chi_square(cosine - 0.01) > 31.8  # negative control


def test_without_thinning_the_law_is_wrong(monkeypatch):
    """Negative control: every proposal kept, so that rows above the level for both inputs come twice as often."""
    monkeypatch.setattr(Tail, "_proposals", unthinned := lambda *args, f=Tail._proposals: keep_all(f(*args)))
    assert unthinned is Tail.__dict__["_proposals"]
    counted = disjoint_patterns(1000, 2, 0.7, 100_000, method="tail", seed=1).all_pairs
    assert not accepted(counted, theory.disjoint_patterns(1000.0, 2, 0.7))


def keep_all(proposals):
    excess, kept = proposals
    return excess, torch.ones_like(kept)


def test_with_the_level_shifted_the_law_is_wrong(monkeypatch):
    """Negative control: proposals of the level of twice the rows, in the number of the right one."""
    monkeypatch.setattr(tail, "normal_level", lambda log_tail: normal_level(log_tail + math.log(2)))
    counted = disjoint_patterns(1000, 2, 0.7, 100_000, method="tail", seed=1).all_pairs
    assert not accepted(counted, theory.disjoint_patterns(1000.0, 2, 0.7))


@pytest.mark.parametrize("width", [60, 10**6, 2**64])
def test_trials_with_a_shortfall_are_continued_exactly(monkeypatch, width):
    """With most trials short of rows the law is still exact; at l = 60 some continue to the whole layer."""
    monkeypatch.setattr(tail, "SHORTFALL", 0.9)
    monkeypatch.setattr(drawing, "CPU_TILE", 2**11)  # whole tiles are drawn: a large one would continue thousands
    cosine = 0.6 if width == 60 else 0.9
    short = disjoint_patterns(width, 2, cosine, 1000, method="tail", seed=3)
    law = theory.disjoint_patterns(float(width), 2, cosine)
    assert accepted(short.all_pairs, law)
    monkeypatch.setattr(Tail, "_continued", lambda *arguments: padded(arguments[-1]))
    wrong = disjoint_patterns(width, 2, cosine, 1000, method="tail", seed=3)
    assert not accepted(wrong.all_pairs, law)  # negative control: the missing winners made up, the same for all


def padded(rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows, rows.new_full((2, rows.shape[1]), -1.0)])


@pytest.mark.parametrize("full", [False, True])
def test_a_continued_trial_has_what_it_needs_and_not_what_was_known_before(full):
    layer = create(0.5, 30 if full else 1000, 3)
    none = torch.zeros(0, 2, dtype=torch.float64)
    for trial in range(30):
        rows = layer._continued((0, trial), none)
        assert (rows.max() < 0) == True  # noqa: E712
        assert len(rows) >= 3
        known = torch.tensor([[5.0, 4.0], [6.0, 0.1]], dtype=torch.float64)
        more = layer._continued((0, trial), known)
        assert torch.equal(more[:2], known)
        assert (more[2:] < 0).all()


def test_number_of_proposing_rows_is_binomial():
    """Chi-square over the 12 middle values at l = 40, p = 0.35, 50,000 draws: 60 is exceeded with chance 1e-8."""
    layer = create(0.5, 40, 1)
    mean = 7.0
    draws = layer._proposing((0,), 40, mean, 50_000)
    values = np.arange(8, 21)

    def chi_square(law) -> float:
        expected = len(draws) * law.pmf(values)
        return float(((np.bincount(draws, minlength=41)[values] - expected) ** 2 / expected).sum())

    assert draws.max() <= 40
    assert chi_square(stats.binom(40, 0.35)) < 60
    assert chi_square(stats.poisson(14)) > 60  # negative control


@pytest.mark.parametrize("count", [5, 6])
def test_several_points_have_the_law_of_the_gram_route(count):
    """Two samples of 20,000 and 500: a difference of 0.1 would be seen."""
    points = POINTS[:count] + 0.4
    seen = disjoint_patterns(10**4, 2, trials=20_000, points=points, method="tail", seed=4)
    other = disjoint_patterns(10**4, 2, trials=500, points=points, seed=5)
    assert abs(z_score(seen.all_pairs, other.all_pairs)) < LIMIT
    for i in range(count):
        for j in range(i):
            assert abs(z_score(seen.pair(i, j), other.pair(i, j))) < LIMIT
            assert accepted(seen.pair(i, j), pair_law(10**4, points[i], points[j]))
    wrong = disjoint_patterns(10**4, 2, trials=20_000, points=points + 1.0, method="tail", seed=4)
    assert abs(z_score(wrong.all_pairs, other.all_pairs)) > LIMIT  # negative control


def pair_law(width: int, x: np.ndarray, y: np.ndarray) -> float:
    return theory.disjoint_patterns(float(width), 2, float(x @ y / np.linalg.norm(x) / np.linalg.norm(y)))


def test_overlap_and_interpolation_are_counted_on_the_same_layers():
    arguments = {"trials": 3000, "points": POINTS, "method": "tail", "seed": 6}
    disjoint = disjoint_patterns(500, 2, **arguments)
    seen = pattern_overlap(500, 2, **arguments)
    fitted = interpolation(500, 2, np.arange(6.0), **arguments)
    assert disjoint.total_variation == seen.total_variation == fitted.total_variation == 0.0
    assert fitted.disjoint == disjoint.all_pairs
    assert 0 < disjoint.all_pairs.successes < 3000
    assert seen.histogram[0] == disjoint.pair_counts[np.triu_indices(6, 1)].sum()


def test_interpolation_has_the_law_of_the_gram_route():
    """Norms of 3,000 trials each: Kolmogorov and Smirnov would see distribution functions 0.07 apart."""
    labels = np.array([1.0, -2.0, 3.0, 0.0, 5.0, 1.0])
    first = interpolation(400, 2, labels, 3000, points=POINTS, method="tail", seed=7)
    other = interpolation(400, 2, labels, 3000, points=POINTS, seed=8)
    wrong = interpolation(500, 2, labels, 3000, points=POINTS, method="tail", seed=7)  # negative control
    for name in ("minimum_norm", "proof_norm"):
        a, b, c = (getattr(result, name) for result in (first, other, wrong))
        a, b, c = a[np.isfinite(a)], b[np.isfinite(b)], c[np.isfinite(c)]
        assert stats.ks_2samp(a, b).pvalue > P_VALUE
        assert stats.ks_2samp(c, b).pvalue < P_VALUE
    for name in ("disjoint", "proof_vector", "any_vector", "these_labels"):
        assert abs(z_score(getattr(first, name), getattr(other, name))) < LIMIT
    assert first.minimum_residual[first.rank == 6].max() < 1e-8


def test_wide_norms_are_those_of_winners_at_the_level():
    """At k = 1 with disjoint patterns the vector is ``z_i / y_i``, and ``y_i`` is within a few percent of the level."""
    log_width = 5000.0
    result = interpolation(None, 1, [3.0, 4.0], 50, gram=[[4.0, 1.0], [1.0, 9.0]], method="tail", log_width=log_width)
    assert result.norm_log_unit == log_width / 2
    assert result.disjoint.successes == 50
    expected = math.hypot(3 / 2, 4 / 3) / normal_level(-log_width)
    np.testing.assert_allclose(result.minimum_norm, expected, rtol=0.01)
    np.testing.assert_allclose(result.minimum_norm, result.proof_norm, rtol=1e-12)
    by_width = interpolation(10**12, 1, [3.0, 4.0], 50, cosine=0.5, method="tail")
    by_log = interpolation(None, 1, [3.0, 4.0], 50, cosine=0.5, method="tail", log_width=math.log(10**12))
    np.testing.assert_allclose(by_width.minimum_norm, by_log.minimum_norm * 1e6, rtol=1e-12)
    assert by_log.norm_log_unit == math.log(10**12) / 2
    with pytest.raises(InvalidArgumentError, match=r"norm_log_unit=0.0 and norm_log_unit=13.8"):
        _ = by_width + by_log


@pytest.mark.parametrize("estimator", [disjoint_patterns, pattern_overlap])
def test_multiples_are_never_disjoint_and_share_everything(estimator):
    points = np.vstack([POINTS, POINTS[1] * 5])
    arguments = {"trials": 400, "points": points, "method": "tail"}
    if estimator is disjoint_patterns:
        seen = disjoint_patterns(10**9, 2, **arguments)
        assert seen.pair_counts[1, 6] == seen.all_pairs.successes == 0
        np.testing.assert_array_equal(np.delete(seen.pair_counts[6], [1, 6]), np.delete(seen.pair_counts[1], [1, 6]))
    else:
        np.testing.assert_array_equal(pattern_overlap(10**9, 2, **arguments).totals[6, [1, 6]], 800)
    same = pattern_overlap(10**9, 2, 1.0, 50, method="tail")
    assert same.histogram.tolist() == [0, 0, 50]


# What a result depends on, and what it does not.


def test_fewer_trials_are_the_first_of_more_whatever_the_workers_and_the_budget():
    arguments = {"points": POINTS, "method": "tail", "seed": 9}
    norms = interpolation(700, 2, np.ones(6), 2000, **arguments).minimum_norm
    fewer = interpolation(700, 2, np.ones(6), 1000, **arguments).minimum_norm
    np.testing.assert_array_equal(norms[:1000], fewer)
    results = [
        disjoint_patterns(700, 2, trials=9000, **arguments, **extra)
        for extra in ({}, {"workers": 2}, {"memory_budget": 2**28})
    ]
    assert results[0] == results[1] == results[2]
    assert results[0] != disjoint_patterns(700, 2, trials=9000, **{**arguments, "seed": 10})
    assert create(0.5, 700, 2, trials=5).trials_per_tile < 9000  # more than one tile: the prefix is of whole ones


@pytest.mark.parametrize("width", [1000, 10**9, 10**12])
def test_a_width_given_by_its_logarithm_draws_the_same_layers(width):
    by_width = disjoint_patterns(width, 2, 0.9, 2000, method="tail")
    assert disjoint_patterns(None, 2, 0.9, 2000, method="tail", log_width=math.log(width)) == by_width
    assert disjoint_patterns(None, 2, 0.9, 2000, method="tail", log_width=math.log(2 * width)) != by_width


def test_numbered_and_unnumbered_rows_have_one_law():
    """Just below and from 2^63 on; the second is a Poisson process."""
    counts = [disjoint_patterns(2**63 - shift, 1, 0.99, 50_000, method="tail", seed=shift) for shift in (1, 0)]
    assert abs(z_score(counts[0].all_pairs, counts[1].all_pairs)) < LIMIT
    assert counts[0].total_variation == 0.0
    assert 0 < counts[1].total_variation < 1e-16
    with pytest.raises(InvalidArgumentError, match=r"total_variation=0.0 and total_variation=.*cannot be added"):
        _ = counts[0] + counts[1]


def test_total_variation_bounds_the_exact_distance_of_counts():
    """Rows above the level of two inputs: Binomial(l, p) against Poisson(l p), the distance by enumeration."""
    for width in (1000, 10**5):
        p = 2 * 30.0 / width
        values = np.arange(400)
        distance = abs(stats.binom(width, p).pmf(values) - stats.poisson(width * p).pmf(values)).sum() / 2
        assert 0 < distance < p
    layer = create(0.5, 2**64, 1)
    means = layer.mean * 2.0 ** np.arange(5)
    bounds = [2 * m / 2**64 + 2 * math.exp(-m) for m in means]
    assert layer.total_variation == pytest.approx(min(bounds), rel=1e-9)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_a_shortfall_is_as_rare_as_the_level_says(k):
    layer = Tail.create(from_points(POINTS).factor, Width.checked(10**6, k, "tail", None)[0], k, checked())
    assert 6 * stats.poisson(layer.mean).cdf(k - 1) == pytest.approx(tail.SHORTFALL, rel=1e-9)


# Refusals.


@pytest.mark.parametrize("estimator", [disjoint_patterns, pattern_overlap, interpolation])
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"method": "head"}, "method='head' is not allowed: it must be 'gram', 'dense' or 'tail'"),
        ({"method": "gram", "log_width": 9.0}, "log_width=9.0 is only for method='tail': with method='gram' give"),
        ({"method": "gram", "width": None}, "width=None with log_width=None is not allowed"),
        ({"log_width": 9.0}, "width=10000 with log_width=9.0 is not allowed: give exactly one"),
        ({"width": None}, "width=None with log_width=None is not allowed"),
        ({"width": None, "log_width": math.inf}, r"log_width=inf is not allowed: .* in \[0, 1e\+08\]"),
        ({"width": None, "log_width": 1.1e8}, "log_width=110000000.0 is not allowed"),
        ({"width": None, "log_width": 1.0, "k": 4}, "width=3 is below k=4"),
        ({"width": None, "log_width": 40.0, "k": 10**18}, "log_width=40.0 is below log"),
        ({"width": None, "log_width": 40.0, "k": 0}, "k=0 is not allowed"),
        ({"width": 3, "k": 4}, "width=3 is below k=4"),
        ({"width": 15}, "width=15 is too small for method='tail' with k=1 and 2 different directions, .* above 15"),
        ({"dtype": torch.float32}, "dtype=torch.float32 is not allowed with method='tail'"),
        ({"input_dim": 5}, "input_dim=5 has no effect with method='tail'"),
        ({"memory_budget": 2**25 + 2**20}, "memory_budget=34603008 bytes is too small: this layer needs at least"),
        ({"trials": 0}, "trials=0 is not allowed"),
    ],
)
def test_bad_arguments(estimator, changes, sentence):
    good = {"width": 10**4, "k": 1, "cosine": 0.9, "trials": 10, "method": "tail"}
    if estimator is interpolation:
        good["labels"] = [1.0, 2.0]
    with pytest.raises(InvalidArgumentError, match=sentence):
        estimator(**{**good, **changes})


def test_norms_beyond_floats_are_refused():
    with pytest.raises(InvalidArgumentError, match=r"width=e\^1381.55 is too large for the norms .* as log_width"):
        interpolation(10**600, 1, [1.0, 2.0], 3, cosine=0.5, method="tail")
    assert disjoint_patterns(10**600, 1, 0.5, 3, method="tail").all_pairs.successes == 3
