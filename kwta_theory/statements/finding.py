"""What one route says of a claim that is not about a probability, such as an inequality or a "for all"."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from kwta_theory.statements.settings import Budget


class Says(enum.Enum):
    """How far the evidence of one route reaches."""

    SETTLES = "true for every instance at these parameters"
    SURVIVES = "no instance against it was found, which proves nothing about the others"
    REFUTES = "an instance is against it"


@dataclass(frozen=True)
class Finding:
    """What a route found.

    Attributes:
        route: name of the method in a few words, such as "exhaustive over all orderings".
        says: see :class:`Says`. A route settles a claim only by a proof that it carries out in numbers, an exhaustive
            enumeration or an exact maximisation; drawing instances never does.
        text: what was computed and what came out, in a clause that a graduate student understands.
        instances: how many instances were looked at; 1 for a single exact comparison.
        against: how many of them contradict the claim.
        witness: for REFUTES, Python that replays one of them.
    """

    route: str
    says: Says
    text: str
    instances: int = 1
    against: int = 0
    witness: str = ""

    def __post_init__(self) -> None:
        if (self.says is Says.REFUTES) != (self.against > 0):
            raise ValueError(
                f"against={self.against} does not go with {self.says.name}: a claim is refuted by instances."
            )
        if (self.says is Says.REFUTES) != bool(self.witness):
            raise ValueError(f"witness={self.witness!r} does not go with {self.says.name}: only a refutation has one.")


@dataclass(frozen=True)
class RouteContext:
    """What a route may use: its own seed, its share of the run's error for an interval, and the budget.

    ``workers`` and ``memory_budget`` never change a number.
    """

    seed: int
    error: float
    budget: Budget
    device: str = "cpu"
    memory_budget: int = 2**30
    workers: int = 1


Route = Callable[[RouteContext], Finding]


def search(route: str, instances: int, against: int, text: str, witness: str = "") -> Finding:
    """The finding of a route that tries instances: REFUTES with one against the claim, otherwise SURVIVES."""
    return Finding(route, Says.REFUTES if against else Says.SURVIVES, text, instances, against, witness)


def settle(route: str, holds: bool, text: str, witness: str, instances: int = 1, against: int = 1) -> Finding:
    """The finding of a route that decides the claim either way; ``witness`` and ``against`` are used where it fails."""
    if holds:
        return Finding(route, Says.SETTLES, text, instances)
    return Finding(route, Says.REFUTES, text, instances, against, witness)


def sufficient(route: str, holds: bool, text: str) -> Finding:
    """The finding of a route that checks a sufficient condition: where it fails, nothing is said."""
    return Finding(route, Says.SETTLES if holds else Says.SURVIVES, text)
