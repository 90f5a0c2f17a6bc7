"""How predictions compare with the truth: confusion matrix, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from .axes import Axes, extent
from .drawing import Drawing, Picture, shortened, text

Array = np.ndarray[Any, Any]
_MOST_DOTS = 1000


@dataclass(frozen=True)
class Confusion(Picture):
    """What `confusion` returns.

    Attributes:
        counts: how many rows of class i (down) were taken for class j (across), [classes, classes].
        labels: names of the classes.
    """

    counts: Array
    labels: tuple[str, ...]
    title: str = "Confusion matrix"

    @property
    def accuracy(self) -> float:
        """The share of rows on the diagonal."""
        return float(np.trace(self.counts) / max(int(self.counts.sum()), 1))

    def drawings(self) -> list[Drawing]:
        """The matrix; the fuller a cell, the larger its share of the row."""
        return [_matrix(self)]


@dataclass(frozen=True)
class Residuals(Picture):
    """What `residuals` returns.

    Attributes:
        targets, predictions: numbers, [rows].
    """

    targets: Array
    predictions: Array
    title: str = "Predictions and residuals"

    @property
    def residuals(self) -> Array:
        """Target minus prediction, [rows]."""
        return np.asarray(self.targets - self.predictions)

    def drawings(self) -> list[Drawing]:
        """Predictions over targets, and residuals over predictions."""
        pick = np.unique(np.linspace(0, self.targets.size - 1, _MOST_DOTS).astype(int))
        targets, predictions = self.targets[pick], self.predictions[pick]
        low, high = extent([*targets, *predictions])
        first = Axes("prediction", (low, high), (low, high), "target")
        first.slope([(low, low), (high, high)])
        first.dots(targets, predictions, 0)
        rest = self.residuals[pick]
        second = Axes("residual: target − prediction", extent(predictions), extent([*rest, 0.0]),
                      "prediction")  # fmt: skip
        second.marks(y=0.0)
        second.dots(predictions, rest, 1)
        return [first.drawing(), second.drawing()]


def confusion(targets: Any, predictions: Any, labels: Sequence[str] | None = None) -> Confusion:
    """The confusion matrix of a classifier.

    Args:
        targets: class indices, integers [rows].
        predictions: class indices [rows]; or scores [rows, classes], of which the largest counts.
        labels: names of the classes; their numbers by default.

    Raises:
        ShapeError: if the numbers of rows differ.
        ArgumentError: for classes that are not integers from 0, and too few labels.

    >>> confusion([0, 1, 1], [0, 1, 0]).counts.tolist()
    [[1, 0], [1, 1]]
    """
    true = _classes("targets", _array(targets))
    scores = _array(predictions)
    width = scores.shape[1] if scores.ndim == 2 else 0
    taken = _classes("predictions", scores.argmax(axis=1) if scores.ndim == 2 else scores)
    if true.shape != taken.shape:
        raise ShapeError(
            f"confusion: targets have shape {true.shape}, predictions {scores.shape}; both need "
            "one entry for each row"
        )
    largest = max(int(true.max(initial=-1)), int(taken.max(initial=-1))) + 1
    count = max(largest, width, 1)
    names = tuple(map(str, range(count) if labels is None else labels))
    if len(names) < count:
        raise ArgumentError(f"confusion: {len(names)} labels for {count} classes")
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (true, taken), 1)
    return Confusion(counts, names)


def residuals(targets: Any, predictions: Any) -> Residuals:
    """Predictions of a regression beside their targets.

    Raises:
        ShapeError: if the shapes differ, but for axes of length 1.
        ArgumentError: if there are no rows.

    >>> residuals([1.0, 2.0], [[1.5], [2.0]]).residuals.tolist()
    [-0.5, 0.0]
    """
    true, taken = _array(targets), _array(predictions)
    if true.size != taken.size:
        raise ShapeError(f"residuals: targets {true.shape} and predictions {taken.shape} differ")
    if not true.size:
        raise ArgumentError("residuals: there are no rows")
    return Residuals(true.ravel().astype(np.float64), taken.ravel().astype(np.float64))


def _array(values: Any) -> Array:
    return np.asarray(values.numpy() if hasattr(values, "numpy") else values)


def _classes(what: str, values: Array) -> Array:
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    whole = values.ndim == 1 and bool(np.all(values == np.floor(values)))
    if not whole or bool(np.any(values < 0)):
        raise ArgumentError(
            f"confusion: {what} are classes 0, 1, 2, ..., [rows], not {values.dtype} {values.shape}"
        )
    return values.astype(np.int64)


def _matrix(picture: Confusion) -> Drawing:
    counts, labels = picture.counts, picture.labels
    n = len(labels)
    cell = max(9.0, min(72.0, 300.0 / n))
    longest = max(len(label) for label in labels)
    left = 30 + 6.6 * min(longest, 12)
    top = 58.0
    elements = [
        text(
            16, 14, f"accuracy {picture.accuracy:.1%} of {int(counts.sum()):,} rows", style="quiet"
        ),
        text(left + cell * n / 2, 34, "predicted class", "middle"),
    ]
    turned = f'transform="rotate(-90 14 {top + cell * n / 2:.1f})"'
    elements.append(text(14, top + cell * n / 2, "true class", "middle", extra=turned))
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    step = max(1, round(14 / cell))
    for i in range(n):
        y = top + cell * i
        if i % step == 0:
            name = shortened(labels[i], 12)
            elements.append(text(left - 6, y + cell / 2 + 4, name, "end"))
            wide = int(cell * step / 6.6)
            elements.append(text(left + cell * (i + 0.5), top - 6,
                                 shortened(labels[i], max(wide, 1)), "middle"))  # fmt: skip
        for j in range(n):
            elements += _cell(left + cell * j, y, cell, int(counts[i, j]), float(share[i, j]))
    return Drawing(
        max(left + cell * n + 16, 240), top + cell * n + 16, tuple(elements), picture.title
    )


def _cell(x: float, y: float, size: float, count: int, share: float) -> list[str]:
    found = [
        f'<rect class="f0" x="{x:.1f}" y="{y:.1f}" width="{size - 1:.1f}" '
        f'height="{size - 1:.1f}" fill-opacity="{0.05 + 0.95 * share:.3f}"/>'
    ]
    words = f"{count}"
    if count and size >= 7 * len(words) + 4:
        style = "on" if share > 0.5 else ""
        found.append(text(x + size / 2, y + size / 2 + 4, words, "middle", style))
    return found
