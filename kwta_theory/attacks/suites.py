"""Which attacks together are an evaluation: the paper's, ours, and everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from kwta_theory.attacks import foolbox_attacks, foreign
from kwta_theory.attacks.ascent import Ascent
from kwta_theory.attacks.auto import PURPOSE, AutoAttack
from kwta_theory.attacks.foolbox_attacks import paper_attacks
from kwta_theory.attacks.gradients import Averaged, FiniteDifference
from kwta_theory.attacks.square import Square
from kwta_theory.attacks.surrogate import Surrogate
from kwta_theory.attacks.transfer import Persistent, Transfer
from kwta_theory.checks import InvalidArgumentError

if TYPE_CHECKING:
    from kwta_theory.robustness import Attack

SUITES = ("paper", "adaptive", "full")


def suite(name: str, data: str = "mnist", sources: Mapping[str, nn.Module] | None = None) -> tuple[Attack, ...]:
    """The attacks of a suite.

    ``paper``: PGD, C&W, DeepFool and MIM from foolbox with the paper's settings (:func:`paper_attacks`).

    ``adaptive``: made for discontinuous networks: the mask of the 2k largest in the backward pass at one Gaussian copy
    of the iterate, and 300 queries of Square, which needs no gradient. Measured on one core with the small CNN on
    MNIST: 0.6 ms for a pass, so 0.7 s for an image that withstands both, and less for others.

    ``full``: both, AutoAttack where it is installed, finite differences, and Square with the queries of its source.

    Args:
        name: one of :data:`SUITES`.
        data: name of the data set, which decides on the paper's PGD.
        sources: networks, by a name for tables, whose adversarial points are handed over as well.

    Raises:
        InvalidArgumentError: an unknown name.
        MissingPackageError: foolbox is not installed, and ``adaptive`` was not asked for.

    >>> [attack.name for attack in suite("adaptive")]
    ['wide+noise', 'square']
    """
    if name not in SUITES:
        raise InvalidArgumentError(f"suite={name!r} is not known: it must be one of {', '.join(SUITES)}.")
    attacks: list[Attack] = []
    if name in ("paper", "full"):
        foreign.imported("foolbox", "attacks", foolbox_attacks.PURPOSE)
        paper = paper_attacks(data)
        attacks += paper
        attacks += [Transfer(f"{paper[0].name} from {key}", net, paper[0]) for key, net in (sources or {}).items()]
    if name in ("adaptive", "full"):
        attacks += [wide_with_noise(), Square(queries=300 if name == "adaptive" else 5000)]
        strong = Persistent("wide+noise", gradient=Surrogate("wide", Averaged(1, 0.25)))
        attacks += [Transfer(f"{strong.name} from {key}", net, strong) for key, net in (sources or {}).items()]
    if name == "full":
        attacks.append(finite_differences())
        attacks += [AutoAttack()] * (missing_from(name) == "")
    return tuple(attacks)


def wide_with_noise() -> Ascent:
    """The backbone: 5 restarts of 100 steps, each with the wide backward pass at one Gaussian copy of the iterate."""
    return Ascent("wide+noise", steps=100, restarts=5, gradient=Surrogate("wide", Averaged(1, 0.25)))


def finite_differences() -> Ascent:
    """Slopes along random directions, from values of the margin alone."""
    return Ascent("finite-differences", steps=50, gradient=FiniteDifference(pairs=32))


def missing_from(name: str) -> str:
    """What a suite does without because it is not installed, in a sentence; else empty."""
    if name == "full":
        try:
            foreign.imported("pyautoattack", "autoattack", PURPOSE)
        except foreign.MissingPackageError as error:
            return f"AutoAttack was left out: {error}"
    return ""


def notes(attacks: Sequence[Attack], epsilon: float) -> dict[str, str]:
    """What to know about some of the attacks when their rows are read, by name."""
    found: dict[str, str] = {}
    for attack in attacks:
        note: Any = getattr(attack, "note", None)
        if note is not None and note(epsilon):
            found[attack.name] = note(epsilon)
    return found
