"""Pictures by which training is understood."""

from .distributions import Distribution, distribution
from .functions import ACTIVATIONS, activations, losses
from .graphs import graph
from .inside import Histograms, dead_units, flow
from .predictions import confusion, residuals
from .training import Panel, Series, curves, curves_svg

__all__ = [
    "ACTIVATIONS", "Distribution", "Histograms", "Panel", "Series", "activations", "confusion",
    "curves", "curves_svg", "dead_units", "distribution", "flow", "graph", "losses", "residuals",
]  # fmt: skip
