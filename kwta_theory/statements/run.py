"""``verify``: every statement on every input, in one run with one seed and one error budget."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kwta_theory import checks, seeding
from kwta_theory import inputs as points_of
from kwta_theory.confidence import ErrorBudget
from kwta_theory.inputs import Inputs
from kwta_theory.statements import (
    appendix_b,
    claim_3,
    claim_4,
    claim_5,
    claim_6,
    example_1,
    lemma_1,
    lemma_2,
    lemma_3,
    lemma_4,
    lemma_5,
    lemma_6,
    lemma_7,
    lemma_8,
    lemma_9,
    lemma_10,
    piecewise_linearity,
    remark_1,
    theorem_1,
    theorem_2,
    theorem_8,
    theorem_9,
    theorem_10,
    theorem_11,
    words,
)
from kwta_theory.statements.case import Case, Claim, Statement
from kwta_theory.statements.judge import judge
from kwta_theory.statements.settings import Budget, Settings
from kwta_theory.statements.settings import budget as find_budget
from kwta_theory.statements.verdict import Verdict

# In the order of the paper: Section 3, Appendix B, Appendix C.1, Appendix C.2.
JUDGED = (
    piecewise_linearity.STATEMENT,
    appendix_b.STATEMENT,
    lemma_1.STATEMENT,
    lemma_2.STATEMENT,
    lemma_3.STATEMENT,
    lemma_4.STATEMENT,
    claim_3.STATEMENT,
    claim_4.STATEMENT,
    claim_5.STATEMENT,
    claim_6.STATEMENT,
    lemma_5.STATEMENT,
    lemma_6.STATEMENT,
    lemma_7.STATEMENT,
    theorem_1.STATEMENT,
    theorem_1.CELLS,
    theorem_8.STATEMENT,
    theorem_8.CELLS,
    theorem_9.STATEMENT,
    theorem_9.CELLS,
    example_1.STATEMENT,
    lemma_8.STATEMENT,
    lemma_9.STATEMENT,
    lemma_10.STATEMENT,
    theorem_2.STATEMENT,
    theorem_10.STATEMENT,
    remark_1.STATEMENT,
    theorem_11.STATEMENT,
)
# What is printed but false, and a reading that the formal version excludes: judged only when it is asked for, since a
# run that finds nothing new must not end as a failure.
ON_REQUEST = (
    theorem_2.FIXED_RATIO,
    piecewise_linearity.AS_PRINTED,
    appendix_b.AS_PRINTED,
    lemma_2.AS_PRINTED,
    lemma_6.AS_PRINTED,
    lemma_7.AS_PRINTED,
    lemma_9.AS_PRINTED,
)
STATEMENTS = {statement.name: statement for statement in JUDGED + ON_REQUEST}
DEFAULT = tuple(statement.name for statement in JUDGED)


@dataclass(frozen=True)
class Progress:
    """What a run tells while it goes: before each verdict, and with the verdict when it is there.

    ``total`` is 0 while the run still finds the widths at which it will judge.
    """

    done: int
    total: int
    label: str
    verdict: Verdict | None = None


def default_inputs(settings: Settings, count: int = 10) -> list[Inputs]:
    """Real MNIST images, Gaussian points in 32 dimensions, and points with all cosines equal to ``settings.cosine``."""
    return [
        points_of.mnist_images(count, seed=settings.seed),
        points_of.gaussian_points(count, 32, seed=settings.seed),
        points_of.points_with_cosine(count, settings.cosine),
    ]


def verify(
    statements: Sequence[str] | None = None,
    inputs: Sequence[Inputs] | Inputs | npt.ArrayLike | None = None,
    budget: str | Budget = "standard",
    seed: int = 0,
    *,
    progress: Callable[[Progress], None] | None = None,
    **parameters: Any,
) -> list[Verdict]:
    """Judge statements of the paper.

    Args:
        statements: names from :data:`STATEMENTS`; all of :data:`DEFAULT` when ``None``.
        inputs: what they are checked on: :class:`~kwta_theory.inputs.Inputs`, several of them, or an array of shape
            ``(N, m)``; :func:`default_inputs` when ``None``. Statements that do not depend on points are checked once.
        budget: ``"quick"``, ``"standard"``, ``"thorough"`` or a :class:`Budget`. Fixes numbers of trials, not seconds.
        seed: every random number follows from it.
        progress: called before and after every verdict.
        **parameters: fields of :class:`Settings` (``width``, ``sparsity_ratio``, ``k``, ``beta``, ``cosine``,
            ``failure``, ``device``, ...).

    Returns:
        The verdicts, in the order of the statements, then inputs, then widths. All intervals of the run hold together
        with probability at least ``1 - budget.error``.

    Raises:
        InvalidArgumentError: an argument outside what is allowed, a hypothesis that the parameters break, or a
            budget too small to decide even by unanimous trials.
    """
    unknown = sorted(set(parameters) - {field.name for field in dataclasses.fields(Settings)})
    if unknown:
        raise checks.InvalidArgumentError(
            f"{unknown[0]} is not a parameter of verify: the parameters are "
            f"{', '.join(field.name for field in dataclasses.fields(Settings))}."
        )
    settings = Settings(seed=seed, budget=find_budget(budget), **parameters)
    return run(DEFAULT if statements is None else statements, as_inputs(inputs, settings), settings, progress)


def run(
    statements: Sequence[str],
    inputs: Sequence[Inputs],
    settings: Settings,
    progress: Callable[[Progress], None] | None = None,
) -> list[Verdict]:
    """The same as :func:`verify`, with everything spelled out."""
    chosen = [find_statement(name) for name in statements]
    for statement in chosen:
        statement.check_hypotheses(settings)
    check_budget(settings, settings.budget.interval_error)  # before the work of planning; again with the true share
    planned = list(plan(chosen, inputs, settings, progress))
    simulated = sum(intervals(case) for *_, case in planned)
    share = ErrorBudget(settings.budget.interval_error).share(max(simulated, 1))
    check_budget(settings, share)
    verdicts: list[Verdict] = []
    for index, (statement, name, case) in enumerate(planned):
        label = f"{statement.name}, {name}" + (f", width {words.width(case.log_width)}" if case.log_width else "")
        if progress:
            progress(Progress(index, len(planned), label))
        case_seed = seeding.derive(settings.seed, statement.name, name, case_key(case))
        verdicts.append(judge(statement, name, case, settings, share, case_seed))
        if progress:
            progress(Progress(index + 1, len(planned), label, verdicts[-1]))
    return verdicts


def find_statement(name: str) -> Statement:
    """Look a statement up; the error lists the names that there are."""
    if name not in STATEMENTS:
        raise checks.InvalidArgumentError(
            f"statement {name!r} is not there: the statements are {', '.join(STATEMENTS)}."
        )
    return STATEMENTS[name]


def as_inputs(inputs: Sequence[Inputs] | Inputs | npt.ArrayLike | None, settings: Settings) -> list[Inputs]:
    """Whatever a caller may hand over as points, as a list of :class:`Inputs`."""
    if inputs is None:
        return default_inputs(settings)
    if isinstance(inputs, Inputs):
        return [inputs]
    if isinstance(inputs, Sequence) and inputs and all(isinstance(entry, Inputs) for entry in inputs):
        return [entry for entry in inputs if isinstance(entry, Inputs)]
    points = checks.check_points("inputs", np.asarray(inputs), distinct_directions=True)
    return [Inputs("array", points, f"{len(points)} points of an array")]


def plan(
    statements: Sequence[Statement],
    inputs: Sequence[Inputs],
    settings: Settings,
    progress: Callable[[Progress], None] | None,
) -> Iterator[tuple[Statement, str, Case | Claim]]:
    """All claims of a run, before any of them is judged; exact laws find the widths at which they are."""
    for statement in statements:
        for points in inputs if statement.uses_inputs else inputs[:1]:
            if progress:
                progress(Progress(0, 0, f"finding the widths of {statement.name}, {points.name}"))
            for case in statement.cases(points, settings):
                yield statement, points.name if statement.uses_inputs else "-", case


def case_key(case: Case | Claim) -> str:
    """What tells the cases of a statement apart, for their seeds."""
    return repr((case.claimed, dict(case.parameters))) if isinstance(case, Claim) else repr(case.log_width)


def intervals(case: Case | Claim) -> int:
    """How many intervals a case may compute: each gets a share of the run's error."""
    return len(case.routes) if isinstance(case, Claim) else int(case.simulate is not None)


def check_budget(settings: Settings, error: float) -> None:
    """Refuse a budget under which even unanimous trials could not decide ``P >= 1 - delta``."""
    # All of n trials succeed: the lower end of the Clopper-Pearson interval is (error/2)^(1/n).
    needed = math.ceil(math.log(error / 2) / math.log1p(-settings.failure))
    if settings.budget.max_trials < needed:
        raise checks.InvalidArgumentError(
            f"budget={settings.budget.name!r} allows {settings.budget.max_trials} trials of a claim, too few to "
            f"decide: even unanimous, {needed} are needed for P >= {1 - settings.failure:g}."
        )
