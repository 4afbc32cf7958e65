"""Lemma 5 (two vectors may have different activation patterns with a good probability).

For ``gamma < 0.48`` and unit vectors at a cosine ``alpha in (0.5, 1)``, with probability at least ``1 -
2^(-Theta((1/alpha^2 - 1) gamma l))`` some winner ``i`` of ``W x`` falls below some loser ``j`` at ``x'`` by the
margin ``sqrt(1 - alpha^2)/(24 alpha) sqrt(2 pi)``. Theta is read as the explicit bound at which the proof arrives,
``4 exp(-eps^2 gamma l/24) + (2/3)^(eps gamma l/2) + (1/2)^(eps gamma l/2)`` with ``eps = sqrt(1 - alpha^2)/(96
alpha)``. That bound is empty below a width of some millions; it is judged where it first says something. (The text goes
on to ``6 (2/3)^(eps^2 gamma l/24) = 2^(-Theta(.))``, where the factor 6 is lost: that line is below 1 only from ``eps^2
gamma l`` of about 106 on.) The same bound is judged for the lemma's other conclusion, ``A(Wx) != A(Wx')``, which
follows from the first.

Two further routes go the proof's own way, with exact probabilities for its steps: see ``theory.lemma5_steps``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from kwta_theory import checks, theory
from kwta_theory.inputs import Inputs
from kwta_theory.statements import words
from kwta_theory.statements.case import Case, Curve, FirstTrue, Sample, Statement
from kwta_theory.statements.pointwise import check_sparsity_ratio
from kwta_theory.statements.search import smallest_width
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket
from kwta_theory.theory.lemma5_steps import lemma5_best_steps, lemma5_exact_steps


def check_hypotheses(settings: Settings) -> None:
    """``gamma in (0, 0.48)``, ``alpha in (0.5, 1)``."""
    check_sparsity_ratio(settings, "Lemma 5")
    if not 0.5 < settings.cosine < 1:
        raise checks.InvalidArgumentError(
            f"cosine={settings.cosine!r} is outside the hypothesis of Lemma 5: alpha must be in (0.5, 1)."
        )


def log_bound(width: int, settings: Settings) -> float:
    """``log`` of the failure probability that the proof allows."""
    return theory.lemma5_failure_bound(width, settings.sparsity_ratio, settings.cosine, log=True)


def width_for(settings: Settings, log_failure: float) -> int:
    """The smallest width at which the proof's bound is at most ``exp(log_failure)``."""
    width = smallest_width(lambda width: log_bound(width, settings) <= log_failure, 1, 10**18)
    if width is None:
        raise checks.InvalidArgumentError(
            f"cosine={settings.cosine!r} is too close to 1: the bound of Lemma 5 is empty at every width up to 1e18."
        )
    return width


def log_no_margin(width: int, settings: Settings) -> float:
    """``log P(no winner falls below a loser by the margin)``, the exact law of a pair with that margin."""
    k = checks.winners(width, settings.sparsity_ratio)
    margin = theory.lemma5_margin(settings.cosine)
    return theory.same_pattern(width, k, settings.cosine, margin=margin, log=True)


def cases(inputs: Inputs, settings: Settings) -> Iterator[Case]:
    """At the width asked for, and where the bound first allows a failure probability of at most one half."""
    del inputs  # the law depends on the cosine alone
    granted = width_for(settings, math.log(0.5))  # tens of millions: seconds a trial
    for width, simulated in ((settings.width, True), (granted, False)):
        yield case(width, settings, theory.lemma5_margin(settings.cosine), simulated=simulated)
        # That the patterns differ is counted by Theorem 8 on drawn layers: one count of the same layers is enough.
        yield case(width, settings, 0.0, simulated=False)


def case(width: int, settings: Settings, margin: float, *, simulated: bool) -> Case:
    """The claim at one width; without the margin it is the other conclusion, that the patterns differ."""
    k = checks.winners(width, settings.sparsity_ratio)
    arguments = f"{width}, {k}, {settings.cosine!r}"

    def exact() -> LogBracket:
        value = theory.same_pattern(width, k, settings.cosine, margin=margin, log=True)
        law = "the exact law of a pair with margin" if margin else "the exact law of a pair"
        return LogBracket(value, value, law)

    def own_steps() -> LogBracket:
        value = lemma5_exact_steps(width, settings.sparsity_ratio, settings.cosine, log=True)
        return LogBracket(-math.inf, value, "the proof's steps with exact probabilities")

    def best_steps() -> LogBracket:
        value = lemma5_best_steps(width, settings.sparsity_ratio, settings.cosine, log=True, margin=margin)
        return LogBracket(-math.inf, value, "the same steps with the best window")

    def simulate(trials: int, seed: int) -> Sample:
        from kwta_theory import simulation

        kept = simulation.same_pattern(
            width,
            k,
            settings.cosine,
            trials,
            margin=margin,
            seed=seed,
            device=settings.device,
            memory_budget=settings.memory_budget,
            workers=settings.workers,
        )
        return Sample(kept.complement())

    return Case(
        parameters={
            "sparsity_ratio": settings.sparsity_ratio,
            "k": k,
            "cosine": settings.cosine,
            "margin": float(f"{margin:.4g}"),
        },
        log_width=math.log(width),
        claimed=words.at_least(log_bound(width, settings)),
        claimed_log_failure=log_bound(width, settings),
        granted_log_width=None,
        exact=exact,
        exact_call=f"from kwta_theory import theory; theory.same_pattern({arguments}, margin={margin!r}, log=True)",
        also=(own_steps, best_steps),
        simulate=simulate if simulated else None,
        simulate_call=(
            f"from kwta_theory import simulation; simulation.same_pattern({arguments}, {{trials}}, margin={margin!r}, "
            "seed={seed})"
        ),
        normals_per_trial=2.0 * width,
        first_true=lambda: first_true(settings, margin),
        scope=None if margin else "A(Wx) != A(Wx')",
    )


def first_true(settings: Settings, margin: float) -> FirstTrue:
    """The smallest width at which the event has a probability of at least one half, whatever the bound says."""

    def holds(width: int) -> bool:
        k = checks.winners(width, settings.sparsity_ratio)
        return theory.same_pattern(width, k, settings.cosine, margin=margin, log=True) <= math.log(0.5)

    width = smallest_width(holds, math.ceil(1 / settings.sparsity_ratio), 10**9)
    if width is None:
        return FirstTrue("with probability 1/2 at no width up to 1e9", None)
    return FirstTrue(f"with probability 1/2 at width {width:,} (exact law)", math.log(width))


def curves(inputs: Inputs, settings: Settings) -> list[Curve]:
    """The exact law beside the proof's bound."""
    del inputs
    low, high = math.log(max(2 / settings.sparsity_ratio, 10)), math.log(8 * width_for(settings, math.log(0.5)))
    widths = [round(math.exp(low + (high - low) * i / 48)) for i in range(49)]
    logs = tuple(map(math.log, widths))
    bound = [min(log_bound(width, settings), 0.0) for width in widths]
    at = settings.sparsity_ratio, settings.cosine
    own = [min(lemma5_exact_steps(width, *at, log=True), 0.0) for width in widths]
    best = [min(lemma5_best_steps(width, *at, log=True), 0.0) for width in widths]
    return [
        Curve("exact law with margin", "exact", logs, tuple(log_no_margin(width, settings) for width in widths)),
        Curve("the proof with exact tails", "proved", logs, tuple(own)),
        Curve("the proof with exact tails and the best window", "proved", logs, tuple(best)),
        Curve("claimed: the proof's bound", "claimed", logs, tuple(bound)),
    ]


STATEMENT = Statement(
    "lemma-5",
    "Lemma 5",
    "For unit vectors at cosine alpha in (0.5, 1) and gamma < 0.48, with probability at least "
    "1 - 2^(-Theta((1/alpha^2 - 1) gamma l)) some winner i of Wx and some loser j satisfy "
    "W_i x' < W_j x' - sqrt(1 - alpha^2)/(24 alpha) sqrt(2 pi).",
    check_hypotheses,
    cases,
    curves,
    uses_inputs=False,
)
