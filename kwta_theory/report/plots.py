"""Parts of figures, for scripts, notebooks and reports: exact curves, estimates with intervals, convergence, fits.

Every function draws on the axes that it is given; nothing here uses pyplot or leaves a trace in matplotlib's settings.
A quantity that spans hundreds of powers of ten is drawn as its ``log10`` on a linear axis (``log=True``), because
``exp(-3000)`` is no float.
"""

from __future__ import annotations

from kwta_theory.report.canvas import (
    CLAIMED,
    EXACT,
    FIRST,
    GRANTED,
    MEASURED,
    PALETTE,
    PROVED,
    as_svg,
    caption,
    captions,
    house_style,
    legend,
    panels,
)
from kwta_theory.report.convergence import Running, convergence, running
from kwta_theory.report.drawing import LN10, band, estimates, law, marks
from kwta_theory.report.scaling import Fit, draw_fit, scaling_fit

__all__ = [
    "CLAIMED",
    "EXACT",
    "FIRST",
    "GRANTED",
    "LN10",
    "MEASURED",
    "PALETTE",
    "PROVED",
    "Fit",
    "Running",
    "as_svg",
    "band",
    "caption",
    "captions",
    "convergence",
    "draw_fit",
    "estimates",
    "house_style",
    "law",
    "legend",
    "marks",
    "panels",
    "running",
    "scaling_fit",
]
