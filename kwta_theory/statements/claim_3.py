"""Claim 3 (in the proof of Lemma 5): ``R2' - R1' <= 8 eps sqrt(2 pi)``.

The levels are normal quantiles, ``P(X >= R2') = (1 - 2 eps) gamma`` and ``P(X >= R1') = (1 + 2 eps) gamma``, with ``eps
= sqrt(1 - alpha^2)/(96 alpha)``, ``alpha in (0.5, 1)`` and ``gamma in (0, 0.48)``. The claim is true for all of them,
with a factor of almost 4 to spare: substituting ``p = gamma (1 + s)``,

    R2' - R1' = Int_{-2 eps}^{2 eps} M(q(p)) ds / (1 + s)
              <= sqrt(pi/2) log((1 + 2 eps)/(1 - 2 eps)) = sqrt(2 pi) artanh(2 eps)

because Mills' ratio ``M(q) = Q(q)/phi(q)`` falls with ``q`` and ``q >= 0``, that is ``p <= 1/2``.

The printed proof has ``exp(-R2'/2)`` where ``exp(-R2'^2/2)`` is meant, in five places. As printed the step "for all t
in [R1', R2'], exp(-t^2/2) >= exp(-R2'/2)" is false as soon as ``R2' > 1``, and so is what follows from it,
``exp(-R2'/2) (R2' - R1')/sqrt(2 pi) <= 4 eps gamma``, from ``R1'^2 > R2'`` on: at ``gamma = 0.1`` and ``alpha = 0.9``
the left side is 2.41e-3, the right side 2.02e-3. (That ``P(X >= R) <= exp(-R/2)`` is true for ``R >= 0``.) With the
square every step holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import special

from kwta_theory.inputs import Inputs
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, RouteContext, search, settle, sufficient
from kwta_theory.statements.lemma_5 import check_hypotheses
from kwta_theory.statements.settings import Settings
from kwta_theory.theory.lemma5_steps import lemma5_epsilon, lemma5_levels

SQRT_TWO_PI = math.sqrt(2.0 * math.pi)
# sup of eps, its limit as alpha falls to 1/2.
LARGEST_EPSILON = math.sqrt(3.0) / 96.0
LARGEST_RATIO = 0.48
# The normal quantile of scipy is right to a few units in the last place; this leaves room for ten.
QUANTILE_ERROR = 10 * np.finfo(np.float64).eps


def density(level: float) -> float:
    """The standard normal density."""
    return math.exp(-0.5 * level * level) / SQRT_TWO_PI


def spread_bracket(sparsity_ratio: float, cosine: float) -> tuple[float, float]:
    """``4 eps gamma / phi(R1') <= R2' - R1' <= 4 eps gamma / phi(R2')``: the paper's argument with the square.

    ``4 eps gamma`` is the integral of ``phi``, which falls on ``[R1', R2']``.
    """
    low, _, _, high = lemma5_levels(sparsity_ratio, cosine)
    mass = 4.0 * lemma5_epsilon(cosine) * sparsity_ratio
    return mass / density(low), mass / density(high)


def at_the_parameters(sparsity_ratio: float, cosine: float) -> Iterator[Claim]:
    """The claim at one ``gamma`` and ``alpha``."""
    bound = 8.0 * lemma5_epsilon(cosine) * SQRT_TWO_PI
    call = (
        "from kwta_theory.theory.lemma5_steps import lemma5_epsilon, lemma5_levels; "
        f"levels = lemma5_levels({sparsity_ratio!r}, {cosine!r}); "
        f"levels[3] - levels[0] - 8 * lemma5_epsilon({cosine!r}) * (2 * 3.141592653589793) ** 0.5"
    )

    def quantiles(context: RouteContext) -> Finding:
        del context
        low, _, _, high = lemma5_levels(sparsity_ratio, cosine)
        spread, rounding = high - low, QUANTILE_ERROR * (1.0 + high)
        text = f"R2' - R1' = {spread:.6g}, and 8 eps sqrt(2 pi) = {bound:.6g}"
        if abs(spread - bound) <= rounding:
            return search("normal quantiles", 1, 0, f"{text}: too close for double precision to tell")
        return settle("normal quantiles", spread < bound, text, witness=call)

    def mean_value(context: RouteContext) -> Finding:
        del context
        low, high = spread_bracket(sparsity_ratio, cosine)
        text = f"R2' - R1' is between {low:.6g} and {high:.6g}, and 8 eps sqrt(2 pi) = {bound:.6g}"
        route = "the least and the largest density between the levels"
        if low <= bound < high:
            return search(route, 1, 0, text)
        return settle(route, high <= bound, text, witness=call)

    yield Claim(
        {"sparsity_ratio": sparsity_ratio, "cosine": cosine, "eps": float(f"{lemma5_epsilon(cosine):.4g}")},
        "R2' - R1' <= 8 eps sqrt(2 pi)",
        (quantiles, mean_value),
    )


def by_mills_ratio(context: RouteContext) -> Finding:
    """``artanh(2 eps) <= 8 eps`` and ``(1 + 2 eps) gamma < 1/2`` at the ends of the hypotheses settle every case.

    ``artanh(2 eps) / (8 eps)`` has a power series with positive coefficients, so it is largest at the largest ``eps``.
    """
    del context
    largest = (1.0 + 2.0 * LARGEST_EPSILON) * LARGEST_RATIO
    factor = math.atanh(2.0 * LARGEST_EPSILON) / (8.0 * LARGEST_EPSILON)
    return sufficient(
        "Mills' ratio, which falls",
        largest < 0.5 and factor <= 1.0,
        f"(1 + 2 eps) gamma is at most {largest:.4f}, below 1/2, and R2' - R1' <= sqrt(2 pi) artanh(2 eps), at most "
        f"{factor:.4f} of what is claimed",
    )


def by_grid(context: RouteContext) -> Finding:
    """Quantiles at random ``gamma`` (log-uniform from 1e-12) and ``eps``."""
    generator = np.random.default_rng(np.random.SeedSequence([context.seed]))
    ratios = LARGEST_RATIO * np.exp(-generator.uniform(0.0, math.log(1e12), 100_000) * generator.random(100_000))
    epsilons = LARGEST_EPSILON * np.exp(-generator.uniform(0.0, math.log(1e4), 100_000))
    spread = special.ndtri((1.0 + 2.0 * epsilons) * ratios) - special.ndtri((1.0 - 2.0 * epsilons) * ratios)
    share = spread / (8.0 * epsilons * SQRT_TWO_PI)
    against = int((share > 1.0).sum())
    worst = int(share.argmax())
    witness = (
        f"from scipy.special import ndtri; g, e = {ratios[worst]!r}, {epsilons[worst]!r}; "
        "ndtri((1 + 2 * e) * g) - ndtri((1 - 2 * e) * g), 8 * e * (2 * 3.141592653589793) ** 0.5"
    ).replace("np.float64", "")
    return search(
        "normal quantiles at random parameters",
        len(share),
        against,
        f"R2' - R1' is at most {share[worst]:.4f} of 8 eps sqrt(2 pi) among {len(share):,}, at gamma = "
        f"{ratios[worst]:.3g} and eps = {epsilons[worst]:.3g}",
        witness if against else "",
    )


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """At the ratio and the cosine asked for, and for all of them."""
    del inputs
    yield from at_the_parameters(settings.sparsity_ratio, settings.cosine)
    yield Claim(
        {"sparsity_ratio": "every value in (0, 0.48)", "cosine": "every value in (0.5, 1)"},
        "R2' - R1' <= 8 eps sqrt(2 pi)",
        (by_mills_ratio, by_grid),
        scope="every ratio and cosine",
    )


STATEMENT = Statement(
    "claim-3",
    "Claim 3",
    "In the proof of Lemma 5, R2' - R1' <= 8 eps sqrt(2 pi).",
    check_hypotheses,
    cases,
    uses_inputs=False,
)
