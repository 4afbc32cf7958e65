"""The statements of the paper, one module each, and the run that judges them."""

from kwta_theory.statements.run import DEFAULT, STATEMENTS, Progress, default_inputs, verify
from kwta_theory.statements.settings import BUDGETS, Budget, Settings
from kwta_theory.statements.verdict import LogBracket, Measurement, Outcome, Verdict

__all__ = [
    "BUDGETS",
    "DEFAULT",
    "STATEMENTS",
    "Budget",
    "LogBracket",
    "Measurement",
    "Outcome",
    "Progress",
    "Settings",
    "Verdict",
    "default_inputs",
    "verify",
]
