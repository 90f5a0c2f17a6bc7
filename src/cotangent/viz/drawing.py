"""What every picture is made of: drawings in SVG, their colours, and how they stand side by side.

The text carries its own colours for light and for dark pages and uses the reader's own fonts.
Hues keep their contrast for colour-blind readers, on white and on black, and lines differ by
their dashes too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from ..errors import ArgumentError

HEADING = 34
SERIES = 6  # styles of lines; later ones begin again

_LIGHT = ("#0b62c4", "#b84a00", "#0a7555", "#8d3a93", "#5b6372", "#8a6a00")
_DARK = ("#6cb0ff", "#ffa45c", "#4fd1a1", "#e59be2", "#b4bccb", "#e3c04d")
_DASHES = ("none", "6 4", "2 3", "9 3 2 3", "12 4", "4 2 1 2")

_INK_LIGHT = """
  .ct text { fill: #1f2430; } .ct .quiet { fill: #4d5564; }
  .ct .paper { fill: #ffffff; }
  .ct .grid { stroke: #d9dde5; } .ct .axis { stroke: #5b6372; }
  .ct text.on { fill: #ffffff; }
  .ct .warn { fill: #c22b2b; } .ct .warned { stroke: #c22b2b; }
"""
_INK_DARK = """
  .ct text { fill: #e6e8ee; } .ct .quiet { fill: #a9b1c1; }
  .ct .paper { fill: #14171d; }
  .ct .grid { stroke: #2f3541; } .ct .axis { stroke: #98a1b3; }
  .ct text.on { fill: #0b0d12; }
  .ct .warn { fill: #ff7a7a; } .ct .warned { stroke: #ff7a7a; }
"""


# Kinds of nodes of a graph: fill, border, text; on a light page and on a dark one.
_NODES = {
    "input": ("#cfe3ff #0b62c4 #10243f", "#12325c #6cb0ff #dcebff"),
    "parameter": ("#ffe1c7 #b84a00 #3d1a00", "#4a2a10 #ffa45c #ffe9d6"),
    "state": ("#f3e7b3 #8a6a00 #332800", "#3b3210 #e3c04d #faf0c8"),
    "constant": ("#e6e8ee #5b6372 #1f2430", "#2a2f3a #b4bccb #e6e8ee"),
    "operation": ("#ffffff #5b6372 #1f2430", "#1c2028 #98a1b3 #e6e8ee"),
    "backward": ("#f5e6f6 #8d3a93 #33103a", "#361a3a #e59be2 #f8e3f8"),
    "output": ("#c9efdf #0a7555 #06301f", "#0f3b2d #4fd1a1 #d5f7ea"),
    "error": ("#ffd0d0 #c22b2b #5a0d0d", "#4d1414 #ff7a7a #ffe0e0"),
}


def _node_colours(dark: bool) -> str:
    lines = []
    for kind, looks in _NODES.items():
        fill, border, ink = looks[dark].split()
        lines.append(f"  .ct .{kind} {{ fill: {fill}; stroke: {border}; }}\n")
        lines.append(f"  .ct text.{kind} {{ fill: {ink}; stroke: none; }}\n")
    edge, group = ("#98a1b3", "#ffffff") if dark else ("#5b6372", "#0b1020")
    lines.append(f"  .ct .edge {{ stroke: {edge}; }}\n")
    lines.append(f"  .ct .group {{ fill: {group}; stroke: {edge}; }}\n")
    return "".join(lines)


def _hues(hues: Sequence[str]) -> str:
    return "".join(
        f"  .ct .s{i} {{ stroke: {hue}; }} .ct .f{i} {{ fill: {hue}; }}\n"
        for i, hue in enumerate(hues)
    )


STYLE = (
    """
  .ct text { font: 12px system-ui, sans-serif; }
  .ct text.heading { font-size: 15px; font-weight: 600; }
  .ct text.small { font-size: 10.5px; }
  .ct .grid { stroke-width: 1; fill: none; }
  .ct .axis { stroke-width: 1; fill: none; }
  .ct .node { stroke-width: 1.3; }
  .ct .backward { stroke-dasharray: 5 3; } .ct .output, .ct .error { stroke-width: 2.6; }
  .ct .edge { fill: none; stroke-width: 1.1; }
  .ct .group { fill-opacity: 0.035; stroke-opacity: 0.5; stroke-width: 1; }
  .ct .group.back { stroke-dasharray: 5 3; }
  .ct .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: butt; }
"""
    + "".join(f"  .ct .s{i} {{ stroke-dasharray: {d}; }}\n" for i, d in enumerate(_DASHES))
    + _INK_LIGHT
    + _hues(_LIGHT)
    + _node_colours(dark=False)
    + "  @media (prefers-color-scheme: dark) {"
    + _INK_DARK
    + _hues(_DARK)
    + _node_colours(dark=True)
    + "  }\n"
)


@dataclass(frozen=True)
class Drawing:
    """A piece of SVG with its size in pixels.

    Attributes:
        width, height: of it.
        elements: the text of SVG elements, in coordinates from the upper left corner.
        label: what a screen reader says.
    """

    width: float
    height: float
    elements: tuple[str, ...]
    label: str = ""


class Picture:
    """The base of all pictures: each has data as attributes, and draws them.

    A picture shows itself in a notebook; `svg` is its text, `save` writes a file.
    """

    title: str

    def drawings(self) -> list[Drawing]:
        """The parts of the picture, which may stand side by side or below each other."""
        raise NotImplementedError(f"{type(self).__name__} does not define drawings()")

    def svg(self, columns: int | None = None) -> str:
        """The picture as the text of an SVG file, with at most `columns` parts in a row: 3, or 2
        where there are 4."""
        parts = self.drawings()
        return sheet(self.title, parts, columns or (2 if len(parts) == 4 else 3))

    def html(self) -> str:
        """The parts as SVG elements for an HTML page that has `STYLE`; they wrap on a narrow
        one."""
        return '<div class="ct-row">' + "".join(map(element, self.drawings())) + "</div>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file that ends in ``.svg``; returns its path.

        Raises:
            ArgumentError: for another ending.
        """
        path = Path(path)
        if path.suffix.lower() != ".svg":
            raise ArgumentError(
                f"save: {type(self).__name__} is written as .svg, and {path.name!r} is not; "
                f"write {path.with_suffix('.svg').name!r}"
            )
        path.write_text(self.svg(), encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.svg()


def element(drawing: Drawing) -> str:
    """A drawing as an SVG element for a page that has `STYLE`; no wider than the page."""
    return (
        f'<svg class="ct" xmlns="http://www.w3.org/2000/svg" width="{drawing.width:g}" '
        f'height="{drawing.height:g}" viewBox="0 0 {drawing.width:g} {drawing.height:g}" '
        f'style="max-width:100%;height:auto" role="img" aria-label="{quoted(drawing.label)}">'
        + "\n".join(drawing.elements)
        + "</svg>"
    )


def sheet(title: str, drawings: Sequence[Drawing], columns: int = 3) -> str:
    """The text of an SVG file: a title above drawings in rows of at most `columns`."""
    rows = [drawings[i : i + columns] for i in range(0, len(drawings), columns)]
    width = max((sum(d.width for d in row) for row in rows), default=0)
    width = max(width, 16 + 9 * len(title))
    top = float(HEADING)
    body = []
    for row in rows:
        left = 0.0
        for drawing in row:
            body.append(f'<g transform="translate({left:g} {top:g})">')
            body += [*drawing.elements, "</g>"]
            left += drawing.width
        top += max(d.height for d in row)
    lines = [
        f'<svg class="ct" xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{top:g}" '
        f'viewBox="0 0 {width:g} {top:g}" style="max-width:100%;height:auto" role="img" '
        f'aria-label="{quoted(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{width:g}" height="{top:g}" rx="6"/>',
        f'<text class="heading" x="16" y="24">{escape(title)}</text>',
    ]
    return "\n".join([*lines, *body, "</svg>", ""])


def text(
    x: float, y: float, words: str, anchor: str = "start", style: str = "", extra: str = ""
) -> str:
    """A line of text."""
    attributes = "" if anchor == "start" else f' text-anchor="{anchor}"'
    attributes += f' class="{style}"' if style else ""
    attributes += f" {extra}" if extra else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(words)}</text>'


def quoted(words: str) -> str:
    """Text for an attribute in double quotes."""
    return escape(words, {'"': "&quot;"})


def shortened(words: str, most: int) -> str:
    """At most `most` characters, with an ellipsis where some were left out in the middle.

    >>> shortened("a rather long name", 9)
    'a ra…name'
    """
    if len(words) <= most:
        return words
    head = most // 2
    return words[:head] + "…" + words[len(words) - (most - head - 1) :]
