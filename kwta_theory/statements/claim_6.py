"""Claim 6 (in the proof of Lemma 5; where it is used the text calls it "Claim C.1").

Given ``E``, with probability at least ``1 - (1/2)^(eps gamma l/2)`` some row with ``X_i in [R1', R1]`` has ``Y_i >=
0``. The same as Claim 5 in the lower window, where a row misses with probability exactly 1/2: see ``claim_5``.
"""

from __future__ import annotations

from kwta_theory.statements.case import Statement
from kwta_theory.statements.claim_5 import Window, cases_of
from kwta_theory.statements.lemma_5 import check_hypotheses

CLAIM_6 = Window("Claim 6", False, 0.0, lambda: 0.5, 0.5)

STATEMENT = Statement(
    "claim-6",
    "Claim 6",
    "In the proof of Lemma 5, given E, with probability at least 1 - (1/2)^(eps gamma l/2) some row with X_i in "
    "[R1', R1] has Y_i >= 0.",
    check_hypotheses,
    cases_of(CLAIM_6),
    uses_inputs=False,
)
