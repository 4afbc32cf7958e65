"""Theorem 10 (the formal version of Theorem 2): patterns of different inputs are disjoint in a wide enough layer.

For ``N`` points with all cosines at most ``alpha in (0.5, 1)``, fixed ``k >= 1`` and ``delta in (0, 1)``: if ``l`` is
sufficiently large, all patterns are pairwise disjoint with probability at least ``1 - delta``. ("For all i, j" as
printed includes ``i = j``, where it cannot be meant.) "Sufficiently large" is read as the width at which the proof
arrives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from kwta_theory.inputs import Inputs
from kwta_theory.statements.case import Case, Statement
from kwta_theory.statements.disjointness import check_points, disjoint_case, disjoint_curves, granted_log_width
from kwta_theory.statements.settings import Settings


def check_hypotheses(settings: Settings) -> None:
    """``k >= 1`` and ``delta in (0, 1)`` are checked by :class:`Settings` itself, the points with each input."""
    del settings


def cases(inputs: Inputs, settings: Settings) -> Iterator[Case]:
    """At the width asked for, and at the width that the proof grants."""
    check_points(inputs)
    granted = granted_log_width(inputs, settings)
    yield disjoint_case(inputs, settings, math.log(settings.width), granted, simulated=True)
    yield disjoint_case(inputs, settings, granted, granted, simulated=False)


STATEMENT = Statement(
    "theorem-10",
    "Theorem 10",
    "For N points with pairwise cosines at most alpha in (0.5, 1), fixed k >= 1 and delta in (0, 1): if l is "
    "sufficiently large, then with probability at least 1 - delta the activation patterns are pairwise disjoint.",
    check_hypotheses,
    cases,
    disjoint_curves,
)
