"""Lemma 9: how close ``y`` and ``z`` can be if ``y`` is far from ``x`` and ``z`` is near it.

Claimed: from ``cos(x, y) <= alpha`` and ``cos(x, z) >= beta`` follows ``cos(y, z) <= alpha + sqrt(1 - beta^2)``; for
``beta = (2 + alpha + sqrt(2 - alpha^2))/4`` it is at most ``(1 - eps) beta`` with an ``eps > 0`` that depends on
``alpha`` alone.
Exact: the largest ``cos(y, z)`` is ``alpha beta + sqrt((1 - alpha^2)(1 - beta^2))`` for ``alpha <= beta``, else 1.
Drawn: random triples that satisfy the hypotheses, half of them next to the worst one; the largest cosine of them.
Seen: the bound is right and not tight: at ``alpha = 0.6``, ``beta = 0.9`` it is 1.04, and the largest cosine is 0.89.
The ``eps`` of the proof is positive for every ``alpha < 1`` and falls like 0.293 (1 - alpha), the largest possible one
like 1 - alpha: 3.4 times more. At ``alpha = 1`` no ``eps`` is left: the lemma lacks the hypothesis ``alpha < 1``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.lemma_8 import net_gap
from kwta_theory.statements.lemma_9 import ROUNDING, largest_cosine, shrinkage, triples

BETAS = (0.6, 0.9, 0.99)
COUNTS = {"quick": 2000, "standard": 20_000, "thorough": 500_000}
INPUT_DIM = 3


def largest_shrinkage(cosine: float) -> float:
    """The largest ``eps`` with ``cos(y, z) <= (1 - eps) beta``, for ``alpha`` in [0, 1) and the lemma's ``beta``.

    ``1 - (alpha beta + sqrt(1 - alpha^2) sqrt(1 - beta^2))/beta`` with ``g = 1 - alpha`` and ``u = 1 - beta``, the
    second term of the order ``g^1.5``.

    >>> round(largest_shrinkage(0.0), 6), round(largest_shrinkage(1 - 1e-9) / 1e-9, 3)
    (0.389604, 1.0)
    """
    g, u = 1.0 - cosine, net_gap(cosine)
    return g - math.sqrt(g * (2.0 - g) * u * (2.0 - u)) / (1.0 - u)


def table(budget: str, seed: int) -> Iterator[Row]:
    """First part at some ``beta`` over ``alpha``; second part over ``1 - alpha``."""
    for number, beta in enumerate(BETAS):
        for step, alpha in enumerate(np.linspace(0.0, 1.0, 41).tolist()):
            generator = np.random.default_rng(np.random.SeedSequence([seed, number, step]))
            drawn = float(triples(generator, COUNTS[budget], INPUT_DIM, alpha, beta).max())
            exact, bound = largest_cosine(alpha, beta), alpha + math.sqrt(1.0 - beta * beta)
            inside = drawn <= exact + ROUNDING and exact <= bound + ROUNDING
            yield {
                **{"part": "first", "alpha": alpha, "beta": beta, "n": COUNTS[budget], "largest_drawn": drawn},
                **{"exact": exact, "bound": bound, "inside": inside},
            }
    for gap in 10.0 ** np.linspace(-12.0, 0.0, 49):
        alpha = float(1.0 - gap)
        proof, best = shrinkage(alpha), largest_shrinkage(alpha)
        yield {
            **{"part": "second", "alpha": alpha, "beta": 1.0 - net_gap(alpha), "gap": 1.0 - alpha, "exact": best},
            **{"bound": proof, "inside": 0.0 < proof <= best < 1.0},
        }


def cosines(found: Found) -> Figure:
    """The first part: exact maximum, bound and the largest of the drawn triples."""
    figure, (axis,) = plots.panels()
    for beta, color in zip(BETAS, plots.PALETTE, strict=False):
        rows = found.select("alpha", part="first", beta=beta)
        alphas = [row["alpha"] for row in rows]
        plots.law(axis, alphas, [row["exact"] for row in rows], label=f"β = {beta}: exact maximum", color=color)
        bound = [row["bound"] for row in rows]
        plots.law(axis, alphas, bound, label=f"β = {beta}: α + √(1 - β²)", color=color, style="--")
        drawn = [row["largest_drawn"] for row in rows[::2]]
        axis.plot(alphas[::2], drawn, "o", color=color, markersize=4, label=f"β = {beta}: largest drawn")
    axis.set(xlabel="α, the largest cosine of x and y", ylabel="cosine of y and z", xlim=(0, 1), ylim=(0, 1.3))
    axis.axhline(1.0, color=plots.FIRST, linewidth=0.8)
    plots.legend(figure, columns=3)
    plots.caption(figure, f"Each point: {rows[0]['n']:,} random triples in {INPUT_DIM} dimensions, seed {found.seed}.")
    return figure


def shrinkages(found: Found) -> Figure:
    """The second part next to ``alpha = 1``."""
    figure, (axis,) = plots.panels()
    rows = found.select("gap", part="second")
    gaps = [row["gap"] for row in rows]
    plots.law(axis, gaps, [row["exact"] / row["gap"] for row in rows], label="largest possible ε, exact")
    plots.law(axis, gaps, [row["bound"] / row["gap"] for row in rows], label="ε of the proof", color=plots.GRANTED)
    axis.set(xscale="log", xlabel="1 - α", ylabel="ε / (1 - α), where cos(y, z) ≤ (1 - ε) β", ylim=(0, 1.1))
    axis.set_title("β = (2 + α + √(2 - α²))/4 as in Theorem 10; no ε is left at α = 1")
    plots.legend(figure)
    plots.caption(figure, "Exact formulas without cancellation; nothing is sampled.")
    return figure


EXPERIMENT = Experiment(
    name="lemma_9",
    summary=__doc__ or "",
    table=table,
    figures={"lemma_9": cosines, "lemma_9_shrinkage": shrinkages},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
