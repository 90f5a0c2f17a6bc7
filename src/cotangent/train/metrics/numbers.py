"""Metrics of regression. Several outputs are averaged, each counting the same.

Predictions and targets have one shape, [rows] or [rows, outputs] ([rows, 1] is as [rows]).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ShapeError
from .base import Metric
from .rows import NumberRows, read_numbers

Array = np.ndarray[Any, Any]


class NumberMetric(Metric):
    """A metric of numbers; it is given predictions as the targets are, not standardised ones."""

    higher_is_better = False

    def update(self, predictions: Any, targets: Any, weights: Any = None) -> None:
        """Add a batch."""
        rows = read_numbers(self.name, predictions, targets, weights)
        seen = self.outputs()
        if seen is not None and seen != rows.targets.shape[1]:
            raise ShapeError(
                f"{self.name}: targets of {rows.targets.shape[1]} outputs after some of {seen}"
            )
        if np.isnan(rows.predictions).any():
            self.spoiled = True
        elif len(rows.targets):
            self.add(rows)

    def outputs(self) -> int | None:
        """How many outputs the targets had so far; None before the first batch."""
        raise NotImplementedError

    def add(self, rows: NumberRows) -> None:
        """Add checked rows."""
        raise NotImplementedError


class ErrorMean(NumberMetric):
    """A weighted mean of the error of each row."""

    sums = ("total", "weight")

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self.state.update(total=np.zeros(0), weight=np.zeros(()))

    def outputs(self) -> int | None:
        """How many outputs there are."""
        return len(self.state["total"]) or None

    def add(self, rows: NumberRows) -> None:
        """Add checked rows."""
        each = self.each(rows.predictions - rows.targets, rows.targets)
        old = self.state["total"]
        new = (rows.weights[:, None] * each).sum(0)
        self.state["total"] = old + new if len(old) else new
        self.state["weight"] = self.state["weight"] + rows.weights.sum()

    def result(self) -> float:
        """The mean over the outputs."""
        total, weight = self.state["total"], float(self.state["weight"])
        return float(np.mean(self.finish(total / weight))) if weight > 0.0 else math.nan

    def each(self, error: Array, targets: Array) -> Array:
        """What is averaged, of each element."""
        raise NotImplementedError

    def finish(self, mean: Array) -> Array:
        """The value of each output from the mean."""
        return mean


class MAE(ErrorMean):
    """The mean absolute error."""

    name = "mae"

    def each(self, error: Array, targets: Array) -> Array:
        """|error|."""
        return np.abs(error)


class MSE(ErrorMean):
    """The mean squared error."""

    name = "mse"

    def each(self, error: Array, targets: Array) -> Array:
        """error**2."""
        return np.square(error)


class RMSE(MSE):
    """The root of the mean squared error, in the unit of the targets."""

    name = "rmse"

    def finish(self, mean: Array) -> Array:
        """The root."""
        return np.sqrt(mean)


class MAPE(ErrorMean):
    """The mean absolute error by the size of the target, as a fraction: 0.05 is five per cent.

    Targets nearer to 0 than 2**-52 count as that, so a target of 0 makes it huge.
    """

    name = "mape"

    def each(self, error: Array, targets: Array) -> Array:
        """|error| / |target|."""
        floor = np.finfo(np.float64).eps
        found: Array = np.abs(error) / np.maximum(np.abs(targets), floor)
        return found


class MaxError(NumberMetric):
    """The largest absolute error of any row and output."""

    name = "max_error"
    sums = ("most",)

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self.state["most"] = np.zeros(0)

    def outputs(self) -> int | None:
        """How many outputs there are."""
        return len(self.state["most"]) or None

    def add(self, rows: NumberRows) -> None:
        """Add checked rows."""
        new = np.abs(rows.predictions - rows.targets).max(0)
        old = self.state["most"]
        self.state["most"] = np.maximum(old, new) if len(old) else new

    def result(self) -> float:
        """The largest."""
        most = self.state["most"]
        return float(most.max()) if len(most) else math.nan


class MedianAbsoluteError(NumberMetric):
    """The median of the absolute errors, for which they are all kept.

    With weights it is where half of the weight lies below; between two rows, their mean.
    """

    name = "median_absolute_error"
    rows = ("errors", "weights")

    def outputs(self) -> int | None:
        """How many outputs there are."""
        return int(self.kept[0][0].shape[1]) if self.kept else None

    def add(self, rows: NumberRows) -> None:
        """Add checked rows."""
        self.kept.append((np.abs(rows.predictions - rows.targets), rows.weights))

    def result(self) -> float:
        """The mean over the outputs of the medians."""
        if not self.kept:
            return math.nan
        errors, weights = self.all_rows()
        return float(np.mean([_median(column, weights) for column in errors.T]))


def _median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    ranked, below = values[order], np.cumsum(weights[order])
    half = 0.5 * below[-1]
    # Sums of weights such as 0.1 miss the half by their rounding only.
    slack = len(values) * float(np.finfo(np.float64).eps) * half
    low = int(np.searchsorted(below, half - slack))
    high = int(np.searchsorted(below, half + slack, side="right"))
    return float(0.5 * (ranked[low] + ranked[min(high, len(values) - 1)]))


class Spread(NumberMetric):
    """A metric of the error against the spread of the targets.

    Of each column the weight, the mean and the sum of squared distances from the mean are held,
    which batches add to without cancellation.

    Source: T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances", COMPSTAT 1982.
    """

    higher_is_better = True
    sums = ("rows", "weight", "mean", "squares", "error_mean", "error_squares")

    def reset(self) -> None:
        """Forget all batches."""
        super().reset()
        self.state.update({key: np.zeros(()) for key in self.sums})

    def outputs(self) -> int | None:
        """How many outputs there are."""
        return len(self.state["mean"]) if self.state["mean"].ndim else None

    def add(self, rows: NumberRows) -> None:
        """Add checked rows."""
        state, w = self.state, rows.weights[:, None]
        before, more = state["weight"], rows.weights.sum()
        for mean, squares, values in (
            ("mean", "squares", rows.targets),
            ("error_mean", "error_squares", rows.targets - rows.predictions),
        ):
            # About the first row, so that equal values have exactly no spread.
            center = values[0] + (w * (values - values[0])).sum(0) / more
            apart = center - state[mean]
            inside = (w * (values - center) ** 2).sum(0)
            state[squares] = state[squares] + inside + apart**2 * (before * more / (before + more))
            state[mean] = state[mean] + apart * (more / (before + more))
        state["weight"] = before + more
        state["rows"] = state["rows"] + len(w)

    def result(self) -> float:
        """The mean over the outputs of 1 - error / spread."""
        if self.state["rows"] < self.least:
            return math.nan
        error, spread = self.error(), self.state["squares"]
        known = spread > 0.0
        share = np.divide(error, spread, out=np.where(error > 0.0, 1.0, 0.0), where=known)
        return float(np.mean(1.0 - share))

    least = 1

    def error(self) -> Array:
        """The sum of squared errors of each output."""
        raise NotImplementedError


class R2(Spread):
    """The coefficient of determination, ``1 - sum((y - p)**2) / sum((y - mean(y))**2)``.

    1 at best, 0 for the mean as a prediction. For targets that are all equal it is 1 if the
    predictions are them, and else 0, as in scikit-learn. NaN for fewer than two rows.
    """

    name = "r2"
    least = 2

    def error(self) -> Array:
        """The squares about 0."""
        state = self.state
        found: Array = state["error_squares"] + state["weight"] * state["error_mean"] ** 2
        return found


class ExplainedVariance(Spread):
    """``1 - variance(y - p) / variance(y)``: as `R2`, but blind to a constant error."""

    name = "explained_variance"

    def error(self) -> Array:
        """The squares about the mean."""
        return self.state["error_squares"]
