"""Claims 4 to 6, the steps of the proof of Lemma 5, each beside its exact probability.

The proof cuts the outputs ``X_i`` at four levels ``R1' < R1 < R2 < R2'`` with ``P(X >= level) = (1 + s eps) gamma``,
``s = 2, 1, -1, -2`` and ``eps = sqrt(1-alpha^2)/(96 alpha)``. Claim 4 bounds the chance that one of four counts is out
of range, which the event ``E`` excludes, Claims 5 and 6 that, given ``E``, no row between two levels has a ``Y_i`` as
wanted.
Drawn: the counts of rows between the levels and, for the rows of the two windows, the extreme ``Y_i``. Exact: binomial
tails, and sums over the multinomial law for what is conditional on ``E``.
Seen, at ``gamma = 0.1`` and a cosine of 0.6: every step is true. (11) and (12) fall to 0.01 at a width of 1e6, their
printed bounds at 5.7e6 and 4.3e6; (13) and (14) between 1.2e4 and 1.4e4, printed 2.7e4. ``P(E)`` is 0.04 at a width of
1000 and 0.54 at 1e5; the printed bound of its failure, ``4 exp(-eps^2 gamma l/24)``, exceeds 1 up to a width of 1.7e6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from scipy import special

from kwta_theory import campaign
from kwta_theory.campaign.estimators import Parameters, Value, real, whole
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.claim_4 import INEQUALITIES
from kwta_theory.theory.lemma5_steps import (
    Lemma5Counts,
    claim5_row_failure,
    lemma5_levels,
    log_event,
)

RATIO, COSINE = 0.1, 0.6
WIDTHS = (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
TRIALS = {"quick": 20_000, "standard": 200_000, "thorough": 2_000_000}
OUTCOMES = ("equation_11", "equation_12", "equation_13", "equation_14", "event", "no_row_5", "no_row_6")
# Of Claims 5 and 6: probability that a row misses, and the weights of the two windows that select "all rows miss".
MISSING = {"no_row_5": (claim5_row_failure(), 1.0), "no_row_6": (1.0, 0.5)}
PRINTED = {"no_row_5": 2 / 3, "no_row_6": 1 / 2}


def resolve(given: Mapping[str, Value]) -> Parameters:
    """``width``, ``k`` and ``cosine`` within the hypotheses of Lemma 5."""
    width, k = whole("width", given["width"], 1), whole("k", given["k"], 1)
    cosine = real("cosine", given["cosine"], 0.5, 1.0)
    Lemma5Counts.of(width, k, cosine)
    return {"width": width, "k": k, "cosine": cosine}


def draw(parameters: Mapping[str, Value], trials: int, seed: int) -> campaign.Tally:
    """Rows fall into the five cells that the levels cut; a window of ``n`` rows has a least and a largest ``Y``."""
    width, k, cosine = int(parameters["width"]), int(parameters["k"]), float(parameters["cosine"])
    generator = np.random.default_rng(np.random.SeedSequence(seed))
    tails = special.ndtr(-np.array([math.inf, *lemma5_levels(k / width, cosine)[::-1], -math.inf]))
    beyond, upper, between, lower, _ = generator.multinomial(width, np.diff(tails), trials).T
    winners, reaching = beyond + upper, beyond + upper + between
    epsilon = math.sqrt(1 - cosine**2) / (96 * cosine)
    event = (winners <= (1 - epsilon / 2) * k) & (reaching >= (1 + epsilon / 2) * k)
    event &= (lower >= epsilon * k / 2) & (upper >= epsilon * k / 2)
    # The least of n independent Y, and the largest: P(all Y > y) = Q(y)^n.
    with np.errstate(divide="ignore"):
        least = -special.ndtri(generator.random(trials) ** (1 / upper))
        largest = special.ndtri(generator.random(trials) ** (1 / lower))
    fall = -16 * epsilon * math.sqrt(2 * math.pi) * cosine / math.sqrt(1 - cosine**2)
    happened = (
        winners >= (1 - epsilon / 2) * k,
        reaching <= (1 + epsilon / 2) * k,
        upper <= epsilon * k / 2,
        lower <= epsilon * k / 2,
        event,
        event & (least >= fall),
        event & (largest < 0),
    )
    return campaign.Tally(trials, {name: int(flags.sum()) for name, flags in zip(OUTCOMES, happened, strict=True)})


campaign.register(
    campaign.Estimator(
        "lemma-5-steps",
        1,
        "the counts and events of Claims 4 to 6; no_row_5 and no_row_6 together with the event E",
        ("width", "k", "cosine"),
        resolve,
        lambda _: 100.0,
        draw,
        tuple(map(campaign.Outcome, OUTCOMES)),
    )
)


def tasks(budget: str) -> list[campaign.Task]:
    """One ratio and cosine, widths up to those at which the event E is almost sure."""
    del budget
    return [
        campaign.Task.of("lemma-5-steps", chunk_trials=20_000, width=width, k=round(RATIO * width), cosine=COSINE)
        for width in WIDTHS
    ]


def log_exact(counts: Lemma5Counts, outcome: str) -> tuple[float, float]:
    """Between which numbers the logarithm of a probability lies: equal but for rounding, or where the sum is long."""
    if outcome in MISSING or outcome == "event":
        return log_event(counts, *MISSING.get(outcome, (1.0, 1.0)))
    value = dict(zip(OUTCOMES, (*counts.log_claim4(), counts.log_claim4()[2]), strict=False))[outcome]
    return value, value


def exact(row: Row) -> float | tuple[float, float]:
    """The probability, or between which numbers it lies."""
    low, high = log_exact(Lemma5Counts.of(row["width"], row["k"], row["cosine"]), row["outcome"])
    return math.exp(low) if low == high else (math.exp(low), math.exp(high))


def layers(most: int, steps: int) -> list[Lemma5Counts]:
    """The widths of a curve: multiples of 10, so many to a decade, and those that are drawn."""
    widths = {10 * round(10 ** (1 + i / steps)) for i in range(6 * steps + 1)} | set(WIDTHS)
    return [Lemma5Counts.of(width, width // 10, COSINE) for width in sorted(widths) if width <= most]


def claim_4(found: Found) -> Figure:
    """The four tails and the printed exponentials; (14) has the law of (13)."""
    figure, axes = plots.panels(3, share_y=True)
    curve = layers(10**8, 24)
    widths = [counts.width for counts in curve]
    for axis, inequality in zip(axes, INEQUALITIES, strict=False):
        bound = [inequality.log_bound(counts.k, counts.epsilon) for counts in curve]
        plots.law(axis, widths, bound, label="printed bound", color=plots.CLAIMED, log=True, from_log=True)
        tail = [counts.log_claim4()[inequality.index] for counts in curve]
        plots.law(axis, widths, tail, label="exact tail", log=True, from_log=True)
        for number in (13, 14) if inequality.number == 13 else (inequality.number,):
            rows = found.select("width", outcome=f"equation_{number}")
            plots.estimates(axis, "width", rows, label="measured", log=True)
        axis.set(xscale="log", ylim=(-6, 0.3), xlabel="width l (outputs)", title=f"equation ({inequality.number})")
    axes[2].set_title("equations (13) and (14)")
    axes[0].set_ylabel("log10 P(the count is out of range)")
    plots.legend(figure)
    return figure


def claims_5_and_6(found: Found) -> Figure:
    """The event E, and what is conditional on it."""
    figure, axes = plots.panels(3, share_y=True)
    curve = layers(30_000, 10)
    event = [log_exact(counts, "event")[0] for counts in curve]
    widths = [counts.width for counts in curve]
    plots.law(axes[0], widths, event, label="exact", log=True, from_log=True)
    drawn = [row for row in found.select("width") if row["width"] <= widths[-1]]
    events = [row for row in drawn if row["outcome"] == "event"]
    plots.estimates(axes[0], "width", events, label="measured", log=True)
    axes[0].set(title="P(E)", ylabel="log10 of the probability")
    for axis, outcome in zip(axes[1:], MISSING, strict=True):
        bound = [0.5 * c.epsilon * c.k * math.log(PRINTED[outcome]) for c in curve]
        plots.law(axis, widths, bound, label="printed bound", color=plots.CLAIMED, log=True, from_log=True)
        law = [log_exact(c, outcome)[0] - log_e for c, log_e in zip(curve, event, strict=True)]
        plots.law(axis, widths, law, label="exact", log=True, from_log=True)
        # A count of "E and no row" over the exact P(E).
        rows = [row for row in drawn if row["outcome"] == outcome]
        scale = [math.exp(log_exact(Lemma5Counts.of(r["width"], r["k"], COSINE), "event")[0]) for r in rows]
        points = [
            (r["width"], *(min(1.0, r[end] / s) for end in ("estimate", "lower", "upper")))
            for r, s in zip(rows, scale, strict=True)
        ]
        plots.marks(axis, points, label="measured", log=True, bounded=False)
        axis.set_title(f"P(no row as wanted | E), Claim {outcome[-1]}")
    for axis in axes:
        axis.set(xscale="log", ylim=(-6, 0.3), xlabel="width l (outputs)")
    plots.legend(figure)
    return figure


EXPERIMENT = Experiment(
    name="claims_4_to_6",
    summary=__doc__,
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=exact,
    figures={
        "claims_4_to_6_claim_4": claim_4,
        "claims_4_to_6_claims_5_and_6": claims_5_and_6,
    },
    note=f"gamma = {RATIO}, cosine {COSINE}. Curves have teeth because the thresholds of the counts are whole numbers.",
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
