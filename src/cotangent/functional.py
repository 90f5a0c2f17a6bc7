"""Functions of tensors, composed from the primitives.

Every function takes tensors, arrays or numbers, has Array API names and arguments where the
standard has the function, and means the same eager and compiled.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from . import ops
from .checks import whole
from .dtypes import as_dtype, bool_, int64, is_float, is_integer, is_unknown
from .errors import ArgumentTypeError, ShapeError
from .ops import lift
from .shapes import (
    as_shape,
    broadcast_shapes,
    normalize_axes,
    normalize_axis,
    resolve_reshape,
)

_NUMBERS = (int, float, np.integer, np.floating)


def astype(x: Any, dtype: Any) -> Any:
    """`x` as `dtype`; floats to integers truncate and saturate, and NaN gives 0.

    >>> astype(lift([1.7, -2.7]), "int32").tolist()
    [1, -2]
    """
    x, dtype = lift(x), as_dtype(dtype)
    return x if x.dtype == dtype else ops.astype(x, dtype=dtype)


def sum(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The sum over `axis` (None for all axes, an integer, or a tuple).

    >>> sum(lift([[1.0, 2.0], [3.0, 4.0]]), axis=0).tolist()
    [4.0, 6.0]
    """
    x = lift(x)
    return ops.sum(x, axes=normalize_axes("sum", axis, x.shape), keepdims=bool(keepdims))


def mean(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The mean over `axis`: the sum divided by the number of elements. Floats only.

    >>> mean(lift([1.0, 2.0, 6.0])).item()
    3.0
    """
    x = lift(x)
    ops.require_float("mean", x)
    axes = normalize_axes("mean", axis, x.shape)
    count = math.prod(x.shape[a] for a in axes)
    if count == 0:
        raise ShapeError(f"mean: shape {x.shape} has no elements over axes {axes} to average")
    return ops.sum(x, axes=axes, keepdims=bool(keepdims)) * (1.0 / count)


def max(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The largest element over `axis`. Equal elements share the gradient; NaN wins.

    >>> max(lift([[1.0, 5.0], [3.0, 2.0]]), axis=1).tolist()
    [5.0, 3.0]
    """
    x = lift(x)
    return ops.max(x, axes=normalize_axes("max", axis, x.shape), keepdims=bool(keepdims))


def min(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The smallest element over `axis`. Equal elements share the gradient; NaN wins.

    >>> min(lift([[1, 5], [3, 2]]), axis=1).tolist()
    [1, 2]
    """
    x = lift(x)
    axes = normalize_axes("min", axis, x.shape)
    if not is_integer(x.dtype):
        return -ops.max(-x, axes=axes, keepdims=bool(keepdims))
    # In integers -x overflows (-128 in int8, everything but 0 in uint8); the mirror never does.
    mirror = int(np.iinfo(x.dtype).max) if x.dtype.kind == "u" else -1
    return mirror - ops.max(mirror - x, axes=axes, keepdims=bool(keepdims))


def argmax(x: Any, axis: int | None = None, *, keepdims: bool = False) -> Any:
    """Where the largest element is along `axis` (None: in the flattened tensor), as int64.

    The first of equal elements wins, and the first NaN before any number.

    >>> argmax(lift([[1.0, 5.0, 5.0]]), axis=1).tolist()
    [1]
    """
    x = lift(x)
    if axis is None:
        flat = argmax(reshape(x, (-1,)), 0)
        return reshape(flat, (1,) * len(x.shape)) if keepdims else flat
    number = normalize_axis("argmax", axis, len(x.shape), x.shape)
    best = ops.max(x, axes=(number,), keepdims=True)
    hit = ops.logical_or(ops.equal(x, best), ops.not_equal(x, x))
    size = x.shape[number]
    place = np.arange(size, dtype=np.int64).reshape((-1,) + (1,) * (len(x.shape) - number - 1))
    first = ops.where(hit, -place, np.int64(-size))
    return -ops.max(first, axes=(number,), keepdims=bool(keepdims))


def reshape(x: Any, shape: Any) -> Any:
    """The same elements in row-major order under `shape`, in which one size may be -1."""
    x = lift(x)
    wanted = resolve_reshape(x.shape, as_shape("reshape", shape))
    return x if wanted == x.shape else ops.reshape(x, shape=wanted)


def permute_dims(x: Any, axes: Any) -> Any:
    """The axes in another order: axis ``i`` of the result is axis ``axes[i]`` of `x`."""
    x = lift(x)
    rank = len(x.shape)
    if not isinstance(axes, (tuple, list, range)):
        raise ArgumentTypeError(f"permute_dims: axes are a tuple of integers, not {axes!r}")
    order = tuple(normalize_axis("permute_dims", a, rank, x.shape) for a in axes)
    return ops.permute_dims(x, axes=order)


def matrix_transpose(x: Any) -> Any:
    """`x` with its last two axes exchanged."""
    x = lift(x)
    if len(x.shape) < 2:
        raise ShapeError(f"matrix_transpose: shape {x.shape} has fewer than two axes")
    return ops.swap_last(x)


def broadcast_to(x: Any, shape: Any) -> Any:
    """`x` repeated along axes of size 1, and along new ones in front, up to `shape`."""
    x = lift(x)
    wanted = as_shape("broadcast_to", shape)
    if builtins.min(wanted, default=0) < 0:
        raise ShapeError(f"broadcast_to: a size cannot be negative: {wanted}")
    return x if wanted == x.shape else ops.broadcast_to(x, shape=wanted)


def expand_dims(x: Any, axis: int = 0) -> Any:
    """`x` with an axis of size 1 inserted at `axis`."""
    x = lift(x)
    place = normalize_axis("expand_dims", axis, len(x.shape) + 1, x.shape)
    return ops.reshape(x, shape=(*x.shape[:place], 1, *x.shape[place:]))


def squeeze(x: Any, axis: Any) -> Any:
    """`x` without the axes in `axis`, each of which must have size 1."""
    x = lift(x)
    axes = normalize_axes("squeeze", axis, x.shape)
    for a in axes:
        if x.shape[a] != 1:
            raise ShapeError(f"squeeze: axis {a} of shape {x.shape} has size {x.shape[a]}, not 1")
    return ops.reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


def matmul(x: Any, y: Any) -> Any:
    """The matrix product of the last two axes; leading axes broadcast; vectors are rows or columns.

    ``[..., m, k] @ [..., k, n]`` gives ``[..., m, n]``. A vector on the left counts as one row,
    on the right as one column, and its axis is dropped from the result.

    >>> matmul(lift([[1.0, 2.0]]), lift([3.0, 4.0])).tolist()
    [11.0]
    """
    x, y = lift(x), lift(y)
    if not x.shape or not y.shape:
        raise ShapeError(
            f"matmul: shapes {x.shape} and {y.shape}; a 0-d tensor has no axis to contract, "
            "use * instead"
        )
    left, right = len(x.shape) == 1, len(y.shape) == 1
    a = expand_dims(x, 0) if left else x
    b = expand_dims(y, 1) if right else y
    out = ops.matmul(a, b)
    if not (left or right):
        return out
    shape = list(out.shape)
    if right:
        del shape[-1]
    if left:
        del shape[-1 if right else -2]
    return ops.reshape(out, shape=tuple(shape))


def true_divide(x: Any, y: Any) -> Any:
    """x / y, broadcast; integer tensors become the default float first."""
    x, y = (_as_float(v) if hasattr(v, "dtype") and not _is_weak(v) else v for v in (x, y))
    return ops.divide(x, y)


def _as_float(x: Any) -> Any:
    return x if is_float(x.dtype) else astype(x, float)


def square(x: Any) -> Any:
    """x * x."""
    return power(x, 2)


def power(x: Any, exponent: Any) -> Any:
    """`x` to the power of a number or a tensor; NaN for x < 0 unless the exponent is whole.

    Constant integers are products by repeated squaring, and 0.5 and -0.5 are roots. Other
    exponents make a float of an integer `x`.

    >>> power(lift([2.0, 3.0]), 3).tolist()
    [8.0, 27.0]
    """
    number = isinstance(exponent, _NUMBERS)
    if not number or (exponent % 1 and exponent not in (0.5, -0.5)):
        return _any_power(x, exponent)
    x = lift(x)
    if exponent in (0.5, -0.5):
        root = ops.sqrt(x)
        return root if exponent > 0 else ops.reciprocal(root)
    n = int(exponent)
    if n < 0:
        return ops.reciprocal(power(x, -n))
    if n == 0:
        return broadcast_to(astype(lift(1), x.dtype), x.shape)
    return x if n == 1 else ops.whole_power(x, n=n)


def _any_power(x: Any, y: Any) -> Any:
    """x**y by logarithm and exponential, integers as the default float."""
    base, exponent = (v if _is_weak(v) else lift(v) for v in (x, y))
    if not (_is_weak(base) or is_float(base.dtype)):
        base = astype(base, float)
    if not (_is_weak(exponent) or is_float(exponent.dtype)):
        exponent = astype(exponent, float if _is_weak(base) else base.dtype)
    return ops.pow(base, exponent)


def _is_weak(x: Any) -> bool:
    """Whether it takes the dtype of what is beside it: a number of Python or NumPy."""
    return isinstance(x, _NUMBERS) or is_unknown(x)


def relu(x: Any) -> Any:
    """max(x, 0); the slope at 0 is 0."""
    return ops.relu(x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), accurate for every x."""
    return ops.sigmoid(x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return ops.tanh(x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    return ops.logaddexp(x, 0.0)


def _shifted(name: str, x: Any, axis: int) -> tuple[Any, int]:
    """`x` less its maximum along `axis`, and the axis counted from the front."""
    x = lift(x)
    ops.require_float(name, x)
    number = normalize_axis(name, axis, len(x.shape), x.shape)
    # The shift cancels out of the result, so no gradient needs to flow through the maximum.
    return x - ops.max(x.detach(), axes=(number,), keepdims=True), number


def logsumexp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over `axis`, without overflow."""
    x = lift(x)
    ops.require_float("logsumexp", x)
    axes = normalize_axes("logsumexp", axis, x.shape)
    top = ops.max(x.detach(), axes=axes, keepdims=True)
    finite = ops.where(ops.less(ops.absolute(top), np.inf), top, 0.0)
    total = ops.sum(ops.exp(x - finite), axes=axes, keepdims=True)
    out = ops.log(total) + finite
    shape = out.shape if keepdims else tuple(n for i, n in enumerate(x.shape) if i not in axes)
    return reshape(out, shape)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """x - log(sum(exp(x))) along `axis`, shifted by the maximum so that nothing overflows.

    >>> log_softmax(lift([0.0, 0.0])).tolist()
    [-0.6931471824645996, -0.6931471824645996]
    """
    shifted, number = _shifted("log_softmax", x, axis)
    return shifted - ops.log(ops.sum(ops.exp(shifted), axes=(number,), keepdims=True))


def softmax(x: Any, axis: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along `axis`. For a loss use `log_softmax` or cross-entropy."""
    shifted, number = _shifted("softmax", x, axis)
    weight = ops.exp(shifted)
    # The sum is at least 1, so its reciprocal loses nothing, and a division a row is enough.
    return weight * ops.reciprocal(ops.sum(weight, axes=(number,), keepdims=True))


def take(x: Any, indices: Any, axis: int = 0) -> Any:
    """Rows of `x` by index along `axis`; an index must lie in ``[0, x.shape[axis])``.

    >>> take(lift([[1.0, 2.0], [3.0, 4.0]]), [1, 0]).tolist()
    [[3.0, 4.0], [1.0, 2.0]]
    """
    x, index = lift(x), as_index(indices)
    number = normalize_axis("take", axis, len(x.shape), x.shape)
    if number == 0:
        return ops.take(x, index)
    if len(index.shape) != 1:
        raise ShapeError(
            f"take: along axis {number} the indices must have one axis, not shape {index.shape}"
        )
    front = (number, *(i for i in range(len(x.shape)) if i != number))
    back = sorted(range(len(front)), key=front.__getitem__)
    return ops.permute_dims(ops.take(ops.permute_dims(x, axes=front), index), axes=tuple(back))


def as_index(indices: Any) -> Any:
    """Indices as a tensor; an empty list counts as integers."""
    if isinstance(indices, (list, tuple)) and not _holds_anything(indices):
        return lift(np.zeros(np.shape(indices), np.int64))
    return lift(indices)


def _holds_anything(nested: Any) -> bool:
    """Whether nested lists have an element."""
    if not isinstance(nested, (list, tuple)):
        return True
    return builtins.any(_holds_anything(part) for part in nested)


def one_hot(indices: Any, classes: int) -> Any:
    """A float tensor with 1 where the last axis equals the index, else 0: shape + (classes,).

    >>> one_hot([1, 0], 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    classes = whole("one_hot", "classes", classes, 0)
    index = ops.check_index(as_index(indices), size=classes, what="one_hot")
    hit = is_class(index, classes)
    return ops.where(hit, 1.0, 0.0)


def is_class(index: Any, classes: int) -> Any:
    """Bools of shape ``index.shape + (classes,)``: whether the index is that class."""
    # An index of one or two bytes may be too narrow for the number of classes.
    wide = index.dtype if index.dtype.itemsize > 2 else int64
    place = np.arange(classes, dtype=wide)
    return ops.equal(expand_dims(index, -1), place)


def clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """`x` limited to the range from `min` to `max`; either may be None."""
    x = lift(x)
    if min is not None:
        x = ops.maximum(x, min)
    return x if max is None else ops.minimum(x, max)


def greater(x: Any, y: Any) -> Any:
    """x > y, broadcast."""
    return ops.less(y, x)


def greater_equal(x: Any, y: Any) -> Any:
    """x >= y, broadcast."""
    return ops.less_equal(y, x)


def count_nonzero(x: Any, axis: Any = None) -> Any:
    """How many elements are not zero (or are true), as int64."""
    x = lift(x)
    hit = x if x.dtype == bool_ else ops.not_equal(x, 0)
    return sum(ops.astype(hit, dtype=int64), axis=axis)


def broadcast_arrays(*xs: Any) -> list[Any]:
    """All of `xs`, broadcast to their joint shape."""
    tensors = [lift(x) for x in xs]
    shape = broadcast_shapes("broadcast_arrays", *(t.shape for t in tensors))
    return [broadcast_to(t, shape) for t in tensors]
