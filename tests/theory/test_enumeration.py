"""The laws of a pair against enumeration: every possible pair of winners, each an orthant probability.

For ``k = 1`` "row ``a`` wins for ``x`` and row ``b`` for ``x'``" says that ``2 (l - 1)`` differences of Gaussians are
positive. Their orthant probability is computed by SciPy's randomised quadrature, which shares nothing with the
package's integral. Its own error, with a fixed seed and 2 million points, was below 2e-5 absolute in every case.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from kwta_theory import theory


def orthant(width: int, first: int, second: int, cosine: float) -> float:
    """``P(row first has the largest X and row second the largest Y)``."""
    differences = np.zeros((2 * (width - 1), 2 * width))
    losers = [row for row in range(width) if row != first], [row for row in range(width) if row != second]
    for i, (j, offset, winner) in enumerate(
        [(j, 0, first) for j in losers[0]] + [(j, width, second) for j in losers[1]]
    ):
        differences[i, offset + winner] = 1.0
        differences[i, offset + j] = -1.0
    joint = np.block([[np.eye(width), cosine * np.eye(width)], [cosine * np.eye(width), np.eye(width)]])
    covariance = differences @ joint @ differences.T
    law = stats.multivariate_normal(np.zeros(len(covariance)), covariance, seed=0, maxpts=2_000_000, abseps=1e-6)
    return float(law.cdf(np.zeros(len(covariance))))


@pytest.mark.parametrize(("width", "cosine"), [(3, 0.9), (3, -0.6), (4, 0.5), (4, -0.3), (5, 0.8)])
def test_enumeration_of_all_pairs_of_winners(width, cosine):
    same, disjoint = orthant(width, 0, 0, cosine), orthant(width, 0, 1, cosine)
    # By symmetry all pairs (a, a) are alike, and all pairs (a, b) with a != b; enumerate them where that is cheap.
    if width == 3:
        table = {(a, b): orthant(width, a, b, cosine) for a, b in itertools.product(range(width), repeat=2)}
        assert sum(table.values()) == pytest.approx(1.0, abs=1e-4)
        assert all(value == pytest.approx(same if a == b else disjoint, abs=2e-5) for (a, b), value in table.items())
    assert width * same == pytest.approx(theory.same_pattern(width, 1, cosine), abs=1e-4)
    assert width * (width - 1) * disjoint == pytest.approx(theory.disjoint_patterns(width, 1, cosine), abs=3e-4)


def test_negative_control_a_neighbouring_width_or_cosine_is_rejected():
    same = 4 * orthant(4, 0, 0, 0.5)
    assert abs(same - theory.same_pattern(5, 1, 0.5)) > 1e-2
    assert abs(same - theory.same_pattern(4, 1, 0.49)) > 1e-3
