"""Claim 3, the first step of the proof of Lemma 5: ``R2' - R1' <= 8 eps sqrt(2 pi)``.

Claimed for ``P(X >= R2') = (1 - 2 eps) gamma`` and ``P(X >= R1') = (1 + 2 eps) gamma``, ``X`` standard normal, ``gamma
in (0, 0.48)``, ``eps = sqrt(1-alpha^2)/(96 alpha)``. Drawn: nothing. Exact: normal quantiles.
Seen: true by a factor of four or more. The quotient of both sides depends on gamma alone, to 1e-3, and grows with it.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.theory.lemma5_steps import lemma5_epsilon, lemma5_levels

COSINES = (0.501, 0.6, 0.9, 0.99, 0.999)
RATIOS = {"quick": 60, "standard": 600, "thorough": 6000}


def table(budget: str, seed: int) -> list[Row]:
    """Both sides, for ratios from 1e-6 on."""
    del seed
    rows = []
    for cosine in COSINES:
        claimed = 8 * lemma5_epsilon(cosine) * math.sqrt(2 * math.pi)
        for ratio in np.geomspace(1e-6, 0.4799, RATIOS[budget]).tolist():
            low, _, _, high = lemma5_levels(ratio, cosine)
            rows.append({"cosine": cosine, "sparsity_ratio": ratio, "exact": high - low, "claimed": claimed})
    return rows


def figure(found: Found) -> Figure:
    """The quotient of both sides: the curves of all cosines coincide to the width of the line."""
    figure, (axis,) = plots.panels()
    for cosine, color, style in ((COSINES[0], plots.EXACT, "-"), (COSINES[-1], plots.PALETTE[1], "--")):
        rows = found.select("sparsity_ratio", cosine=cosine)
        share = [row["exact"] / row["claimed"] for row in rows]
        ratios = [row["sparsity_ratio"] for row in rows]
        plots.law(axis, ratios, share, label=f"exact, cosine {cosine}", color=color, style=style)
    axis.axhline(1, color=plots.CLAIMED, linestyle="--", label="Claim 3: at most 1")
    axis.set(xscale="log", ylim=(0, 1.1), xlabel="sparsity ratio gamma", ylabel="(R2' - R1') / (8 eps sqrt(2 pi))")
    plots.legend(figure)
    return figure


EXPERIMENT = Experiment(
    name="claim_3",
    summary=__doc__,
    table=table,
    figures={"claim_3": figure},
    note="Exact normal quantiles; nothing is sampled.",
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
