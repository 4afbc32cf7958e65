"""Theorem 11: disjoint patterns let the last layer fit any labels. They are sufficient, not necessary.

Claimed: under the hypotheses of Theorem 10, in a wide enough layer some ``v`` has ``<v, phi_k(W x_i)> = z_i`` for all
``i``. Drawn: layers at ten MNIST images. In each: are the patterns disjoint; has every image a winner of its own, which
the proof's ``v`` needs; is there any ``v`` (are the features linearly independent); does one fit the labels 1, -1, ...?
Exact: disjoint patterns, by the pairs, at most and at least; for ``k = 1`` the four are one event; disjoint patterns
imply the other three; and a ``v`` exists almost surely if ``k >= N``, at any width (below).
Seen: keeping more winners makes disjoint patterns rare and a ``v`` common. With ``k = 4`` and a width of 64 a ``v``
existed in all of 1,000 layers, the proof's in 3 %, disjoint patterns in none; at 1e6 patterns are disjoint in 18 %.

Why. The images are linearly independent, so given the patterns the values at the winners have a joint density, and the
rank of the features is almost surely the size of the largest matching of images to winners: a ``v`` exists exactly when
each image can be given a winner that no other image is given (Hall). Any images have at least ``k`` winners together.
"""

from __future__ import annotations

import functools
import math

from matplotlib.figure import Figure

from kwta_theory import campaign, inputs
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main
from kwta_theory.statements.disjointness import bracket, pair_cosines

COUNT = 10
WINNERS = (1, 2, 4, 10)
WIDTHS = (16, 32, 64, 256, 1000, 10_000, 1e6, 1e9, 1e12)
EVENTS = {
    "any_vector": ("some v fits any labels", plots.PALETTE[2]),
    "proof_vector": ("the proof's v can be built", plots.PALETTE[1]),
    "disjoint": ("patterns pairwise disjoint", plots.PALETTE[0]),
}
TRIALS = {"quick": 1000, "standard": 10_000, "thorough": 100_000}


def tasks(_: str) -> list[campaign.Task]:
    """All combinations."""
    widths, ks = list(WIDTHS), list(WINNERS)
    return campaign.grid("interpolation", width=widths, k=ks, inputs="mnist", points=COUNT, chunk_trials=200)


@functools.cache
def disjoint(width: float, k: int) -> tuple[float, float]:
    """The bracket of P(all patterns disjoint) over pairs."""
    failure = bracket(pair_cosines(inputs.mnist_images(COUNT, seed=0)), k, math.log(width))
    return max(0.0, -math.expm1(failure.upper)), -math.expm1(failure.lower)


def exact(row: Row) -> float | tuple[float, float]:
    """What is known: all four events are one for k = 1; disjoint patterns imply the others; k >= N implies a ``v``."""
    low, high = disjoint(row["width"], row["k"])
    if row["k"] == 1 or row["outcome"] == "disjoint":
        return low, high
    if row["k"] >= COUNT and row["outcome"] != "proof_vector":
        return 1.0
    return low, 1.0


def draw_width(found: Found) -> Figure:
    """The three events over the width, one panel for each k."""
    figure, axes = plots.panels(2, 2, height=3.4, share_y=True)
    for number, (axis, k) in enumerate(zip(axes, WINNERS, strict=True)):
        for outcome, (label, color) in EVENTS.items():
            rows = found.select("width", k=k, outcome=outcome)
            axis.plot([row["width"] for row in rows], [row["estimate"] for row in rows], color=color, linewidth=0.8)
            plots.estimates(axis, "width", rows, label=label, color=color)
        rows = found.select("width", k=k, outcome="disjoint")
        lower, upper = ([row[end] for row in rows] for end in ("exact_lower", "exact_upper"))
        axis.vlines([row["width"] for row in rows], lower, upper, color=plots.PALETTE[0], alpha=0.2, linewidth=7,
                    label="disjoint: bracket over pairs, exact laws")  # fmt: skip
        axis.set_xscale("log")
        axis.set_title(f"Theorem 11: ten MNIST images, k = {k}")
        if number >= 2:
            axis.set_xlabel("width of the layer")
        if number % 2 == 0:
            axis.set_ylabel("probability")
    plots.legend(figure, columns=2)
    return figure


def draw_k(found: Found) -> Figure:
    """The three events over k, one panel for a narrow and one for a wide layer."""
    figure, axes = plots.panels(2, share_y=True)
    for axis, (width, name) in zip(axes, {64: "64", 1e6: "1e6"}.items(), strict=True):
        for outcome, (label, color) in EVENTS.items():
            rows = found.select("k", width=width, outcome=outcome)
            axis.plot([row["k"] for row in rows], [row["estimate"] for row in rows], color=color, linewidth=0.8)
            plots.estimates(axis, "k", rows, label=label, color=color)
        axis.set_xticks(WINNERS, [str(k) for k in WINNERS])
        axis.set_xlabel("winners k")
        axis.set_title(f"Theorem 11: ten MNIST images, width {name}")
    axes[0].set_ylabel("probability")
    plots.legend(figure, columns=3)
    return figure


EXPERIMENT = Experiment(
    "theorem_11",
    __doc__,
    {"theorem_11_width": draw_width, "theorem_11_k": draw_k},
    tasks,
    lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
