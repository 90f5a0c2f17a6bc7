"""Whether an array is free of NaN and infinity."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backends import backend_of
from ..dtypes import is_float


def is_finite(array: Any) -> bool:
    """Whether there is no NaN or infinity among floats; other dtypes always are."""
    if not is_float(array.dtype):
        return True
    if isinstance(array, (np.ndarray, np.generic)):
        with np.errstate(all="ignore"):
            return bool(np.isfinite(array).all())
    xp = backend_of(array).xp
    return bool(xp.all(xp.isfinite(array)))
