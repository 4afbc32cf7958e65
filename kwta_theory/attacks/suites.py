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

    ``adaptive``: made for discontinuous networks. Small steps with the mask of the 2k largest in the backward pass, at
    one Gaussian copy of the iterate (:func:`wide_with_noise`); steps from corner to corner of the ball with ReLU's mask
    (:func:`corners`); and 1,000 queries of Square, which needs no gradient. No one of them is the strongest on every
    network.

    ``full``: both, finite differences with a growing sample budget, AutoAttack where it is installed, and Square with
    5,000 queries as in its source.

    Args:
        name: one of :data:`SUITES`.
        data: name of the data set, which decides on the paper's PGD.
        sources: networks, by a name for tables, whose adversarial points are handed over as well.

    Raises:
        InvalidArgumentError: an unknown name.
        MissingPackageError: foolbox is not installed, and ``adaptive`` was not asked for.

    >>> [attack.name for attack in suite("adaptive")]
    ['wide+noise', 'corners', 'square']
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
        attacks += [wide_with_noise(), corners(), Square(queries=1000 if name == "adaptive" else 5000)]
        strong = persistent()
        attacks += [Transfer(f"{strong.name} from {key}", net, strong) for key, net in (sources or {}).items()]
    if name == "full":
        attacks.append(finite_differences())
        attacks += [AutoAttack()] * (missing_from(name) == "")
    return tuple(attacks)


def wide_with_noise() -> Ascent:
    """2 restarts of 100 small steps, each with the wide backward pass at one Gaussian copy of the iterate.

    The strongest where the network is smooth, and on k-WTA networks that were not trained against small steps.
    """
    return Ascent("wide+noise", steps=100, restarts=2, gradient=Surrogate("wide", Averaged(1, 0.25)))


def corners() -> Ascent:
    """3 restarts of 100 steps of twice the radius, so that every step ends in a corner, with ReLU's backward pass.

    Adversarial training with k-WTA protects the way of an attack that walks in small steps, not the ball: of the
    adversarially trained k-WTA network on MNIST small steps leave most and these steps less than half.
    """
    return Ascent("corners", steps=100, restarts=3, step_size=2.0, gradient=Surrogate("relu"))


def persistent() -> Persistent:
    """The backbone for points that are handed to another network."""
    return Persistent("wide+noise", gradient=Surrogate("wide", Averaged(1, 0.25)))


def finite_differences() -> Ascent:
    """50 small steps along slopes from values of the margin alone, with more samples the longer an image withstands.

    The growth is that of Tramer et al. 2020 at a fraction of the cost: 32 passes a step, from step 10 on 128, from step
    20 on 512; 16,960 for an image that is never broken. With ``pairs=TRAMER_PAIRS``, ``deviation=1`` and 100 steps it
    has the published budget, 1,222,000 passes.
    """
    return Ascent("finite-differences", steps=50, step_size=0.1, gradient=FiniteDifference(GROWING_PAIRS))


GROWING_PAIRS = ((0.0, 16), (0.2, 64), (0.4, 256))
"""Antithetic pairs of :func:`finite_differences`, by share of the steps."""


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
