"""Images and labels: small real sets that need no download, and the paper's from their published files."""

from kwta_theory.networks.datasets.dataset import Dataset, Split
from kwta_theory.networks.datasets.load import NAMES, load
from kwta_theory.networks.datasets.published import DatasetError

__all__ = ["NAMES", "Dataset", "DatasetError", "Split", "load"]
