"""Section 3, linear region density: how often the pattern changes as the input turns.

The paper speaks of the density without a number. Exact for a Gaussian layer without bias, at every width: the expected
number of changes per radian is ``(l/sqrt(pi)) E[phi(Q^{-1}(U))]``, ``U ~ Beta(k, l-k)``, which tends to ``l
phi(q)/sqrt(pi)``, ``q = Q^{-1}(gamma)``. A ReLU layer has ``l/pi``; LWTA with groups of ``g`` is ``l/g`` layers of
width ``g`` with one winner each.
Drawn: layers whose input makes a full turn in a plane; all changes are found exactly, there is no step size.
Seen: k-WTA has fewer boundaries than ReLU at every ratio, at most 0.225 per output and radian where ReLU has 0.318;
LWTA has fewer still: with groups of four 0.145, where k-WTA with a quarter of winners has 0.179. At a width of 64 the
limit is right to 3 % from ``gamma = 1/16`` on.
"""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from kwta_theory import campaign, theory
from kwta_theory.report import plots
from kwta_theory.report.experiment import Experiment, Found, Row, main

# First figure: these k at these widths. Second figure: these ratios at these widths. LWTA: groups of so many outputs.
LAYERS = {16: (1, 2, 4, 6, 8, 10, 12, 14, 15), 64: (1, 4, 8, 13, 20, 32, 44, 56, 63)}
RATIOS, WIDTHS = (1 / 16, 1 / 4, 1 / 2), (16, 32, 64, 128)
GROUPS = (4, 8, 16)
TURN = 2 * math.pi
TRIALS = {"quick": 500, "standard": 10_000, "thorough": 100_000}


def tasks(budget: str) -> list[campaign.Task]:
    """The layers of both figures; those that both show are drawn once."""
    del budget
    layers = [(width, k) for width, ks in LAYERS.items() for k in ks]
    layers += [(width, round(width * ratio)) for ratio in RATIOS for width in WIDTHS]
    layers += [(group, 1) for group in GROUPS]
    layers = list(dict.fromkeys(layers))
    return [campaign.Task.of("boundary-crossings", chunk_trials=500, width=w, k=k, angle=TURN) for w, k in layers]


def exact(row: Row) -> float | None:
    """The expected number of changes."""
    return row["angle"] * theory.boundary_density(row["width"], row["k"]) if row["outcome"] == "changes" else None


def measured(found: Found, width: int, ks: tuple[int, ...]) -> list[tuple[float, float, float, float]]:
    """``(gamma, changes per output and radian, its interval)``."""
    rows = [row for row in found.select("k", outcome="changes", width=width) if row["k"] in ks]
    return [(r["k"] / width, *(r[end] / TURN / width for end in ("estimate", "lower", "upper"))) for r in rows]


def over_ratio(found: Found) -> Figure:
    """Changes per output against the share of winners."""
    figure, (axis,) = plots.panels()
    ratios = np.linspace(0.002, 0.998, 250)
    axis.axhline(1 / math.pi, color=plots.FIRST, label="ReLU, 1/pi")
    limit = [theory.limiting_boundary_density(ratio) for ratio in ratios]
    plots.law(axis, ratios, limit, label="k-WTA, limit of large width", color="black", style=":")
    for (width, ks), color in zip(LAYERS.items(), plots.PALETTE[1:], strict=False):
        density = [theory.boundary_density(width, k) / width for k in range(1, width)]
        plots.law(axis, np.arange(1, width) / width, density, label=f"k-WTA, width {width}: exact", color=color)
        plots.marks(axis, measured(found, width, ks), label=f"width {width}: measured", color=color, bounded=False)
    groups = range(2, 41)
    density = [theory.lwta_boundary_density(group, group) / group for group in groups]
    plots.law(
        axis, [1 / g for g in groups], density, label="LWTA, groups of 1/gamma", color=plots.PALETTE[4], style=".-"
    )
    points = [point for group in GROUPS for point in measured(found, group, (1,))]
    plots.marks(axis, points, label="LWTA: measured", color=plots.PALETTE[4], marker="s", bounded=False)
    axis.set(ylim=(0, 0.35), xlabel="sparsity ratio gamma = k/l", ylabel="pattern changes per radian and output")
    plots.legend(figure)
    return figure


def over_width(found: Found) -> Figure:
    """How fast the limit is reached."""
    figure, (axis,) = plots.panels()
    for ratio, color in zip(RATIOS, plots.PALETTE, strict=False):
        widths = [round(1 / ratio) * 2**i for i in range(13)]
        density = [theory.boundary_density(width, round(width * ratio)) / width for width in widths]
        plots.law(axis, widths, density, label=f"gamma = {ratio:g}: exact", color=color)
        points = [(width, *point[1:]) for width in WIDTHS for point in measured(found, width, (round(width * ratio),))]
        plots.marks(axis, points, label=f"gamma = {ratio:g}: measured", color=color, bounded=False)
        axis.axhline(
            theory.limiting_boundary_density(ratio), color=color, linestyle=":", label=f"gamma = {ratio:g}: limit"
        )
    axis.axhline(1 / math.pi, color=plots.FIRST, label="ReLU, any width")
    groups = theory.lwta_boundary_density(4, 4) / 4
    axis.axhline(groups, color=plots.PALETTE[4], linestyle="-.", label="LWTA, groups of 4, any width")
    axis.set(xscale="log", ylim=(0, 0.35), xlabel="width l (outputs)", ylabel="pattern changes per radian and output")
    plots.legend(figure)
    return figure


EXPERIMENT = Experiment(
    name="boundary_density",
    summary=__doc__,
    tasks=tasks,
    until=lambda budget: campaign.Until(trials=TRIALS[budget]),
    exact=exact,
    figures={"boundary_density_ratio": over_ratio, "boundary_density_width": over_width},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
