"""Simplification: constants, algebra, common subexpressions, dead code.

Every node, in order, is rebuilt on simplified inputs, run through the rules for its op until none
applies, and then looked up among the equal nodes before it. Dead code goes because a graph holds
only what its outputs and writes need, and ops that can fail (see failing.py). Two steps that look
at the users of nodes follow; what they changed goes through the rules again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops import (
    broadcast_to,
    find,
    matmul,
    multiply,
    negative,
    permute_dims,
    reshape,
    strided_slice,
)
from ..shapes import Shape
from . import graph as g
from .finite import is_finite
from .graph import Graph, Node
from .widen import widen

Rule = Callable[[Node], Node | None]
RULES: list[Rule] = []
_NAMES: dict[Rule, tuple[str, ...]] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter a rule: it gets a node, and returns what to put in its place, or None.

    Args:
        names: of the ops, or of the kinds of ops, that it is for; none for all.
    """

    def enter(function: Rule) -> Rule:
        RULES.append(function)
        _NAMES[function] = names
        return function

    return enter


def simplify(graph: Graph) -> Graph:
    """An equal graph with less in it, that computes nothing in narrow floats."""
    simplifier = _Simplifier()
    graph = simplifier.rewrite(widen(graph), {})
    replaced = _transposed_products(graph) | _staged_reductions(graph)
    return simplifier.rewrite(graph, replaced) if replaced else graph


class _Simplifier:
    """Rewrites graphs; it knows the nodes that the rules leave alone, by what makes them equal to
    others and by their ids, so a second graph with the same nodes takes little."""

    def __init__(self) -> None:
        self._known: dict[Any, Node] = {}
        self._rules: dict[str, list[Rule]] = {}

    def rewrite(self, graph: Graph, replaced: dict[int, Node]) -> Graph:
        """Every rule wherever it applies, and equal nodes made one.

        Args:
            replaced: by the ids of nodes of `graph`, others on the same inputs to put there.
        """
        new: dict[int, Node] = {}

        def renewed(node: Node) -> Node:
            inputs = tuple([new.get(id(x)) or renewed(x) for x in node.inputs])
            return self._settle(_on(node, inputs))

        for node in graph.nodes:
            new[id(node)] = renewed(replaced.get(id(node), node))
        return graph.replaced(new)

    def _settle(self, node: Node) -> Node:
        """The first equal node before this one, once no rule applies."""
        known = self._known
        if id(node) in known:
            return node
        while node.role == "op":
            better = None
            for applies in self._rules_for(node):
                better = applies(node)
                if better is not None:
                    break
            if better is None:
                break
            if id(better) in known:
                return better
            node = better
        key = _key(node)
        found = known.get(key)
        if found is None:
            known[key] = known[id(node)] = found = node
        return found

    def _rules_for(self, node: Node) -> list[Rule]:
        rules = self._rules.get(node.op)
        if rules is None:
            here = {node.op, node.kind}
            rules = [x for x in RULES if not _NAMES.get(x) or here & set(_NAMES[x])]
            self._rules[node.op] = rules
        return rules


def _transposed_products(graph: Graph) -> dict[int, Node]:
    """(a @ b) transposed, and used in no other way, is b transposed @ a transposed: no copy."""
    users: dict[int, int] = {}
    for node in graph.nodes:
        for x in node.inputs:
            users[id(x)] = users.get(id(x), 0) + 1
    for node in [*graph.outputs, *(x for _, x in graph.writes)]:
        users[id(node)] = users.get(id(node), 0) + 2
    swapped: dict[int, Node] = {}
    for node in graph.nodes:
        product = node.inputs[0] if node.inputs else node
        rank = len(node.shape)
        if (
            node.primitive is permute_dims
            and product.primitive is matmul
            and users[id(product)] == 1
            and node.attrs["axes"] == (*range(rank - 2), rank - 1, rank - 2)
        ):
            sides = [_swap(x, node) for x in reversed(product.inputs)]
            swapped[id(node)] = g.apply(matmul, sides, {}, product)
    return swapped


def _staged_reductions(graph: Graph) -> dict[int, Node]:
    """Reductions over more axes than another one over the same shape are made in two steps, of
    which the first is over the axes of that one: so the rows that it goes through serve both."""
    by_shape: dict[Shape, list[tuple[int, ...]]] = {}
    for node in graph.nodes:
        if node.kind == "reduce":
            by_shape.setdefault(node.inputs[0].shape, []).append(node.attrs["axes"])
    staged: dict[int, Node] = {}
    for node in graph.nodes:
        if node.kind != "reduce":
            continue
        axes = set(node.attrs["axes"])
        fewer = [other for other in by_shape[node.inputs[0].shape] if axes > set(other)]
        if fewer:
            first = {"axes": max(fewer, key=len), "keepdims": True}
            row = g.apply(find(node.op), node.inputs, first, node)
            staged[id(node)] = g.apply(find(node.op), (row,), node.attrs, node)
    return staged


def _swap(x: Node, like: Node) -> Node:
    rank = len(x.shape)
    return g.apply(permute_dims, (x,), {"axes": (*range(rank - 2), rank - 1, rank - 2)}, like)


def _on(node: Node, inputs: tuple[Node, ...]) -> Node:
    """`node` on other inputs; itself if they are the same."""
    if inputs == node.inputs:
        return node
    return Node(
        "op", node.shape, node.dtype, primitive=node.primitive, inputs=inputs,
        attrs=node.attrs, source=node.source, layer=node.layer, region=node.region,
        order=node.order, backward=node.backward,
    )  # fmt: skip


def _key(node: Node) -> Any:
    """What makes two nodes equal."""
    if node.role == "op":
        attrs = tuple(node.attrs.items()) if node.attrs else ()
        return (id(node.primitive), tuple([id(x) for x in node.inputs]), attrs, node.region)
    if node.role == g.CONSTANT:
        value = g.uniform(node)
        if value is not None:
            return (g.CONSTANT, node.shape, node.dtype.char, value.tobytes())
        return (g.CONSTANT, id(node.payload))
    return (node.role, node.payload)


# -- the rules --------------------------------------------------------------------------------


@rule()
def fold_constants(node: Node) -> Node | None:
    """An op on constants alone is its value."""
    if not node.inputs:
        return None
    for x in node.inputs:
        if x.role != g.CONSTANT:
            return None
    if not all(g.is_readable(x.payload) for x in node.inputs):
        return None
    if node.size > g.MOST_READ and node.op != "broadcast_to":
        return None
    if node.op == "broadcast_to":
        return g.constant(np.broadcast_to(node.inputs[0].payload, node.shape), node)
    return _constant(node, [x.payload for x in node.inputs])


@rule("elementwise", "movement")
def fold_uniform(node: Node) -> Node | None:
    """An elementwise or movement op on uniform constants is a uniform constant of any size."""
    if not node.inputs or not node.size:
        return None
    values = []
    for x in node.inputs:
        value = g.uniform(x)
        if value is None:
            return None
        values.append(value)
    if node.kind == "movement":
        return g.constant(np.broadcast_to(values[0], node.shape), node)
    return _constant(node, [np.asarray(value) for value in values])


def _constant(node: Node, inputs: Sequence[Any]) -> Node | None:
    """The value of an op on `inputs`; None if it makes a NaN or an infinity of finite numbers: that
    is left to a kernel, where `debug_nans` sees it."""
    value = g.evaluate(node, inputs)
    if not is_finite(value) and all(map(is_finite, inputs)):
        return None
    return g.constant(np.broadcast_to(value, node.shape), node)


def _same(node: Node, x: Node) -> Node | None:
    """`x` in place of `node`, broadcast if it must be."""
    if x.dtype != node.dtype:
        return None
    if x.shape == node.shape:
        return x
    return g.apply(broadcast_to, (x,), {"shape": node.shape}, node)


def _is(node: Node, value: float) -> bool:
    found = g.uniform(node)
    return found is not None and bool(found == value)


@rule("multiply", "mul_no_nan")
def multiply_by_one(node: Node) -> Node | None:
    """x * 1 and mul_no_nan(x, 1) are x."""
    x, y = node.inputs
    if _is(y, 1):
        return _same(node, x)
    return _same(node, y) if _is(x, 1) and node.primitive is multiply else None


@rule("divide")
def divide_by_one(node: Node) -> Node | None:
    """x / 1 is x."""
    return _same(node, node.inputs[0]) if _is(node.inputs[1], 1) else None


@rule("mul_no_nan")
def product_of_known(node: Node) -> Node | None:
    """mul_no_nan(c, d) with a finite constant c that is not 0 is an ordinary product."""
    value = g.uniform(node.inputs[0])
    if value is None or value == 0 or not np.isfinite(value):
        return None
    return g.apply(multiply, node.inputs, {}, node)


@rule("negative")
def negate_twice(node: Node) -> Node | None:
    """-(-x) is x."""
    return node.inputs[0].inputs[0] if node.inputs[0].primitive is negative else None


@rule("movement")
def move_nothing(node: Node) -> Node | None:
    """A reshape or broadcast to the same shape, a permutation in order: x itself."""
    if node.primitive in (reshape, broadcast_to) and node.shape == node.inputs[0].shape:
        return node.inputs[0]
    if node.primitive is strided_slice and node.shape == node.inputs[0].shape:
        return None if min(node.attrs["steps"], default=1) < 0 else node.inputs[0]
    if node.primitive is permute_dims and node.attrs["axes"] == tuple(range(len(node.shape))):
        return node.inputs[0]
    return None


@rule("movement")
def move_once(node: Node) -> Node | None:
    """Reshape of a reshape, broadcast of a broadcast, permutation of a permutation: one move."""
    below = node.inputs[0]
    if node.primitive is None or below.primitive is not node.primitive:
        return None
    attrs = dict(node.attrs)
    if node.primitive is permute_dims:
        attrs["axes"] = tuple(below.attrs["axes"][a] for a in node.attrs["axes"])
    elif node.primitive is strided_slice:
        parts = zip(below.attrs["starts"], below.attrs["steps"], node.attrs["starts"], strict=True)
        attrs["starts"] = tuple([first + step * start for first, step, start in parts])
        pairs = zip(below.attrs["steps"], node.attrs["steps"], strict=True)
        attrs["steps"] = tuple([inner * outer for inner, outer in pairs])
    return g.apply(node.primitive, below.inputs, attrs, node)


@rule("reduce")
def sum_over_ones(node: Node) -> Node | None:
    """A sum or max over axes of size 1 only changes the shape."""
    if any(node.inputs[0].shape[a] != 1 for a in node.attrs["axes"]):
        return None
    return g.apply(reshape, node.inputs, {"shape": node.shape}, node)


@rule("astype")
def cast_to_same(node: Node) -> Node | None:
    """A cast to the dtype that x has is x."""
    return node.inputs[0] if node.inputs[0].dtype == node.dtype else None
