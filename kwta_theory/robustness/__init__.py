"""How many images no attack within the ball can turn: judged here, not by the attacks."""

from kwta_theory.robustness.evaluation import Attack, Evaluation, Row, evaluate, unmatched
from kwta_theory.robustness.judge import Judge, Passes, counted, guarded

__all__ = ["Attack", "Evaluation", "Judge", "Passes", "Row", "counted", "evaluate", "guarded", "unmatched"]
