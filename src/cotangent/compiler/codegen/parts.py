"""Reductions in parts: what two results combine to, and the kernel that combines all parts.

How many parts there are follows from shapes alone, and they are combined from the first to the
last, so the bits depend on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import CompileError
from ..graph import Node
from ..ranges import Range
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for

# A reduction -> the memory for the results of its parts, [parts, at least the size of the result].
Partial = dict[Node, Node]
Watched = Mapping[int, Range | None]


def combine(e: KernelEmitter, node: Node, x: Value, y: Value) -> Value:
    """Two results of a reduction as one."""
    return e.add(x, y) if node.op == "sum" else e.maximum(x, y)


def identity(node: Node) -> Any:
    """What a reduction starts from."""
    if node.op == "sum":
        return 0
    if node.op == "max":
        return -np.inf if node.dtype.kind == "f" else np.iinfo(node.dtype).min
    raise CompileError(f"the compiler has no loops for the reduction {node.where()}")


def combination(partial: Partial, parts: int, watched: Watched) -> Kernel:
    """The kernel that combines the results of the parts, from the first to the last.

    Args:
        watched: see `Fusion.watched`.
    """
    widest = max(node.size for node in partial)
    e = KernelEmitter(lanes_for([node.dtype for node in partial]) if widest > 1 else 1)
    for node, row in partial.items():
        _combine_parts(e, node, e.address(row), parts, row.shape[1], watched)
    moved = sum(row.size * row.dtype.itemsize for row in partial.values())
    return e.finish(sum(row.size for row in partial.values()), moved)


def _combine_parts(
    e: KernelEmitter, node: Node, source: str, parts: int, stride: int, watched: Watched
) -> None:
    width, target = node.dtype.itemsize, e.address(node)

    def columns(j: str, nothing: list[Value]) -> Sequence[Value]:
        def one(part: str, totals: list[Value]) -> Sequence[Value]:
            row = e.offset(source, part, e.integer(stride * width))
            value = e.load(e.offset(row, j, str(width)), node.dtype)
            return [combine(e, node, totals[0], value)]

        first = e.constant(identity(node), node.dtype)
        (total,) = e.loop(e.integer(parts), 1, [first], one)
        e.store(total, e.offset(target, j, str(width)))
        e.check([(total, watched[id(node)])] if id(node) in watched else [])
        return nothing

    if e.lanes == 1:
        columns("0", [])
    else:
        e.vector_loop(node.size, [], columns)
