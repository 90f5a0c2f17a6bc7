"""Reductions: sum and max over axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import bool_
from ..errors import DTypeError, ShapeError
from ..shapes import reduce_shape
from .convert import astype
from .elementwise import equal
from .movement import broadcast_to, reshape
from .primitive import Aval, Primitive, Sample, linear_in_each, register


def _cases(rng: np.random.Generator) -> list[Sample]:
    """Inner, outer, both, middle and no axes; with and without keepdims; distinct values."""
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((3, 4), (1,)), ((3, 4), (0,)), ((3, 4), (0, 1)), ((2, 3, 4), (1,)), ((2, 3, 4), (0, 2)),
        ((5,), (0,)), ((3, 4), ()), ((2, 37), (1,)), ((37, 2), (0,)),
    ]  # fmt: skip
    return [
        Sample((rng.permutation(int(np.prod(s))).reshape(s) / 4.0,), {"axes": a, "keepdims": k})
        for s, a in shapes
        for k in (False, True)
    ]


def _infer_sum(x: Any, axes: tuple[int, ...], keepdims: bool) -> Aval:
    if x.dtype == bool_:
        raise DTypeError(
            f"sum does not take bool (shape {x.shape}); count with .astype(ct.int64).sum()"
        )
    return reduce_shape(x.shape, axes, keepdims), x.dtype


def restore_axes(g: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """`g`, reduced over `axes` of a tensor like `x`, with those axes back at size 1."""
    shape = reduce_shape(x.shape, axes, True)
    return g if g.shape == shape else reshape(g, shape=shape)


sum: Primitive = register(
    Primitive(
        "sum",
        "the sum over axes; the dtype stays that of x; 0 over no elements",
        kind="reduce",
        infer=_infer_sum,
        eval=lambda xp, x, axes, keepdims: xp.sum(x, axis=axes, keepdims=keepdims),
        vjp=(
            lambda g, out, x, axes, keepdims: broadcast_to(restore_axes(g, x, axes), shape=x.shape),
        ),
        jvp=linear_in_each("sum", 1),
        samples=lambda rng: [
            *_cases(rng),
            Sample((np.zeros((0, 3)),), {"axes": (0,), "keepdims": False}),
        ],
    )
)


def _infer_max(x: Any, axes: tuple[int, ...], keepdims: bool) -> Aval:
    empty = [i for i in axes if x.shape[i] == 0]
    if empty:
        raise ShapeError(
            f"max: shape {x.shape} has no elements along axis {empty[0]}, so there is no maximum"
        )
    if x.dtype == bool_:
        raise DTypeError(f"max does not take bool (shape {x.shape}); use .astype(ct.int64)")
    return reduce_shape(x.shape, axes, keepdims), x.dtype


def _share(out: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """The derivative of the maximum: 1 at the largest element, shared equally by ties."""
    hit = astype(equal(x, restore_axes(out, x, axes)), dtype=x.dtype)
    return hit / sum(hit, axes=axes, keepdims=True)


max: Primitive = register(
    Primitive(
        "max",
        "the largest element over axes; equal elements share the slope; NaN wins",
        kind="reduce",
        infer=_infer_max,
        eval=lambda xp, x, axes, keepdims: xp.max(x, axis=axes, keepdims=keepdims),
        vjp=(lambda g, out, x, axes, keepdims: restore_axes(g, x, axes) * _share(out, x, axes),),
        jvp=(
            lambda t, out, x, axes, keepdims: sum(
                t * _share(out, x, axes), axes=axes, keepdims=keepdims
            ),
        ),
        saves=(0, "out"),
        samples=_cases,
        special=[
            Sample((np.array([1.0, np.nan]),), {"axes": (0,), "keepdims": False}, np.nan),
            Sample((np.array([-np.inf]),), {"axes": (0,), "keepdims": False}, -np.inf),
        ],
    )
)
