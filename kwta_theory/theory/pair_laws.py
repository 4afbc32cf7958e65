"""Exact probabilities for the activation patterns of two inputs, and what they give for N inputs.

Appendix C of the paper bounds these probabilities (Lemma 5, Theorem 10); here they are computed. The law of a pair
depends on the width, on ``k`` and on the cosine of the two inputs alone: see ``pair_density`` for the integral.

Accuracy: 1e-8 relative or better from width 3 to 1e9, measured against mpmath. For an answer far below underflow, or
a log width of millions, the logarithm is right to 1e-8 plus a few units of its own rounding.
"""

from __future__ import annotations

import math
from typing import SupportsFloat, SupportsIndex

import numpy as np
import numpy.typing as npt
from scipy import special

from kwta_theory.checks import InvalidArgumentError, check_cosine, check_integer, check_number
from kwta_theory.theory.pair_density import Layer, check_layer, log_law


def _result(log_probability: float, log: bool) -> float:
    return log_probability if log else math.exp(log_probability)


def _complement(log_probability: float, log: bool) -> float:
    """``1 - p`` from ``log p``, in logs if asked for."""
    value = -math.expm1(log_probability)
    return (math.log(value) if value > 0.0 else -math.inf) if log else value


def _log_overlap(layer: Layer, cosine: float, overlap: float, log: bool, margin: float = 0.0) -> float:
    """``log P(|A and A'| = overlap)`` for every cosine in [-1, 1] and ``max(0, 2k - l) <= overlap <= k``."""
    if 2.0 * layer.k > layer.width:
        # The losers of (x, x') are the winners of (-x, -x'), which have the same cosine.
        losers = layer.width - layer.k
        return _log_overlap(
            Layer(layer.width, layer.log_width, losers), cosine, overlap - layer.k + losers, log, margin
        )
    if layer.k == 0.0:
        return 0.0
    if cosine == 1.0:
        return 0.0 if overlap == layer.k else -math.inf
    if cosine == -1.0:
        return 0.0 if overlap == 0.0 else -math.inf
    return log_law(layer, cosine, [overlap], margin, log=log)


def same_pattern(
    width: SupportsFloat | None,
    k: SupportsIndex,
    cosine: SupportsFloat,
    margin: SupportsFloat = 0.0,
    log: bool = False,
    *,
    log_width: SupportsFloat | None = None,
) -> float:
    """Probability that two inputs have the same activation pattern in a Gaussian layer without bias.

        P(A(x) = A(x')) = C(l, k) * Int Int Q2(s, t - margin)^k  d[ Phi2(s, t)^(l-k) ]

    where ``s`` and ``t`` are the largest losers in each input. With a margin, the probability that no winner of ``x``
    lies more than ``margin`` below a loser of ``x`` in ``W x'``: the complement of the event of Lemma 5, for unit
    inputs and standard normal weights.

    Args:
        width: outputs ``l`` of the layer: a whole number up to 1e300 (int or float), or None with ``log_width``.
        k: winners, ``1 <= k <= width``, up to 2^53.
        cosine: of the angle between the inputs, in [-1, 1].
        margin: at least 0, in units of the weights' standard deviation.
        log: return the natural logarithm, right far below underflow.
        log_width: natural logarithm of the width, up to 1e8, in place of ``width``.

    Raises:
        InvalidArgumentError: for an argument outside its range; a positive margin at cosine -1.
        QuadratureError: if the integral does not settle; with ``log``, for some answers below exp(-1e10).

    >>> round(same_pattern(20, 2, 0.9), 6), round(same_pattern(1000, 2, 0.7), 6)
    (0.377635, 0.017501)
    >>> round(same_pattern(10_000, 1000, 0.99, log=True) / math.log(10), 3)
    -86.841
    """
    layer = check_layer(width, k, log_width)
    cosine = check_cosine(cosine)
    margin = check_number("margin", margin, 0.0)
    if cosine == -1.0 and margin > 0.0:
        raise InvalidArgumentError(
            f"margin={margin!r} is not allowed with cosine=-1.0: it must be 0 for opposite inputs."
        )
    return _result(_log_overlap(layer, cosine, layer.k, log, margin), log)


def overlap_probability(
    width: SupportsFloat | None,
    k: SupportsIndex,
    cosine: SupportsFloat,
    overlap: SupportsIndex,
    log: bool = False,
    *,
    log_width: SupportsFloat | None = None,
) -> float:
    """Probability that the two patterns share exactly ``overlap`` winners; arguments as for :func:`same_pattern`.

    ``overlap = k`` is the same pattern, ``overlap = 0`` disjoint patterns. Over all overlaps it sums to 1.

    >>> round(sum(overlap_probability(20, 3, 0.8, j) for j in range(4)), 9)
    1.0
    """
    layer = check_layer(width, k, log_width)
    cosine = check_cosine(cosine)
    size = check_integer("overlap", overlap, minimum=0, maximum=int(layer.k))
    if size < 2.0 * layer.k - layer.width:
        return _result(-math.inf, log)
    return _result(_log_overlap(layer, cosine, float(size), log), log)


def disjoint_patterns(
    width: SupportsFloat | None,
    k: SupportsIndex,
    cosine: SupportsFloat,
    log: bool = False,
    *,
    log_width: SupportsFloat | None = None,
) -> float:
    """Probability that the two patterns share no winner; arguments as for :func:`same_pattern`.

    0 where ``2 k > width``. Near 1 the absolute error is about 1e-11: take :func:`intersecting_patterns` for the rest.

    >>> round(disjoint_patterns(20, 2, 0.9), 6), round(disjoint_patterns(1000, 2, 0.7), 6)
    (0.072771, 0.684711)
    """
    return overlap_probability(width, k, cosine, 0, log, log_width=log_width)


def intersecting_patterns(
    width: SupportsFloat | None,
    k: SupportsIndex,
    cosine: SupportsFloat,
    log: bool = False,
    *,
    log_width: SupportsFloat | None = None,
) -> float:
    """Probability that the two patterns share at least one winner: ``1 - disjoint_patterns`` without cancellation.

    Where disjointness is likely, it is the sum over the overlaps 1, 2, ..., whose terms are all positive and fall
    geometrically; elsewhere the complement. Arguments as for :func:`same_pattern`.

    >>> intersecting_patterns(None, 1, 0.5, log_width=600.0) == same_pattern(None, 1, 0.5, log_width=600.0)
    True
    """
    layer = check_layer(width, k, log_width)
    cosine = check_cosine(cosine)
    if 2.0 * layer.k > layer.width:
        return _result(0.0, log)
    if layer.k > 1.0 or abs(cosine) == 1.0:
        log_disjoint = _log_overlap(layer, cosine, 0.0, log)
        if abs(cosine) == 1.0 or log_disjoint < math.log(0.99):
            return _complement(log_disjoint, log)
    total, first = -math.inf, 1
    while first <= layer.k:
        block = [float(j) for j in range(first, min(first + 4, int(layer.k) + 1))]
        term = log_law(layer, cosine, block, log=log)
        total = float(np.logaddexp(total, term))
        if term == -math.inf or term < total - 30.0:
            break
        first += 4
    return _result(total, log)


def disjoint_patterns_bounds(
    width: SupportsFloat | None,
    k: SupportsIndex,
    cosines: npt.ArrayLike,
    *,
    log_width: SupportsFloat | None = None,
) -> tuple[float, float]:
    """Bounds of ``P(all N patterns are pairwise disjoint)``, the event of Theorems 2 and 10, from the exact pair laws.

        1 - Sum_pairs P(not disjoint)  <=  P(all disjoint)  <=  1 - max_pairs P(not disjoint)

    Args:
        width: as for :func:`same_pattern`.
        k: winners.
        cosines: the cosine of every pair, each pair once: any shape, at least one entry. Equal ones are computed once.
        log_width: as for :func:`same_pattern`.

    Returns:
        ``(lower, upper)``. Where the sum over pairs exceeds 1 it says nothing and the lower bound is 0.

    Raises:
        InvalidArgumentError: for arguments outside their range.

    >>> lower, upper = disjoint_patterns_bounds(10**6, 2, [0.2, 0.2, 0.4])
    >>> lower < upper, round(upper - (1 - intersecting_patterns(10**6, 2, 0.4)), 12)
    (True, 0.0)
    """
    try:
        array = np.asarray(cosines, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.size == 0:
        raise InvalidArgumentError("cosines is not allowed: it must hold at least one number, one for each pair.")
    distinct, counts = np.unique(array, return_counts=True)
    chances = [
        intersecting_patterns(width, k, check_cosine(cosine, "cosines"), log_width=log_width)
        for cosine in distinct.tolist()
    ]
    return max(0.0, 1.0 - math.fsum(counts * chances)), 1.0 - max(chances)


def limiting_overlap(sparsity_ratio: SupportsFloat, cosine: SupportsFloat) -> float:
    """Share of common winners of two inputs as the width grows with ``gamma = k / width`` fixed.

        |A and A'| / k  ->  Q2(q, q; alpha) / gamma = 1 - (2 / gamma) T(q, sqrt((1 - alpha) / (1 + alpha)))

    with ``q = Q^{-1}(gamma)`` and Owen's ``T``: a row wins for both inputs when both values exceed ``q``, and
    ``P(X > q, Y < q) = 2 T(q, .)``.

    >>> limiting_overlap(0.1, 0.0), limiting_overlap(0.3, 1.0)
    (0.1, 1.0)
    """
    ratio = check_number("sparsity_ratio", sparsity_ratio, 0.0, 1.0, open_minimum=True, open_maximum=True)
    cosine = check_cosine(cosine)
    slope = math.sqrt((1.0 - cosine) / (1.0 + cosine)) if cosine > -1.0 else math.inf
    level = -float(special.ndtri(ratio))
    if slope <= 1.0:
        share = 1.0 - 2.0 / ratio * float(special.owens_t(level, slope))
    else:
        # T(q, a) + T(q, infinity -> a): the rest of Owen's integral, for levels of either sign.
        beyond = 0.5 * float(special.ndtr(-abs(level))) - float(special.owens_t(level, slope))
        share = (2.0 * beyond + max(0.0, 2.0 * ratio - 1.0)) / ratio
    # Rounding: the true share lies in [0, 1], and at cosine 0 it is the ratio itself.
    return ratio if cosine == 0.0 else min(1.0, max(0.0, share))


def cosine_from_beta(beta: SupportsFloat) -> float:
    """Cosine between ``x`` and ``c (x + d)``, ``c > 0``, ``d`` perpendicular to ``x``: ``alpha = 1/sqrt(1 + beta)``.

    ``beta = |d|^2 / |x|^2`` is the squared perpendicular distance of Theorems 1 and 9; at least 0.

    >>> cosine_from_beta(3.0)
    0.5
    """
    return 1.0 / math.sqrt(1.0 + check_number("beta", beta, 0.0))


def beta_from_cosine(cosine: SupportsFloat) -> float:
    """Squared perpendicular distance ``beta = 1/alpha^2 - 1`` of two inputs with cosine ``alpha`` in (0, 1].

    >>> beta_from_cosine(0.5)
    3.0
    """
    cosine = check_number("cosine", cosine, 0.0, 1.0, open_minimum=True)
    return (1.0 - cosine) * (1.0 + cosine) / (cosine * cosine)
