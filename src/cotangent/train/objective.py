"""A loss with weights: the mean over rows, each counting for what it weighs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional, ops
from ..dtypes import is_float
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..tensors import Tensor
from .examples import Batch, apply
from .tasks import Task


class Objective:
    """The loss of a task on batches.

    ``sum(w * l) / sum(w)`` over the rows, where l is the mean of a row's losses; 0 if all weights
    are 0. Without weights it is what the loss function returns, or the mean of it.
    """

    def __init__(self, task: Task) -> None:
        self._loss = task.loss
        self.needs_targets = task.kind != "own"

    def __call__(self, model: Any, batch: Batch) -> tuple[Tensor, Any, Any]:
        """The mean loss of a batch, the sum of its weights or None, and the predictions."""
        x, y, weight = batch
        if y is None:
            predictions, found = None, self._loss(model, x)
        else:
            predictions = apply(model, x)
            loss = self._loss if weight is None else by_row(self._loss)
            found = loss(predictions, y)
        if not isinstance(found, Tensor) or not is_float(found.dtype):
            raise ArgumentTypeError(
                f"fit: the loss must return a floating-point tensor, not {found!r}"
            )
        if weight is None:
            return (found if found.shape == () else functional.mean(found)), None, predictions
        total = functional.sum(weight)
        rows = _rows(found, weight)
        whole = ops.where(ops.equal(total, 0.0), 1.0, total)
        return functional.sum(rows * functional.astype(weight, rows.dtype)) / whole, total, (
            predictions
        )  # fmt: skip


def _rows(found: Tensor, weight: Any) -> Tensor:
    """One loss a row."""
    if found.shape[:1] != weight.shape:
        raise ShapeError(
            f"fit: weights need a loss for each row, but the loss of {weight.shape[0]} rows has "
            f"shape {found.shape}; let the loss function return one value a row, or take "
            'reduction="none"'
        )
    return functional.mean(found, axis=tuple(range(1, found.ndim))) if found.ndim > 1 else found


def by_row(loss: Callable[..., Any]) -> Callable[..., Any]:
    """`loss` with one value a row, if it can be asked for that."""
    inner = getattr(loss, "func", loss)
    code = getattr(inner, "__code__", None)
    names = () if code is None else code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if "reduction" not in names:
        return loss
    return lambda predictions, y: loss(predictions, y, reduction="none")


def class_weights(given: Any, y: Any, dtype: Any) -> Any:
    """The weight of each row by its class.

    Args:
        given: "balanced" (rows / (classes * rows of the class)), an array of one weight a class,
            or a dict from classes to weights, in which others weigh 1.
        y: integer classes ``[rows]``.
    """
    if y is None or not hasattr(y, "dtype") or y.dtype.kind not in "iub":
        raise ArgumentError("fit: class_weight needs targets that are classes, as integers")
    labels = y.reshape(len(y), -1)
    if labels.shape[1] != 1:
        raise ShapeError(f"fit: class_weight needs one class a row, not targets {y.shape}")
    labels = labels[:, 0].astype(np.int64)
    count = int(labels.max(initial=0)) + 1
    if isinstance(given, str):
        if given != "balanced":
            raise ArgumentError(f'fit: class_weight is "balanced", an array or a dict: {given!r}')
        occurring = np.bincount(labels, minlength=count)
        table = len(labels) / (np.count_nonzero(occurring) * np.maximum(occurring, 1))
    elif isinstance(given, dict):
        table = np.ones(max(count, *(int(k) + 1 for k in given)))
        for label, weight in given.items():
            table[int(label)] = weight
    else:
        table = np.asarray(given, np.float64)
    if table.ndim != 1 or len(table) < count or not np.all(np.isfinite(table) & (table >= 0)):
        raise ArgumentError(
            f"fit: class_weight of shape {table.shape} must hold one finite weight, not negative, "
            f"for each of {count} classes"
        )
    return table[labels].astype(dtype)
