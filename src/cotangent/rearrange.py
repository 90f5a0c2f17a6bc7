"""Functions that rearrange tensors: join, split, flip, roll, repeat, pad, and triangles.

Nothing here is computed; all of it is made from slices, reshapes and concatenation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import ops
from .checks import whole
from .errors import ArgumentError, ArgumentTypeError, ShapeError
from .functional import astype, broadcast_to, expand_dims, permute_dims, reshape
from .ops import lift
from .shapes import Shape, as_shape, normalize_axes, normalize_axis


def part(x: Any, axis: int, start: int, size: int, step: int = 1) -> Any:
    """`size` elements of `x` along `axis`, from `start` on in steps of `step`."""
    rank = len(x.shape)
    starts = tuple(start if a == axis else 0 for a in range(rank))
    sizes = tuple(size if a == axis else n for a, n in enumerate(x.shape))
    steps = tuple(step if a == axis else 1 for a in range(rank))
    return ops.strided_slice(x, starts=starts, sizes=sizes, steps=steps)


def _several(name: str, xs: Any) -> list[Any]:
    if not isinstance(xs, (tuple, list)):
        raise ArgumentTypeError(f"{name}: takes a list of tensors, not {type(xs).__name__}")
    if not xs:
        raise ArgumentError(f"{name}: needs at least one tensor")
    return [lift(x) for x in xs]


def concat(xs: Sequence[Any], axis: int | None = 0) -> Any:
    """The tensors one after the other along `axis`; None joins them flattened.

    The sizes along the other axes must be equal; dtypes are promoted.

    >>> concat([lift([1, 2]), lift([3])]).tolist()
    [1, 2, 3]
    """
    tensors = _several("concat", xs)
    if axis is None:
        tensors, axis = [reshape(x, (-1,)) for x in tensors], 0
    shape = tensors[0].shape
    return ops.concat(*tensors, axis=normalize_axis("concat", axis, len(shape), shape))


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Tensors of one shape along a new axis.

    >>> stack([lift([1, 2]), lift([3, 4])]).tolist()
    [[1, 2], [3, 4]]
    """
    tensors = _several("stack", xs)
    shape = tensors[0].shape
    for i, x in enumerate(tensors):
        if x.shape != shape:
            raise ShapeError(f"stack: tensor {i} has shape {x.shape} and the first {shape}")
    place = normalize_axis("stack", axis, len(shape) + 1, shape)
    return ops.concat(*[expand_dims(x, place) for x in tensors], axis=place)


def split(x: Any, sizes: int | Sequence[int], axis: int = 0) -> list[Any]:
    """`x` in parts along `axis`: of `sizes` elements each (the last may be smaller), or of the
    sizes in a list, which must add up to the whole.

    >>> [t.tolist() for t in split(lift([1, 2, 3]), 2)]
    [[1, 2], [3]]
    """
    x = lift(x)
    axis = normalize_axis("split", axis, len(x.shape), x.shape)
    total = x.shape[axis]
    if isinstance(sizes, (tuple, list)):
        parts = as_shape("split", sizes)
        if sum(parts) != total or min(parts, default=0) < 0:
            raise ShapeError(
                f"split: sizes {parts} do not add up to the {total} elements along axis {axis} of "
                f"shape {x.shape}"
            )
    else:
        (size,) = as_shape("split", sizes)
        if size < 1:
            raise ArgumentError(f"split: a part needs at least one element, not {size}")
        parts = tuple(min(size, total - start) for start in range(0, total, size)) or (0,)
    return [part(x, axis, sum(parts[:i]), size) for i, size in enumerate(parts)]


def chunk(x: Any, chunks: int, axis: int = 0) -> list[Any]:
    """`x` in at most `chunks` parts along `axis`, all of one size but for the last.

    >>> [t.tolist() for t in chunk(lift([1, 2, 3]), 2)]
    [[1, 2], [3]]
    """
    x = lift(x)
    axis = normalize_axis("chunk", axis, len(x.shape), x.shape)
    chunks = whole("chunk", "chunks", chunks, 1)
    return split(x, max(-(-x.shape[axis] // chunks), 1), axis)


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """The slices of `x` along `axis`, which they lose.

    >>> [t.tolist() for t in unstack(lift([[1, 2], [3, 4]]), axis=1)]
    [[1, 3], [2, 4]]
    """
    x = lift(x)
    axis = normalize_axis("unstack", axis, len(x.shape), x.shape)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    return tuple(reshape(part(x, axis, i, 1), shape) for i in range(x.shape[axis]))


def flip(x: Any, axis: Any = None) -> Any:
    """`x` in reverse order along `axis` (None for all axes, an integer, or several).

    >>> flip(lift([1, 2, 3])).tolist()
    [3, 2, 1]
    """
    x = lift(x)
    axes = normalize_axes("flip", axis, x.shape)
    starts = tuple(max(n - 1, 0) if a in axes else 0 for a, n in enumerate(x.shape))
    steps = tuple(-1 if a in axes else 1 for a in range(len(x.shape)))
    return ops.strided_slice(x, starts=starts, sizes=x.shape, steps=steps)


def roll(x: Any, shift: int | Sequence[int], axis: Any = None) -> Any:
    """`x` moved on by `shift` elements along `axis`; what leaves at the end enters in front.

    Without an axis the flattened tensor is rolled. Several shifts go with several axes.

    >>> roll(lift([1, 2, 3, 4]), 1).tolist()
    [4, 1, 2, 3]
    """
    x = lift(x)
    if axis is None:
        return reshape(roll(reshape(x, (-1,)), shift, 0), x.shape)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    shifts = as_shape("roll", shift)
    if len(shifts) == 1:
        shifts *= len(axes)
    if len(shifts) != len(axes):
        raise ArgumentError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    for by, given in zip(shifts, axes, strict=True):
        number = normalize_axis("roll", given, len(x.shape), x.shape)
        n = x.shape[number]
        first = -by % n if n else 0
        if first:
            parts = [part(x, number, first, n - first), part(x, number, 0, first)]
            x = ops.concat(*parts, axis=number)
    return x


def tile(x: Any, repetitions: int | Sequence[int]) -> Any:
    """`x` repeated as a whole, `repetitions` times along each axis; missing ones count from the
    last axis.

    >>> tile(lift([1, 2]), 2).tolist()
    [1, 2, 1, 2]
    """
    x = lift(x)
    times = as_shape("tile", repetitions)
    rank = max(len(times), len(x.shape))
    times = (1,) * (rank - len(times)) + times
    shape = (1,) * (rank - len(x.shape)) + x.shape
    if min(times, default=1) < 0:
        raise ArgumentError(f"tile: repetitions cannot be negative: {repetitions}")
    apart = tuple(n for size in shape for n in (1, size))
    wide = tuple(n for pair in zip(times, shape, strict=True) for n in pair)
    joined = tuple(t * n for t, n in zip(times, shape, strict=True))
    return reshape(broadcast_to(reshape(x, apart), wide), joined)


def repeat(x: Any, repeats: int, axis: int | None = None) -> Any:
    """Each element of `x` repeated `repeats` times along `axis`; None flattens first.

    >>> repeat(lift([1, 2]), 2).tolist()
    [1, 1, 2, 2]
    """
    x = lift(x)
    times = whole("repeat", "the number of repeats", repeats, 0)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    axis = normalize_axis("repeat", axis, len(x.shape), x.shape)
    front, n, back = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    wide = broadcast_to(expand_dims(x, axis + 1), (*front, n, times, *back))
    return reshape(wide, (*front, n * times, *back))


def pad(x: Any, widths: Any, value: Any = 0) -> Any:
    """`x` with `value` around it.

    Args:
        widths: a number for every side; a pair (before, after) for every axis; or a pair for each
            axis. Negative widths cut off.
        value: the padding, a number.

    >>> pad(lift([1, 2]), (1, 2)).tolist()
    [0, 1, 2, 0, 0]
    """
    x = lift(x)
    pairs = _pairs(widths, x.shape)
    low = tuple(max(-before, 0) for before, _ in pairs)
    cut = [min(before, 0) + min(after, 0) for before, after in pairs]
    kept = tuple(n + less for n, less in zip(x.shape, cut, strict=True))
    if min(kept, default=0) < 0:
        raise ShapeError(f"pad: widths {widths} cut off more than shape {x.shape} has")
    ones = (1,) * len(x.shape)
    if kept != x.shape:
        x = ops.strided_slice(x, starts=low, sizes=kept, steps=ones)
    starts = tuple(max(before, 0) for before, _ in pairs)
    shape = tuple(
        max(before, 0) + n + max(after, 0) for n, (before, after) in zip(kept, pairs, strict=True)
    )
    if shape == kept:
        return x
    filling = broadcast_to(astype(lift(value), x.dtype), shape)
    return ops.put_slice(filling, x, starts=starts, steps=ones)


def _pairs(widths: Any, shape: Shape) -> list[tuple[int, int]]:
    """Widths of padding as a pair for each axis."""
    try:
        given = np.broadcast_to(np.asarray(widths), (len(shape), 2))
    except ValueError:
        given = np.empty(0)
    if given.dtype.kind not in "iu":
        raise ArgumentTypeError(
            f"pad: widths {widths} must be an integer, a pair, or a pair for each of the "
            f"{len(shape)} axes of shape {shape}"
        )
    return [(int(before), int(after)) for before, after in given]


def meshgrid(*xs: Any, indexing: str = "xy") -> list[Any]:
    """The coordinates of a grid: for each vector a tensor in which it runs along its own axis.

    Args:
        indexing: "ij" for the axes in the order of the vectors, "xy" with the first two exchanged.

    >>> [g.tolist() for g in meshgrid(lift([1, 2]), lift([3, 4, 5]), indexing="ij")]
    [[[1, 1, 1], [2, 2, 2]], [[3, 4, 5], [3, 4, 5]]]
    """
    vectors = [lift(x) for x in xs]
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid: indexing is 'xy' or 'ij', not {indexing!r}")
    if any(len(x.shape) != 1 for x in vectors):
        raise ShapeError(f"meshgrid: takes vectors, not shapes {[x.shape for x in vectors]}")
    shape = tuple(x.shape[0] for x in vectors)
    grids = []
    for i, x in enumerate(vectors):
        place = (1,) * i + (shape[i],) + (1,) * (len(shape) - i - 1)
        grid = broadcast_to(reshape(x, place), shape)
        grids.append(swapaxes(grid, 0, 1) if indexing == "xy" and len(shape) > 1 else grid)
    return grids


def moveaxis(x: Any, source: int, destination: int) -> Any:
    """`x` with axis `source` at place `destination`, the others in order."""
    x = lift(x)
    rank = len(x.shape)
    start = normalize_axis("moveaxis", source, rank, x.shape)
    order = [a for a in range(rank) if a != start]
    order.insert(normalize_axis("moveaxis", destination, rank, x.shape), start)
    return permute_dims(x, order)


def swapaxes(x: Any, first: int, second: int) -> Any:
    """`x` with two axes exchanged."""
    x = lift(x)
    rank = len(x.shape)
    order = list(range(rank))
    i, j = (normalize_axis("swapaxes", a, rank, x.shape) for a in (first, second))
    order[i], order[j] = j, i
    return permute_dims(x, order)


def flatten(x: Any, start_axis: int = 0, end_axis: int = -1) -> Any:
    """`x` with the axes from `start_axis` to `end_axis` (both included) joined into one."""
    x = lift(x)
    if not x.shape:
        return reshape(x, (1,))
    rank = len(x.shape)
    first, last = (normalize_axis("flatten", a, rank, x.shape) for a in (start_axis, end_axis))
    if first > last:
        raise ArgumentError(f"flatten: axis {start_axis} comes after axis {end_axis}")
    joined = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))


def _below(name: str, x: Any, diagonal: int) -> Any:
    """Bools [m, n]: whether the place is on or below a diagonal."""
    if len(x.shape) < 2:
        raise ShapeError(f"{name}: shape {x.shape} has fewer than two axes")
    m, n = x.shape[-2:]
    diagonal = min(max(whole(name, "k", diagonal), -m - 1), n + 1)
    rows, columns = np.arange(m)[:, None], np.arange(n)
    return ops.less_equal(lift(columns - diagonal), lift(rows))


def tril(x: Any, k: int = 0) -> Any:
    """The lower triangles of the last two axes: zero above diagonal `k`.

    >>> tril(lift([[1, 2], [3, 4]])).tolist()
    [[1, 0], [3, 4]]
    """
    x = lift(x)
    return ops.where(_below("tril", x, k), x, 0)


def triu(x: Any, k: int = 0) -> Any:
    """The upper triangles of the last two axes: zero below diagonal `k`.

    >>> triu(lift([[1, 2], [3, 4]])).tolist()
    [[1, 2], [0, 4]]
    """
    x = lift(x)
    return ops.where(_below("triu", x, whole("triu", "k", k) - 1), 0, x)


def diagonal(x: Any, offset: int = 0) -> Any:
    """The diagonals of the last two axes, `offset` columns to the right of the main one.

    >>> diagonal(lift([[1, 2], [3, 4]])).tolist()
    [1, 4]
    """
    x = lift(x)
    if len(x.shape) < 2:
        raise ShapeError(f"diagonal: shape {x.shape} has fewer than two axes")
    m, n = x.shape[-2:]
    offset = whole("diagonal", "offset", offset)
    row, column = max(-offset, 0), max(offset, 0)
    size = max(min(m - row, n - column), 0)
    flat = reshape(x, (*x.shape[:-2], m * n))
    start = row * n + column if size else 0
    return part(flat, len(x.shape) - 2, start, size, n + 1)


def trace(x: Any, offset: int = 0) -> Any:
    """The sum of the diagonal of the last two axes."""
    found = diagonal(x, offset)
    return ops.sum(found, axes=(len(found.shape) - 1,), keepdims=False)
