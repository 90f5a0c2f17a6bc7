"""Whether an array is free of NaN and infinity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends import backend_of
from ..dtypes import is_float


def is_finite(array: Any) -> bool:
    """Whether there is no NaN or infinity among floats; other dtypes always are."""
    kind, is_numpy = array.dtype.char, isinstance(array, (np.ndarray, np.generic))
    if is_numpy:
        if kind in "?bBhHiIlLqQ":
            return True
        if kind in "fd":
            if array.ndim == 0:
                return math.isfinite(array)
            # The sum of squares is what NumPy finds soonest. If it is finite, all elements are.
            flat = array if array.flags.c_contiguous else array.ravel("K")
            if math.isfinite(np.vdot(flat, flat)):  # `dot` would warn of an overflow
                return True
        with np.errstate(all="ignore"):
            return not is_float(array.dtype) or bool(np.isfinite(array).all())
    xp = backend_of(array).xp
    return not is_float(array.dtype) or bool(xp.all(xp.isfinite(array)))
