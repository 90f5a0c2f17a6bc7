"""Curves over epochs: losses and metrics of training and of validation, a panel for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError
from .axes import Axes, extent
from .drawing import Drawing, Picture

# Metrics between 0 and 1 that people read as percent.
_PERCENT = ("accuracy", "precision", "recall", "f1", "auc", "top")
_PREFIXES = {"validation": "validation", "val": "validation", "training": "training"}
_NOT_DRAWN = ("epoch", "step", "steps", "seconds")
_ONLY_IF_VARYING = ("lr", "learning rate")
_ALWAYS_LOGARITHMIC = 30.0  # a loss that falls by more is shown on a logarithmic axis


@dataclass(frozen=True)
class Series:
    """One line: a name for the legend and a value for each epoch, the first of them epoch 1."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """One pair of axes with a few series.

    Attributes:
        label: of the vertical axis.
        series: one or more.
        percent: show values 0..1 as percent.
        log: a logarithmic vertical axis; every value must be positive.
    """

    label: str
    series: Sequence[Series]
    percent: bool = False
    log: bool = False


@dataclass(frozen=True)
class TrainingCurves(Picture):
    """What `curves` returns: panels of series over epochs.

    Attributes:
        title: above the panels.
        panels: from left to right.
        x_label: of the horizontal axes.
    """

    title: str
    panels: tuple[Panel, ...]
    x_label: str = "epoch"

    def drawings(self) -> list[Drawing]:
        """One for each panel."""
        return [_draw(panel, self.x_label) for panel in self.panels]


def curves_svg(title: str, panels: Sequence[Panel], x_label: str = "epoch") -> str:
    """The text of an SVG picture of `panels`.

    Args:
        title: stands above the panels, and is what a screen reader says.
        panels: one or more, drawn from left to right.
        x_label: of the horizontal axes.

    Raises:
        ArgumentError: if a panel has no series, or a series no finite value.

    >>> curves_svg("Training", [Panel("loss", [Series("train", [1.0, 0.5])])]).splitlines()[0][:4]
    '<svg'
    """
    return TrainingCurves(title, tuple(panels), x_label).svg(len(panels))


def curves(history: Any, title: str = "Training") -> TrainingCurves:
    """The training curves: a panel for the loss and for each metric, training and validation in
    one.

    Args:
        history: what `ct.train.fit` returned; or rows, as dicts of numbers by name; or lists
            of numbers by name. ``"validation loss"`` is drawn beside ``"loss"``. A loss that
            falls far has a logarithmic axis; accuracy and its like are shown as percent.
        title: stands above.

    Raises:
        ArgumentTypeError: for something else.
        ArgumentError: if there is no finite number in it.

    >>> picture = curves({"loss": [1.0, 0.4], "validation loss": [1.1, 0.6], "accuracy": [0.5, 1]})
    >>> [panel.label for panel in picture.panels]
    ['loss', 'accuracy']
    """
    grouped: dict[str, list[Series]] = {}
    for name, values in columns_of(history).items():
        first, _, rest = name.partition(" ")
        if rest and first in _PREFIXES:
            grouped.setdefault(rest, []).append(Series(_PREFIXES[first], values))
        elif name not in _NOT_DRAWN and not (name in _ONLY_IF_VARYING and len(set(values)) < 2):
            grouped.setdefault(name, []).insert(0, Series("training", values))
    panels = [
        _panel(label, series)
        for label, series in grouped.items()
        if any(math.isfinite(v) for s in series for v in s.values)
    ]
    if not panels:
        raise ArgumentError("curves: there is no finite number to draw; train for an epoch first")
    return TrainingCurves(title, tuple(panels))


def columns_of(history: Any) -> dict[str, list[float]]:
    """The numbers of a history by name, one for each epoch; NaN where an epoch has none."""
    rows = getattr(history, "rows", history)
    if isinstance(rows, Mapping):
        found = {str(name): [_number(v) for v in np.ravel(x)] for name, x in rows.items()}
        return found
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, Mapping) for row in rows):
        raise ArgumentTypeError(
            f"curves: takes a history, rows of numbers, or lists of numbers by name, not "
            f"{type(history).__name__}"
        )
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: [_number(row.get(name)) for row in rows] for name in names}
    return {name: values for name, values in found.items() if not all(map(math.isnan, values))}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _panel(label: str, series: list[Series]) -> Panel:
    if len(series) == 1 and series[0].name == "training":
        series = [Series("", series[0].values)]
    values = [v for s in series for v in s.values if math.isfinite(v)]
    share = min(values) >= 0 and max(values) <= 1
    percent = share and any(word in label.lower() for word in _PERCENT)
    positive = min(values) > 0
    log = positive and "loss" in label and max(values) > _ALWAYS_LOGARITHMIC * min(values)
    return Panel(label, series, percent, log)


def _draw(panel: Panel, x_label: str) -> Drawing:
    values = [v for s in panel.series for v in s.values if math.isfinite(v)]
    if not values:
        raise ArgumentError(f"curves_svg: panel {panel.label!r} has no finite value to draw")
    if panel.log and min(values) <= 0:
        raise ArgumentError(
            f"curves_svg: panel {panel.label!r} is logarithmic; {min(values)} is not positive"
        )
    epochs = max(len(s.values) for s in panel.series)
    axes = Axes(
        panel.label, (1, max(epochs, 2)), _range(values, panel), x_label,
        percent=panel.percent, log=panel.log, whole=True,
    )  # fmt: skip
    for i, series in enumerate(panel.series):
        axes.line(range(1, len(series.values) + 1), series.values, i, series.name, end=True)
    return axes.drawing()


def _range(values: Sequence[float], panel: Panel) -> tuple[float, float]:
    """The ends of the vertical axis: at most 100 %."""
    if panel.log:
        return min(values), max(values)
    low, high = extent(values)
    return (max(low, 0.0), min(high, 1.0)) if panel.percent else (low, high)
