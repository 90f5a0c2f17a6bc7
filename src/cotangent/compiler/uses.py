"""What is used how in a graph: what fusion has to know before it groups anything."""

from __future__ import annotations

from .graph import Graph, Node
from .views import same_elements, squeeze


def single_uses(graph: Graph) -> set[int]:
    """The ids of elementwise nodes that are used once, by an elementwise node or a reduction that
    runs over the same elements. Such a node can always be computed where it is used."""
    users: dict[int, list[Node]] = {}
    for node in graph.nodes:
        if node.kind == "movement" and same_elements(node) is not node:
            continue  # transparent: its own users count
        for x in node.inputs:
            users.setdefault(id(same_elements(x)), []).append(node)
    leaving = {id(same_elements(x)) for x in graph.outputs}
    leaving |= {id(same_elements(x)) for _, x in graph.writes}
    inlined = set()
    for node in graph.nodes:
        found = users.get(id(node), [])
        if node.kind == "elementwise" and len(found) == 1 and id(node) not in leaving:
            over = found[0].inputs[0] if found[0].kind == "reduce" else found[0]
            same = squeeze(over.shape) == squeeze(node.shape)
            if same and found[0].kind in ("elementwise", "reduce"):
                inlined.add(id(node))
    return inlined


def varying_sizes(graph: Graph) -> frozenset[int]:
    """The lengths of the arguments (their leading axes) that no variable has for a size. Kernels do
    not have them in their text, so that a batch of another size needs no new ones."""
    lengths = {node.shape[0] for node in graph.arguments if node.shape}
    return frozenset(lengths - {n for node in graph.variables for n in node.shape} - {1})
