"""Theorem 8 (rotating a vector a little bit may change the activation pattern): one fixed ``x'``, and every ``x'``.

With ``gamma < 0.48``, ``alpha in (0.5, 1)`` and all rows of ``W`` at most ``10 sqrt(m)`` long, a width of ``C ((m +
log(1/delta))/gamma)(1/(1 - alpha^2)) log(...)`` makes the patterns of ``W x`` and ``W x'`` differ for every ``x'`` at
a cosine of at most ``alpha``, with probability at least ``1 - delta 2^-m``. Checked at a cosine of exactly ``alpha``:
by Slepian's inequality the probability of the same pattern grows with the cosine, so this is the hardest ``x'`` taken
alone; and by Lemma 2 the points at that cosine are the hardest taken together.

In the text: the last step of the proof conditions on bounded rows but bounds the failure without the condition, so that
the theorem as stated needs a division by 0.99; and the radius of the net is printed under a root that it does not have.
"""

from __future__ import annotations

import math

from kwta_theory import checks, theory
from kwta_theory.statements.pointwise import Rotation, check_sparsity_ratio, every_statement, rotation_statement
from kwta_theory.statements.settings import Settings


def check_hypotheses(settings: Settings) -> None:
    """``gamma in (0, 0.48)``, ``alpha in (0.5, 1)``."""
    check_sparsity_ratio(settings, "Theorem 8")
    if not 0.5 < settings.cosine < 1:
        raise checks.InvalidArgumentError(
            f"cosine={settings.cosine!r} is outside the hypothesis of Theorem 8: alpha must be in (0.5, 1)."
        )


def claim(input_dim: int, settings: Settings) -> Rotation:
    """Failure at most ``delta 2^-m``, at a cosine of ``alpha``."""
    granted = theory.theorem8_width(input_dim, settings.sparsity_ratio, settings.cosine, failure=settings.failure)
    log_failure = math.log(settings.failure) - input_dim * math.log(2)
    return Rotation(settings.cosine, log_failure, granted, {"cosine": settings.cosine, "delta": settings.failure})


TEXT = (
    "If all rows of W are at most 10 sqrt(m) long and l >= C ((m + log(1/delta))/gamma)(1/(1 - alpha^2)) log(...), "
    "then with probability at least 1 - delta 2^-m the activation patterns of Wx and Wx' differ for every x' whose "
    "cosine with x is at most alpha."
)
STATEMENT = rotation_statement(
    "theorem-8", "Theorem 8 (for one fixed x' and for every x')", TEXT, check_hypotheses, claim
)
CELLS = every_statement(
    "theorem-8-cells", "Theorem 8 (for every x', by the cell of the pattern)", TEXT, check_hypotheses, claim
)
