"""The metrics as functions of all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import counts, numbers, scores

Array = np.ndarray[Any, Any]


def accuracy(
    predictions: Any, targets: Any, weights: Any = None, *, from_logits: bool = True,
    multilabel: bool = False,
) -> float:  # fmt: skip
    """The share of rows whose class was predicted; see `counts.ClassMetric` for the forms.

    >>> accuracy([[0.1, 2.0], [3.0, -1.0]], [1, 1])
    0.5
    """
    made = counts.Accuracy(from_logits=from_logits, multilabel=multilabel)
    return float(made.of(predictions, targets, weights))


def balanced_accuracy(
    predictions: Any, targets: Any, weights: Any = None, *, from_logits: bool = True,
    multilabel: bool = False,
) -> float:  # fmt: skip
    """The mean of the recalls of the classes that occur.

    >>> balanced_accuracy([0, 0, 0, 0], [0, 0, 0, 1])
    0.5
    """
    made = counts.BalancedAccuracy(from_logits=from_logits, multilabel=multilabel)
    return float(made.of(predictions, targets, weights))


def top_k_accuracy(
    predictions: Any, targets: Any, weights: Any = None, *, k: int = 5, from_logits: bool = True
) -> float:
    """The share of rows whose class is among the `k` with the highest scores.

    >>> top_k_accuracy([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]], [1, 2], k=2)
    0.5
    """
    return float(
        scores.TopKAccuracy(k=k, from_logits=from_logits).of(predictions, targets, weights)
    )


def precision(
    predictions: Any, targets: Any, weights: Any = None, *, average: str = "binary",
    from_logits: bool = True, multilabel: bool = False,
) -> float:  # fmt: skip
    """How many of the rows that were predicted as a class are of it; `average` as in `Averaged`.

    >>> precision([1, 1, 0], [1, 0, 1])
    0.5
    """
    made = counts.Precision(average=average, from_logits=from_logits, multilabel=multilabel)
    return float(made.of(predictions, targets, weights))


def recall(
    predictions: Any, targets: Any, weights: Any = None, *, average: str = "binary",
    from_logits: bool = True, multilabel: bool = False,
) -> float:  # fmt: skip
    """How many of the rows of a class were predicted as it; `average` as in `Averaged`.

    >>> recall([1, 0, 0, 0], [1, 1, 1, 1])
    0.25
    """
    made = counts.Recall(average=average, from_logits=from_logits, multilabel=multilabel)
    return float(made.of(predictions, targets, weights))


def f1(
    predictions: Any, targets: Any, weights: Any = None, *, average: str = "binary",
    from_logits: bool = True, multilabel: bool = False,
) -> float:  # fmt: skip
    """The harmonic mean of precision and recall; `average` as in `Averaged`.

    >>> f1([1, 1, 1, 0], [1, 0, 0, 1])
    0.4
    """
    made = counts.F1(average=average, from_logits=from_logits, multilabel=multilabel)
    return float(made.of(predictions, targets, weights))


def matthews(
    predictions: Any, targets: Any, weights: Any = None, *, from_logits: bool = True
) -> float:
    """Matthews' correlation coefficient, in [-1, 1].

    >>> matthews([0, 1, 1, 0], [0, 1, 0, 1])
    0.0
    """
    return float(counts.Matthews(from_logits=from_logits).of(predictions, targets, weights))


def cohen_kappa(
    predictions: Any, targets: Any, weights: Any = None, *, from_logits: bool = True
) -> float:
    """Cohen's kappa, the agreement beyond chance.

    >>> cohen_kappa([0, 1, 1, 0], [0, 1, 0, 0])
    0.5
    """
    return float(counts.CohenKappa(from_logits=from_logits).of(predictions, targets, weights))


def confusion_matrix(
    predictions: Any, targets: Any, weights: Any = None, *, from_logits: bool = True
) -> Array:
    """How many rows of class i were predicted as class j, [classes, classes].

    >>> confusion_matrix([0, 1, 1], [0, 0, 1]).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    made = counts.ConfusionMatrix(from_logits=from_logits)
    found: Array = made.of(predictions, targets, weights)
    return found


def roc_auc(
    predictions: Any, targets: Any, weights: Any = None, *, from_logits: bool = True,
    multilabel: bool = False,
) -> float:  # fmt: skip
    """The area under the receiver operating characteristic; one against the rest for many classes.

    >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    made = scores.RocAuc(from_logits=from_logits, multilabel=multilabel)
    return float(made.of(predictions, targets, weights))


def average_precision(
    predictions: Any, targets: Any, weights: Any = None, *, from_logits: bool = True,
    multilabel: bool = False,
) -> float:  # fmt: skip
    """The precision at each threshold, weighted by the recall gained there.

    >>> average_precision([0.1, 0.4, 0.3, 0.8], [0, 1, 0, 1])
    1.0
    """
    made = scores.AveragePrecision(from_logits=from_logits, multilabel=multilabel)
    return float(made.of(predictions, targets, weights))


def log_loss(
    predictions: Any, targets: Any, weights: Any = None, *, from_logits: bool = True,
    multilabel: bool = False,
) -> float:  # fmt: skip
    """The mean negative logarithm of the probability of the true class.

    >>> round(log_loss([0.5], [1], from_logits=False), 6)
    0.693147
    """
    made = scores.LogLoss(from_logits=from_logits, multilabel=multilabel)
    return float(made.of(predictions, targets, weights))


def brier(
    predictions: Any, targets: Any, weights: Any = None, *, from_logits: bool = True,
    multilabel: bool = False,
) -> float:  # fmt: skip
    """The mean squared error of probabilities.

    >>> brier([0.5], [1], from_logits=False)
    0.25
    """
    made = scores.Brier(from_logits=from_logits, multilabel=multilabel)
    return float(made.of(predictions, targets, weights))


def r2(predictions: Any, targets: Any, weights: Any = None) -> float:
    """The coefficient of determination.

    >>> r2([1.0, 2.0, 4.0], [1.0, 2.0, 3.0])
    0.5
    """
    return float(numbers.R2().of(predictions, targets, weights))


def explained_variance(predictions: Any, targets: Any, weights: Any = None) -> float:
    """``1 - variance(targets - predictions) / variance(targets)``.

    >>> explained_variance([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    1.0
    """
    return float(numbers.ExplainedVariance().of(predictions, targets, weights))


def mae(predictions: Any, targets: Any, weights: Any = None) -> float:
    """The mean absolute error.

    >>> mae([1.0, 2.0], [1.0, 5.0])
    1.5
    """
    return float(numbers.MAE().of(predictions, targets, weights))


def mse(predictions: Any, targets: Any, weights: Any = None) -> float:
    """The mean squared error.

    >>> mse([1.0, 2.0], [1.0, 5.0])
    4.5
    """
    return float(numbers.MSE().of(predictions, targets, weights))


def rmse(predictions: Any, targets: Any, weights: Any = None) -> float:
    """The root of the mean squared error.

    >>> rmse([1.0, 2.0], [4.0, 5.0])
    3.0
    """
    return float(numbers.RMSE().of(predictions, targets, weights))


def median_absolute_error(predictions: Any, targets: Any, weights: Any = None) -> float:
    """The median of the absolute errors.

    >>> median_absolute_error([1.0, 2.0, 3.0], [1.0, 4.0, 9.0])
    2.0
    """
    return float(numbers.MedianAbsoluteError().of(predictions, targets, weights))


def mape(predictions: Any, targets: Any, weights: Any = None) -> float:
    """The mean absolute error by the size of the target, as a fraction.

    >>> mape([1.0, 3.0], [2.0, 2.0])
    0.5
    """
    return float(numbers.MAPE().of(predictions, targets, weights))


def max_error(predictions: Any, targets: Any, weights: Any = None) -> float:
    """The largest absolute error.

    >>> max_error([1.0, 2.0], [1.0, 5.0])
    3.0
    """
    return float(numbers.MaxError().of(predictions, targets, weights))
