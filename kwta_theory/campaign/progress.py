"""Progress of a campaign on standard error: one live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from kwta_theory.campaign.runner import Report, Status
from kwta_theory.campaign.task import shown

# Rows of the live table: what is still open comes first.
MOST_ROWS = 20
# Seconds between plain lines about a task that is not finished.
PLAIN_SECONDS = 10.0


@contextlib.contextmanager
def reporter(quiet: bool = False) -> Iterator[Report]:
    """A callback for :func:`kwta_theory.campaign.run`: a table in a terminal, else (or with ``NO_COLOR``) lines."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        with Live(console=Console(stderr=True), refresh_per_second=5) as live:
            yield lambda statuses: live.update(table(statuses))
    else:
        yield PlainLines()


class PlainLines:
    """One line when a task is finished, and every ten seconds one for the run."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()
        self._said: set[str] = set()

    def __call__(self, statuses: Sequence[Status]) -> None:
        """Say what is new."""
        now = time.monotonic()
        seconds = now - self._started
        for status in statuses:
            if status.met is not None and status.task.id not in self._said:
                self._said.add(status.task.id)
                print(f"{seconds:.0f} s  {sentence(status)}", file=sys.stderr, flush=True)
        open_tasks = [status for status in statuses if status.met is None]
        if open_tasks and now - self._last >= PLAIN_SECONDS:
            self._last = now
            trials = sum(status.estimate.trials for status in statuses)
            left = max(status.seconds_left for status in open_tasks)
            print(
                f"{seconds:.0f} s  {len(statuses) - len(open_tasks)} of {len(statuses)} tasks finished, "
                f"{trials:,} trials, {time_left(left)} left",
                file=sys.stderr,
                flush=True,
            )


def sentence(status: Status) -> str:
    """One task in one line."""
    found = status.estimate
    return f"{status.task.title}: {found.outcome} {number(status)}, {found.trials:,} trials ({status.met or 'open'})"


def number(status: Status) -> str:
    """The estimate with its interval."""
    found = status.estimate
    if found.value is None:
        return "unknown"
    return f"{shown(found.value)} in [{shown(found.interval.lower)}, {shown(found.interval.upper)}]"


def table(statuses: Sequence[Status]) -> Table:
    """The tasks, those that are open first; what does not fit is counted in the caption."""
    ordered = sorted(statuses, key=lambda status: status.met is not None)
    finished = sum(status.met is not None for status in statuses)
    result = Table(caption=f"{finished} of {len(statuses)} tasks finished")
    for name in ("task", "estimate", "interval", "trials", "time left"):
        result.add_column(name, justify="left" if name == "task" else "right")
    for status in ordered[:MOST_ROWS]:
        found = status.estimate
        value = "" if found.value is None else shown(found.value)
        interval = f"[{shown(found.interval.lower)}, {shown(found.interval.upper)}]"
        left = status.met or time_left(status.seconds_left)
        result.add_row(*(text.replace("[", r"\[") for text in (status.task.title, value, interval)),
                       f"{found.trials:,}", left)  # fmt: skip
    if len(statuses) > MOST_ROWS:
        result.caption = f"{result.caption}; {len(statuses) - MOST_ROWS} more"
    return result


def time_left(seconds: float) -> str:
    """Seconds in the unit that fits; "unknown" where there is no forecast.

    >>> time_left(12.3), time_left(600), time_left(9000)
    ('12 s', '10 min', '2.5 h')
    """
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
