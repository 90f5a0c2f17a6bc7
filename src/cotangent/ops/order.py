"""Ops along the last axis in which order matters: running sums, and sorting."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import bool_, int64
from ..errors import DTypeError, ShapeError
from .primitive import Aval, Primitive, Sample, register
from .slices import strided_slice


def _infer_cumulative_sum(x: Any) -> Aval:
    if not x.shape:
        raise ShapeError("cumulative_sum: a 0-d tensor has no axis to go along")
    if x.dtype == bool_:
        raise DTypeError(
            f"cumulative_sum does not take bool (shape {x.shape}); use .astype(ct.int64)"
        )
    return x.shape, x.dtype


def _reverse(x: Any) -> Any:
    """`x` in reverse order along its last axis."""
    *lead, n = x.shape
    starts = (*[0] * len(lead), max(n - 1, 0))
    return strided_slice(x, starts=starts, sizes=x.shape, steps=(*[1] * len(lead), -1))


cumulative_sum: Primitive = register(
    Primitive(
        "cumulative_sum",
        "running sums along the last axis, from the front: result[i] = x[0] + ... + x[i]",
        kind="ordered",
        infer=_infer_cumulative_sum,
        eval=lambda xp, x: xp.cumulative_sum(x, axis=-1, dtype=x.dtype),
        vjp=(lambda g, out, x: _reverse(cumulative_sum(_reverse(g))),),
        jvp=(lambda t, out, x: cumulative_sum(t),),
        samples=lambda rng: [
            Sample((rng.random(s),)) for s in [(3,), (2, 5), (2, 3, 40), (2, 0), (0, 3), (4, 1)]
        ],
    )
)


def _infer_argsort(x: Any) -> Aval:
    if not x.shape:
        raise ShapeError("argsort: a 0-d tensor has no axis to sort along")
    return x.shape, int64


argsort: Primitive = register(
    Primitive(
        "argsort",
        "indices that sort the last axis, ascending; equal elements keep their order, NaN is last",
        kind="ordered",
        infer=_infer_argsort,
        eval=lambda xp, x: xp.astype(xp.argsort(x, axis=-1, stable=True), xp.int64),
        samples=lambda rng: [
            Sample((rng.integers(0, 6, s).astype(dtype),))
            for s in [(1,), (7,), (3, 50), (2, 0), (2, 2, 33)]
            for dtype in ("float64", "int32", "uint8")
        ],
        special=[
            Sample((np.array([np.nan, 1.0, -np.inf, np.nan]),), {}, np.array([2, 1, 0, 3])),
            Sample((np.array([0.0, -0.0, np.inf, -1.0]),), {}, np.array([3, 0, 1, 2])),
        ],
    )
)
