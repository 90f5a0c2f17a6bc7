"""Pictures that Matplotlib draws: contours and surfaces.

The only file that imports Matplotlib, and only when such a picture is drawn; the data of a picture
are there without it.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, MissingPackageError
from .drawing import Picture, quoted

# Stand for the colours of the page, which are filled in when the picture is written as SVG.
INK, PAPER = "#767676", "#fefefe"
_DARK_INK = "#2b303b"  # on white paper, where pixels have no page to ask
SERIES_COLOURS = ("#2f83e0", "#d9730d", "#12936b", "#a95bb0", "#7a8294", "#a88500")
SHADES = "cividis"  # even in lightness, and the same for the colour-blind
_DPI = 110
_STYLE = (
    ".ct-plot{--ink:#1f2430;--paper:#ffffff}"
    "@media(prefers-color-scheme:dark){.ct-plot{--ink:#e6e8ee;--paper:#14171d}}"
)


class Plot(Picture):
    """A picture that Matplotlib draws: `figure` is a Matplotlib figure, to go on with."""

    size = (5.2, 4.2)  # inches

    def figure(self) -> Any:
        """The picture as a `matplotlib.figure.Figure`.

        Raises:
            MissingPackageError: if Matplotlib is not installed.
        """
        found = _figure(self.size)
        self.draw(found)
        return found

    def draw(self, figure: Any) -> None:
        """Draw on an empty figure."""
        raise NotImplementedError(f"{type(self).__name__} does not define draw(figure)")

    def svg(self, columns: int | None = None) -> str:
        """The picture as the text of an SVG file."""
        return _svg(self.figure(), self.title)

    def html(self) -> str:
        """The picture as an SVG element."""
        return f'<div class="ct-row">{self.svg()}</div>'

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file that ends in ``.svg``, ``.png`` or ``.pdf``."""
        path = Path(path)
        if path.suffix.lower() == ".svg":
            path.write_text(self.svg(), encoding="utf-8")
        elif path.suffix.lower() in (".png", ".pdf"):
            figure = self.figure()
            figure.set_facecolor("white")
            for part in figure.findobj(_is_ink):
                part.set_color(_DARK_INK)
            figure.savefig(path, dpi=_DPI)
        else:
            raise ArgumentError(
                f"save: a picture is written as .svg, .png or .pdf, not {path.name!r}"
            )
        return path


def _is_ink(artist: Any) -> bool:
    colour = artist.get_color() if hasattr(artist, "get_color") else None
    return isinstance(colour, str) and colour == INK


def _figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackageError(
            "this picture is drawn by Matplotlib, which is not installed; "
            "pip install 'cotangent[viz]'"
        ) from None
    return Figure(figsize=size, facecolor=PAPER, layout="constrained")


def _svg(figure: Any, title: str) -> str:
    """The text of a figure: text stays text, ids depend on the content alone, no date."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "cotangent", "svg.id": None}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, dpi=_DPI)
    body = buffer.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = body.replace(INK, f"var(--ink,{INK})").replace(PAPER, f"var(--paper,{PAPER})")
    attributes = (
        f'<svg class="ct-plot" role="img" aria-label="{quoted(title)}" '
        f'style="max-width:100%;height:auto" '
    )
    body = body.replace("<svg ", attributes, 1)
    end = body.index(">", body.index("<svg")) + 1
    return f"{body[:end]}\n<style>{_STYLE}</style>{body[end:]}"


def axes_on(figure: Any, place: Any = 111, **settings: Any) -> Any:
    """New axes on a figure, in the colours of the page."""
    axes = figure.add_subplot(place, facecolor="none", **settings)
    axes.tick_params(colors=INK, labelsize=9)
    for spine in axes.spines.values():
        spine.set_color(INK)
    return axes


def label(axes: Any, title: str = "", x: str = "", y: str = "") -> None:
    """Title and labels in the colour of the page."""
    axes.set_title(title, color=INK, fontsize=11)
    axes.set_xlabel(x, color=INK, fontsize=10)
    axes.set_ylabel(y, color=INK, fontsize=10)


def bar(figure: Any, mapped: Any, axes: Any, words: str) -> None:
    """A bar with the values of the colours."""
    added = figure.colorbar(mapped, ax=axes, shrink=0.85)
    added.set_label(words, color=INK, fontsize=10)
    added.ax.tick_params(colors=INK, labelsize=8)
    added.ax.set_facecolor("none")
    added.outline.set_edgecolor(INK)


def levels(values: Any, count: int = 14) -> Any:
    """Heights for contour lines: evenly spaced by rank and value, each once."""
    finite = values[np.isfinite(values)]
    by_rank = np.quantile(finite, np.linspace(0, 1, count))
    return np.unique(by_rank)


def at_most_ticks(count: int) -> Any:
    """A locator of so many ticks at round numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count)
