"""Ops that can fail: which of them run though nothing needs their results.

Eagerly an index out of range is an error whatever becomes of the value. Compiled, an op whose
result is not needed would be gone, and its error with it. So what nothing needs is kept if it can
fail, or as much of it as can: of rows that are read or written, the check of their indices.
It cannot fail where another op makes the same check, as gradients that nothing needs do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..ops import (
    add,
    check_index,
    cholesky,
    multiply,
    scatter_add,
    solve_triangular,
    wrap_index,
)
from . import graph as g
from .graph import Node


def left_to_check(can_fail: Sequence[Node], needed: Sequence[Node]) -> list[Node]:
    """What has to run besides the nodes that are `needed`, to fail where one of `can_fail` does.

    Args:
        can_fail: nodes of ops that can, in the order of the trace.
    """
    kept: list[Node] = []
    if not can_fail:
        return kept
    live = {id(node) for node in needed}
    done = _Done()
    for node in can_fail:
        if id(node) in live:
            done.add(node)
    for node in can_fail:
        # What a checkpoint computes again does not fail, for it did not the first time.
        if id(node) not in live and not node.region and not done.covers(node):
            done.add(node)
            kept.append(_check_of(node))
    return kept


class _Done:
    """Checks that are made, so that others need not be."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}  # id of an index -> below what it is, if nothing fails
        self._others: set[tuple[str, int, int]] = set()

    def add(self, node: Node) -> None:
        """`node` runs."""
        rows = _rows_of(node)
        if rows is None:
            self._others.add(_identity(node))
        else:
            index = id(_index_of(node))
            self._rows[index] = min(rows, self._rows.get(index, rows))

    def covers(self, node: Node) -> bool:
        """Whether `node` does not fail where what was added does not."""
        rows = _rows_of(node)
        if rows is not None:
            index = _index_of(node)
            return rows >= self._rows.get(id(index), rows + 1) or rows > _largest(index)
        if node.primitive is solve_triangular and node.inputs[0].primitive is cholesky:
            return True  # there is no 0 on its diagonal
        return _identity(node) in self._others


def _rows_of(node: Node) -> int | None:
    """Below what the indices of `node` must be, if it takes indices from 0 on."""
    if node.primitive is check_index:
        return int(node.attrs["size"])
    if node.primitive is scatter_add:
        return int(node.attrs["rows"])
    return node.inputs[0].shape[0] if node.kind in ("gather", "scatter") else None


def _index_of(node: Node) -> Node:
    return node.inputs[-1]


def _identity(node: Node) -> tuple[str, int, int]:
    """Equal for checks that fail together."""
    return node.op, id(node.inputs[0]), node.attrs.get("size", 0)


def _largest(index: Node, depth: int = 10) -> float:
    """What the elements of `index` are at most, none being negative, by what made them; infinity
    where `depth` ops do not say."""
    if index.primitive in (check_index, wrap_index):
        return float(index.attrs["size"] - 1)
    if index.role == g.CONSTANT and index.size and index.payload.min() >= 0:
        return float(index.payload.max())
    if depth and index.kind == "movement":
        return _largest(index.inputs[0], depth - 1)
    if depth and index.primitive in (add, multiply):
        x, y = [_largest(side, depth - 1) for side in index.inputs]
        most = x + y if index.primitive is add else x * y
        return most if most <= np.iinfo(index.dtype).max else math.inf  # else it may wrap around
    return math.inf


def _check_of(node: Node) -> Node:
    """What of `node` is left if its result is not needed."""
    if node.kind not in ("gather", "scatter"):
        return node
    attrs = {"size": _rows_of(node), "what": node.op}
    return g.apply(check_index, (_index_of(node),), attrs, node)
