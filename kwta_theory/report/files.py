"""What a run leaves on disk. Every file is written whole or not at all: a killed run keeps the last complete one."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from kwta_theory import __version__, checks
from kwta_theory.inputs import Inputs
from kwta_theory.report import figures, html
from kwta_theory.statements import STATEMENTS, Settings
from kwta_theory.statements.verdict import Verdict, finite

PICTURES = (".png", ".pdf", ".svg")


def check_folder(path: Path) -> None:
    """Refuse a folder that is not there or cannot be written to."""
    if not path.is_dir():
        raise checks.InvalidArgumentError(f"{str(path)!r} is not a directory.")
    if not os.access(path, os.W_OK):
        raise checks.InvalidArgumentError(f"{str(path)!r} cannot be written: permission is denied.")


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written before the run instead of after it."""
    if path.is_dir():
        raise checks.InvalidArgumentError(f"{str(path)!r} is a directory: a file name is needed.")
    if not path.absolute().parent.is_dir():
        raise checks.InvalidArgumentError(f"{str(path)!r} cannot be written: its directory does not exist.")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise checks.InvalidArgumentError(f"{str(path)!r} cannot be written: permission is denied.")


def check_picture(path: Path) -> None:
    """Refuse an ending that names no kind of picture."""
    if path.suffix.lower() not in PICTURES:
        raise checks.InvalidArgumentError(
            f"{str(path)!r} is no name for a picture: it must end in {', '.join(PICTURES)}."
        )


def write_figure(path: Path, figure: Figure) -> None:
    """Write beside the target and move over it; the ending says which kind of picture."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        figure.savefig(temporary, dpi=130)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write beside the target and move over it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def described(settings: Settings) -> dict[str, Any]:
    """What fixes the numbers of a run; the number of workers is left out because it does not."""
    record = dataclasses.asdict(settings)
    del record["workers"]
    return record


def write_json(path: Path, verdicts: Sequence[Verdict], settings: Settings, *, complete: bool) -> None:
    """The verdicts so far; ``complete`` is false while the run goes on."""
    record = {
        "version": __version__,
        "complete": complete,
        "settings": described(settings),
        "verdicts": [verdict.as_json() for verdict in verdicts],
    }
    write_text(path, json.dumps(finite(record), indent=1, allow_nan=False) + "\n")


def panels(verdicts: Sequence[Verdict], inputs: Sequence[Inputs], settings: Settings) -> dict[str, figures.Panels]:
    """What the figure of each statement shows: for each set of inputs its curves and its verdicts."""
    result: dict[str, figures.Panels] = {}
    for verdict in verdicts:
        statement = STATEMENTS[verdict.statement]
        points = next((entry for entry in inputs if entry.name == verdict.inputs), inputs[0])
        parts = result.setdefault(statement.name, {})
        if verdict.inputs not in parts:
            parts[verdict.inputs] = (statement.curves(points, settings) if statement.curves else [], [])
        parts[verdict.inputs][1].append(verdict)
    return result


def write_html(path: Path, verdicts: Sequence[Verdict], inputs: Sequence[Inputs], settings: Settings) -> None:
    """The report with its figures."""
    shown = described(settings) | {"budget": settings.budget.name}
    page = html.render(panels(verdicts, inputs, settings), STATEMENTS, shown, settings.budget.error)
    write_text(path, page)


def write_figures(folder: Path, verdicts: Sequence[Verdict], inputs: Sequence[Inputs], settings: Settings) -> None:
    """One PNG for each statement that has a figure, named after it."""
    for name, parts in panels(verdicts, inputs, settings).items():
        if not figures.drawn(parts):
            continue
        write_figure(folder / f"{name}.png", figures.statement_figure(parts))
