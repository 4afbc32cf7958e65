"""What a run reports of itself: the accuracy on the test images, and a CSV file with one row for each epoch."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kwta_theory.networks.datasets import Split
from kwta_theory.networks.training.adversary import evaluation_mode

Row = dict[str, Any]


def accuracy(model: nn.Module, split: Split, device: torch.device | str = "cpu", batch_size: int = 250) -> float:
    """The share of all images of a split whose largest logit is that of their label, in evaluation mode."""
    correct = 0
    with torch.no_grad(), evaluation_mode(model):
        for start in range(0, len(split), batch_size):
            part = slice(start, start + batch_size)
            outputs = model(split.images(part, device))
            correct += int((outputs.argmax(1).cpu() == split.labels[part]).sum())
    return correct / len(split)


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write all rows, whole or not at all: a killed run keeps the last complete file."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text.getvalue(), encoding="utf-8")
    temporary.replace(path)
