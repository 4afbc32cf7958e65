"""Lemma 4 (upper bound of the rows of ``W``; its title says entries).

For ``W`` with ``l`` rows of ``m`` independent ``N(0, 1)`` entries, with probability at least 0.99, ``|W_i| <= 10
sqrt(m l)`` for all ``i``. The proof is Markov's inequality for ``|W_i|^2`` and the union bound: 0.01 exactly. The rows
are independent chi-square variables, so the law is exact. The lemma is true with an enormous margin: by Chernoff's
bound the failure probability is largest for one row of one entry, and below 1e-20 there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import optimize

from kwta_theory import theory
from kwta_theory.confidence import Proportion
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Case, Claim, Curve, Sample, Statement
from kwta_theory.statements.finding import Finding, RouteContext, search, settle
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket

LOG_FAILURE = math.log(0.01)
# One chi-square draw costs as much as a few normals.
NORMALS_PER_ROW = 8.0


def check_hypotheses(settings: Settings) -> None:
    """There is nothing to check: any width and any number of inputs of at least 1 will do."""
    del settings


def log_some_row_above(log_tail: float, width: int) -> float:
    """``log(1 - (1 - p)^l)`` from ``log p``, for independent rows."""
    if log_tail >= 0.0:
        return 0.0
    log_none = width * math.log1p(-math.exp(log_tail))
    if log_none > -1e-8:  # p underflows or nearly so: 1 - (1-p)^l = l p up to a relative error of l p
        return math.log(width) + log_tail
    return math.log(-math.expm1(log_none))


def log_long_row(width: int, input_dim: int, factor: float = 10.0) -> float:
    """``log P(some |W_i| > factor sqrt(m l))`` by the chi-square tail."""
    square = factor * factor * input_dim * width
    return log_some_row_above(theory.chi_square_log_tail(square, input_dim), width)


def log_chernoff(width: int, input_dim: int) -> float:
    """``log`` of Chernoff's bound over the rows: ``l exp(-(m/2)(a - 1 - log a))`` with ``a = 100 l``.

    It falls with ``m``, and with ``l``: the derivative of ``log l - (m/2)(100 l - 1 - log(100 l))`` is
    ``(1 + m/2)/l - 50 m``, which is negative for ``l, m >= 1``. So it is largest at ``l = m = 1``.
    """
    a = 100.0 * width
    return math.log(width) - 0.5 * input_dim * (a - 1.0 - math.log(a))


def enough(width: int, input_dim: int) -> float:
    """The factor ``c`` with ``P(all |W_i| <= c sqrt(m l)) = 0.99``."""
    scale = math.sqrt(width)
    root = optimize.brentq(
        lambda c: log_long_row(width, input_dim, c / scale) - LOG_FAILURE, 1e-6, 10.0 * scale, xtol=1e-10
    )
    return float(root) / scale


def case(width: int, input_dim: int) -> Case:
    """The claim for one layer."""

    def exact() -> LogBracket:
        value = log_long_row(width, input_dim)
        return LogBracket(value, value, "the exact law of independent chi-square rows")

    def chernoff() -> LogBracket:
        return LogBracket(-math.inf, log_chernoff(width, input_dim), "Chernoff's bound over the rows")

    def simulate(trials: int, seed: int) -> Sample:
        generator = np.random.default_rng(np.random.SeedSequence([seed]))
        short = sum(bool(generator.chisquare(input_dim, width).max() <= 100 * input_dim * width) for _ in range(trials))
        return Sample(Proportion(short, trials))

    return Case(
        parameters={"m": input_dim},
        log_width=math.log(width),
        claimed=words.at_least(LOG_FAILURE),
        claimed_log_failure=LOG_FAILURE,
        granted_log_width=None,
        exact=exact,
        exact_call=f"from kwta_theory.statements import lemma_4; lemma_4.log_long_row({width}, {input_dim})",
        also=(chernoff,),
        simulate=simulate,
        simulate_call=(
            "import numpy as np; g = np.random.default_rng(np.random.SeedSequence([{seed}])); "
            f"sum(g.chisquare({input_dim}, {width}).max() > {100 * input_dim * width} for _ in range({{trials}}))"
        ),
        normals_per_trial=NORMALS_PER_ROW * width,
        note=(
            f"the proof's 0.01 is Markov's bound; with probability 0.99 all rows are shorter than "
            f"{enough(width, input_dim):.3g} sqrt(m l)"
        ),
    )


def by_chernoff(context: RouteContext) -> Finding:
    """For every ``l`` and ``m``: the bound at its largest."""
    del context
    largest = log_chernoff(1, 1)
    return settle(
        "Chernoff's bound, which falls with l and with m",
        largest <= LOG_FAILURE,
        f"the probability of a longer row is at most {words.probability(largest)}, reached at l = m = 1",
        witness="from kwta_theory.statements import lemma_4; lemma_4.log_chernoff(1, 1)",
    )


def by_exact_law(context: RouteContext) -> Finding:
    """The exact law over a grid."""
    del context
    layers = [(width, m) for width in (1, 2, 5, 10, 100, 10**4, 10**6) for m in (1, 2, 3, 10, 100, 784, 3072)]
    values = {layer: log_long_row(*layer) for layer in layers}
    worst = max(values, key=lambda layer: values[layer])
    against = sum(value > LOG_FAILURE for value in values.values())
    return search(
        "the exact law over a grid",
        len(layers),
        against,
        f"the largest of {len(layers)} failure probabilities is {words.probability(values[worst])}, at l = {worst[0]} "
        f"and m = {worst[1]}",
        witness=f"from kwta_theory.statements import lemma_4; lemma_4.log_long_row{worst}" if against else "",
    )


def cases(inputs: Inputs, settings: Settings) -> Iterator[Case | Claim]:
    """The layer asked for, the layer of one entry, which is the worst, and all layers at once."""
    del inputs  # the lemma is about W alone
    yield case(settings.width, settings.input_dim)
    if (settings.width, settings.input_dim) != (1, 1):
        yield case(1, 1)
    yield Claim(
        {"l": "every", "m": "every"},
        "P(all |W_i| <= 10 sqrt(m l)) >= 0.99 for every l and m",
        (by_chernoff, by_exact_law),
        scope="every l and m",
    )


def curves(inputs: Inputs, settings: Settings) -> list[Curve]:
    """The exact law and Markov's bound."""
    del inputs
    logs = tuple(math.log(max(settings.width, 10)) * i / 24 for i in range(25))
    widths = [max(1, round(math.exp(x))) for x in logs]
    exact = tuple(log_long_row(width, settings.input_dim) for width in widths)
    return [
        Curve("exact law", "exact", tuple(map(math.log, widths)), exact),
        Curve("claimed: Markov's bound", "claimed", (logs[0], logs[-1]), (LOG_FAILURE, LOG_FAILURE)),
    ]


STATEMENT = Statement(
    "lemma-4",
    "Lemma 4",
    "For W with l rows of m independent N(0, 1) entries, with probability at least 0.99, |W_i| <= 10 sqrt(m l) for "
    "every row i.",
    check_hypotheses,
    cases,
    curves,
    uses_inputs=False,
)
