"""Training as in Section 4 and Appendix D.1: natural, PGD-adversarial, TRADES, free; incremental sparsity ratios."""

from kwta_theory.networks.training.checkpoint import CheckpointError, load_checkpoint, load_network
from kwta_theory.networks.training.recipe import METHODS, SCALES, Recipe, recipe
from kwta_theory.networks.training.trainer import Options, TrainingError, train

__all__ = [
    "METHODS",
    "SCALES",
    "CheckpointError",
    "Options",
    "Recipe",
    "TrainingError",
    "load_checkpoint",
    "load_network",
    "recipe",
    "train",
]
