"""Lemma 4: how long the longest row of a Gaussian matrix is.

Claimed: all ``l`` rows of ``m`` standard normal entries are at most ``10 sqrt(m l)`` long, with probability at least
0.99. The proof is Markov's inequality for each row, ``P(some |W_i| > t sqrt(m)) <= l/t^2``.
Drawn: whole matrices, and whether some row is longer than ``t sqrt(m)``. Exact: the rows are independent chi-square.
Seen: at ``l = 100`` and ``m = 10`` one matrix in a hundred has a row longer than 1.89 sqrt(m), and the lemma allows
100 sqrt(m). The failure that it bounds by 0.01 is at most 1.5e-23 over the table, at ``l = m = 1``: the length that is
enough grows like the root of ``log l``, not of ``l``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from kwta_theory import campaign, theory
from kwta_theory.campaign.estimators import Parameters, Value, real, whole
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.lemma_4 import enough, log_some_row_above

WIDTH, CHUNK = 100, 500
# Lengths that are looked for: exceeded with these probabilities, about.
DIMS = {2: plots.PALETTE[0], 10: plots.PALETTE[1], 100: plots.PALETTE[3]}
FACTORS = (0.7, 0.8, 0.9, 1.0, 1.1)
TRIALS = {"quick": 10_000, "standard": 100_000, "thorough": 1_000_000}


def resolve(given: Mapping[str, Value]) -> Parameters:
    """``width`` rows of ``input_dim`` entries, and the ``length`` over ``sqrt(input_dim)`` that is looked for."""
    return {
        "width": whole("width", given["width"], 1),
        "input_dim": whole("input_dim", given["input_dim"], 1),
        "length": real("length", given["length"], 0.0, math.inf),
    }


def draw(parameters: Mapping[str, Value], trials: int, seed: int) -> campaign.Tally:
    """Whole matrices, and in how many some row is longer."""
    width, input_dim, length = int(parameters["width"]), int(parameters["input_dim"]), float(parameters["length"])
    generator = np.random.default_rng(np.random.SeedSequence(seed))
    squares = sum(generator.standard_normal((trials, width)) ** 2 for _ in range(input_dim))
    return campaign.Tally(trials, {"longer": int((np.max(squares, axis=1) > length**2 * input_dim).sum())})


campaign.register(
    campaign.Estimator(
        "long-row",
        1,
        "P(some row of a Gaussian matrix is longer than length * sqrt(input_dim)), Lemma 4",
        ("width", "input_dim", "length"),
        resolve,
        lambda parameters: float(parameters["width"]) * float(parameters["input_dim"]),
        draw,
        (campaign.Outcome("longer"),),
    )
)


def log_longer(width: int, input_dim: int, length: float) -> float:
    """``log P(some row is longer than length sqrt(m))``."""
    return log_some_row_above(theory.chi_square_log_tail(length**2 * input_dim, input_dim), width)


def tasks(budget: str) -> list[campaign.Task]:
    """Lengths around the one that is exceeded in one matrix of a hundred."""
    del budget
    return [
        campaign.Task.of("long-row", chunk_trials=CHUNK, width=WIDTH, input_dim=m, length=round(f * q, 3))
        for m in DIMS
        for q in [enough(WIDTH, m) * math.sqrt(WIDTH)]
        for f in FACTORS
    ]


def exact(row: Row) -> float:
    """The law of independent chi-square rows."""
    return math.exp(log_longer(row["width"], row["input_dim"], row["length"]))


def table(budget: str, seed: int) -> list[Row]:
    """What the lemma says, ``P(some row is longer than 10 sqrt(m l)) <= 0.01``, and the length for which it is 0.01."""
    del budget, seed
    return [
        {
            "width": width,
            "input_dim": input_dim,
            "log10_longer": log_longer(width, input_dim, 10 * math.sqrt(width)) / plots.LN10,
            "length_of_lemma": 10 * math.sqrt(width),
            "length_exact": enough(width, input_dim) * math.sqrt(width),
        }
        for width in (1, 10, 100, 10**4, 10**6)
        for input_dim in (1, *DIMS, 784)
    ]


def over_length(found: Found) -> Figure:
    """The chance of a longer row: exact, drawn, and by Markov's inequality."""
    figure, (axis,) = plots.panels()
    for input_dim, color in DIMS.items():
        lengths = np.geomspace(0.8, 12.0, 300)
        law = [log_longer(WIDTH, input_dim, length) for length in lengths]
        plots.law(axis, lengths, law, label=f"m = {input_dim}: exact law", color=color, log=True, from_log=True)
        drawn = found.select("length", input_dim=input_dim)
        plots.estimates(axis, "length", drawn, label=f"m = {input_dim}: measured", color=color, log=True)
    lengths = np.geomspace(0.8, 300.0, 200)
    markov = [min(0.0, math.log(WIDTH) - 2 * math.log(length)) for length in lengths]
    plots.law(
        axis, lengths, markov, label="Markov's bound (the proof), any m", color=plots.CLAIMED, log=True, from_log=True
    )
    axis.plot(10 * math.sqrt(WIDTH), -2, "*", color=plots.CLAIMED, markersize=12, label="the lemma: 10 sqrt(l), 0.01")
    axis.set(xscale="log", ylim=(-6, 0.3), xlabel="length of a row over sqrt(m)", ylabel="log10 P(some row is longer)")
    axis.set_title(f"l = {WIDTH} rows")
    plots.legend(figure)
    return figure


def over_width(found: Found) -> Figure:
    """The length that all rows keep below with probability 0.99, and what the lemma allows."""
    del found
    figure, (axis,) = plots.panels()
    widths = np.geomspace(1, 1e8, 49)
    for input_dim, color in {1: plots.PALETTE[2], **DIMS, 784: plots.PALETTE[4]}.items():
        exact_lengths = [enough(round(width), input_dim) * math.sqrt(round(width)) for width in widths]
        plots.law(axis, widths, exact_lengths, label=f"exact, m = {input_dim}", color=color)
    plots.law(axis, widths, 10 * np.sqrt(widths), label="Lemma 4: 10 sqrt(l), any m", color=plots.CLAIMED, style="--")
    axis.set(xscale="log", yscale="log", xlabel="width l (rows)", ylabel="length of the longest row over sqrt(m)")
    axis.set_title("no row is longer, with probability 0.99")
    plots.legend(figure)
    plots.caption(figure, "Exact law; nothing is sampled.")
    return figure


EXPERIMENT = Experiment(
    name="lemma_4",
    summary=__doc__,
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=exact,
    table=table,
    figures={"lemma_4_length": over_length, "lemma_4_width": over_width},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
