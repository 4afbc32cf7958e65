"""A ledger as a table: one row for each task and outcome, in an order that does not depend on how it was filled."""

from __future__ import annotations

import csv
import importlib
import io
import os
from pathlib import Path
from typing import Any

from kwta_theory.campaign.estimate import ERROR, estimate
from kwta_theory.campaign.ledger import Ledger
from kwta_theory.campaign.tally import Tally
from kwta_theory.campaign.task import Task
from kwta_theory.checks import InvalidArgumentError

ENDINGS = (".csv", ".parquet")
_FIRST = ("task", "estimator", "version")
_LAST = (
    *("outcome", "kind", "trials", "chunk_trials", "seeds", "successes", "estimate", "lower", "upper", "variance"),
    *("interval", "error", "seconds"),
)
Row = dict[str, Any]


def rows(ledger: Ledger, error: float = ERROR) -> list[Row]:
    """One row for each task and outcome that has trials; trials of different seeds are pooled.

    Columns: ``task`` (its identity), ``estimator``, ``version``; the parameters; the labels, as ``label_NAME``; then
    ``outcome``, its ``kind``, ``trials``, ``chunk_trials``, ``seeds`` (joined by spaces), ``successes`` (events only),
    ``estimate``, ``lower``, ``upper``, the sample ``variance`` of one trial, ``interval`` (how it is valid), ``error``
    (of the interval), and last the ``seconds`` of drawing. What does not apply is None.
    """
    found: list[Row] = []
    for task in sorted(ledger.tasks(), key=_order):
        totals = ledger.totals(task)
        tally = sum((total.tally for total in totals), Tally())
        if not tally.trials:
            continue
        common: Row = {"task": task.id, "estimator": task.estimator, "version": task.version, **task.parameters}
        common |= {f"label_{name}": value for name, value in sorted(task.labels.items())}
        for outcome in task.outcomes:
            number = estimate(tally, outcome, error)
            found.append(
                common
                | {
                    "outcome": outcome.name,
                    "kind": outcome.kind,
                    "trials": tally.trials,
                    "chunk_trials": task.chunk_trials,
                    "seeds": " ".join(str(total.seed) for total in totals),
                    "successes": tally.counts.get(outcome.name),
                    "estimate": number.value,
                    "lower": number.interval.lower,
                    "upper": number.interval.upper,
                    "variance": tally.variance(outcome.name) if tally.trials > 1 else None,
                    "interval": number.method,
                    "error": error,
                    "seconds": sum(total.seconds for total in totals),
                }
            )
    return found


def columns(table: list[Row]) -> list[str]:
    """The names of all columns: what identifies a row, its parameters and labels, the numbers, the seconds last."""
    middle = sorted({name for row in table for name in row} - {*_FIRST, *_LAST})
    parameters = [name for name in middle if not name.startswith("label_")]
    return [*_FIRST, *parameters, *(name for name in middle if name.startswith("label_")), *_LAST]


def check_export(path: str | os.PathLike[str]) -> Path:
    """Refuse a file that cannot be written, or whose ending names no format, before anything is computed."""
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InvalidArgumentError(f"{str(path)!r} must end in {' or '.join(ENDINGS)}.")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InvalidArgumentError(
            f"{str(path)!r} cannot be written: it is a directory, or its directory is not there."
        )
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise InvalidArgumentError(f"{str(path)!r} cannot be written: permission is denied.")
    return path


def export(ledger: Ledger, path: str | os.PathLike[str], error: float = ERROR) -> None:
    """Write :func:`rows` to a ``.csv`` or ``.parquet`` file, whole or not at all.

    Numbers in CSV have the fewest digits that give them back. Parquet needs the package pyarrow.

    Raises:
        InvalidArgumentError: another ending, a place that cannot be written, no pyarrow.
    """
    path = check_export(path)
    table = rows(ledger, error)
    data = _csv(table) if path.suffix.lower() == ".csv" else _parquet(table)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as trouble:
        raise InvalidArgumentError(f"{str(path)!r} cannot be written: {trouble.strerror or trouble}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _order(task: Task) -> tuple[object, ...]:
    """By estimator, then by parameters, numbers in their order and before words."""
    pairs = [(name, isinstance(v, str), 0 if isinstance(v, str) else v, str(v)) for name, v in task.parameters.items()]
    return task.estimator, sorted(pairs), task.id


def _csv(table: list[Row]) -> bytes:
    names = columns(table)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([["" if row.get(name) is None else row[name] for name in names] for row in table])
    return text.getvalue().encode()


def _parquet(table: list[Row]) -> bytes:
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InvalidArgumentError("a .parquet file needs the package pyarrow: install kwta-theory[parquet].") from None
    content: dict[str, list[Any]] = {}
    for name in columns(table):
        values = [row.get(name) for row in table]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) > 1:  # one type for a column: floats, or where words are among them text
            convert = str if str in kinds else float
            values = [None if value is None else convert(value) for value in values]
        content[name] = values
    stream = io.BytesIO()
    parquet.write_table(pyarrow.table(content), stream)
    return stream.getvalue()
