"""An experiment: tasks or a table, the exact values beside them, figures; and the command line that every script has.

A script says what is sampled and what theory gives; :func:`main` samples it (a killed run goes on where it was), writes
``NAME.csv``, draws each figure as PNG and SVG with n, seed and the meaning of its intervals below it, and says how many
intervals contain the exact value. All intervals of an experiment hold together with probability at least 0.999.

The numbers depend on the script, the budget and the seed: not on the workers, an interruption, or on what else the
ledger holds, because each task is read up to the first chunk at which its rule is met.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from matplotlib.figure import Figure

from kwta_theory import campaign, checks
from kwta_theory.campaign.export import columns
from kwta_theory.campaign.ledger import LARGEST_SEED, Total
from kwta_theory.campaign.progress import reporter
from kwta_theory.campaign.task import shown
from kwta_theory.report import files, plots

BUDGETS = ("quick", "standard", "thorough")
# Probability that any interval of an experiment misses; its intervals share it equally.
ERROR = 1e-3
INTERRUPTED = 130
ROUNDING = 1e-9
# Rows of the table on standard output; the file has them all.
MOST_ROWS = 20
Row = dict[str, Any]
Value = float | tuple[float, float] | None


@dataclass(frozen=True)
class Found:
    """What the figures are drawn from.

    Attributes:
        rows: one for each task and outcome, as :func:`kwta_theory.campaign.rows` without the seconds, with ``exact``
            (or ``exact_lower`` and ``exact_upper``), ``log_exact`` and ``inside`` where the experiment gives them;
            the rows of its table where it has no tasks.
        table: the rows of the table, if the experiment has one.
        budget: ``"quick"``, ``"standard"`` or ``"thorough"``.
        seed: of the streams.
        caption: what stands below every figure that has no caption of its own.
    """

    rows: Sequence[Row]
    table: Sequence[Row]
    budget: str
    seed: int
    caption: str

    def select(self, *order: str, **equal: object) -> list[Row]:
        """The rows whose columns have these values, sorted by the columns named in ``order``.

        A column is also found as a label: ``beta=0.1`` where the task was given ``beta`` and holds its cosine.

        Raises:
            InvalidArgumentError: a column that no row has.
        """
        return select(self.rows, *order, **equal)


@dataclass(frozen=True)
class Experiment:
    """One experiment.

    Args:
        name: of its folder and its table; a Python identifier.
        summary: what ``--help`` shows: the docstring of the script.
        figures: for each file stem (the name, or beginning with the name and ``_``) a function that draws it.
        tasks: for a budget what is sampled.
        until: for a budget when a task has enough: trials, relative-error or decided, never seconds. Its error is
            replaced by this experiment's share.
        exact: theory's value for a row: a number, two between which the value is known to lie, or None.
        log_exact: its natural logarithm, where the value is too small for a float; then ``exact`` may be left out.
        table: for a budget and a seed rows that need no campaign: exact values, bounds. A column ``inside`` (True or
            False) is counted like that of a task.
        note: sentences that go before the caption.
        seed: the default of ``--seed``.
    """

    name: str
    summary: str
    figures: Mapping[str, Callable[[Found], Figure]]
    tasks: Callable[[str], Sequence[campaign.Task]] | None = None
    until: Callable[[str], campaign.Until] | None = None
    exact: Callable[[Row], Value] | None = None
    log_exact: Callable[[Row], float | None] | None = None
    table: Callable[[str, int], Iterable[Mapping[str, Any]]] | None = None
    note: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise checks.InvalidArgumentError(f"name={self.name!r} is not allowed: it must be letters, digits and _.")
        if (self.tasks is None) != (self.until is None) or (self.tasks is None and self.table is None):
            raise checks.InvalidArgumentError(f"{self.name} must have tasks with until, or a table, or both.")
        for stem in self.figures:
            if stem != self.name and not stem.startswith(f"{self.name}_"):
                raise checks.InvalidArgumentError(f"figure {stem!r} must begin with {self.name + '_'!r}.")


def main(experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """The command line of a script: ``raise SystemExit(main(EXPERIMENT))``.

    Returns:
        0: done. 1: an interval misses the exact value, a comparison fails, or the ledger, the workers or an estimator
        failed. 2: bad use. 130: interrupted; what was finished is kept.
    """
    options = _parser(experiment).parse_args(arguments)
    folder = options.results or Path("results") / experiment.name
    try:
        _make(folder)
        found = measure(
            experiment, folder, options.budget, seed=options.seed, workers=options.workers, quiet=options.quiet
        )
        write(experiment, found, folder)
    except checks.InvalidArgumentError as error:
        return _said(experiment, error, 2)
    except (campaign.LedgerError, campaign.EstimatorError, campaign.BackendError) as error:
        return _said(experiment, error, 1)
    except KeyboardInterrupt:
        return _said(experiment, "interrupted; what was finished is kept.", INTERRUPTED)
    _print(found.rows)
    sentence, right = verdict(found)
    print(sentence)
    print(f"Written to {folder}.")
    return 0 if right else 1


def measure(
    experiment: Experiment, folder: Path, budget: str, *, seed: int = 0, workers: int = 1, quiet: bool = True
) -> Found:
    """Sample what is missing in ``folder / "ledger.db"``, and put theory beside it.

    Raises:
        InvalidArgumentError: a budget that is not known, what the tasks or the campaign refuse.
        LedgerError, EstimatorError, BackendError: as :func:`kwta_theory.campaign.run`.
    """
    if budget not in BUDGETS:
        raise checks.InvalidArgumentError(f"budget={budget!r} is not known: it must be one of {', '.join(BUDGETS)}.")
    checks.check_integer("seed", seed, 0, LARGEST_SEED)
    checks.check_integer("workers", workers, minimum=1)
    table = [dict(row) for row in experiment.table(budget, seed)] if experiment.table else []
    if experiment.tasks is None or experiment.until is None:
        return Found(table, table, budget, seed, experiment.note)
    tasks = _once(experiment.tasks(budget))
    until = experiment.until(budget)
    if until.seconds is not None:
        raise checks.InvalidArgumentError("until has seconds: an experiment stops by its data, the same everywhere.")
    until = dataclasses.replace(until, error=ERROR / max(1, sum(len(task.outcomes) for task in tasks)))
    with campaign.Ledger(folder / "ledger.db") as ledger, reporter(quiet) as report:
        campaign.run(tasks, ledger, until, seed=seed, workers=workers, report=report)
        counted = {task: _prefix(ledger, task, seed, until) for task in tasks}
    # `rows` asks a ledger for its tasks and their totals, and these are the ones that count here.
    rows = [_beside(experiment, row) for row in campaign.rows(cast(campaign.Ledger, _Counted(counted)), until.error)]
    return Found(rows, table, budget, seed, " ".join(filter(None, (experiment.note, _caption(rows, seed)))))


def write(experiment: Experiment, found: Found, folder: Path) -> None:
    """The table as CSV, then each figure as PNG and SVG; each file whole or not at all, the same bytes each time."""
    files.check_folder(folder)
    try:
        files.write_text(folder / f"{experiment.name}.csv", as_csv(found.rows))
        if found.table and found.table is not found.rows:
            files.write_text(folder / f"{experiment.name}_table.csv", as_csv(found.table))
        for stem, draw in experiment.figures.items():
            with plots.house_style():
                figure = draw(found)
                if found.caption and not plots.captions(figure):
                    plots.caption(figure, found.caption)
                files.write_figure(folder / f"{stem}.png", figure)
                files.write_text(folder / f"{stem}.svg", plots.as_svg(figure))
    except OSError as error:
        raise checks.InvalidArgumentError(f"{str(folder)!r} cannot be written: {error.strerror or error}.") from None


def verdict(found: Found) -> tuple[str, bool]:
    """How many intervals contain the exact value, how many comparisons of the table hold, and whether all do."""
    sampled = [row["inside"] for row in found.rows if "error" in row and row.get("inside") is not None]
    compared = [row["inside"] for row in found.table if row.get("inside") is not None]
    parts = []
    if sampled:
        parts.append(
            f"{sum(sampled)} of {len(sampled)} intervals contain the exact value; all intervals "
            f"{_together(found.rows)}."
        )
    if compared:
        parts.append(f"{sum(map(bool, compared))} of {len(compared)} comparisons of the table hold.")
    return " ".join(parts) or "There is no exact value to compare with.", all(sampled) and all(compared)


def select(rows: Sequence[Row], *order: str, **equal: object) -> list[Row]:
    """See :meth:`Found.select`."""
    for name in (*order, *equal):
        if rows and not any(name in row or f"label_{name}" in row for row in rows):
            raise checks.InvalidArgumentError(f"no row has a column {name!r}: there are {', '.join(rows[0])}.")
    chosen = [row for row in rows if all(column(row, name) == value for name, value in equal.items())]

    def place(row: Row) -> list[tuple[bool, bool, Any]]:
        """Numbers in their order, then words, then what is missing."""
        values = [column(row, name) for name in order]
        return [(value is None, isinstance(value, str), "" if value is None else value) for value in values]

    return sorted(chosen, key=place)


def column(row: Row, name: str) -> Any:
    """The value of a column, or of the label of this name; None where there is neither."""
    return row.get(name, row.get(f"label_{name}"))


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV, columns in the order of their first appearance; numbers with the digits that give them back."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([["" if row.get(name) is None else row[name] for name in names] for row in rows])
    return stream.getvalue()


@dataclass(frozen=True)
class _Counted:
    """The part of a ledger that counts, as far as :func:`kwta_theory.campaign.rows` looks at one."""

    counted: Mapping[campaign.Task, Total]

    def tasks(self) -> list[campaign.Task]:
        return list(self.counted)

    def totals(self, task: campaign.Task) -> list[Total]:
        return [self.counted[task]]


def _once(tasks: Iterable[campaign.Task]) -> list[campaign.Task]:
    """Each task once, with the labels of all places where it is listed; the first wins where they disagree."""
    merged: dict[campaign.Task, campaign.Task] = {}
    for task in tasks:
        earlier = merged.get(task, task)
        merged[task] = dataclasses.replace(earlier, labels={**task.labels, **earlier.labels})
    return list(merged.values())


def _prefix(ledger: campaign.Ledger, task: campaign.Task, seed: int, until: campaign.Until) -> Total:
    """The chunks up to the first at which a rule is met; a larger budget may have left more in the ledger."""
    tally, number = campaign.Tally(), 0
    for chunk in ledger.chunks(task, seed):
        if until.met(task, tally) is not None:
            break
        tally, number = tally + chunk.tally, number + 1
    return Total(seed, number, tally, 0.0)


def _beside(experiment: Experiment, row: Row) -> Row:
    """The row with theory's value, and whether the interval contains it; without the seconds, which no two runs share.

    A value that is only known to lie between two numbers is inside, unless the interval excludes all between them.
    Exact values carry rounding: a part in 1e9 is allowed for it, far less than any interval is wide.
    """
    row = {name: row.get(name) for name in columns([row]) if name != "seconds"}
    if experiment.exact is None and experiment.log_exact is None:
        return row
    logarithm = experiment.log_exact(row) if experiment.log_exact else None
    value = experiment.exact(row) if experiment.exact else None if logarithm is None else math.exp(logarithm)
    bracket = value if isinstance(value, tuple) else None
    low, high = bracket or (cast("float | None", value),) * 2
    row["exact"] = None if bracket else value
    if bracket:
        row |= {"exact_lower": low, "exact_upper": high}
    if experiment.log_exact:
        row["log_exact"] = logarithm
    row["inside"] = None
    if low is not None and high is not None:
        slack = ROUNDING * max(abs(low), abs(high))
        row["inside"] = bool(row["lower"] <= high + slack and low - slack <= row["upper"])
    return row


def _caption(rows: Sequence[Row], seed: int) -> str:
    trials = [row["trials"] for row in rows]
    if not trials:
        return ""
    count = f"{min(trials):,}" if min(trials) == max(trials) else f"{min(trials):,} to {max(trials):,}"
    parts = [f"Points with bars: simulation, n = {count} trials each, seed {seed}; all intervals {_together(rows)}."]
    if any(row["kind"] != "value" and row["estimate"] in (0.0, 1.0) for row in rows):
        parts.append("A triangle: seen in no trial (in all), so only the upper (lower) end of the interval is marked.")
    return " ".join(parts)


def _together(rows: Sequence[Row]) -> str:
    limit = " (means without known bounds: in the limit of many trials)"
    asymptotic = any(row.get("kind") == "value" for row in rows)
    return f"hold together with probability at least {1 - ERROR:g}{limit if asymptotic else ''}"


def _print(rows: Sequence[Row]) -> None:
    """A short table on standard output: what varies, the estimate, theory. Intervals that miss come first."""
    rows = sorted(rows, key=lambda row: row.get("inside") is not False)
    fixed = {"task", "estimator", "version", "kind", "chunk_trials", "seeds", "successes", "variance", "interval",
             "error", "estimate", "lower", "upper", "log_exact", "exact_lower", "exact_upper"}  # fmt: skip
    names = list(dict.fromkeys(name for row in rows for name in row if name not in fixed))
    varying = [name for name in names if len({row.get(name) for row in rows}) > 1 or name in ("exact", "inside")]
    sampled = bool(rows) and {"estimate", "lower", "upper"} <= rows[0].keys()

    def cells(row: Row) -> list[str]:
        numbers = [f"{shown(row['estimate'])} in [{shown(row['lower'])}, {shown(row['upper'])}]"] if sampled else []
        return [*("" if row.get(name) is None else shown(row[name]) for name in varying), *numbers]

    heads = [name.removeprefix("label_") for name in varying] + ["estimate"] * sampled
    table = [heads, *(cells(row) for row in rows[:MOST_ROWS])]
    widths = [max(map(len, entries)) for entries in zip(*table, strict=True)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if len(rows) > MOST_ROWS:
        print(f"{len(rows) - MOST_ROWS} more rows in the file.")


def _parser(experiment: Experiment) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=experiment.name,
        description=experiment.summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--budget", choices=BUDGETS, default="quick", help="how much is computed [quick]")
    parser.add_argument("--seed", type=int, default=experiment.seed, help=f"of every stream [{experiment.seed}]")
    workers = min(2, os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=workers, help=f"processes; changes no number [{workers}]")
    place = f"where files go; made when new [results/{experiment.name}]"
    parser.add_argument("--results", type=Path, metavar="DIR", help=place)
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise checks.InvalidArgumentError(f"results={str(folder)!r} cannot be made: {reason}.") from None
    files.check_folder(folder)


def _said(experiment: Experiment, what: object, code: int) -> int:
    print(f"{experiment.name}: {what}", file=sys.stderr)
    return code
