"""Loss functions: pure functions of tensors that return a scalar, or one value per element.

All take ``reduction="mean"`` (the default), ``"sum"`` or ``"none"``. Shapes must be equal,
because broadcasting would silently compare every prediction with every target.
"""

from __future__ import annotations

from typing import Any

from .. import functional, ops
from ..dtypes import is_float, is_integer
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functional import as_index, is_class
from ..ops import lift
from ..tensors import Tensor


def mse_loss(pred: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error, ``(pred - target)**2``.

    Args:
        pred: any shape.
        target: the same shape.
        reduction: "mean" divides by the number of elements.

    Raises:
        ShapeError: if the shapes differ.

    >>> mse_loss([1.0, 2.0], [1.0, 4.0]).item()
    2.0
    """
    pred, target = lift(pred), lift(target)
    if pred.shape != target.shape:
        raise _unequal("mse_loss", "pred", pred, "target", target)
    difference = pred - target
    return _reduce("mse_loss", difference * difference, reduction)


def binary_cross_entropy_with_logits(logits: Any, targets: Any, reduction: str = "mean") -> Tensor:
    """The negative log-likelihood of yes-or-no targets, ``log(1 + exp(z)) - z * t``.

    Accurate for every logit; apply no sigmoid before it.

    Args:
        logits: any shape.
        targets: the same shape; probabilities of yes in [0, 1]; integers and bools are converted.
        reduction: "mean" divides by the number of elements.

    Raises:
        ShapeError: if the shapes differ.

    >>> round(binary_cross_entropy_with_logits([0.0], [1.0]).item(), 6)
    0.693147
    """
    name = "binary_cross_entropy_with_logits"
    z, t = lift(logits), lift(targets)
    ops.require_float(name, z)
    if z.shape != t.shape:
        raise _unequal(name, "logits", z, "targets", t)
    if not is_float(t.dtype):
        t = functional.astype(t, z.dtype)
    return _reduce(name, ops.logaddexp(z, 0.0) - z * t, reduction)


def soft_cross_entropy_loss(logits: Any, probs: Any, reduction: str = "mean") -> Tensor:
    """The cross-entropy against probabilities, ``-sum(probs * log_softmax(logits))``.

    Args:
        logits: ``[..., classes]``; apply no softmax before it.
        probs: the same shape; each row sums to 1. Where a probability is 0, the logit may be -inf.
        reduction: "mean" divides by the number of rows, the product of the leading axes.

    Returns:
        A scalar, or with "none" the shape of the leading axes.

    Raises:
        ShapeError: if the shapes differ.

    >>> round(soft_cross_entropy_loss([[0.0, 0.0]], [[0.5, 0.5]]).item(), 6)
    0.693147
    """
    name = "soft_cross_entropy_loss"
    z, p = lift(logits), lift(probs)
    if z.shape != p.shape:
        raise _unequal(name, "logits", z, "probs", p)
    _require_classes(name, z)
    if not is_float(p.dtype):
        p = functional.astype(p, z.dtype)
    weighted = ops.mul_no_nan(p, functional.log_softmax(z, -1))
    return _reduce(name, -functional.sum(weighted, -1), reduction)


def cross_entropy_loss(logits: Any, class_indices: Any, reduction: str = "mean") -> Tensor:
    """The negative log-likelihood of the true class, ``-log_softmax(logits)[class]``.

    Args:
        logits: ``[..., classes]``; apply no softmax before it.
        class_indices: integers in ``[0, classes)``, of the shape of the leading axes.
        reduction: "mean" divides by the number of labels, the product of the leading axes.

    Returns:
        A scalar, or with "none" the shape of `class_indices`.

    Raises:
        ShapeError: if `class_indices` does not have the leading shape of `logits`.
        DTypeError: if they are not integers; probabilities go to `soft_cross_entropy_loss`.
        BoundsError: if one is outside ``[0, classes)``, eager and compiled.

    >>> round(cross_entropy_loss([[0.0, 0.0]], [1]).item(), 6)
    0.693147
    """
    name = "cross_entropy_loss"
    z, index = lift(logits), as_index(class_indices)
    _require_classes(name, z)
    if not is_integer(index.dtype):
        raise DTypeError(
            f"{name}: class indices must be integers, not {index.dtype} of shape {index.shape}; "
            "use .astype(ct.int64), or soft_cross_entropy_loss for probabilities"
        )
    if index.shape != z.shape[:-1]:
        raise ShapeError(
            f"{name}: logits of shape {z.shape} need class indices of shape {z.shape[:-1]} "
            f"(one for each row of {z.shape[-1]} classes), not {index.shape}" + _label_fix(z, index)
        )
    classes = z.shape[-1]
    index = ops.check_index(index, size=classes, what=f"{name} with {classes} classes")
    chosen = ops.where(is_class(index, classes), functional.log_softmax(z, -1), 0.0)
    return _reduce(name, -functional.sum(chosen, -1), reduction)


def _label_fix(z: Tensor, index: Tensor) -> str:
    if index.shape == z.shape:
        return "; one-hot or soft targets go to soft_cross_entropy_loss"
    if index.shape == (*z.shape[:-1], 1):
        return f"; drop the last axis with .reshape({z.shape[:-1]})"
    return ""


def _require_classes(name: str, z: Tensor) -> None:
    ops.require_float(name, z)
    if not z.shape or z.shape[-1] == 0:
        raise ShapeError(f"{name}: logits of shape {z.shape} have no last axis of classes")


def _unequal(name: str, a: str, x: Tensor, b: str, y: Tensor) -> ShapeError:
    if x.size == y.size:
        fix = f"if they belong together, use {b}.reshape({x.shape})"
    else:
        fix = "check the last layer and the batch that the targets come from"
    return ShapeError(
        f"{name}: {a} of shape {x.shape} and {b} of shape {y.shape} must have equal shapes, "
        f"because broadcasting would pair every value with every other; {fix}"
    )


def _reduce(name: str, values: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return functional.mean(values)
    if reduction == "sum":
        return functional.sum(values)
    if reduction == "none":
        return values
    raise ArgumentError(f'{name}: reduction must be "mean", "sum" or "none", not {reduction!r}')
