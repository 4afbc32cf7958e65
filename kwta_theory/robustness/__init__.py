"""How many images no attack within the ball can turn: judged here, not by the attacks."""

from kwta_theory.robustness.evaluation import Evaluation, Row, evaluate
from kwta_theory.robustness.judge import Judge, Passes, counted

__all__ = ["Evaluation", "Judge", "Passes", "Row", "counted", "evaluate"]
