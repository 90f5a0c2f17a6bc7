"""Pictures by which training is understood, and the report of a run.

A picture has its data as attributes, shows itself in a notebook, and writes itself with `save`.
"""

from .boundary import Boundary, boundary
from .distributions import Distribution, HistogramsOverTime, distribution
from .drawing import Picture
from .functions import ACTIVATIONS, activations, losses
from .graphs import ComputationGraph, graph
from .inside import Histograms, dead_units, flow
from .landscape import Landscape, Trajectory, landscape
from .predictions import confusion, residuals
from .recorder import Report
from .reports import report
from .training import Panel, Series, curves, curves_svg

__all__ = [
    "ACTIVATIONS", "Boundary", "ComputationGraph", "Distribution", "Histograms",
    "HistogramsOverTime", "Landscape", "Panel", "Picture", "Report", "Series", "Trajectory",
    "activations", "boundary", "confusion", "curves", "curves_svg", "dead_units", "distribution",
    "flow", "graph", "landscape", "losses", "report", "residuals",
]  # fmt: skip
