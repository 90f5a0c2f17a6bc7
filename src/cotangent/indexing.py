"""Indexing: ``x[...]`` as NumPy has it, and ``x.at[...]`` for new tensors that differ there.

Integers, slices, Ellipsis and None are views. Integer arrays gather rows: the axes that they
index are moved to the front and joined, and the arrays become one row number. Bool masks are
turned into integer arrays, so they have to be known: not under a trace.
"""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

import numpy as np

from . import ops
from .dtypes import bool_, int64, is_float, is_integer, is_unknown
from .errors import ArgumentError, ArgumentTypeError, BoundsError, DTypeError, ShapeError
from .functional import as_index, astype, broadcast_to, permute_dims, reshape
from .ops import lift
from .shapes import Shape, broadcast_shapes, contiguous_strides, normalize_axis


class _Item(NamedTuple):
    """One part of a key. `kind` is "slice", "int", "array" or "new"; a slice has a window."""

    kind: str
    start: int = 0
    size: int = 1
    step: int = 1
    array: Any = None


def _parse(x: Any, key: Any) -> list[_Item]:
    """The parts of `key`, one for each axis of `x`, and the new axes among them."""
    given = [_prepared(part) for part in (key if isinstance(key, tuple) else (key,))]
    used = sum(_axes_used(part) for part in given)
    rank = len(x.shape)
    if used > rank:
        raise BoundsError(
            f"indexing: {used} indices for a tensor of shape {x.shape}, which has {rank} axes"
        )
    dots = [i for i, part in enumerate(given) if part is Ellipsis]
    if len(dots) > 1:
        raise ArgumentError("indexing: ... can stand in a key once")
    rest = [slice(None)] * (rank - used)
    if dots:
        given[dots[0] : dots[0] + 1] = rest
    else:
        given += rest
    items: list[_Item] = []
    axis = 0
    for part in given:
        items += _item(x, axis, part)
        axis += _axes_used(part)
    return items


def _prepared(part: Any) -> Any:
    """A part of a key, with lists, arrays and 0-d integers in one form each."""
    if isinstance(part, (list, np.ndarray)):
        return as_index(part)
    if isinstance(part, (bool, np.bool_)):
        raise ArgumentTypeError("indexing: True and False are not indices; use None for a new axis")
    return part


def _is_array(part: Any) -> bool:
    return hasattr(part, "dtype") and not isinstance(part, np.generic)


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return len(part.shape) if _is_array(part) and part.dtype == bool_ else 1


def _item(x: Any, axis: int, part: Any) -> list[_Item]:
    if part is None:
        return [_Item("new")]
    n = x.shape[axis] if axis < len(x.shape) else 0
    if isinstance(part, slice):
        return [_window(part, n)]
    if _is_array(part):
        return _arrays(x, axis, part)
    try:
        number = operator.index(part)
    except TypeError:
        raise ArgumentTypeError(
            f"indexing: takes integers, slices, ..., None, integer arrays and bool masks, "
            f"not {part!r}"
        ) from None
    if not -n <= number < n:
        raise BoundsError(
            f"indexing: index {number} is out of range for axis {axis} of shape {x.shape}, "
            f"which has {n} elements"
        )
    return [_Item("int", number % n)]


def _window(part: slice, n: int) -> _Item:
    try:
        start, stop, step = part.indices(n)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"indexing: {part} is not a slice of integers with a step other than 0"
        ) from None
    size = len(range(start, stop, step))
    return _Item("slice", start if size else 0, size, step if size > 1 else 1)


def _arrays(x: Any, axis: int, part: Any) -> list[_Item]:
    """An integer array, or a bool mask as one integer array for each of its axes."""
    if part.dtype == bool_:
        part._refuse_in_trace(
            "a bool mask as an index", "use ct.where(mask, x, other), whose shape does not depend "
            "on values",
        )  # fmt: skip
        covered = x.shape[axis : axis + len(part.shape)]
        if part.shape != covered:
            raise ShapeError(
                f"indexing: a mask of shape {part.shape} does not fit axes {axis} to "
                f"{axis + len(part.shape) - 1} of shape {x.shape}"
            )
        places = np.nonzero(part.numpy())
        return [_Item("array", array=lift(place)) for place in places]
    if not is_integer(part.dtype):
        raise DTypeError(
            f"indexing: index arrays must be integers or bools, not {part.dtype} (shape "
            f"{part.shape}); convert them with .astype(ct.int64)"
        )
    what = f"indexing axis {axis} of shape {x.shape}"
    wide = astype(part, int64)
    return [_Item("array", array=ops.wrap_index(wide, size=x.shape[axis], what=what))]


class _Rows(NamedTuple):
    """How the axes of `x` that arrays index become rows.

    Attributes:
        window: starts, sizes and steps of the slices, of every axis of x.
        order: axes of x, those indexed by arrays in front.
        chosen: how many of them.
        index: row numbers.
        rows: how many rows there are.
        before: axes of the result in front of those of the index.
        shape: of the result.
    """

    window: tuple[Shape, Shape, Shape]
    order: Shape
    chosen: int
    index: Any
    rows: int
    before: int
    shape: Shape


def _rows(x: Any, items: list[_Item]) -> _Rows:
    places = [i for i, item in enumerate(items) if item.kind in ("int", "array")]
    axes = [item for item in items if item.kind != "new"]
    chosen = [a for a, item in enumerate(axes) if item.kind != "slice"]
    others = [a for a, item in enumerate(axes) if item.kind == "slice"]
    sizes = tuple(axes[a].size if a in others else x.shape[a] for a in range(len(axes)))
    starts = tuple(axes[a].start if a in others else 0 for a in range(len(axes)))
    steps = tuple(axes[a].step if a in others else 1 for a in range(len(axes)))
    index: Any = None
    joint = contiguous_strides(tuple(x.shape[a] for a in chosen))
    arrays = [a.array for a in (axes[i] for i in chosen) if a.kind == "array"]
    shape = broadcast_shapes("indexing", *(a.shape for a in arrays))
    for a, stride in zip(chosen, joint, strict=True):
        term = (axes[a].array if axes[a].kind == "array" else np.int64(axes[a].start)) * stride
        index = term if index is None else ops.add(term, index)
    index = broadcast_to(lift(index), shape)
    adjacent = places[-1] - places[0] + 1 == len(places)
    result: list[int] = [] if adjacent else list(shape)
    before = 0
    for i, item in enumerate(items):
        if adjacent and i == places[0]:
            before = sum(x.kind == "slice" for x in items[:i])
            result += shape
        if item.kind in ("slice", "new"):
            result.append(item.size)
    rows = math.prod(x.shape[a] for a in chosen)
    window = (starts, sizes, steps)
    return _Rows(window, (*chosen, *others), len(chosen), index, rows, before, tuple(result))


def _basic(x: Any, items: list[_Item]) -> tuple[tuple[Shape, Shape, Shape], Shape]:
    """The window of a key without arrays, and the shape of its result."""
    axes = [item for item in items if item.kind != "new"]
    starts, sizes, steps = (
        tuple(getattr(item, name) for item in axes) for name in ("start", "size", "step")
    )
    shape = tuple(item.size for item in items if item.kind != "int")
    return (starts, sizes, steps), shape


def _slice(x: Any, window: tuple[Shape, Shape, Shape]) -> Any:
    starts, sizes, steps = window
    if sizes == x.shape and set(steps) <= {1}:
        return x
    return ops.strided_slice(x, starts=starts, sizes=sizes, steps=steps)


def _as_rows(x: Any, plan: _Rows) -> Any:
    """`x`, already sliced, with its rows in front: [rows, others...]."""
    front = permute_dims(x, plan.order)
    return reshape(front, (plan.rows, *front.shape[plan.chosen :]))


def getitem(x: Any, key: Any) -> Any:
    """``x[key]``: see `Tensor`."""
    items = _parse(x, key)
    if not any(item.kind == "array" for item in items):
        window, shape = _basic(x, items)
        return reshape(_slice(x, window), shape)
    plan = _rows(x, items)
    rows = _as_rows(_slice(x, plan.window), plan)
    found = ops.take(rows, plan.index)
    return reshape(_placed(found, len(plan.index.shape), plan.before), plan.shape)


def _placed(x: Any, count: int, before: int) -> Any:
    """The first `count` axes of `x` moved behind the next `before` ones."""
    if not before or not count:
        return x
    rank = len(x.shape)
    return permute_dims(
        x, (*range(count, count + before), *range(count), *range(count + before, rank))
    )


# -- new tensors that differ at an index ------------------------------------------------------


class At:
    """``x.at``: index it, and name what is to be there: ``x.at[0].set(5.0)``.

    Every method returns a new tensor; `x` stays as it is. Values broadcast to the shape of
    ``x[key]`` and take the dtype of `x`. Gradients flow to `x` and to the values.
    """

    __slots__ = ("x",)

    def __init__(self, x: Any) -> None:
        self.x = x

    def __getitem__(self, key: Any) -> Update:
        return Update(self.x, key)

    def __repr__(self) -> str:
        return f"<x.at of a tensor of shape {self.x.shape}; write x.at[...].set(value)>"


class Update:
    """A place in a tensor, ``x.at[key]``.

    >>> Update(lift([1, 2, 3]), 1).set(7).tolist()
    [1, 7, 3]
    """

    __slots__ = ("key", "x")

    def __init__(self, x: Any, key: Any) -> None:
        self.x = lift(x)
        self.key = key

    def set(self, values: Any) -> Any:
        """`x` with `values` at the key; where indices repeat, the last one stays."""
        return self._apply(lambda old, new: new, values, None)

    def add(self, values: Any) -> Any:
        """`x` with `values` added at the key; where indices repeat, all are added."""
        return self._apply(ops.add, values, _add_rows)

    def multiply(self, values: Any) -> Any:
        """`x` with the elements at the key multiplied by `values`; indices must not repeat."""
        return self._apply(ops.multiply, values, _put_distinct(ops.multiply))

    def max(self, values: Any) -> Any:
        """`x` with the larger of element and value at the key; indices must not repeat."""
        return self._apply(ops.maximum, values, _put_distinct(ops.maximum))

    def min(self, values: Any) -> Any:
        """`x` with the smaller of element and value at the key; indices must not repeat."""
        return self._apply(ops.minimum, values, _put_distinct(ops.minimum))

    def _apply(self, change: Any, values: Any, change_rows: Any) -> Any:
        x = self.x
        items = _parse(x, self.key)
        values = astype(values if hasattr(values, "entry") else _constant(values, x), x.dtype)
        if any(item.kind == "array" for item in items):
            return self._apply_rows(_rows(x, items), values, change_rows or ops.put_rows)
        window, shape = _basic(x, items)
        starts, sizes, steps = window
        new = reshape(_fitting(values, shape, x), sizes)
        old = _slice(x, window)
        return ops.put_slice(x, change(old, new), starts=starts, steps=steps)

    def _apply_rows(self, plan: _Rows, values: Any, change_rows: Any) -> Any:
        x = self.x
        inside = _slice(x, plan.window)
        front = permute_dims(inside, plan.order)
        rows = reshape(front, (plan.rows, *front.shape[plan.chosen :]))
        count, before = len(plan.index.shape), plan.before
        moved = (*rows.shape[1 : 1 + before], *plan.index.shape, *rows.shape[1 + before :])
        new = reshape(_fitting(values, plan.shape, x), moved)
        new = _placed(new, before, count)
        rows = change_rows(rows, new, plan.index)
        back = sorted(range(len(plan.order)), key=plan.order.__getitem__)
        result = permute_dims(reshape(rows, front.shape), back)
        starts, sizes, steps = plan.window
        if sizes == x.shape and set(steps) <= {1}:
            return result
        return ops.put_slice(x, result, starts=starts, steps=steps)


def _constant(values: Any, x: Any) -> Any:
    """Numbers and arrays as a tensor; they must fit into the dtype of `x`."""
    made = lift(values)
    if is_float(made.dtype) and not is_float(x.dtype):
        raise DTypeError(
            f"at: {made.dtype} values cannot go into a tensor of {x.dtype} (shape {x.shape}); "
            "convert one of them with .astype(...)"
        )
    if is_float(made.dtype) and (isinstance(values, float) or is_unknown(values)):
        return ops.multiply(astype(lift(1), x.dtype), values)  # numbers are weak
    return made


def _fitting(values: Any, shape: Shape, x: Any) -> Any:
    try:
        return broadcast_to(values, shape)
    except ShapeError:
        raise ShapeError(
            f"at: values of shape {values.shape} do not broadcast to {shape}, which is what the "
            f"key takes from a tensor of shape {x.shape}"
        ) from None


def _add_rows(x: Any, values: Any, index: Any) -> Any:
    return x + ops.scatter_add(values, index, rows=x.shape[0])


def _put_distinct(change: Any) -> Any:
    def change_rows(x: Any, values: Any, index: Any) -> Any:
        why = (
            "at: indices repeat, which only set and add take "
            f"(indices of shape {index.shape}, tensor of {x.shape[0]} rows)"
        )
        if index.size > 1:
            index = index + ops.check_zero(_repeats(index), why=why)
        return ops.put_rows(x, change(ops.take(x, index), values), index)

    return change_rows


def _repeats(index: Any) -> Any:
    """For each index, in ascending order, 1 if it is equal to the one before, else 0; in the shape
    of `index`."""
    flat = reshape(index, (-1,))
    ordered = ops.take(flat, ops.argsort(flat))
    before = ops.concat(ordered[:1] - 1, ordered[:-1], axis=0)
    return reshape(astype(ops.equal(ordered, before), index.dtype), index.shape)


# -- along an axis ----------------------------------------------------------------------------


def take_along_axis(x: Any, indices: Any, axis: int = -1) -> Any:
    """Elements by index along `axis`: ``result[i, j] = x[i, indices[i, j]]`` for the last axis.

    Args:
        indices: integers with as many axes as `x`, broadcast with it along the other axes.
            Negative ones count from the end.

    >>> take_along_axis(lift([[1, 2], [3, 4]]), lift([[1], [0]])).tolist()
    [[2], [3]]
    """
    x, index = lift(x), as_index(indices)
    number = normalize_axis("take_along_axis", axis, len(x.shape), x.shape)
    if len(index.shape) != len(x.shape):
        raise ShapeError(
            f"take_along_axis: indices of shape {index.shape} need as many axes as the tensor of "
            f"shape {x.shape}"
        )
    if not is_integer(index.dtype):
        raise DTypeError(
            f"take_along_axis: indices must be integers, not {index.dtype}; convert them with "
            ".astype(ct.int64)"
        )
    what = f"take_along_axis: axis {number} of shape {x.shape}"
    index = ops.wrap_index(astype(index, int64), size=x.shape[number], what=what)
    rest = [(1 if a == number else n) for a, n in enumerate(x.shape)]
    joint = broadcast_shapes("take_along_axis", index.shape, tuple(rest))
    sizes = tuple(n if a == number else joint[a] for a, n in enumerate(x.shape))
    x = broadcast_to(x, sizes)
    place = index * contiguous_strides(sizes)[number] + _offsets(sizes, number)
    return ops.take(reshape(x, (-1,)), broadcast_to(place, joint))


def _offsets(shape: Shape, axis: int) -> Any:
    """Where the lines along `axis` begin in the flattened tensor, with size 1 along it."""
    total = np.zeros([1 if a == axis else n for a, n in enumerate(shape)], np.int64)
    for a, (n, stride) in enumerate(zip(shape, contiguous_strides(shape), strict=True)):
        if a != axis:
            steps = np.arange(n, dtype=np.int64) * stride
            total += steps.reshape([n if b == a else 1 for b in range(len(shape))])
    return lift(total)


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """`x` with `value` wherever `mask` (bools that broadcast to `x`) holds.

    >>> masked_fill(lift([1, 2]), lift([True, False]), 0).tolist()
    [0, 2]
    """
    x, mask = lift(x), lift(mask)
    if broadcast_shapes("masked_fill", x.shape, mask.shape) != x.shape:
        raise ShapeError(f"masked_fill: mask {mask.shape} does not broadcast to {x.shape}")
    return ops.where(mask, value, x)


def nonzero(x: Any) -> tuple[Any, ...]:
    """Where `x` is not zero: int64 indices, one tensor for each axis. Not under ct.jit."""
    x = lift(x)
    x._refuse_in_trace("nonzero", "its shape depends on values; use ct.where or a mask")
    if not x.shape:
        raise ShapeError("nonzero: a 0-d tensor has no axes to name indices of")
    return tuple(lift(place) for place in np.nonzero(x.numpy()))
