"""The NumPy backend: eager work on the CPU."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import BackendError
from .base import OWNERS, QUIET, Backend, register

# Below this many elements a broadcast is copied: NumPy's view of it takes longer to make.
_SMALL = 4096


_add: Any = np.add.reduce
_maximum: Any = np.maximum.reduce


def _sum(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return _add(x, axis=axis, dtype=x.dtype, keepdims=keepdims)


def _max(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return _maximum(x, axis=axis, keepdims=keepdims)


def _reshape(x: Any, shape: tuple[int, ...]) -> Any:
    return x.reshape(shape)


def _permute_dims(x: Any, axes: tuple[int, ...]) -> Any:
    return x.transpose(axes)


def _astype(x: Any, dtype: DType) -> Any:
    return x.astype(dtype)


def _broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    if math.prod(shape) > _SMALL:
        return np.broadcast_to(x, shape)
    out = np.empty(shape, x.dtype)
    out[...] = x
    return out


def _add_rows(x: Any, index: Any, values: Any) -> Any:
    out = x.copy()
    np.add.at(out, index, values)
    return out


def _put_rows(x: Any, index: Any, values: Any) -> Any:
    out = x.copy()
    out[index] = values
    return out


def numpy_module() -> types.SimpleNamespace:
    """NumPy under Array API names, by way of the array methods.

    NumPy's own functions wrap these methods in Python, which costs small arrays
    up to five microseconds a call. All else is NumPy itself.
    """
    names = {name: value for name, value in vars(np).items() if not name.startswith("_")}
    names |= {
        "sum": _sum, "max": _max, "reshape": _reshape, "permute_dims": _permute_dims,
        "astype": _astype, "broadcast_to": _broadcast_to, "add_rows": _add_rows,
        "put_rows": _put_rows, "adds_uint32": True,
    }  # fmt: skip
    return types.SimpleNamespace(**names)


class NumpyBackend:
    """Arrays of NumPy, evaluated without its floating-point warnings."""

    name = "numpy"
    device = "cpu"
    xp = numpy_module()

    def evaluate(self, function: Callable[..., Any], arrays: Any, attrs: Any) -> Any:
        return QUIET.copy().run(function, self.xp, *arrays, **attrs)

    def copy_in(self, data: Any, dtype: DType) -> Any:
        return QUIET.copy().run(np.array, data, dtype)

    def to_numpy(self, array: Any) -> Any:
        out = np.asarray(array).view()
        out.flags.writeable = False
        return out


NUMPY = NumpyBackend()


def _make_numpy(device: Any = None) -> Backend:
    if device not in (None, "cpu"):
        raise BackendError(
            f"the backend 'numpy' has the device 'cpu' only, not {device!r}; for a GPU use the "
            "backend 'torch'"
        )
    return NUMPY


OWNERS[np.ndarray] = OWNERS[np.generic] = NUMPY
register("numpy", _make_numpy)
