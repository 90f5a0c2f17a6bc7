"""A pair of axes on which lines, dots and bars are drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ..errors import ArgumentError
from .drawing import SERIES, Drawing, quoted, shortened, text

WIDTH, HEIGHT = 360, 280  # of a drawing, in pixels
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 40, 48  # its margins
_CHARACTER = 6.6  # about the width of a letter
_WIDE = ' style="stroke-width:7;stroke-opacity:0.35;stroke-dasharray:none"'


class Scale:
    """Where values lie between the two ends of an axis, and where its ticks stand."""

    def __init__(
        self, low: float, high: float, start: float, end: float, log: bool = False
    ) -> None:
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


class Axes:
    """Axes with grid, ticks and labels; what is drawn is cut off at their ends.

    Args:
        title: above the axes, at the left.
        x_range, y_range: the ends of the axes.
        x_label: below the horizontal axis.
        percent: show vertical values 0..1 as percent.
        log: a logarithmic vertical axis; its ends must be positive.
        whole: only integers have ticks on the horizontal axis.
        width, height: in pixels.

    Raises:
        ArgumentError: if an end is not finite, or not positive on a logarithmic axis.
    """

    def __init__(
        self,
        title: str,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        x_label: str = "",
        *,
        percent: bool = False,
        log: bool = False,
        whole: bool = False,
        width: float = WIDTH,
        height: float = HEIGHT,
    ) -> None:
        if not all(map(math.isfinite, (*x_range, *y_range))):
            raise ArgumentError(f"{title}: the axes cannot end at {x_range}, {y_range}")
        if log and min(y_range) <= 0:
            raise ArgumentError(f"{title}: a logarithmic axis cannot show {min(y_range)}")
        self.title, self.width, self.height = title, width, height
        self.left, self.right = LEFT, width - RIGHT
        self.top, self.bottom = TOP, height - BOTTOM
        self.x = Scale(*widened(*x_range), self.left, self.right)
        self.y = Scale(*widened(*y_range, log), self.bottom, self.top, log)
        self._names: list[tuple[str, int, str]] = []
        self._elements = [*self._grid(percent, whole), text(
            (self.left + self.right) / 2, height - 10, x_label, "middle"
        )]  # fmt: skip

    def _grid(self, percent: bool, whole: bool) -> list[str]:
        lines = []
        for tick in self.y.ticks:
            at = self.y(tick)
            lines.append(f'<path class="grid" d="M{self.left} {at:.1f}H{self.right:g}"/>')
            label = f"{tick * 100:g} %" if percent else number(tick)
            lines.append(text(self.left - 6, at + 4, label, "end"))
        for tick in self.x.ticks:
            if not whole or tick == int(tick):
                at = self.x(tick)
                lines.append(f'<path class="axis" d="M{at:.1f} {self.bottom:g}v4"/>')
                lines.append(text(at, self.bottom + 18, number(tick), "middle"))
        path = f"M{self.left} {self.top}V{self.bottom:g}H{self.right:g}"
        return [*lines, f'<path class="axis" d="{path}"/>']

    def line(
        self, xs: Iterable[float], ys: Iterable[float], style: int = 0, name: str = "",
        end: bool = False, wide: bool = False,
    ) -> None:  # fmt: skip
        """A line through points; it is interrupted where a value is not finite, or outside.

        Args:
            style: which colour and dashes.
            name: for the legend; "" for none.
            end: mark the last point with a dot.
            wide: a pale, wide line, on which another one stays visible.
        """
        style %= SERIES
        look = _WIDE if wide else ""
        if name:
            self._names.append((name, style, look))
        pieces: list[list[tuple[float, float]]] = [[]]
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(y) and self.y.low <= y <= self.y.high:
                pieces[-1].append((self.x(x), self.y(y)))
            elif pieces[-1]:
                pieces.append([])
        for piece in filter(None, pieces):
            path = "L".join(f"{px:.1f} {py:.1f}" for px, py in piece)
            if len(piece) > 1:
                self._elements.append(f'<path class="line s{style}"{look} d="M{path}"/>')
            if len(piece) == 1 or (end and piece is next(filter(None, reversed(pieces)))):
                px, py = piece[-1]
                self._elements.append(
                    f'<circle class="f{style}" cx="{px:.1f}" cy="{py:.1f}" r="3"/>'
                )

    def dots(
        self, xs: Sequence[float], ys: Sequence[float], style: int = 0, name: str = "",
        radius: float = 2.5, opacity: float = 0.6,
    ) -> None:  # fmt: skip
        """A dot at each point."""
        style %= SERIES
        if name:
            self._names.append((name, style, ""))
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                self._elements.append(
                    f'<circle class="f{style}" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" '
                    f'r="{radius:g}" fill-opacity="{opacity:g}"/>'
                )

    def marks(self, x: float | None = None, y: float | None = None) -> None:
        """A thin line across the axes at `x` or at `y`."""
        if x is not None and self.x.low <= x <= self.x.high:
            path = f"M{self.x(x):.1f} {self.top}V{self.bottom:g}"
            self._elements.append(f'<path class="axis" stroke-dasharray="3 3" d="{path}"/>')
        if y is not None and self.y.low <= y <= self.y.high:
            path = f"M{self.left} {self.y(y):.1f}H{self.right:g}"
            self._elements.append(f'<path class="axis" stroke-dasharray="3 3" d="{path}"/>')

    def slope(self, points: Sequence[tuple[float, float]]) -> None:
        """A thin line through points, drawn as an axis is."""
        path = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)
        self._elements.append(f'<path class="axis" stroke-dasharray="3 3" d="M{path}"/>')

    def add(self, *elements: str) -> None:
        """SVG elements in pixels of the drawing."""
        self._elements += elements

    def drawing(self) -> Drawing:
        """What was drawn so far, with title and legend."""
        names = ", ".join(name for name, *_ in self._names)
        label = f"{self.title}: {names}" if names else self.title
        head = text(self.left, 16, self.title)
        return Drawing(
            self.width, self.height, (*self._elements, head, *self._legend()), quoted(label)
        )

    def _legend(self) -> list[str]:
        """The names in one row above the axes, from the right; in the row of the title if both
        fit."""
        if not self._names:
            return []
        room = (self.right - self.left - 36 * len(self._names)) / _CHARACTER
        most = max(len(name) for name, *_ in self._names)
        while sum(min(len(name), most) for name, *_ in self._names) > room and most > 3:
            most -= 1
        names = [(shortened(name, most), style, look) for name, style, look in self._names]
        lines, right = [], float(self.right)
        for name, style, look in reversed(names):
            start = right - _CHARACTER * len(name)
            lines.append(f'<path class="line s{style}"{look} d="M{start - 26:.1f} {TOP - 11}h22"/>')
            lines.append(text(start, TOP - 7, name))
            right = start - 36
        return lines


def number(value: float) -> str:
    """A value beside a tick.

    >>> [number(v) for v in (0.25, 12000.0, 1e-07)]
    ['0.25', '12000', '1e-07']
    """
    return f"{value:g}"


def widened(low: float, high: float, log: bool = False) -> tuple[float, float]:
    """The ends of an axis that is not of length zero."""
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    if log:
        return low / 2, high * 2
    return low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2


def extent(values: Iterable[float], margin: float = 0.05) -> tuple[float, float]:
    """The range of the finite ones of `values`, with a margin on both sides.

    Raises:
        ArgumentError: if there is none.
    """
    finite = [float(v) for v in values if math.isfinite(v)]
    if not finite:
        raise ArgumentError("there is no finite value to draw")
    low, high = widened(min(finite), max(finite))
    return low - margin * (high - low), high + margin * (high - low)


def _ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between `low` and `high`."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, 12 - math.floor(math.log10(max(abs(low), abs(high)))))
    return [round(n * step, digits) for n in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around `low` and `high`; powers alone over many decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1,) if last - first > 3 else (1, 2, 5)
    apart = max(1, (last - first) // 6)
    marks = [m * 10.0**p for p in range(first, last + apart, apart) for m in steps]
    below = max((m for m in marks if m <= low * (1 + 1e-9)), default=marks[0])
    above = min((m for m in marks if m >= high * (1 - 1e-9)), default=marks[-1])
    return [float(f"{m:.12g}") for m in marks if below <= m <= above]
