"""Estimators on Gaussian layers: what the statements of the paper say, counted on drawn layers."""

from kwta_theory.simulation.bernoulli import DistinctPatterns, distinct_patterns
from kwta_theory.simulation.crossings import BoundaryCrossings, boundary_crossings
from kwta_theory.simulation.fitting import Interpolation, interpolation
from kwta_theory.simulation.overlaps import DisjointPatterns, PatternOverlap, disjoint_patterns, pattern_overlap
from kwta_theory.simulation.pairs import PatternChange, pattern_change, same_pattern

__all__ = [
    "BoundaryCrossings",
    "DisjointPatterns",
    "DistinctPatterns",
    "Interpolation",
    "PatternChange",
    "PatternOverlap",
    "boundary_crossings",
    "disjoint_patterns",
    "distinct_patterns",
    "interpolation",
    "pattern_change",
    "pattern_overlap",
    "same_pattern",
]
