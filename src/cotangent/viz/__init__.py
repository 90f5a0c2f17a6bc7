"""Pictures by which training is understood."""

from .boundary import boundary
from .distributions import Distribution, distribution
from .functions import ACTIVATIONS, activations, losses
from .graphs import graph
from .inside import Histograms, dead_units, flow
from .landscape import Trajectory, landscape
from .predictions import confusion, residuals
from .training import Panel, Series, curves, curves_svg

__all__ = [
    "ACTIVATIONS", "Distribution", "Histograms", "Panel", "Series", "Trajectory", "activations", "boundary", "confusion",
    "curves", "curves_svg", "dead_units", "distribution", "flow", "graph", "landscape", "losses", "residuals",
]  # fmt: skip
