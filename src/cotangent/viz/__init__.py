"""Pictures: curves as SVG text, without a plotting package."""

from .curve import Panel, Series, curves_svg

__all__ = ["Panel", "Series", "curves_svg"]
