"""Theorem 10 over the number of points: how many patterns fit side by side?

Claimed: for any number ``N`` of points all patterns are pairwise disjoint in a layer that is "sufficiently wide".
Drawn: layers of width 1e4 and 1e12, ``k = 1``, at the first 2 to 50 of Gaussian points (32 dimensions), of MNIST
images, and of points with all cosines 0.5. Exact: the failure is at least that of the closest pair and at most the sum
over pairs; for two points these are one.
Seen: the number of pairs is the price. At a width of 1e4 two points at cosine 0.5 are disjoint with probability 0.98,
twenty with 0.1, fifty in none of 500 layers; fifty images in none, at 1e12 with 0.81.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from matplotlib.figure import Figure

from kwta_theory import campaign, inputs
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.disjointness import bracket, pair_cosines

WIDTHS = {1e4: "1e4", 1e12: "1e12"}
COUNTS = (2, 3, 5, 10, 20, 50)
INPUT_DIM, COSINE = 32, 0.5
COLORS = {"gaussian": plots.PALETTE[0], "mnist": plots.PALETTE[1], "cosine": plots.PALETTE[3]}
NAMES = {"gaussian": f"Gaussian, {INPUT_DIM} dimensions", "mnist": "MNIST images", "cosine": f"all cosines {COSINE}"}
TRIALS = {"quick": 500, "standard": 20_000, "thorough": 200_000}


@functools.cache
def cosines(kind: str, count: int) -> tuple[float, ...]:
    """Of all pairs of the points that the tasks of this kind are drawn at."""
    if kind == "cosine":
        return (COSINE,) * math.comb(count, 2)
    points = inputs.mnist_images(count, seed=0) if kind == "mnist" else inputs.gaussian_points(count, INPUT_DIM, seed=0)
    return pair_cosines(points)


def tasks(_: str) -> list[campaign.Task]:
    """All combinations."""
    common: dict[str, Any] = {"width": list(WIDTHS), "points": list(COUNTS), "k": 1, "chunk_trials": 100}
    more: dict[str, dict[str, Any]] = {"gaussian": {"input_dim": INPUT_DIM}, "mnist": {}, "cosine": {"cosine": COSINE}}
    return [task for kind in COLORS for task in campaign.grid("disjoint-patterns", inputs=kind, **more[kind], **common)]


def exact(row: Row) -> tuple[float, float]:
    """The bracket of P(all disjoint) over pairs; for two points its ends are 1e-8 apart."""
    failure = bracket(cosines(row["inputs"], row["points"]), 1, math.log(row["width"]))
    return max(0.0, -math.expm1(failure.upper)), -math.expm1(failure.lower)


def draw(found: Found) -> Figure:
    """P(all disjoint) over N, one panel for each width."""
    figure, axes = plots.panels(2, share_y=True)
    for axis, (width, name) in zip(axes, WIDTHS.items(), strict=True):
        for shift, (kind, color) in zip((0.94, 1.0, 1.06), COLORS.items(), strict=True):  # side by side
            rows = found.select("points", width=width, inputs=kind)
            x = [shift * row["points"] for row in rows]
            lower, upper = ([row[end] for row in rows] for end in ("exact_lower", "exact_upper"))
            axis.vlines(
                x, lower, upper, color=color, alpha=0.25, linewidth=7, label=f"{NAMES[kind]}: bracket over pairs"
            )
            plots.estimates(axis, x, rows, color=color, label="measured (in each colour)")
        axis.set_xscale("log")
        axis.set_xticks(COUNTS, [str(count) for count in COUNTS])
        axis.minorticks_off()
        axis.set_xlabel("number of points N")
        axis.set_title(f"Theorem 10: k = 1, width {name}")
    axes[0].set_ylabel("P(all patterns pairwise disjoint)")
    plots.legend(figure, columns=2)
    return figure


EXPERIMENT = Experiment(
    "theorem_10_points",
    __doc__,
    {"theorem_10_points": draw},
    tasks,
    lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
