"""What can be sampled: a registry of estimators, each with a version, a schema and a chunk size fixed by its task.

An estimator turns parameters, a number of trials and a seed into a :class:`~kwta_theory.campaign.Tally`. Its version
belongs to the identity of every task: raise it whenever the same seed would give other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kwta_theory.campaign.tally import Tally
from kwta_theory.checks import InvalidArgumentError, check_integer, check_number

Value = int | float | str
Parameters = dict[str, Value]
Draw = Callable[[Mapping[str, Value], int, int], Tally]

# Random numbers that one chunk draws: about a quarter of a second on one core of 2024.
CHUNK_NUMBERS = 2**22


@dataclass(frozen=True)
class Outcome:
    """One number that is measured in each trial.

    Attributes:
        name: its key in the tally.
        kind: ``"event"`` (it happened or not: a count), ``"share"`` (a value in [0, 1]), ``"value"`` (any number).
    """

    name: str
    kind: str = "event"

    def __post_init__(self) -> None:
        if self.kind not in ("event", "share", "value"):
            raise InvalidArgumentError(f"kind={self.kind!r} is not allowed: it must be 'event', 'share' or 'value'.")


@dataclass(frozen=True)
class Estimator:
    """Something that can be sampled in chunks.

    Args:
        name: as in ``--estimator``.
        version: a positive integer; another one is another estimator.
        summary: one sentence for ``--help``.
        accepts: the names of all parameters that may be given.
        resolve: turns what was given into the canonical parameters (checked, defaults filled in, one spelling for one
            law), which are hashed. It must return the same for its own result.
        cost: random numbers per trial, from the canonical parameters: it fixes the size of a chunk.
        draw: ``draw(parameters, trials, seed)`` returns the tally of that many independent trials; every random number
            must follow from the seed.
        outcomes: what the tally holds; the first is the one that stopping rules look at.
    """

    name: str
    version: int
    summary: str
    accepts: tuple[str, ...]
    resolve: Callable[[Mapping[str, Value]], Parameters]
    cost: Callable[[Mapping[str, Value]], float]
    draw: Draw
    outcomes: tuple[Outcome, ...]

    def parameters(self, given: Mapping[str, Value]) -> Parameters:
        """The canonical parameters, with sorted keys.

        Raises:
            InvalidArgumentError: a name that the estimator does not have, or what ``resolve`` refuses.
        """
        unknown = sorted(set(given) - set(self.accepts))
        if unknown:
            raise InvalidArgumentError(
                f"{unknown[0]}={given[unknown[0]]!r} is not a parameter of {self.name!r}: "
                f"it has {', '.join(self.accepts)}."
            )
        return dict(sorted(self.resolve(given).items()))

    def chunk_trials(self, parameters: Mapping[str, Value]) -> int:
        """Trials in a chunk: the largest of 1, 2, 5, 10, 20, ... that draws at most :data:`CHUNK_NUMBERS` numbers."""
        most = max(1.0, min(CHUNK_NUMBERS / max(self.cost(parameters), 1.0), 1e6))
        power = 1
        while power * 10 <= most:
            power *= 10
        return next(step * power for step in (5, 2, 1) if step * power <= most)


_REGISTRY: dict[str, Estimator] = {}


def register(estimator: Estimator) -> Estimator:
    """Add an estimator, so that tasks can name it; the same one may be added again.

    Raises:
        InvalidArgumentError: a bad version, no outcome, or a name that is taken.
    """
    check_integer("version", estimator.version, minimum=1)
    if not estimator.outcomes:
        raise InvalidArgumentError(f"estimator {estimator.name!r} has no outcome: it must measure something.")
    if _REGISTRY.setdefault(estimator.name, estimator) != estimator:
        raise InvalidArgumentError(f"estimator {estimator.name!r} is there already: choose another name.")
    return estimator


def known() -> tuple[str, ...]:
    """The names of all estimators."""
    _load()
    return tuple(sorted(_REGISTRY))


def find(name: str) -> Estimator:
    """The estimator of a name; raise :class:`InvalidArgumentError` with the names that there are."""
    _load()
    if name not in _REGISTRY:
        raise InvalidArgumentError(f"estimator={name!r} is not known: it must be one of {', '.join(known())}.")
    return _REGISTRY[name]


def _load() -> None:
    """The package's own estimators join the registry when one is first asked for."""
    from kwta_theory.campaign import builtin  # noqa: F401  (registers itself)


def whole(name: str, value: Value, minimum: int) -> int:
    """An integer, also written as 1e4; a float from 2^53 on is exact by definition.

    >>> whole("width", 1e4, 1)
    10000
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return check_integer(name, value, minimum)  # type: ignore[arg-type]


def real(
    name: str, value: Value, minimum: float, maximum: float, *, open_minimum: bool = False, open_maximum: bool = False
) -> float:
    """A float, never ``-0.0``, so that one number has one text."""
    # check_number refuses a text with a sentence.
    number = check_number(name, value, minimum, maximum, open_minimum=open_minimum, open_maximum=open_maximum)  # type: ignore[arg-type]
    return number + 0.0


def choice(name: str, value: Value, allowed: tuple[str, ...]) -> str:
    """One of some words."""
    if value not in allowed:
        raise InvalidArgumentError(f"{name}={value!r} is not allowed: it must be one of {', '.join(allowed)}.")
    return str(value)
