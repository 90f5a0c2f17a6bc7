"""Metrics: numbers about predictions and targets, as functions and as objects by name.

Classification metrics take scores, which are logits unless ``from_logits=False`` says that they
are probabilities, or predicted labels. All take weights, one for each row.

>>> from cotangent.train import metrics
>>> metrics.accuracy([[2.0, 0.5], [0.1, 0.3]], [0, 1])
1.0
>>> metric = metrics.get("rmse")
>>> metric.update([1.0, 2.0], [1.0, 2.0])
>>> metric.update([3.0], [6.0])
>>> round(metric.value(), 6)
1.732051
"""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentTypeError, UnknownKeyError
from ...spelling import closest
from . import counts, numbers, scores
from .base import Metric
from .functions import (
    accuracy,
    average_precision,
    balanced_accuracy,
    brier,
    cohen_kappa,
    confusion_matrix,
    explained_variance,
    f1,
    log_loss,
    mae,
    mape,
    matthews,
    max_error,
    median_absolute_error,
    mse,
    precision,
    r2,
    recall,
    rmse,
    roc_auc,
    top_k_accuracy,
)

_CLASSES: dict[str, type[Metric]] = {
    "accuracy": counts.Accuracy,
    "balanced_accuracy": counts.BalancedAccuracy,
    "top_k_accuracy": scores.TopKAccuracy,
    "precision": counts.Precision,
    "recall": counts.Recall,
    "f1": counts.F1,
    "matthews": counts.Matthews,
    "cohen_kappa": counts.CohenKappa,
    "confusion_matrix": counts.ConfusionMatrix,
    "roc_auc": scores.RocAuc,
    "average_precision": scores.AveragePrecision,
    "log_loss": scores.LogLoss,
    "brier": scores.Brier,
    "r2": numbers.R2,
    "explained_variance": numbers.ExplainedVariance,
    "mae": numbers.MAE,
    "mse": numbers.MSE,
    "rmse": numbers.RMSE,
    "median_absolute_error": numbers.MedianAbsoluteError,
    "mape": numbers.MAPE,
    "max_error": numbers.MaxError,
}

# Names that stand for a class with a setting.
_WITH_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    f"{base}_{average}": (base, {"average": average})
    for base in ("precision", "recall", "f1")
    for average in ("macro", "micro", "weighted")
} | {f"top_{k}_accuracy": ("top_k_accuracy", {"k": k}) for k in (2, 3, 5, 10)}

NAMES = (*_CLASSES, *_WITH_SETTINGS)


def get(metric: str | Metric, **settings: Any) -> Metric:
    """The metric of that name, new; a `Metric` is returned as it is.

    Args:
        metric: one of `NAMES`, such as ``"accuracy"``, ``"f1_macro"``, ``"top_5_accuracy"`` or
            ``"r2"``; capitals, spaces and hyphens do not matter.
        settings: what its class takes, such as ``from_logits=False``.

    Raises:
        UnknownKeyError: if there is no such metric.
        ArgumentTypeError: if it takes no such setting.

    >>> get("f1", average="macro").name
    'f1_macro'
    """
    if isinstance(metric, Metric):
        return metric
    base, fixed = _found(metric)
    try:
        return _CLASSES[base](**{**settings, **fixed})
    except TypeError as error:
        if isinstance(error, ArgumentTypeError):
            raise
        raise ArgumentTypeError(f"metrics: {metric}: {error}") from None


def get_for(metric: str | Metric, *, from_logits: bool, multilabel: bool) -> Metric:
    """As `get`, for predictions of classes in a known form; metrics of numbers do not mind it.

    >>> get_for("accuracy", from_logits=False, multilabel=True).of([[0.2, 0.9]], [[0, 0]])
    0.5
    """
    if isinstance(metric, str) and issubclass(_CLASSES[_found(metric)[0]], counts.ClassMetric):
        return get(metric, from_logits=from_logits, multilabel=multilabel)
    return get(metric)


def _found(metric: Any) -> tuple[str, dict[str, Any]]:
    """The key in `_CLASSES` that a name stands for, and settings."""
    if not isinstance(metric, str):
        raise ArgumentTypeError(f"metrics: a metric is a name or a Metric, not {metric!r}")
    name = metric.lower().replace(" ", "_").replace("-", "_")
    if name not in NAMES:
        near = closest(name, NAMES)
        raise UnknownKeyError(
            f"metrics: there is no metric {metric!r}"
            + (f"; did you mean {near!r}?" if near else f"; there are {', '.join(NAMES)}")
        )
    return _WITH_SETTINGS.get(name, (name, {}))


__all__ = [
    "Metric", "NAMES", "accuracy", "average_precision", "balanced_accuracy", "brier",
    "cohen_kappa", "confusion_matrix", "explained_variance", "f1", "get", "get_for", "log_loss",
    "mae", "mape", "matthews", "max_error", "median_absolute_error", "mse", "precision", "r2",
    "recall", "rmse", "roc_auc", "top_k_accuracy",
]  # fmt: skip
