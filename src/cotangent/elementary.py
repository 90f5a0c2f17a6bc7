"""Elementary functions that are made of others, and comparisons within a tolerance."""

from __future__ import annotations

import math
from typing import Any

from . import ops
from .checks import real
from .dtypes import finfo, float64, is_float
from .ops import lift
from .statistics import all, isnan


def _float(name: str, x: Any) -> Any:
    x = lift(x)
    ops.require_float(name, x)
    return x


def exp2(x: Any) -> Any:
    """2**x.

    >>> exp2(lift([0.0, 3.0, -1.0])).tolist()
    [1.0, 8.0, 0.5]
    """
    return ops.pow(2.0, _float("exp2", x))


def _is_large(x: Any) -> Any:
    """Where 1 is lost beside the square of `x`."""
    return ops.less(2.0**27 if x.dtype == float64 else 2.0**12, x)


def asinh(x: Any) -> Any:
    """The inverse of `sinh`: log(x + sqrt(x**2 + 1)), accurate near 0 and for large x.

    >>> asinh(lift(0.0)).item()
    0.0
    """
    x = _float("asinh", x)
    below = ops.less(x, 0.0)
    size = ops.where(below, -x, x)
    large = _is_large(size)
    small = ops.where(large, 0.0, size)
    square = small * small
    near = ops.log1p(small + square / (1 + ops.sqrt(1 + square)))
    far = ops.log(ops.where(large, size, 1.0)) + math.log(2.0)
    out = ops.where(large, far, near)
    out = ops.where(isnan(x), x, out)
    return ops.where(below, -out, out)


def acosh(x: Any) -> Any:
    """The inverse of `cosh`: log(x + sqrt(x**2 - 1)), from 0 on; NaN for x < 1.

    The slope at 1 is infinite.

    >>> acosh(lift(1.0)).item()
    0.0
    """
    x = _float("acosh", x)
    large = _is_large(x)
    over = ops.where(large, 1.0, x - 1)
    near = ops.log1p(over + ops.sqrt(over * (over + 2)))
    far = ops.log(ops.where(large, x, 1.0)) + math.log(2.0)
    return ops.where(large, far, near)


def atanh(x: Any) -> Any:
    """The inverse of `tanh`: log((1 + x) / (1 - x)) / 2; infinite at -1 and 1, NaN beyond.

    >>> atanh(lift([0.0, 1.0])).tolist()
    [0.0, inf]
    """
    x = _float("atanh", x)
    return 0.5 * (ops.log1p(x) - ops.log1p(-x))


def hypot(x: Any, y: Any) -> Any:
    """sqrt(x**2 + y**2), broadcast, without overflow. The slope at (0, 0) is 0.

    >>> hypot(lift(3.0), 4.0).item()
    5.0
    """
    x, y = ops.absolute(x), ops.absolute(y)
    top = ops.maximum(x, y).detach()
    scale = ops.where(ops.logical_and(ops.less(0.0, top), ops.less(top, math.inf)), top, 1.0)
    u, v = x / scale, y / scale
    square = u * u + v * v
    zero = ops.equal(square, 0.0)
    root = ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, square)))
    return root * scale


def xlogy(x: Any, y: Any) -> Any:
    """x * log(y), and 0 where `x` is 0, also in every derivative: for entropies.

    ``p * ct.log(p)`` has an infinite factor at 0, and no mask behind it mends its gradient.

    >>> xlogy(lift([0.0, 1.0]), [0.0, 1.0]).tolist()
    [0.0, 0.0]
    """
    return ops.mul_no_nan(_float("xlogy", x), ops.log(y))


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """start + weight * (end - start), broadcast.

    >>> lerp(lift(1.0), 3.0, 0.25).item()
    1.5
    """
    start = lift(start)
    return start + (lift(end) - start) * weight


def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """`x` with NaN and infinities replaced; by default infinities become the largest numbers of
    the dtype. No gradient flows through what was replaced.

    >>> nan_to_num(lift([1.0, math.nan]), nan=5.0).tolist()
    [1.0, 5.0]
    """
    x = lift(x)
    if not is_float(x.dtype):
        return x
    for name, value in (("nan", nan), ("posinf", posinf), ("neginf", neginf)):
        if value is not None and not (isinstance(value, float) and math.isnan(value)):
            real("nan_to_num", name, value)
    limit = float(finfo(x.dtype).max)
    x = ops.where(isnan(x), float(nan), x)
    x = ops.where(ops.equal(x, math.inf), limit if posinf is None else float(posinf), x)
    return ops.where(ops.equal(x, -math.inf), -limit if neginf is None else float(neginf), x)


def isclose(x: Any, y: Any, *, rtol: float = 1e-5, atol: float = 1e-8) -> Any:
    """Whether ``abs(x - y) <= atol + rtol * abs(y)``, broadcast; equal infinities are close, NaN
    never.

    >>> isclose(lift([1.0, 2.0]), lift([1.0, 2.1])).tolist()
    [True, False]
    """
    x, y = lift(x), lift(y)
    real("isclose", "rtol", rtol, 0.0)
    real("isclose", "atol", atol, 0.0)
    if not is_float(x.dtype):
        x = x.astype(float)
    if not is_float(y.dtype):
        y = y.astype(float)
    room = atol + rtol * ops.absolute(y)
    near = ops.logical_and(ops.less_equal(ops.absolute(x - y), room), ops.less(room, math.inf))
    return ops.logical_or(ops.equal(x, y), near)


def allclose(x: Any, y: Any, *, rtol: float = 1e-5, atol: float = 1e-8) -> Any:
    """Whether all elements are close, as a 0-d bool: see `isclose`.

    >>> allclose(lift([1.0, 2.0]), lift([1.0, 2.0])).item()
    True
    """
    return all(isclose(x, y, rtol=rtol, atol=atol))
