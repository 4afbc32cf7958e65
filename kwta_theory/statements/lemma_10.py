"""Lemma 10: a Gaussian vector lies in a cap with probability at least ``1/(1 + 1/sqrt(2(1-beta)))^m``.

For ``beta in (0.5, 1)`` and ``y ~ N(0, I_m)``. The left side is the exact area of a cap. The paper derives the bound
from the size of a net (Lemma 6); it is true for every ``m`` and ``beta`` without any net. Let ``n = m - 1``,
``s = sqrt(2(1-beta)) in (0, 1)``, so that the cap has ``sin^2 = s^2 (1 - s^2/4)``, and ``a = n/2``. Then

    P >= sin^n / (n B(n/2, 1/2))                                    (the hypergeometric series has positive terms)
    log( P (1 + 1/s)^m ) >= n log g(s) + log(1 + s) - log s - log(n B),    g(s) = (1 + s) sqrt(1 - s^2/4)
                         >= (n c + log 2) s - log s - log(n B)       (both logarithms are concave: chords, c = log(3)/2)
                         >= 1 + log(n c + log 2) - log(n B)          (the least over s > 0)

which is positive for ``n = 1, 2, 3`` by computing it, and for ``n >= 4`` because ``B(a, 1/2) <= sqrt(pi/(a - 1/4))``
(Watson 1959) makes it at least ``log(e c sqrt((2n - 1)/(4 pi)))``. For ``m = 1`` the cap is one of two points,
``1/2 >= 1/(1 + 1/s)`` as ``s <= 1``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import special

from kwta_theory import checks, theory
from kwta_theory.confidence import Proportion
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, RouteContext, search, settle, sufficient
from kwta_theory.statements.lemma_8 import net_gap
from kwta_theory.statements.settings import Settings

CHORD = 0.5 * math.log(3.0)
# The cap in which counting still meets points: the smaller of the input dimension and this.
DRAWN_DIM = 4
# Of the logarithm of an area, relative.
ACCURACY = 1e-9


def check_hypotheses(settings: Settings) -> None:
    """``beta in (0.5, 1)``: it is the run's cosine."""
    if not 0.5 < settings.cosine < 1:
        raise checks.InvalidArgumentError(
            f"cosine={settings.cosine!r} is outside the hypothesis of Lemma 10: beta must be in (0.5, 1)."
        )


def log_bound(input_dim: int, cosine: float) -> float:
    """``log`` of the right side, ``-m log(1 + 1/sqrt(2(1-beta)))``."""
    return -input_dim * math.log1p(1.0 / math.sqrt(2.0 * (1.0 - cosine)))


def log_net_free_room(n: int) -> float:
    """A lower bound, over all ``beta``, of ``log(P) - log(bound)`` at ``m = n + 1``: see the module."""
    log_beta = math.lgamma(0.5 * n) + 0.5 * math.log(math.pi) - math.lgamma(0.5 * (n + 1))
    return 1.0 + math.log(n * CHORD + math.log(2.0)) - math.log(n) - log_beta


def claim(input_dim: int, cosine: float, *, drawn: bool) -> Claim:
    """The inequality at one ``m`` and ``beta``."""
    bound, area = log_bound(input_dim, cosine), theory.log_cap_fraction(input_dim, cosine)
    call = (
        "import math; from kwta_theory import theory; "
        f"theory.log_cap_fraction({input_dim}, {cosine!r}), "
        f"-{input_dim} * math.log1p(1 / math.sqrt(2 * (1 - {cosine!r})))"
    )

    def exact(context: RouteContext) -> Finding:
        del context
        text = f"the cap has probability {words.probability(area)} and the bound is {words.probability(bound)}"
        if abs(area - bound) <= ACCURACY * abs(area):
            return search("the exact area of the cap", 1, 0, f"{text}: too close for double precision to tell")
        return settle("the exact area of the cap", area > bound, text, witness=call)

    def leading_term(context: RouteContext) -> Finding:
        del context
        n = input_dim - 1
        if n == 0:
            return settle("two points", math.exp(bound) <= 0.5, "1/2, against a bound below 1/2", witness=call)
        square = (1.0 - cosine) * (1.0 + cosine)
        value = 0.5 * n * math.log(square) - math.log(n) - float(special.betaln(0.5 * n, 0.5))
        route = "the leading term of the area, which is below it"
        text = f"the area is at least {words.probability(value)}"
        return settle(route, True, text, "") if value > bound else search(route, 1, 0, text)

    def counted(context: RouteContext) -> Finding:
        trials = context.budget.trials(40.0 * input_dim)
        generator = np.random.default_rng(np.random.SeedSequence([context.seed]))
        points = generator.standard_normal((trials, input_dim))
        inside = points[:, 0] >= cosine * np.linalg.norm(points, axis=1)
        count = Proportion(int(inside.sum()), trials)
        interval = count.interval(context.error)
        against = interval.upper < math.exp(bound)
        return search(
            "Gaussian vectors",
            trials,
            int(against),
            f"{count.successes:,} of {trials:,} Gaussian vectors lie in the cap, a probability in "
            f"[{interval.lower:.3g}, {interval.upper:.3g}]; the bound is {words.probability(bound)}",
            call if against else "",
        )

    return Claim(
        {"m": input_dim, "beta": float(f"{cosine:.10g}")},
        f"P(cap) >= {words.probability(bound)}",
        (exact, leading_term, *((counted,) if drawn else ())),
        note=f"the probability is {words.power_of_ten(area - bound)} times the bound",
    )


def without_a_net(context: RouteContext) -> Finding:
    """For every ``m >= 2`` and ``beta``: three numbers, and Watson's bound from ``n = 4`` on."""
    del context
    small = [log_net_free_room(n) for n in (1, 2, 3)]
    # e c sqrt((2n-1)/(4 pi)) grows with n; n c + log 2 > n c is given away.
    rest = 1.0 + math.log(CHORD) + 0.5 * math.log(7.0 / (4.0 * math.pi))
    least = min(*small, rest)
    return sufficient(
        "the leading term of the area, least over beta, for m = 2, 3, 4 and for all larger m",
        least >= 0.0,
        f"the probability is at least {math.exp(least):.4f} times the bound, for every m >= 2 and beta in (0.5, 1); "
        "for m = 1 it is 1/2, above a bound below 1/2",
    )


def over_a_grid(context: RouteContext) -> Finding:
    """The exact area over dimensions up to 1e5 and caps down to an angle of 4e-5."""
    del context
    dims = sorted({round(10 ** (i / 4)) for i in range(21)})
    cosines = [1.0 - 0.5 * 10 ** (-9.0 * (i + 0.01) / 40) for i in range(41)]
    rooms = {(m, c): theory.log_cap_fraction(m, c) - log_bound(m, c) for m in dims for c in cosines if 0.5 < c < 1.0}
    worst = min(rooms, key=lambda at: rooms[at])
    against = sum(room < 0.0 for room in rooms.values())
    return search(
        "the exact area over a grid",
        len(rooms),
        against,
        f"over {len(rooms)} pairs of m up to {dims[-1]:,} and beta up to 1 - 5e-10 the probability is at least "
        f"{math.exp(rooms[worst]):.4g} times the bound, at m = {worst[0]} and beta = {worst[1]:.4g}",
        f"from kwta_theory import theory; theory.log_cap_fraction({worst[0]}, {worst[1]!r})" if against else "",
    )


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """At the run's ``m`` and ``beta``, at the ``beta'`` of Theorem 10, in low dimension, and for all of them."""
    del inputs
    alpha = settings.cosine
    theorem10_beta = 1.0 - 0.5 * net_gap(alpha)
    yield claim(settings.input_dim, alpha, drawn=settings.input_dim <= DRAWN_DIM)
    if settings.input_dim > DRAWN_DIM:
        yield claim(DRAWN_DIM, alpha, drawn=True)
    if theorem10_beta < 1.0:  # it is 1 in double precision for cosines within 2e-8 of 1
        yield claim(settings.input_dim, theorem10_beta, drawn=False)
    yield Claim(
        {"m": "every m >= 1", "beta": "every value in (0.5, 1)"},
        "P(cap) >= 1/(1 + 1/sqrt(2(1 - beta)))^m",
        (without_a_net, over_a_grid),
        scope="every m and beta",
    )


STATEMENT = Statement(
    "lemma-10",
    "Lemma 10",
    "For x in R^m, y ~ N(0, I_m) and beta in (0.5, 1), P(<x, y>/(|x| |y|) >= beta) >= 1/(1 + 1/sqrt(2(1 - beta)))^m.",
    check_hypotheses,
    cases,
    uses_inputs=False,
)
