"""The figures of an audit: overlap, distances, units, dtypes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kwta_theory.audit.run import DTYPES, Audit, LayerAudit, baseline
from kwta_theory.report import canvas
from kwta_theory.report.files import write_figure

_SHOWN = 6


def write(audit: Audit, folder: Path) -> list[Path]:
    """Draw all figures as PNG into a folder that is there; their paths."""
    drawn = {"overlap": overlap, "units": units, "ties": ties, **({"flips": flips} if audit.lines else {})}
    paths = []
    with canvas.house_style():
        for name, draw in drawn.items():
            paths.append(folder / f"{name}.png")
            write_figure(paths[-1], draw(audit))
    return paths


def _panels(audit: Audit) -> tuple[Figure, list[tuple[Axes, LayerAudit]]]:
    """A panel for each of the first layers, at most six."""
    layers = audit.layers[:_SHOWN]
    columns = min(3, len(layers))
    rows = -(-len(layers) // columns)
    figure, axes = canvas.panels(columns, rows, height=4.2 if columns == 1 else 3.3)
    for axis in axes[len(layers) :]:
        axis.set_visible(False)
    for axis, layer in zip(axes, layers, strict=False):
        axis.set_title(f"layer {layer.layer.name}: {layer.layer.winners:,} of {layer.layer.width:,}")
    return figure, list(zip(axes, layers, strict=False))


def _rest(audit: Audit) -> str:
    left = len(audit.layers) - _SHOWN
    return f" The first {_SHOWN} of {len(audit.layers)} layers." if left > 0 else ""


def overlap(audit: Audit) -> Figure:
    """Shared winners of each pair over the cosine, and the Gaussian curve."""
    figure, panels = _panels(audit)
    for axis, layer in panels:
        found = layer.overlap
        axis.plot(
            found.cosine, found.observed, ".", color=canvas.MEASURED, markersize=4, alpha=0.5, label="pairs of samples"
        )
        low = min([*found.cosine, 0.99])
        cosine = np.cos(np.linspace(0, math.acos(low), 200))
        curve = baseline(layer.layer, cosine)
        axis.plot(cosine, curve, "-", color=canvas.EXACT, linewidth=1.6, label="Gaussian layer, expected")
        axis.set_xlabel(f"cosine of the layer's {found.cosine_of}")
        axis.set_ylabel("share of common winners")
        axis.set_ylim(-0.02, 1.02)
    canvas.legend(figure)
    canvas.caption(
        figure,
        f"{audit.samples // 2} disjoint pairs of {audit.samples:,} samples, seed {audit.seed}. Gaussian: independent "
        f"normal weights, no bias.{_rest(audit)}",
    )
    return figure


def flips(audit: Audit) -> Figure:
    """Share of samples whose pattern changes within a distance: at random, and at least in some direction."""
    figure, panels = _panels(audit)
    for axis, layer in panels:
        found = layer.flips
        assert found is not None  # there are lines
        kinds = [
            (found.distances.upper, canvas.EXACT, "some direction, exact" if found.is_exact else
             "some direction, at least"),
            (found.distances.random, canvas.MEASURED, "one random direction"),
        ]  # fmt: skip
        smallest = min((d for values, _, _ in kinds for d in values if d > 0), default=audit.radius)
        left = min(smallest / 2, audit.radius / 10)
        for values, color, label in kinds:
            x = np.sort(np.asarray(values))
            y = np.arange(1, len(x) + 1) / len(x)
            inside = (x > 0) & (x <= audit.radius)
            at_zero = float((x <= 0).mean())
            steps = np.concatenate([[left], x[inside], [audit.radius]])
            heights = np.concatenate([[at_zero], y[inside], [float((x <= audit.radius).mean())]])
            axis.step(
                steps, heights, where="post", color=color, linewidth=1.6, label=label,
                linestyle="--" if "at least" in label else "-",
            )  # fmt: skip
        axis.set_xscale("log")
        axis.set_xlim(left, audit.radius)
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlabel(f"{audit.norm} distance")
        axis.set_ylabel("samples whose pattern changes")
    canvas.legend(figure)
    canvas.caption(
        figure,
        f"{audit.lines} samples, up to the radius {audit.radius:.4g}, seed {audit.seed}. A curve that starts above 0: "
        "samples tied at the threshold, on a boundary. Along lines only an upper bound of the distance over all "
        f"directions is found, so a share of at least so much.{_rest(audit)}",
    )
    return figure


def units(audit: Audit) -> Figure:
    """How often each unit wins, the units in order."""
    figure, panels = _panels(audit)
    for axis, layer in panels:
        found = layer.units
        rate = np.sort(np.asarray(found.wins))[::-1] / found.samples
        axis.plot(
            np.arange(1, len(rate) + 1) / len(rate), rate, "-", color=canvas.MEASURED, linewidth=1.6,
            label="share of samples in which a unit wins",
        )  # fmt: skip
        axis.axhline(
            layer.layer.winners / layer.layer.width, color=canvas.FIRST, linewidth=1, linestyle=":", label="mean: k / l"
        )
        axis.axhline(
            found.dead_bound, color=canvas.CLAIMED, linewidth=1, linestyle="--",
            label="never seen to win: below this",
        )  # fmt: skip
        axis.set_xlabel("units, from often to never")
        axis.set_ylabel("share of samples")
        axis.set_ylim(-0.02, 1.02)
        axis.text(
            0.97, 0.93, f"{len(found.dead):,} never, {len(found.always_on):,} always", transform=axis.transAxes,
            ha="right", va="top", fontsize=9,
        )  # fmt: skip
    canvas.legend(figure)
    canvas.caption(
        figure,
        f"{audit.samples:,} samples. The bound holds for all units of all layers, and with all other intervals of the "
        f"audit, with probability {1 - audit.error:g}.{_rest(audit)}",
    )
    return figure


def ties(audit: Audit) -> Figure:
    """Ties at the threshold, and patterns unlike those of float64, by dtype."""
    figure, panels = _panels(audit)
    for axis, layer in panels:
        names = [name for name in DTYPES if name in layer.ties]
        for shift, what, color, label in (
            (-0.2, "ties", canvas.EXACT, "tie at the threshold"),
            (0.2, "differs", canvas.CLAIMED, "pattern not that of float64"),
        ):
            found = [getattr(layer.ties[name], what) for name in names]
            value = np.asarray([one.value for one in found])
            ends = np.asarray([[one.value - one.interval.lower, one.interval.upper - one.value] for one in found])
            axis.bar(
                np.arange(len(names)) + shift, value, 0.38, color=color, label=label, yerr=np.maximum(ends.T, 0.0),
                error_kw={"linewidth": 1, "ecolor": "#333333"},
            )  # fmt: skip
        axis.set_xticks(range(len(names)), names, fontsize=9)
        axis.set_ylim(0, 1.02)
        axis.set_ylabel("share of samples")
    canvas.legend(figure)
    canvas.caption(
        figure,
        f"{audit.samples:,} samples; bars: exact binomial intervals, all together with probability {1 - audit.error:g}."
        f"{_rest(audit)}",
    )
    return figure
