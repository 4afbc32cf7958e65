"""What the paper's own proofs grant, in numbers: Lemma 5, Theorems 8 and 9, Theorem 10.

The theorems say "for a sufficiently large constant" and "if the width is sufficiently large"; the proofs contain every
constant. With ``constants="exact"`` the same arguments are carried out with exact laws (``exact_arguments``).
Each step was checked; what is wrong in the text but does not change the constants is named in the docstrings.
"""

from __future__ import annotations

import math
import sys
from typing import Literal, SupportsFloat, SupportsIndex

import numpy as np
from scipy import optimize

from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.theory.chi_square import chi_square_log_tail, chi_square_log_tail_drop
from kwta_theory.theory.exact_arguments import theorem8_exact_width, theorem10_exact_log_width
from kwta_theory.theory.pair_laws import cosine_from_beta

Constants = Literal["proof", "exact"]

_LARGEST_LOG_FLOAT = math.log(sys.float_info.max)


def _hypothesis(name: str, value: SupportsFloat, low: float, high: float, source: str) -> float:
    """Return ``value`` in the open interval ``(low, high)``, the hypothesis of ``source``."""
    number = check_number(name, value)
    if not low < number < high:
        raise InvalidArgumentError(
            f"{name}={value!r} is outside the hypothesis of {source}: it must be in ({low:g}, {high:g})."
        )
    return number


def _lemma5_cosine(cosine: SupportsFloat) -> float:
    return _hypothesis("cosine", cosine, 0.5, 1.0, "Lemma 5")


def _sine(cosine: float) -> float:
    return math.sqrt((1.0 - cosine) * (1.0 + cosine))


def lemma5_margin(cosine: SupportsFloat) -> float:
    """By how much some winner falls below some loser in Lemma 5: ``sqrt(2 pi) sqrt(1 - alpha^2) / (24 alpha)``.

    For unit inputs and standard normal weights; ``alpha`` in (0.5, 1).

    >>> round(lemma5_margin(0.8), 6)
    0.078332
    """
    cosine = _lemma5_cosine(cosine)
    return math.sqrt(2.0 * math.pi) * _sine(cosine) / (24.0 * cosine)


def lemma5_failure_bound(
    width: SupportsFloat, sparsity_ratio: SupportsFloat, cosine: SupportsFloat, log: bool = False
) -> float:
    """The proof's bound of the probability that Lemma 5 fails: no winner falls ``lemma5_margin`` below a loser.

        4 exp(-eps^2 gamma l / 24) + (2/3)^(eps gamma l / 2) + (1/2)^(eps gamma l / 2)
        eps = sqrt(1 - alpha^2) / (96 alpha)

    The steps, checked. Claim 4: ``(1 + eps/2)(1 - eps) <= 1 - eps/2``, and the Chernoff exponent
    ``eps^2 (1 - eps) gamma l / 12`` exceeds ``eps^2 gamma l / 24``; ``(1 - eps/3)(1 + eps) >= 1 + eps/2`` because
    ``eps <= 1/2``, with exponent ``eps^2 (1 + eps) gamma l / 18``; the counts in the two windows have exponent
    ``eps gamma l / 8``. All four exceed ``eps^2 gamma l / 24``. Claim 5: ``16 eps alpha / sqrt(1 - alpha^2) = 1/6``,
    hence the 2/3. In Claim 3 the text has ``exp(-R/2)`` for ``exp(-R^2/2)`` in five places; with the square each step
    holds, and the claim does. The lemma's ``1 - 2^-Theta(.)`` is more than 0 only from ``(1/alpha^2 - 1) gamma l`` of
    about 3e5 on: below that the bound exceeds 1.

    Args:
        width: ``l``, at least 1 (a real number; the bound is used as a function of it).
        sparsity_ratio: ``gamma = k / l`` in (0, 0.48).
        cosine: ``alpha`` in (0.5, 1).
        log: return the natural logarithm.

    Returns:
        The bound; above 1 it says nothing.

    >>> lemma5_failure_bound(1e8, 0.1, 0.8) < 1e-10 < 1 < lemma5_failure_bound(1e5, 0.1, 0.8)
    True
    """
    width = check_number("width", width, 1.0)
    ratio = _hypothesis("sparsity_ratio", sparsity_ratio, 0.0, 0.48, "Lemma 5")
    logarithm = _lemma5_log_bound(math.log(ratio) + math.log(width), _lemma5_cosine(cosine))
    return logarithm if log else math.exp(logarithm)


def _lemma5_log_bound(log_winners: float, cosine: float) -> float:
    log_epsilon = math.log(_sine(cosine) / (96.0 * cosine))
    window = 0.5 * math.exp(log_epsilon + log_winners)
    chernoff = math.log(4.0) - math.exp(2.0 * log_epsilon + log_winners) / 24.0
    return float(np.logaddexp.reduce([chernoff, window * math.log(2.0 / 3.0), window * math.log(0.5)]))


def _check_constants(constants: str) -> str:
    if constants not in ("proof", "exact"):
        raise InvalidArgumentError(f"constants={constants!r} is not allowed: it must be 'proof' or 'exact'.")
    return constants


def theorem8_log_width(
    input_dim: SupportsIndex,
    sparsity_ratio: SupportsFloat,
    cosine: SupportsFloat,
    failure: SupportsFloat = 0.5,
    constants: Constants = "proof",
) -> float:
    """Natural logarithm of :func:`theorem8_width`, also where the width exceeds the largest float; same arguments.

    >>> round(theorem8_log_width(2, 1e-300, 0.9) / math.log(10))
    309
    """
    m = check_integer("input_dim", input_dim, minimum=1)
    ratio = _hypothesis("sparsity_ratio", sparsity_ratio, 0.0, 0.48, "Theorem 8")
    cosine = _hypothesis("cosine", cosine, 0.5, 1.0, "Theorem 8")
    delta = _hypothesis("failure", failure, 0.0, 1.0, "Theorem 8")
    if _check_constants(constants) == "exact":
        return math.log(theorem8_exact_width(m, ratio, cosine, delta))
    target = math.log(delta) - m * math.log(2.0)
    log_net = math.log(720.0 * cosine / (math.sqrt(2.0 * math.pi) * _sine(cosine))) + 0.5 * math.log(m)

    def excess(log_width: float) -> float:
        log_size = m * float(np.logaddexp(0.0, log_net + 0.5 * log_width))
        return log_size + _lemma5_log_bound(math.log(ratio) + log_width, cosine) - target

    # At width 1 the left side exceeds 1 unless gamma and the angle are large, which (0, 0.48) x (0.5, 1) excludes.
    high = 1.0
    while excess(high) > 0.0:
        high += 1.0
    return float(optimize.brentq(excess, high - 1.0, high, xtol=1e-13))


def theorem8_width(
    input_dim: SupportsIndex,
    sparsity_ratio: SupportsFloat,
    cosine: SupportsFloat,
    failure: SupportsFloat = 0.5,
    constants: Constants = "proof",
) -> float:
    """The smallest width at which the proof of Theorem 8 grants its conclusion, for every ``x'`` at once.

    With the constants of the proof:

        (1 + 720 alpha sqrt(m l) / sqrt(2 pi (1 - alpha^2)))^m * lemma5_failure_bound(l) <= delta 2^-m

    The first factor is the proof's size of the net (Lemmas 6 and 7; the textbook bound of a net has 1440 for 720). The
    left side rises with ``l`` and then falls for good, so from this width on the inequality stays true. The theorem
    conditions on bounded rows, of probability at least 0.99: its failure is then at most ``delta 2^-m / 0.99``.

    With exact constants: the least width ``l = ceil(k / gamma)``, the first of its ``k = floor(gamma l)``, at which
    :func:`theorem8_exact_failure` is at most ``delta 2^-m``, with the condition on the rows and without it. What is
    verified is that width, and that the first width of one winner less does not do. That it does for all larger
    widths is seen on grids in the tests, where the bound falls from each width to the next in the range that matters,
    but is not proved; widths between the two may do as well.

    Args:
        input_dim: ``m``, at least 1.
        sparsity_ratio: ``gamma`` in (0, 0.48).
        cosine: ``alpha`` in (0.5, 1).
        failure: ``delta`` in (0, 1).
        constants: ``"proof"`` for the inequality above, ``"exact"`` for the same argument with exact laws.

    Returns:
        The width ``l`` as a float: the real root of the inequality, or a whole number with exact constants.

    Raises:
        InvalidArgumentError: for an argument outside its range; a width above the largest float.

    >>> [float(f"{theorem8_width(m, 0.1, cosine_from_beta(b)):.2g}") for m, b in ((2, 0.1), (32, 0.1), (784, 0.005))]
    [850000000.0, 15000000000.0, 9500000000000.0]
    >>> theorem8_width(2, 0.1, cosine_from_beta(0.1), constants="exact")
    80.0
    """
    log_width = theorem8_log_width(input_dim, sparsity_ratio, cosine, failure, constants)
    if log_width > _LARGEST_LOG_FLOAT:
        raise InvalidArgumentError(
            f"sparsity_ratio={sparsity_ratio!r} with cosine={cosine!r} and input_dim={input_dim!r} is not allowed: the "
            f"width is exp({log_width:.6g}), above the largest float; theorem8_log_width gives its logarithm."
        )
    return float(round(math.exp(log_width))) if constants == "exact" else math.exp(log_width)


def theorem9_width(
    input_dim: SupportsIndex,
    sparsity_ratio: SupportsFloat,
    beta: SupportsFloat,
    failure: SupportsFloat = 0.5,
    constants: Constants = "proof",
) -> float:
    """The width that the proof of Theorem 9 (Theorem 1) grants: :func:`theorem8_width` at cosine ``1/sqrt(1 + beta)``.

    ``beta`` in (0, 1) is the squared perpendicular distance over ``|x|^2``. The theorem's scalar ``c`` must not be 0:
    the pattern of the zero vector is decided by ties alone.

    >>> theorem9_width(2, 0.1, 0.1) == theorem8_width(2, 0.1, cosine_from_beta(0.1))
    True
    """
    beta = _hypothesis("beta", beta, 0.0, 1.0, "Theorem 9")
    return theorem8_width(input_dim, sparsity_ratio, cosine_from_beta(beta), failure, constants)


def theorem10_log_width(
    points: SupportsIndex,
    input_dim: SupportsIndex,
    k: SupportsIndex,
    cosine: SupportsFloat,
    failure: SupportsFloat = 0.5,
    constants: Constants = "proof",
) -> float:
    """Natural logarithm of the width from which on the proof of Theorem 10 grants disjoint patterns.

    With the constants of the proof: with ``beta = (2 + alpha + sqrt(2 - alpha^2)) / 4``, ``eps = (1/beta - 1) / 2`` and
    ``beta' = (1 + eps) beta = (1 + beta) / 2``,

        eta = (delta / 100) / (100 k log(N / delta) (1 + 2 / sqrt(2 (1 - beta')))^m)

    the proof needs ``R`` with ``P(Z >= (1+eps)^2 R^2) = delta / (100 l)`` and
    ``P(Z >= (1+eps)^2 R^2) / P(R^2 <= Z <= (1+eps)^2 R^2) <= eta``, ``Z`` chi-square with ``m`` degrees of freedom. The
    second is ``log S(R^2) - log S((1+eps)^2 R^2) >= log(1 + 1/eta)``, whose left side increases with ``R`` (``x`` times
    the hazard of a gamma law increases): its root gives the smallest ``l``, and every larger one serves.

    The steps, checked. A row counts for ``x_i`` with probability at least
    ``P(R <= |W_t| <= (1+eps) R) / (1 + 1/sqrt(2 (1 - beta')))^m >= 100 k log(N/delta) / l`` (with the window the
    conditioning on bounded rows costs nothing; the 2 in ``eta`` where Lemma 10 has a 1 is on the safe side, and is what
    the textbook size of a net needs). Chernoff: fewer than ``k`` rows with probability at most
    ``exp(-50 k L (1 - 1/(100 L))^2) <= delta / (100 N)``, ``L = log(N/delta)``: true for ``N >= 2``, as then
    ``L > log 2``; false for ``N = 1`` with ``delta`` near 1, where the theorem says nothing. Total failure: at most
    ``delta / 50``.

    With exact constants: where :func:`theorem10_exact_failure` falls to ``delta``, a union over pairs with exact laws,
    which needs neither the norms of the rows nor the dimension. For ``k > 1`` it stays below from there on, which is
    proved; for ``k = 1``, where the exact pair law is the sharper of its two bounds, that is seen on grids alone. The
    least width considered is ``2 k + 2``.

    Args:
        points: ``N``, at least 2.
        input_dim: ``m``, at least 2 (Lemma 8).
        k: winners, at least 1.
        cosine: ``alpha`` in (0.5, 1), at least the cosine of every pair.
        failure: ``delta`` in (0, 1).
        constants: ``"proof"`` or ``"exact"``; with ``"exact"`` the width does not depend on ``input_dim``.

    >>> round(theorem10_log_width(2, 784, 1, 0.95, 0.5) / math.log(10) / 1e6, 2)
    2.53
    >>> round(theorem10_log_width(2, 784, 1, 0.95, 0.5, constants="exact") / math.log(10), 2)
    3.28
    """
    n = check_integer("points", points, minimum=2)
    m = check_integer("input_dim", input_dim, minimum=2)
    k = check_integer("k", k, minimum=1)
    alpha = _hypothesis("cosine", cosine, 0.5, 1.0, "Theorem 10")
    delta = _hypothesis("failure", failure, 0.0, 1.0, "Theorem 10")
    if _check_constants(constants) == "exact":
        return theorem10_exact_log_width(n, k, alpha, delta)
    # gap = 1 - beta = ((1 - alpha) - (root - 1)) / 4 with root = sqrt(2 - alpha^2), rearranged twice by
    # root - 1 = (1 - alpha^2) / (root + 1) and root - alpha = 2 (1 - alpha^2) / (root + alpha): nothing cancels.
    root = math.sqrt(2.0 - alpha * alpha)
    gap = 0.5 * (1.0 - alpha) ** 2 * (1.0 + alpha) / ((root + 1.0) * (root + alpha))
    epsilon = 0.5 * gap / (1.0 - gap)
    growth = epsilon * (2.0 + epsilon)
    log_eta = (
        math.log(delta)
        - math.log(100.0)
        - math.log(100.0 * k * (math.log(n) - math.log(delta)))
        - m * math.log1p(2.0 / math.sqrt(gap))  # 2 (1 - beta') = 1 - beta = gap
    )
    needed = float(np.logaddexp(0.0, -log_eta))

    def shortfall(log_square: float) -> float:
        return chi_square_log_tail_drop(math.exp(log_square), growth, m) - needed

    high = math.log(m)
    while shortfall(high) < 0.0:
        high += 1.0
    low = high - 1.0
    while shortfall(low) > 0.0:
        low -= 1.0
    square = math.exp(float(optimize.brentq(shortfall, low, high, xtol=1e-14)))
    return math.log(delta) - math.log(100.0) - chi_square_log_tail((1.0 + growth) * square, m)
