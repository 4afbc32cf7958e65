"""Theorem 9 (the formal version of Theorem 1), for one fixed ``x'`` and for every ``x'``.

Theorem 8 with the angle given by the perpendicular distance: ``x' = c (x + Delta x)``, ``Delta x`` perpendicular to
``x`` and ``|Delta x|^2/|x|^2 >= beta``, so that the squared cosine is at most ``1/(1 + beta)``. "Some scalar c" lets
in ``c = 0``, that is ``x' = 0``: all entries tie, the pattern is ``{1, ..., k}`` and equals that of ``W x`` with
probability ``1/C(l, k)``, far below what is claimed at every width that the proof grants.
"""

from __future__ import annotations

import math

from kwta_theory import checks, theory
from kwta_theory.statements.pointwise import Rotation, check_sparsity_ratio, every_statement, rotation_statement
from kwta_theory.statements.settings import Settings


def check_hypotheses(settings: Settings) -> None:
    """``gamma in (0, 0.48)``, ``beta in (0, 1)``."""
    check_sparsity_ratio(settings, "Theorem 9")
    checks.check_number("beta", settings.beta, 0.0, 1.0, open_minimum=True, open_maximum=True)


def claim(input_dim: int, settings: Settings) -> Rotation:
    """Failure at most ``delta 2^-m``, at the angle that belongs to ``beta``."""
    granted = theory.theorem9_width(input_dim, settings.sparsity_ratio, settings.beta, failure=settings.failure)
    log_failure = math.log(settings.failure) - input_dim * math.log(2)
    cosine = theory.cosine_from_beta(settings.beta)
    return Rotation(cosine, log_failure, granted, {"beta": settings.beta, "delta": settings.failure})


TEXT = (
    "If all rows of W are at most 10 sqrt(m) long and l >= C ((m + log(1/delta))/gamma)(1/beta) log(...), then with "
    "probability at least 1 - delta 2^-m the activation patterns of Wx and Wx' differ for every x' = c (x + Delta x) "
    "with Delta x perpendicular to x and |Delta x|^2/|x|^2 >= beta."
)
STATEMENT = rotation_statement(
    "theorem-9", "Theorem 9 (for one fixed x' and for every x')", TEXT, check_hypotheses, claim
)
CELLS = every_statement(
    "theorem-9-cells", "Theorem 9 (for every x', by the cell of the pattern)", TEXT, check_hypotheses, claim
)
