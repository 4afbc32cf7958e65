"""Attacks within a ball of the maximum norm: the paper's, and those made for discontinuous networks."""

from kwta_theory.attacks.ascent import Ascent, Attacked, SegmentSearch
from kwta_theory.attacks.ball import bounds, project
from kwta_theory.attacks.gradients import TRAMER_PAIRS, Averaged, FiniteDifference, Gradient, Plain, Target
from kwta_theory.attacks.losses import margin
from kwta_theory.attacks.square import Square
from kwta_theory.attacks.surrogate import SURROGATES, Surrogate, surrogate_backward

__all__ = [
    "SURROGATES",
    "TRAMER_PAIRS",
    "Ascent",
    "Attacked",
    "Averaged",
    "FiniteDifference",
    "Gradient",
    "Plain",
    "SegmentSearch",
    "Square",
    "Surrogate",
    "Target",
    "bounds",
    "margin",
    "project",
    "surrogate_backward",
]
