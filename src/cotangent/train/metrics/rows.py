"""Reading what metrics are given: predictions, targets and weights, as rows of checked arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...dtypes import is_float, is_integer
from ...errors import ArgumentError, BoundsError, DTypeError, ShapeError

Array = np.ndarray[Any, Any]

# More classes than this no metric counts: a larger label is an identifier, not a class.
MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class NumberRows:
    """Predictions and targets of a regression, [rows, outputs], and weights [rows]; in float64."""

    predictions: Array
    targets: Array
    weights: Array


@dataclass(frozen=True)
class ClassRows:
    """Predictions and targets of classes.

    Attributes:
        scores: [rows, classes], or [rows] for the second of two classes, in float64; None if the
            predictions were labels.
        labels: the predicted class of each row.
        targets: the true class of each row.
        weights: of each row, above 0.
        classes: how many there are; 0 if the predictions were labels.
        precision: the spacing of the predictions' dtype at 1.
        spoiled: whether a score was NaN.
    """

    scores: Array | None
    labels: Array
    targets: Array
    weights: Array
    classes: int
    precision: float
    spoiled: bool

    def required_scores(self, what: str) -> Array:
        """The scores, of which labels are not enough."""
        if self.scores is None:
            raise DTypeError(
                f"{what}: needs the scores of the model (logits or probabilities, as floats), "
                "not predicted labels"
            )
        return self.scores


def read_numbers(what: str, predictions: Any, targets: Any, weights: Any) -> NumberRows:
    """The rows of a regression; rows of weight 0 are left out."""
    p, t = _array(what, "predictions", predictions), _array(what, "targets", targets)
    wanted, given = t.shape, p.shape
    if p.ndim == t.ndim + 1 and p.shape == (*t.shape, 1):
        p = p[..., 0]
    elif t.ndim == p.ndim + 1 and t.shape == (*p.shape, 1):
        t = t[..., 0]
    if p.shape != t.shape or not p.ndim:
        raise ShapeError(
            f"{what}: predictions of shape {given} and targets of shape {wanted} must have one "
            "shape, with a row for each sample"
        )
    p, t = p.astype(np.float64), t.astype(np.float64)
    _require_finite(what, t)
    w = _weights(what, weights, t.shape[:1])
    outputs = math.prod(t.shape[1:])
    kept = w > 0.0
    return NumberRows(p.reshape(len(p), outputs)[kept], t.reshape(len(t), outputs)[kept], w[kept])


def read_classes(
    what: str, predictions: Any, targets: Any, weights: Any, from_logits: bool, multilabel: bool
) -> ClassRows:
    """The rows of a classification; rows of weight 0 are left out.

    Predictions are floats of shape [..., classes], floats of the shape [...] or [..., 1] of the
    targets (scores of class 1 of two), or labels: integers or bools of the shape of the targets.
    """
    p, t = _array(what, "predictions", predictions), _array(what, "targets", targets)
    classes = _class_count(what, p, t, multilabel)
    t_shape = t.shape
    if is_float(p.dtype) and classes == 2 and p.size == t.size:
        p = p.reshape(t.shape)
    w = np.broadcast_to(_weights(what, weights, t_shape).reshape(-1), (t.size,))
    kept = w > 0.0
    labels_true = _labels(what, "targets", t, classes)[kept]
    if not is_float(p.dtype):
        labels = _labels(what, "predictions", p, 0)[kept]
        return ClassRows(None, labels, labels_true, w[kept], 0, 0.0, False)
    precision = float(np.finfo(np.float64).eps) if p.dtype == np.float64 else _spacing(p.dtype)
    scores = p.astype(np.float64).reshape((t.size, *p.shape[t.ndim :]))[kept]
    spoiled = bool(np.isnan(scores).any())
    if not (from_logits or spoiled):
        _require_probabilities(what, scores, precision)
    if scores.ndim == 1:
        labels = (scores > (0.0 if from_logits else 0.5)).astype(np.int64)
    else:
        labels = scores.argmax(-1) if scores.size else np.zeros(len(scores), np.int64)
    return ClassRows(scores, labels, labels_true, w[kept], classes, precision, spoiled)


def _class_count(what: str, p: Array, t: Array, multilabel: bool) -> int:
    """How many classes scores speak of, which their shape says; 0 for labels."""
    if not is_float(p.dtype):
        if p.shape != t.shape or not t.ndim:
            raise ShapeError(
                f"{what}: labels of shape {p.shape} need targets of that shape, not {t.shape}"
            )
        return 0
    if p.shape == t.shape and t.ndim > 1 and t.shape[-1] > 1 and not multilabel:
        raise ShapeError(
            f"{what}: predictions and targets are both of shape {t.shape}; if each is a yes or no "
            "of its own, set multilabel=True; if each row is one-hot, give targets.argmax(-1)"
        )
    if t.ndim and p.shape in (t.shape, (*t.shape, 1)):
        return 2
    if t.ndim and p.ndim == t.ndim + 1 and p.shape[:-1] == t.shape and p.shape[-1] > 1:
        return int(p.shape[-1])
    if t.ndim > 1 and t.shape == (*p.shape, 1):
        return 2
    raise ShapeError(
        f"{what}: predictions of shape {p.shape} do not fit targets of shape {t.shape}; give "
        f"scores of shape {(*t.shape, 'classes')}, or for two classes of shape {t.shape}"
    )


def _array(what: str, name: str, data: Any) -> Array:
    try:
        found = np.asarray(data)
    except ValueError as error:
        raise ShapeError(f"{what}: {name} are ragged: {error}") from None
    if not found.size and found.dtype == np.float64 and isinstance(data, (list, tuple)):
        return found  # an empty list
    if found.dtype == np.bool_ or is_integer(found.dtype) or is_float(found.dtype):
        return found
    raise DTypeError(f"{what}: {name} must be numbers, not of dtype {found.dtype}")


def _labels(what: str, name: str, values: Array, classes: int) -> Array:
    """Classes as int64, flat; they are checked against the number of classes, if it is known."""
    flat = values.reshape(-1)
    if is_float(values.dtype):
        flat = flat.astype(np.float64)
        broken = ~(flat == np.floor(flat)) | np.isinf(flat)
        if broken.any():
            raise ArgumentError(
                f"{what}: {name} must be classes 0, 1, 2, ..., but hold "
                f"{flat[broken][0]:g} (shape {values.shape})"
            )
    most = classes or MOST_CLASSES
    beyond = (flat < 0) | (flat >= most)
    if beyond.any():
        raise BoundsError(
            f"{what}: class {flat[beyond][0]:g} among the {name} of shape {values.shape} is "
            f"outside [0, {most})"
        )
    return flat.astype(np.int64)


def _weights(what: str, weights: Any, shape: tuple[int, ...]) -> Array:
    """A weight for each element of `shape`, from one for each entry of its leading axes."""
    if weights is None:
        return np.ones(shape)
    found = _array(what, "weights", weights).astype(np.float64)
    if found.ndim > len(shape) and found.shape == (*shape, 1):
        found = found[..., 0]
    if found.shape != shape[: found.ndim] or not found.ndim:
        raise ShapeError(
            f"{what}: weights of shape {found.shape} must be one for each row of the targets, of "
            f"shape {shape}"
        )
    if not np.isfinite(found).all() or (found < 0.0).any():
        raise ArgumentError(f"{what}: weights must be 0 or more, and finite")
    spread = found.reshape(found.shape + (1,) * (len(shape) - found.ndim))
    return np.broadcast_to(spread, shape)


def _require_finite(what: str, targets: Array) -> None:
    broken = ~np.isfinite(targets)
    if broken.any():
        row = int(np.argwhere(broken)[0][0])
        raise ArgumentError(
            f"{what}: targets must be finite, but row {row} of shape {targets.shape} holds "
            f"{targets[broken][0]:g}"
        )


def _spacing(dtype: Any) -> float:
    """The distance from 1 to the next number of a narrow float dtype."""
    one = np.ones((), dtype)
    bits = one.view(f"u{one.itemsize}")
    return float((bits + bits.dtype.type(1)).view(dtype)) - 1.0


def _require_probabilities(what: str, scores: Array, precision: float) -> None:
    """Scores that are said to be probabilities lie in [0, 1], and those of a row sum to 1."""
    if scores.size and (scores.min() < 0.0 or scores.max() > 1.0):
        raise ArgumentError(
            f"{what}: predictions run from {scores.min():g} to {scores.max():g}, so they are no "
            "probabilities; set from_logits=True"
        )
    if scores.ndim == 2 and scores.size:
        off = np.abs(scores.sum(-1) - 1.0)
        if off.max() > math.sqrt(precision):
            raise ArgumentError(
                f"{what}: the probabilities of row {int(off.argmax())} sum to "
                f"{scores[off.argmax()].sum():g}, not 1; set from_logits=True for logits"
            )
