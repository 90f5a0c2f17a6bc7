"""Distributions: how values spread, by layer, and how that changes over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import ArgumentError
from .axes import Scale, number, widened
from .drawing import Drawing, Picture, shortened, text

Array = np.ndarray[Any, Any]

BINS = 32
_MOST_ROWS = 12  # of a picture over time
_WIDTH, _LEFT, _RIGHT, _TOP = 360, 16, 16, 34
_ROW, _OVERLAP = 34, 14


@dataclass(frozen=True)
class Distribution:
    """How the values of one tensor spread.

    Attributes:
        name: what it is, such as the path of a layer.
        counts: how many finite values lie in each bin, [bins].
        edges: the ends of the bins, [bins + 1].
        mean, deviation: of the finite values; the deviation divides by their number.
        zeros: the share of values that are exactly 0.
        broken: how many are NaN or infinite.
    """

    name: str
    counts: Array
    edges: Array
    mean: float
    deviation: float
    zeros: float
    broken: int


def distribution(name: str, values: Any, bins: int = BINS) -> Distribution:
    """The distribution of the elements of an array or tensor.

    >>> d = distribution("w", [0.0, 1.0, 2.0, 2.0], bins=2)
    >>> d.counts.tolist(), d.edges.tolist(), d.mean, d.zeros
    ([1, 3], [0.0, 1.0, 2.0], 1.25, 0.25)
    """
    array = np.asarray(values.numpy() if hasattr(values, "numpy") else values, np.float64).ravel()
    finite = array[np.isfinite(array)]
    if not finite.size:
        return Distribution(
            name, np.zeros(bins, np.int64), np.linspace(0, 1, bins + 1), math.nan, math.nan, 0.0,
            array.size,
        )  # fmt: skip
    low, high = widened(float(finite.min()), float(finite.max()))
    counts, edges = np.histogram(finite, bins, (low, high))
    return Distribution(
        name, counts, edges, float(finite.mean()), float(finite.std()),
        float((finite == 0).sum() / array.size), array.size - finite.size,
    )  # fmt: skip


def magnitudes(name: str, values: Array) -> Distribution:
    """The distribution of the logarithm (base 10) of the sizes of `values`, exact zeros left out;
    their share is `zeros`, and 1 if there are no values.

    >>> magnitudes("g", np.array([0.0, -0.01, 100.0, 0.01])).mean.__round__(6)
    -0.666667
    """
    array = np.abs(np.asarray(values, np.float64).ravel())
    found = distribution(name, np.log10(array[array != 0]))
    return replace(found, zeros=float(np.mean(array == 0)) if array.size else 1.0)


def ridges(
    title: str, rows: Sequence[Distribution], labels: Sequence[str], notes: Sequence[str] = (),
    style: int = 0, x_label: str = "",
) -> Drawing:  # fmt: skip
    """Distributions below each other over one axis, each with a label, and a note at the right."""
    filled = [d for d in rows if d.counts.any()]
    low = min((float(d.edges[0]) for d in filled), default=0.0)
    high = max((float(d.edges[-1]) for d in filled), default=1.0)
    left = _LEFT + 6.4 * max(map(len, labels))
    note_width = 6.4 * max(map(len, notes), default=0)
    axis = Scale(*widened(low, high), left + 8, _WIDTH - _RIGHT - note_width)
    height = _TOP + _ROW * len(rows) + 48.0
    bottom = height - 44
    elements = [text(_LEFT, 16, title)]
    for tick in axis.ticks:
        at = axis(tick)
        elements.append(f'<path class="grid" d="M{at:.1f} {_TOP - 8}V{bottom:.1f}"/>')
    for tick in axis.ticks[:: 2 if len(axis.ticks) > 5 else 1]:
        elements.append(text(axis(tick), bottom + 16, number(tick), "middle"))
    for i, row in enumerate(rows):
        base = _TOP + _ROW * (i + 1) - 4
        if row.counts.any():
            elements.append(_ridge(row, axis, base, style))
        elements.append(text(left, base - 4, labels[i], "end"))
        if notes:
            elements.append(text(_WIDTH - 6, base - 4, notes[i], "end", "quiet"))
    elements.append(text((axis.start + axis.end) / 2, height - 10, x_label, "middle"))
    return Drawing(_WIDTH, height, tuple(elements), title)


def _ridge(row: Distribution, axis: Scale, base: float, style: int) -> str:
    """The outline of a histogram, as an area; each has its own height."""
    most = int(row.counts.max())
    tall = _ROW + _OVERLAP - 10
    points = [f"M{axis(float(row.edges[0])):.1f} {base:.1f}"]
    for count, a, b in zip(row.counts, row.edges[:-1], row.edges[1:], strict=True):
        y = base - tall * float(count) / most
        points.append(f"L{axis(float(a)):.1f} {y:.1f}H{axis(float(b)):.1f}")
    points.append(f"L{axis(float(row.edges[-1])):.1f} {base:.1f}Z")
    return (
        f'<path class="f{style} s{style}" fill-opacity="0.35" stroke-width="1" '
        f'style="stroke-dasharray:none" d="{"".join(points)}"/>'
    )


@dataclass(frozen=True)
class HistogramsOverTime(Picture):
    """Distributions of weights, gradients and activations by epoch.

    Attributes:
        epochs: at which they were taken.
        weights, gradients, activations: by path, a distribution for each epoch; of gradients that
            of the logarithm of their sizes (see `magnitudes`).
    """

    epochs: tuple[int, ...]
    weights: Mapping[str, Sequence[Distribution]]
    gradients: Mapping[str, Sequence[Distribution]] = field(default_factory=dict)
    activations: Mapping[str, Sequence[Distribution]] = field(default_factory=dict)
    title: str = "Weights, gradients and activations over time"

    def drawings(self) -> list[Drawing]:
        """One for each parameter, its gradient, and each layer; the first epoch on top."""
        found = []
        kinds = (
            ("", self.weights),
            ("gradient of ", self.gradients),
            ("output of ", self.activations),
        )
        for style, (what, rows) in enumerate(kinds):
            for path, series in rows.items():
                chosen = _spread(len(series), _MOST_ROWS)
                labels = [str(self.epochs[i]) for i in chosen]
                title = what + shortened(path or "the model", 38)
                picked = [series[i] for i in chosen]
                axis = "log10 of the size, by epoch" if style == 1 else "value, by epoch"
                found.append(ridges(title, picked, labels, style=style, x_label=axis))
        if not found:
            raise ArgumentError("histograms: nothing was recorded; call record(model) first")
        return found


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]
