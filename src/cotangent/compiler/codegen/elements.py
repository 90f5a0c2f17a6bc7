"""One vector of elements of a nest: what is loaded, computed and stored for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...dtypes import DType
from ...errors import CompileError
from ..graph import Node
from .emitter import Value
from .kernel import KernelEmitter, lanes_for
from .nest import Nest, Operand, Row
from .parts import combine, identity


class ElementEmitter:
    """Writes the nodes of one phase of a nest at one vector; the loops are built around it.

    Pointers are kept by the key of a load or the id of a node (see `Nest`); `j` is where on the
    last axis the vector begins, None where there is nothing to go along.

    Attributes:
        kept, inner, last: the axes that stay and that are reduced, without the last, and the last.
        last_reduced: whether the last axis is reduced.
        nodes, reductions: of the present phase.
        row_values: the values of the present row, by the id of the node.
        fetches: whether a phase has what the next one meets first brought into the cache.
        lines_per_vector: how long the text for a vector is, to guess at the time it takes.
    """

    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        self.copying = nest.copying
        self.e = KernelEmitter(lanes_for(self._dtypes()) if nest.sizes else 1, nest.fusion.varying)
        self.row_values: dict[int, Value] = {}
        self.lines_per_vector = 0
        self._enter(0)
        last = len(nest.sizes) - 1
        self.kept = [i for i, r in enumerate(nest.reduced) if not r and i != last]
        self.inner = [i for i, r in enumerate(nest.reduced) if r and i != last]
        self.last = last
        self.last_reduced = last >= 0 and nest.reduced[last]
        self.fetches = nest.phases > 1 and self.last_reduced and bool(self.kept)

    def _dtypes(self) -> list[DType]:
        found = [operand.node.dtype for operand in self.nest.loads.values()]
        return found + [node.dtype for node in self.nest.group.nodes]

    def _enter(self, phase: int) -> None:
        """Write the loops of `phase` from here on."""
        self.phase = phase
        self.nodes = self.nest.nodes_of(phase)
        self.reductions = [x for x in self.nodes if self.nest.has_rows(x) and x.kind == "reduce"]

    # -- pointers -------------------------------------------------------------------------

    def _step_into(self, axis: int, i: str, pointers: dict[Any, str]) -> dict[Any, str]:
        """The pointers at position `i` of `axis`."""
        moved = {}
        for key, pointer in pointers.items():
            operand = self._operand(key)
            stride = operand.strides[axis] * operand.node.dtype.itemsize
            moved[key] = self._offset(pointer, i, stride)
        return moved

    def _offset(self, pointer: str, i: str, stride: int) -> str:
        return (
            pointer if stride == 0 else self.e.offset(pointer, i, self.e.integer(stride, "stride"))
        )

    def _operand(self, key: Any) -> Operand:
        nest = self.nest
        found = nest.loads.get(key) or nest.scratch.get(key) or nest.columns.get(key)
        if found is not None:
            return found
        return next(operand for node, operand in self.nest.stores if id(node) == key)

    # -- the body -------------------------------------------------------------------------

    def _at_vector(self, pointers: dict[Any, str], key: Any, j: str) -> str:
        operand = self._operand(key)
        step = operand.strides[self.last] * operand.node.dtype.itemsize
        if step == 0 or j == "0":
            return pointers[key]
        if operand.strides[self.last] == 1:
            return self.e.offset(pointers[key], j, str(step))
        return self._offset(pointers[key], j, step)

    def _compute(
        self, pointers: dict[Any, str], j: str | None, totals: Sequence[Value]
    ) -> list[Value]:
        """All nodes at one vector of the last axis; the new totals of the reductions."""
        before = len(self.e.lines)
        values: dict[Any, Value] = {}
        after: list[Value] = []
        for node in self.nodes:
            inputs = [
                self._input(node, i, pointers, j, values)
                for i in range(1 if self.copying else len(node.inputs))
            ]
            if self.copying:
                values[id(node)] = inputs[0]
            elif id(node) in self.nest.columns:
                at = self._at_vector(pointers, id(node), str(j))
                self.e.store(combine(self.e, node, self.e.load(at, node.dtype), inputs[0]), at)
            elif node.kind == "reduce":
                total = totals[len(after)]
                after.append(self._accumulate(node, total, inputs[0]))
            else:
                values[id(node)] = self._apply(node, inputs)
        stored: list[Node] = []
        for node in self.nodes:
            first = self.copying or self.nest.phase[id(node)] == self.phase
            if first and id(node) in values and id(node) in pointers:
                at = pointers[id(node)] if j is None else self._at_vector(pointers, id(node), j)
                self.e.store(values[id(node)], at)
                stored.append(node)
        self.lines_per_vector = len(self.e.lines) - before
        watched = self.nest.fusion.watched
        self.e.check(
            [(values[id(x)], watched[id(x)]) for x in self._by_length(stored) if id(x) in watched]
        )
        if self.fetches and j is not None:
            self._prefetch(pointers, j)
        return after

    def _by_length(self, nodes: Sequence[Node]) -> list[Node]:
        """`nodes`, by how many ops come one after the other until they are computed."""
        length: dict[int, int] = {}
        for node in self.nodes:
            operands = [self.nest.operands.get((id(node), i)) for i in range(len(node.inputs))]
            length[id(node)] = 1 + max((length.get(id(x), 0) for x in operands), default=0)
        return sorted(nodes, key=lambda node: length[id(node)])

    def _prefetch(self, pointers: dict[Any, str], j: str) -> None:
        """Have brought into the cache what the next phase stores, and, in the phase before the last
        one, the next row: the processor looks ahead within a phase, and not into the next one."""
        for node, operand in self.nest.stores:
            if self.nest.phase[id(node)] == self.phase + 1 and operand.strides[self.last] == 1:
                self.e.prefetch(self._at_vector(pointers, id(node), j), write=True)
        if self.phase != self.nest.phases - 2:
            return
        axis = self.kept[-1]
        for key, operand in self.nest.loads.items():
            if operand.strides[axis] and operand.strides[self.last] == 1:
                step = self.e.integer(operand.strides[axis] * operand.node.dtype.itemsize, "stride")
                self.e.prefetch(self.e.offset(self._at_vector(pointers, key, j), "1", step))

    def _input(
        self, node: Node, i: int, pointers: dict[Any, str], j: str | None, values: dict[Any, Value]
    ) -> Value:
        operand = self.nest.operands[id(node), i]
        if isinstance(operand, Row):
            return self.row_values[id(operand.node)]
        if isinstance(operand, Node):
            if id(operand) not in values:  # an earlier phase had it
                values[id(operand)] = self._load(id(operand), pointers, j)
            return values[id(operand)]
        if operand in values:
            return values[operand]
        if operand in self.nest.loads:
            values[operand] = self._load(operand, pointers, j)
            return values[operand]
        return self.e.literal(*operand)

    def _load(self, key: Any, pointers: dict[Any, str], j: str | None) -> Value:
        operand = self._operand(key)
        dtype = operand.node.dtype
        if j is None:
            return self.e.load_one(pointers[key], dtype)
        at, stride = self._at_vector(pointers, key, j), operand.strides[self.last]
        if operand.node.role == "scratch" and not self.last_reduced:
            return self.e.load(at, dtype)
        if stride == 0:
            return self.e.load_one(at, dtype)
        if stride == 1:
            return self.e.load(at, dtype)
        return self.e.load_strided(at, self.e.integer(stride * dtype.itemsize, "stride"), dtype)

    def _apply(self, node: Node, inputs: list[Value]) -> Value:
        if node.primitive is None or node.primitive.lower is None:
            raise CompileError(f"the compiler has no lowering for {node.where()}")
        value: Value = node.primitive.lower(self.e, *inputs, **node.attrs)
        return value

    # -- reductions -----------------------------------------------------------------------

    def _identities(self) -> list[Value]:
        return [self.e.constant(identity(node), node.dtype) for node in self.reductions]

    def _combine(self, node: Node, x: Value, y: Value) -> Value:
        return combine(self.e, node, x, y)

    def _accumulate(self, node: Node, total: Value, value: Value) -> Value:
        if self.e.mask is not None and self.last_reduced:
            nothing = self.e.constant(identity(node), node.dtype)
            value = self.e.select(self.e.mask, value, nothing)
        return self._combine(node, total, value)
