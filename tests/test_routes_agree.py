"""The exact laws against both simulations: routes that share nothing but the definition of a pattern.

Sizes are fixed beforehand. At n = 40,000 and p near 1/2 one standard error is 0.0025, so a bias of 1.2 % of a
probability is seen at |z| = 4.6; the false-alarm rate of one comparison is 4e-6. The negative controls are the same
test on laws that are wrong by a plausible mistake, the smallest of them 0.006 of a probability, 7 standard errors at
n = 400,000.
"""

from __future__ import annotations

import math

import pytest

from kwta_theory import simulation, theory
from kwta_theory.confidence import Proportion

LIMIT = 4.6
PAIRS = [(3, 1, -0.5), (20, 2, 0.9), (20, 15, 0.6), (100, 1, 0.8), (100, 10, 0.99), (1000, 2, 0.7), (1000, 100, 0.9999)]


def z_score(counted: Proportion, probability: float) -> float:
    spread = math.sqrt(probability * (1 - probability) / counted.trials)
    return (counted.value - probability) / spread


@pytest.mark.parametrize("method", ["gram", "dense"])
@pytest.mark.parametrize(("width", "k", "cosine"), PAIRS)
def test_the_law_of_the_same_pattern(width, k, cosine, method):
    trials = 40_000 if method == "gram" else 8_000
    options = {"input_dim": 5} if method == "dense" else {}
    counted = simulation.same_pattern(width, k, cosine, trials, seed=1, method=method, **options)
    assert abs(z_score(counted, theory.same_pattern(width, k, cosine))) < LIMIT


@pytest.mark.parametrize("method", ["gram", "dense"])
@pytest.mark.parametrize(("width", "k", "cosine"), [(w, k, c) for w, k, c in PAIRS if 2 * k <= w and k <= 10])
def test_the_law_of_disjoint_patterns(width, k, cosine, method):
    trials = 40_000 if method == "gram" else 8_000
    options = {"input_dim": 5} if method == "dense" else {}
    counted = simulation.disjoint_patterns(width, k, cosine, trials, seed=2, method=method, **options).all_pairs
    probability = theory.disjoint_patterns(width, k, cosine)
    if probability * trials < 10:  # too rare for a z-score: an exact interval with the same false-alarm rate
        assert probability in counted.interval(4e-6)
    else:
        assert abs(z_score(counted, probability)) < LIMIT


@pytest.mark.parametrize("margin", [0.02, 0.3])
@pytest.mark.parametrize(("width", "k", "cosine"), [(20, 2, 0.9), (200, 20, 0.99), (1000, 100, 0.9999)])
def test_the_law_with_a_margin(width, k, cosine, margin):
    counted = simulation.same_pattern(width, k, cosine, 20_000, margin=margin, seed=3)
    probability = theory.same_pattern(width, k, cosine, margin=margin)
    assert probability in counted.interval(4e-6)
    assert probability > theory.same_pattern(width, k, cosine)


def test_overlap_of_a_wide_layer_tends_to_the_closed_form():
    """At width 20,000 the finite-width bias is of order 1/k = 5e-4 and the standard error is 6e-4 per trial / 20."""
    overlap = simulation.pattern_overlap(20_000, 2_000, 0.8, trials=400, seed=4)
    assert abs(overlap.mean[0, 1] - theory.limiting_overlap(0.1, 0.8)) < 1.5e-3
    assert abs(overlap.mean[0, 1] - theory.limiting_overlap(0.1, 0.78)) > 5e-3  # negative control


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (theory.same_pattern(20, 2, 0.89), (20, 2, 0.9)),  # a cosine that is off by 0.01
        (theory.same_pattern(21, 2, 0.9), (20, 2, 0.9)),  # l + 1 for l
        (theory.same_pattern(100, 11, 0.99), (100, 10, 0.99)),  # k + 1 for k
        (theory.same_pattern(100, 10, math.sqrt(0.99)), (100, 10, 0.99)),  # a missing square
    ],
)
def test_negative_control_a_wrong_law_is_rejected(wrong, right):
    counted = simulation.same_pattern(*right, 400_000, seed=1)
    assert abs(z_score(counted, wrong)) > LIMIT
