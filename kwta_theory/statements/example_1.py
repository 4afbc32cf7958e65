"""Example 1: random 0/1 inputs get pairwise different patterns.

``N`` points of ``m`` independent Bernoulli(``p``) entries, ``p in (100 log(N)/m, 0.5)``; with ``gamma < 0.48`` and
``l >= Omega((m/gamma) log(m/gamma))``, all patterns differ with probability at least 0.9. Only the ``N`` points
matter, no "for all x'", so the law of a pair and a union bound decide it:

    P(some pair alike) <= C(N, 2) (P(cosine > 5/6) + P(same pattern at cosine 5/6)),

because the probability of the same pattern grows with the cosine (Slepian). The proof's own width is that of Theorem
8 at ``alpha = 5/6``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import special

from kwta_theory import checks, theory
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Case, Curve, FirstTrue, Sample, Statement
from kwta_theory.statements.pointwise import DELTA_ONE, check_sparsity_ratio
from kwta_theory.statements.search import smallest_width
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket

COSINE = 5 / 6
FAILURE = 0.1


def check_hypotheses(settings: Settings) -> None:
    """``gamma in (0, 0.48)`` and ``100 log(N)/m < p < 0.5``."""
    check_sparsity_ratio(settings, "Example 1")
    smallest = 100 * math.log(settings.example_points) / settings.example_input_dim
    if not smallest < settings.example_probability < 0.5:
        raise checks.InvalidArgumentError(
            f"example_probability={settings.example_probability!r} is outside the hypothesis of Example 1: with "
            f"N={settings.example_points} and m={settings.example_input_dim} it must be in (100 log(N)/m, 0.5) = "
            f"({smallest:.4g}, 0.5)."
        )


def log_large_cosine(input_dim: int, probability: float, cosine: float = COSINE) -> float:
    """Upper bound on ``log P(cosine of two Bernoulli inputs > cosine)``, and of an input being zero.

    With ``a`` common ones and ``d`` entries in which they differ, the squared cosine ``a^2/((a + b)(a + c))``,
    ``b + c = d``, is at most ``a/(a + d)``. So the cosine exceeds ``c`` only if ``a (1 - c^2) > c^2 d``, and the law of
    ``(a, d)`` is a trinomial with probabilities ``p^2`` and ``2 p (1 - p)``. The event ``a = d = 0`` (both inputs zero,
    same pattern) is counted in.

    Returns:
        The logarithm of the sum over that region, exact up to rounding.
    """
    a = np.arange(input_dim + 1)[:, None]
    d = np.arange(input_dim + 1)[None, :]
    rest = input_dim - a - d
    with np.errstate(invalid="ignore"):
        log_terms = (
            special.gammaln(input_dim + 1)
            - special.gammaln(a + 1)
            - special.gammaln(d + 1)
            - special.gammaln(rest + 1)
            + special.xlogy(a, probability**2)
            + special.xlogy(d, 2 * probability * (1 - probability))
            + special.xlogy(rest, (1 - probability) ** 2)
        )
    region = (rest >= 0) & ((a * (1 - cosine**2) > cosine**2 * d) | ((a == 0) & (d == 0)))
    return float(special.logsumexp(log_terms[region]))


def log_some_pair_alike(width: int, settings: Settings) -> float:
    """The union bound above, as a logarithm; capped at 0."""
    k = checks.winners(width, settings.sparsity_ratio)
    pairs = math.comb(settings.example_points, 2)
    log_inputs = log_large_cosine(settings.example_input_dim, settings.example_probability)
    # One zero input next to another point: same pattern with probability 1/C(l, k), but counted as 1.
    log_zero = settings.example_input_dim * math.log1p(-settings.example_probability) + math.log(2)
    log_pattern = theory.same_pattern(width, k, COSINE, log=True)
    return min(math.log(pairs) + float(np.logaddexp.reduce([log_inputs, log_zero, log_pattern])), 0.0)


def granted_width(settings: Settings) -> float:
    """The width that Theorem 8 grants at cosine 5/6, with ``N delta 2^-m <= 0.01`` as the proof's union bound wants."""
    log_delta = math.log(0.01 / settings.example_points) + settings.example_input_dim * math.log(2)
    delta = min(math.exp(min(log_delta, 0.0)), DELTA_ONE)
    return theory.theorem8_width(settings.example_input_dim, settings.sparsity_ratio, COSINE, failure=delta)


def cases(inputs: Inputs, settings: Settings) -> Iterator[Case]:
    """At the width asked for, and at the width that the proof grants."""
    del inputs  # the example draws its own
    yield case(settings.width, settings, simulated=True)
    yield case(math.ceil(granted_width(settings)), settings, simulated=False)


def case(width: int, settings: Settings, *, simulated: bool) -> Case:
    """The claim at one width."""
    k = checks.winners(width, settings.sparsity_ratio)

    def exact() -> LogBracket:
        return LogBracket(-math.inf, log_some_pair_alike(width, settings), "the exact law of a pair and a union bound")

    def simulate(trials: int, seed: int) -> Sample:
        from kwta_theory import simulation

        result = simulation.distinct_patterns(
            width,
            k,
            settings.example_input_dim,
            settings.example_points,
            settings.example_probability,
            trials,
            seed=seed,
            device=settings.device,
            memory_budget=settings.memory_budget,
            workers=settings.workers,
        )
        return Sample(result.distinct)

    return Case(
        parameters={
            "m": settings.example_input_dim,
            "N": settings.example_points,
            "p": settings.example_probability,
            "sparsity_ratio": settings.sparsity_ratio,
            "k": k,
        },
        log_width=math.log(width),
        claimed=words.at_least(math.log(FAILURE)),
        claimed_log_failure=math.log(FAILURE),
        granted_log_width=math.log(granted_width(settings)),
        exact=exact,
        exact_call=f"from kwta_theory import theory; theory.same_pattern({width}, {k}, 5 / 6, log=True)",
        simulate=simulate if simulated else None,
        simulate_call=(
            f"from kwta_theory import simulation; simulation.distinct_patterns({width}, {k}, "
            f"{settings.example_input_dim}, {settings.example_points}, {settings.example_probability}, {{trials}}, "
            "seed={seed})"
        ),
        normals_per_trial=float(width * settings.example_points),
        first_true=lambda: first_true(settings),
    )


def first_true(settings: Settings) -> FirstTrue:
    """The smallest width at which the union bound is at most 0.1."""
    width = smallest_width(
        lambda width: log_some_pair_alike(width, settings) <= math.log(FAILURE),
        math.ceil(1 / settings.sparsity_ratio),
        10**9,
    )
    if width is None:
        return FirstTrue("not decided by the union bound at any width up to 1e9", None)
    return FirstTrue(f"at the latest at width {width:,} (exact law, union bound)", math.log(width))


def curves(inputs: Inputs, settings: Settings) -> list[Curve]:
    """The union bound against the width."""
    del inputs
    low, high = math.log(max(2 / settings.sparsity_ratio, 10)), math.log(4 * settings.width)
    widths = [round(math.exp(low + (high - low) * i / 24)) for i in range(25)]
    granted = math.log(granted_width(settings))
    return [
        Curve(
            "exact law of a pair, union bound",
            "exact",
            tuple(map(math.log, widths)),
            tuple(log_some_pair_alike(width, settings) for width in widths),
        ),
        Curve("claimed", "claimed", (granted, granted + math.log(1e3)), (math.log(FAILURE),) * 2),
    ]


STATEMENT = Statement(
    "example-1",
    "Example 1",
    "For N inputs of m independent Bernoulli(p) entries, p in (100 log(N)/m, 0.5), gamma < 0.48 and "
    "l >= Omega((m/gamma) log(m/gamma)): with probability at least 0.9 all activation patterns differ.",
    check_hypotheses,
    cases,
    curves,
    uses_inputs=False,
)
