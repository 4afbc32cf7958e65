"""Theorem 1 (dense discontinuities), for one fixed ``x'`` and for every ``x'``.

The main text asks for ``l >= Omega((m/gamma)(1/beta) log((m/gamma)(1/beta)))`` and promises, with probability at
least ``1 - 2^-m``, a pattern of ``W x'`` unlike that of ``W x`` for every ``x'`` with ``d^2(x, x')/|x|^2 >= beta``.
Omega hides a constant; the width used here is the one that the proof of its formal version (Theorem 9) grants at
``delta -> 1``. The sparsity ratio's hypothesis, ``gamma < 0.48``, is that of Theorem 9.
"""

from __future__ import annotations

import math

from kwta_theory import checks, theory
from kwta_theory.statements.pointwise import (
    DELTA_ONE,
    Rotation,
    check_sparsity_ratio,
    every_statement,
    rotation_statement,
)
from kwta_theory.statements.settings import Settings


def check_hypotheses(settings: Settings) -> None:
    """``gamma in (0, 0.48)`` and, as in Theorem 9, ``beta in (0, 1)``."""
    check_sparsity_ratio(settings, "Theorem 1 (by way of Theorem 9)")
    checks.check_number("beta", settings.beta, 0.0, 1.0, open_minimum=True, open_maximum=True)


def claim(input_dim: int, settings: Settings) -> Rotation:
    """Failure at most ``2^-m``, at the angle that belongs to ``beta``."""
    cosine = theory.cosine_from_beta(settings.beta)
    granted = theory.theorem8_width(input_dim, settings.sparsity_ratio, cosine, failure=DELTA_ONE)
    return Rotation(cosine, -input_dim * math.log(2), granted, {"beta": settings.beta})


TEXT = (
    "If l >= Omega((m/gamma)(1/beta) log((m/gamma)(1/beta))), then with probability at least 1 - 2^-m the activation "
    "patterns of Wx and Wx' differ for every x' with d^2(x, x')/|x|^2 >= beta."
)
STATEMENT = rotation_statement(
    "theorem-1", "Theorem 1 (for one fixed x' and for every x')", TEXT, check_hypotheses, claim
)
CELLS = every_statement(
    "theorem-1-cells", "Theorem 1 (for every x', by the cell of the pattern)", TEXT, check_hypotheses, claim
)
