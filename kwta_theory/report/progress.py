"""Progress of a run on standard error: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Live

from kwta_theory.statements.run import Progress


@contextlib.contextmanager
def reporter(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """A callback for :func:`kwta_theory.statements.verify`.

    Live in a terminal; one plain line for each verdict when standard error is not one or ``NO_COLOR`` is set.
    """
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        with Live(*columns, console=Console(stderr=True), transient=True) as live:
            task = live.add_task("starting")
            yield lambda step: live.update(task, completed=step.done, total=step.total or None, description=step.label)
    else:
        started = time.perf_counter()

        def show(step: Progress) -> None:
            seconds = time.perf_counter() - started
            if step.total == 0:
                print(f"{seconds:.0f} s  {step.label}", file=sys.stderr, flush=True)
            elif step.verdict is not None:
                line = f"[{step.done}/{step.total}] {seconds:.0f} s  {step.label}: {step.verdict.outcome.name}"
                print(line, file=sys.stderr, flush=True)

        yield show
