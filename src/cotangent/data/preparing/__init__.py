"""Rows of tables turned into arrays: what each column is, and how it is put into numbers."""

from .columns import Category, Column, Flag, Moment, Number
from .preparation import Preparation, Prepared
from .stream import TableStream
from .targets import ClassTarget, NumberTarget, Target

__all__ = [
    "Category", "ClassTarget", "Column", "Flag", "Moment", "Number", "NumberTarget", "Preparation",
    "Prepared", "TableStream", "Target",
]  # fmt: skip
