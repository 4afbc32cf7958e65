"""Where the robustness curve of Figure 4 should peak, and what a measured curve says about that.

The paper explains the peak by two forces: a smaller sparsity ratio makes the jumps larger, and makes boundaries rarer
(Section 4.2). For a Gaussian layer both are known exactly, so their product is a prediction without a free parameter:
:func:`kwta_theory.theory.jump_variation`, largest at 0.159 (sum of ``|jump|``) and at 0.0786 (sum of ``jump^2``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from kwta_theory import theory
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number

MEASURES = ("total variation", "quadratic variation")
# Wide enough for the limit to three digits at every ratio drawn, and quick.
WIDTH = 4096


def predicted(ratios: Sequence[float], measure: str, width: int = WIDTH) -> npt.NDArray[np.float64]:
    """The variation of the jumps of a Gaussian layer, as a share of its largest value over ``gamma <= 1/2``.

    Args:
        ratios: in (0, 1); ``k = max(1, round(gamma * width))``, at most ``width - 1``.
        measure: one of :data:`MEASURES`.
        width: of the layer, at least 4.

    Raises:
        InvalidArgumentError: another measure, ratio or width.

    >>> predicted([0.02, 0.159, 0.4], "total variation").round(2)
    array([0.41, 1.  , 0.4 ])
    """
    width = check_integer("width", width, 4)
    winners = [check_number("ratio", ratio, 0.0, 1.0, open_minimum=True, open_maximum=True) * width for ratio in ratios]
    peak = theory.best_sparsity_ratio(measure, width)
    largest = theory.jump_variation(width, round(peak * width), measure)
    values = [theory.jump_variation(width, min(max(1, round(k)), width - 1), measure) for k in winners]
    return np.array(values) / largest


def beats(first: torch.Tensor, second: torch.Tensor) -> float:
    """One-sided exact sign test: the p-value of "the first network is not right more often than the second".

    Both were attacked on the same images, so only the images on which they differ count: of ``d`` such, the number on
    which the first is right is Binomial(d, at most 1/2) under the hypothesis.

    Args:
        first: whether each image withstood, shape ``(N,)``, bool.
        second: the same images.

    Raises:
        InvalidArgumentError: other types, or different numbers of images.

    >>> beats(torch.tensor([True] * 7), torch.tensor([True] * 2 + [False] * 5))
    0.03125
    """
    for name, given in (("first", first), ("second", second)):
        if not isinstance(given, torch.Tensor) or given.dtype != torch.bool or given.ndim != 1:
            raise InvalidArgumentError(f"{name} must be a tensor of truth values with one dimension.")
    if len(first) != len(second):
        raise InvalidArgumentError(f"first has {len(first)} images and second {len(second)}: they must be the same.")
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    return float(stats.binom.sf(wins - 1, wins + losses, 0.5)) if wins + losses else 1.0


@dataclass(frozen=True)
class Best:
    """Which of the ratios may be the most robust one.

    Attributes:
        observed: the ratio with the largest share in the sample; the smallest of them where several tie.
        candidates: the ratios that no other beats. They contain the best of these networks (on the population that the
            images are from) with probability at least ``1 - error``.
        span: from the tried ratio below the candidates to the one above: a peak between tried ratios may lie there. 0
            and 1 where nothing was tried beyond.
        error: of the statement.
    """

    observed: float
    candidates: tuple[float, ...]
    span: tuple[float, float]
    error: float

    def allows(self, ratio: float) -> bool:
        """Whether the images leave it open that the curve peaks at this ratio."""
        return self.span[0] < ratio < self.span[1]


def best(robust: Mapping[float, torch.Tensor], error: float = 0.05) -> Best:
    """The ratios that may be the best, from networks that were attacked on the same images.

    A ratio is excluded when another beats it (:func:`beats`) at level ``error / (m - 1)``, ``m`` ratios. The best one
    is beaten by each of the others with at most this probability, so by any with at most ``error``. It says nothing of
    other trainings: one network for each ratio is one draw of the noise of training.

    Args:
        robust: for each ratio whether each image withstood, all of the same images.
        error: probability that the best ratio is missing.

    Raises:
        InvalidArgumentError: fewer than two ratios, or what :func:`beats` refuses.
    """
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    ratios = sorted(robust)
    if len(ratios) < 2:
        raise InvalidArgumentError(f"robust has {len(ratios)} ratio(s): at least two are needed.")
    level = error / (len(ratios) - 1)
    candidates = tuple(
        ratio for ratio in ratios if all(beats(robust[o], robust[ratio]) > level for o in ratios if o != ratio)
    )
    padded = [0.0, *ratios, 1.0]
    # The ratio with the most images right is beaten by none at a level below 1/2, so there is a candidate.
    low, high = padded.index(min(candidates)) - 1, padded.index(max(candidates)) + 1
    observed = max(ratios, key=lambda ratio: (int(robust[ratio].sum()), -ratio))
    return Best(observed, candidates, (padded[low], padded[high]), error)
