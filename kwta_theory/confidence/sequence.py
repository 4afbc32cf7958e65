"""Confidence that survives looking at the data while it comes in: the beta-binomial mixture.

Let the trials succeed independently with probability p, ``x`` times in ``n``. For every other probability t the ratio
of likelihoods ``t^x (1-t)^(n-x) / (p^x (1-p)^(n-x))`` is a martingale in ``n`` that starts at 1, and so is its average
over a beta(a, b) prior for t, which is

    M_n(p) = B(a + x, b + n - x) / ( B(a, b) p^x (1-p)^(n-x) ),    B the beta function.

By Ville's inequality ``P(M_n(p) >= 1/error for some n) <= error``: the set of all p with ``M_n(p) < 1/error`` contains
the true one at every n together with probability at least ``1 - error``, whatever the rule that stops the counting.
(H. Robbins, Ann. Math. Statist. 41, 1970; S. R. Howard et al., Ann. Statist. 49, 2021.)

Values between 0 and 1 instead of 0 and 1. ``x`` may be the sum of independent values ``v`` in [0, 1] with mean p: then
M is a supermartingale, because ``(t/p)^v ((1-t)/(1-p))^(1-v)`` is convex in ``v``, hence at most
``v t/p + (1-v) (1-t)/(1-p)``, whose mean is 1. So a real ``x`` is allowed here.

Evaluation. ``log M`` is a difference of numbers of order n; computed term by term it would have lost everything but
the first digits at n = 1e12. With ``A = a + x``, ``B = b + n - x``, ``c = A / (A + B)``, the distance
``d = logit(p) - logit(c)``, and Stirling's series with remainder ``r``, everything large cancels on paper:

    log B(A, B) - A log c - B log(1-c) = log(2 pi (A + B) / (A B)) / 2 + r(A) + r(B) - r(A + B)
    log(c / p) = log1p((1-c) expm1(-d)),    log((1-c) / (1-p)) = log1p(c expm1(d)).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import optimize, special

from kwta_theory.checks import InvalidArgumentError, check_number
from kwta_theory.confidence.proportion import Interval, Proportion

JEFFREYS_PRIOR = (0.5, 0.5)

_LARGEST_LOGIT = 750.0  # where p or 1 - p underflows


def confidence_sequence(
    successes: int, trials: int, error: float, prior: tuple[float, float] = JEFFREYS_PRIOR
) -> Interval:
    """All p with ``log_evidence(successes, trials, p, prior) < log(1 / error)``, valid at all times together.

    The probability that the true p is ever outside is at most ``error``. It is wider than
    :func:`~kwta_theory.confidence.clopper_pearson` by a factor of about ``sqrt(log n)``, the price of looking at will.

    Args:
        successes: an integer in ``[0, trials]``.
        trials: an integer of at least 0; any number reached by any stopping rule.
        error: in (0, 1), for both sides and all times together.
        prior: the two positive parameters of the beta law that the alternatives are averaged over, chosen before the
            data. Every choice is valid; mass near the true p makes the interval narrower.

    Returns:
        The closed interval; [0, 1] when there are no trials. An end has a relative error below 1e-12.

    >>> interval = confidence_sequence(30, 100, 0.05)
    >>> round(interval.lower, 6), round(interval.upper, 6)
    (0.165652, 0.46284)
    """
    count = Proportion(successes, trials)
    return mixture_interval(float(count.successes), float(count.failures), error, prior)


def log_evidence(successes: int, trials: int, probability: float, prior: tuple[float, float] = JEFFREYS_PRIOR) -> float:
    """``log M_n(p)``: how much better the mixture predicted this count than ``p = probability`` did.

    At or above ``log(1/error)`` it rejects p, at any time: the interval of :func:`confidence_sequence` is what it does
    not reject. It is infinite where p says that the count is impossible. Arguments as there.

    >>> log_evidence(0, 0, 0.3)
    0.0
    >>> log_evidence(9, 10, 1.0)
    inf
    """
    count = Proportion(successes, trials)
    return mixture_evidence(float(count.successes), float(count.failures), probability, prior)


def mixture_evidence(successes: float, failures: float, probability: float, prior: tuple[float, float]) -> float:
    """:func:`log_evidence` for real sums: ``successes`` of values in [0, 1], ``failures`` of one minus the values."""
    probability = check_number("probability", probability, 0.0, 1.0)
    evidence, center = _evidence_by_distance(successes, failures, prior)
    if (successes > 0 and probability == 0) or (failures > 0 and probability == 1):
        return math.inf
    return evidence(float(special.logit(probability)) - center)


def mixture_interval(successes: float, failures: float, error: float, prior: tuple[float, float]) -> Interval:
    """:func:`confidence_sequence` for real sums: ``successes`` of values in [0, 1], ``failures`` of one minus them.

    The evidence is convex in p, at most 0 at ``successes / (successes + failures)``, and beyond all bounds at those
    of the ends 0 and 1 that the data exclude: each root is bracketed by doubling steps from the middle, then found by
    Brent's method in the log-odds, where both p and 1 - p keep their digits.
    """
    error = check_number("error", error, 0.0, 1.0, open_minimum=True, open_maximum=True)
    limit = -math.log(error)
    evidence, center = _evidence_by_distance(successes, failures, prior)

    def excess(distance: float) -> float:
        return evidence(distance) - limit

    def end(direction: int, observed: float) -> float:
        step = 1.0 / math.sqrt(1.0 + successes + failures)
        inside = observed
        if math.isinf(observed):  # nothing on the other side: walk to where the evidence is low, its limit there
            inside, width = 0.0, step
            while excess(inside) >= 0:
                inside, width = inside - direction * width, 2 * width
        outside = inside + direction * step
        while excess(outside) < 0:
            if abs(center + outside) > _LARGEST_LOGIT:  # a sum of nearly 0 rejects no p that a float can hold
                return float(special.expit(center + outside))
            inside, step = outside, 2 * step
            outside = inside + direction * step
        root = optimize.brentq(excess, inside, outside, xtol=1e-300, rtol=4 * np.finfo(np.float64).eps, maxiter=500)
        return float(special.expit(center + root))

    observed = -math.inf if successes == 0 else math.inf
    if successes > 0 and failures > 0:
        observed = math.log(successes) - math.log(failures) - center
    return Interval(end(-1, observed) if successes > 0 else 0.0, end(1, observed) if failures > 0 else 1.0)


def _evidence_by_distance(
    successes: float, failures: float, prior: tuple[float, float]
) -> tuple[Callable[[float], float], float]:
    """``log M_n`` as a function of ``d = logit(p) - logit(c)``, and ``logit(c)``; see the head of this file."""
    a, b = _check_prior(prior)
    A, B = a + successes, b + failures
    # At c itself; zero counts give exactly 0, which the cancelled form would only give up to rounding.
    at_center = (
        a * math.log(A / (A + B)) + b * math.log(B / (A + B)) + _log_beta_at_mode(A, B) - float(special.betaln(a, b))
        if successes or failures
        else 0.0
    )

    def evidence(distance: float) -> float:
        terms = at_center
        if successes:
            terms += successes * _log_ratio(A / (A + B), B / (A + B), -distance)
        if failures:
            terms += failures * _log_ratio(B / (A + B), A / (A + B), distance)
        return terms

    return evidence, math.log(A) - math.log(B)


def _check_prior(prior: tuple[float, float]) -> tuple[float, float]:
    try:
        a, b = prior
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"prior={prior!r} is not allowed: it must be a pair of positive numbers.") from None
    return (
        check_number("prior[0]", a, 0.0, open_minimum=True),
        check_number("prior[1]", b, 0.0, open_minimum=True),
    )


def _log_ratio(share: float, other_share: float, distance: float) -> float:
    """``log(share + other_share * exp(distance))`` where the shares sum to 1, without overflow or cancellation."""
    # A share near 1 times a large count needs log1p; far from 1 the sum of logarithms neither overflows nor cancels.
    if distance < 1.0 or other_share * math.exp(min(distance, 700.0)) < 0.5:
        growth = other_share * math.expm1(distance)
        if growth > -0.5:
            return math.log1p(growth)
    return float(np.logaddexp(math.log(share), math.log(other_share) + distance))


def _log_beta_at_mode(A: float, B: float) -> float:
    """``log B(A, B) - A log c - B log(1-c)`` with ``c = A / (A + B)``, by Stirling's series: no large terms."""
    smaller, larger = min(A, B), max(A, B)  # (A + B) / (A B) without overflow, and symmetric to the last bit
    return (
        0.5 * (math.log(2 * math.pi) + math.log1p(smaller / larger) - math.log(smaller))
        + (_stirling_remainder(smaller) + _stirling_remainder(larger))
        - _stirling_remainder(A + B)
    )


def _stirling_remainder(z: float) -> float:
    """``r(z) = log Gamma(z) - (z - 1/2) log z + z - log(2 pi) / 2``; what is left out is below 1e-15."""
    if z < 16.0:
        return math.lgamma(z) - (z - 0.5) * math.log(z) + z - 0.5 * math.log(2 * math.pi)
    w = 1 / (z * z)
    return (1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w * (1 / 1188 - w * 691 / 360360))))) / z
