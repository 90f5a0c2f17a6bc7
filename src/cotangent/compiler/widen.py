"""Narrow floats, float16 and bfloat16: stored as they are, computed in float32.

Every op on them becomes a cast of its inputs, the op in float32, and a cast of its result, so that
each op rounds once, as in eager work. Ops that only move values stay. The casts are elementwise
and join the loops around them.
"""

from __future__ import annotations

from ..dtypes import DType, float32, is_narrow
from ..ops import astype
from . import graph as g
from .graph import Graph, Node

_MOVING_KINDS = {"movement", "assemble", "gather"}
_MOVING_OPS = {"astype", "where", "put_rows"}


def widen(graph: Graph) -> Graph:
    """An equal graph in which narrow floats are only moved and cast."""
    if not any(is_narrow(node.dtype) for node in graph.nodes):
        return graph
    new: dict[int, Node] = {}
    for node in graph.nodes:
        new[id(node)] = _widened(node, [new[id(x)] for x in node.inputs])
    return graph.replaced(new)


def _widened(node: Node, inputs: list[Node]) -> Node:
    if node.role != "op" or node.primitive is None:
        return node
    if node.kind not in _MOVING_KINDS and node.op not in _MOVING_OPS:
        inputs = [_cast(x, float32, node) if is_narrow(x.dtype) else x for x in inputs]
    made = g.apply(node.primitive, inputs, node.attrs, node)
    return made if made.dtype == node.dtype else _cast(made, node.dtype, node)


def _cast(x: Node, dtype: DType, like: Node) -> Node:
    return g.apply(astype, (x,), {"dtype": dtype}, like)
