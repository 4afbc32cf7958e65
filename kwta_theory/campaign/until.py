"""When a task has enough trials. A rule sees the completed prefix of chunks and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kwta_theory.campaign.estimate import ERROR, Estimate, estimate, trials_for_relative_error
from kwta_theory.campaign.tally import Tally
from kwta_theory.campaign.task import Task
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number
from kwta_theory.confidence import Decision, side_of_threshold

NAMES = ("relative-error", "trials", "seconds", "decided")


@dataclass(frozen=True)
class Until:
    """Several rules mean whichever comes first. They look at a task after each of its chunks, in their order.

    Args:
        relative_error: half the interval over the estimate. An event that never happens never gets there: give trials
            or seconds, too.
        trials: at least so many; a whole number of chunks.
        seconds: wall-clock time of the run, all tasks together. Chunks that have begun are finished.
        decided: a probability p0: on which side of it the probability of the first outcome lies.
        error: of every interval and decision, for one task.

    >>> Until.parse(["relative-error=0.05", "trials=4e4"])
    Until(relative_error=0.05, trials=40000, seconds=None, decided=None, error=0.001)
    """

    relative_error: float | None = None
    trials: int | None = None
    seconds: float | None = None
    decided: float | None = None
    error: float = ERROR

    def __post_init__(self) -> None:
        if all(rule is None for rule in (self.relative_error, self.trials, self.seconds, self.decided)):
            raise InvalidArgumentError(f"until is empty: give at least one of {', '.join(NAMES)}.")
        if self.relative_error is not None:
            check_number("relative-error", self.relative_error, 0.0, open_minimum=True)
        if self.trials is not None:
            check_integer("trials", self.trials, minimum=1)
        if self.seconds is not None:
            check_number("seconds", self.seconds, 0.0, open_minimum=True)
        if self.decided is not None:
            check_number("decided", self.decided, 0.0, 1.0)
        check_number("error", self.error, 0.0, 1.0, open_minimum=True, open_maximum=True)

    @classmethod
    def parse(cls, rules: Sequence[str], error: float = ERROR) -> Until:
        """Read ``["relative-error=0.05", "trials=4e4"]``; commas separate rules, too.

        Raises:
            InvalidArgumentError: a rule that is not known, twice, or without its number.
        """
        found: dict[str, float | int] = {}
        for rule in (part.strip() for text in rules for part in text.split(",")):
            name, _, text = rule.partition("=")
            if name not in NAMES:
                raise InvalidArgumentError(f"until={rule!r} is not known: it must be one of {', '.join(NAMES)}.")
            key = name.replace("-", "_")
            if key in found:
                raise InvalidArgumentError(f"until={name!r} is given twice: one number is meant.")
            try:
                number = float(text)
            except ValueError:
                raise InvalidArgumentError(f"until={rule!r} is not allowed: write {name}=NUMBER.") from None
            found[key] = int(number) if name == "trials" and number.is_integer() else number
        return cls(**found, error=error)  # type: ignore[arg-type]

    def check(self, task: Task) -> None:
        """Refuse a rule that the task cannot meet."""
        if self.decided is not None and task.primary.kind == "value":
            raise InvalidArgumentError(
                f"until decided={self.decided!r} needs a probability or a share: {task.estimator!r} measures "
                f"{task.primary.name!r}, which has no bounds."
            )

    def chunks(self, task: Task) -> float:
        """How many chunks the task can need at most; infinite without a number of trials."""
        return math.inf if self.trials is None else -(-self.trials // task.chunk_trials)

    def met(self, task: Task, tally: Tally) -> str | None:
        """The name of the rule that this prefix meets, or None; ``seconds`` is no rule of the data."""
        if not tally.trials:
            return None
        if self.trials is not None and tally.trials >= self.trials:
            return "trials"
        goal = self.relative_error
        if goal is not None and estimate(tally, task.primary, self.error).relative_error <= goal:
            return "relative-error"
        if self.decided is not None and self._decides(task, tally):
            return "decided"
        return None

    def _decides(self, task: Task, tally: Tally) -> bool:
        if task.primary.kind == "event":
            from kwta_theory.confidence import Proportion

            count = Proportion(tally.counts[task.primary.name], tally.trials)
            return side_of_threshold(count, self.decided or 0.0, self.error) is not Decision.UNDECIDED
        return (self.decided or 0.0) not in estimate(tally, task.primary, self.error).interval

    def trials_left(self, tally: Tally, found: Estimate) -> float:
        """A forecast of the trials that are missing; infinite where there is none."""
        needs = [math.inf]
        if self.trials is not None:
            needs.append(self.trials)
        if self.relative_error is not None:
            needs.append(trials_for_relative_error(tally, found, self.relative_error))
        return max(0.0, min(needs) - tally.trials)
