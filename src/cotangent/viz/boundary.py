"""The decision boundary of a classifier of points in the plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import whole
from ..errors import ArgumentError, ShapeError
from ..functional import sigmoid, softmax
from ..gradients import no_grad
from ..tensors import tensor
from .inside import undisturbed
from .plots import INK, SERIES_COLOURS, Plot, axes_on, bar, label

Array = np.ndarray[Any, Any]
_ROWS = 8192  # at once
_MARKERS = "os^DvP"


@dataclass(frozen=True)
class Boundary(Plot):
    """What `boundary` returns.

    Attributes:
        x, y: the coordinates of the columns and rows of the grid, [points].
        probabilities: of each class, [points (y), points (x), classes].
        rows: the points of the data, [rows, 2].
        targets: their classes, [rows].
    """

    x: Array
    y: Array
    probabilities: Array
    rows: Array
    targets: Array
    title: str = "Decision boundary"

    @property
    def classes(self) -> Array:
        """The most probable class at each point of the grid, [points, points]."""
        return np.asarray(self.probabilities.argmax(axis=-1))

    def draw(self, figure: Any) -> None:
        """The probability by shade, the boundary as a line, and the data with a mark by class."""
        axes = axes_on(figure)
        count = self.probabilities.shape[-1]
        if count == 2:
            shades = axes.contourf(
                self.x, self.y, self.probabilities[..., 1], np.linspace(0, 1, 11),
                cmap="PuOr", alpha=0.55,
            )  # fmt: skip
            axes.contour(self.x, self.y, self.probabilities[..., 1], [0.5], colors=[INK])
            bar(figure, shades, axes, "probability of class 1")
        else:
            colours = [SERIES_COLOURS[i % len(SERIES_COLOURS)] for i in range(count)]
            edges = np.arange(count + 1) - 0.5
            axes.contourf(self.x, self.y, self.classes, edges, colors=colours, alpha=0.3)
        for i in range(count):
            chosen = self.rows[self.targets == i]
            colour = ("#d9730d", "#6a4fb3")[i] if count == 2 else SERIES_COLOURS[i % 6]
            axes.scatter(
                chosen[:, 0], chosen[:, 1], s=16, c=colour, marker=_MARKERS[i % 6],
                edgecolors="white", linewidths=0.5, label=f"class {i}",
            )  # fmt: skip
        figure.legend(
            loc="outside lower center", ncols=min(count, 5), fontsize=9, labelcolor=INK,
            frameon=False,
        )  # fmt: skip
        label(axes, self.title, "feature 0", "feature 1")


def boundary(model: Any, x: Any, y: Any, points: int = 121) -> Boundary:
    """Where a classifier of points in the plane decides for which class.

    Args:
        model: takes [rows, 2]; returns logits: [rows, 1] or [rows] for two classes, or
            [rows, classes].
        x: the data, [rows, 2].
        y: their classes 0, 1, ..., [rows] or [rows, 1].
        points: of the grid, in each direction, over the range of the data and a tenth more.

    Raises:
        ShapeError: if the shapes are others.

    >>> from cotangent import nn
    >>> picture = boundary(nn.Linear(2, 3), [[0.0, 0.0], [1.0, 2.0]], [0, 1], points=5)
    >>> picture.probabilities.shape, picture.y.tolist()
    ((5, 5, 3), [-0.2, 0.4, 1.0, 1.6, 2.2])
    """
    points = whole("boundary", "points", points, least=2)
    rows = np.asarray(x.numpy() if hasattr(x, "numpy") else x, np.float64)
    targets = np.asarray(y.numpy() if hasattr(y, "numpy") else y).ravel()
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ShapeError(f"boundary: x must be [rows, 2], points in the plane, not {rows.shape}")
    if len(targets) != len(rows) or not len(rows):
        raise ShapeError(
            f"boundary: {len(rows)} rows and {len(targets)} targets do not go together"
        )
    if not np.isfinite(rows).all():
        raise ArgumentError("boundary: x has values that are not finite")
    low, high = rows.min(axis=0), rows.max(axis=0)
    margin = 0.1 * np.where(high > low, high - low, 1.0)
    xs, ys = (np.linspace(low[i] - margin[i], high[i] + margin[i], points) for i in (0, 1))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    parts = []
    with undisturbed(model), no_grad():
        for start in range(0, len(grid), _ROWS):
            parts.append(_probabilities(model(tensor(grid[start : start + _ROWS]))))
    found = np.concatenate(parts).reshape(points, points, -1)
    return Boundary(xs, ys, found, rows, targets.astype(np.int64))


def _probabilities(logits: Any) -> Array:
    if logits.ndim == 1 or (logits.ndim == 2 and logits.shape[1] == 1):
        one = sigmoid(logits).numpy().reshape(-1)
        return np.stack([1 - one, one], axis=1)
    if logits.ndim != 2:
        raise ShapeError(f"boundary: the model must return [rows, classes], not {logits.shape}")
    return np.asarray(softmax(logits, axis=1).numpy())
