"""A survey of regions as a table, as sentences and as figures."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.markup import escape
from rich.table import Table
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import Interval, Proportion
from kwta_theory.regions import pictures
from kwta_theory.regions.directions import GRADIENT_BATCH, Lines
from kwta_theory.regions.expected import expected_first_layer
from kwta_theory.regions.lines import line_regions
from kwta_theory.regions.planes import plane_regions
from kwta_theory.regions.survey import COHERENCE, LAYER, Samples, Summary, lines_of
from kwta_theory.report import files, plots
from kwta_theory.seeding import Device, resolve_device

WORDS = {
    "boundaries": "boundaries on a line",
    "density": "boundaries per unit of length",
    "nearest": "nearest boundary on the line",
    "nearest_first_layer": "nearest of the first layer, any way",
    "jump": "mean jump",
    "root_mean_square_jump": "root mean square jump",
    "largest_jump": "largest jump",
    "slope_change": "change of slope at a boundary",
    "slope_variation": "variation of slope, share of square",
}
ROUNDING = 1e-9
SECTIONS = ("nearest", "jump", "slope_change")


@dataclass(frozen=True)
class Expected:
    """What a random first layer would have on lines, or why that is not known.

    Attributes:
        of_line: for each line the expected number; empty where there is no formula.
        why_not: the sentence that says why; empty where there is one.
    """

    of_line: tuple[float, ...]
    why_not: str = ""

    def mean(self, lines: int | None = None) -> float | None:
        """Over the first so many lines."""
        return statistics.fmean(self.of_line[:lines]) if self.of_line else None


def expected(model: nn.Module, lines: Lines, device: Device | None = None) -> Expected:
    """:func:`kwta_theory.regions.expected_first_layer`, or why there is none."""
    try:
        return Expected(tuple(expected_first_layer(model, lines.start, lines.end, device=device).tolist()))
    except InvalidArgumentError as error:
        return Expected((), str(error))


def output_scale(model: nn.Module, images: torch.Tensor, device: Device | None = None) -> float:
    """Root mean square distance of a network's outputs from their mean over inputs, to hold jumps against."""
    where = resolve_device("cpu" if device is None else device)
    with torch.no_grad():
        parts = images.split(GRADIENT_BATCH)
        network = copy.deepcopy(model).to(where, torch.float64).eval()
        outputs = torch.cat([network(part.to(where, torch.float64)).cpu() for part in parts]).flatten(1)
    return float((outputs - outputs.mean(0)).square().sum(1).mean().sqrt())


def table(found: Mapping[str, Summary], crossing: Proportion, share: Interval) -> Table:
    """Counts, distances, jumps, slopes: for each the median over lines and its interval."""
    shown = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    shown.add_column("one number for each line", overflow="fold")
    for head in ("median", "interval", "lines"):
        shown.add_column(head, justify="right", no_wrap=True)
    for name, summary in found.items():
        if name in SECTIONS:
            shown.add_section()
        shown.add_row(escape(words(name)), *_cells(summary))
        if name == "boundaries":
            interval = f"{share.lower:.3g} to {share.upper:.3g}"
            shown.add_row("share of lines with a boundary", f"{crossing.value:.3g}", interval, f"{crossing.trials}")
    return shown


def words(name: str) -> str:
    """A statistic for a person."""
    if name.startswith(LAYER):
        return f"  of layer {name.removeprefix(LAYER)}"
    if name.startswith(COHERENCE):
        return f"cosine of gradients, {name.removeprefix(COHERENCE)} of the way"
    return WORDS[name]


def _cells(summary: Summary) -> tuple[str, str, str]:
    if not summary.count:
        return "-", "-", "0"
    low, high = summary.interval.lower, summary.interval.upper
    told = "-" if summary.unbounded else f"{_number(low)} to {_number(high)}"
    return _number(summary.median), told, f"{summary.count}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "none"
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"


def sentences_about(samples: Samples, random: Expected) -> list[str]:
    """The first layer beside the formula for a random one, where there is one."""
    name = next((key for key in samples if key.startswith(LAYER)), None)
    if name is None:
        return ["The network has no activation layer, and one region."]
    if not random.of_line:
        return []
    sample, n = samples[name], lines_of(samples)
    spread = f" (standard error over lines {sample.standard_error:.3g})" if n > 1 else ""
    return [
        f"First layer: {sample.mean:.4g} boundaries on a line in the mean{spread}. Random weights without bias, drawn "
        f"apart from the lines, are expected to have {random.mean(n):.4g}."
    ]


def notes(
    measured: Mapping[str, Samples],
    random: Mapping[str, Expected],
    found: Mapping[str, Mapping[str, Summary]],
    *,
    complete: bool,
    error: float,
) -> list[str]:
    """What must be known of the numbers before they are quoted."""
    summaries = [summary for of_direction in found.values() for summary in of_direction.values() if summary.count]
    said = [
        f"All intervals hold together with probability at least {1 - error:g}, for this network and the law of its "
        "lines, not for other networks or trainings.",
        "Jumps and changes of slope are Euclidean over the outputs, in the network's own units: compare networks by "
        "their share of how far outputs are from their mean.",
    ]
    if any(of["largest_jump"].count and of["largest_jump"].median < ROUNDING for of in found.values()):
        said.append(f"Jumps below {ROUNDING:g} are rounding: the network is continuous there.")
    if any(random.get(name) and random[name].of_line for name in measured):
        said.append("The expected number is a mean over draws of all weights; the standard error is for this network.")
    if any(summary.unbounded for summary in summaries):
        said.append("No interval (-): there are too few lines for one at its share of the error.")
    if any(math.isinf(end) for s in summaries if not s.unbounded for end in (s.median, s.interval.upper)):
        said.append("none: no boundary within the length of a line; at the end of another interval, no bound.")
    if any(0.0 in samples["nearest_first_layer"].values for samples in measured.values()):
        said.append("Distance 0: an image lies on a boundary of the first layer, as units with equal outputs make it.")
    said += [f"First layer: {why}" for why in dict.fromkeys(one.why_not for one in random.values() if one.why_not)]
    if not complete:
        said.append("Not finished: intervals suppose that the results had no part in where it was stopped.")
    return said


def write_figures(
    folder: Path,
    head: Mapping[str, Any],
    model: nn.Module,
    images: torch.Tensor,
    lines: Mapping[str, Lines],
    measured: Mapping[str, Samples],
    device: Device | None = None,
) -> tuple[Path, ...]:
    """Draw ``boundaries.png``, ``jumps.png`` and ``plane.png`` into a folder.

    Args:
        folder: where they go.
        head: what is measured, as ``kwta regions --json`` has it.
        model: the network.
        images: three inputs, for the plane.
        lines: for each direction.
        measured: their samples.
        device: where to compute.
    """
    network = f"{head['architecture']['name']}, {head['architecture']['activation']}, training: {head['training']}"
    about = f"{network}; seed {head['seed']}."
    written = []
    with plots.house_style():
        figure, axes = plots.panels(columns=len(measured), height=3.4)
        for axis, (name, samples) in zip(axes, measured.items(), strict=True):
            pictures.draw_counts(axis, samples["boundaries"].values)
            axis.set(title=name, xlabel="boundaries on a line", ylabel="lines")
        plots.legend(figure)
        n = max(map(lines_of, measured.values()))
        length = f"length {head['epsilon']:g} ({head['norm']} norm)"
        plots.caption(figure, f"{about} n = {n} lines of {length}, one from each test image, counted exactly.")
        written.append((folder / "boundaries.png", figure))

        figure, axes = plots.panels(columns=len(measured), height=3.4, share_y=True)
        largest = 0.0
        for axis, name in zip(axes, measured, strict=True):
            (line,) = line_regions(model, lines[name].start[:1], lines[name].end[:1], device=device)
            largest = max(largest, pictures.draw_line(axis, line, float(lines[name].lengths[0])))
            axis.set(title=f"{name}: {line.count - 1:,} boundaries", xlabel="distance from the image")
        axes[0].set(ylabel="size of the jump", ylim=(0, 1.05 * largest or 1))
        plots.caption(
            figure, f"{about} The line of the first test image in each direction; a stem for every jump, in the units "
            "of the outputs (Euclidean). Boundaries without a jump have no stem.",
        )  # fmt: skip
        written.append((folder / "jumps.png", figure))
        written.append((folder / "plane.png", plane_figure(model, images, about, device)))
        for path, figure in written:
            files.write_figure(path, figure)
    return tuple(path for path, _ in written)


def plane_figure(model: nn.Module, images: torch.Tensor, about: str, device: Device | None = None) -> Any:
    """The regions around the first of three inputs, on the plane through them; all three, where there are few."""
    origin, u, v = pictures.through(images.double().cpu())
    side = pictures.window(model, origin, u, v, device=device)
    plane = plane_regions(model, origin, u, v, a=(0.0, side), b=(0.0, side), device=device)
    first = plane.region_at(torch.full((1, 2), 1e-6 * side))
    output, shown = pictures.rivals(plane.values[int(first)])
    figure, (axis,) = plots.panels(height=5.6)
    drawn = pictures.draw_plane(axis, plane, output=output)
    figure.colorbar(drawn.faces, label=shown, ax=axis)
    if drawn.largest_jump:
        figure.colorbar(drawn.edges, label="size of the jump at an edge", ax=axis)
    axis.set(xlabel="towards the second image", ylabel="towards the third image")
    axis.set_box_aspect(1)
    kind = f"{100 * drawn.jumping:.0f} % of the edges' length are jumps" if drawn.largest_jump else "no jump"
    plots.caption(
        figure, f"{about} The plane through three test images, which are at (0, 0), (1, 0) and (0, 1). "
        f"{plane.count:,} regions, exact; {kind}. Grey: edges at which the network is continuous.",
    )  # fmt: skip
    return figure
