"""The exact linear regions of a network: where its activations change their patterns, and how far it jumps there."""

from kwta_theory.regions.events import line_regions_by_events
from kwta_theory.regions.lines import LineRegions, line_regions

__all__ = ["LineRegions", "line_regions", "line_regions_by_events"]
