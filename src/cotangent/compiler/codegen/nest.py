"""What the loops of a group read, compute and write, in which phase.

A row is all that is reduced into one result. A group that uses the result of a reduction goes
through each row several times: in phase 0 it computes what needs no result, in phase 1 what needs
results of phase 0, and so on. Values with one element for each row are computed between the phases.
A value that a later phase needs again is computed again if that is cheap, so that fewer rows
compete for the first-level cache; else it is read from where it was stored, or from a scratch row.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ...shapes import Shape, contiguous_strides
from .. import graph as g
from ..fuse import Fusion, Group
from ..graph import Node
from ..views import View, over, spread

MOST_LANES = 16
# What costs no more than a load, and how many of those a value may take to be computed again.
_CHEAP = {
    "abs", "add", "astype", "equal", "less", "less_equal", "maximum", "minimum", "mul_no_nan",
    "multiply", "negative", "not_equal", "relu", "subtract", "where",
}  # fmt: skip
_MOST_AGAIN = 6


class Operand:
    """Memory that the nest reads or writes, with offset and strides in elements over the domain."""

    __slots__ = ("node", "strides", "offset")

    def __init__(self, node: Node, strides: Shape, offset: int = 0) -> None:
        self.node = node
        self.strides = strides
        self.offset = offset


class Row(NamedTuple):
    """An input that is the value of a node of the group for the present row."""

    node: Node


class Nest:
    """A group over its domain, whose axes are collapsed.

    Attributes:
        operands: (id of a node, number of an input) -> what it is: (literal, dtype), a `Node` with
            a value at the same element, a `Row`, or the key of a load.
        loads, stores, scratch: memory, by key; by node; by the id of the node that is kept in it.
        columns: by the id of the node, sums that a block of rows adds up: see `Group.columns`.
        phase: id of a node -> the phase in which it is computed; for one with a value for each row,
            before which.
        phases: how often the loops go through a row.
        sizes, reduced: the collapsed domain.
    """

    def __init__(self, fusion: Fusion, group: Group) -> None:
        self.fusion = fusion
        self.group = group
        self.copying = group.source is not None
        self.loads: dict[Any, Operand] = {}
        self.operands: dict[tuple[int, int], Any] = {}
        self.stores: list[tuple[Node, Operand]] = []
        self.scratch: dict[int, Operand] = {}
        self.columns: dict[int, Operand] = {}
        self.phase: dict[int, int] = {}
        self.phases = 1
        self._again: dict[int, set[int]] = {}  # phase -> ids of the nodes computed again in it
        self._costs: dict[int, int] = {}
        self._read()
        self._write()
        if not self.copying:
            self._find_phases()
        self.sizes, self.reduced = self._collapse()

    def has_rows(self, node: Node) -> bool:
        """Whether a node has one value for each row."""
        return not self.copying and self.group.has_rows(node)

    def nodes_of(self, phase: int) -> list[Node]:
        """The nodes that the loops of a phase compute, some of them again, and its reductions."""
        if self.copying:
            return self.group.nodes
        again = self._again.get(phase, ())
        return [
            node for node in self.group.nodes
            if id(node) in again
            or (id(node) not in self.group.rows and self.phase[id(node)] == phase)
        ]  # fmt: skip

    def rows_before(self, phase: int) -> list[Node]:
        """The elementwise nodes with one value for each row that are computed before a phase."""
        return [
            node for node in self.group.nodes
            if id(node) in self.group.rows and self.phase[id(node)] == phase
        ]  # fmt: skip

    def _read(self) -> None:
        if self.group.source is not None:
            self._load(self.group.nodes[0], 0, self.group.source, self.group.source.shape)
            return
        for node in self.group.nodes:
            for i, x in enumerate(node.inputs):
                self.operands[id(node), i] = self._operand(node, i, x, over(node))

    def _operand(self, node: Node, i: int, x: Node, shape: Shape) -> Any:
        literal = g.uniform(x)
        if literal is not None:
            return (literal, x.dtype)
        row = self.fusion.row_value(self.group, x, shape)
        if row is not None:
            return Row(row)
        return self.fusion.own_value(self.group, x) or self._load(
            node, i, self.fusion.view(x), shape
        )

    def _load(self, node: Node, i: int, view: View, shape: Shape) -> Any:
        strides = spread(view, shape)
        if id(node) in self.group.rows:
            strides = self._over_domain(strides)
        key = (id(view.base), strides, view.offset)
        self.loads.setdefault(key, Operand(view.base, strides, view.offset))
        self.operands[id(node), i] = key
        return key

    def _over_domain(self, kept: Shape) -> Shape:
        """Strides over the axes that stay as strides over the domain."""
        rest = iter(kept)
        reduced = self.group.reduced or [False] * len(self.group.domain)
        return tuple([0 if r else next(rest) for r in reduced])

    def _write(self) -> None:
        for node in self.group.nodes:
            if id(node) in self.group.columns:
                self.columns[id(node)] = Operand(node, self._along_rows(1))
        for node in self.group.stored:
            if id(node) in self.group.columns:
                continue
            if self.has_rows(node):
                strides = self._over_domain(contiguous_strides(self.group.kept))
            else:
                strides = contiguous_strides(self.group.domain)
            self.stores.append((node, Operand(node, strides)))

    def _find_phases(self) -> None:
        ready: dict[int, int] = {}
        for node in self.group.nodes:
            phase = 0
            for i in range(len(node.inputs)):
                x = self.operands[id(node), i]
                if isinstance(x, Row):
                    phase = max(phase, ready[id(x.node)])
                elif isinstance(x, Node):
                    phase = max(phase, self.phase[id(x)])
            self.phase[id(node)] = phase
            ready[id(node)] = phase + (node.kind == "reduce" and self.has_rows(node))
            if node.kind == "reduce" or not self.has_rows(node):
                self.phases = max(self.phases, phase + 1)
        for node in self.group.nodes:
            for i in range(len(node.inputs)):
                x = self.operands[id(node), i]
                if isinstance(x, Node):
                    self._need(x, self.phase[id(node)])

    def _cost(self, node: Node) -> int:
        """How many cheap ops it takes to compute a value from loads and values of the row."""
        found = self._costs.get(id(node))
        if found is None:
            found = 1 if node.op in _CHEAP else _MOST_AGAIN + 1
            for i in range(len(node.inputs)):
                x = self.operands[id(node), i]
                found += self._cost(x) if isinstance(x, Node) else 0
            self._costs[id(node)] = found
        return found

    def _need(self, node: Node, phase: int) -> None:
        """See that `phase` has the value of `node`."""
        again = self._again.setdefault(phase, set())
        if self.phase[id(node)] == phase or id(node) in again:
            return
        if self._cost(node) > _MOST_AGAIN:
            self._keep(node)
            return
        again.add(id(node))
        for i in range(len(node.inputs)):
            x = self.operands[id(node), i]
            if isinstance(x, Node):
                self._need(x, phase)

    def _keep(self, node: Node) -> None:
        """See that a later phase finds the value of `node`."""
        if id(node) in self.scratch:
            return
        stored = next((operand for x, operand in self.stores if x is node), None)
        if stored is not None:
            self.scratch[id(node)] = stored
            return
        last_reduced = self.group.reduced is not None and self.group.reduced[-1]
        width = 1 if last_reduced else MOST_LANES  # else a vector of rows is under way
        size = math.prod(self.group.domain) // math.prod(self.group.kept)
        row = Node("scratch", (width * size,), node.dtype)
        self.scratch[id(node)] = Operand(row, self._along_rows(width))

    def _along_rows(self, width: int) -> Shape:
        """Strides over the domain of memory that holds one row, of `width` values an element."""
        pairs = list(zip(self.group.domain, self.group.reduced or (), strict=True))
        rest = iter(contiguous_strides(tuple([n for n, r in pairs if r])))
        return tuple([width * next(rest) if r else 0 for _, r in pairs])

    def _collapse(self) -> tuple[list[int], list[bool]]:
        """Join neighbouring axes through which every operand steps evenly."""
        operands = [*self.loads.values(), *(operand for _, operand in self.stores)]
        operands += self.columns.values()
        stored = {id(operand) for operand in operands}
        operands += [x for x in self.scratch.values() if id(x) not in stored]
        sizes = list(self.group.domain)
        reduced = list(self.group.reduced or [False] * len(sizes))
        i = len(sizes) - 2
        while i >= 0:
            even = all(o.strides[i] == o.strides[i + 1] * sizes[i + 1] for o in operands)
            if even and reduced[i] == reduced[i + 1]:
                sizes[i : i + 2] = [sizes[i] * sizes[i + 1]]
                del reduced[i]
                for operand in operands:
                    operand.strides = (*operand.strides[:i], *operand.strides[i + 1 :])
            i -= 1
        return sizes, reduced
