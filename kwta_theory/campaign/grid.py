"""Grids of parameters: from Python, from the command line, from a TOML file. Numbers and words, nothing evaluated."""

from __future__ import annotations

import itertools
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from kwta_theory.campaign.estimators import Value
from kwta_theory.campaign.task import Task
from kwta_theory.checks import InvalidArgumentError

LARGEST_GRID = 1_000_000


def values(name: str, given: object) -> list[Value]:
    """The values of one parameter.

    A number or a word is itself; a list or a text with commas is several; ``START:STOP:COUNT`` is evenly spaced, both
    ends included; ``START:STOP:COUNT:log`` is evenly spaced in the logarithm. Even spacing is computed in exact decimal
    arithmetic and rounded once.

    Raises:
        InvalidArgumentError: anything else.

    >>> values("cosine", "0.5:0.95:10")[:3], values("width", "100,1e4"), values("width", "1e2:1e4:3:log")
    ([0.5, 0.55, 0.6], [100, 10000.0], [100, 1000, 10000])
    """
    if isinstance(given, bool) or not isinstance(given, str | int | float | Sequence):
        raise InvalidArgumentError(f"{name}={given!r} is not allowed: it must be numbers, words or a range.")
    if isinstance(given, int | float):
        return [given]
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(given, str) and any(isinstance(part, Sequence) and not isinstance(part, str) for part in parts):
        raise InvalidArgumentError(f"{name}={given!r} is not allowed: a list holds numbers, words and ranges.")
    if not parts:
        raise InvalidArgumentError(f"{name} has no value: give at least one.")
    if isinstance(given, str):
        return [value for part in parts for value in _piece(name, part.strip())]
    return [value for part in parts for value in values(name, part)]


def _piece(name: str, text: str) -> list[Value]:
    if ":" in text:
        return _range(name, text)
    if not text:
        raise InvalidArgumentError(f"{name} has an empty value: write numbers or words between the commas.")
    return [_scalar(text)]


def _scalar(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _range(name: str, text: str) -> list[Value]:
    wrong = f"{name}={text!r} is not allowed: a range is START:STOP:COUNT or START:STOP:COUNT:log, COUNT at least 2."
    parts = text.split(":")
    spacing = parts.pop() if len(parts) == 4 else "even"
    try:
        start, stop, count = _decimal(parts[0]), _decimal(parts[1]), int(parts[2])
    except (ValueError, IndexError, ArithmeticError):
        raise InvalidArgumentError(wrong) from None
    if len(parts) != 3 or spacing not in ("even", "log") or not 2 <= count <= LARGEST_GRID:
        raise InvalidArgumentError(wrong)
    if spacing == "even":
        steps = [start + (stop - start) * i / (count - 1) for i in range(count)]
        return [int(step) if step.denominator == 1 else float(step) for step in steps]
    if min(start, stop) <= 0:
        raise InvalidArgumentError(f"{name}={text!r} is not allowed: the ends of a logarithmic range must be positive.")
    low, high = _log10(start), _log10(stop)
    # Twelve digits: what two libraries' logarithms agree on, so that the grid is the same everywhere.
    numbers = [float(f"{10 ** (low + (high - low) * i / (count - 1)):.12g}") for i in range(count)]
    numbers[0], numbers[-1] = float(start), float(stop)
    return [int(number) if number.is_integer() and number < 2**53 else number for number in numbers]


def _decimal(text: str) -> Fraction:
    """An exact decimal within the range of floats; a text such as 1e999999999 is not expanded."""
    number = Decimal(text)
    if not number.is_finite() or abs(number.adjusted()) > 308:
        raise ValueError
    return Fraction(number)


def _log10(number: Fraction) -> float:
    return math.log10(number.numerator) - math.log10(number.denominator)


def grid(
    estimator: str,
    /,
    *,
    chunk_trials: int | None = None,
    labels: Mapping[str, Value] | None = None,
    **parameters: object,
) -> list[Task]:
    """All combinations of the values, the last parameter fastest; a task that two combinations mean is listed once.

    Args:
        estimator: a registered name.
        chunk_trials: as in :meth:`Task.of`.
        labels: of every task.
        **parameters: each as in :func:`values`.

    Raises:
        InvalidArgumentError: a combination that is not allowed, with its values; a grid above a million tasks.

    >>> len(grid("disjoint-patterns", width=[100, 1000], k="1,2,4", cosine="0.5:0.9:5"))
    30
    """
    axes = {name: values(name, given) for name, given in parameters.items()}
    size = math.prod(len(axis) for axis in axes.values())
    if size > LARGEST_GRID:
        raise InvalidArgumentError(f"the grid has {size:,} combinations: it may have at most {LARGEST_GRID:,}.")
    tasks: dict[Task, None] = {}
    for combination in itertools.product(*axes.values()):
        chosen = dict(zip(axes, combination, strict=True))
        try:
            tasks.setdefault(Task.of(estimator, chunk_trials=chunk_trials, labels=labels, **chosen))
        except InvalidArgumentError as error:
            where = ", ".join(f"{name}={value}" for name, value in chosen.items())
            raise InvalidArgumentError(f"{error} (at {where})" if where else str(error)) from None
    return list(tasks)


def read_grid(path: str | os.PathLike[str]) -> list[Task]:
    """Tasks from a TOML file: one or more tables ``[[sweep]]``.

    Each has ``estimator``, a table ``grid`` of parameters with values as in :func:`values`, and may have
    ``chunk_trials`` and a table ``labels``::

        [[sweep]]
        estimator = "disjoint-patterns"
        grid = { width = [100, 1e4], k = 1, cosine = "0.5:0.95:10" }

    Raises:
        InvalidArgumentError: a file that cannot be read, is not TOML, or holds something else; it names the file.
    """
    path = Path(path)
    title = f"grid {str(path)!r}"
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidArgumentError(f"{title} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{title} is not TOML: {error}.") from None
    sweeps = record.get("sweep")
    if set(record) != {"sweep"} or not isinstance(sweeps, list) or not all(isinstance(s, dict) for s in sweeps):
        raise InvalidArgumentError(f"{title} must hold tables [[sweep]] and nothing else.")
    try:
        return list(dict.fromkeys(task for sweep in sweeps for task in _sweep(sweep)))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{title}: {error}") from None


def _sweep(sweep: dict[str, Any]) -> list[Task]:
    unknown = sorted(set(sweep) - {"estimator", "grid", "chunk_trials", "labels"})
    if unknown:
        raise InvalidArgumentError(
            f"{unknown[0]!r} is not known in [[sweep]]: it has estimator, grid, chunk_trials and labels."
        )
    parameters, labels = sweep.get("grid"), sweep.get("labels", {})
    if not isinstance(sweep.get("estimator"), str) or not isinstance(parameters, dict) or not isinstance(labels, dict):
        raise InvalidArgumentError(
            "[[sweep]] must have a text estimator, a table grid, and labels, if any, as a table."
        )
    reserved = sorted({"chunk_trials", "labels"} & set(parameters))
    if reserved:
        raise InvalidArgumentError(f"{reserved[0]!r} is no parameter: write it beside grid, in [[sweep]].")
    return grid(sweep["estimator"], chunk_trials=sweep.get("chunk_trials"), labels=labels, **parameters)
