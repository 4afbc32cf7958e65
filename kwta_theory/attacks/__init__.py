"""Attacks within a ball of the maximum norm: the paper's, and those made for discontinuous networks."""

from kwta_theory.attacks.ascent import Ascent, Attacked
from kwta_theory.attacks.gradients import Averaged, FiniteDifference, Gradient, Plain, Target
from kwta_theory.attacks.square import Square
from kwta_theory.attacks.surrogate import SURROGATES, Surrogate, surrogate_backward

__all__ = [
    "SURROGATES",
    "Ascent",
    "Attacked",
    "Averaged",
    "FiniteDifference",
    "Gradient",
    "Plain",
    "Square",
    "Surrogate",
    "Target",
    "surrogate_backward",
]
