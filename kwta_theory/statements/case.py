"""A statement at given parameters, as data: what it claims and the routes that can check it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from kwta_theory.confidence import Proportion
from kwta_theory.inputs import Inputs
from kwta_theory.statements.finding import Route
from kwta_theory.statements.settings import Settings
from kwta_theory.statements.verdict import LogBracket


@dataclass(frozen=True)
class Sample:
    """What a simulation hands to the judge: the trials in which the conclusion held, and what else it saw.

    ``open`` counts the trials that it could decide neither way; they are not among the successes.
    """

    successes: Proportion
    remark: str = ""
    open: int = 0


@dataclass(frozen=True)
class FirstTrue:
    """Where the conclusion is first true: ``text`` for a person, ``log_width`` for a figure (``None``: not found)."""

    text: str
    log_width: float | None


@dataclass(frozen=True)
class Case:
    """One claim ``P(conclusion) >= 1 - exp(claimed_log_failure)`` at one width, and how it can be checked.

    Attributes:
        parameters: what is needed to state the claim.
        log_width: natural logarithm of the width.
        claimed: the claim in words.
        claimed_log_failure: ``log`` of the largest failure probability that the claim allows.
        granted_log_width: ``log`` of the width from which the proof grants the claim; ``None``: from every width.
        exact: the exact law, or ``None``.
        simulate: ``(trials, seed) -> Sample``, or ``None`` where the width is out of reach.
        simulate_call: the same as Python source, for the witness; ``{trials}`` and ``{seed}`` are filled in.
        exact_call: the exact law as Python source, for the witness.
        normals_per_trial: the cost of one trial.
        first_true: search for the smallest width at which the conclusion reaches the claimed level, or ``None``.
        note: a sentence about scope that belongs to every verdict of the case.
        also: further laws or rigorous bounds that share no code with ``exact``; they must all meet.
        scope: the form of the statement that this case is about where it is not the statement's own.
        withheld: why the outcome stays UNDECIDED although the evidence at hand would allow HOLDS, or "".
        counts_decide: the laws are compared with the counts, but the outcome rests on the counts alone.
    """

    parameters: Mapping[str, int | float | str]
    log_width: float
    claimed: str
    claimed_log_failure: float
    granted_log_width: float | None
    exact: Callable[[], LogBracket] | None = None
    simulate: Callable[[int, int], Sample] | None = None
    simulate_call: str = ""
    exact_call: str = ""
    normals_per_trial: float = 0.0
    first_true: Callable[[], FirstTrue] | None = None
    note: str = ""
    also: tuple[Callable[[], LogBracket], ...] = ()
    scope: str | None = None
    withheld: str = ""
    counts_decide: bool = False


@dataclass(frozen=True)
class Claim:
    """A claim that is true or false outright: an inequality, an identity, a "for all", at given parameters.

    Attributes:
        parameters: what is needed to state the claim.
        claimed: the claim in words.
        routes: at least two ways to check it that share no code.
        would_decide: what would settle the claim where the routes only search, in words.
        note: a sentence about scope that belongs to every verdict of the claim.
        log_width: natural logarithm of the width where the claim is about one layer.
        scope: the form of the statement that this claim is about where it is not the statement's own.
    """

    parameters: Mapping[str, int | float | str]
    claimed: str
    routes: tuple[Route, ...]
    would_decide: str = ""
    note: str = ""
    log_width: float | None = None
    scope: str | None = None


@dataclass(frozen=True)
class Curve:
    """A line of the figure of a statement: ``log`` of the failure probability against ``log`` of the width.

    ``kind`` is "exact", "bracket", "proved" (a rigorous upper bound) or "claimed"; for a bracket ``log_failure`` is the
    upper and ``log_failure_lower`` the lower edge.
    """

    label: str
    kind: str
    log_width: tuple[float, ...]
    log_failure: tuple[float, ...]
    log_failure_lower: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Statement:
    """A statement of the paper as data over one judge.

    Attributes:
        name: what ``--only`` takes.
        title: heading, with the form in which the statement is checked.
        text: the statement in the paper's words.
        check_hypotheses: raises :class:`~kwta_theory.checks.InvalidArgumentError` naming the hypothesis that fails.
        cases: the claims to be judged, for one set of inputs.
        curves: the lines of its figure; ``None`` where there is nothing to draw against the width.
        scope: the form in which it is checked where that is not the whole statement, such as "pointwise".
        uses_inputs: whether its claims depend on the points given; otherwise it is checked once.
    """

    name: str
    title: str
    text: str
    check_hypotheses: Callable[[Settings], None]
    cases: Callable[[Inputs, Settings], Iterator[Case | Claim]]
    curves: Callable[[Inputs, Settings], list[Curve]] | None = None
    scope: str = ""
    uses_inputs: bool = True
