"""The verdicts as a table and as sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from kwta_theory.statements import words
from kwta_theory.statements.finding import Finding, Says
from kwta_theory.statements.verdict import LogBracket, Measurement, Outcome, Verdict

COLUMNS = ("statement", "inputs", "width", "parameters", "claimed", "measured", "exact", "verdict", "s")
STYLES = {Outcome.HOLDS: "green", Outcome.REFUTED: "bold red", Outcome.UNDECIDED: "yellow", Outcome.VACUOUS: "cyan"}


def measured_words(measured: Measurement | None, findings: Sequence[Finding] = ()) -> str:
    """The observed frequency of the conclusion, its interval and its n; for an outright claim what searches found."""
    searched = [f"{f.against:,} against in {f.instances:,}" for f in findings if f.says is not Says.SETTLES]
    if searched:
        return "; ".join(searched)
    if measured is None:
        return "-"
    trials, interval = measured.failures.trials, measured.interval
    low, high = 1 - interval.upper, 1 - interval.lower
    still = f", {measured.open:,} open" if measured.open else ""
    return f"{measured.held / trials:.4g} [{low:.4g}, {high:.4g}] n={trials:,}{still}"


def exact_words(exact: LogBracket | None, findings: Sequence[Finding] = ()) -> str:
    """The probability of the conclusion by the exact law, or its bracket; for an outright claim what settled it."""
    settled = [f"true: {f.route}" for f in findings if f.says is Says.SETTLES]
    if settled:
        return "; ".join(settled)
    if exact is None:
        return "-"
    low, high = words.success(exact.upper), words.success(exact.lower)
    return low if low == high else f"{low} .. {high}"


def parameter_words(verdict: Verdict) -> str:
    """The parameters other than the width."""
    return ", ".join(f"{name}={shown(value)}" for name, value in verdict.parameters.items() if name != "width")


def shown(value: int | float | str) -> str:
    """A parameter; a large integer in powers of ten."""
    return words.width(math.log(value)) if isinstance(value, int) and value >= 10**6 else str(value)


def row(verdict: Verdict) -> tuple[str, ...]:
    """The cells of one verdict, in the order of :data:`COLUMNS`."""
    return (
        verdict.label,
        verdict.inputs,
        str(verdict.parameters.get("width", "-")),
        parameter_words(verdict),
        verdict.claimed,
        measured_words(verdict.measured, verdict.findings),
        exact_words(verdict.exact, verdict.findings),
        verdict.outcome.name,
        f"{verdict.seconds:.1f}",
    )


def table(verdicts: Sequence[Verdict], error: float) -> Table:
    """A rich table; intervals hold together with probability ``1 - error``."""
    result = Table(
        title="P is the probability of the conclusion over the draw of W",
        caption=f"All intervals hold together with probability at least {1 - error:g}.",
        pad_edge=False,
        expand=False,
    )
    for name in COLUMNS:
        result.add_column(name, justify="right" if name in ("width", "s") else "left", overflow="fold")
    previous = ""
    for verdict in verdicts:
        if previous and verdict.statement != previous:
            result.add_section()
        cells: list[str | Text] = list(row(verdict))
        cells[0] = verdict.label if verdict.statement != previous else ""
        cells[7] = Text(verdict.outcome.name, style=STYLES[verdict.outcome])
        result.add_row(*cells)
        previous = verdict.statement
    return result


def sentences(verdicts: Iterable[Verdict]) -> list[str]:
    """One sentence for every verdict that is not HOLDS: why, and where the conclusion is first true."""
    return [
        f"{verdict.label}{place(verdict)}: {verdict.outcome.name}: {explanation(verdict)}."
        for verdict in verdicts
        if verdict.outcome is not Outcome.HOLDS
    ]


def place(verdict: Verdict) -> str:
    """``" on mnist at width 4,096"``, as far as the verdict is about inputs and a width."""
    inputs = f" on {verdict.inputs}" if verdict.inputs != "-" else ""
    width = verdict.parameters.get("width")
    return inputs + (f" at width {width}" if width is not None else f" at {parameter_words(verdict)}")


def explanation(verdict: Verdict) -> str:
    """The reason, where the conclusion is first true, and the witness."""
    parts = [verdict.reason]
    if verdict.first_true:
        parts.append(f"the conclusion is first true {verdict.first_true}")
    if verdict.witness:
        parts.append(f"replay the witness with `{verdict.witness}`")
    return "; ".join(parts)


def notes(verdicts: Iterable[Verdict]) -> list[str]:
    """What the verdicts of a statement do not say, each note once."""
    found: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.note and verdict.label not in found.setdefault(verdict.note, []):
            found[verdict.note].append(verdict.label)
    return [f"{', '.join(names)}: {note}" for note, names in found.items()]


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts of each outcome, in one line."""
    counts = [(outcome.name, sum(verdict.outcome is outcome for verdict in verdicts)) for outcome in Outcome]
    return ", ".join(f"{count} {name}" for name, count in counts if count)
