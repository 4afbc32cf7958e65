"""An evaluation as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from rich import box
from rich.markup import escape
from rich.table import Table

from kwta_theory.robustness.evaluation import ERROR, Evaluation, Row

CLEAN, WORST = "clean", "worst case"


def table(evaluation: Evaluation) -> Table:
    """One row without an attack, one for each attack, one for the worst of all; shares in percent."""
    shown = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    shown.add_column("attack", overflow="fold")
    heads = ("left %", f"{1 - ERROR:.0%} interval", "n", "s/image", "forward", "backward")
    for head in heads:
        shown.add_column(head, justify="right", no_wrap=True)
    shown.add_row(CLEAN, *_share(evaluation, evaluation.clean), "", "", "")
    for row in evaluation.rows:
        costs = (f"{row.seconds:.3g}", f"{row.forward_passes:,.0f}", f"{row.gradient_passes:,.0f}")
        shown.add_row(escape(row.name), *_share(evaluation, row.robust), *costs)
    if evaluation.rows:
        total = [sum(getattr(row, name) for row in evaluation.rows) for name in _COSTS]
        costs = (f"{total[0]:.3g}", f"{total[1]:,.0f}", f"{total[2]:,.0f}")
        shown.add_section()
        shown.add_row(WORST, *_share(evaluation, evaluation.worst), *costs)
    return shown


_COSTS = ("seconds", "forward_passes", "gradient_passes")


def _share(evaluation: Evaluation, robust: torch.Tensor) -> tuple[str, str, str]:
    share, interval = evaluation.accuracy(robust)
    return f"{100 * share:.1f}", f"{100 * interval.lower:.1f} to {100 * interval.upper:.1f}", f"{len(robust)}"


def sentence(evaluation: Evaluation, row: Row) -> str:
    """A row in one line, for progress."""
    share, interval, _ = _share(evaluation, row.robust)
    return f"{row.name}: {share} % left ({interval}), {row.seconds:.3g} s for each image"


def remarks(evaluation: Evaluation) -> list[str]:
    """What the judge noticed, a sentence for each attack of which it noticed anything."""
    return [f"{row.name}: {'; '.join(row.remarks)}." for row in evaluation.rows if row.remarks]


def as_json(evaluation: Evaluation, notes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the table shows, and for each image whether it withstood, as 0 or 1.

    Accuracies come with the counts that they are made of and exact binomial intervals; costs are for each image that
    was attacked.

    Args:
        evaluation: complete, or of the attacks that are finished.
        notes: what to know about an attack, by its name.
    """
    rows = [
        {
            "name": row.name,
            **_counts(evaluation, row.robust),
            "seconds": row.seconds,
            "cpu_seconds": row.cpu_seconds,
            "forward_passes": row.forward_passes,
            "gradient_passes": row.gradient_passes,
            "budget": row.budget,
            "settings": row.settings,
            "remarks": list(row.remarks),
            "note": (notes or {}).get(row.name, ""),
        }
        for row in evaluation.rows
    ]
    return {
        "epsilon": evaluation.epsilon,
        "seed": evaluation.seed,
        "n": evaluation.n,
        "images_digest": evaluation.images_digest,
        "judge_dtype": str(evaluation.judge_dtype).removeprefix("torch."),
        "interval_error": ERROR,
        "clean": _counts(evaluation, evaluation.clean),
        "attacks": rows,
        "worst_case": _counts(evaluation, evaluation.worst),
    }


def _counts(evaluation: Evaluation, robust: torch.Tensor) -> dict[str, Any]:
    share, interval = evaluation.accuracy(robust)
    return {
        "accuracy": share,
        "interval": [interval.lower, interval.upper],
        "correct": int(robust.sum()),
        "images": robust.int().tolist(),
    }
