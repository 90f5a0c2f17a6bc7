"""Casts to another dtype, and checks of indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import FLOATS, INTEGERS, DType, bool_, float64, is_float, is_integer
from ..errors import ArgumentError, BoundsError, DTypeError
from .primitive import Aval, Primitive, Sample, register

INF, NAN = np.inf, np.nan


def saturating_cast(xp: Any, x: Any, dtype: DType) -> Any:
    """`x` as `dtype`. Floats go to integers by truncation, NaN to 0, and what does not fit to
    the nearest end of the range, where the C language leaves the result open."""
    if not ("float" in str(x.dtype) and is_integer(dtype)):
        return xp.astype(x, dtype)
    limits = np.iinfo(dtype)
    top = 2.0 ** (limits.bits - (limits.kind == "i"))
    wide = xp.astype(x, float64)
    inside = (wide >= float(limits.min)) & (wide < top)
    whole = xp.astype(xp.where(inside, wide, xp.zeros_like(wide)), dtype)
    low = xp.asarray(limits.min, dtype=dtype)
    high = xp.asarray(limits.max, dtype=dtype)
    return xp.where(wide >= top, high, xp.where(wide < float(limits.min), low, whole))


def _infer_astype(x: Any, dtype: DType) -> Aval:
    return x.shape, dtype


def _cast_samples(rng: np.random.Generator) -> list[Sample]:
    """float64 to float64 keeps the derivative tests meaningful; other pairs are compared."""
    values = rng.uniform(-3, 3, (2, 3))
    return [Sample((values,), {"dtype": float64})] + [
        Sample((values.astype(source),), {"dtype": target})
        for source in (FLOATS[1], INTEGERS[2], INTEGERS[3])
        for target in (FLOATS[1], float64, INTEGERS[2], INTEGERS[3], bool_)
    ]


def _cast_back(g: Any, out: Any, x: Any, dtype: DType) -> Any:
    return astype(g, dtype=x.dtype) if is_float(x.dtype) and is_float(dtype) else None


def _cast_forward(t: Any, out: Any, x: Any, dtype: DType) -> Any:
    return astype(t, dtype=dtype) if is_float(dtype) else None


astype: Primitive = register(
    Primitive(
        "astype",
        "x as another dtype; floats to integers truncate and saturate, NaN gives 0",
        kind="elementwise",
        infer=_infer_astype,
        eval=lambda xp, x, dtype: saturating_cast(xp, x, dtype),
        lower=lambda e, x, dtype: e.cast(x, dtype),
        vjp=(_cast_back,),
        jvp=(_cast_forward,),
        samples=_cast_samples,
        special=[
            Sample((np.array(NAN),), {"dtype": INTEGERS[2]}, np.array(0, "int32")),
            Sample((np.array(INF),), {"dtype": INTEGERS[2]}, np.array(2**31 - 1, "int32")),
            Sample((np.array(-1e30),), {"dtype": INTEGERS[3]}, np.array(-(2**63))),
        ],
    )
)  # fmt: skip


def _infer_check_index(index: Any, size: int, what: str) -> Aval:
    if not is_integer(index.dtype):
        raise DTypeError(
            f"{what}: indices must be integers, not {index.dtype} (shape {index.shape}); "
            "convert them with .astype(ct.int64)"
        )
    return index.shape, index.dtype


def index_error(what: str, bad: int, size: int, shape: Any) -> BoundsError:
    """The error for an index outside ``[0, size)``."""
    allowed = f"with {size} of them the indices run from 0 to {size - 1}"
    if size == 0:
        allowed = "there are none, so no index is valid"
    return BoundsError(
        f"{what}: index {bad} is out of range; {allowed} (indices of shape {tuple(shape)})"
    )


def _first(xp: Any, index: Any, bad: Any) -> int:
    """The first index, in row-major order, for which `bad` holds."""
    return int(xp.reshape(index, (-1,))[xp.reshape(bad, (-1,))][0])


def raise_out_of_range(xp: Any, index: Any, size: int, what: str) -> Any:
    """`index` itself, or `BoundsError` naming the first index outside ``[0, size)``."""
    bad = (index < 0) | (index >= size)
    if xp.any(bad):
        raise index_error(what, _first(xp, index, bad), size, index.shape)
    return index


def _eval_wrap(xp: Any, index: Any, size: int, what: str) -> Any:
    bad = (index < -size) | (index >= size)
    if xp.any(bad):
        number = _first(xp, index, bad)
        raise BoundsError(
            f"{what}: index {number} is out of range; with {size} elements the indices run from "
            f"{-size} to {size - 1} (indices of shape {tuple(index.shape)})"
        )
    return xp.where(index < 0, index + size, index)


def _lower_wrap(e: Any, index: Any, size: int, what: str) -> Any:
    count = e.constant(size, index.dtype)
    wrapped = e.select(e.lt(index, e.zero(index)), e.add(index, count), index)
    return e.check_range(wrapped, size)


wrap_index: Primitive = register(
    Primitive(
        "wrap_index", "indices in [-size, size), negative ones counted from the end; else an error",
        kind="elementwise",
        infer=_infer_check_index,
        eval=_eval_wrap,
        lower=_lower_wrap,
        can_fail=True,
        samples=lambda rng: [
            Sample((rng.integers(-5, 5, (2, 3)),), {"size": 5, "what": "wrap_index"})
        ],
    )
)  # fmt: skip


check_index: Primitive = register(
    Primitive(
        "check_index", "the indices themselves; an error if one is outside [0, size)",
        kind="elementwise",
        infer=_infer_check_index,
        eval=lambda xp, index, size, what: raise_out_of_range(xp, index, size, what),
        lower=lambda e, index, size, what: e.check_range(index, size),
        can_fail=True,
        samples=lambda rng: [
            Sample((rng.integers(0, 5, (2, 3)),), {"size": 5, "what": "check_index"})
        ],
    )
)  # fmt: skip


def _eval_check_zero(xp: Any, flags: Any, why: str) -> Any:
    if xp.any(flags != 0):
        raise ArgumentError(why)
    return flags


check_zero: Primitive = register(
    Primitive(
        "check_zero", "the flags themselves, which are integers; an error if one is not 0",
        kind="elementwise",
        infer=lambda flags, why: _infer_check_index(flags, 1, "check_zero"),
        eval=_eval_check_zero,
        lower=lambda e, flags, why: e.check_range(flags, 1),
        can_fail=True,
        samples=lambda rng: [Sample((np.zeros((2, 3), np.int64),), {"why": "check_zero"})],
    )
)  # fmt: skip
