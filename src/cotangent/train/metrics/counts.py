"""Metrics of predicted classes that follow from three counts for each class.

For class c, with weights: `hits[c]`, rows of class c that were predicted as c; `predicted[c]`, rows
that were predicted as c; `actual[c]`, rows of class c.

A quotient whose denominator is 0 counts as 0, as in scikit-learn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ArgumentError
from .base import Metric
from .rows import ClassRows, read_classes

Array = np.ndarray[Any, Any]

_AVERAGES = ("binary", "macro", "micro", "weighted")
_MOST_IN_A_MATRIX = 5_000


class ClassMetric(Metric):
    """A metric of classes.

    Args:
        from_logits: True for logits, as the losses of `nn` take them; False for probabilities.
        multilabel: the targets have the shape of the predictions, and each element is a yes or no
            of its own.

    Predictions are scores, of shape [..., classes], or [...] or [..., 1] for class 1 of two; or
    labels (integers or bools), of the shape [...] of the targets. Of equal scores the lowest class
    is predicted. Targets are classes 0, 1, 2, ...
    """

    def __init__(self, *, from_logits: bool = True, multilabel: bool = False) -> None:
        self.from_logits = from_logits
        self.multilabel = multilabel
        super().__init__()

    def update(self, predictions: Any, targets: Any, weights: Any = None) -> None:
        """Add a batch."""
        rows = read_classes(
            self.name, predictions, targets, weights, self.from_logits, self.multilabel
        )
        self.spoiled = self.spoiled or rows.spoiled
        if not rows.spoiled:
            self.add(rows)

    def add(self, rows: ClassRows) -> None:
        """Add checked rows."""
        raise NotImplementedError


class Counted(ClassMetric):
    """A metric that follows from the counts of each class."""

    sums = ("hits", "predicted", "actual")

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self.state.update({key: np.zeros(2) for key in self.sums})

    def add(self, rows: ClassRows) -> None:
        """Add checked rows."""
        right = rows.labels == rows.targets
        self._count("hits", rows.targets[right], rows.weights[right])
        self._count("predicted", rows.labels, rows.weights)
        self._count("actual", rows.targets, rows.weights)
        size = max(rows.classes, *(len(self.state[key]) for key in self.sums))
        for key in self.sums:
            self.state[key] = _padded(self.state[key], size)

    def _count(self, key: str, labels: Array, weights: Array) -> None:
        old = self.state[key]
        new = np.bincount(labels, weights, minlength=len(old))
        self.state[key] = new + _padded(old, len(new))

    def result(self) -> float:
        """The value."""
        hits, predicted, actual = (self.state[key] for key in self.sums)
        if not actual.sum() > 0.0:
            return math.nan
        return float(self.formula(hits, predicted, actual))

    def formula(self, hits: Array, predicted: Array, actual: Array) -> float:
        """The value from the counts, each of shape [classes]."""
        raise NotImplementedError


def _padded(counts: Array, size: int) -> Array:
    return np.pad(counts, (0, size - len(counts)))


def _quotient(a: Array, b: Array) -> Array:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0.0)


class Accuracy(Counted):
    """The share of rows whose class was predicted."""

    name = "accuracy"

    def formula(self, hits: Array, predicted: Array, actual: Array) -> float:
        """hits / rows."""
        return float(hits.sum() / actual.sum())


class BalancedAccuracy(Counted):
    """The mean of the recalls of the classes that occur."""

    name = "balanced_accuracy"

    def formula(self, hits: Array, predicted: Array, actual: Array) -> float:
        """The mean of hits / actual."""
        occurs = actual > 0.0
        return float(np.mean(hits[occurs] / actual[occurs]))


class Matthews(Counted):
    """Matthews' correlation coefficient, in [-1, 1]; 0 if only one class occurs or is predicted.

    Source: J. Gorodkin, "Comparing two K-category assignments by a K-category correlation
    coefficient", Computational Biology and Chemistry 28, 2004.
    """

    name = "matthews"

    def formula(self, hits: Array, predicted: Array, actual: Array) -> float:
        """The covariance of predicted and actual classes by the root of their variances."""
        total = actual.sum()
        together = hits.sum() * total - predicted @ actual
        # p * (total - p) is exactly 0 where all rows are of one class; total**2 - p**2 is not.
        spread = [float(p @ (p.sum() - p)) for p in (predicted, actual)]
        return float(together / math.sqrt(spread[0]) / math.sqrt(spread[1])) if all(spread) else 0.0


class CohenKappa(Counted):
    """Cohen's kappa: the agreement beyond chance, 1 at best; NaN if only one class is there.

    Source: J. Cohen, "A coefficient of agreement for nominal scales", Educational and
    Psychological Measurement 20, 1960.
    """

    name = "cohen_kappa"

    def formula(self, hits: Array, predicted: Array, actual: Array) -> float:
        """1 - (observed disagreement) / (disagreement by chance)."""
        total = actual.sum()
        by_chance = float(actual @ (predicted.sum() - predicted)) / total
        wrong = float((actual - hits).sum())
        return 1.0 - wrong / by_chance if by_chance > 0.0 else math.nan


class Averaged(Counted):
    """A metric of each class, averaged over the classes.

    Args:
        average: "binary", that of class 1 of two; "macro", the mean over the classes that occur or
            were predicted; "weighted", their mean weighted by how often they occur; "micro", of
            the counts summed over all classes (which is the accuracy).
        from_logits, multilabel: see `ClassMetric`.
    """

    base = ""

    def __init__(
        self, *, average: str = "binary", from_logits: bool = True, multilabel: bool = False
    ) -> None:
        if average not in _AVERAGES:
            raise ArgumentError(f"{self.base}: average must be one of {_AVERAGES}, not {average!r}")
        self.average = average
        self.name = self.base if average == "binary" else f"{self.base}_{average}"
        super().__init__(from_logits=from_logits, multilabel=multilabel)

    def add(self, rows: ClassRows) -> None:
        """Add checked rows."""
        super().add(rows)
        classes = len(self.state["actual"])
        if self.average == "binary" and classes > 2:
            raise ArgumentError(
                f"{self.name}: of {classes} classes none is the positive one; choose "
                f"{self.base}_macro, {self.base}_micro or {self.base}_weighted"
            )

    def formula(self, hits: Array, predicted: Array, actual: Array) -> float:
        """The average of `quotient`."""
        if self.average == "micro":
            return float(
                self.quotient(*(np.array([x.sum()]) for x in (hits, predicted, actual)))[0]
            )
        each = self.quotient(hits, predicted, actual)
        if self.average == "binary":
            return float(each[1])
        if self.average == "weighted":
            return float(each @ actual / actual.sum())
        return float(each[(actual > 0.0) | (predicted > 0.0)].mean())

    def quotient(self, hits: Array, predicted: Array, actual: Array) -> Array:
        """The value of each class."""
        raise NotImplementedError


class Precision(Averaged):
    """How many of the rows that were predicted as a class are of it: hits / predicted."""

    base = "precision"

    def quotient(self, hits: Array, predicted: Array, actual: Array) -> Array:
        """hits / predicted."""
        return _quotient(hits, predicted)


class Recall(Averaged):
    """How many of the rows of a class were predicted as it: hits / actual."""

    base = "recall"

    def quotient(self, hits: Array, predicted: Array, actual: Array) -> Array:
        """hits / actual."""
        return _quotient(hits, actual)


class F1(Averaged):
    """The harmonic mean of precision and recall: 2 hits / (predicted + actual)."""

    base = "f1"

    def quotient(self, hits: Array, predicted: Array, actual: Array) -> Array:
        """2 hits / (predicted + actual)."""
        return _quotient(2.0 * hits, predicted + actual)


class ConfusionMatrix(ClassMetric):
    """How many rows (or what weight) of class i were predicted as class j, [classes, classes].

    There are as many classes as scores; of labels, as many as the largest asks for.

    Raises:
        ArgumentError: with more than 5,000 classes.
    """

    name = "confusion_matrix"
    higher_is_better = None
    sums = ("matrix",)

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self.state["matrix"] = np.zeros((0, 0))

    def add(self, rows: ClassRows) -> None:
        """Add checked rows."""
        old = self.state["matrix"]
        largest = max(rows.labels.max(initial=-1), rows.targets.max(initial=-1))
        size = max(len(old), rows.classes, int(largest) + 1)
        if size > _MOST_IN_A_MATRIX:
            raise ArgumentError(
                f"{self.name}: a matrix of {size} classes is too large; {_MOST_IN_A_MATRIX:,} "
                "are the most"
            )
        place = rows.targets * size + rows.labels
        new = np.bincount(place, rows.weights, minlength=size * size).reshape(size, size)
        new = new.astype(np.float64)  # of no rows, the counts are integers
        new[: len(old), : len(old)] += old
        self.state["matrix"] = new

    def result(self) -> Array:
        """The matrix."""
        return self.state["matrix"].copy()

    def undefined(self) -> Array:
        """The matrix, of NaNs."""
        return np.full_like(self.state["matrix"], math.nan)
