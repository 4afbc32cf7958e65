"""How sure a count makes us: exact intervals, anytime-valid sequences, error budgets, and the judging of a claim."""

from __future__ import annotations

from kwta_theory.confidence.proportion import (
    Interval,
    Proportion,
    clopper_pearson,
    largest_supported_confidence,
    lower_bound,
    upper_bound,
)

__all__ = [
    "Interval",
    "Proportion",
    "clopper_pearson",
    "largest_supported_confidence",
    "lower_bound",
    "upper_bound",
]
