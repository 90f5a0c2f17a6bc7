"""Contractions: matrix multiplication."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..shapes import broadcast_shapes
from .movement import permute_dims
from .primitive import (
    Aval,
    Primitive,
    Sample,
    linear_in_each,
    register,
    require_number,
    unbroadcast,
)


def _infer_matmul(a: Any, b: Any) -> Aval:
    require_number("matmul", a, b)
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise ShapeError(
            f"matmul: shapes {a.shape} and {b.shape}; both sides need at least two axes here. "
            "ct.matmul and @ also take vectors"
        )
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: {a.shape} @ {b.shape}: the last axis of the left side has {a.shape[-1]} "
            f"elements and the second to last of the right side {b.shape[-2]}; they must be "
            "equal. Transpose one side with .mT, or check the width of the layer"
        )
    batch = broadcast_shapes("matmul", a.shape[:-2], b.shape[:-2])
    return (*batch, a.shape[-2], b.shape[-1]), a.dtype


def swap_last(x: Any) -> Any:
    """`x` with its last two axes exchanged."""
    rank = len(x.shape)
    return permute_dims(x, axes=(*range(rank - 2), rank - 1, rank - 2))


matmul: Primitive = register(
    Primitive(
        "matmul",
        "matrix product of the last two axes, [..., m, k] @ [..., k, n]; leading axes broadcast",
        kind="matmul",
        infer=_infer_matmul,
        eval=lambda xp, a, b: xp.matmul(a, b),
        vjp=(
            lambda g, out, a, b: unbroadcast(matmul(g, swap_last(b)), a.shape),
            lambda g, out, a, b: unbroadcast(matmul(swap_last(a), g), b.shape),
        ),
        jvp=linear_in_each("matmul", 2),
        saves=(0, 1),
        samples=lambda rng: [
            Sample((rng.uniform(-1, 1, a), rng.uniform(-1, 1, b)))
            for a, b in [
                ((2, 3), (3, 4)), ((1, 5), (5, 1)), ((2, 2, 3), (3, 2)), ((2, 1, 2, 3), (3, 3, 2)),
                ((17, 33), (33, 35)), ((2, 0), (0, 3)), ((0, 3), (3, 2)), ((3, 1), (1, 40)),
            ]
        ],
    )
)  # fmt: skip
