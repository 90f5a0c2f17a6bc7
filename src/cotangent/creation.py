"""Functions that make tensors from shapes and ranges, on the backend that `ct.backend` sets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .arrays import new_array
from .checks import real, whole
from .config import SETTINGS
from .dtypes import as_dtype
from .errors import ArgumentError, ShapeError
from .placement import allocate, alongside
from .shapes import as_shape, broadcast_shapes
from .tensors import Tensor, lift, tensor


def _filled(what: str, shape: Any, value: Any, dtype: Any) -> Tensor:
    sizes = as_shape(what, shape)
    if min(sizes, default=0) < 0:
        raise ShapeError(f"{what}: a size cannot be negative: {sizes}")
    kind = SETTINGS.default_float if dtype is None else as_dtype(dtype)
    values = new_array(what, value, kind)
    if broadcast_shapes(what, sizes, values.shape) != sizes:
        raise ShapeError(f"{what}: a value of shape {values.shape} does not fill shape {sizes}")
    return Tensor(allocate(np.full(sizes, values)))


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of zeros; the dtype is the default float unless given."""
    return _filled("zeros", shape, 0, dtype)


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of ones; the dtype is the default float unless given."""
    return _filled("ones", shape, 1, dtype)


def full(shape: Any, value: Any, dtype: Any = None) -> Tensor:
    """A tensor of one value; a Python integer gives int64, a float the default float."""
    kind = dtype if dtype is not None else lift(value).dtype
    return _filled("full", shape, value, kind)


def zeros_like(x: Any) -> Tensor:
    """Zeros of the shape and dtype of `x`, on its backend."""
    x = lift(x)
    with alongside(x):
        return zeros(x.shape, x.dtype)


def ones_like(x: Any) -> Tensor:
    """Ones of the shape and dtype of `x`, on its backend."""
    x = lift(x)
    with alongside(x):
        return ones(x.shape, x.dtype)


def _plain(what: str, name: str, value: Any) -> Any:
    """A number, also as a tensor or array without axes."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    return real(what, name, value)


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Tensor:
    """Evenly spaced values from `start` (0 if it is the only argument) up to but without `stop`.

    >>> arange(3).tolist()
    [0, 1, 2]
    """
    begin, end = (0, start) if stop is None else (start, stop)
    begin, end, step = (
        _plain("arange", n, v) for n, v in (("start", begin), ("stop", end), ("step", step))
    )
    if step == 0:
        raise ArgumentError("arange: the step cannot be 0")
    if not math.isfinite((end - begin) / step):
        raise ArgumentError(f"arange: start, stop and step must be finite: {begin}, {end}, {step}")
    as_shape("arange", max(math.ceil((end - begin) / step), 0))
    return tensor(np.arange(begin, end, step), dtype=dtype)


def linspace(start: float, stop: float, num: int, dtype: Any = None) -> Tensor:
    """`num` evenly spaced values from `start` to `stop`, both included."""
    start, stop = _plain("linspace", "start", start), _plain("linspace", "stop", stop)
    as_shape("linspace", whole("linspace", "num", num, 0))
    return tensor(np.linspace(start, stop, num), dtype=dtype)


def eye(n: int, dtype: Any = None) -> Tensor:
    """The identity matrix of `n` rows."""
    as_shape("eye", (whole("eye", "n", n, 0), n))
    return tensor(np.eye(n), dtype=dtype)
