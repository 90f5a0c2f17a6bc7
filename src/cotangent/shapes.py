"""Arithmetic on shapes and axes, with errors in the user's words."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .errors import ArgumentTypeError, BoundsError, Error, ShapeError

Shape = tuple[int, ...]


def broadcast_shapes(operation: str, *shapes: Shape) -> Shape:
    """The shape that `shapes` broadcast to (NumPy's rule).

    >>> broadcast_shapes("add", (3, 1), (4,))
    (3, 4)
    """
    rank = max(map(len, shapes))
    out = [1] * rank
    for shape in shapes:
        for axis in range(-len(shape), 0):
            size = shape[axis]
            if size == 1 or size == out[axis]:
                continue
            if out[axis] != 1:
                raise ShapeError(_cannot_broadcast(operation, shapes, axis, out[axis], size))
            out[axis] = size
    return tuple(out)


def _cannot_broadcast(operation: str, shapes: Sequence[Shape], axis: int, a: int, b: int) -> str:
    listed = " and ".join(str(shape) for shape in shapes)
    return (
        f"{operation}: shapes {listed} do not broadcast: axis {axis} has sizes {a} and {b}, "
        "which must be equal or 1. Reshape one operand, or add an axis with expand_dims"
    )


def normalize_axis(operation: str, axis: Any, rank: int, shape: Shape) -> int:
    """`axis` counted from the front; raises `BoundsError` if the tensor has no such axis."""
    number = _index(axis)
    if number is None:
        raise ArgumentTypeError(f"{operation}: an axis is an integer, not {axis!r}")
    if not -rank <= number < rank:
        raise BoundsError(
            f"{operation}: axis {number} is out of range for a tensor of shape {shape}, "
            f"which has {rank} axes"
        )
    return int(number % rank)


def normalize_axes(operation: str, axis: Any, shape: Shape) -> tuple[int, ...]:
    """`axis` (None for all, an integer, or several) as sorted non-negative axes.

    >>> normalize_axes("sum", (-1, 0), (2, 3))
    (0, 1)
    """
    rank = len(shape)
    if axis is None:
        return tuple(range(rank))
    given: Iterable[Any] = axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = sorted(normalize_axis(operation, a, rank, shape) for a in given)
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{operation}: axis {axis} names an axis twice; shape {shape}")
    return tuple(axes)


def reduce_shape(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    """`shape` with `axes` removed, or kept with size 1."""
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def as_shape(operation: str, shape: Any) -> Shape:
    """`shape` (an integer or a sequence of them) as a tuple of integers."""
    given = shape if isinstance(shape, (tuple, list)) else (shape,)
    sizes = []
    for size in given:
        number = _index(size)
        if number is None:
            raise ArgumentTypeError(
                f"{operation}: a shape is integers, not {shape!r} (found {size!r})"
            )
        sizes.append(number)
    if math.prod(sizes) > _MOST_ELEMENTS:
        raise ShapeError(f"{operation}: shape {tuple(sizes)} has more elements than memory")
    return tuple(sizes)


# Addresses have 48 bits.
_MOST_ELEMENTS = 2**48


def _index(value: Any) -> int | None:
    """An integer of any class, or None for what is none; arrays with axes are none."""
    if type(value) is int:
        return value
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        return None
    try:
        return operator.index(value)
    except Error:
        raise
    except TypeError:
        return None


def resolve_reshape(shape: Shape, wanted: Shape) -> Shape:
    """`wanted` with its one -1, if any, worked out; raises `ShapeError` if sizes differ.

    >>> resolve_reshape((2, 6), (3, -1))
    (3, 4)
    """
    size = math.prod(shape)
    unknown = wanted.count(-1)
    known = math.prod(n for n in wanted if n != -1)
    if unknown == 1 and known and size % known == 0:
        return tuple(size // known if n == -1 else n for n in wanted)
    if unknown == 0 and known == size and min(wanted, default=0) >= 0:
        return wanted
    raise ShapeError(
        f"reshape: {shape} has {size} elements and cannot become {wanted}; "
        "the sizes must multiply to the same number, with at most one -1"
    )


def contiguous_strides(shape: Shape) -> Shape:
    """Strides in elements of a C-ordered array of `shape`."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return tuple(strides)
