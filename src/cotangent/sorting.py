"""Sorting, the largest elements, and running sums, along any axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import ops
from .checks import real, whole
from .dtypes import bool_, is_float
from .errors import ArgumentError, ShapeError
from .functional import astype, expand_dims
from .indexing import take_along_axis
from .ops import lift
from .rearrange import moveaxis, part
from .shapes import normalize_axis


def _along_last(name: str, x: Any, axis: int, function: Any) -> Any:
    """A function of the last axis, applied along `axis`."""
    number = normalize_axis(name, axis, len(x.shape), x.shape)
    if number == len(x.shape) - 1:
        return function(x)
    return moveaxis(function(moveaxis(x, number, -1)), -1, number)


def argsort(x: Any, axis: int = -1, *, descending: bool = False) -> Any:
    """Indices (int64) that sort `x` along `axis`. Equal elements keep their order; NaN is last.

    >>> argsort(lift([3.0, 1.0, 2.0])).tolist()
    [1, 2, 0]
    """
    x = lift(x).detach()
    if descending and is_float(x.dtype):
        x = -x
    elif descending:
        x = ops.logical_not(x) if x.dtype == bool_ else ops.bitwise_invert(x)
    return _along_last("argsort", x, axis, ops.argsort)


def sort(x: Any, axis: int = -1, *, descending: bool = False) -> Any:
    """`x` sorted along `axis`; NaN is last. Gradients go back to where the elements came from.

    >>> sort(lift([3.0, 1.0, 2.0]), descending=True).tolist()
    [3.0, 2.0, 1.0]
    """
    x = lift(x)
    return take_along_axis(x, argsort(x, axis, descending=descending), axis)


def topk(x: Any, k: int, axis: int = -1, *, largest: bool = True) -> tuple[Any, Any]:
    """The `k` largest (or smallest) elements along `axis`, in order, and their indices.

    >>> values, indices = topk(lift([3.0, 1.0, 2.0]), 2)
    >>> values.tolist(), indices.tolist()
    ([3.0, 2.0], [0, 2])
    """
    x = lift(x)
    number = normalize_axis("topk", axis, len(x.shape), x.shape)
    k = whole("topk", "k", k)
    if not 0 <= k <= x.shape[number]:
        raise ArgumentError(
            f"topk: k = {k} of the {x.shape[number]} elements along axis {axis} of shape {x.shape}"
        )
    order = part(argsort(x, number, descending=largest), number, 0, k)
    return take_along_axis(x, order, number), order


def cumulative_sum(x: Any, axis: int | None = None, *, include_initial: bool = False) -> Any:
    """Running sums along `axis`, which only tensors of one axis may leave out.

    Args:
        include_initial: begin with a 0, which makes the axis longer by one.

    >>> cumulative_sum(lift([1, 2, 3])).tolist()
    [1, 3, 6]
    """
    x = lift(x)
    if axis is None:
        if len(x.shape) != 1:
            raise ArgumentError(f"cumulative_sum: name an axis of shape {x.shape}")
        axis = 0
    number = normalize_axis("cumulative_sum", axis, len(x.shape), x.shape)
    out = _along_last("cumulative_sum", x, number, ops.cumulative_sum)
    if not include_initial:
        return out
    shape = (*x.shape[:number], 1, *x.shape[number + 1 :])
    zero = ops.broadcast_to(astype(lift(0), x.dtype), shape=shape)
    return ops.concat(zero, out, axis=number)


def cumulative_prod(x: Any, axis: int | None = None, *, include_initial: bool = False) -> Any:
    """Running products along `axis`, which only tensors of one axis may leave out.

    Computed by doubling: ``log2(n)`` products of tensors. The gradient is right where factors
    are 0.

    Args:
        include_initial: begin with a 1, which makes the axis longer by one.

    >>> cumulative_prod(lift([1.0, 2.0, 3.0])).tolist()
    [1.0, 2.0, 6.0]
    """
    x = lift(x)
    ops.multiply.infer(x, x)
    if axis is None:
        if len(x.shape) != 1:
            raise ArgumentError(f"cumulative_prod: name an axis of shape {x.shape}")
        axis = 0
    number = normalize_axis("cumulative_prod", axis, len(x.shape), x.shape)
    size, step = x.shape[number], 1
    while step < size:
        before, rest = part(x, number, 0, size - step), part(x, number, step, size - step)
        x = ops.concat(part(x, number, 0, step), before * rest, axis=number)
        step *= 2
    if not include_initial:
        return x
    shape = (*x.shape[:number], 1, *x.shape[number + 1 :])
    one = ops.broadcast_to(astype(lift(1), x.dtype), shape=shape)
    return ops.concat(one, x, axis=number)


def diff(x: Any, axis: int = -1, *, n: int = 1) -> Any:
    """Differences of neighbours along `axis`, `n` times over; each time one element fewer.

    >>> diff(lift([1.0, 4.0, 9.0])).tolist()
    [3.0, 5.0]
    """
    x = lift(x)
    n = whole("diff", "n, how many times,", n, 0)
    number = normalize_axis("diff", axis, len(x.shape), x.shape)
    for _ in range(n):
        size = max(x.shape[number] - 1, 0)
        if size == 0:
            return part(x, number, 0, 0)
        x = part(x, number, 1, size) - part(x, number, 0, size)
    return x


def isin(x: Any, values: Any) -> Any:
    """Whether each element of `x` is one of `values`; NaN is not.

    >>> isin(lift([1, 2, 3]), [3, 1]).tolist()
    [True, False, True]
    """
    x = lift(x)
    hits = ops.equal(expand_dims(x, -1), _flat(values))
    count = ops.sum(astype(hits, np.dtype("int64")), axes=(len(x.shape),), keepdims=False)
    return ops.not_equal(count, 0)


def quantile(x: Any, q: float, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The value below which a fraction `q` of the elements along `axis` lies.

    Between two elements it is interpolated linearly, as NumPy does by default.

    Args:
        q: a number in [0, 1]; 0.5 is the median.
        axis: an integer; None means all elements.

    >>> quantile(lift([1.0, 2.0, 4.0, 8.0]), 0.5).item()
    3.0
    """
    x = lift(x)
    ops.require_float("quantile", x)
    q = real("quantile", "q", q, 0.0, 1.0)
    rank = len(x.shape)
    if axis is None:
        out = quantile(_flat(x), q, 0)
        return ops.reshape(out, shape=(1,) * rank) if keepdims else out
    number = normalize_axis("quantile", axis, rank, x.shape)
    if x.shape[number] == 0:
        raise ShapeError(f"quantile: shape {x.shape} has no elements along axis {number}")
    place = q * (x.shape[number] - 1)
    low = min(int(place), max(x.shape[number] - 2, 0))
    ordered = sort(x, number)
    out = part(ordered, number, low, 1)
    if place > low:
        above = part(ordered, number, low + 1, 1)
        out = out + (above - out) * (place - low)
    shape = out.shape[:number] + out.shape[number + 1 :]
    return out if keepdims else ops.reshape(out, shape=shape)


def median(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The middle of the elements along `axis` in order; of two, their mean.

    >>> median(lift([5.0, 1.0, 2.0])).item()
    2.0
    """
    return quantile(x, 0.5, axis, keepdims=keepdims)


def _flat(x: Any) -> Any:
    x = lift(x)
    return ops.reshape(x, shape=(math.prod(x.shape),))


def searchsorted(edges: Any, values: Any, *, right: bool = False) -> Any:
    """For each value the number of edges below it: where it would be inserted, as int64.

    Args:
        edges: one axis, ascending.
        right: count edges equal to the value too.

    >>> searchsorted(lift([1.0, 2.0]), lift([0.0, 1.5, 2.0])).tolist()
    [0, 1, 1]
    """
    edges, values = lift(edges), lift(values)
    if len(edges.shape) != 1:
        raise ArgumentError(f"searchsorted: edges have one axis, not shape {edges.shape}")
    wide = expand_dims(values, -1)
    below = ops.less_equal(edges, wide) if right else ops.less(edges, wide)
    hits = astype(below, np.dtype("int64"))
    return ops.sum(hits, axes=(len(hits.shape) - 1,), keepdims=False)
