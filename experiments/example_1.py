"""Example 1: random binary inputs get pairwise different patterns.

Claimed: for ``N`` inputs of ``m`` independent Bernoulli(``p``) entries, ``p`` in ``(100 log(N)/m, 0.5)``, and ``l`` of
the order ``(m/gamma) log(m/gamma)``, all patterns differ with probability 0.9. Drawn: ``N = 10`` inputs and a layer in
each trial, ``p = 0.45``. Exact: the law of a pair, mixed over the law of its cosine (the failure lies between that of
one pair and the sum over all 45), and the law of equal inputs, which no layer can tell apart.
Seen: at ``m = 784`` the probability is 0.93 at a width of 20 for a ratio of 0.3, 0.96 at 40 for 0.1, 0.98 at 80 for
0.05; the proof grants 0.9 from 8.9e10 on (ratio 0.1). At a width of 100 patterns differ about as soon as the
inputs do: with probability 0.96 at ``m = 10``, where the hypothesis asks for ``m`` above 512.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from numpy.polynomial import Chebyshev
from scipy import special, stats

from kwta_theory import campaign, theory
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.example_1 import granted_width
from kwta_theory.statements.settings import Settings

COUNT, PROBABILITY, LEVEL = 10, 0.45, 0.9
RATIOS = {0.05: plots.PALETTE[0], 0.1: plots.PALETTE[1], 0.3: plots.PALETTE[3]}
WIDTHS, INPUT_DIM = (20, 30, 40, 60, 80, 100), 784
DIMENSIONS, WIDTH = (4, 6, 8, 10, 12, 16, 24, 32, 64, 256, 512), 100
TRIALS = {"quick": 400, "standard": 10_000, "thorough": 100_000}
# Relative accuracy of `pair_alike`; the bracket leaves room for it.
ACCURACY = 1e-3
Array = npt.NDArray[np.float64]


def tasks(_: str) -> list[campaign.Task]:
    """Widths for each ratio, then dimensions at one width."""
    common: dict[str, Any] = {"points": COUNT, "probability": PROBABILITY, "chunk_trials": 200}
    ratios = list(RATIOS)
    found = campaign.grid("distinct-patterns", width=list(WIDTHS), sparsity_ratio=ratios, input_dim=INPUT_DIM, **common)
    return found + campaign.grid("distinct-patterns", width=WIDTH, k=10, input_dim=list(DIMENSIONS), **common)


@functools.cache
def angle_law(input_dim: int, probability: float) -> tuple[Array, Array]:
    """Angles of a pair of inputs, in small cells, and their probabilities; exact but for 1e-13 of the mass.

    With ``a`` common ones, ``b`` and ``c`` ones of one input alone: multinomial, ``cos = a/sqrt((a + b)(a + c))``. Both
    inputs zero count as angle 0, one zero input as a right angle: its pattern, the first ``k``, is the other's with
    probability ``1/C(l, k)``, like that of a perpendicular input.
    """

    def likely(chance: float) -> Array:
        low, high = (float(stats.binom.ppf(part, input_dim, chance)) for part in (1e-15, 1 - 1e-15))
        return np.arange(max(0, low - 2), min(input_dim, high + 2) + 1, dtype=np.float64)

    both, one = probability**2, probability * (1 - probability)
    a, b, c = np.meshgrid(likely(both), likely(one), likely(one), indexing="ij", sparse=True)
    rest = input_dim - a - b - c
    log_chance = special.gammaln(input_dim + 1) + special.xlogy(a, both) + special.xlogy(b + c, one)
    log_chance = log_chance - special.gammaln(a + 1) - special.gammaln(b + 1) - special.gammaln(c + 1)
    left = np.maximum(rest, 0)
    log_chance = log_chance + left * math.log((1 - probability) ** 2) - special.gammaln(left + 1)
    chance = np.where(rest >= 0, np.exp(log_chance), 0.0)
    squares = (a + b) * (a + c)
    cosine = np.where(squares > 0, a / np.sqrt(np.maximum(squares, 1)), 2 * a + b + c == 0)
    angle = np.arccos(np.minimum(cosine, 1.0))
    # A cell is represented by its mean angle. The logarithm of the law has slopes below 100, so the error is below
    # (100 * 1.6e-3)^2 / 24 = 1e-3 of the probability.
    cells = np.minimum((angle * (1000 / (math.pi / 2))).astype(int), 1000).ravel()
    mass = np.bincount(cells, weights=chance.ravel()).astype(np.float64)
    moment = np.bincount(cells, weights=(chance * angle).ravel())
    return moment[mass > 0] / mass[mass > 0], mass[mass > 0]


@functools.cache
def log_same(width: int, k: int) -> Chebyshev:
    """``log P(same pattern)`` as a polynomial in the angle, right to 1e-6 (it is smooth there; tested)."""
    return Chebyshev.interpolate(
        lambda angles: np.array([theory.same_pattern(width, k, math.cos(x), log=True) for x in angles]),
        32,
        domain=[0, math.pi / 2],
    )


def pair_alike(width: int, k: int, input_dim: int, probability: float) -> float:
    """P(two random inputs have the same pattern)."""
    angles, chances = angle_law(input_dim, probability)
    return float(chances @ np.exp(np.minimum(log_same(width, k)(angles), 0.0)))


def some_equal(input_dim: int, probability: float, count: int) -> float:
    """P(two of the inputs are equal): one less ``N! [x^N] Prod_j (1 + p^j q^(m-j) x)^C(m, j)``, by power sums.

    ``log Prod (1 + t x) = Sum_r (-1)^(r+1) s_r x^r / r`` with ``s_r = Sum t^r = (p^r + q^r)^m``, ``q = 1 - p``.
    """
    power = [(probability**r + (1 - probability) ** r) ** input_dim for r in range(1, count + 1)]
    elementary = [1.0]
    for n in range(1, count + 1):  # Newton: n e_n = Sum (-1)^(r-1) e_(n-r) s_r
        elementary.append(sum((-1) ** (r - 1) * elementary[n - r] * power[r - 1] for r in range(1, n + 1)) / n)
    return 1 - math.factorial(count) * elementary[count]


def exact(row: Row) -> float | tuple[float, float]:
    """The laws of equal and of zero inputs; for distinct patterns the bracket over pairs."""
    m, p, count = row["input_dim"], row["probability"], row["points"]
    if row["outcome"] == "duplicate_inputs":
        return some_equal(m, p, count)
    if row["outcome"] == "zero_inputs":
        return -math.expm1(count * math.log1p(-((1 - p) ** m)))
    failure = pair_alike(row["width"], row["k"], m, p)
    lower = 1 - math.comb(count, 2) * failure * (1 + ACCURACY)
    return max(0.0, lower), 1 - max(failure * (1 - ACCURACY), some_equal(m, p, count))


def draw_width(found: Found) -> Figure:
    """P(all patterns differ) over the width."""
    figure, (axis,) = plots.panels()
    for shift, (ratio, color) in zip((0.98, 1.0, 1.02), RATIOS.items(), strict=False):  # side by side
        rows = found.select("width", outcome="distinct", input_dim=INPUT_DIM, sparsity_ratio=ratio)
        x = [shift * row["width"] for row in rows]
        lower, upper = ([row[end] for row in rows] for end in ("exact_lower", "exact_upper"))
        axis.vlines(x, lower, upper, color=color, alpha=0.25, linewidth=7, label=f"ratio {ratio}: bracket over pairs")
        plots.estimates(axis, x, rows, color=color, label="measured (in each colour)")
    axis.axhline(LEVEL, color=plots.CLAIMED, linestyle="--", linewidth=1.2, label=f"level {LEVEL}")
    axis.set_xscale("log")
    axis.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
    axis.minorticks_off()
    settings = Settings(example_points=COUNT, example_input_dim=INPUT_DIM, example_probability=PROBABILITY)
    axis.set_xlabel(
        f"width of the layer (the proof grants the level from {granted_width(settings):.1e} on at ratio 0.1)"
    )
    axis.set_ylabel("P(all patterns differ)")
    axis.set_title(f"Example 1: N = {COUNT} binary inputs, m = {INPUT_DIM}, p = {PROBABILITY}")
    plots.legend(figure)
    return figure


def draw_dimension(found: Found) -> Figure:
    """P(all patterns differ) over the dimension of the inputs, beside P(all inputs differ)."""
    figure, (axis,) = plots.panels()
    rows = found.select("input_dim", outcome="distinct", width=WIDTH, k=10)
    x = [row["input_dim"] for row in rows]
    lower, upper = ([row[end] for row in rows] for end in ("exact_lower", "exact_upper"))
    axis.vlines(x, lower, upper, color=plots.EXACT, alpha=0.25, linewidth=9, label="patterns: bracket over pairs")
    plots.estimates(axis, x, rows, label="patterns differ, measured")
    dimensions = range(4, 41)
    law = [1 - some_equal(m, PROBABILITY, COUNT) for m in dimensions]
    plots.law(axis, dimensions, law, label="inputs differ, exact", color=plots.PROVED)
    smallest = 100 * math.log(COUNT) / PROBABILITY
    axis.axvline(smallest, color=plots.CLAIMED, linestyle=":", label=f"hypothesis: m > {smallest:.0f}")
    axis.axhline(LEVEL, color=plots.CLAIMED, linestyle="--", linewidth=1.2, label=f"level {LEVEL}")
    axis.set_xscale("log")
    axis.set_xticks(DIMENSIONS, [str(m) for m in DIMENSIONS])
    axis.minorticks_off()
    axis.set_xlabel("dimension of the inputs m")
    axis.set_ylabel(f"P(all {COUNT} differ)")
    axis.set_title(f"Example 1: N = {COUNT} binary inputs, p = {PROBABILITY}, width {WIDTH}, k = 10")
    plots.legend(figure)
    return figure


EXPERIMENT = Experiment(
    "example_1",
    __doc__,
    {"example_1_width": draw_width, "example_1_dimension": draw_dimension},
    tasks,
    lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
