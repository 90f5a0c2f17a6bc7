"""Reductions beyond sum, mean and max: products, spread, norms, and, or, and where the least is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import ops
from .dtypes import bool_, is_integer
from .errors import ArgumentError, ShapeError
from .functional import argmax, astype, count_nonzero, expand_dims, mean, reshape
from .functional import max as largest
from .functional import sum as total
from .ops import lift
from .rearrange import part
from .shapes import normalize_axes, normalize_axis, reduce_shape


def prod(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The product over `axis`; 1 over no elements. The gradient is right where factors are 0.

    Computed by halves: ``log2(n)`` products of tensors.

    >>> prod(lift([1.0, 2.0, 3.0])).item()
    6.0
    """
    x = lift(x)
    ops.multiply.infer(x, x)
    axes = normalize_axes("prod", axis, x.shape)
    shape = reduce_shape(x.shape, axes, bool(keepdims))
    for a in axes:
        if x.shape[a] == 0:
            one = astype(lift(1), x.dtype)
            return ops.broadcast_to(one, shape=shape) if shape else one
        while x.shape[a] > 1:
            half, odd = divmod(x.shape[a], 2)
            pairs = part(x, a, 0, half) * part(x, a, half, half)
            x = ops.concat(pairs, part(x, a, 2 * half, 1), axis=a) if odd else pairs
    return reshape(x, shape)


def var(x: Any, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The variance over `axis`: the sum of squares about the mean by ``count - correction``.

    Args:
        correction: 0 for the variance of these elements, 1 for the unbiased estimate.

    >>> var(lift([1.0, 2.0, 3.0]), correction=1).item()
    1.0
    """
    x = lift(x)
    axes = normalize_axes("var", axis, x.shape)
    count = math.prod(x.shape[a] for a in axes) - correction
    if count <= 0:
        raise ShapeError(
            f"var: shape {x.shape} has {count + correction:g} elements over axes {axes}, too few "
            f"for correction={correction}"
        )
    apart = x - mean(x, axes, keepdims=True)
    return total(apart * apart, axes, keepdims=keepdims) * (1.0 / count)


def std(x: Any, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The standard deviation over `axis`: the root of `var`."""
    return ops.sqrt(var(x, axis, correction=correction, keepdims=keepdims))


def norm(x: Any, axis: Any = None, *, ord: float = 2, keepdims: bool = False) -> Any:
    """The norm of the vector of elements over `axis`: ``sum(abs(x)**ord) ** (1 / ord)``.

    Args:
        ord: 1, 2, infinity, or any other positive number. The slope of the 2-norm at 0 is
            infinite times 0, taken as 0.

    >>> norm(lift([3.0, 4.0])).item()
    5.0
    """
    x = lift(x)
    ops.require_float("norm", x)
    if ord == 2:
        return ops.sqrt(total(x * x, axis, keepdims=keepdims))
    size = ops.absolute(x)
    if ord == math.inf:
        return largest(size, axis, keepdims=keepdims)
    if not ord > 0:
        raise ArgumentError(f"norm: ord must be positive, not {ord}")
    if ord == 1:
        return total(size, axis, keepdims=keepdims)
    return ops.pow(total(ops.pow(size, float(ord)), axis, keepdims=keepdims), 1.0 / ord)


def any(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Whether an element over `axis` is true, or not 0; False over no elements.

    >>> any(lift([0, 2])).item()
    True
    """
    return ops.not_equal(_count(x, axis, keepdims), 0)


def all(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Whether all elements over `axis` are true, or not 0; True over no elements.

    >>> all(lift([0, 2])).item()
    False
    """
    x = lift(x)
    return ops.equal(_count(ops.equal(x, np.zeros((), x.dtype)), axis, keepdims), 0)


def _count(x: Any, axis: Any, keepdims: bool) -> Any:
    x = lift(x)
    axes = normalize_axes("any, all", axis, x.shape)
    found = count_nonzero(x, axes)
    return reshape(found, reduce_shape(x.shape, axes, True)) if keepdims else found


def argmin(x: Any, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """Where the smallest element is along `axis` (None: in the flattened tensor), as int64.

    The first of equal elements wins, and the first NaN before any number.

    >>> argmin(lift([3.0, 1.0, 1.0])).item()
    1
    """
    x = lift(x)
    if x.dtype == bool_:
        return argmax(ops.logical_not(x).astype("int8"), axis, keepdims=keepdims)
    flipped = ops.bitwise_invert(x) if is_integer(x.dtype) else -x
    return argmax(flipped, axis, keepdims=keepdims)


def isnan(x: Any) -> Any:
    """Whether elements are NaN."""
    x = lift(x)
    return ops.not_equal(x, x)


def isinf(x: Any) -> Any:
    """Whether elements are infinite, of either sign."""
    x = lift(x)
    if is_integer(x.dtype) or x.dtype == bool_:
        return ops.not_equal(x, x)
    return ops.equal(ops.absolute(x), math.inf)


def isfinite(x: Any) -> Any:
    """Whether elements are neither infinite nor NaN."""
    x = lift(x)
    if is_integer(x.dtype) or x.dtype == bool_:
        return ops.equal(x, x)
    return ops.less(ops.absolute(x), math.inf)


def logical_xor(x: Any, y: Any) -> Any:
    """Whether exactly one of two bools is true, broadcast."""
    return ops.logical_or(
        ops.logical_and(x, ops.logical_not(y)), ops.logical_and(ops.logical_not(x), y)
    )


def sinh(x: Any) -> Any:
    """The hyperbolic sine: (e**x - e**-x) / 2, accurate near 0."""
    x = lift(x)
    return 0.5 * (ops.expm1(x) - ops.expm1(-x))


def cosh(x: Any) -> Any:
    """The hyperbolic cosine: (e**x + e**-x) / 2."""
    x = lift(x)
    return 0.5 * (ops.exp(x) + ops.exp(-x))


def cross(x: Any, y: Any, axis: int = -1) -> Any:
    """The cross product of vectors of three along `axis`; the other axes broadcast.

    >>> cross(lift([1.0, 0.0, 0.0]), lift([0.0, 1.0, 0.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    x, y = lift(x), lift(y)
    number = normalize_axis("cross", axis, len(x.shape), x.shape)
    other = normalize_axis("cross", axis, len(y.shape), y.shape)
    if x.shape[number] != 3 or y.shape[other] != 3:
        raise ShapeError(f"cross: axis {axis} of shapes {x.shape} and {y.shape} must have size 3")
    x0, x1, x2 = (part(x, number, i, 1) for i in range(3))
    y0, y1, y2 = (part(y, other, i, 1) for i in range(3))
    out = (x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0)
    rank = len(out[0].shape)
    return ops.concat(*out, axis=rank - len(x.shape) + number)


def outer(x: Any, y: Any) -> Any:
    """All products of the elements of two vectors: [m], [n] to [m, n]."""
    x, y = lift(x), lift(y)
    if len(x.shape) != 1 or len(y.shape) != 1:
        raise ShapeError(f"outer: takes two vectors, not shapes {x.shape} and {y.shape}")
    return expand_dims(x, 1) * y
