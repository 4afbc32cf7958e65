"""The command ``kwta audit``. Nothing heavy is imported at the top."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kwta_theory.cli_files import check_target
from kwta_theory.exits import sentences

if TYPE_CHECKING:
    from kwta_theory.audit import Audit

QUIET_SECONDS = 5.0  # between two lines of progress


def register(app: typer.Typer) -> None:
    """Add the command to the command ``kwta``."""
    app.command()(audit)


def failures() -> Mapping[type[Exception], str]:
    """How an audit fails, for :func:`kwta_theory.exits.sentences`."""
    import torch

    from kwta_theory.networks.training import CheckpointError

    return {
        CheckpointError: "",
        torch.OutOfMemoryError: "the device has not enough memory: give a smaller --batch-size or --device cpu.",
    }


def audit(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="A checkpoint.pt, as kwta train writes it, or its directory; or MODULE:FUNCTION or FILE.py:FUNCTION, "
            "which is run and gives a torch.nn.Module.",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        Path, typer.Option(metavar="X.npy", help="Samples of shape (n, ...), as the network takes them.")
    ],
    radius: Annotated[
        float | None,
        typer.Option(
            help="Of random steps and lines. \\[default: a hundredth of the median norm of the inputs]",
            show_default=False,
        ),
    ] = None,
    norm: Annotated[str, typer.Option(help="euclidean or maximum: the norm of all lengths.")] = "euclidean",
    lines: Annotated[
        int, typer.Option(help="Of how many samples, the first ones, distances are measured; 0 for none.")
    ] = 64,
    error: Annotated[float, typer.Option(help="Probability that any interval of the audit is wrong.")] = 1e-3,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything to FILE.")] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the figures as PNG into this directory, which is there.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Every random number follows from it.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...; it must know float64.")] = "cpu",
    batch_size: Annotated[int, typer.Option(help="Samples in a forward pass.")] = 100,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on standard error.")] = False,
) -> None:
    """How the top-k activations of a network behave on your own inputs.

    kwta audit runs/at/checkpoint.pt --inputs X.npy --figures figures

    For each k-WTA and LWTA layer: units that never or always win; winners that
    two samples share, beside a Gaussian layer; how near each sample is to a
    change of its pattern; ties at the threshold in each dtype.

    Exit code 0: finished. 1: the checkpoint is not as needed, or a file cannot
    be written. 2: bad use. 130: interrupted.
    """
    with sentences("kwta audit", failures):
        run(checkpoint, inputs, radius, norm, lines, error, json_file, figures, seed, device, batch_size, quiet)


def run(
    checkpoint: str,
    inputs: Path,
    radius: float | None,
    norm: str,
    lines: int,
    error: float,
    json_file: Path | None,
    figures: Path | None,
    seed: int,
    device: str,
    batch_size: int,
    quiet: bool,
) -> None:
    """The run behind ``kwta audit``."""
    from kwta_theory import __version__
    from kwta_theory import audit as auditing
    from kwta_theory.audit import figures as drawing
    from kwta_theory.audit import load, text
    from kwta_theory.report import files

    if json_file:
        check_target(json_file)
    if figures:
        files.check_folder(figures)
    samples = load.load_inputs(inputs)
    model, record = load.load_model(checkpoint)
    said = ""
    if record is not None:
        load.check_shape(samples, record)
        said = load.range_note(samples)
    found = auditing.audit(
        model, samples, radius=radius, norm=norm,  # type: ignore[arg-type]  # audit checks the norm
        lines=lines, seed=seed, error=error, batch_size=batch_size, device=device, report=progress(quiet),
    )  # fmt: skip
    notes = [*text.notes(found), *([said] if said else [])]
    if json_file:
        head = {"version": __version__, "checkpoint": checkpoint, "inputs": str(inputs)}
        record_of = {**head, **text.as_json(found), "notes": notes}
        files.write_text(json_file, json.dumps(record_of, indent=1, allow_nan=False) + "\n")
    if figures:
        drawing.write(found, figures)
    show(found, f"{checkpoint} on {found.samples:,} samples of {inputs}, seed {found.seed}", notes)


def progress(quiet: bool) -> Callable[[str], None] | None:
    """A line about what is being done, now and then."""
    if quiet:
        return None
    started = time.perf_counter()
    last = started - QUIET_SECONDS

    def say(sentence: str) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= QUIET_SECONDS:
            last = now
            print(f"{now - started:.0f} s  {sentence}", file=sys.stderr, flush=True)

    return say


def show(found: Audit, head: str, notes: list[str]) -> None:
    """The result on standard output."""
    from rich.console import Console

    from kwta_theory.audit import text

    console = Console() if sys.stdout.isatty() else Console(width=10_000, no_color=True, force_terminal=False)
    console.print(head, markup=False, highlight=False, soft_wrap=True)
    for title, table in text.tables(found):
        console.print()
        console.print(title, markup=False, highlight=False, soft_wrap=True)
        console.print(table)
    console.print()
    for note in notes:
        console.print(f"Note. {note}", markup=False, highlight=False, soft_wrap=True)
