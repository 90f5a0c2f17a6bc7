"""Ranges in which the values of a watched program have to be."""

from __future__ import annotations

from typing import NamedTuple

from ..dtypes import DType


class Range(NamedTuple):
    """The numbers from `low` to below `high`, which is positive; `low` is not below ``-high``."""

    low: float
    high: float


# Weights and gradients beyond are rare; and their squares, divided by small numbers, do not
# overflow.
_LARGEST = {"f": 2.0**32, "d": 2.0**200}

# For so many steps a look at variables is good (see growth.py).
STEPS = 64


def widest(dtype: DType) -> Range:
    """The range in which arrays of floats are to be."""
    most = _LARGEST["d" if dtype.char == "d" else "f"]
    return Range(-most, most)
