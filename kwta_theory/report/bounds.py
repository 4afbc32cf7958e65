"""The answer of ``kwta bounds``: a table of widths and a figure."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from rich.table import Table

from kwta_theory.report import figures
from kwta_theory.statements import words
from kwta_theory.statements.bounds import Bounds


def table(bounds: Bounds) -> Table:
    """One row for each source, from the weakest argument to what is seen, with the ratio to what is nearest."""
    result = Table(title=f"{bounds.title}: widths from which {bounds.level}", pad_edge=False)
    for name in ("source", "what is meant", "width", "ratio"):
        result.add_column(name, justify="right" if name in ("width", "ratio") else "left")
    for bound in bounds.bounds:
        width = "not found" if bound.log_width is None else words.width(bound.log_width)
        result.add_row(bound.source, bound.meaning, width, bounds.ratio(bound))
    return result


def sentences(bounds: Bounds) -> list[str]:
    """What was measured, and how far the proof is from the truth."""
    parts = [*bounds.remarks]
    proof = bounds.bounds[0]
    if bounds.reference is not None and proof.log_width is not None:
        nearest = bounds.bounds[bounds.reference]
        parts.append(
            f"ratio: to {nearest.source} ({nearest.meaning}); the proof asks for a layer {bounds.ratio(proof)} times "
            "as wide"
        )
    return [part[0].upper() + part[1:] + "." for part in parts]


def figure(bounds: Bounds) -> Figure:
    """Probability of failure against the width, with the widths of the table as vertical lines."""
    result = Figure(figsize=(8.0, 5.0), layout="constrained")
    axis = result.subplots()
    levels = [curve.log_failure[0] for curve in bounds.curves if curve.kind == "claimed"]
    figures.draw_curves(axis, bounds.curves, figures.lowest(levels))
    reach = figures.reach_of(bounds.curves) * math.log(10)
    for log_width, measured in bounds.measured:
        figures.draw_count(axis, log_width, measured)
    for number, bound in enumerate(bounds.bounds):
        if bound.log_width is None:
            continue
        label = f"{bound.source}: {words.width(bound.log_width)}"
        if bound.log_width <= 3 * reach:
            axis.axvline(bound.log_width / math.log(10), linestyle=":", color=f"C{number}", label=label)
        else:
            axis.plot([], [], linestyle="none", label=f"{label} (off the axis)")
    axis.set_title(bounds.title, fontsize=10)
    axis.set_ylabel("log10 of the probability of failure")
    axis.legend(fontsize=8, loc="best")
    return result
