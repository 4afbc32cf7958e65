"""Networks as the paper builds and trains them: activations by name, architectures, data sets, training methods."""

from kwta_theory.networks.activations import activation_factory
from kwta_theory.networks.architectures import ARCHITECTURES, Architecture, build, parameter_count
from kwta_theory.networks.datasets import Dataset, DatasetError, Split, load

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Dataset",
    "DatasetError",
    "Split",
    "activation_factory",
    "build",
    "load",
    "parameter_count",
]
