"""Certified geometry: the cell of an activation pattern of one layer, and its radius from both sides."""

from kwta_theory.geometry.boundaries import Boundary
from kwta_theory.geometry.cell import PatternCell, pattern_cell
from kwta_theory.geometry.certificate import (
    BoxCertificate,
    Certificate,
    Leaf,
    ProductCertificate,
    Split,
    VertexCertificate,
    check_certificate,
)
from kwta_theory.geometry.distribution import (
    HoldingProbability,
    Quantile,
    RadiusDistribution,
    radius_distribution,
)
from kwta_theory.geometry.radius import EFFORTS, CertificationError, RadiusBracket

__all__ = [
    "EFFORTS",
    "Boundary",
    "BoxCertificate",
    "Certificate",
    "CertificationError",
    "HoldingProbability",
    "Leaf",
    "PatternCell",
    "ProductCertificate",
    "Quantile",
    "RadiusBracket",
    "RadiusDistribution",
    "Split",
    "VertexCertificate",
    "check_certificate",
    "pattern_cell",
    "radius_distribution",
]
