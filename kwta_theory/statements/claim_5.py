"""Claim 5 (in the proof of Lemma 5), and what Claim 6 shares with it.

Given the event ``E`` (the four counts of Claim 4 are in range), with probability at least ``1 - (16 eps
alpha/sqrt(1 - alpha^2) + 1/2)^(eps gamma l/2)`` some row with ``X_i in [R2, R2']`` has ``Y_i < -16 eps sqrt(2 pi)
alpha/sqrt(1 - alpha^2)``. The base is 2/3 whatever ``alpha``.

``E`` is about the ``X_i`` alone, and the ``Y_i`` are independent of them. So given that ``b`` rows lie in the window
the claim fails with probability ``q^b``, ``q = Phi(sqrt(2 pi)/6) = 0.6619``, and ``E`` makes ``b`` at least
``eps gamma l/2``: that settles the claim at every width. The exact law is ``E[q^B | E]``. For ``k = 1`` the event ``E``
cannot happen (it wants no row above ``R2`` and one between ``R2`` and ``R2'``), and the claim is empty.
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
from kwta_theory.statements.case import Case, Claim, Sample, Statement
from kwta_theory.statements.finding import Finding, RouteContext, search, settle
from kwta_theory.statements.lemma_5 import check_hypotheses
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket
from kwta_theory.theory.lemma5_steps import (
    Lemma5Counts,
    claim5_row_failure,
    lemma5_epsilon,
    log_event,
)

# A multinomial draw of five cells, and the normals of its window.
NORMALS_PER_DRAW = 1000.0


@dataclass(frozen=True)
class Window:
    """One of the two claims as data.

    Attributes:
        name: "Claim 5" or "Claim 6".
        upper: whether it is about ``[R2, R2']`` (or ``[R1', R1]``).
        level: a row of the window is a success where ``Y < level`` (Claim 5), ``Y >= level`` (Claim 6).
        failing: exact probability that a row is no success.
        printed: the base in the claim, an upper bound of ``failing``.
    """

    name: str
    upper: bool
    level: float
    failing: Callable[[], float]
    printed: float

    @property
    def weights(self) -> tuple[float, float]:
        """The weights of a row of the upper and of the lower window in ``E[q^B | E]``."""
        return (self.failing(), 1.0) if self.upper else (1.0, self.failing())


CLAIM_5 = Window("Claim 5", True, -math.sqrt(2.0 * math.pi) / 6.0, claim5_row_failure, 2.0 / 3.0)


def simulate_given_event(counts: Lemma5Counts, window: Window, trials: int, seed: int) -> Proportion:
    """Draw ``X`` as counts of the five cells, keep the trials in ``E``, and draw ``Y`` for each row of the window.

    The kept trials are independent draws of the law given ``E``; their number does not depend on the ``Y``.
    """
    generator = np.random.default_rng(np.random.SeedSequence([seed, 5 if window.upper else 6]))
    small = counts.window
    # About ten million normals at most, settled before anything is drawn: with so many rows a failure is out of reach.
    trials = min(trials, max(1, int(1e7 / (1.0 + counts.width * small))))
    cells = [counts.above - small, small, 2.0 * small, small, 1.0 - counts.reaching - small]
    beyond, upper, between, lower, _ = generator.multinomial(counts.width, cells, trials).T
    kept = (
        (beyond + upper <= counts.most_above)
        & (beyond + upper + between >= counts.least_reaching)
        & (lower >= counts.least_in_window)
        & (upper >= counts.least_in_window)
    )
    rows = (upper if window.upper else lower)[kept]
    if len(rows) == 0:
        return Proportion()
    normals = generator.standard_normal(int(rows.sum()))
    success = normals < window.level if window.upper else normals >= window.level
    starts = np.concatenate([[0], np.cumsum(rows)[:-1]])
    return Proportion(int(np.logical_or.reduceat(success, starts).sum()), len(rows))


def width_for(window: Window, settings: Settings) -> int:
    """Where the printed bound falls to one half."""
    rate = 0.5 * lemma5_epsilon(settings.cosine) * settings.sparsity_ratio * math.log(1.0 / window.printed)
    return math.ceil(math.log(2.0) / rate + 1.0 / settings.sparsity_ratio)


def case(window: Window, width: int, settings: Settings) -> Case:
    """The claim at one width."""
    k = checks.winners(width, settings.sparsity_ratio)
    counts = Lemma5Counts.of(width, k, settings.cosine)
    bound = 0.5 * counts.epsilon * k * math.log(window.printed)
    low, high = log_event(counts)
    impossible = high == -math.inf

    def exact() -> LogBracket:
        weighted_low, weighted_high = log_event(counts, *window.weights)
        lower = weighted_low - high
        upper = 0.0 if low == -math.inf else min(weighted_high - low, 0.0)
        return LogBracket(min(lower, upper), upper, "the exact law given E")

    def least_count() -> LogBracket:
        upper = counts.least_in_window * math.log(window.failing())
        return LogBracket(-math.inf, upper, "the least number of rows that E leaves in the window")

    arguments = f"{width}, {k}, {settings.cosine!r}"
    # The witness names the layers drawn; those in E, which the judge counts, are fewer.
    drawn = settings.budget.trials(NORMALS_PER_DRAW)
    name = "CLAIM_5" if window.upper else "CLAIM_6"
    module = "claim_5" if window.upper else "claim_6"
    return Case(
        parameters={
            "sparsity_ratio": settings.sparsity_ratio,
            "k": k,
            "cosine": settings.cosine,
            "P(E)": "0" if impossible else words.probability(high),
        },
        log_width=math.log(width),
        claimed="nothing (E is impossible)" if impossible else words.at_least(bound),
        claimed_log_failure=0.0 if impossible else bound,
        granted_log_width=None,
        exact=None if impossible else exact,
        exact_call=(
            "from kwta_theory.theory import lemma5_steps; "
            f"counts = lemma5_steps.Lemma5Counts.of({arguments}); "
            f"lemma5_steps.log_event(counts, *{window.weights})[0] - lemma5_steps.log_event(counts)[1]"
        ),
        also=() if impossible else (least_count,),
        simulate=None if impossible else lambda trials, seed: sample(counts, window, trials, seed),
        simulate_call=(
            f"from kwta_theory.statements import claim_5, {module}; from kwta_theory.theory import lemma5_steps; "
            f"claim_5.simulate_given_event(lemma5_steps.Lemma5Counts.of({arguments}), {module}.{name}, {drawn}, "
            "{seed})"
        ),
        normals_per_trial=NORMALS_PER_DRAW,
    )


def sample(counts: Lemma5Counts, window: Window, trials: int, seed: int) -> Sample:
    """The simulation, with how many of the layers that were drawn were in ``E``."""
    kept = simulate_given_event(counts, window, trials, seed)
    return Sample(kept, f"{kept.trials:,} of the layers drawn were in E and are counted")


def claim(window: Window) -> Claim:
    """The claim for every width, ratio and cosine."""

    def least_count(context: RouteContext) -> Finding:
        del context
        return settle(
            "one row, and the least number of rows",
            window.failing() <= window.printed,
            f"a row of the window misses with probability {window.failing():.6f}, at most {window.printed:.6f}, "
            "independently of all X, and E leaves at least eps gamma l/2 rows",
            witness="import math; from scipy.special import ndtr; ndtr(math.sqrt(2 * math.pi) / 6)",
        )

    def exact_law(context: RouteContext) -> Finding:
        generator = np.random.default_rng(np.random.SeedSequence([context.seed]))
        layers, against, least, worst = 40, 0, math.inf, ""
        for _ in range(layers):
            width = round(math.exp(generator.uniform(math.log(10), math.log(3e3))))
            k = max(2, math.floor(0.479 * width * math.exp(-generator.uniform(0.0, 3.0))))
            cosine = float(generator.uniform(0.501, 0.97))
            counts = Lemma5Counts.of(width, k, cosine)
            value = log_event(counts, *window.weights)[0] - log_event(counts)[1]
            room = 0.5 * counts.epsilon * k * math.log(window.printed) - value
            against += room < 0.0
            if room < least:
                least, worst = room, f"({width}, {k}, {cosine!r})"
        witness = (
            f"from kwta_theory.theory import lemma5_steps as s; c = s.Lemma5Counts.of{worst}; "
            f"s.log_event(c, *{window.weights})[0] - s.log_event(c)[1]"
        )
        return search(
            "the exact law given E at random widths, ratios and cosines",
            layers,
            against,
            f"among {layers} layers up to width 3,000 the bound exceeds the probability by a factor of at least "
            f"exp({least:.2g})",
            witness if against else "",
        )

    return Claim(
        {"width": "every", "sparsity_ratio": "every", "cosine": "every"},
        f"{window.name} for every width, ratio in (0, 0.48) and cosine in (0.5, 1) where E can happen",
        (least_count, exact_law),
        scope="every width",
    )


def cases_of(window: Window) -> Callable[[Inputs, Settings], Iterator[Case | Claim]]:
    """At the width asked for, where the bound is one half, and for every width."""

    def cases(inputs: Inputs, settings: Settings) -> Iterator[Case | Claim]:
        del inputs
        for width in sorted({settings.width, width_for(window, settings)}):
            yield case(window, width, settings)
        yield claim(window)

    return cases


STATEMENT = Statement(
    "claim-5",
    "Claim 5",
    "In the proof of Lemma 5, given E, with probability at least 1 - (16 eps alpha/sqrt(1 - alpha^2) + 1/2)^(eps gamma "
    "l/2) some row with X_i in [R2, R2'] has Y_i < -alpha/sqrt(1 - alpha^2) 16 eps sqrt(2 pi).",
    check_hypotheses,
    cases_of(CLAIM_5),
    uses_inputs=False,
)
