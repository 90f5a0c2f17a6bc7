"""Data types: their names, kinds, and the promotion rules.

A dtype is a NumPy dtype object. Promotion is the Array API standard's; where that is silent, an
integer or bool tensor with a float tensor gives the float, bool with an integer the integer, and
float16 with bfloat16 float32.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .config import EPOCH, SETTINGS
from .errors import ArgumentTypeError, DTypeError, MissingPackageError

DType = np.dtype[Any]

bool_ = np.dtype("bool")
int8, int16, int32, int64 = (np.dtype(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (np.dtype(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = (np.dtype(f"float{n}") for n in (16, 32, 64))

FLOATS = (float16, float32, float64)
INTEGERS = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)
SUPPORTED = frozenset((bool_, *INTEGERS, *FLOATS))

# NumPy has no bfloat16 of its own. The one of ml_dtypes is known by its letter, so that the
# package is imported only where the dtype is asked for; NumPy calls its kind "V".
_BFLOAT16_CHAR = "E"


def bfloat16() -> DType:
    """The dtype bfloat16: the upper half of a float32, with 8 bits of precision."""
    try:
        import ml_dtypes
    except ImportError:
        raise MissingPackageError(
            "bfloat16 needs the package ml_dtypes; install it with: pip install ml_dtypes"
        ) from None
    return np.dtype(ml_dtypes.bfloat16)


def as_dtype(spec: Any) -> DType:
    """The dtype object for `spec`: a dtype, its name, or a Python type.

    ``float`` means the default float. Raises `DTypeError` for anything that tensors
    cannot hold (complex numbers, text, objects).

    >>> as_dtype("float64")
    dtype('float64')
    """
    if spec is float:
        return SETTINGS.default_float
    if type(spec) is str and spec == "bfloat16":
        return bfloat16()
    try:
        dtype = np.dtype(spec)
    except (TypeError, ValueError, SyntaxError):
        raise DTypeError(f"{spec!r} is not a dtype; use one such as ct.float32") from None
    if not is_supported(dtype) or spec is None:
        raise DTypeError(
            f"dtype {dtype} is not supported; a tensor holds bool, integers or real floats"
        )
    return dtype


def is_supported(dtype: DType) -> bool:
    """Whether a tensor can hold `dtype`."""
    return dtype in SUPPORTED or dtype.char == _BFLOAT16_CHAR


def is_float(dtype: DType) -> bool:
    """Whether `dtype` is a floating-point type."""
    return dtype.kind == "f" or dtype.char == _BFLOAT16_CHAR


def is_narrow(dtype: DType) -> bool:
    """Whether `dtype` is float16 or bfloat16: stored in two bytes, computed in float32."""
    return dtype.char == "e" or dtype.char == _BFLOAT16_CHAR


def is_integer(dtype: DType) -> bool:
    """Whether `dtype` is a signed or unsigned integer type."""
    return dtype.kind in "iu"


def is_unknown(value: Any) -> bool:
    """Whether it is a `weak.Number`: a float whose value is not known yet."""
    return hasattr(value, "alone")


def finfo(dtype: Any) -> Any:
    """The limits of a float dtype: ``bits``, ``eps``, ``max``, ``min``, ``smallest_normal``.

    >>> float(finfo("float32").eps)
    1.1920928955078125e-07
    """
    found = as_dtype(dtype)
    if not is_float(found):
        raise DTypeError(f"finfo: {found} is no floating-point dtype; see ct.iinfo")
    if found.char != _BFLOAT16_CHAR:
        return np.finfo(found)
    import ml_dtypes  # found by as_dtype

    limits: Any = ml_dtypes.finfo
    return limits(found)


def iinfo(dtype: Any) -> Any:
    """The limits of an integer dtype: ``bits``, ``max``, ``min``.

    >>> iinfo("int8").max
    127
    """
    found = as_dtype(dtype)
    if not is_integer(found):
        raise DTypeError(f"iinfo: {found} is no integer dtype; see ct.finfo")
    return np.iinfo(found)


def result_type(*dtypes: Any) -> DType:
    """The dtype of an operation on tensors of these dtypes.

    >>> result_type("float16", "bfloat16")
    dtype('float32')
    """
    found = [as_dtype(d) for d in dtypes]
    if not found:
        raise DTypeError("result_type: needs at least one dtype")
    return functools.reduce(lambda a, b: promote("result_type", a, b), found)


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
    first, second = _rank(a), _rank(b)
    if first != second:
        return a if first > second else b
    if is_narrow(a) and is_narrow(b):
        return float32  # neither holds all values of the other
    joint = np.promote_types(a, b)
    if is_integer(a) and not is_integer(joint):
        raise DTypeError(
            f"{operation}: {a} and {b} have no common integer dtype; convert one with .astype(...)"
        )
    return joint


def _rank(dtype: DType) -> int:
    """0 for bool, 1 for integers, 2 for floats."""
    return 2 if is_float(dtype) else int(is_integer(dtype))


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
