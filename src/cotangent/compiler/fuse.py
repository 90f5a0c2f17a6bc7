"""Fusion: which nodes are computed together, in one loop nest.

Elementwise nodes join the loops of their inputs when they run over the same elements; a
reduction swallows the loops that produce its input. Where rows are short, what reads the result
of a row's reduction joins too: the kernel goes through the row once more, while it is in the
first-level cache. So a softmax, a layer norm and their gradients are one group. A group never
contains a value that depends on it through another group, so the groups can be put in an order.
Moves are views and cost nothing; a copy is made only where no strides describe the result.
"""

from __future__ import annotations

from collections import Counter

from ..dtypes import is_float
from ..errors import CompileError
from ..shapes import Shape, contiguous_strides
from . import graph as g
from .epilogues import Epilogues, described
from .graph import Graph, Node
from .groups import MOST_NODES, Group, can_absorb, can_reduce, has_short_rows, in_order, sum_by_rows
from .ranges import Range
from .uses import single_uses, varying_sizes
from .views import View, move, over, same_elements, spread, squeeze, whole

# So many rows of a product share what it costs to transpose its right side in registers.
_FEW_ROWS = 6
# Kinds of ops that have a kernel of their own, and those among them that read row-major inputs.
_ALONE = {"matmul", "assemble", "gather", "ordered", "scatter", "triangular"}
_DENSE = {"gather", "ordered", "scatter", "triangular"}


class Fusion:
    """The groups of a graph.

    Attributes:
        groups: in an order in which they can run.
        stored: id(node) -> node, for every value that lives in memory.
        writes, outputs: as in the graph, with nodes whose memory holds nothing else.
        varying: sizes that the next call may well have different, such as that of the batch.
        watched: under `debug_nans`, ids of stored nodes of floats, those that leave the graph among
            them; their kernels report what is not in the range that is here, None for all that is
            finite.
    """

    def __init__(self, graph: Graph, watch: bool) -> None:
        self.graph = graph
        self.watched: dict[int, Range | None] = {}
        self.groups: list[Group] = []
        self.stored: dict[int, Node] = {}
        self.varying = varying_sizes(graph)
        self._group_of: dict[int, Group] = {}
        self._views: dict[int, View] = {}
        self._inlined = single_uses(graph)
        self._rights = Counter(id(x.inputs[1]) for x in graph.nodes if x.kind == "matmul")
        self._epilogues = Epilogues(graph)
        self._now = 0
        for self._now, node in enumerate(graph.nodes):
            if node.role == "op" and id(node) not in self._inlined:
                self._place(node)
        self._finish()
        if watch:
            self._watch()

    # -- reading values -------------------------------------------------------------------

    def view(self, node: Node) -> View:
        """How to read `node` from memory. What it is a view of has to be stored."""
        found = self._views.get(id(node))
        if found is None:
            found = self._views[id(node)] = self._make_view(node)
        return found

    def _make_view(self, node: Node) -> View:
        if node.kind != "movement":
            return whole(node)
        below = self.view(node.inputs[0])
        return move(node, below) or self._copy(node, below, "loops")

    def _copy(self, node: Node, below: View, kind: str) -> View:
        """Store `node` on its own; `below` has the same elements in the same order."""
        group = self._new_group(kind, squeeze(below.shape))
        group.nodes.append(node)
        group.source = below
        group.why = "a copy: no strides describe this view"
        self._store(below.base)
        group.before |= self._closure(below.base)
        self._group_of[id(node)] = group
        self._store(node)
        return whole(node)

    def contiguous_last(self, node: Node) -> View:
        """A view of `node` whose last axis lies densely; made by a transposing copy if need be."""
        view = self.view(node)
        if view.shape[-1] == 1 or view.strides[-1] == 1:
            return view
        key = -id(node)
        if key not in self._views:
            kind = "transpose" if view.strides[-2:-1] == (1,) else "loops"
            self._views[key] = self._copy(twin(node), view, kind)
        return self._views[key]

    def right_side(self, node: Node) -> View:
        """How a product reads its right side: by dense rows, if need be of a copy; or by dense
        columns, where there are so few rows on the left that a copy for it alone costs more."""
        right, (m, k) = node.inputs[1], node.inputs[0].shape[-2:]
        view = self.view(right)
        few = 1 <= m <= _FEW_ROWS and k > 0 and not self.varying & {m, k, *right.shape[-1:]}
        if few and view.strides[-2] == 1 and right.size and self._rights[id(right)] == 1:
            return view
        return self.contiguous_last(right)

    def own_value(self, group: Group, node: Node) -> Node | None:
        """The node of `group` that computes the elements of `node` at the same position, if any."""
        below = same_elements(node)
        computed = below.kind == "elementwise" or (
            below.kind == "matmul" and group.nodes[0] is below
        )
        inside = computed and self._group_of.get(id(below)) is group
        return below if inside and squeeze(below.shape) == squeeze(group.domain) else None

    def row_value(self, group: Group, node: Node, shape: Shape) -> Node | None:
        """The node of `group` with one value for each row that `node` is, or repeats along the
        rows, where it is read over `shape`; if any."""
        if group.reduced is None:
            return None
        base = self._base(node)
        if self._group_of.get(id(base)) is not group:
            return None
        view = self._view_of(base, node) if group.has_rows(base) else None
        if view is None or view.offset:
            return None
        dense = contiguous_strides(group.kept)
        wanted = dense
        if squeeze(shape) == group.domain:
            rest = iter(dense)
            wanted = tuple([0 if r else next(rest) for r in group.reduced])
        return base if spread(view, shape) == wanted else None

    def is_inside(self, group: Group, node: Node, x: Node) -> bool:
        """Whether input `x` of `node`, in `group`, is a value of the group and not in memory."""
        own = self.own_value(group, x) or self.row_value(group, x, over(node))
        return own is not None

    def _view_of(self, base: Node, node: Node) -> View | None:
        """How `node`, moves of `base`, would be read if `base` were stored; None if by a copy."""
        moves = []
        while node is not base:
            moves.append(node)
            node = node.inputs[0]
        view: View | None = whole(base)
        for step in reversed(moves):
            view = None if view is None else move(step, view)
        return view

    # -- placing nodes --------------------------------------------------------------------

    def _place(self, node: Node) -> None:
        if node.kind in ("elementwise", "reduce"):
            self._place_in_loops(node)
        elif node.kind in _ALONE:
            self._place_alone(node)
        elif node.kind != "movement":
            raise CompileError(
                f"the compiler has no loops for ops of kind {node.kind!r}: {node.where()}"
            )

    def _place_alone(self, node: Node) -> None:
        views = [self.view(x) for x in node.inputs if _is_read(node, x)]
        if node.kind == "matmul":
            views[1] = self.right_side(node)
        elif node.kind in _DENSE:
            views = [self._dense(x) for x in node.inputs]
        group = self._new_group(node.kind, node.shape)
        group.nodes.append(node)
        group.why = f"{node.op} has a kernel of its own"
        for view in views:
            self._store(view.base)
            group.before |= self._closure(view.base)
        self._group_of[id(node)] = group
        if node.kind != "matmul":  # of which perhaps only an epilogue is stored
            self._store(node)

    def _dense(self, node: Node) -> View:
        """A row-major view of `node`, by a copy if need be."""
        view = self.view(node)
        if not view.offset and view.strides == contiguous_strides(view.shape):
            return view
        key = -id(node)
        if key not in self._views:
            self._views[key] = self._copy(twin(node), view, "loops")
        return self._views[key]

    def dense(self, node: Node) -> View:
        """The row-major view that the gather and scatter kernels read."""
        return self._views.get(-id(node)) or self.view(node)

    def _place_in_loops(self, root: Node) -> None:
        """Place `root` with the tree of values that are used only in computing it."""
        domain = squeeze(over(root))
        reduced = None
        if root.kind == "reduce":
            axes = root.attrs["axes"]
            reduced = tuple(i in axes for i, n in enumerate(over(root)) if n != 1)
        tree = self._tree(root)
        outside = self._outside(tree)
        group = self._join(outside, root, domain, reduced, tree)
        for x, _ in outside:
            self._absorb(group, self._group_of.get(id(same_elements(x))), outside)
        if reduced is not None:
            if group.reduced not in (None, reduced):
                group.columns.add(id(root))
            else:
                group.reduced = reduced
        for node in tree:
            self._group_of[id(node)] = group
        group.nodes += tree
        group.last = self._now
        for x, shape in outside:
            if self.own_value(group, x) is None and self.row_value(group, x, shape) is None:
                view = self.view(x)
                self._store(view.base)
                group.before |= self._closure(view.base)
        self._spread(group)

    def _tree(self, root: Node) -> list[Node]:
        """`root` and what was inlined below it, each after its inputs."""
        order: list[Node] = []
        stack = [(root, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
                continue
            stack.append((node, True))
            for x in reversed(node.inputs):
                below = same_elements(x)
                if id(below) in self._inlined:
                    stack.append((below, False))
        return order

    def _outside(self, tree: list[Node]) -> list[tuple[Node, Shape]]:
        """What the nodes of a tree read that the tree does not compute, and over which shape."""
        inside = {id(node) for node in tree}
        return [
            (x, over(node))
            for node in tree for x in node.inputs
            if g.uniform(x) is None and id(same_elements(x)) not in inside
        ]  # fmt: skip

    def _join(
        self, outside: list[tuple[Node, Shape]], root: Node, domain: Shape,
        reduced: tuple[bool, ...] | None, tree: list[Node],
    ) -> Group:  # fmt: skip
        """The latest group that the tree of `root` can join, or a new one."""
        why = "nothing before it runs over the same elements"
        if root.kind == "elementwise":
            for group in self._row_candidates(outside, domain):
                if self._refusal(group, outside, None, len(tree)) is None:
                    group.rows |= {id(node) for node in tree}
                    return group
            for group in self._products(outside, domain):
                refused = self._refusal(group, outside, None, len(tree))
                refused = refused or self._epilogues.refusal(group, tree)
                if refused is None:
                    return group
                if refused not in group.why:
                    group.why += described(tree, refused)
        for group in self._candidates([x for x, _ in outside], root, domain):
            refusal = self._refusal(group, outside, reduced, len(tree))
            if refusal is None:
                return group
            why = refusal
        group = self._new_group("loops", domain)
        group.why = why
        return group

    def _candidates(self, outside: list[Node], root: Node, domain: Shape) -> list[Group]:
        """Groups over the same domain, the latest first: those that compute what the tree reads,
        else those that read what it reads; for scalars, all groups."""
        same = [x for x in self.groups if x.kind == "loops" and x.domain == domain]
        if domain == ():
            return same[::-1]
        makers = {id(self._group_of.get(id(self._base(x)))) for x in outside}
        found = [x for x in same if id(x) in makers]
        if not found:
            size = root.inputs[0].size if root.kind == "reduce" else root.size
            read = {id(self._base(x)) for x in outside if x.size == size}
            found = [x for x in same if read & self._reads(x, size)]
        # Row programs first: they can take up the loops of the others.
        found.reverse()
        return sorted(found, key=lambda x: not x.reduced or not has_short_rows(x))

    def _products(self, outside: list[tuple[Node, Shape]], domain: Shape) -> list[Group]:
        """Groups of products of which the tree, over `domain`, reads values at the same elements;
        the latest first."""
        makers = {id(self._group_of.get(id(same_elements(x)))) for x, _ in outside}
        return [
            x for x in reversed(self.groups)
            if x.kind == "matmul" and id(x) in makers and squeeze(x.domain) == domain
            and any(self.own_value(x, y) is not None for y, _ in outside)
        ]  # fmt: skip

    def _row_candidates(self, outside: list[tuple[Node, Shape]], domain: Shape) -> list[Group]:
        """Groups that compute a reduction which the tree, over `domain`, reads row by row; the
        latest first."""
        makers = {id(self._group_of.get(id(self._base(x)))) for x, _ in outside}
        return [
            x for x in reversed(self.groups)
            if id(x) in makers and x.reduced and x.domain != domain and x.kept == domain
            and 0 not in x.domain and has_short_rows(x)
        ]  # fmt: skip

    def _reads(self, group: Group, size: int) -> set[int]:
        return {id(self._base(x)) for node in group.nodes for x in node.inputs if x.size == size}

    @staticmethod
    def _base(node: Node) -> Node:
        while node.kind == "movement":
            node = node.inputs[0]
        return node

    def _refusal(
        self, group: Group, outside: list[tuple[Node, Shape]],
        reduced: tuple[bool, ...] | None, count: int,
    ) -> str | None:  # fmt: skip
        """Why a tree cannot join `group`, or None if it can."""
        if group.source is not None:
            return "the group before it is a copy"
        if len(group.nodes) + count > MOST_NODES:
            return f"the group before it has {len(group.nodes)} nodes"
        if reduced is not None and not can_reduce(group, reduced):
            return "its reduction runs over other axes than the group's"
        before = 0
        for x, shape in outside:
            if self.own_value(group, x) is not None:
                continue
            if self.row_value(group, x, shape) is None:
                before |= self._closure(self._base(x))
            elif not has_short_rows(group):
                return "the rows that it would go through again are too long"
        if before & group.bit:
            return "it needs a value that the group before it has only when its loops are done"
        return None

    def _absorb(self, group: Group, other: Group | None, outside: list[tuple[Node, Shape]]) -> None:
        """Do what `other` does in the loops of `group`, if that is possible: a tree that is about
        to join the group reads `outside`."""
        if other is None or other is group or not can_absorb(group, other):
            return
        for x, _ in outside:
            made = self._group_of.get(id(self._base(x)))
            direct = made is other and self.own_value(other, x) is not None
            if not direct and self._closure(self._base(x)) & other.bit:
                return  # the tree needs `other` to be done before
        for node in other.nodes:
            self._group_of[id(node)] = group
        group.nodes[:0] = other.nodes
        group.before |= other.before
        other.nodes, other.before = [], 0
        for later in self.groups:
            if later.before & other.bit:
                later.before |= group.bit | group.before

    def _closure(self, base: Node) -> int:
        """The groups that must have run for `base` to be in memory."""
        group = self._group_of.get(id(base))
        return 0 if group is None else group.bit | group.before

    def _spread(self, group: Group) -> None:
        """Tell the groups after `group` what must run before it."""
        for other in self.groups:
            if other.before & group.bit:
                other.before |= group.before

    def _new_group(self, kind: str, domain: Shape) -> Group:
        group = Group(kind, len(self.groups), domain)
        group.last = self._now
        self.groups.append(group)
        return group

    def _store(self, node: Node) -> None:
        self.stored.setdefault(id(node), node)

    # -- the end --------------------------------------------------------------------------

    def _own(self, node: Node, taken: set[int]) -> Node:
        """The node in whose memory the value of `node` lies, and nothing else: by a copy if
        need be."""
        view = self.view(node)
        base = view.base
        dense = base.role == "op" and base.size == node.size and same_elements(node) is base
        if not dense or id(base) in taken:
            base = self._copy(twin(node), view, "loops").base
        taken.add(id(base))
        self._store(base)
        return base

    def _finish(self) -> None:
        """Give what leaves the graph memory of its own, and put the groups in order."""
        taken: set[int] = set()
        self.writes = [(number, self._own(node, taken)) for number, node in self.graph.writes]
        self.outputs = [self._own(node, taken) for node in self.graph.outputs]
        for node in self.graph.checks:
            if id(node) not in self._inlined:
                self._store(node)  # what is stored is computed
        for group in self.groups:
            group.stored = [node for node in group.nodes if id(node) in self.stored]
            sum_by_rows(group)
        self.groups = [x for x in in_order(self.groups) if x.stored]

    def _watch(self) -> None:
        """Watch what leaves the graph, but for copies of what came in."""
        for node in (*self.outputs, *(node for _, node in self.writes)):
            source = self._group_of[id(node)].source
            if is_float(node.dtype) and (source is None or source.base.role == "op"):
                self.watched[id(node)] = None


def _is_read(node: Node, x: Node) -> bool:
    """Whether the kernel of `node` reads `x` from memory, rather than as a number in its text."""
    return node.kind != "assemble" or g.uniform(x) is None


def twin(node: Node) -> Node:
    """A second node for the same value, to hold a copy of it."""
    return Node(
        "op", node.shape, node.dtype, primitive=node.primitive, inputs=node.inputs,
        attrs=node.attrs, source=node.source, layer=node.layer, region=node.region,
        order=node.order, backward=node.backward,
    )  # fmt: skip


def fuse(graph: Graph, watch: bool = False) -> Fusion:
    """Group the nodes of `graph` into kernels; those of a program for `debug_nans`, if `watch`,
    report results and new values of variables that are not finite."""
    return Fusion(graph, watch)


__all__ = ["Fusion", "Group", "fuse"]
