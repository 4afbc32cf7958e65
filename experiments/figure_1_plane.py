"""Figure 1 in two dimensions: a function of two numbers, fitted from points by k-WTA and by ReLU networks.

Claimed (of one dimension): the fit of a k-WTA network is piecewise continuous, and its discontinuities can be dense.
Drawn: networks with two hidden layers of 96, fitted to 60 points of ``sin 3x cos 2y + 0.4 cos 5 (x + y)`` on the
square [-1, 1]^2. Their linear regions are exact polygons, and the jump at every edge is the difference of two affine
maps: nothing is sampled.
Seen (medians of 7 networks): 562 regions at a ratio of 0.1 and 1,629 at 0.2, all parted by jumps, of 0.21 and 0.14 in
the mean; with ReLU 7,535 regions and no jump. So k-WTA has fewer regions, and they are torn from one another. The fit
is worse for it: root mean square error on the square 0.32 and 0.28, with ReLU 0.15.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from kwta_theory.regions import PlaneRegions, plane_regions
from kwta_theory.regions.pictures import CONTINUOUS, draw_plane, edge_jumps
from kwta_theory.report import plots
from kwta_theory.robustness import regression
from kwta_theory.robustness.landscape import median_interval
from kwta_theory.robustness.study import Row, Run, Study, main
from kwta_theory.seeding import Stream

ACTIVATIONS = ("kwta-0.1", "kwta-0.2", "relu")
WIDTH, POINTS, GRID = 96, 60, 101
NETWORKS = {"small": 7, "paper": 51}
STEPS = {"small": 1000, "paper": 5000}
MAGNIFIED = 0.2  # the side of the square below, at the middle


def target(x: torch.Tensor) -> torch.Tensor:
    """The function that is fitted, of ``(points, 2)``."""
    return torch.sin(3 * x[:, 0]) * torch.cos(2 * x[:, 1]) + 0.4 * torch.cos(5 * (x[:, 0] + x[:, 1]))


def network(activation: str, seed: int) -> nn.Module:
    """The network that is fitted; each seed and activation has weights of its own."""
    return regression.network(activation, 2, WIDTH, Stream(seed, f"figure 1 plane {activation}"))


def points(seed: int) -> torch.Tensor:
    """Where the function is known: uniform on the square, the same for all networks."""
    generator = cast(np.random.Generator, Stream(seed, "figure 1 plane points").generator(0))
    return torch.from_numpy(generator.uniform(-1, 1, (POINTS, 2)))


def square(model: nn.Module, half: float = 1.0) -> PlaneRegions:
    """The regions on [-half, half]^2, positions being the inputs themselves."""
    axes = torch.eye(2, dtype=torch.float64)
    return plane_regions(model, torch.zeros(1, 2), axes[:1], axes[1:], a=(-half, half), b=(-half, half))


def statistics(plane: PlaneRegions) -> dict[str, float]:
    """Regions, the density of edges that jump (their length by area), the mean jump on these, the share that jump."""
    spread = float(plane.values.max() - plane.values.min())
    lengths = (plane.vertices[plane.edges[:, 1]] - plane.vertices[plane.edges[:, 0]]).norm(dim=1)
    sizes = edge_jumps(plane)
    jumps = sizes > CONTINUOUS * spread
    length = float(lengths[jumps].sum())
    return {
        "regions": plane.count,
        "jump_density": length / float(plane.areas.sum()),
        "jump": float((lengths * sizes)[jumps].sum()) / length if length else 0.0,
        "largest_jump": float(sizes[jumps].max()) if length else 0.0,
    }


def measure(run: Run) -> Iterator[Row]:
    """One row for each activation: medians over several networks; the first network's planes are kept."""
    scale = run.settings.scale
    x = points(run.seed)
    y = target(x)
    grid = torch.cartesian_prod(*[torch.linspace(-1, 1, GRID, dtype=torch.float64)] * 2)
    for activation in ACTIVATIONS:
        found: dict[str, list[float]] = {}
        for number in range(NETWORKS[scale]):
            model = network(activation, run.seed + number)
            values = {"fit_error": regression.fit(model, x, y, STEPS[scale])}
            plane = square(model)
            values |= statistics(plane)
            with torch.no_grad():
                fitted = model(grid)[:, 0]
            values["error"] = float((fitted - target(grid)).square().mean().sqrt())
            for name, value in values.items():
                found.setdefault(name, []).append(value)
            if number == 0:
                run.results[activation] = (plane, square(model, MAGNIFIED / 2))
        row: Row = {"activation": activation, "networks": NETWORKS[scale], "width": WIDTH, "points": POINTS}
        for name, numbers in found.items():
            row |= dict(zip((name, f"{name}_lower", f"{name}_upper"), median_interval(numbers), strict=True))
        run.say(f"{row}")
        yield row


def plan(run: Run) -> str:
    """No network is kept: all are fitted anew."""
    scale = run.settings.scale
    return (
        f"{NETWORKS[scale]} networks for each of {', '.join(ACTIVATIONS)}, two hidden layers of {WIDTH}, fitted to "
        f"{POINTS} points of a square by {STEPS[scale]:,} steps of Adam; no data, nothing is attacked"
    )


def figure(run: Run, rows: list[Row]) -> Figure:
    """The fit of one network of each kind, whole above and magnified below; one scale of values and of jumps."""
    drawn, axes = plots.panels(columns=len(rows), rows=2, height=3.0)
    planes = [run.results[row["activation"]] for row in rows]
    whole = torch.cat([plane.values.flatten() for plane, _ in planes])
    low, high = (float(whole.quantile(part)) for part in (0.01, 0.99))
    jumps = [edge_jumps(plane) for pair in planes for plane in pair]
    largest = float(torch.cat([sizes[sizes > CONTINUOUS] for sizes in jumps] or [torch.ones(1)]).quantile(0.99))
    x = points(run.seed).numpy()
    for column, (row, pair) in enumerate(zip(rows, planes, strict=True)):
        for axis, plane, width in ((axes[column], pair[0], 0.5), (axes[column + len(rows)], pair[1], 1.5)):
            shown = draw_plane(axis, plane, value_range=(low, high), largest_jump=largest, width=width)
            ends = axis.get_xlim()
            inside = (np.abs(x) <= max(ends)).all(1)
            axis.plot(*x[inside].T, "o", color="white", markeredgecolor="black", markersize=3)
            axis.set_box_aspect(1)
        axes[column].set_title(
            f"{row['activation']}: {row['regions']:,.0f} regions [{row['regions_lower']:,.0f}, "
            f"{row['regions_upper']:,.0f}]\nmean jump {row['jump']:.2g} [{row['jump_lower']:.2g}, "
            f"{row['jump_upper']:.2g}]",
            fontsize=9.5,
        )
        axes[column + len(rows)].set_xlabel("the middle, magnified")
    drawn.colorbar(shown.faces, ax=axes[: len(rows)], label="value of the fit")
    drawn.colorbar(shown.edges, ax=axes[len(rows) :], label="size of the jump at an edge")
    plots.caption(
        drawn,
        f"Two hidden layers of {WIDTH}, {POINTS} points (white), {STEPS[run.settings.scale]} steps of Adam. Planes: "
        f"the network of seed {run.seed}, every region and every jump exact; grey edges have none. Above: medians of "
        f"n = {rows[0]['networks']} networks with exact intervals (order statistics, level 0.95); a jump is the root "
        "mean square along its edge, their mean is over the length of the edges that jump. Colours end at the 99th "
        "percentile.",
    )
    return drawn


STUDY = Study("figure_1_plane", __doc__ or "", measure, plan, {"figure_1_plane": figure})

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
