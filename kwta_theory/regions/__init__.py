"""The exact linear regions of a network: where its activations change their patterns, and how far it jumps there."""

from kwta_theory.regions.directions import Lines, data_lines, gradient_lines, random_lines
from kwta_theory.regions.events import line_regions_by_events
from kwta_theory.regions.first_layer import first_layer_distance
from kwta_theory.regions.lines import LineRegions, line_regions
from kwta_theory.regions.planes import PlaneRegions, plane_regions
from kwta_theory.regions.samples import LineSample
from kwta_theory.regions.statistics import RegionStatistics, region_statistics

__all__ = [
    "LineRegions",
    "LineSample",
    "Lines",
    "PlaneRegions",
    "RegionStatistics",
    "data_lines",
    "first_layer_distance",
    "gradient_lines",
    "line_regions",
    "line_regions_by_events",
    "plane_regions",
    "random_lines",
    "region_statistics",
]
