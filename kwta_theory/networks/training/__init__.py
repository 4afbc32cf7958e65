"""Training as in Section 4 and Appendix D.1: natural, PGD-adversarial, TRADES, free; incremental sparsity ratios."""

from kwta_theory.networks.training.checkpoint import CheckpointError, load_checkpoint, load_network
from kwta_theory.networks.training.methods import TrainingError
from kwta_theory.networks.training.metrics import accuracy
from kwta_theory.networks.training.recipe import EPSILON, METHODS, SCALES, Recipe, recipe
from kwta_theory.networks.training.trainer import CHECKPOINT, METRICS, Options, train

__all__ = [
    "CHECKPOINT",
    "EPSILON",
    "METHODS",
    "METRICS",
    "SCALES",
    "CheckpointError",
    "Options",
    "Recipe",
    "TrainingError",
    "accuracy",
    "load_checkpoint",
    "load_network",
    "recipe",
    "train",
]
