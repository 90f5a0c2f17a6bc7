"""Curves over epochs as SVG text: panels side by side, each with axes, ticks, labels, a legend.

The text carries its own colours for light and for dark pages and uses the reader's own fonts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ..errors import ArgumentError

WIDTH, HEIGHT = 360, 280  # of a panel, in pixels
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 36, 50  # margins of a panel
HEADING = 34

# Two blues-and-oranges that keep their contrast for colour-blind readers, on white and on black.
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2430; }
  .heading { font-size: 15px; font-weight: 600; }
  .paper { fill: #ffffff; }
  .grid { stroke: #d9dde5; stroke-width: 1; }
  .axis { stroke: #5b6372; stroke-width: 1; fill: none; }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
  .dot { stroke: none; }
  .s0 { stroke: #0b62c4; } .f0 { fill: #0b62c4; }
  .s1 { stroke: #c2500a; stroke-dasharray: 6 4; } .f1 { fill: #c2500a; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e8ee; }
    .paper { fill: #14171d; }
    .grid { stroke: #2f3541; }
    .axis { stroke: #98a1b3; }
    .s0 { stroke: #6cb0ff; } .f0 { fill: #6cb0ff; }
    .s1 { stroke: #ffa45c; } .f1 { fill: #ffa45c; }
  }
"""


@dataclass(frozen=True)
class Series:
    """One line: a name for the legend and a value for each epoch, the first of them epoch 1."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """One pair of axes with up to two series.

    Attributes:
        label: of the vertical axis.
        series: one or two.
        percent: show values 0..1 as percent.
        log: a logarithmic vertical axis; every value must be positive.
    """

    label: str
    series: Sequence[Series]
    percent: bool = False
    log: bool = False


def curves_svg(title: str, panels: Sequence[Panel], x_label: str = "epoch") -> str:
    """The text of an SVG picture.

    Args:
        title: stands above the panels, and is what a screen reader says.
        panels: one or more, drawn from left to right.
        x_label: of the horizontal axes.

    Raises:
        ArgumentError: if a panel has no series, or a series no finite value.

    >>> curves_svg("Training", [Panel("loss", [Series("train", [1.0, 0.5])])]).splitlines()[0][:4]
    '<svg'
    """
    width, height = WIDTH * len(panels), HEADING + HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{_quoted(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="6"/>',
        f'<text class="heading" x="{LEFT}" y="26">{escape(title)}</text>',
    ]
    for i, panel in enumerate(panels):
        lines.append(f'<g transform="translate({i * WIDTH} {HEADING})">')
        lines += _panel(panel, x_label)
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


class Scale:
    """Where values lie between the two ends of an axis, and where its ticks stand."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool) -> None:
        self.log = log
        self.start, self.end = start, end
        self.ticks = _log_ticks(low, high) if log else _ticks(low, high)
        self.low = min(low, self.ticks[0]) if log else low
        self.high = max(high, self.ticks[-1]) if log else high

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def _panel(panel: Panel, x_label: str) -> list[str]:
    values = [v for s in panel.series for v in s.values if math.isfinite(v)]
    if not values:
        raise ArgumentError(f"curves_svg: panel {panel.label!r} has no finite value to draw")
    if panel.log and min(values) <= 0:
        raise ArgumentError(
            f"curves_svg: panel {panel.label!r} is logarithmic; {min(values)} is not positive"
        )
    epochs = max(len(s.values) for s in panel.series)
    low, high = _range(min(values), max(values), panel)
    x = Scale(1, max(epochs, 2), LEFT, WIDTH - RIGHT, False)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP, panel.log)
    lines = _axes(panel, x, y, x_label)
    for i, series in enumerate(panel.series):
        lines += _line(series, i, x, y)
    return lines + _legend(panel.series)


def _range(low: float, high: float, panel: Panel) -> tuple[float, float]:
    """The ends of the vertical axis: never of length zero, and at most 100 %."""
    if panel.log:
        return (low, high) if high > low else (low / 2, high * 2)
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    low, high = low - margin, high + margin
    return (max(low, 0.0), min(high, 1.0)) if panel.percent else (low, high)


def _axes(panel: Panel, x: Scale, y: Scale, x_label: str) -> list[str]:
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    lines = []
    for tick in y.ticks:
        at = f"{y(tick):.1f}"
        lines.append(f'<path class="grid" d="M{left} {at}H{right}"/>')
        text = f"{tick * 100:g} %" if panel.percent else f"{tick:g}"
        lines.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{text}</text>')
    for tick in x.ticks:
        if tick == int(tick):
            at = f"{x(tick):.1f}"
            lines.append(f'<path class="axis" d="M{at} {bottom}v4"/>')
            lines.append(f'<text x="{at}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    middle = (left + right) / 2
    return [
        *lines,
        f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>',
        f'<text x="{middle}" y="{bottom + 38}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text x="{left}" y="{top - 12}" text-anchor="start">{escape(panel.label)}</text>',
    ]


def _line(series: Series, i: int, x: Scale, y: Scale) -> list[str]:
    points = [(x(n), y(v)) for n, v in enumerate(series.values, 1) if math.isfinite(v)]
    if not points:
        return []
    path = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
    last_x, last_y = points[-1]
    return [
        f'<path class="line s{i % 2}" d="M{path}"/>',
        f'<circle class="dot f{i % 2}" cx="{last_x:.1f}" cy="{last_y:.1f}" r="3"/>',
    ]


def _legend(series: Sequence[Series]) -> list[str]:
    """The names, in one row at the upper right, above the axes."""
    lines = []
    right = WIDTH - RIGHT
    for i, one in reversed(list(enumerate(series))):
        text = right - 7 * len(one.name)
        lines.append(f'<path class="line s{i % 2}" d="M{text - 28} {TOP - 16}h22"/>')
        lines.append(f'<text x="{text}" y="{TOP - 12}">{escape(one.name)}</text>')
        right = text - 40
    return lines


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between `low` and `high`."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around `low` and `high`; powers alone over many decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1,) if last - first > 3 else (1, 2, 5)
    marks = [m * 10.0**p for p in range(first, last + 1) for m in steps]
    below = max((m for m in marks if m <= low), default=marks[0])
    above = min((m for m in marks if m >= high), default=marks[-1])
    return [float(f"{m:.12g}") for m in marks if below <= m <= above]


def _quoted(text: str) -> str:
    return escape(text, {'"': "&quot;"})
