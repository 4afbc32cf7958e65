"""The Gaussian baseline against closed forms, the sum over overlaps and drawn layers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kwta_theory import theory
from kwta_theory.audit import expected_overlap
from kwta_theory.audit.overlap import is_exact
from kwta_theory.checks import InvalidArgumentError

COSINES = [-0.99, -0.4, 0.0, 0.3, 0.8, 0.97, 0.9995]


def test_two_units_by_the_angle():
    # The larger of two units changes with the sign of one normal number: same with probability 1 - angle / pi.
    assert expected_overlap(2, 1, COSINES) == pytest.approx(1 - np.arccos(COSINES) / math.pi, abs=5e-6)


@pytest.mark.parametrize(("width", "k"), [(8, 2), (8, 7), (40, 6), (10**6, 2)])
def test_the_sum_over_overlaps(width, k):
    direct = [sum(j * theory.overlap_probability(width, k, c, j) for j in range(k + 1)) / k for c in COSINES]
    assert is_exact(width, k)
    assert expected_overlap(width, k, COSINES) == pytest.approx(direct, abs=5e-6)


def drawn(width: int, k: int, cosine: float, trials: int, seed: int) -> np.ndarray:
    """The share of common winners in layers that are drawn."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((trials, width))
    y = cosine * x + math.sqrt(1 - cosine**2) * rng.standard_normal((trials, width))
    first, second = (np.argpartition(-values, k - 1, axis=1)[:, :k] for values in (x, y))
    rows = np.arange(trials)[:, None] * width
    return np.array([len(np.intersect1d(a, b)) for a, b in zip(first + rows, second + rows, strict=True)]) / k


def z_score(shares: np.ndarray, expected: float) -> float:
    return float((shares.mean() - expected) / (shares.std(ddof=1) / math.sqrt(len(shares))))


def test_a_router_against_drawn_layers():
    # 20,000 layers have a standard error of about 0.0022: a bias of 0.021, the limit's, is nine of them.
    shares = drawn(8, 2, 0.6, 20_000, seed=1)
    assert abs(z_score(shares, float(expected_overlap(8, 2, 0.6)))) < 4.6
    assert abs(z_score(shares, theory.limiting_overlap(0.25, 0.6))) > 4.6  # negative control


def test_a_wide_layer_against_drawn_ones():
    # 300 layers have a standard error of about 0.0014: a cosine wrong by 0.03 moves the share by ten of them.
    shares = drawn(2000, 200, 0.6, 300, seed=2)
    assert not is_exact(2000, 200)
    assert abs(z_score(shares, float(expected_overlap(2000, 200, 0.6)))) < 4.6
    assert abs(z_score(shares, float(expected_overlap(2000, 200, 0.57)))) > 4.6  # negative control


def test_ends_and_rounding():
    assert expected_overlap(5, 5, [0.3, math.nan]).tolist()[0] == 1.0
    assert math.isnan(expected_overlap(5, 5, [0.3, math.nan])[1])
    for width, k in ((8, 2), (1000, 100)):
        shares = expected_overlap(width, k, [1 + 1e-15, -1 - 1e-15, math.nan])
        assert shares[0] == pytest.approx(1.0, abs=1e-9)
        assert shares[1] == pytest.approx(0.0, abs=1e-9)
        assert math.isnan(shares[2])
    assert expected_overlap(8, 7, -1.0) == pytest.approx(6 / 7)
    assert expected_overlap(8, 2, [[0.1, 0.2]]).shape == (1, 2)
    with pytest.raises(InvalidArgumentError, match="width=2 is below k=3"):
        expected_overlap(2, 3, 0.0)
