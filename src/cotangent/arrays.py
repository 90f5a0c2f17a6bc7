"""Data that comes in (numbers, nested lists, arrays) as new NumPy arrays of a supported dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backends import NUMPY
from .config import SETTINGS
from .dtypes import DType, as_dtype, float64, is_float, is_integer, is_supported, is_unknown
from .errors import ArgumentError, DTypeError, ShapeError

Array = np.ndarray[Any, Any]


def dtype_of(what: str, data: Any) -> DType:
    """The dtype that NumPy gives to `data`."""
    if is_unknown(data):
        return float64
    try:
        return np.asarray(data).dtype
    except ValueError as error:
        raise ShapeError(f"{what}: the nested lists are ragged: {error}") from None


def new_array(what: str, data: Any, dtype: Any) -> Array:
    """A new NumPy array that holds `data`; Python floats and float64 become the default float."""
    if isinstance(data, np.ma.MaskedArray):
        refuse_masked(what, data)
    try:
        source = np.asarray(data)
    except ValueError as error:
        raise ShapeError(f"{what}: the nested lists are ragged: {error}") from None
    if dtype is None:
        native = source.dtype.newbyteorder("=")
        dtype = SETTINGS.default_float if native == float64 else native
    if not is_supported(source.dtype.newbyteorder("=")):
        raise DTypeError(
            f"{what}: cannot hold {source.dtype} data (a value of class {type(data).__name__}); "
            "a tensor holds bool, integers or floats"
        )
    return copy_as(what, source, as_dtype(dtype))


def refuse_masked(what: str, data: np.ma.MaskedArray[Any, Any]) -> None:
    """Raise if something is masked: what is under a mask is no value."""
    count = int(np.count_nonzero(data.mask))
    if count:
        raise DTypeError(
            f"{what}: a tensor has no mask, and {count} of {data.size} elements are masked (shape "
            f"{data.shape}); fill them with .filled(value), and pass the mask beside it if needed"
        )


def copy_as(what: str, source: Array, dtype: DType) -> Array:
    """A copy of `source` as `dtype`; an error where an integer dtype cannot hold a value."""
    out: Array = NUMPY.copy_in(source, dtype)
    if (
        is_integer(dtype)
        and source.dtype != dtype
        and (is_integer(source.dtype) or is_float(source.dtype))
    ):
        lost = np.trunc(source) != out
        if lost.any():
            raise ArgumentError(
                f"{what}: {source[lost].flat[0]} does not fit into {dtype} (data of shape "
                f"{source.shape}); choose a wider dtype, or limit the values with np.clip first"
            )
    return out
