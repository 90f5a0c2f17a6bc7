"""Where the nodes of a computation graph stand: each layer is a box with its own nodes inside.

Every group is arranged on its own (see `layered`), with the edges that leave it or come in ending
at ports on its border; in the group around it, it is a box whose edges meet these ports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .layered import Arrangement, Key, Net, Point, arrange
from .tracing import GraphNode

MARGIN, HEAD = 12.0, 22.0  # of a group's box, around and above what is inside

Path = tuple[str, ...]


@dataclass
class Group:
    """A layer, and what was computed in it without leaving it.

    Attributes:
        name: path of the layer, "forward", "backward", "update", or "" for the whole.
        numbers: of the nodes right inside of it.
        groups: inside of it.
        members: numbers of all nodes inside.
    """

    name: str
    numbers: list[int] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    members: set[int] = field(default_factory=set)


@dataclass
class Placed:
    """Where all is drawn, in pixels.

    Attributes:
        width, height: of the picture.
        nodes: the upper left corner by number.
        boxes: name, corner and size of each group, the outer ones first.
        edges: numbers of source and sink (-1 at the border of a group), and points.
    """

    width: float = 0.0
    height: float = 0.0
    nodes: dict[int, Point] = field(default_factory=dict)
    boxes: list[tuple[str, float, float, float, float]] = field(default_factory=list)
    edges: list[tuple[int, int, list[Point]]] = field(default_factory=list)
    crossings: int = 0


def grouped(nodes: Sequence[GraphNode]) -> Group:
    """Nodes that were computed one after the other in one layer are a group; so no group can need
    a result of another one that needs its own."""
    root = Group("")
    stack: list[Group] = [root]
    for node in nodes:
        path = node.groups
        common = 0
        while common < min(len(path), len(stack) - 1) and stack[common + 1].name == path[common]:
            common += 1
        del stack[common + 1 :]
        for name in path[common:]:
            inner = Group(name)
            stack[-1].groups.append(inner)
            stack.append(inner)
        stack[-1].numbers.append(node.number)
        for group in stack:
            group.members.add(node.number)
    return root


def place(nodes: Sequence[GraphNode], sizes: Mapping[int, tuple[float, float]]) -> Placed:
    """The layout of a graph whose nodes have `sizes`."""
    root = grouped(nodes)
    sinks: dict[int, list[int]] = {}
    for node in nodes:
        for source in node.inputs:
            sinks.setdefault(source, []).append(node.number)
    placed = Placed()
    inside = _Level(root, sizes, sinks)
    inside.put(placed, MARGIN, MARGIN)
    placed.width = inside.arrangement.width + 2 * MARGIN
    placed.height = inside.arrangement.height + 2 * MARGIN
    return placed


class _Level:
    """The arrangement of one group, and of those inside of it."""

    def __init__(
        self, group: Group, sizes: Mapping[int, tuple[float, float]],
        sinks: Mapping[int, Sequence[int]],
    ) -> None:  # fmt: skip
        self.group = group
        self.inner = [_Level(inside, sizes, sinks) for inside in group.groups]
        self._item: dict[int, Key] = {number: number for number in group.numbers}
        for i, level in enumerate(self.inner):
            self._item.update(dict.fromkeys(level.group.members, ("group", i)))
        boxes: dict[Key, tuple[float, float]] = {n: sizes[n] for n in group.numbers}
        for i, level in enumerate(self.inner):
            boxes["group", i] = level.size
        nets, entering, leaving = self._nets(sinks)
        boxes.update({("in", n): (0.0, 0.0) for n in entering})
        boxes.update({("out", n): (0.0, 0.0) for n in leaving})
        order = sorted(boxes, key=self._age)
        self.arrangement: Arrangement = arrange(
            {key: boxes[key] for key in order}, nets, [("in", n) for n in entering],
            [("out", n) for n in leaving], self._offset,
        )  # fmt: skip

    @property
    def size(self) -> tuple[float, float]:
        """Of the box with its border."""
        width = max(self.arrangement.width + 2 * MARGIN, 7.0 * len(self.group.name) + 2 * MARGIN)
        return width, self.arrangement.height + MARGIN + HEAD

    def _age(self, key: Any) -> int:
        """When the first of a box was computed."""
        if isinstance(key, int):
            return key
        return min(self.inner[key[1]].group.members) if key[0] == "group" else key[1]

    def _nets(self, sinks: Mapping[int, Sequence[int]]) -> tuple[list[Net], list[int], list[int]]:
        """The edges between the boxes here, and the sources that come in and go out."""
        nets: list[Net] = []
        entering: list[int] = []
        leaving: list[int] = []
        members = self.group.members
        for source, ends in sinks.items():
            inside = [n for n in ends if n in members]
            outside = len(inside) < len(ends)
            if source not in members and not inside:
                continue
            start = self._item.get(source, ("in", source))
            targets = [self._item[n] for n in inside]
            if source not in members:
                entering.append(source)
            elif outside:
                leaving.append(source)
                targets.append(("out", source))
            targets = [t for t in dict.fromkeys(targets) if t != start]
            if targets:
                nets.append(Net(start, tuple(targets), source))
        return nets, entering, leaving

    def _offset(self, key: Any, net: Net) -> float:
        """Where the edge of a net meets the border of a group."""
        if not isinstance(key, tuple) or key[0] != "group":
            return 0.0
        level = self.inner[key[1]]
        side = "out" if net.name in level.group.members else "in"
        corner = level.arrangement.corners.get((side, net.name))
        return 0.0 if corner is None else level.shift + corner[0] - level.size[0] / 2

    @property
    def shift(self) -> float:
        """From the border of the box to what is inside, at the left."""
        return (self.size[0] - self.arrangement.width) / 2

    def put(self, placed: Placed, left: float, top: float) -> None:
        """Write down where everything is, from the upper left corner of what is inside."""
        placed.crossings += self.arrangement.crossings
        for key, (x, y) in self.arrangement.corners.items():
            if isinstance(key, int):
                placed.nodes[key] = (left + x, top + y)
        for i, level in enumerate(self.inner):
            x, y = self.arrangement.corners["group", i]
            width, height = level.size
            placed.boxes.append((level.group.name, left + x, top + y, width, height))
            level.put(placed, left + x + level.shift, top + y + HEAD)
        for net, sink, points in self.arrangement.routes:
            moved = [(left + x, top + y) for x, y in points]
            if net.source == ("in", net.name):
                moved.insert(0, (moved[0][0], top - HEAD))
            if sink == ("out", net.name):
                moved.append((moved[-1][0], top + self.arrangement.height + MARGIN))
            ends = [key if isinstance(key, int) else -1 for key in (net.source, sink)]
            placed.edges.append((ends[0], ends[1], moved))
