"""An audit for a person, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from kwta_theory.audit.run import DTYPES, Audit, LayerAudit, Measured


def tables(audit: Audit) -> list[tuple[str, Table]]:
    """Headings and tables, a row for each layer."""
    parts = [_units(audit), _overlap(audit)]
    if audit.lines:
        parts.append(_flips(audit))
    return [*parts, _precision(audit, "ties"), _precision(audit, "differs")]


def _table(audit: Audit, heads: Sequence[str], cells: Callable[[LayerAudit], Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("layer", overflow="fold")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for layer in audit.layers:
        table.add_row(escape(layer.layer.name), *cells(layer))
    return table


def _units(audit: Audit) -> tuple[str, Table]:
    heads = ("kind", "units", "winners", "never win", "each below %", "always win", "each above %")

    def cells(layer: LayerAudit) -> Sequence[str]:
        units = layer.units
        return (
            layer.layer.kind, f"{layer.layer.width:,}", f"{layer.layer.winners:,}", f"{len(units.dead):,}",
            f"{100 * units.dead_bound:.3g}", f"{len(units.always_on):,}", f"{100 * units.always_bound:.3g}",
        )  # fmt: skip

    return f"Units that won in none or in all of {audit.samples:,} samples", _table(audit, heads, cells)


def _overlap(audit: Audit) -> tuple[str, Table]:
    heads = ("pairs", "cosine", "shared %", "Gaussian %", "difference", "interval", "law")

    def cells(layer: LayerAudit) -> Sequence[str]:
        found = layer.overlap
        shown = [_mean(values) for values in (found.cosine, found.observed, found.expected)]
        return (
            f"{len(found.observed):,}", f"{shown[0]:.3f}", f"{100 * shown[1]:.1f}", f"{100 * shown[2]:.1f}",
            f"{100 * found.difference.value:+.1f}", _percent(found.difference, sign="+"), found.law,
        )  # fmt: skip

    return "Winners that two samples share, and a Gaussian layer's at the same cosine", _table(audit, heads, cells)


def _flips(audit: Audit) -> tuple[str, Table]:
    heads = ("nearest", "random", "flips %", "interval", "known flips %", "kept %")

    def cells(layer: LayerAudit) -> Sequence[str]:
        found = layer.flips
        assert found is not None  # there are lines
        return (
            ("" if found.is_exact else "<= ") + _length(found.median_upper.value, audit.radius),
            _length(found.median_random.value, audit.radius), f"{100 * found.random.value:.1f}",
            _percent(found.random), ("" if found.is_exact else ">= ") + f"{100 * found.within.value:.1f}",
            f"{100 * layer.kept.value:.1f}",
        )  # fmt: skip

    title = f"Distance to a change of pattern, median of {audit.lines} samples; radius {audit.radius:.4g}"
    return f"{title} ({audit.norm} norm)", _table(audit, heads, cells)


def _precision(audit: Audit, what: str) -> tuple[str, Table]:
    def cells(layer: LayerAudit) -> Sequence[str]:
        return [
            "-" if name not in layer.ties else _share(getattr(layer.ties[name], what), layer.ties[name].not_finite)
            for name in DTYPES
        ]

    title = {
        "ties": "Samples with a tie at the threshold, % in each dtype",
        "differs": "Samples whose pattern is not that of float64, %",
    }
    return title[what], _table(audit, tuple(DTYPES), cells)


def _share(found: Measured, not_finite: int) -> str:
    return ("-" if math.isnan(found.value) else f"{100 * found.value:.1f}") + ("*" if not_finite else "")


def _length(value: float, radius: float) -> str:
    return f"> {radius:.3g}" if math.isinf(value) else f"{value:.3g}"


def _percent(found: Measured, sign: str = "") -> str:
    low, high = (format(100 * end, f"{sign}.1f") for end in (found.interval.lower, found.interval.upper))
    return f"{low} to {high}"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def notes(audit: Audit) -> list[str]:
    """What must be known before a number is quoted."""
    said = [
        f"All intervals hold together with probability {1 - audit.error:g} if the samples are independent draws; "
        f"a unit that never won wins with a probability below the bound beside it, all units of its layer together.",
        "Gaussian: a layer of independent normal weights without bias, whose inputs have the cosines of this layer's "
        "inputs.",
    ]
    large = [layer.layer.name for layer in audit.layers if layer.overlap.law != "exact"]
    if large:
        said.append(f"Law of a large width, off by less than 0.3 percentage points: layer {', '.join(large)}.")
    values = [layer.layer.name for layer in audit.layers if layer.overlap.cosine_of == "values"]
    if values:
        said.append(
            f"No affine map was seen before layer {', '.join(values)}: cosines are those of the values it compares."
        )
    undefined = {layer.layer.name: layer.overlap.undefined for layer in audit.layers if layer.overlap.undefined}
    if undefined:
        pairs = ", ".join(f"{name}: {count}" for name, count in undefined.items())
        said.append(f"Pairs left out because an input of the layer is zero: {pairs}.")
    if audit.lines:
        said += _notes_on_lines(audit)
    else:
        said.append(f"Distances were not measured: {audit.no_lines}.")
    said += [f"The network does not run in {name}: {reason}." for name, reason in audit.no_dtype.items()]
    if any(tie.not_finite for layer in audit.layers for tie in layer.ties.values()):
        said.append("* Some samples give infinity or NaN there; they are left out.")
    return said


def _notes_on_lines(audit: Audit) -> list[str]:
    said = [
        "random: along one random direction; flips: samples whose pattern changes there within the radius. kept: "
        "winners that win after the whole step, too (all samples).",
    ]
    if any(layer.flips is not None and not layer.flips.is_exact for layer in audit.layers):
        said.append(
            "<=: along lines only an upper bound of the distance over all directions is found; a change may be nearer. "
            "Without it the distance is exact."
        )
    tied = [
        layer.layer.name
        for layer in audit.layers
        if layer.flips is not None and any(distance == 0 for distance in layer.flips.distances.upper)
    ]
    if tied:
        said.append(
            f"Distance 0: the sample is tied at the threshold of the layer or of an earlier one, so it lies on a "
            f"boundary (layer {', '.join(tied)})."
        )
    return said


def as_json(audit: Audit) -> dict[str, Any]:
    """Everything, for :func:`json.dumps` with ``allow_nan=False``: null is infinity among distances, else NaN."""
    return {
        "samples": audit.samples,
        "lines": audit.lines,
        "radius": audit.radius,
        "norm": audit.norm,
        "seed": audit.seed,
        "error": audit.error,
        "no_lines": audit.no_lines,
        "no_dtype": dict(audit.no_dtype),
        "layers": [_layer(layer) for layer in audit.layers],
    }


def _layer(layer: LayerAudit) -> dict[str, Any]:
    units, overlap, flips = layer.units, layer.overlap, layer.flips
    return {
        "name": layer.layer.name,
        "kind": layer.layer.kind,
        "width": layer.layer.width,
        "winners": layer.layer.winners,
        "groups": len(layer.layer.sizes),
        "units": {
            "wins": list(units.wins),
            "dead": list(units.dead),
            "dead_bound": units.dead_bound,
            "dead_if_alike": units.dead_if_alike,
            "always_on": list(units.always_on),
            "always_bound": units.always_bound,
        },
        "overlap": {
            "observed": list(overlap.observed),
            "expected": list(overlap.expected),
            "cosine": list(overlap.cosine),
            "cosine_of": overlap.cosine_of,
            "law": overlap.law,
            "undefined": overlap.undefined,
            "difference": _measured(overlap.difference),
        },
        "kept": _measured(layer.kept),
        "flips": None if flips is None else {
            "random": _measured(flips.random),
            "within": _measured(flips.within),
            "within_is_lower_bound": not flips.is_exact,
            "median_random": _measured(flips.median_random),
            "median_upper": _measured(flips.median_upper),
            "upper_is_exact": flips.is_exact,
            "random_distances": _numbers(flips.distances.random),
            "flips_on_random_line": list(flips.distances.flips),
            "upper_distances": _numbers(flips.distances.upper),
        },
        "precision": {
            name: {"ties": _measured(tie.ties), "differs": _measured(tie.differs), "not_finite": tie.not_finite}
            for name, tie in layer.ties.items()
        },
    }  # fmt: skip


def _measured(found: Measured) -> Mapping[str, Any]:
    value, lower, upper = _numbers((found.value, found.interval.lower, found.interval.upper))
    return {"value": value, "interval": [lower, upper], "n": found.n}


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
