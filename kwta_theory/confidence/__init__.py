"""How sure a count makes us: exact intervals, anytime-valid sequences, error budgets, and the judging of a claim."""

from __future__ import annotations

from kwta_theory.confidence.budget import ErrorBudget
from kwta_theory.confidence.decision import (
    Decision,
    Judgement,
    decide,
    side_of_threshold,
    trials_to_decide,
    unanimous_trials_needed,
)
from kwta_theory.confidence.mean import Mean
from kwta_theory.confidence.proportion import (
    Interval,
    Proportion,
    clopper_pearson,
    largest_supported_confidence,
    lower_bound,
    upper_bound,
)
from kwta_theory.confidence.sequence import confidence_sequence, log_evidence

__all__ = [
    "Decision",
    "ErrorBudget",
    "Interval",
    "Judgement",
    "Mean",
    "Proportion",
    "clopper_pearson",
    "confidence_sequence",
    "decide",
    "largest_supported_confidence",
    "log_evidence",
    "lower_bound",
    "side_of_threshold",
    "trials_to_decide",
    "unanimous_trials_needed",
    "upper_bound",
]
