"""Sorting, the largest elements, and running sums, along any axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import ops
from .dtypes import bool_, is_float
from .errors import ArgumentError
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
