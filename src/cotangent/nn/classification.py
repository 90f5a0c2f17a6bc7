"""Losses for classes: pure functions that return a scalar, or one value per sample.

``reduction`` and ``sample_weight`` are as in `losses`. Those that take class indices also take
``class_weight``, ``label_smoothing`` and ``ignore_index``.
"""

from __future__ import annotations

from typing import Any

from .. import functional, ops
from ..backends import is_concrete
from ..checks import real
from ..dtypes import int64, is_float, is_integer
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functional import as_index, is_class
from ..ops import lift
from ..tensors import Tensor
from .reduction import pair, reduce, require_classes, unequal


def binary_cross_entropy_with_logits(
    logits: Any,
    targets: Any,
    reduction: str = "mean",
    *,
    pos_weight: Any = None,
    sample_weight: Any = None,
) -> Tensor:
    """The negative log-likelihood of yes-or-no targets, ``log(1 + exp(z)) - z * t``.

    Accurate for every logit; apply no sigmoid before it.

    Args:
        logits: any shape.
        targets: the same shape; probabilities of yes in [0, 1]; integers and bools are converted.
        reduction: "mean" divides by the number of elements, or the sum of their weights; it
            takes no notice of `pos_weight`.
        pos_weight: how much a yes counts against a no: a number, or one for each element of
            the last axis. Above 1 where yes is rare.
        sample_weight: of the shape of `logits`, or of its leading axes.

    Raises:
        ShapeError: if the shapes differ.

    >>> round(binary_cross_entropy_with_logits([0.0], [1.0]).item(), 6)
    0.693147
    """
    name = "binary_cross_entropy_with_logits"
    z, t = pair(name, "logits", logits, "targets", targets)
    ops.require_float(name, z)
    if pos_weight is None:
        return reduce(name, ops.logaddexp(z, 0.0) - z * t, reduction, sample_weight)
    weight = lift(pos_weight)
    if weight.shape not in ((), z.shape[-1:]):
        raise ShapeError(
            f"{name}: pos_weight of shape {weight.shape} must be a number, or of the shape "
            f"{z.shape[-1:]} of the last axis of the logits"
        )
    yes, no = ops.logaddexp(-z, 0.0), ops.logaddexp(z, 0.0)
    return reduce(name, weight * t * yes + (1.0 - t) * no, reduction, sample_weight)


def binary_cross_entropy(
    probs: Any, targets: Any, reduction: str = "mean", *, sample_weight: Any = None
) -> Tensor:
    """The negative log-likelihood of yes-or-no targets, ``-t * log(p) - (1 - t) * log(1 - p)``.

    Both logarithms are cut off at -100, where their slope is 0. Prefer
    `binary_cross_entropy_with_logits`, which is accurate and never cut off.

    Args:
        probs: any shape; in [0, 1].
        targets: the same shape; probabilities of yes in [0, 1]; integers and bools are converted.
        reduction: "mean" divides by the number of elements, or the sum of their weights.
        sample_weight: of the shape of `probs`, or of its leading axes.

    Raises:
        ShapeError: if the shapes differ.
        ArgumentError: if a probability is outside [0, 1]; a compiled function gives NaN instead.

    >>> round(binary_cross_entropy([0.5], [1.0]).item(), 6)
    0.693147
    """
    name = "binary_cross_entropy"
    p, t = pair(name, "probs", probs, "targets", targets)
    ops.require_float(name, p)
    if is_concrete(p.data) and p.size:
        values = p.numpy()
        low, high = float(values.min()), float(values.max())
        if low < 0.0 or high > 1.0:
            raise ArgumentError(
                f"{name}: probs must lie in [0, 1], but run from {low:g} to {high:g} (shape "
                f"{p.shape}); logits go to binary_cross_entropy_with_logits"
            )
    yes = ops.maximum(ops.log(p), -100.0)
    no = ops.maximum(ops.log(1.0 - p), -100.0)
    return reduce(name, -(t * yes + (1.0 - t) * no), reduction, sample_weight)


def soft_cross_entropy_loss(
    logits: Any,
    probs: Any,
    reduction: str = "mean",
    *,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
    sample_weight: Any = None,
) -> Tensor:
    """The cross-entropy against probabilities, ``-sum(probs * log_softmax(logits))``.

    Args:
        logits: ``[..., classes]``; apply no softmax before it.
        probs: the same shape; each row sums to 1. Where a probability is 0, the logit may be -inf.
        reduction: "mean" divides by the number of rows, the product of the leading axes, or the
            sum of their sample weights; it takes no notice of `class_weight`.
        class_weight: one for each class, which multiplies the term of that class; or None.
        label_smoothing: e in [0, 1]: `probs` becomes ``(1 - e) * probs + e / classes``.
        sample_weight: one for each row.

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
        raise unequal(name, "logits", z, "probs", p)
    require_classes(name, z)
    if not is_float(p.dtype):
        p = functional.astype(p, z.dtype)
    smoothing = _smoothing(name, label_smoothing)
    if smoothing:
        p = p * (1.0 - smoothing) + smoothing / z.shape[-1]
    if class_weight is not None:
        p = p * _class_weight(name, class_weight, z)
    weighted = ops.mul_no_nan(p, functional.log_softmax(z, -1))
    return reduce(name, -functional.sum(weighted, -1), reduction, sample_weight)


def cross_entropy_loss(
    logits: Any,
    class_indices: Any,
    reduction: str = "mean",
    *,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    sample_weight: Any = None,
) -> Tensor:
    """The negative log-likelihood of the true class, ``-log_softmax(logits)[class]``.

    With weights w and smoothing e, for the class c of K:
    ``-(1 - e) * w[c] * logp[c] - e / K * sum(w * logp)``. As in PyTorch.

    Args:
        logits: ``[..., classes]``; apply no softmax before it.
        class_indices: integers in ``[0, classes)``, of the shape of the leading axes.
        reduction: "mean" divides by the number of labels that are not ignored; with class or
            sample weights by the sum of ``sample_weight * class_weight[class]`` over them. If
            all are ignored, it is NaN.
        class_weight: one for each class; or None.
        label_smoothing: e, in [0, 1].
        ignore_index: labels of this value (which need be no class) have no loss; or None.
        sample_weight: of the shape of `class_indices`.

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
    _check_labels(name, z, index)
    return _of_labels(
        name, functional.log_softmax(z, -1), index, reduction, class_weight,
        _smoothing(name, label_smoothing), ignore_index, sample_weight,
    )  # fmt: skip


def nll_loss(
    log_probs: Any,
    class_indices: Any,
    reduction: str = "mean",
    *,
    class_weight: Any = None,
    ignore_index: int | None = None,
    sample_weight: Any = None,
) -> Tensor:
    """The negative log-likelihood of the true class, ``-log_probs[class]``.

    What `cross_entropy_loss` is after its `log_softmax`; arguments and errors are as there.

    Args:
        log_probs: ``[..., classes]``, logarithms of probabilities, as from `log_softmax`.

    >>> nll_loss([[-0.5, -1.5]], [1]).item()
    1.5
    """
    name = "nll_loss"
    logp, index = lift(log_probs), as_index(class_indices)
    _check_labels(name, logp, index)
    return _of_labels(name, logp, index, reduction, class_weight, 0.0, ignore_index, sample_weight)


def _of_labels(
    name: str, logp: Tensor, index: Tensor, reduction: str, class_weight: Any, smoothing: float,
    ignore_index: int | None, sample_weight: Any,
) -> Tensor:  # fmt: skip
    """The loss of each label, and its reduction."""
    classes = logp.shape[-1]
    valid: Any = None
    if ignore_index is not None:
        index = functional.astype(index, int64)  # which holds any value to be ignored
        valid = ops.not_equal(index, int(ignore_index))
        index = ops.where(valid, index, 0)
    index = ops.check_index(index, size=classes, what=f"{name} with {classes} classes")
    hit = is_class(index, classes)
    counts: Any = None
    weighted = logp
    if class_weight is not None:
        weight = _class_weight(name, class_weight, logp)
        weighted = ops.mul_no_nan(weight, logp)
        counts = functional.sum(ops.where(hit, weight, 0.0), -1)
    rows = -functional.sum(ops.where(hit, weighted, 0.0), -1)
    if smoothing:
        rows = rows * (1.0 - smoothing) - functional.sum(weighted, -1) * (smoothing / classes)
    if valid is not None:
        rows = ops.where(valid, rows, 0.0)
        kept = functional.astype(valid, logp.dtype)
        counts = kept if counts is None else counts * kept
    return reduce(name, rows, reduction, sample_weight, counts)


def _smoothing(name: str, value: Any) -> float:
    return float(real(name, "label_smoothing", value, 0.0, 1.0))


def _class_weight(name: str, class_weight: Any, z: Tensor) -> Tensor:
    weight = lift(class_weight)
    if weight.shape != z.shape[-1:]:
        raise ShapeError(
            f"{name}: class_weight of shape {weight.shape} must have one weight for each of the "
            f"{z.shape[-1]} classes (logits of shape {z.shape})"
        )
    return functional.astype(weight, z.dtype)


def _check_labels(name: str, z: Tensor, index: Tensor) -> None:
    require_classes(name, z)
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


def _label_fix(z: Tensor, index: Tensor) -> str:
    if index.shape == z.shape:
        return "; one-hot or soft targets go to soft_cross_entropy_loss"
    if index.shape == (*z.shape[:-1], 1):
        return f"; drop the last axis with .reshape({z.shape[:-1]})"
    return ""
