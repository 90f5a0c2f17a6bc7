"""Conversions of float16 and bfloat16, which compiled code holds as bits.

Each is rounded once, to the nearest, ties to even, as NumPy rounds it; float64 goes to bfloat16 by
way of float32, as everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...dtypes import DType, float16, float32, float64, uint16, uint32

if TYPE_CHECKING:
    from .emitter import Emitter, Value


def widen(e: Emitter, x: Value) -> Value:
    """A float16 or bfloat16 as the equal float32."""
    if x.dtype == float16:
        half = e.emit(f"bitcast {e.type_of(float16)} {x.text} to {_half(e)}", float16)
        return e.emit(f"fpext {_half(e)} {half.text} to {e.type_of(float32)}", float32)
    bits = e.cast(e.bitcast(x, uint16), uint32)
    return e.bitcast(e.shl(bits, e.constant(16, uint32)), float32)


def narrow(e: Emitter, x: Value, dtype: DType) -> Value:
    """A number of any other dtype as a float16 or bfloat16."""
    if x.dtype == float64 and dtype == float16:
        x = _to_odd(e, x)
    x = e.cast(x, float32)
    if dtype == float16:
        # LLVM 22 can make one rounding of two: float64 by way of float32, by a function of its own.
        x = e.intrinsic("arithmetic.fence", float32, x)
        half = e.emit(f"fptrunc {e.type_of(float32)} {x.text} to {_half(e)}", float16)
        return e.emit(f"bitcast {_half(e)} {half.text} to {e.type_of(float16)}", float16)
    bits, sixteen = e.bitcast(x, uint32), e.constant(16, uint32)
    odd = e.and_(e.shr(bits, sixteen), e.constant(1, uint32))
    near = e.add(e.add(bits, e.constant(0x7FFF, uint32)), odd)
    quiet = e.or_(bits, e.constant(0x400000, uint32))  # rounding must not turn NaN to infinity
    upper = e.shr(e.select(e.is_nan(x), quiet, near), sixteen)
    return e.bitcast(e.cast(upper, uint16), dtype)


def _half(e: Emitter) -> str:
    return "half" if e.lanes == 1 else f"<{e.lanes} x half>"


def _to_odd(e: Emitter, x: Value) -> Value:
    """A float64 as a float32 that is cut off, with its last bit set if that lost anything. Rounded
    once more, to fewer bits, it gives what `x` itself would give."""
    near = e.cast(x, float32)
    back = e.cast(near, float64)
    above = e.cast(e.lt(e.abs(x), e.abs(back)), uint32)
    cut = e.sub(e.bitcast(near, uint32), above)
    return e.bitcast(e.or_(cut, e.cast(e.ne(back, x), uint32)), float32)
