"""Data sets that come with the package."""

from .handwriting import Digits, digits

__all__ = ["Digits", "digits"]
