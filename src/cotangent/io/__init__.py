"""Files: weights."""

from .weights import load, save

__all__ = ["load", "save"]
