"""Ops that move values and compute nothing: reshape, permute, broadcast; rows by index."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dtypes import is_integer
from ..errors import DTypeError, ShapeError
from ..shapes import Shape, broadcast_shapes
from . import batching
from .convert import astype, raise_out_of_range
from .elementwise import equal
from .primitive import Aval, Primitive, Sample, lift, register, unbroadcast


def _infer_reshape(x: Any, shape: Shape) -> Aval:
    if math.prod(shape) != math.prod(x.shape):
        raise ShapeError(
            f"reshape: {x.shape} has {math.prod(x.shape)} elements and cannot become {shape}"
        )
    return shape, x.dtype


reshape: Primitive = register(
    Primitive(
        "reshape",
        "the same elements in row-major order under another shape",
        kind="movement",
        infer=_infer_reshape,
        eval=lambda xp, x, shape: xp.reshape(x, shape),
        vjp=(lambda g, out, x, shape: reshape(g, shape=x.shape),),
        jvp=(lambda t, out, x, shape: reshape(t, shape=shape),),
        batch=batching.reshaping,
        samples=lambda rng: [
            Sample((rng.random(a),), {"shape": b})
            for a, b in [((2, 6), (3, 4)), ((4,), (2, 1, 2)), ((), (1,)), ((0, 3), (3, 0))]
        ],
    )
)


def _infer_permute(x: Any, axes: tuple[int, ...]) -> Aval:
    if sorted(axes) != list(range(len(x.shape))):
        raise ShapeError(
            f"permute_dims: axes {axes} must name each of the {len(x.shape)} axes "
            f"of shape {x.shape} once"
        )
    return tuple(x.shape[a] for a in axes), x.dtype


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


permute_dims: Primitive = register(
    Primitive(
        "permute_dims",
        "the axes in another order: axis i of the result is axis axes[i] of x",
        kind="movement",
        infer=_infer_permute,
        eval=lambda xp, x, axes: xp.permute_dims(x, axes),
        vjp=(lambda g, out, x, axes: permute_dims(g, axes=_inverse(axes)),),
        jvp=(lambda t, out, x, axes: permute_dims(t, axes=axes),),
        batch=batching.permuting,
        samples=lambda rng: [
            Sample((rng.random(s),), {"axes": a})
            for s, a in [((2, 3), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((), ()), ((33, 17), (1, 0))]
        ],
    )
)


def _infer_broadcast(x: Any, shape: Shape) -> Aval:
    if broadcast_shapes("broadcast_to", x.shape, shape) != shape:
        raise ShapeError(
            f"broadcast_to: {x.shape} does not stretch to {shape}; only axes of size 1 stretch"
        )
    return shape, x.dtype


broadcast_to: Primitive = register(
    Primitive(
        "broadcast_to",
        "x repeated along axes of size 1, and along new ones in front",
        kind="movement",
        infer=_infer_broadcast,
        eval=lambda xp, x, shape: xp.broadcast_to(x, shape),
        vjp=(lambda g, out, x, shape: unbroadcast(g, x.shape),),
        jvp=(lambda t, out, x, shape: broadcast_to(t, shape=shape),),
        batch=batching.stretching,
        samples=lambda rng: [
            Sample((rng.random(a),), {"shape": b})
            for a, b in [((3,), (2, 3)), ((2, 1), (2, 3)), ((), (2, 2)), ((1, 3), (0, 3))]
        ],
    )
)


def _infer_take(x: Any, index: Any) -> Aval:
    if not is_integer(index.dtype):
        raise DTypeError(
            f"take: indices must be integers, not {index.dtype} (shape {index.shape}); "
            "convert them with .astype(ct.int64)"
        )
    if not x.shape:
        raise ShapeError("take: x has no axis to take rows from; its shape is ()")
    return (*index.shape, *x.shape[1:]), x.dtype


def _eval_take(xp: Any, x: Any, index: Any) -> Any:
    raise_out_of_range(xp, index, x.shape[0], "take")
    flat = xp.reshape(index, (-1,))
    return xp.reshape(xp.take(x, flat, axis=0), (*index.shape, *x.shape[1:]))


take: Primitive = register(
    Primitive(
        "take",
        "rows of x by index: result[i, ...] = x[index[i], ...]; 0 <= index < len(x), checked",
        kind="gather",
        infer=_infer_take,
        eval=_eval_take,
        vjp=(lambda g, out, x, index: scatter_add(g, index, rows=x.shape[0]), None),
        jvp=(lambda t, out, x, index: take(t, index), None),
        saves=(1,),
        uniform_from=None,
        can_fail=True,
        batch=batching.gathering,
        samples=lambda rng: [
            Sample((rng.random((4, 3)), np.array([3, 0, 3]))),
            Sample((rng.random((4,)), np.array([[1, 2], [0, 1]]))),
            Sample((rng.random((4, 2, 19)), np.array(2))),
            Sample((rng.random((4, 2)), np.zeros((0,), np.int64))),
        ],
    )
)


def _infer_put_rows(x: Any, values: Any, index: Any) -> Aval:
    if not is_integer(index.dtype):
        raise DTypeError(f"put_rows: indices must be integers, not {index.dtype}")
    if values.shape != (*index.shape, *x.shape[1:]):
        raise ShapeError(
            f"put_rows: values of shape {values.shape} must have the shape of the indices, "
            f"{index.shape}, and then that of a row, {x.shape[1:]}"
        )
    if values.dtype != x.dtype:
        raise DTypeError(f"put_rows: values of {values.dtype} for a tensor of {x.dtype}")
    return x.shape, x.dtype


def _eval_put_rows(xp: Any, x: Any, values: Any, index: Any) -> Any:
    raise_out_of_range(xp, index, x.shape[0], "put_rows")
    rows = xp.reshape(values, (math.prod(index.shape), *x.shape[1:]))
    return xp.put_rows(x, xp.reshape(index, (-1,)), rows)


def _stays(x: Any, values: Any, index: Any) -> Any:
    """Which of the values stay, where indices repeat: ones and zeros like `values`."""
    count = math.prod(index.shape)
    place = lift(np.arange(count, dtype=np.int64).reshape(index.shape))
    none = broadcast_to(lift(np.int64(-1)), shape=(x.shape[0],))
    last = take(put_rows(none, place, index), index)
    kept = equal(last, place)
    wide = (*index.shape, *(1,) * (len(values.shape) - len(index.shape)))
    return astype(reshape(kept, shape=wide), dtype=values.dtype)


def _zero_rows(g: Any, values: Any, index: Any) -> Any:
    zero = broadcast_to(lift(np.zeros((), g.dtype)), shape=values.shape)
    return put_rows(g, astype(zero, dtype=g.dtype), index)


put_rows: Primitive = register(
    Primitive(
        "put_rows",
        "x with rows replaced: row index[i] is values[i]; of equal indices the last one counts",
        kind="scatter",
        infer=_infer_put_rows,
        eval=_eval_put_rows,
        vjp=(
            lambda g, out, x, values, index: _zero_rows(g, values, index),
            lambda g, out, x, values, index: take(g, index) * _stays(x, values, index),
            None,
        ),
        jvp=(
            lambda t, out, x, values, index: _zero_rows(t, values, index),
            lambda t, out, x, values, index: put_rows(
                astype(broadcast_to(lift(np.zeros((), t.dtype)), shape=x.shape), dtype=t.dtype),
                t,
                index,
            ),
            None,
        ),
        saves=(2,),
        uniform_from=None,
        can_fail=True,
        batch=batching.putting,
        samples=lambda rng: [
            Sample((rng.random((4, 2)), rng.random((3, 2)), np.array([1, 3, 1]))),
            Sample((rng.random((3,)), rng.random((2, 2)), np.array([[0, 1], [1, 0]]))),
            Sample((rng.random((2, 19)), rng.random((0, 19)), np.zeros((0,), np.int64))),
        ],
    )
)


def _infer_scatter_add(g: Any, index: Any, rows: int) -> Aval:
    if not is_integer(index.dtype):
        raise DTypeError(f"scatter_add: indices must be integers, not {index.dtype}")
    rank = len(index.shape)
    if g.shape[:rank] != index.shape:
        raise ShapeError(
            f"scatter_add: values of shape {g.shape} must begin with the shape of the "
            f"indices, {index.shape}"
        )
    return (rows, *g.shape[rank:]), g.dtype


def _eval_scatter_add(xp: Any, g: Any, index: Any, rows: int) -> Any:
    raise_out_of_range(xp, index, rows, "scatter_add")
    tail = g.shape[len(index.shape) :]
    out = xp.zeros((rows, *tail), dtype=g.dtype)
    values = xp.reshape(g, (math.prod(index.shape), *tail))
    return xp.add_rows(out, xp.reshape(index, (-1,)), values)


scatter_add: Primitive = register(
    Primitive(
        "scatter_add",
        "zeros of `rows` rows to which row i of g is added at index[i], in order of i",
        kind="scatter",
        infer=_infer_scatter_add,
        eval=_eval_scatter_add,
        vjp=(lambda g, out, values, index, rows: take(g, index), None),
        jvp=(lambda t, out, values, index, rows: scatter_add(t, index, rows=rows), None),
        saves=(1,),
        uniform_from=None,
        can_fail=True,
        batch=batching.scattering,
        samples=lambda rng: [
            Sample((rng.random((3, 2)), np.array([1, 3, 1])), {"rows": 4}),
            Sample((rng.random((2, 2)), np.array([[0, 1], [1, 1]])), {"rows": 2}),
            Sample((rng.random((3, 2, 18)), np.array([1, 0, 1])), {"rows": 2}),
        ],
    )
)
