"""Groups of nodes that one kernel computes, and what may be in one."""

from __future__ import annotations

import math

from ..errors import CompileError
from ..shapes import Shape
from .graph import Node
from .views import View

# A loop nest with more values than this spills registers more than it saves traffic.
MOST_NODES = 64
# A row of so many elements, several values each, stays in the first-level cache.
_LONGEST_ROW = 4096
# From so many rows on, columns of sums are kept in the cache beside the row.
_MANY_ROWS = 64
# Sums of columns go by rows if those are so wide, and the first-level cache holds a small part.
_WIDE_ROW, _MANY_ELEMENTS = 512, 1 << 18


class Group:
    """Nodes that one kernel computes.

    Attributes:
        kind: "loops" (elementwise and reductions), "matmul", "gather", "scatter", "transpose".
        domain: what the loops run over: a shape without axes of size 1.
        reduced: for each axis of the domain, whether the group's reductions run over it; None while
            there is no reduction.
        nodes: in order.
        rows: ids of those elementwise nodes that have one value for each row, which is all that is
            reduced into one result.
        columns: ids of reductions over all other axes than `reduced`, added up row by row; where
            there are no reductions but these, a row is what is not reduced.
        copies: views that are copied into memory of their own under a node (see `Fusion.copy`).
        stored: the nodes whose values other kernels, outputs or writes need.
        before: bit set of the groups that must run earlier.
        bit: this group as a bit set.
        last: the place in the graph of the latest node for which it got work to do.
        why: why nothing more joined, for `explain`.
    """

    __slots__ = (
        "kind", "number", "domain", "reduced", "nodes", "rows", "columns", "stored", "before",
        "last", "source", "why", "bit",
    )  # fmt: skip

    def __init__(self, kind: str, number: int, domain: Shape) -> None:
        self.kind = kind
        self.number = number
        self.bit = 1 << number
        self.domain = domain
        self.reduced: tuple[bool, ...] | None = None
        self.nodes: list[Node] = []
        self.rows: set[int] = set()
        self.columns: set[int] = set()
        self.stored: list[Node] = []
        self.before = 0
        self.last = 0
        self.source: View | None = None
        self.why = ""

    @property
    def kept(self) -> Shape:
        """The domain without the axes that are reduced."""
        reduced = self.reduced or [False] * len(self.domain)
        return tuple([n for n, r in zip(self.domain, reduced, strict=True) if not r])

    def has_rows(self, node: Node) -> bool:
        """Whether `node`, one of the group's, has one value for each row."""
        if node.kind == "reduce":
            return id(node) not in self.columns
        return id(node) in self.rows

    def __repr__(self) -> str:
        return f"<{self.kind} {self.number}: {' '.join(node.op for node in self.nodes)}>"


def in_order(groups: list[Group]) -> list[Group]:
    """The groups, each after those that must run before it, and else as late as the graph has
    their nodes: a value that is computed late takes memory late."""
    done = 0
    order: list[Group] = []
    waiting = sorted(groups, key=lambda x: x.last)
    while waiting:
        left = []
        for group in waiting:
            if group.before & ~done:
                left.append(group)
            else:
                done |= group.bit
                order.append(group)
        if len(left) == len(waiting):
            raise CompileError(f"fusion made a cycle among {waiting}")
        waiting = left
    return order


def can_reduce(group: Group, reduced: tuple[bool, ...]) -> bool:
    """Whether a reduction can join `group`: over the same axes; or over all others, of many short
    rows."""
    if group.reduced in (None, reduced):
        return True
    across = tuple([not r for r in reduced]) == group.reduced and group.reduced[-1]
    return across and has_short_rows(group) and math.prod(group.kept) >= _MANY_ROWS


def has_short_rows(group: Group) -> bool:
    """Whether what is reduced into one result stays in the first-level cache."""
    return math.prod(group.domain) <= _LONGEST_ROW * math.prod(group.kept)


def sum_by_rows(group: Group) -> None:
    """Let a group that reduces the leading axes of a large array go through it row by row, with the
    sums of the columns beside. Down the columns, every step would be in another page."""
    reduced = group.reduced
    if reduced is None or reduced[-1] or group.rows or group.columns:
        return
    across = tuple([not r for r in reduced])
    count = sum(reduced)
    rows, width = math.prod(group.domain[:count]), math.prod(group.domain[count:])
    leading = all(reduced[:count]) and rows >= _MANY_ROWS
    if leading and _WIDE_ROW <= width <= _LONGEST_ROW and rows * width >= _MANY_ELEMENTS:
        group.columns = {id(node) for node in group.nodes if node.kind == "reduce"}
        group.reduced = across


def can_absorb(group: Group, other: Group) -> bool:
    """Whether the loops of `other`, which neither needs the group nor is needed by it, can be done
    in those of `group`."""
    loops = group.kind == other.kind == "loops" and group.source is other.source is None
    apart = not (other.before & group.bit or group.before & other.bit)
    small = len(group.nodes) + len(other.nodes) <= MOST_NODES
    return loops and apart and small and other.reduced is None and other.domain == group.domain
