"""Which trees of elementwise nodes the kernel of a product takes up: its epilogue.

Bias, activation, residual sum, mask, cast; and the update of a weight, if the product is its
gradient: then all of it is part of the commit. A product that something else needs as well, before
the commit, leaves the update to loops, which can be in the commit without it.

What does not pay is refused: see "epilogue" in docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import graph as g
from .codegen.blocking import pays
from .graph import Graph, Node
from .groups import Group
from .views import same_elements, squeeze

# A product of so many rows may fill its vectors badly; of more, with so much more of them at most.
_FEW_ROWS, _MOST_UNUSED = 4, 1.25
# Bytes of a product that stays in the second-level cache.
_FEW_BYTES = 1 << 20
# Nodes of an update that takes less time than to move what it reads and writes.
_LIGHT_UPDATE = 12


class Epilogues:
    """What has to be known of a graph to say what is an epilogue.

    Attributes:
        updates: the ids of nodes of which nothing is made but new values of variables, element by
            element -> the ids of the nodes that lie on the way.
        summed: the ids of nodes whose elements a reduction goes through, perhaps after ops with
            themselves or with arguments, variables and constants.
        written: the numbers of the variables that are written.
    """

    def __init__(self, graph: Graph) -> None:
        self.written = {number for number, _ in graph.writes}
        self.updates: dict[int, set[int]] = {}
        self.summed: set[int] = set()
        users: dict[int, list[Node]] = {}
        for node in graph.nodes:
            for x in node.inputs:
                users.setdefault(id(x), []).append(node)
        self._find_updates(graph, users)
        for node in reversed(graph.nodes):
            if any(self._is_sum(x, node) for x in users.get(id(node), [])):
                self.summed.add(id(node))

    def _is_sum(self, user: Node, node: Node) -> bool:
        """Whether a use of `node` leads to a reduction by a way that needs nothing else."""
        if user.kind == "reduce":
            return True
        alone = all(x is node or _base(x).role != "op" for x in user.inputs)
        return id(user) in self.summed and alone and _at_its_place(user, node)

    def _find_updates(self, graph: Graph, users: dict[int, list[Node]]) -> None:
        leaving = {id(node) for node in graph.outputs}
        written = {id(node) for _, node in graph.writes}
        for node in reversed(graph.nodes):
            above = users.get(id(node), [])
            if id(node) in leaving or not (above or id(node) in written):
                continue
            if all(id(x) in self.updates and _at_its_place(x, node) for x in above):
                self.updates[id(node)] = set().union(
                    *(self.updates[id(x)] | {id(x)} for x in above)
                )

    def refusal(self, product: Group, tree: Sequence[Node]) -> str | None:
        """Why a tree over the elements of a product cannot be its epilogue; None if it can.

        Args:
            product: the group of the product.
            tree: the nodes, the last of which is the root.
        """
        node, root = product.nodes[0], tree[-1]
        if node.inputs[0].shape[-1] == 0 or node.size == 0:
            return "there is nothing to add up"
        read = [x for one in tree for x in (one, *one.inputs) if g.uniform(x) is None]
        if node.dtype.itemsize < 8 and any(x.dtype.itemsize == 8 for x in read):
            return "its elements take twice the vectors that those of the product do"
        if not _fills_vectors(node):
            return "rows of the product do not fill vectors"
        if id(root) in self.summed and node.size * node.dtype.itemsize <= _FEW_BYTES:
            return "a reduction goes through its elements anyway"
        return self._refused_update(node) if id(root) in self.updates else None

    def _refused_update(self, node: Node) -> str | None:
        """Why new values of variables are not made in the epilogue of `node`."""
        if id(node) not in self.updates:
            return "the product is needed before variables may change"
        sides = [_base(x) for x in node.inputs]
        if any(x.role == g.VARIABLE and x.payload in self.written for x in sides):
            return "the product reads a variable that changes"
        if len(self.updates[id(node)]) > _LIGHT_UPDATE:
            return "the update takes longer to compute than its elements take to be moved"
        if not pays(node.shape[-2], node.shape[-1], node.inputs[0].shape[-1]):
            return "a product without packing does not go along rows, as an update should"
        return None


def _fills_vectors(node: Node) -> bool:
    """Whether going through a product row by row takes few vectors more than it has."""
    lanes = 8 if node.dtype.itemsize == 8 else 16
    rows = node.size // node.shape[-1]
    vectors = rows * -(-node.shape[-1] // lanes)
    return rows <= _FEW_ROWS or vectors <= _MOST_UNUSED * -(-node.size // lanes)


def _at_its_place(node: Node, x: Node) -> bool:
    """Whether `node` is made of its input `x` element by element."""
    moves = node.kind == "movement" and same_elements(node) is not node
    return (moves or node.kind == "elementwise") and squeeze(node.shape) == squeeze(x.shape)


def _base(node: Node) -> Node:
    while node.kind == "movement":
        node = node.inputs[0]
    return node


def described(tree: Sequence[Node], why: str) -> str:
    """What a product's group says of a tree that it did not take up."""
    ops = " ".join(node.op for node in tree[:4])
    return f"; {ops}{' ...' if len(tree) > 4 else ''} is no epilogue of it: {why}"
