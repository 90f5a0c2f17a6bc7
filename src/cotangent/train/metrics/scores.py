"""Metrics of scores: how well they rank, and how good they are as probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...checks import whole
from ...errors import ArgumentError
from .counts import ClassMetric
from .rows import ClassRows

Array = np.ndarray[Any, Any]


def log_probabilities(scores: Array) -> Array:
    """The logarithms of the probabilities that logits stand for, [rows, classes]; none is cut off.

    Args:
        scores: [rows, classes], or [rows] for class 1 of two.
    """
    if scores.ndim == 1:
        return np.stack([-np.logaddexp(0.0, scores), -np.logaddexp(0.0, -scores)], -1)
    largest = scores.max(-1, keepdims=True, initial=-math.inf)
    moved = scores - largest
    return moved - np.log(np.exp(moved).sum(-1, keepdims=True))


def as_probabilities(scores: Array, from_logits: bool) -> Array:
    """Scores as probabilities, [rows, classes]."""
    if from_logits:
        return np.exp(log_probabilities(scores))
    return np.stack([1.0 - scores, scores], -1) if scores.ndim == 1 else scores


class ScoreMean(ClassMetric):
    """A weighted mean of a value for each row."""

    sums = ("total", "weight")

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self.state.update(total=np.zeros(()), weight=np.zeros(()))

    def add(self, rows: ClassRows) -> None:
        """Add checked rows."""
        each = self.each(rows, rows.required_scores(self.name))
        self.state["total"] = self.state["total"] + (rows.weights * each).sum()
        self.state["weight"] = self.state["weight"] + rows.weights.sum()

    def result(self) -> float:
        """The mean."""
        weight = float(self.state["weight"])
        return float(self.state["total"]) / weight if weight > 0.0 else math.nan

    def each(self, rows: ClassRows, scores: Array) -> Array:
        """The value of each row."""
        raise NotImplementedError


class TopKAccuracy(ScoreMean):
    """The share of rows whose class is among the `k` with the highest scores.

    Of equal scores the lower class comes first, so that ``k=1`` is the accuracy.

    Args:
        k: how many, from 1 up; 5 unless told.
        from_logits, multilabel: see `ClassMetric`.
    """

    def __init__(self, *, k: int = 5, from_logits: bool = True, multilabel: bool = False) -> None:
        self.k = whole("top_k_accuracy", "k", k, 1)
        self.name = f"top_{self.k}_accuracy"
        super().__init__(from_logits=from_logits, multilabel=multilabel)

    def each(self, rows: ClassRows, scores: Array) -> Array:
        """1 where the class is among the first."""
        if self.k >= rows.classes:
            raise ArgumentError(
                f"{self.name}: with {rows.classes} classes every row would be right; choose a k "
                f"below {rows.classes}"
            )
        if scores.ndim == 1:
            return (rows.labels == rows.targets).astype(np.float64)
        own = np.take_along_axis(scores, rows.targets[:, None], -1)
        before = np.arange(scores.shape[1]) < rows.targets[:, None]
        rank = ((scores > own) | ((scores == own) & before)).sum(-1)
        return (rank < self.k).astype(np.float64)


class LogLoss(ScoreMean):
    """The mean negative logarithm of the probability of the true class (natural logarithm).

    From logits it is exact; probabilities are kept away from 0 and 1 by the spacing of their
    dtype, as in scikit-learn, so that one wrong certainty does not make it infinite.
    """

    name = "log_loss"
    higher_is_better = False

    def each(self, rows: ClassRows, scores: Array) -> Array:
        """-log p of the true class."""
        if self.from_logits:
            logs = log_probabilities(scores)
        else:
            p = as_probabilities(scores, False)
            logs = np.log(np.clip(p, rows.precision, 1.0 - rows.precision))
        own: Array = -np.take_along_axis(logs, rows.targets[:, None], -1)[:, 0]
        return own


class Brier(ScoreMean):
    """The mean squared error of probabilities.

    For two classes ``(p - y)**2`` with the probability p of class 1, in [0, 1]; for more the sum
    over the classes of the squared differences from the one-hot target, in [0, 2].

    Source: G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly
    Weather Review 78, 1950.
    """

    name = "brier"
    higher_is_better = False

    def each(self, rows: ClassRows, scores: Array) -> Array:
        """The squared distance from the truth."""
        p = as_probabilities(scores, self.from_logits)
        if p.shape[1] == 2:
            two: Array = (p[:, 1] - rows.targets) ** 2
            return two
        is_own = rows.targets[:, None] == np.arange(p.shape[1])
        more: Array = ((p - is_own) ** 2).sum(-1)
        return more


class Ranking(ClassMetric):
    """A metric of the order of the scores, for which they are all kept: 24 bytes a row and class.

    Of more than two classes, it is the mean over those which some rows are of and some are not, of
    the metric of that class against the rest, by its probability.
    """

    rows = ("scores", "targets", "weights")

    def add(self, rows: ClassRows) -> None:
        """Add checked rows."""
        scores = rows.required_scores(self.name)
        if rows.classes > 2:
            scores = as_probabilities(scores, self.from_logits)
        elif scores.ndim == 2:  # of two logits only the difference matters
            scores = scores[:, 1] - scores[:, 0] if self.from_logits else scores[:, 1]
        if self.kept and self.kept[0][0].shape[1:] != scores.shape[1:]:
            raise ArgumentError(
                f"{self.name}: the batches have different numbers of classes: "
                f"{self.kept[0][0].shape[1:]} and {scores.shape[1:]}"
            )
        self.kept.append((scores, rows.targets, rows.weights))

    def result(self) -> float:
        """The value."""
        if not self.kept:
            return math.nan
        scores, targets, weights = self.all_rows()
        if scores.ndim == 1:
            return self.of_two(scores, targets == 1, weights)
        classes = [c for c in range(scores.shape[1]) if 0 < (targets == c).sum() < len(targets)]
        each = [self.of_two(scores[:, c], targets == c, weights) for c in classes]
        return float(np.mean(each)) if each else math.nan

    def of_two(self, scores: Array, yes: Array, weights: Array) -> float:
        """The value for a yes-or-no question."""
        raise NotImplementedError


def _steps(scores: Array, yes: Array, weights: Array) -> tuple[Array, Array]:
    """The weight of the yes and of the no at each different score, the highest first."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    w, y = weights[order], yes[order]
    return np.add.reduceat(w * y, first), np.add.reduceat(w * ~y, first)


class RocAuc(Ranking):
    """The area under the receiver operating characteristic.

    The probability that a random row of class 1 scores above a random row of class 0, equal scores
    counting half; 0.5 by chance. NaN if all rows are of one class. Of several classes: the mean of
    each class against the rest.

    Source: T. Fawcett, "An introduction to ROC analysis", Pattern Recognition Letters 27, 2006.
    """

    name = "roc_auc"

    def of_two(self, scores: Array, yes: Array, weights: Array) -> float:
        """The area, by trapezoids."""
        if yes.all() or not yes.any():
            return math.nan
        more_yes, more_no = _steps(scores, yes, weights)
        above = np.cumsum(more_yes) - 0.5 * more_yes
        return float(above @ more_no / more_no.sum() / more_yes.sum())


class AveragePrecision(Ranking):
    """The precision at each threshold, weighted by the recall gained there.

    ``sum((recall[n] - recall[n - 1]) * precision[n])`` over the different scores from the highest
    down, not interpolated; 0 if no row is of class 1, as in scikit-learn. Of several classes: the
    mean of each class against the rest.
    """

    name = "average_precision"

    def of_two(self, scores: Array, yes: Array, weights: Array) -> float:
        """The sum over the thresholds."""
        if not len(yes):
            return math.nan
        if not yes.any():
            return 0.0
        more_yes, more_no = _steps(scores, yes, weights)
        found = np.cumsum(more_yes)
        return float(more_yes @ (found / (found + np.cumsum(more_no))) / found[-1])
