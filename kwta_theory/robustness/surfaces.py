"""What Figures 5 and 7 share: the loss landscapes of several networks, each with its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.report import plots
from kwta_theory.robustness.landscape import (
    EXTENT,
    SAMPLES,
    directions,
    landscape,
    line_roughness,
    median_interval,
)
from kwta_theory.robustness.study import Row, Run, Wanted, attack_note, robustness

Named = Sequence[tuple[str, nn.Module]]
ADVERSARIAL = " + adversarial training"


def measured(run: Run, networks: Named) -> Iterator[Row]:
    """A row for each network; the surface around one image is kept in ``run.results`` under the network's name.

    The image is the first test image that all networks classify correctly. Medians are over the first ``lines`` such
    images: ``jumps``, the share of the loss's variation on ``x + t g1`` that is jumps, with its interval, and
    ``jumps_coarse`` on half as many cells; ``range``, largest minus smallest loss of the surface.
    """
    chosen = common(run, networks)
    images, labels = run.images()
    for name, model in networks:
        row, _ = robustness(run, model)
        fine: list[float] = []
        coarse: list[float] = []
        ranges: list[float] = []
        for place in chosen:
            image, label = images[place], int(labels[place])
            first, second = directions(model, image, label, run.seed)
            surface = landscape(model, image, label, first, second)
            run.results.setdefault(name, surface)
            ranges.append(float(np.ptp(surface.loss)))
            for cells, shares in ((run.settings.cells, fine), (run.settings.cells // 2, coarse)):
                shares.append(line_roughness(model, image, label, first, cells=cells).share)
        row |= dict(zip(("jumps", "jumps_lower", "jumps_upper"), median_interval(fine), strict=True))
        row |= {"jumps_coarse": float(np.median(coarse)), "lines": len(fine), "cells": run.settings.cells}
        row |= dict(zip(("range", "range_lower", "range_upper"), median_interval(ranges), strict=True))
        run.say(f"{name}: {row}")
        yield {"network": name} | row


def common(run: Run, networks: Named) -> list[int]:
    """Places of the first ``lines`` test images that all networks classify correctly.

    Raises:
        InvalidArgumentError: there is none.
    """
    images, labels = run.images()
    right = torch.ones(len(labels), dtype=torch.bool)
    for _, model in networks:
        with torch.no_grad():
            right &= (model(images).argmax(1) == labels).cpu()
    places: list[int] = right.nonzero().squeeze(1).tolist()
    if not places:
        raise InvalidArgumentError(f"n={len(labels)} is not enough: no image is classified correctly by all networks.")
    return places[: run.settings.lines]


def drawn(run: Run, rows: Sequence[Row], columns: int) -> Figure:
    """One surface for each row, and what was measured below its name; every panel has its own vertical axis."""
    count = -(-len(rows) // columns)
    figure = Figure(figsize=(10.0, (4.6 if columns < 3 else 3.6) * count), layout="constrained")
    for number, row in enumerate(rows):
        axis: Any = figure.add_subplot(count, columns, number + 1, projection="3d")
        surface = run.results[row["network"]]
        first, second = np.meshgrid(surface.offsets, surface.offsets, indexing="ij")
        axis.plot_surface(first, second, surface.loss, cmap="viridis", rstride=1, cstride=1, linewidth=0)
        axis.set_title(f"{row['network']}\n{told(row)}", fontsize=9, y=0.99 if columns < 3 else 0.94)
        axis.set_xlabel("ε₁, gradient's signs", fontsize=8, labelpad=2)
        axis.set_ylabel("ε₂, random signs", fontsize=8, labelpad=2)
        axis.set_xticks([-EXTENT, 0, EXTENT])
        axis.set_yticks([-EXTENT, 0, EXTENT])
        axis.tick_params(labelsize=7.5, pad=0)
        axis.view_init(elev=28, azim=-55)
        axis.set_box_aspect(None, zoom=1.0 if columns < 3 else 0.95)
    plots.caption(
        figure,
        f"Height: cross-entropy at x + ε₁ g₁ + ε₂ g₂ for one test image, {SAMPLES} x {SAMPLES} points; vertical axes "
        f"differ. Jumps: share of the loss's variation on x + t g₁, |t| up to {EXTENT:g}, that is jumps: median of "
        f"{rows[0]['lines']} images with its exact interval (order statistics, level 0.95), {rows[0]['cells']} cells, "
        "float64; range: median of largest minus smallest loss of the surface. Accuracy without an attack, left by "
        f"PGD-20, left by PGD-20 and the adaptive attack. {attack_note(run, rows, bars=False)}",
    )
    return figure


def told(row: Row) -> str:
    """The numbers of a panel."""
    return (
        f"jumps {row['jumps']:.2f} [{row['jumps_lower']:.2f}, {row['jumps_upper']:.2f}], range {row['range']:.2g}\n"
        f"accuracy {row['standard']:.2f}, PGD-20 {row['pgd']:.2f}, adaptive {row['adaptive']:.2f}"
    )


def at_ratio(
    run: Run, network: tuple[str, float], wanted: Sequence[float], method: str = "natural"
) -> list[tuple[str, Wanted]]:
    """Networks of the incremental training at some of its ratios, by name.

    Raises:
        InvalidArgumentError: a ratio that it does not pass.
    """
    missing = sorted(set(wanted) - set(run.settings.ratios))
    if missing:
        raise InvalidArgumentError(f"ratio={missing[0]:g} is not one of the scale's ratios {run.settings.ratios}.")
    title = "" if method == "natural" else ADVERSARIAL
    passed = run.lowered(network, method).items()
    return [(f"{network[0]}, k-WTA-{ratio:g}{title}", found) for ratio, found in passed if ratio in wanted]
