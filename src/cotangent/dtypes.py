"""Data types: their names, kinds, and the promotion rules.

A dtype is a NumPy dtype object. Promotion is the Array API standard's; where that is silent, an
integer or bool tensor with a float tensor gives the float, and bool with an integer the
integer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .config import EPOCH, SETTINGS
from .errors import ArgumentTypeError, DTypeError

DType = np.dtype[Any]

bool_ = np.dtype("bool")
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (np.dtype(f"float{n}") for n in (16, 32, 64))

FLOATS = (float16, float32, float64)
INTEGERS = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)
SUPPORTED = frozenset((bool_, *INTEGERS, *FLOATS))


def as_dtype(spec: Any) -> DType:
    """The dtype object for `spec`: a dtype, its name, or a Python type.

    ``float`` means the default float. Raises `DTypeError` for anything that tensors
    cannot hold (complex numbers, text, objects).

    >>> as_dtype("float64")
    dtype('float64')
    """
    if spec is float:
        return SETTINGS.default_float
    try:
        dtype = np.dtype(spec)
    except TypeError:
        raise DTypeError(f"{spec!r} is not a dtype; use one such as ct.float32") from None
    if dtype not in SUPPORTED:
        raise DTypeError(
            f"dtype {dtype} is not supported; a tensor holds bool, integers or real floats"
        )
    return dtype


def is_float(dtype: DType) -> bool:
    """Whether `dtype` is a floating-point type."""
    return dtype.kind == "f"


def is_integer(dtype: DType) -> bool:
    """Whether `dtype` is a signed or unsigned integer type."""
    return dtype.kind in "iu"


_PROMOTED: dict[tuple[DType, DType], DType] = {}


def promote(operation: str, a: DType, b: DType) -> DType:
    """The dtype of `operation` applied to tensors of dtypes `a` and `b`.

    Raises `DTypeError` for uint64 with a signed integer, which has no common integer type.
    """
    if a == b:
        return a
    found = _PROMOTED.get((a, b))
    if found is None:
        found = _PROMOTED[a, b] = _promote(operation, a, b)
    return found


def _promote(operation: str, a: DType, b: DType) -> DType:
    rank = {"b": 0, "i": 1, "u": 1, "f": 2}
    if rank[a.kind] != rank[b.kind]:
        return a if rank[a.kind] > rank[b.kind] else b
    joint = np.promote_types(a, b)
    if is_integer(a) and not is_integer(joint):
        raise DTypeError(
            f"{operation}: {a} and {b} have no common integer dtype; convert one with .astype(...)"
        )
    return joint


def set_default_dtype(dtype: Any) -> None:
    """Set the dtype of Python floats, and of float64 arrays that are passed in.

    Args:
        dtype: ``ct.float32`` (the default at start) or ``ct.float64``.
    """
    resolved = as_dtype(dtype)
    if resolved not in (float32, float64):
        raise ArgumentTypeError(f"set_default_dtype takes ct.float32 or ct.float64, not {resolved}")
    SETTINGS.default_float = resolved
    EPOCH.restructure()


def default_dtype() -> DType:
    """The dtype that Python floats become."""
    return SETTINGS.default_float
