"""Backends made of any array module that follows the Array API standard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..dtypes import SUPPORTED, DType, bfloat16
from ..errors import ArgumentError, BackendError
from .base import DEFAULT, QUIET, DeviceArray

# What op records use beyond the standard; a backend supplies it, or lacks the ops that need it.
BEYOND_THE_STANDARD = {
    "add_rows": "(x, index, values): x with values[i] added to row index[i], in order of i",
    "put_rows": "(x, index, values): x with row index[i] set to values[i]; the last i counts",
}

_MOST_CONSTANTS = 1024


class ArrayModule:
    """An array module as op records see it: NumPy dtypes are understood, new arrays are made on
    the backend's device, and a sum keeps its dtype. All else is the module itself.

    Args:
        xp: the module.
        device: its object for the device.
        dtypes: the module's dtype for each NumPy dtype that it has.
        functions: what `BEYOND_THE_STANDARD` asks for; it may also replace functions of the
            module that do not do what the standard says.
    """

    def __init__(
        self, xp: Any, device: Any, dtypes: Mapping[DType, Any], functions: Mapping[str, Any]
    ) -> None:
        self._xp = xp
        self._device = device
        self._dtypes = dtypes
        vars(self).update(functions)

    def __getattr__(self, name: str) -> Any:
        if name in BEYOND_THE_STANDARD:
            raise AttributeError(
                f"it lacks {name}, which goes beyond the Array API standard: "
                f"{name}{BEYOND_THE_STANDARD[name]}"
            )
        found = getattr(self._xp, name)
        vars(self)[name] = found  # the next look-up is quick
        return found

    def dtype(self, dtype: Any) -> Any:
        """The module's dtype for a NumPy dtype; its own dtypes stay."""
        if not isinstance(dtype, np.dtype):
            return dtype
        found = self._dtypes.get(dtype) or getattr(self._xp, dtype.name, None)
        if found is None:
            raise BackendError(f"{self._xp.__name__} has no dtype {dtype}")
        return found

    def asarray(self, x: Any, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._xp.asarray(x, dtype=self.dtype(dtype), device=self._device, copy=copy)

    def zeros(self, shape: Any, dtype: Any) -> Any:
        return self._xp.zeros(shape, dtype=self.dtype(dtype), device=self._device)

    def ones(self, shape: Any, dtype: Any) -> Any:
        return self._xp.ones(shape, dtype=self.dtype(dtype), device=self._device)

    def full(self, shape: Any, value: Any, dtype: Any) -> Any:
        return self._xp.full(shape, value, dtype=self.dtype(dtype), device=self._device)

    def arange(self, start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Any:
        kind = self.dtype(dtype)
        return self._xp.arange(start, stop, step, dtype=kind, device=self._device)

    def astype(self, x: Any, dtype: Any) -> Any:
        return self._xp.astype(x, self.dtype(dtype))

    def sum(self, x: Any, axis: Any, keepdims: bool = False) -> Any:
        return self._xp.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


class ArrayModuleBackend:
    """A backend made of an array module: what third parties build theirs with.

    Args:
        name: the name in messages and in ``ct.backend(name)``.
        xp: a module with the names of the Array API standard (2024.12 or later).
        device: the module's object for the device; None if it has but one.
        label: the text by which the function that makes the backend finds the device again;
            ``str(device)`` unless given.
        functions: the functions that the standard lacks, by the names of `BEYOND_THE_STANDARD`.
        from_numpy: ``(array) -> array of the module on the device``, a copy; by default
            ``xp.asarray(array, device=device, copy=True)``.
        to_numpy: the way back; a copy, or memory that nobody changes. By default by DLPack.

    See docs/adding_a_backend.md for an example.
    """

    def __init__(
        self,
        name: str,
        xp: Any,
        device: Any = None,
        *,
        label: str | None = None,
        functions: Mapping[str, Callable[..., Any]] | None = None,
        from_numpy: Callable[[Any], Any] | None = None,
        to_numpy: Callable[[Any], Any] = np.from_dlpack,
    ) -> None:
        unknown = [
            n for n in functions or {} if not hasattr(xp, n) and n not in BEYOND_THE_STANDARD
        ]
        if unknown:
            raise ArgumentError(
                f"backend {name}: functions {unknown} are neither of the standard nor beyond it; "
                f"those beyond are {', '.join(BEYOND_THE_STANDARD)}"
            )
        self.name = name
        self.device = label or (DEFAULT if device is None else str(device))
        dtypes = {d: getattr(xp, d.name) for d in SUPPORTED if hasattr(xp, d.name)}
        self._back = {own: dtype for dtype, own in dtypes.items()}
        self.xp = ArrayModule(xp, device, dtypes, functions or {})
        self._from_numpy = from_numpy or self._standard_copy
        self._to_numpy = to_numpy
        self._constants: dict[tuple[DType, bytes], Any] = {}

    def _standard_copy(self, array: Any) -> Any:
        return self.xp.asarray(array, copy=True)

    def evaluate(self, function: Callable[..., Any], arrays: Any, attrs: Any) -> Any:
        """``function(xp, *arrays, **attrs)``: payloads go in as arrays of the module, also those
        in dicts, and arrays of the module come out as payloads."""
        inside = [self._inside(x) for x in arrays]
        return self._outside(QUIET.copy().run(function, self.xp, *inside, **attrs))

    def _inside(self, x: Any) -> Any:
        if type(x) is DeviceArray:
            return x.array
        if isinstance(x, (np.ndarray, np.generic)):
            return self._constant(np.asarray(x))
        if type(x) is dict:
            return {name: self._inside(part) for name, part in x.items()}
        return x

    def _constant(self, array: Any) -> Any:
        """A NumPy array on this device; single numbers, which come up in every step, once."""
        if array.shape != ():
            return self._from_numpy(array)
        key = (array.dtype, array.tobytes())
        found = self._constants.get(key)
        if found is None:
            if len(self._constants) >= _MOST_CONSTANTS:
                self._constants.clear()
            found = self._constants[key] = self._from_numpy(array)
        return found

    def _outside(self, out: Any) -> Any:
        if type(out) is tuple:
            return tuple(self._outside(part) for part in out)
        if type(out) is dict:
            return {name: self._outside(part) for name, part in out.items()}
        if isinstance(out, (DeviceArray, np.ndarray)):
            return out
        return self.wrap(out)

    def wrap(self, array: Any) -> DeviceArray:
        """An array of the module as the payload of a tensor; it must not be changed afterwards."""
        dtype = self._back.get(array.dtype)
        if dtype is None and "bfloat16" in str(array.dtype):
            dtype = self._back[array.dtype] = bfloat16()
        if dtype is None:
            raise BackendError(f"{self.name}: arrays of {array.dtype} are not supported")
        return DeviceArray(array, tuple(array.shape), dtype, self)

    def copy_in(self, data: Any, dtype: DType) -> DeviceArray:
        """`data`, a NumPy array or number, as a new array here."""
        self.xp.dtype(dtype)  # raises for one that the module lacks
        return self.wrap(self._from_numpy(np.asarray(data, dtype)))

    def to_numpy(self, array: Any) -> Any:
        """A payload, or an array of the module, as a read-only NumPy array."""
        found = self._to_numpy(array.array if type(array) is DeviceArray else array)
        out = np.asarray(found).view()
        out.flags.writeable = False
        return out
