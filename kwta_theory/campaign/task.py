"""A task: an estimator with parameters. Its identity is a hash of what is sampled and of nothing else."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from kwta_theory.campaign import estimators
from kwta_theory.campaign.estimators import Outcome, Value
from kwta_theory.checks import InvalidArgumentError, check_integer


@dataclass(frozen=True, eq=False)
class Task:
    """One cell of a sweep. Two tasks are equal when their :attr:`id` is.

    Make one with :meth:`of`, which checks the parameters and brings them into one spelling: ``width=1e4`` and
    ``width=10000`` are one task, and so are ``beta=1`` and the cosine that it means.

    Attributes:
        estimator: its name.
        version: of the estimator.
        parameters: the canonical ones, with sorted keys.
        chunk_trials: trials in a chunk. It says which trials chunk 7 holds, so it belongs to the identity.
        outcomes: what is measured, the first being the one that stopping rules look at.
        labels: for a person; outside the identity. What was given in another spelling is kept here.

    >>> Task.of("same-pattern", width=1e4, k=100, cosine=0.9) == Task.of("same-pattern", width=10000, k=100, cosine=0.9)
    True
    >>> Task.of("same-pattern", width=100, sparsity_ratio=0.1, cosine=0.9).labels
    {'sparsity_ratio': 0.1}
    """

    estimator: str
    version: int
    parameters: Mapping[str, Value]
    chunk_trials: int
    outcomes: tuple[Outcome, ...]
    labels: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in {**self.parameters, **self.labels}.items():
            infinite = isinstance(value, float) and not math.isfinite(value)
            if isinstance(value, bool) or not isinstance(value, int | float | str) or infinite:
                raise InvalidArgumentError(f"{name}={value!r} is not allowed: it must be a finite number or a text.")

    @classmethod
    def of(
        cls,
        estimator: str,
        /,
        *,
        chunk_trials: int | None = None,
        labels: Mapping[str, Value] | None = None,
        **parameters: Value,
    ) -> Task:
        """Check parameters and make the task.

        Args:
            estimator: a registered name.
            chunk_trials: None for the estimator's own choice; another number is another task, with other random
                numbers.
            labels: as the attribute.
            **parameters: of the estimator.

        Raises:
            InvalidArgumentError: an unknown estimator or parameter, a value that is not allowed.
        """
        found = estimators.find(estimator)
        canonical = found.parameters(parameters)
        size = found.chunk_trials(canonical) if chunk_trials is None else check_integer("chunk_trials", chunk_trials, 1)
        other_spelling = {name: value for name, value in parameters.items() if name not in canonical}
        return cls(found.name, found.version, canonical, size, found.outcomes, {**other_spelling, **(labels or {})})

    @property
    def canonical(self) -> str:
        """The text that is hashed: JSON with sorted keys. Floats are written with the fewest digits that give them."""
        record = {
            "estimator": self.estimator,
            "version": self.version,
            "parameters": dict(self.parameters),
            "chunk_trials": self.chunk_trials,
        }
        return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @functools.cached_property
    def id(self) -> str:
        """32 hexadecimal digits of BLAKE2b of :attr:`canonical`: the same on every machine."""
        return hashlib.blake2b(self.canonical.encode(), digest_size=16).hexdigest()

    @property
    def primary(self) -> Outcome:
        """The outcome that stopping rules look at."""
        return self.outcomes[0]

    @property
    def title(self) -> str:
        """A short name for a table."""
        return " ".join([self.estimator, *(f"{name}={shown(value)}" for name, value in self.parameters.items())])

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)


def shown(value: Value) -> str:
    """A value for a person, short."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def differences(first: Task, second: Task) -> list[str]:
    """One sentence for each place in which the identities of two tasks differ; none where they are one task.

    >>> differences(*(Task.of("same-pattern", width=width, k=1, cosine=0.5) for width in (9, 8)))
    ['width is 9 in the first and 8 in the second.']
    """

    def stages(task: Task) -> dict[str, Value]:
        return {"estimator": task.estimator, "version": task.version, "trials in a chunk": task.chunk_trials}

    absent = object()

    def compared(one: Mapping[str, Value], other: Mapping[str, Value]) -> list[str]:
        def said(value: object) -> str:
            return "absent" if value is absent else repr(value)

        pairs = {name: (one.get(name, absent), other.get(name, absent)) for name in sorted({*one, *other})}
        return [
            f"{name} is {said(a)} in the first and {said(b)} in the second." for name, (a, b) in pairs.items() if a != b
        ]

    return compared(stages(first), stages(second)) + compared(first.parameters, second.parameters)
