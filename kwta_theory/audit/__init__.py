"""The audit of somebody's own network with top-k activations: flips, overlap, dead units, ties, on their own inputs."""

from kwta_theory.audit.flips import Distances
from kwta_theory.audit.layers import TopKLayer
from kwta_theory.audit.overlap import expected_overlap
from kwta_theory.audit.run import Audit, Flips, LayerAudit, Measured, Overlap, Ties, Units, audit

__all__ = [
    "Audit",
    "Distances",
    "Flips",
    "LayerAudit",
    "Measured",
    "Overlap",
    "Ties",
    "TopKLayer",
    "Units",
    "audit",
    "expected_overlap",
]
