"""Statements made wrong on purpose: the ordinary judge refutes each, and does not refute the true one beside it.

Nothing knows that it is being tested: a planted falsehood is a :class:`Case` or a :class:`Claim` as the modules of the
statements make them, mostly by those modules themselves, with one number, sign or word of the paper changed. Wrong
samplers are in ``planted/test_samplers.py``, the absence of false alarms in ``planted/test_no_false_alarms.py``.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
from scipy import special

from kwta_theory import checks, inputs, simulation, theory
from kwta_theory.confidence import Proportion
from kwta_theory.statements import (
    Budget,
    LogBracket,
    Outcome,
    Settings,
    Verdict,
    claim_4,
    claim_5,
    disjointness,
    example_1,
    lemma_5,
    lemma_8,
    lemma_10,
    pointwise,
    theorem_1,
    theorem_2,
    theorem_8,
    theorem_9,
)
from kwta_theory.statements.case import Case, Claim, Sample, Statement
from kwta_theory.statements.finding import Finding, RouteContext, search, settle
from kwta_theory.statements.judge import judge
from kwta_theory.theory.chi_square import lemma8_exact_radius

ERROR = 1e-6
BUDGET = Budget("planted", normals=4e6, max_trials=20_000)
SETTINGS = Settings(width=200, budget=BUDGET, device="cpu", workers=1)
DELTA = SETTINGS.failure
RATIO = SETTINGS.sparsity_ratio
# Twelve points, any two at the same cosine: pair events are the rarest to coincide, so that a union bound is tight.
POINTS = inputs.points_with_cosine(12, 0.3)
PAIR = inputs.points_with_cosine(2, 0.6)
STATEMENT = Statement("planted", "Planted", "Any.", lambda _: None, lambda *_: iter(()))


def judged(case: Case | Claim, settings: Settings = SETTINGS) -> Verdict:
    return judge(STATEMENT, "-", case, settings, ERROR, seed=11)


@dataclass(frozen=True)
class Planted:
    """``make(True)`` is the statement as it should be, ``make(False)`` with what ``wrong`` says."""

    name: str
    wrong: str
    make: Callable[[bool], Case | Claim]


PLANTED: list[Planted] = []


def plant(name: str, wrong: str) -> Callable[[Callable[[bool], Case | Claim]], Callable[[bool], Case | Claim]]:
    def add(make: Callable[[bool], Case | Claim]) -> Callable[[bool], Case | Claim]:
        PLANTED.append(Planted(name, wrong, make))
        return make

    return add


def comparison(claimed: str, routes: dict[str, Callable[[], tuple[float, float]]]) -> Claim:
    """The claim ``left <= right``, each route computing both sides in its own way."""

    def as_route(name: str, sides: Callable[[], tuple[float, float]]) -> Callable[[RouteContext], Finding]:
        def route(context: RouteContext) -> Finding:
            left, right = sides()
            return settle(name, left <= right, f"{left:.6g} against {right:.6g}", witness=f"{left!r} <= {right!r}")

        return route

    return Claim({}, claimed, tuple(as_route(*item) for item in routes.items()))


# --- Lemma 5 and the claims of its proof ---


@plant("lemma-5-margin-doubled", "the margin has 12 alpha in its denominator where 24 alpha is right")
def lemma_5_margin(true: bool) -> Case:
    """At the width from which the right margin is reached with probability 0.95."""
    margin = theory.lemma5_margin(SETTINGS.cosine)
    first = pointwise.smallest_width(
        lambda width: theory.same_pattern(width, checks.winners(width, RATIO), SETTINGS.cosine, margin=margin) <= DELTA,
        10,
        10**6,
    )
    case = lemma_5.case(first, SETTINGS, margin if true else 2 * margin, simulated=False)
    # The steps of the proof are about the right margin alone.
    return dataclasses.replace(case, claimed_log_failure=math.log(DELTA), also=())


def claim_4_case(number: int, rate: Callable[[float], float], exponent: float) -> Case:
    """Where the wrong right side is ``exp(-exponent)``: far enough out for its exponent to tell."""
    printed = claim_4.INEQUALITIES[number - 11]
    wrong = dataclasses.replace(printed, rate=rate)
    epsilon = claim_4.lemma5_epsilon(SETTINGS.cosine)
    return claim_4.case(wrong, math.ceil(exponent / (rate(epsilon) * RATIO)), SETTINGS)


@plant("claim-4-exponent-six-times-larger", "equation (11) with exp(-eps^2 gamma l/4) in place of /24")
def claim_4_square(true: bool) -> Case:
    return claim_4_case(11, (lambda e: e * e / 24) if true else (lambda e: e * e / 4), 5.0)


@plant("claim-4-exponent-doubled", "equation (13) with exp(-eps gamma l/4) in place of /8")
def claim_4_window(true: bool) -> Case:
    return claim_4_case(13, (lambda e: e / 8) if true else (lambda e: e / 4), 20.0)


@plant("claim-4-exponent-for-every-width", "the same for every width: Chernoff's exponent is below eps/4")
def claim_4_every_width(true: bool) -> Claim:
    wrong = dataclasses.replace(claim_4.INEQUALITIES[2], rate=lambda e: e / 4)
    return claim_4.claim(claim_4.INEQUALITIES[2] if true else wrong)


@plant("claim-5-complement-of-the-base", "the base 1 - 2/3 in place of 2/3: the chance of a success, not of a failure")
def claim_5_base(true: bool) -> Case:
    window = claim_5.CLAIM_5 if true else dataclasses.replace(claim_5.CLAIM_5, printed=1 / 3)
    return claim_5.case(window, 10 * claim_5.width_for(window, SETTINGS), SETTINGS)


@plant("missing-square", "e^(-R/2) for e^(-R^2/2) in the density, as the proof of Claim 3 has it in print")
def missing_square(true: bool) -> Claim:
    """``exp(-R2'^2/2) (R2' - R1')/sqrt(2 pi) <= 4 eps gamma`` at gamma = 0.1 and alpha = 0.9."""
    ratio, cosine = 0.1, 0.9
    power = 2 if true else 1

    def in_doubles() -> tuple[float, float]:
        epsilon = math.sqrt(1 - cosine**2) / (96 * cosine)
        low, high = (-special.ndtri((1 + sign * 2 * epsilon) * ratio) for sign in (1, -1))
        density = math.exp(-(high**power) / 2) / math.sqrt(2 * math.pi)
        return float(density * (high - low)), 4 * epsilon * ratio

    def in_mpmath() -> tuple[float, float]:
        epsilon = mpmath.sqrt(1 - mpmath.mpf(cosine) ** 2) / (96 * cosine)
        low, high = (mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * ratio * (1 + sign * 2 * epsilon)) for sign in (1, -1))
        return float(mpmath.exp(-(high**power) / 2) * (high - low) / mpmath.sqrt(2 * mpmath.pi)), float(
            4 * epsilon * ratio
        )

    return comparison("the step of the proof of Claim 3", {"doubles": in_doubles, "mpmath": in_mpmath})


@plant("missing-half", "e^(-R^2) for e^(-R^2/2) as a bound of the Gaussian tail, at R = 2")
def missing_half(true: bool) -> Case:
    bound, level = -2.0 if true else -4.0, 2.0

    def simulate(trials: int, seed: int) -> Sample:
        normals = np.random.default_rng(np.random.SeedSequence([seed])).standard_normal(trials)
        return Sample(Proportion(int((normals < level).sum()), trials))

    law = float(special.log_ndtr(-level))
    return Case(
        {"R": level},
        0.0,
        f"P(X >= {level:g}) <= exp({bound:g})",
        bound,
        None,
        exact=lambda: LogBracket(law, law, "the normal tail"),
        exact_call=f"from scipy.special import log_ndtr; log_ndtr(-{level!r})",
        simulate=simulate,
        normals_per_trial=1.0,
    )


# --- Theorems 1, 8 and 9, one fixed x' ---


def change_at(rotation: pointwise.Rotation, log_width: float | None, shrink: float = 1.0) -> Case:
    """The claim of ``rotation`` where it is said to begin; the exact law and counting are those of the package."""
    assert log_width is not None
    width = math.ceil(math.exp(log_width) / shrink)
    granted = dataclasses.replace(rotation, granted_width=float(width))
    return pointwise.change_case(PAIR, SETTINGS, granted, width, simulated=True)


def first_width(rotation: pointwise.Rotation) -> float | None:
    return pointwise.first_change(RATIO, rotation).log_width


@plant("a-tenth-of-the-width", "Theorem 1 from a tenth of the width at which one fixed x' is first told apart")
def tenth_of_the_width(true: bool) -> Case:
    rotation = theorem_1.claim(6, SETTINGS)
    return change_at(rotation, first_width(rotation), 1.0 if true else 10.0)


@plant("four-to-the-minus-m", "Theorem 1 with 4^-m at a width that reaches 2^-m")
def four_to_the_minus_m(true: bool) -> Case:
    rotation = theorem_1.claim(6, SETTINGS)
    level = rotation.log_failure * (1 if true else 2)
    return change_at(dataclasses.replace(rotation, log_failure=level), first_width(rotation))


@plant("delta-squared", "Theorem 8 with delta^2 2^-m at a width that reaches delta 2^-m")
def delta_squared(true: bool) -> Case:
    rotation = theorem_8.claim(6, SETTINGS)
    level = rotation.log_failure + (0 if true else math.log(DELTA))
    return change_at(dataclasses.replace(rotation, log_failure=level), first_width(rotation))


@plant("distance-not-squared", "Theorem 9 with beta = |dx|/|x| in place of its square: a smaller angle, the same width")
def distance_not_squared(true: bool) -> Case:
    rotation = theorem_9.claim(6, SETTINGS)
    cosine = theory.cosine_from_beta(SETTINGS.beta ** (1 if true else 2))
    return change_at(dataclasses.replace(rotation, cosine=cosine), first_width(rotation))


@plant("cosine-without-its-root", "the width for a cosine of 1/(1 + beta), where beta means 1/sqrt(1 + beta)")
def cosine_without_root(true: bool) -> Case:
    rotation = theorem_9.claim(6, SETTINGS)
    misread = dataclasses.replace(rotation, cosine=1 / (1 + SETTINGS.beta))
    return change_at(rotation, first_width(rotation if true else misread))


# --- Theorems 1 and 9, every x' ---


def every_at(rotation: pointwise.Rotation, input_dim: int, width: int) -> Case:
    """The claim for every ``x'``, said to begin at this width; drawn layers decide it by certificate or witness."""
    first = inputs.Inputs("e_1", np.eye(input_dim)[:1], "the first unit vector")
    return pointwise.every_case(first, SETTINGS, dataclasses.replace(rotation, granted_width=float(width)), width)


@plant(
    "every-at-a-third-of-the-width", "Theorem 1 for every x' from a third of a width at which layers reach its level"
)
def every_at_a_third_of_the_width(true: bool) -> Case:
    return every_at(theorem_1.claim(2, SETTINGS), 2, 120 if true else 40)


@plant("every-eight-to-the-minus-m", "Theorem 1 for every x' with 8^-m where drawn layers reach 2^-m")
def every_eight_to_the_minus_m(true: bool) -> Case:
    rotation = theorem_1.claim(2, SETTINGS)
    level = rotation.log_failure * (1 if true else 3)
    return every_at(dataclasses.replace(rotation, log_failure=level), 2, 70)


@plant("every-a-tenth-of-beta", "Theorem 1 for every x' in space, with beta/10 at the width for beta")
def every_tenth_of_beta(true: bool) -> Case:
    rotation = theorem_1.claim(3, dataclasses.replace(SETTINGS, beta=0.1 if true else 0.01))
    return dataclasses.replace(every_at(rotation, 3, 160), normals_per_trial=BUDGET.normals / 200)


# --- Theorems 2, 10 and 11 ---


def disjoint_at(points: inputs.Inputs, settings: Settings, log_width: float | None) -> Case:
    """The claim of Theorem 10 said to begin at this width; in wide layers the rows that can win are drawn."""
    assert log_width is not None
    width = None if log_width > 7 else math.ceil(math.exp(log_width))
    log_width = math.log(width) if width else log_width
    case = disjointness.disjoint_case(points, settings, width, log_width, log_width)
    return dataclasses.replace(case, first_true=None)


def enough_for(points: inputs.Inputs, settings: Settings = SETTINGS) -> float | None:
    """``log`` of a width at which the sum over pairs is below delta."""
    return disjointness.law_widths(disjointness.pair_cosines(points), settings.k, settings.failure, 200.0)[1]


@plant("k-plus-one-winners", "k + 1 winners at the width that is enough for k")
def one_winner_more(true: bool) -> Case:
    more = dataclasses.replace(SETTINGS, k=SETTINGS.k + (0 if true else 1))
    return disjoint_at(PAIR, more, enough_for(PAIR))


@plant("cosines-at-least-alpha", "points with cosines at least alpha, where the theorem has at most")
def cosines_at_least(true: bool) -> Case:
    return disjoint_at(inputs.points_with_cosine(2, 0.5 if true else 0.7), SETTINGS, enough_for(PAIR))


@plant("delta-misread", "delta read as the probability of success: at most delta fails where 1 - delta was reached")
def delta_misread(true: bool) -> Case:
    loose = dataclasses.replace(SETTINGS, failure=1 - DELTA)
    return disjoint_at(PAIR, SETTINGS, enough_for(PAIR, SETTINGS if true else loose))


@plant("half-the-log-width", "Theorem 10 from the square root of its first true width on")
def half_the_log_width(true: bool) -> Case:
    enough = enough_for(POINTS)
    assert enough is not None
    return disjoint_at(POINTS, SETTINGS, enough if true else enough / 2)


def union_bound(level: float) -> Case:
    """``P(some of the C(12, 2) = 66 pairs intersects) <= level p`` at width 1000, by bracket and by counting."""
    case = disjointness.disjoint_case(POINTS, SETTINGS, 1000, math.log(1000), math.log(1000))
    log_pair = theory.intersecting_patterns(1000, 1, 0.3, log=True)
    return dataclasses.replace(case, claimed_log_failure=log_pair + math.log(level), first_true=None)


@plant("n-pairs", "a union bound over N pairs in place of C(N, 2)")
def n_pairs(true: bool) -> Case:
    return union_bound(66 if true else 12)


@plant("quantifier-swapped", "'each pair with probability 1 - p' read as 'with probability 1 - p all pairs'")
def quantifier_swapped(true: bool) -> Case:
    return union_bound(66 if true else 1)


@plant("fixed-ratio", "Theorem 2 with k = floor(gamma l) in place of a fixed k, at width 10^5")
def fixed_ratio(true: bool) -> Case:
    if true:
        return disjoint_at(PAIR, SETTINGS, enough_for(PAIR))
    return theorem_2.fixed_ratio_case(PAIR, SETTINGS, 10**5, 0.6)


@plant("different-read-as-disjoint", "patterns that differ with probability 1 - delta are said to be disjoint so often")
def different_as_disjoint(true: bool) -> Case:
    k, level = 5, math.log(DELTA)
    width = pointwise.smallest_width(lambda width: theory.same_pattern(width, k, 0.6, log=True) <= level, 10, 10**6)
    law, name = (theory.same_pattern, "same") if true else (theory.intersecting_patterns, "intersecting")

    def exact() -> LogBracket:
        value = law(width, k, 0.6, log=True)
        return LogBracket(value, value, "the exact law of a pair")

    def simulate(trials: int, seed: int) -> Sample:
        overlap = simulation.pattern_overlap(width, k, 0.6, trials, seed=seed, device="cpu").histogram
        return Sample(Proportion(trials - int(overlap[k] if true else overlap[1:].sum()), trials))

    call = f"from kwta_theory import theory; theory.{name}_pattern{'' if true else 's'}({width}, {k}, 0.6)"
    return Case(
        {"k": k},
        math.log(width or 0),
        "P >= 0.95",
        level,
        None,
        exact=exact,
        exact_call=call,
        simulate=simulate,
        normals_per_trial=2.0 * (width or 0),
    )


# --- laws and limits ---


def overlap_claim(predicted: float) -> Claim:
    """``|E|A and A'|/k - predicted| <= 0.02`` at width 400, ratio 0.1 and cosine 0.6: by the exact law, by drawing."""
    width, k, cosine, slack = 400, 40, 0.6, 0.02

    def exact(context: RouteContext) -> Finding:
        mean = sum(j * theory.overlap_probability(width, k, cosine, j) for j in range(1, k + 1)) / k
        text = f"the mean overlap is {mean:.5f} and {predicted:.5f} is predicted"
        return settle("the exact law, summed", abs(mean - predicted) <= slack, text, witness=f"{mean!r}")

    def drawn(context: RouteContext) -> Finding:
        # 2,000 layers put the mean at +-0.0016; the wrong limits below are off by 0.14 or more.
        result = simulation.pattern_overlap(width, k, cosine, 2_000, seed=context.seed, device="cpu")
        mean, error = result.mean[0, 1], result.standard_error[0, 1]
        against = int(abs(mean - predicted) > slack + 6 * error)
        text = f"{mean:.4f} +- {error:.4f} in 2,000 layers"
        return search("drawn layers", 2_000, against, text, f"{mean!r}" if against else "")

    return Claim({"k": k}, f"the mean overlap is {predicted:.3f} up to {slack}", (exact, drawn))


@plant("one-minus-gamma", "the limiting overlap with 1 - gamma in place of gamma")
def one_minus_gamma(true: bool) -> Claim:
    return overlap_claim(theory.limiting_overlap(0.1 if true else 0.9, 0.6))


@plant("sign-of-alpha", "the limiting overlap with -alpha in place of alpha")
def sign_of_alpha(true: bool) -> Claim:
    return overlap_claim(theory.limiting_overlap(0.1, 0.6 if true else -0.6))


@plant("alpha-squared", "the limiting overlap with alpha^2 in place of alpha")
def alpha_squared(true: bool) -> Claim:
    return overlap_claim(theory.limiting_overlap(0.1, 0.6 if true else 0.36))


@plant("with-replacement", "independent patterns drawn with replacement: (1 - k/l)^k for C(l-k, k)/C(l, k)")
def with_replacement(true: bool) -> Claim:
    width, k = 30, 4
    formula = math.comb(width - k, k) / math.comb(width, k) if true else (1 - k / width) ** k
    law = theory.disjoint_patterns(width, k, 0.0)

    def enumerated() -> float:
        hits = [(width - k - i) / (width - i) for i in range(k)]
        return math.prod(hits)

    return comparison(
        "P(disjoint) at cosine 0 is the formula, up to 1e-8",
        {
            "the exact law": lambda: (abs(law - formula), 1e-8),
            "one winner after another": lambda: (abs(enumerated() - formula), 1e-8),
        },
    )


@plant("even-in-the-cosine", "P(same pattern) said to be the same at -alpha; at l = 2k it is P(disjoint) that is")
def even_in_the_cosine(true: bool) -> Claim:
    at_minus = theory.disjoint_patterns(10, 5, -0.6) if true else theory.same_pattern(10, 5, -0.6)

    def counted() -> tuple[float, float]:
        overlap = simulation.pattern_overlap(10, 5, -0.6, 20_000, seed=5, device="cpu").histogram
        # 6 standard errors of 20,000 trials are at most 0.021; the two laws differ by 0.07.
        return abs(overlap[0 if true else 5] / 20_000 - theory.same_pattern(10, 5, 0.6)), 0.0213

    return comparison(
        "P(same) at 0.6 is what it is called at -0.6",
        {
            "the exact law": lambda: (abs(at_minus - theory.same_pattern(10, 5, 0.6)), 1e-8),
            "drawn layers": counted,
        },
    )


@plant("slepian-reversed", "the probability of the same pattern said to fall with the cosine")
def slepian_reversed(true: bool) -> Claim:
    sign = 1 if true else -1

    def route(name: str, values: Callable[[list[float]], list[float]]) -> Callable[[RouteContext], Finding]:
        def look(context: RouteContext) -> Finding:
            grid = [0.1, 0.3, 0.5, 0.7, 0.9]
            found = values(grid)
            against = sum(sign * (b - a) < 0 for a, b in itertools.pairwise(found))
            return search(name, 4, against, f"at {grid}: {found}", f"{found!r}" if against else "")

        return look

    def drawn(grid: list[float]) -> list[float]:
        return [simulation.same_pattern(20, 2, cosine, 4_000, seed=3, device="cpu").value for cosine in grid]

    laws = route("the exact law", lambda grid: [theory.same_pattern(20, 2, cosine) for cosine in grid])
    return Claim({}, "P(same) is monotone in the cosine", (laws, route("drawn layers", drawn)))


# --- Lemmas 8 and 10, Example 1 ---


def lemma_8_claim(true: bool, monkeypatch: pytest.MonkeyPatch) -> Claim:
    if not true:

        def halved(degrees: int, epsilon: float, log_eta: float) -> float:
            return 0.5 * lemma8_exact_radius(degrees, epsilon, log_eta=log_eta)

        monkeypatch.setattr(lemma_8, "lemma8_radius", halved)
    return lemma_8.claim(8, 0.5, math.log(0.05))


def lemma_10_claim(true: bool, monkeypatch: pytest.MonkeyPatch) -> Claim:
    if not true:
        right = lemma_10.log_bound
        monkeypatch.setattr(lemma_10, "log_bound", lambda m, cosine: 0.5 * right(m, cosine))
    return lemma_10.claim(4, 0.8, drawn=True)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lemma_8_claim, id="lemma-8-half-the-radius: half the least R that is sufficiently large"),
        pytest.param(lemma_10_claim, id="lemma-10-half-the-power: the power m/2 in place of m"),
    ],
)
def test_a_wrong_constant_inside_a_module_is_refuted(make, monkeypatch):
    """The constant is replaced where the module keeps it; all of its routes stay as they are."""
    sound = judged(make(True, monkeypatch))
    assert sound.outcome is Outcome.HOLDS, sound.reason
    verdict = judged(make(False, monkeypatch))
    assert verdict.outcome is Outcome.REFUTED, verdict.reason
    replay(verdict.witness)


@plant("example-1-p-out-of-range", "Example 1 with p = 0.02: inputs of 20 entries are zero or equal too often")
def example_1_probability(true: bool) -> Case:
    """At width 200 and without asking which width the proof grants; the union bound cannot refute, counting can."""
    settings = dataclasses.replace(
        SETTINGS,
        example_points=10,
        example_input_dim=600 if true else 20,
        example_probability=0.45 if true else 0.02,
    )
    case = example_1.case(200, settings, simulated=True)
    # 500 trials: out of range more than half of them fail, where a tenth is allowed.
    cost = BUDGET.normals / 500
    return dataclasses.replace(case, granted_log_width=None, first_true=None, normals_per_trial=cost)


def replay(witness: str | None) -> object:
    """Run a witness as a reader would: the last expression is its value; ``points`` are the inputs of the verdict."""
    assert witness
    *before, last = witness.split("; ")
    scope: dict[str, object] = {"points": POINTS.points}
    exec("; ".join(before), scope)
    return eval(last, scope)


def test_the_witness_of_a_refutation_by_the_law_is_the_number_that_refutes():
    verdict = judged(missing_half(False))
    assert replay(verdict.witness) == pytest.approx(math.log(0.022750131948179), abs=1e-9)
    assert replay(judged(missing_square(False)).witness) is False


@pytest.mark.parametrize("planted", [pytest.param(p, id=f"{p.name}: {p.wrong}") for p in PLANTED])
def test_a_planted_falsehood_is_refuted_and_its_true_twin_is_not(planted: Planted):
    verdict = judged(planted.make(False))
    assert verdict.outcome is Outcome.REFUTED, verdict.reason
    assert verdict.routes_agree
    replay(verdict.witness)
    twin = judged(planted.make(True))
    assert twin.outcome in (Outcome.HOLDS, Outcome.UNDECIDED), twin.reason
    assert twin.routes_agree, twin.reason


def test_there_are_enough_of_them_and_each_says_what_is_wrong():
    assert len(PLANTED) >= 20
    assert len({p.name for p in PLANTED}) == len(PLANTED)
    assert all(len(p.wrong) > 20 for p in PLANTED)


def test_the_example_out_of_range_is_refused_where_hypotheses_are_checked():
    with pytest.raises(checks.InvalidArgumentError, match="outside the hypothesis of Example 1"):
        example_1.check_hypotheses(dataclasses.replace(SETTINGS, example_probability=0.02))
