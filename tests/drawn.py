"""Reads pictures: what stands in an SVG, and which data its lines and dots show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg):
    """The root of an SVG; it must be well-formed, and its `paper` must hold every text."""
    return ElementTree.fromstring(svg)


def texts(svg):
    return [e.text for e in parsed(svg).iter(f"{SVG}text")]


class Panel:
    """One drawing, whose axes are read from the ticks."""

    def __init__(self, drawing):
        body = "".join(drawing.elements)
        self.root = ElementTree.fromstring(f'<svg xmlns="{SVG[1:-1]}">{body}</svg>')
        self.width, self.height = drawing.width, drawing.height
        self.texts = [e.text for e in self.root.iter(f"{SVG}text")]
        ticks = [(e, _value(e.text)) for e in self.root.iter(f"{SVG}text")]
        ticks = [(e, v) for e, v in ticks if v is not None and not e.get("class")]
        ups = [(float(e.get("y")) - 4, v) for e, v in ticks if e.get("text-anchor") == "end"]
        rights = [(float(e.get("x")), v) for e, v in ticks if e.get("text-anchor") == "middle"]
        self._y, self.log = _map(ups)
        self._x, _ = _map(rights)

    def x(self, pixels):
        return self._x(np.asarray(pixels))

    def y(self, pixels):
        return self._y(np.asarray(pixels))

    def lines(self):
        """The points of each line, in the data's coordinates; legend lines are left out."""
        found = []
        for e in self.root.iter(f"{SVG}path"):
            if "line" in (e.get("class") or "").split() and "h22" not in e.get("d"):
                numbers = np.array(re.findall(r"-?[\d.]+", e.get("d")), float).reshape(-1, 2)
                found.append((self.x(numbers[:, 0]), self.y(numbers[:, 1])))
        return found

    def dots(self):
        """The points of the dots."""
        circles = list(self.root.iter(f"{SVG}circle"))
        px = np.array([[float(e.get("cx")), float(e.get("cy"))] for e in circles])
        return self.x(px[:, 0]), self.y(px[:, 1])

    def inside(self):
        """Whether every text lies within the drawing, as far as its length can be told."""
        for e in self.root.iter(f"{SVG}text"):
            if "rotate" in (e.get("transform") or ""):
                continue
            x, wide = float(e.get("x")), 6.2 * len(e.text or "")
            anchor = e.get("text-anchor") or "start"
            left = x - {"start": 0, "middle": wide / 2, "end": wide}[anchor]
            if (
                left < -2
                or left + wide > self.width + 2
                or not 0 < float(e.get("y")) <= self.height
            ):
                return False
        return True


def _value(words):
    try:
        return float(words.removesuffix(" %")) / (100 if words.endswith(" %") else 1)
    except (AttributeError, ValueError):
        return None


def _map(ticks):
    """From pixels to values, by the ticks: linear, or logarithmic where only that fits."""
    pixels, values = np.array(ticks).T
    linear = np.polyfit(pixels, values, 1)
    error = np.abs(np.polyval(linear, pixels) - values).max()
    if error < 0.02 * np.ptp(values) or values.min() <= 0:
        return lambda p: np.polyval(linear, p), False
    logarithmic = np.polyfit(pixels, np.log(values), 1)
    return lambda p: np.exp(np.polyval(logarithmic, p)), True
