"""Theorem 10 (the formal version of Theorem 2): patterns of different inputs are disjoint in a wide enough layer.

For ``N`` points with all cosines at most ``alpha in (0.5, 1)``, fixed ``k >= 1`` and ``delta in (0, 1)``: if ``l`` is
sufficiently large, all patterns are pairwise disjoint with probability at least ``1 - delta``. ("For all i, j" as
printed includes ``i = j``, where it cannot be meant.) "Sufficiently large" is read as the width at which the proof
arrives.
"""

from __future__ import annotations

from kwta_theory.statements.case import Statement
from kwta_theory.statements.disjointness import disjoint_cases, disjoint_curves
from kwta_theory.statements.settings import Settings


def check_hypotheses(settings: Settings) -> None:
    """``k >= 1`` and ``delta in (0, 1)`` are checked by :class:`Settings` itself, the points with each input."""
    del settings


STATEMENT = Statement(
    "theorem-10",
    "Theorem 10",
    "For N points with pairwise cosines at most alpha in (0.5, 1), fixed k >= 1 and delta in (0, 1): if l is "
    "sufficiently large, then with probability at least 1 - delta the activation patterns are pairwise disjoint.",
    check_hypotheses,
    disjoint_cases,
    disjoint_curves,
)
