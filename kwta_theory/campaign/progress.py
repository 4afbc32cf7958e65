"""Progress of a campaign on standard error: one live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.table import Table

from kwta_theory.campaign.estimators import Value
from kwta_theory.campaign.runner import Report, Status
from kwta_theory.campaign.task import Task, shown
from kwta_theory.campaign.until import Until

# Seconds between plain lines about a task that is not finished.
PLAIN_SECONDS = 10.0
# Trials without the event from which a person is told that a relative error may never be reached.
UNSEEN_TRIALS = 10_000
# Lines of the live table that are no tasks: title, borders, names, caption, the line below.
_FRAME = 10
_FEWEST_ROWS = 3


@contextlib.contextmanager
def reporter(quiet: bool = False, until: Until | None = None) -> Iterator[Report]:
    """A callback for :func:`kwta_theory.campaign.run`.

    A table that is redrawn in a terminal; lines where standard error is none, where ``NO_COLOR`` is set, or where the
    terminal cannot move its cursor (``TERM=dumb``).

    Args:
        quiet: say nothing.
        until: the rules of the run: where only a relative error ends it, events that do not happen are pointed out.
    """
    console = Console(stderr=True)
    endless = until is not None and needs_event(until)
    started = time.monotonic()
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty() and not console.is_dumb_terminal and "NO_COLOR" not in os.environ:
        with Live(console=console, refresh_per_second=5) as live:
            yield lambda statuses: live.update(
                table(statuses, time.monotonic() - started, console.width, console.height, endless=endless)
            )
            # The result follows in the same terminal; after an interruption the table is all there is, and stays.
            live.transient = sys.stdout.isatty()
    else:
        yield PlainLines(endless=endless)


def needs_event(until: Until) -> bool:
    """Whether a task whose event never happens would run for ever.

    >>> needs_event(Until(relative_error=0.05)), needs_event(Until(relative_error=0.05, trials=10))
    (True, False)
    """
    other = until.trials is not None or until.seconds is not None or bool(until.decided)
    return until.relative_error is not None and not other


class PlainLines:
    """One line when a task is finished, and every ten seconds one for the run.

    Args:
        endless: point out events that have not happened.
        clock: seconds, from any origin.
    """

    def __init__(self, *, endless: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._endless = endless
        self._clock = clock
        self._started = self._last = clock()
        self._names: dict[str, str] = {}
        self._said: set[str] = set()
        self._warning = ""

    def __call__(self, statuses: Sequence[Status]) -> None:
        """Say what is new."""
        if not self._names:
            self._begin(statuses)
        for status in statuses:
            if status.met is not None and status.task.id not in self._said:
                self._said.add(status.task.id)
                self._say(f"{self._names[status.task.id]}: {number(status)}, {trials(status)} ({status.met})")
        now = self._clock()
        if now - self._last >= PLAIN_SECONDS and any(status.met is None for status in statuses):
            self._last = now
            self._say(summary(statuses))
            warning = unseen(statuses) if self._endless else ""
            if warning and warning != self._warning:
                self._say(warning)
            self._warning = warning

    def _begin(self, statuses: Sequence[Status]) -> None:
        common, self._names = names([status.task for status in statuses])
        self._say(f"{counted(len(statuses), 'task')}: {common}" if common else counted(len(statuses), "task"))
        before = [status.task.id for status in statuses if status.met is not None and not status.drawn]
        if before:
            self._said.update(before)
            self._say(f"{len(before)} of {counted(len(statuses), 'task')} had enough before this run")

    def _say(self, text: str) -> None:
        print(f"{self._clock() - self._started:.0f} s  {text}", file=sys.stderr, flush=True)


def table(
    statuses: Sequence[Status], seconds: float, width: int = 80, height: int = 24, *, endless: bool = False
) -> Table:
    """The tasks, those that are open first, as many as fit the terminal; the caption counts all of them."""
    common, heads, own = columns([status.task for status in statuses])
    ordered = sorted(statuses, key=lambda status: status.met is not None)
    cells = [[*own[status.task.id], *live_cells(status)] for status in ordered[: max(_FEWEST_ROWS, height - _FRAME)]]
    hidden = len(statuses) - len(cells)
    caption = f"{summary(statuses)}, {time_text(seconds)} so far" + (f"; {hidden} not shown" if hidden else "")
    warning = unseen(statuses) if endless else ""
    result = Table(
        title=escaped(common), caption=escaped(f"{caption}\n{warning}".strip()), caption_justify="left", box=box.SIMPLE
    )
    names = [*heads, "estimate", "interval", "trials", "time left"]
    # Numbers stay whole: where the terminal is narrow, a long name of a task is cut.
    rest = sum(max(len(text) for text in column) + 2 for column in list(zip(names, *cells, strict=True))[len(heads) :])
    for name in names:
        most = max(8, width - rest - 2 - (len(names) + 1)) if name == "task" else None
        justify: JustifyMethod = "left" if name == "task" else "right"
        result.add_column(escaped(name), justify=justify, no_wrap=True, overflow="ellipsis", max_width=most)
    for row in cells:
        result.add_row(*map(escaped, row))
    return result


def live_cells(status: Status) -> list[str]:
    """Estimate and interval with few digits, trials, and the time left or the rule that was met."""
    found = status.estimate
    value = "" if found.value is None else f"{found.value:.4g}"
    between = f"[{found.interval.lower:.4g}, {found.interval.upper:.4g}]"
    return [value, between, f"{found.trials:,}", status.met or time_text(status.seconds_left)]


def columns(tasks: Sequence[Task]) -> tuple[str, list[str], dict[str, list[str]]]:
    """What some tasks have in common; the names of what differs; and for each identity its values of those.

    >>> tasks = [Task.of("same-pattern", width=width, k=1, cosine=0.5) for width in (8, 9)]
    >>> common, heads, cells = columns(tasks)
    >>> common, heads, list(cells.values())
    ('same-pattern cosine=0.5 device=cpu k=1 margin=0: same', ['width'], [['8'], ['9']])
    """
    if len({task.estimator for task in tasks}) != 1:
        return "", ["task"], {task.id: [task.title] for task in tasks}
    values: dict[str, set[Value | None]] = {}
    for name in sorted({name for task in tasks for name in task.parameters}, key=_importance):
        values[name] = {task.parameters.get(name) for task in tasks}
    if len({tuple(task.parameters.items()) for task in tasks}) < len(tasks):
        values["chunk_trials"] = {task.chunk_trials for task in tasks}
    heads = [name for name, there in values.items() if len(there) > 1]
    # Six digits, or all of them where six would make two values look alike.
    full = {
        name for name in heads if len({shown(v) for v in values[name] if v is not None}) < len(values[name] - {None})
    }

    def cell(task: Task, name: str) -> str:
        value = task.chunk_trials if name == "chunk_trials" else task.parameters.get(name)
        return "" if value is None else str(value) if name in full else shown(value)

    first = tasks[0]
    same = [f"{name}={shown(value)}" for name, value in first.parameters.items() if name not in heads]
    common = f"{' '.join([first.estimator, *same])}: {first.primary.name}"
    return common, heads, {task.id: [cell(task, name) for name in heads] for task in tasks}


def _importance(name: str) -> tuple[bool, bool, str]:
    """The size of the layer first, then the alphabet."""
    return name not in ("width", "log_width"), name != "k", name


def names(tasks: Sequence[Task]) -> tuple[str, dict[str, str]]:
    """The same as text, for lines: what is common, and for each identity a short name.

    >>> tasks = [Task.of("same-pattern", width=width, k=1, cosine=0.5) for width in (8, 9)]
    >>> list(names(tasks)[1].values())
    ['width=8', 'width=9']
    """
    common, heads, cells = columns(tasks)
    if heads in ([], ["task"]):
        return "", {task.id: task.title for task in tasks}
    pairs = {key: zip(heads, row, strict=True) for key, row in cells.items()}
    return common, {key: " ".join(f"{name}={text}" for name, text in row if text) for key, row in pairs.items()}


def summary(statuses: Sequence[Status]) -> str:
    """The whole run in one line."""
    left = [status.seconds_left for status in statuses if status.met is None]
    done = f"{len(statuses) - len(left)} of {counted(len(statuses), 'task')} finished"
    drawn = f"{sum(status.estimate.trials for status in statuses):,} trials"
    if not left:
        return f"{done}, {drawn}"
    # The forecast of a task allows for its neighbours, so the longest is that of the run.
    return f"{done}, {drawn}, time left {time_text(max(left))}"


def unseen(statuses: Sequence[Status]) -> str:
    """A warning where open tasks have seen nothing but zeros in many trials; else an empty text."""
    zeros = [s for s in statuses if s.met is None and s.estimate.value == 0 and s.estimate.trials >= UNSEEN_TRIALS]
    if not zeros:
        return ""
    least = min(status.estimate.trials for status in zeros)
    return (
        f"{counted(len(zeros), 'open task')} with estimate 0 after at least {least:,} trials: relative-error is never "
        "met at 0; give --until trials=N or seconds=N as well (Ctrl-C and the same ledger lose nothing)"
    )


def number(status: Status) -> str:
    """The estimate with its interval."""
    found = status.estimate
    return "unknown" if found.value is None else f"{shown(found.value)} in {interval(status)}"


def interval(status: Status) -> str:
    """The interval of the estimate."""
    found = status.estimate.interval
    return f"[{shown(found.lower)}, {shown(found.upper)}]"


def trials(status: Status) -> str:
    """How many trials count."""
    return counted(status.estimate.trials, "trial")


def counted(count: int, what: str) -> str:
    """A number and its noun.

    >>> counted(1, "task"), counted(2000, "trial")
    ('1 task', '2,000 trials')
    """
    return f"{count:,} {what}{'s' * (count != 1)}"


def escaped(text: str) -> str:
    """Text whose brackets rich leaves alone."""
    return text.replace("[", r"\[")


def time_text(seconds: float) -> str:
    """Seconds in the unit that fits; "unknown" where there is no forecast.

    >>> [time_text(seconds) for seconds in (12.3, 600, 9000, 4e5, 1e9)]
    ['12 s', '10 min', '2.5 h', '4.6 days', '32 years']
    """
    if not math.isfinite(seconds):
        return "unknown"
    for limit, unit, digits, name in (
        (100, 1, 0, "s"),
        (6000, 60, 0, "min"),
        (2 * 86400, 3600, 1, "h"),
        (2 * 31557600, 86400, 1, "days"),
    ):
        if seconds < limit:
            return f"{seconds / unit:.{digits}f} {name}"
    return f"{seconds / 31557600:,.0f} years"
