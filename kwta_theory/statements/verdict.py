"""What a verdict is: an outcome, the evidence it rests on, and the sentence that explains it."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kwta_theory.confidence import Interval, Proportion
from kwta_theory.statements.finding import Finding


class Outcome(enum.Enum):
    """The four things that can be said of a statement at given parameters."""

    HOLDS = "The conclusion is true at these parameters, by the evidence named."
    REFUTED = "The conclusion is false at parameters that satisfy the hypotheses; the witness can be replayed."
    UNDECIDED = "The evidence does not decide; the reason names what would."
    VACUOUS = "At these parameters the statement claims nothing: a hypothesis fails, or its bound is empty."


@dataclass(frozen=True)
class LogBracket:
    """A bracket ``lower <= log P(failure) <= upper`` (natural logarithms) computed without randomness.

    ``route`` names the law. The ends are equal, up to the stated accuracy, where the law is exact.
    """

    lower: float
    upper: float
    route: str

    def __post_init__(self) -> None:
        if not self.lower <= self.upper:
            raise ValueError(f"lower={self.lower!r} exceeds upper={self.upper!r}: a bracket must be ordered.")


@dataclass(frozen=True)
class Measurement:
    """What was counted: trials in which the conclusion failed, with an exact interval at a stated error.

    ``open`` counts trials that were decided neither way; they are not among the failures.
    """

    failures: Proportion
    error: float
    method: str
    seed: int
    remark: str = ""
    open: int = 0

    @property
    def interval(self) -> Interval:
        """Clopper-Pearson interval of the probability of failure; wrong with probability at most ``error``.

        The number of trials that fail lies in ``[failures, failures + open]``, and both limits rise with the count: the
        lower one is taken of its lower end, the upper one of its upper end.
        """
        most = Proportion(self.failures.successes + self.open, self.failures.trials)
        return Interval(self.failures.interval(self.error).lower, most.interval(self.error).upper)

    @property
    def held(self) -> int:
        """Trials in which the conclusion is known to have held."""
        return self.failures.failures - self.open


@dataclass(frozen=True)
class Verdict:
    """One statement, judged at one set of parameters.

    Attributes:
        statement: name of the statement, such as ``"theorem-10"``.
        title: the statement as a heading, with the form in which it is checked.
        scope: that form in a word or two where it is not the whole statement, such as "pointwise"; otherwise "".
        inputs: which points it was checked on.
        parameters: plain numbers and strings, enough to state the claim.
        claimed: what the statement promises here, in words.
        claimed_log_failure: the same as ``log`` of the largest probability of failure that it allows; at least 0 where
            it allows everything; ``None`` where the claim is not about a probability.
        granted_log_width: ``log`` of the smallest width at which the paper's own proof grants the statement.
        outcome: see :class:`Outcome`.
        reason: why this outcome, one sentence without its full stop.
        note: what the verdict does not say, or ``""``.
        exact: what the exact law says of the failure probability, or ``None`` where there is no law.
        also: what further laws or rigorous bounds say, each by a route of its own.
        findings: what each route says of a claim that is not about a probability.
        measured: what simulation counted, or ``None`` where the width is out of reach of simulation.
        first_true: where the conclusion is first true, in words, or ``None``.
        first_true_log_width: the same as a logarithm of the width.
        witness: for REFUTED, Python that replays the evidence; otherwise ``None``.
        routes_agree: whether all routes can be right at once; where not, one of them is wrong.
        log_width: natural logarithm of the width, which ``parameters`` holds in words; ``None`` where there is none.
        seconds: wall-clock time spent. The only field that differs between two runs with the same seed.
    """

    statement: str
    title: str
    scope: str
    inputs: str
    parameters: Mapping[str, int | float | str]
    claimed: str
    claimed_log_failure: float | None
    granted_log_width: float | None
    outcome: Outcome
    reason: str
    note: str
    exact: LogBracket | None
    measured: Measurement | None
    first_true: str | None
    first_true_log_width: float | None
    witness: str | None
    routes_agree: bool
    seconds: float = field(compare=False)
    also: tuple[LogBracket, ...] = ()
    findings: tuple[Finding, ...] = ()
    log_width: float | None = None

    @property
    def label(self) -> str:
        """Name and scope: no verdict is shown without the form that it is about."""
        return f"{self.statement} ({self.scope})" if self.scope else self.statement

    def as_json(self) -> dict[str, Any]:
        """A dictionary of JSON types only; minus infinity (probability zero) becomes the string ``"-inf"``."""
        record = dataclasses.asdict(self)
        record["outcome"] = self.outcome.name
        record["parameters"] = dict(self.parameters)
        if self.measured is not None:
            interval = self.measured.interval
            record["measured"] |= {"failure_interval": [interval.lower, interval.upper]}
        for finding in record["findings"]:
            finding["says"] = finding["says"].name
        return finite(record)


def finite(value: Any) -> Any:
    """Replace the floats that JSON does not know, at any depth, by their names."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
