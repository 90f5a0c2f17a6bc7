"""Pictures of computation graphs: as SVG with an own layout, as HTML, and as Mermaid."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from .drawing import Drawing, Picture, quoted, shortened, text
from .nested import Placed, place
from .tracing import GraphNode, traced_nodes

_LINE, _PAD, _LETTER = 15.0, 8.0, 6.5
_LEGEND = (
    ("input", "input"), ("parameter", "parameter"), ("state", "state"),
    ("constant", "constant"), ("operation", "operation"), ("backward", "operation, backward"),
    ("output", "output"), ("error", "failed"),
)  # fmt: skip
# Fills that are told apart by colour-blind readers; shapes and borders differ too.
_MERMAID = {
    "input": "fill:#cfe3ff,stroke:#0b62c4,color:#10243f",
    "parameter": "fill:#ffe1c7,stroke:#b84a00,color:#3d1a00",
    "state": "fill:#f3e7b3,stroke:#8a6a00,color:#332800",
    "constant": "fill:#e6e8ee,stroke:#5b6372,color:#1f2430",
    "operation": "fill:#ffffff,stroke:#5b6372,color:#1f2430",
    "backward": "fill:#efdcf1,stroke:#8d3a93,color:#33103a,stroke-dasharray:5 3",
    "output": "fill:#c9efdf,stroke:#0a7555,color:#06301f,stroke-width:3px",
    "error": "fill:#ffd0d0,stroke:#c22b2b,color:#5a0d0d,stroke-width:3px",
}
_UPDATE = "update"  # many values in one node have no shape
# What operations outside of all layers are called.
_PHASES = {"forward": "loss", "backward": "gradient of the loss"}
_SHAPES = {"input": "([{}])", "output": "([{}])", "parameter": "[/{}/]", "state": "[/{}/]"}


@dataclass(frozen=True)
class ComputationGraph(Picture):
    """What `graph` returns.

    Attributes:
        name: of the function.
        nodes: in the order of computing.
        error: why tracing failed, or "". Then the last node is the operation that failed.
    """

    name: str
    nodes: tuple[GraphNode, ...]
    error: str = ""

    @property
    def title(self) -> str:  # type: ignore[override]
        """What stands above."""
        return f"{self.name}: tracing failed" if self.error else self.name

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of the numbers of a node and one that is computed from it."""
        return [(source, node.number) for node in self.nodes for source in node.inputs]

    @cached_property
    def layout(self) -> Placed:
        """Where everything stands."""
        return place(self.nodes, {node.number: _size(node) for node in self.nodes})

    def by_layer(self) -> ComputationGraph:
        """The same computation with one node for each layer, or part of the backward pass of it."""
        return replace(self, nodes=tuple(_merged(self.nodes)))

    def drawings(self) -> list[Drawing]:
        """The graph, from the top down, with a legend."""
        return [_draw(self)]

    def page(self) -> str:
        """The picture as the text of an HTML page of its own, without scripts."""
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>"
            "body{margin:0;padding:8px;background:Canvas;color-scheme:light dark;overflow:auto}"
            f"</style></head><body>\n{self.svg()}</body></html>\n"
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture to a file that ends in ``.svg``, ``.html`` or ``.mmd`` (Mermaid)."""
        path = Path(path)
        writers = {".html": self.page, ".mmd": self.mermaid}
        if path.suffix.lower() not in writers:
            return super().save(path)
        path.write_text(writers[path.suffix.lower()](), encoding="utf-8")
        return path

    def mermaid(self) -> str:
        """The graph as a Mermaid flowchart, which many viewers of Markdown draw."""
        lines = ["flowchart TD"]
        _mermaid_groups(self.nodes, lines)
        lines += [f"  n{a} --> n{b}" for a, b in self.edges]
        lines += [f"  classDef {kind} {look}" for kind, look in _MERMAID.items()]
        for kind in _MERMAID:
            members = [f"n{node.number}" for node in self.nodes if _look(node) == kind]
            if members:
                lines.append(f"  class {','.join(members)} {kind}")
        return "\n".join(lines) + "\n"


def graph(function: Callable[..., Any], *args: Any, backward: bool = False) -> ComputationGraph:
    """The computation graph of a function of tensors: a model, a loss, a whole training step.

    The function is traced as `ct.jit` does, nothing is computed or changed. Where it fails, the
    picture shows what was computed up to the operation that failed, and that operation in red.

    Args:
        function: a function, model, or jitted function.
        args: what it takes; only shapes and dtypes of arrays matter.
        backward: add the gradient of the sum of its results by all parameters. A function that
            calls ``backward()`` itself needs no such thing.

    >>> from cotangent import nn
    >>> picture = graph(nn.Linear(2, 3), np.ones((4, 2)))
    >>> [(node.kind, node.name) for node in picture.nodes][:2]
    [('input', 'x'), ('parameter', 'weight')]
    """
    name, nodes, error = traced_nodes(function, args, backward)
    return ComputationGraph(name, tuple(nodes), error)


def _look(node: GraphNode) -> str:
    return "backward" if node.backward and node.kind == "operation" else node.kind


def _texts(node: GraphNode) -> list[str]:
    """The lines inside of a node."""
    if node.kind == "error":
        words, lines = node.detail.split(), [""]
        for word in words:
            if len(lines[-1]) + len(word) > 44:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".strip()
        return [node.name, *lines[:7]]
    head = f"{node.name} {node.detail}".strip()
    if node.shape is None or node.name == _UPDATE:
        return [shortened(head, 34)]
    return [shortened(head, 34), f"{node.dtype} {list(node.shape)}"]


def _size(node: GraphNode) -> tuple[float, float]:
    lines = _texts(node)
    return max(46.0, _LETTER * max(map(len, lines)) + 2 * _PAD), _LINE * len(lines) + 8


def _draw(picture: ComputationGraph) -> Drawing:
    placed = picture.layout
    elements: list[str] = []
    for name, x, y, width, height in placed.boxes:
        style = "back" if name == "backward" else ""
        elements.append(
            f'<rect class="group {style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" rx="8"/>'
        )
        elements.append(text(x + 8, y + 15, name, style="quiet small"))
    elements += [_edge(points, sink >= 0) for _, sink, points in placed.edges]
    elements += [_node(node, *placed.nodes[node.number]) for node in picture.nodes]
    used = {_look(node) for node in picture.nodes}
    legend, height = _legend([item for item in _LEGEND if item[0] in used], placed)
    return Drawing(
        max(placed.width, 300.0),
        height,
        (*elements, *legend),
        f"computation graph of {picture.title}",
    )


def _legend(items: Sequence[tuple[str, str]], placed: Placed) -> tuple[list[str], float]:
    """What the colours mean, below the graph, and where it ends."""
    left, top, lines = 12.0, placed.height + 8, []
    for look, words in items:
        wide = 26 + _LETTER * len(words)
        if left + wide > max(placed.width, 300):
            left, top = 12.0, top + 20
        lines.append(f'<rect class="node {look}" x="{left:g}" y="{top:g}" width="16" height="12"/>')
        lines.append(text(left + 21, top + 10, words, style="small"))
        left += wide + 6
    return lines, top + 24


def _node(node: GraphNode, x: float, y: float) -> str:
    width, height = _size(node)
    look = _look(node)
    round_ = {"input": height / 2, "output": height / 2, "parameter": 0, "state": 0}.get(look, 5)
    hover = f"{node.name} {node.detail}\n{node.layer}\n{node.source}".strip()
    lines = [
        f"<g><title>{escape(hover)}</title>"
        f'<rect class="node {look}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="{round_:g}"/>'
    ]
    for i, words in enumerate(_texts(node)):
        style = f"in {look}" if i == 0 else f"in {look} small"
        lines.append(text(x + width / 2, y + _LINE * (i + 1), words, "middle", style))
    return "".join(lines) + "</g>"


def _edge(points: Sequence[tuple[float, float]], arrow: bool) -> str:
    """A smooth line that leaves and enters every point vertically."""
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(x0 - x1) < 0.5:
            path += f"V{y1:.1f}"
        else:
            half = (y0 + y1) / 2
            path += f"C{x0:.1f} {half:.1f} {x1:.1f} {half:.1f} {x1:.1f} {y1:.1f}"
    if arrow:
        x, y = points[-1]
        path += f"M{x - 3.5:.1f} {y - 6:.1f}L{x:.1f} {y:.1f}L{x + 3.5:.1f} {y - 6:.1f}"
    return f'<path class="edge" d="{path}"/>'


def _merged(nodes: Sequence[GraphNode]) -> list[GraphNode]:
    """One node for what one layer computed without leaving it, one for all new values of variables;
    what a layer owns is left out."""
    merged: list[GraphNode] = []
    number_of: dict[int, int] = {}
    for node in nodes:
        owned = node.kind in ("parameter", "constant", "state")
        if owned or node.name == "host scalar":
            continue
        if node.kind == "output" and node.name.startswith("new "):
            node = replace(node, name="new values of variables", shape=None, dtype="")
        inputs = [number_of[i] for i in node.inputs if i in number_of]
        last = merged[-1] if merged else None
        if last is not None and _belongs(node, last):
            inputs = [i for i in (*last.inputs, *inputs) if i != last.number]
            merged[-1] = replace(
                last, shape=node.shape, dtype=node.dtype, inputs=tuple(dict.fromkeys(inputs))
            )
        else:
            name, detail = node.name, node.detail
            if node.kind == "operation":
                what = node.groups[0] if node.groups else "operations"
                name, detail = node.layer or _PHASES.get(what, what), ""
            merged.append(
                replace(
                    node, number=len(merged), name=name, detail=detail,
                    groups=node.groups[:1] if node.backward else (),
                    inputs=tuple(dict.fromkeys(inputs)),
                )
            )  # fmt: skip
        number_of[node.number] = merged[-1].number
    return merged


def _belongs(node: GraphNode, last: GraphNode) -> bool:
    if node.kind != last.kind or node.kind not in ("operation", "output"):
        return False
    if node.kind == "output":
        return node.name == last.name == "new values of variables"
    return (last.layer, last.backward) == (node.layer, node.backward)


def _mermaid_groups(nodes: Sequence[GraphNode], lines: list[str]) -> None:
    """The nodes in nested subgraphs; like the layout, a layer that is met again is one more."""
    open_: list[str] = []
    count = 0
    for node in nodes:
        path = list(node.groups)
        common = 0
        while common < min(len(path), len(open_)) and open_[common] == path[common]:
            common += 1
        while len(open_) > common:
            lines.append("  " * len(open_) + "end")
            open_.pop()
        for name in path[common:]:
            open_.append(name)
            count += 1
            lines.append("  " * len(open_) + f'subgraph g{count} ["{_mermaid_text(name)}"]')
        shape = _SHAPES.get(node.kind, "[{}]")
        words = "<br/>".join(map(_mermaid_text, _texts(node)))
        indent = "  " * (len(open_) + 1)
        lines.append(f"{indent}n{node.number}" + shape.format(f'"{words}"'))
    for depth in range(len(open_), 0, -1):
        lines.append("  " * depth + "end")


def _mermaid_text(words: str) -> str:
    return quoted(words).replace("&", "#").replace("#quot;", "#quot;")
