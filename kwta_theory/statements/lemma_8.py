"""Lemma 8 (a property of the chi-square distribution).

For ``Z`` chi-square with ``m >= 2`` degrees of freedom and ``eps, eta in (0, 1)``, if ``R`` is sufficiently large then
``P(Z >= (1+eps) R) / P((1+eps) R >= Z >= R) <= eta``. "Sufficiently large" is read as the three conditions of the
proof, ``R >= R0`` (``lemma8_radius``). The ratio falls with ``R``, so that one value settles every larger ``R``.

The proof is right, by a margin that it does not mention: "for all t >= R, t^(m/2-1) <= e^(eps t/8)" follows from the
second condition, which is this inequality at ``t = R``, only where ``log(t)/t`` falls, from Euler's number 2.7183 on;
the first condition gives ``R > 2 log 4 = 2.7726``. Without it, for example at ``m = 4``, ``eps = 0.5`` and ``R = 1``,
the second condition holds and the step fails at ``t = 2``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from kwta_theory.confidence import Proportion
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Claim, Statement
from kwta_theory.statements.finding import Finding, RouteContext, search, settle
from kwta_theory.statements.settings import Settings
from kwta_theory.theory.chi_square import chi_square_log_ratio, lemma8_exact_radius, lemma8_radius

# The ratio is computed to 1e-10 relative or better; a comparison leaves room.
ACCURACY = 1e-8
# The widest window that is judged beside that of Theorem 10: any eps in (0, 1) would do.
EPSILON = 0.5
LARGEST_DRAWN_ETA = 1e-4


def check_hypotheses(settings: Settings) -> None:
    """``m >= 2`` and ``eta in (0, 1)`` are checked by :class:`Settings` itself."""
    del settings


def net_gap(cosine: float) -> float:
    """``1 - beta`` of Theorem 10 and Lemma 9, ``beta = (2 + alpha + sqrt(2 - alpha^2))/4``, without cancellation.

    With ``r = sqrt(2 - alpha^2)``: ``4 (1 - beta) = (1 - alpha) - (r - 1) = (1 - alpha)(r - alpha)/(r + 1)`` and ``r -
    alpha = 2 (1 - alpha^2)/(r + alpha)``.
    """
    root = math.sqrt(2.0 - cosine * cosine)
    return 0.5 * (1.0 - cosine) ** 2 * (1.0 + cosine) / ((root + 1.0) * (root + cosine))


def theorem10_values(settings: Settings) -> tuple[float, float]:
    """``(eps, log eta)`` with which Theorem 10 calls the lemma, for ``example_points`` points.

    There ``Z`` is compared with ``R^2`` and ``(1+e)^2 R^2``, so its ``eps`` is ``e (2 + e)``, ``e = (1/beta - 1)/2``,
    and ``eta = (delta/100) / (100 k log(N/delta) (1 + 2/sqrt(1 - beta))^m)``.
    """
    gap = net_gap(settings.cosine)
    small = 0.5 * gap / (1.0 - gap)
    log_eta = (
        math.log(settings.failure / 100.0)
        - math.log(100.0 * settings.k * math.log(settings.example_points / settings.failure))
        - settings.input_dim * math.log1p(2.0 / math.sqrt(gap))
    )
    return small * (2.0 + small), log_eta


def tail_sample(radius: float, degrees: int, trials: int, seed: int) -> np.ndarray:
    """Draws of ``Z`` given ``Z >= R``, for ``R > m - 2``, by rejection.

    ``log density = (a-1) log t - t/2`` with ``a = m/2 >= 1`` is concave, so its tangent at ``R`` bounds it: proposals
    ``R + Exponential`` at rate ``1/2 - (a-1)/R``, kept with probability ``u^(a-1) e^(-(a-1)(u-1))``, ``u = t/R``.
    """
    generator = np.random.default_rng(np.random.SeedSequence([seed, degrees]))
    power = 0.5 * degrees - 1.0
    proposals = radius + generator.exponential(1.0 / (0.5 - power / radius), trials)
    growth = proposals / radius
    return proposals[np.log(generator.random(trials)) <= power * (np.log(growth) - (growth - 1.0))]


def claim(degrees: int, epsilon: float, log_eta: float) -> Claim:
    """The ratio at ``R0`` and beyond, for one ``(m, eps, eta)``."""
    radius = lemma8_radius(degrees, epsilon, log_eta=log_eta)
    needed = lemma8_exact_radius(degrees, epsilon, log_eta=log_eta)
    call = (
        "from kwta_theory.theory.chi_square import chi_square_log_ratio; "
        f"chi_square_log_ratio({radius!r}, {epsilon!r}, {degrees})"
    )

    def exact(context: RouteContext) -> Finding:
        del context
        value = chi_square_log_ratio(radius, epsilon, degrees)
        route = "the exact tail at R0, and a ratio that falls with R"
        text = (
            f"the ratio at R0 = {radius:.6g} is {words.probability(value)} and {words.probability(log_eta)} is "
            "allowed; it falls with R because R times the hazard of Z grows"
        )
        if abs(value - log_eta) <= ACCURACY * (1.0 + abs(value)):
            return search(route, 1, 0, f"{text}; too close for double precision to tell")
        return settle(route, value < log_eta, text, witness=call)

    def proof(context: RouteContext) -> Finding:
        """The chain of inequalities of the proof, whose every step is a condition on ``R0``."""
        del context
        xi = 0.25 * epsilon
        conditions = {
            "R0 >= e": radius >= math.e,
            "e^(-eps R/2) <= xi": -0.5 * epsilon * radius <= math.log(xi) * (1.0 - 1e-12),
            "R^(m/2-1) <= e^(xi R/2)": (0.5 * degrees - 1.0) * math.log(radius) <= 0.5 * xi * radius,
            "(1 - xi)(1 + eps) >= 1 + eps/2": (1.0 - xi) * (1.0 + epsilon) >= 1.0 + 0.5 * epsilon,
            "e^(-eps R/4)/(1 - xi)^2 <= eta": -epsilon * radius / 4.0 - 2.0 * math.log1p(-xi)
            <= log_eta + 1e-12 * abs(log_eta),
        }
        failed = [name for name, holds in conditions.items() if not holds]
        route = "the proof's chain of inequalities at R0"
        if failed:
            return search(route, 1, 0, f"not every step holds at R0 = {radius:.6g}: {', '.join(failed)}")
        return settle(
            route,
            True,
            f"its {len(conditions)} conditions hold at R0 = {radius:.6g}, and with R0 >= e for every larger R",
            "",
        )

    def drawn(context: RouteContext) -> Finding:
        """Where ``eta`` is no smaller than counts can see and the tail can be drawn."""
        trials = context.budget.trials(100.0)
        sample = tail_sample(radius, degrees, trials, context.seed)
        beyond = Proportion(int((sample >= (1.0 + epsilon) * radius).sum()), len(sample))
        interval = beyond.interval(context.error)
        # The ratio r is p/(1-p) with p = P(Z >= (1+eps)R | Z >= R).
        eta = math.exp(log_eta)
        against = interval.lower > eta / (1.0 + eta)
        most = interval.upper / (1.0 - interval.upper) if interval.upper < 1.0 else math.inf
        return search(
            "draws of Z beyond R0",
            len(sample),
            int(against),
            f"{beyond.successes:,} of {beyond.trials:,} draws beyond R0 lie beyond (1 + eps) R0, which puts the ratio "
            f"below {most:.3g}",
            call if against else "",
        )

    routes = (exact, proof, drawn) if log_eta >= math.log(LARGEST_DRAWN_ETA) and radius > degrees else (exact, proof)
    return Claim(
        {"m": degrees, "eps": float(f"{epsilon:.4g}"), "eta": words.probability(log_eta)},
        f"the ratio is at most {words.probability(log_eta)} for every R >= {radius:.6g}",
        routes,
        note=f"the smallest R for which it is true is {needed:.6g}, {radius / needed:.3g} times less",
    )


def by_conditions(context: RouteContext) -> Finding:
    """For all ``m``, ``eps`` and ``eta`` at once: what the proof uses beside its conditions."""
    del context
    # (2/eps) log(4/eps) falls on (0, 1); (1 - eps/4)(1 + eps) - (1 + eps/2) = eps (1 - eps)/4; (1 - xi)^-2 < (3/4)^-2.
    least = 2.0 * math.log(4.0)
    return settle(
        "what the proof uses beside its three conditions",
        least > math.e and (3.0 / 4.0) ** -2 <= 16.0 / 9.0,
        f"the first condition puts R above 2 log 4 = {least:.4f}, beyond e = {math.e:.4f}, from where log(t)/t falls; "
        "the other steps are eps (1 - eps)/4 >= 0 and (3/4)^-2 = 16/9",
        witness="import math; 2 * math.log(4), math.e",
    )


def by_random_conditions(context: RouteContext) -> Finding:
    """The exact ratio at random ``m``, ``eps``, ``eta`` and ``R >= R0``."""
    generator = np.random.default_rng(np.random.SeedSequence([context.seed]))
    tried, against, largest, worst = 2000, 0, -math.inf, ""
    for _ in range(tried):
        m = round(2.0 * math.exp(generator.uniform(0.0, math.log(2000.0))))
        e = math.exp(-generator.exponential(1.5))
        log_eta = -generator.exponential(3.0)
        radius = lemma8_radius(m, e, log_eta=log_eta) * (1.0 + generator.choice([0.0, 1e-6, 0.1, 3.0]))
        excess = chi_square_log_ratio(radius, e, m) - log_eta
        against += excess > ACCURACY
        if excess > largest:
            largest, worst = excess, f"chi_square_log_ratio({radius!r}, {e!r}, {m}) - {log_eta!r}"
    return search(
        "the exact ratio at random m, eps, eta and R",
        tried,
        against,
        f"among {tried:,} the ratio is at most exp({largest:.3g}) times eta",
        f"from kwta_theory.theory.chi_square import chi_square_log_ratio; {worst}" if against else "",
    )


def cases(inputs: Inputs, settings: Settings) -> Iterator[Claim]:
    """Two degrees of freedom, the input dimension, the values of Theorem 10, and all of them."""
    del inputs
    for degrees in sorted({2, settings.input_dim}):
        yield claim(degrees, EPSILON, math.log(settings.failure))
    if 0.5 < settings.cosine < 1.0:  # where Theorem 10 speaks
        yield claim(settings.input_dim, *theorem10_values(settings))
    yield Claim(
        {"m": "every m >= 2", "eps": "every value in (0, 1)", "eta": "every value in (0, 1)"},
        "the ratio is at most eta for every R that satisfies the three conditions of the proof",
        (by_conditions, by_random_conditions),
        scope="every m, eps and eta",
    )


STATEMENT = Statement(
    "lemma-8",
    "Lemma 8",
    "For Z chi-square with m >= 2 degrees of freedom and eps, eta in (0, 1), if R is sufficiently large then "
    "P(Z >= (1 + eps) R) / P((1 + eps) R >= Z >= R) <= eta.",
    check_hypotheses,
    cases,
    uses_inputs=False,
)
