"""What all losses share: the checks of shapes, weights, and the reduction."""

from __future__ import annotations

import math
from typing import Any

from .. import functional, ops
from ..dtypes import is_float
from ..errors import ArgumentError, ShapeError
from ..ops import lift
from ..tensors import Tensor


def pair(name: str, a: str, x: Any, b: str, y: Any) -> tuple[Tensor, Tensor]:
    """Predictions and targets as tensors of equal shapes; integer and bool targets as floats."""
    x, y = lift(x), lift(y)
    if x.shape != y.shape:
        raise unequal(name, a, x, b, y)
    return x, y if is_float(y.dtype) else functional.astype(y, x.dtype)


def unequal(name: str, a: str, x: Tensor, b: str, y: Tensor) -> ShapeError:
    """The error for shapes that differ."""
    if x.size == y.size:
        fix = f"if they belong together, use {b}.reshape({x.shape})"
    else:
        fix = "check the last layer and the batch that the targets come from"
    return ShapeError(
        f"{name}: {a} of shape {x.shape} and {b} of shape {y.shape} must have equal shapes, "
        f"because broadcasting would pair every value with every other; {fix}"
    )


def reduce(
    name: str, values: Tensor, reduction: str, sample_weight: Any = None, counts: Any = None
) -> Tensor:
    """The mean, the sum, or the values themselves.

    Args:
        name: of the loss.
        values: one a sample or element, already multiplied by `counts`.
        reduction: "mean", "sum" or "none".
        sample_weight: of the leading axes of `values`; multiplies values and counts.
        counts: what each value counts for in the mean, of the shape of `values`; 1 if None.
    """
    if not isinstance(reduction, str) or reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f'{name}: reduction must be "mean", "sum" or "none", not {reduction!r}')
    if sample_weight is not None:
        weight = _fitting(name, values, sample_weight)
        values = values * weight
        counts = weight if counts is None else counts * weight
    if reduction == "none":
        return values
    if reduction == "sum":
        return functional.sum(values)
    if 0 in values.shape:
        raise ShapeError(
            f"{name}: the batch is empty: losses of shape {values.shape} have no elements"
        )
    if counts is None:
        return functional.mean(values)
    repeats = math.prod(values.shape) // max(math.prod(counts.shape), 1)
    return functional.sum(values) / (functional.sum(counts) * float(repeats))


def _fitting(name: str, values: Tensor, sample_weight: Any) -> Tensor:
    """Sample weights with axes of size 1 behind them, up to those of `values`."""
    weight = lift(sample_weight)
    rank = len(weight.shape)
    if weight.shape != values.shape[:rank]:
        raise ShapeError(
            f"{name}: sample_weight of shape {weight.shape} must have the leading axes of the "
            f"losses, whose shape is {values.shape}: one weight a sample"
        )
    if not is_float(weight.dtype):
        weight = functional.astype(weight, values.dtype)
    return functional.reshape(weight, weight.shape + (1,) * (len(values.shape) - rank))


def require_classes(name: str, z: Tensor) -> None:
    """Raise unless `z` is floating-point with a last axis of classes."""
    ops.require_float(name, z)
    if not z.shape or z.shape[-1] == 0:
        raise ShapeError(f"{name}: logits of shape {z.shape} have no last axis of classes")
