"""Region statistics of many lines, measured part by part: joined, kept as JSON, and summed up with shared intervals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kwta_theory.checks import InvalidArgumentError
from kwta_theory.confidence import ErrorBudget, Interval, Proportion
from kwta_theory.regions.directions import Lines
from kwta_theory.regions.samples import LineSample
from kwta_theory.regions.statistics import region_statistics
from kwta_theory.seeding import Device

Samples = dict[str, LineSample]
"""By name, one number for each line; all have the same lines in the same order."""

MEMORY = 2**28
LAYER, COHERENCE = "boundaries of layer ", "coherence at "
NAMES = ("nearest", "nearest_first_layer", "jump", "root_mean_square_jump", "largest_jump", "slope_change")


@dataclass(frozen=True)
class Summary:
    """One statistic of all lines of a direction.

    Attributes:
        median: over the lines that have a number; NaN where none has.
        interval: for the median of the law of lines, its error a share of the budget.
        unbounded: whether the interval is the statistic's whole range: too few lines for its share of the error.
        count: lines that have a number; the others have no boundary, so no jump.
    """

    median: float
    interval: Interval
    unbounded: bool
    count: int


def part_of(lines: Lines, which: slice) -> Lines:
    """Some of the lines."""
    return dataclasses.replace(lines, start=lines.start[which], end=lines.end[which])


def measure(
    model: nn.Module, lines: Lines, *, labels: torch.Tensor | None = None, device: Device | None = None
) -> Samples:
    """:func:`kwta_theory.regions.region_statistics` as one table: names, and one number for each line.

    ``boundaries`` are counts on the line here, and ``boundaries of layer NAME`` likewise; ``density`` is per unit of
    length.
    """
    found = region_statistics(model, lines, labels=labels, memory=MEMORY, device=device)
    lengths = lines.lengths.tolist()
    samples = {"boundaries": _counts(found.boundaries, lengths)}
    samples |= {LAYER + name: _counts(sample, lengths) for name, sample in found.boundaries_of_layer.items()}
    samples["density"] = found.boundaries
    samples |= {name: getattr(found, name) for name in (*NAMES, "slope_variation")}
    return samples | {f"{COHERENCE}{part:g}": sample for part, sample in found.coherence.items()}


def _counts(density: LineSample, lengths: list[float]) -> LineSample:
    values = tuple(float(round(value * length)) for value, length in zip(density.values, lengths, strict=True))
    return LineSample(values, "boundaries on a line")


def joined(first: Samples, second: Samples) -> Samples:
    """The lines of both, in this order.

    Raises:
        InvalidArgumentError: for samples of other statistics.
    """
    if not first:
        return second
    if list(first) != list(second):
        raise InvalidArgumentError(f"samples of {list(first)} and of {list(second)} cannot be joined.")
    return {
        name: dataclasses.replace(sample, values=sample.values + second[name].values) for name, sample in first.items()
    }


def lines_of(samples: Samples) -> int:
    """How many lines there are."""
    return len(samples["boundaries"].values) if samples else 0


def crossing(samples: Samples) -> Proportion:
    """Of all lines, those with at least one boundary."""
    return Proportion(sum(value > 0 for value in samples["boundaries"].values), lines_of(samples))


def summaries(
    measured: Mapping[str, Samples], error: float
) -> tuple[dict[str, dict[str, Summary]], dict[str, Interval]]:
    """Medians with intervals, and intervals for the share of lines with a boundary, for each direction.

    All intervals hold together with probability at least ``1 - error``, for lines whose number was fixed beforehand:
    the error is shared in equal parts by all of them (Bonferroni).

    Args:
        measured: for each direction its samples, at least one line each.
        error: in (0, 1).
    """
    claims = sum(len(samples) + 1 for samples in measured.values())
    share = ErrorBudget(error).share(claims)
    found = {
        direction: {name: _summary(sample, share) for name, sample in samples.items()}
        for direction, samples in measured.items()
    }
    return found, {direction: crossing(samples).interval(share) for direction, samples in measured.items()}


def _summary(sample: LineSample, error: float) -> Summary:
    if not sample.count:
        return Summary(math.nan, Interval(sample.lower, sample.upper), True, 0)
    interval = sample.quantile_interval(0.5, error)
    # All of n numbers lie on one side of the median with probability 2^-n: below error/2 there are ends.
    return Summary(sample.median, interval, sample.count < math.log2(2 / error), sample.count)


def as_json(samples: Samples) -> dict[str, Any]:
    """Every number of every line; ``null`` for one that there is not, ``"infinity"`` for one beyond the line."""
    return {
        name: {
            "unit": sample.unit,
            "range": [plain(sample.lower), plain(sample.upper)],
            "values": [plain(value) for value in sample.values],
        }
        for name, sample in samples.items()
    }


def from_json(told: Mapping[str, Any]) -> Samples:
    """What :func:`as_json` wrote."""
    return {
        name: LineSample(tuple(map(_number, part["values"])), part["unit"], *map(_number, part["range"]))
        for name, part in told.items()
    }


def plain(value: float) -> float | str | None:
    """A number as JSON has it."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else ("infinity" if value > 0 else "-infinity")


def _number(told: float | str | None) -> float:
    return math.nan if told is None else float(told)
