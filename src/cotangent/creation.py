"""Functions that make tensors from shapes and ranges."""

from __future__ import annotations

from typing import Any

import numpy as np

from .config import SETTINGS
from .dtypes import as_dtype
from .errors import ArgumentError, ShapeError
from .shapes import as_shape
from .tensors import Tensor, lift, tensor


def _filled(what: str, shape: Any, value: Any, dtype: Any) -> Tensor:
    sizes = as_shape(what, shape)
    if min(sizes, default=0) < 0:
        raise ShapeError(f"{what}: a size cannot be negative: {sizes}")
    kind = SETTINGS.default_float if dtype is None else as_dtype(dtype)
    return Tensor(np.full(sizes, tensor(value, dtype=kind).data))


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of zeros; the dtype is the default float unless given."""
    return _filled("zeros", shape, 0, dtype)


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of ones; the dtype is the default float unless given."""
    return _filled("ones", shape, 1, dtype)


def full(shape: Any, value: Any, dtype: Any = None) -> Tensor:
    """A tensor of one value; a Python integer gives int64, a float the default float."""
    kind = dtype if dtype is not None else tensor(value).dtype
    return _filled("full", shape, value, kind)


def zeros_like(x: Any) -> Tensor:
    """Zeros of the shape and dtype of `x`."""
    return zeros(lift(x).shape, lift(x).dtype)


def ones_like(x: Any) -> Tensor:
    """Ones of the shape and dtype of `x`."""
    return ones(lift(x).shape, lift(x).dtype)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Tensor:
    """Evenly spaced values from `start` (0 if it is the only argument) up to but without `stop`.

    >>> arange(3).tolist()
    [0, 1, 2]
    """
    if step == 0:
        raise ArgumentError("arange: the step cannot be 0")
    begin, end = (0, start) if stop is None else (start, stop)
    return tensor(np.arange(begin, end, step), dtype=dtype)


def linspace(start: float, stop: float, num: int, dtype: Any = None) -> Tensor:
    """`num` evenly spaced values from `start` to `stop`, both included."""
    if num < 0:
        raise ArgumentError(f"linspace: num must not be negative, got {num}")
    return tensor(np.linspace(start, stop, num), dtype=dtype)


def eye(n: int, dtype: Any = None) -> Tensor:
    """The identity matrix of `n` rows."""
    return tensor(np.eye(n), dtype=dtype)
