"""Claim 4 (in the proof of Lemma 5): four counts are rarely far from what is expected.

With ``eps = sqrt(1 - alpha^2)/(96 alpha)`` and the levels of Lemma 5,

    P( #{X_i >= R2}        >= (1 - eps/2) gamma l ) <= exp(-eps^2 gamma l/24)    (11)
    P( #{X_i >= R1}        <= (1 + eps/2) gamma l ) <= exp(-eps^2 gamma l/18)    (12)
    P( #{R2' >= X_i >= R2} <= eps gamma l/2 )       <= exp(-eps gamma l/8)       (13)
    P( #{R1 >= X_i >= R1'} <= eps gamma l/2 )       <= exp(-eps gamma l/8)       (14)

The counts are binomial with probabilities ``(1 - eps) gamma``, ``(1 + eps) gamma``, ``eps gamma`` and ``eps gamma``, so
that each left side is exact, and (13) and (14) are one inequality. All are true for every width. Chernoff's bound
``exp(-mu h(d))``, ``h(d) = (1+d) log(1+d) - d``, has an exponent of at least ``eps^2 gamma l`` over
8 in (11), where 24 is printed, over 8.15 in (12), where 18 is printed, and ``0.153 eps gamma l`` in (13) and (14),
where the printed one is ``0.125 eps gamma l``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from kwta_theory import checks
from kwta_theory.confidence import Proportion
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Case, Claim, Curve, Sample, Statement
from kwta_theory.statements.finding import Finding, RouteContext, search, sufficient
from kwta_theory.statements.lemma_5 import check_hypotheses
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket
from kwta_theory.theory.lemma5_steps import Lemma5Counts, lemma5_epsilon

LARGEST_EPSILON = math.sqrt(3.0) / 96.0
# A binomial draw costs some tens of normals.
NORMALS_PER_DRAW = 100.0
# Relative accuracy of scipy's incomplete beta function at such counts, with room.
TAIL_ACCURACY = 1e-8


@dataclass(frozen=True)
class Inequality:
    """One of the four as data.

    Attributes:
        number: of its equation.
        index: of its left side in :meth:`Lemma5Counts.log_claim4`.
        at_least: whether the event is a count that is too large.
        mean: expected count over ``gamma l``, as a function of ``eps``.
        threshold: of the event over ``gamma l``.
        rate: the printed exponent over ``gamma l``.
    """

    number: int
    index: int
    at_least: bool
    mean: Callable[[float], float]
    threshold: Callable[[float], float]
    rate: Callable[[float], float]

    def chernoff_rate(self, epsilon: float) -> float:
        """``mean h(d)``, ``1 + d = threshold/mean``: the exponent of Chernoff's bound over ``gamma l``."""
        mean = self.mean(epsilon)
        d = (self.threshold(epsilon) - mean) / mean
        return mean * ((1.0 + d) * math.log1p(d) - d)

    def log_bound(self, k: int, epsilon: float) -> float:
        """``log`` of the printed right side, with ``gamma l = k``."""
        return -self.rate(epsilon) * k


INEQUALITIES = (
    Inequality(11, 0, True, lambda e: 1.0 - e, lambda e: 1.0 - e / 2.0, lambda e: e * e / 24.0),
    Inequality(12, 1, False, lambda e: 1.0 + e, lambda e: 1.0 + e / 2.0, lambda e: e * e / 18.0),
    Inequality(13, 2, False, lambda e: e, lambda e: e / 2.0, lambda e: e / 8.0),
    Inequality(14, 2, False, lambda e: e, lambda e: e / 2.0, lambda e: e / 8.0),
)


def width_for(inequality: Inequality, settings: Settings) -> int:
    """Where the printed right side falls to one half."""
    rate = inequality.rate(lemma5_epsilon(settings.cosine)) * settings.sparsity_ratio
    return math.ceil(math.log(2.0) / rate + 1.0 / settings.sparsity_ratio)


def case(inequality: Inequality, width: int, settings: Settings) -> Case:
    """One inequality at one width."""
    k = checks.winners(width, settings.sparsity_ratio)
    counts = Lemma5Counts.of(width, k, settings.cosine)
    epsilon = counts.epsilon
    mean, threshold = inequality.mean(epsilon) * counts.ratio, inequality.threshold(epsilon) * k
    bound = inequality.log_bound(k, epsilon)

    def exact() -> LogBracket:
        value = counts.log_claim4()[inequality.index]
        return LogBracket(value - TAIL_ACCURACY, min(value + TAIL_ACCURACY, 0.0), "the exact binomial tail")

    def chernoff() -> LogBracket:
        upper = -k * inequality.chernoff_rate(epsilon)
        return LogBracket(-math.inf, upper, "Chernoff's bound with its exact exponent")

    def simulate(trials: int, seed: int) -> Sample:
        generator = np.random.default_rng(np.random.SeedSequence([seed, inequality.number]))
        drawn = generator.binomial(width, mean, trials)
        bad = drawn >= threshold if inequality.at_least else drawn <= threshold
        return Sample(Proportion(trials - int(bad.sum()), trials))

    return Case(
        parameters={
            "equation": inequality.number,
            "sparsity_ratio": settings.sparsity_ratio,
            "k": k,
            "cosine": settings.cosine,
            "eps": float(f"{epsilon:.4g}"),
        },
        log_width=math.log(width),
        claimed=words.at_least(bound),
        claimed_log_failure=bound,
        granted_log_width=None,
        exact=exact,
        exact_call=(
            "from kwta_theory.theory.lemma5_steps import Lemma5Counts; "
            f"Lemma5Counts.of({width}, {k}, {settings.cosine!r}).log_claim4()[{inequality.index}]"
        ),
        also=(chernoff,),
        simulate=simulate,
        simulate_call=(
            "import numpy as np; g = np.random.default_rng(np.random.SeedSequence([{seed}, "
            f"{inequality.number}])); (g.binomial({width}, {mean!r}, {{trials}}) "
            f"{'>=' if inequality.at_least else '<='} {threshold!r}).sum()"
        ),
        normals_per_trial=NORMALS_PER_DRAW,
        scope=f"equation {inequality.number}",
    )


def least_chernoff_rate(number: int, epsilon: float) -> float:
    """A lower bound of :meth:`Inequality.chernoff_rate` in closed form; for (13) and (14) it is the rate itself.

    (11) with ``d = (e/2)/(1-e)`` and ``h(d) >= d^2/(2 + 2d/3)``; (12) with ``d = (e/2)/(1+e)`` and ``h(-d) >= d^2/2``;
    (13) and (14) with ``h(-1/2) = (1 - log 2)/2``.
    """
    e = epsilon
    if number == 11:
        return e * e / (8.0 * (1.0 - 5.0 * e / 6.0))
    if number == 12:
        return e * e / (8.0 * (1.0 + e))
    return e * 0.5 * (1.0 - math.log(2.0))


def claim(inequality: Inequality) -> Claim:
    """One inequality for every width, ratio and cosine."""

    def exponents(context: RouteContext) -> Finding:
        del context
        # The quotient of the two rates is monotone in eps: its ends are enough.
        factor = min(least_chernoff_rate(inequality.number, e) / inequality.rate(e) for e in (1e-12, LARGEST_EPSILON))
        return sufficient(
            "Chernoff's exponent against the printed one",
            factor >= 1.0,
            f"the exponent of Chernoff's bound is at least {factor:.4g} times the printed one, for every eps up to "
            f"{LARGEST_EPSILON:.4g} and whatever the width",
        )

    def exact_tails(context: RouteContext) -> Finding:
        generator = np.random.default_rng(np.random.SeedSequence([context.seed]))
        least, worst = math.inf, ""
        against = 0
        layers = 400
        for _ in range(layers):
            width = round(math.exp(generator.uniform(math.log(3), math.log(1e12))))
            k = max(1, math.floor(0.479 * width * math.exp(-generator.uniform(0.0, min(math.log(width), 12.0)))))
            cosine = float(generator.uniform(0.5001, 0.9999))
            counts = Lemma5Counts.of(width, k, cosine)
            room = inequality.log_bound(k, counts.epsilon) - counts.log_claim4()[inequality.index]
            against += room < -TAIL_ACCURACY
            if room < least:
                least, worst = room, f"Lemma5Counts.of({width}, {k}, {cosine!r}).log_claim4()[{inequality.index}]"
        witness = f"from kwta_theory.theory.lemma5_steps import Lemma5Counts; {worst}"
        return search(
            "exact binomial tails at random widths, ratios and cosines",
            layers,
            against,
            f"among {layers} layers up to width 1e12 the bound exceeds the probability by a factor of at least "
            f"exp({least:.2g})",
            witness if against else "",
        )

    return Claim(
        {"equation": inequality.number, "width": "every", "sparsity_ratio": "every", "cosine": "every"},
        f"equation ({inequality.number}) for every width, ratio in (0, 0.48) and cosine in (0.5, 1)",
        (exponents, exact_tails),
        scope=f"equation {inequality.number}, every width",
    )


def cases(inputs: Inputs, settings: Settings) -> Iterator[Case | Claim]:
    """Each inequality at the width asked for, where its bound is one half, and for every width."""
    del inputs
    for inequality in INEQUALITIES:
        for width in sorted({settings.width, width_for(inequality, settings)}):
            yield case(inequality, width, settings)
        yield claim(inequality)


def curves(inputs: Inputs, settings: Settings) -> list[Curve]:
    """Exact tails and printed bounds; (14) coincides with (13)."""
    del inputs
    low = math.log(max(2 / settings.sparsity_ratio, 10))
    high = math.log(8.0 * width_for(INEQUALITIES[0], settings))
    widths = [round(math.exp(low + (high - low) * i / 32)) for i in range(33)]
    logs = tuple(map(math.log, widths))
    layers = [
        Lemma5Counts.of(width, checks.winners(width, settings.sparsity_ratio), settings.cosine) for width in widths
    ]
    lines = []
    for inequality in INEQUALITIES[:3]:
        exact = tuple(counts.log_claim4()[inequality.index] for counts in layers)
        bound = tuple(inequality.log_bound(counts.k, counts.epsilon) for counts in layers)
        lines.append(Curve(f"({inequality.number}), exact", "exact", logs, exact))
        lines.append(Curve(f"({inequality.number}), claimed", "claimed", logs, bound))
    return lines


STATEMENT = Statement(
    "claim-4",
    "Claim 4",
    "In the proof of Lemma 5, the counts of rows beyond R2 and R1 and in the windows [R2, R2'] and [R1', R1] leave "
    "their ranges with probability at most exp(-eps^2 gamma l/24), exp(-eps^2 gamma l/18), exp(-eps gamma l/8) and "
    "exp(-eps gamma l/8).",
    check_hypotheses,
    cases,
    curves,
    uses_inputs=False,
)
