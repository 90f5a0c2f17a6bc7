"""Loop nests: elementwise groups and reductions.

The loops run over the group's domain, collapsed where the strides allow. The last axis is cut
into vectors. Axes that stay are outside, axes that are reduced inside; a reduction of the last
axis keeps one partial result a lane and combines the lanes by a fixed tree at the end.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...dtypes import DType
from ...errors import CompileError
from ...shapes import Shape, contiguous_strides
from .. import graph as g
from ..fuse import Fusion, Group
from ..graph import Node
from ..views import View
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for

_VECTORS_PER_BLOCK = 64


class _Operand:
    """Memory that the nest reads or writes, with offset and strides in elements over the domain."""

    __slots__ = ("node", "strides", "offset")

    def __init__(self, node: Node, strides: Shape, offset: int = 0) -> None:
        self.node = node
        self.strides = strides
        self.offset = offset


class _Nest:
    """What a group reads, computes and writes, over the collapsed domain."""

    def __init__(self, fusion: Fusion, group: Group) -> None:
        self.fusion = fusion
        self.group = group
        self.loads: dict[Any, _Operand] = {}
        self.operands: dict[tuple[int, int], Any] = {}
        self.stores: list[tuple[Node, _Operand]] = []
        self._read()
        self._write()
        self.sizes, self.reduced = self._collapse()

    def _read(self) -> None:
        """Decide for every input of every node: a literal, a value of this nest, or a load."""
        if self.group.source is not None:
            self._load(self.group.nodes[0], 0, self.group.source, self.group.source.shape)
            return
        for node in self.group.nodes:
            over = node.inputs[0].shape if node.kind == "reduce" else node.shape
            for i, x in enumerate(node.inputs):
                literal = g.uniform(x)
                own = self.fusion.own_value(self.group, x)
                if literal is not None:
                    self.operands[id(node), i] = (literal, x.dtype)
                elif own is not None:
                    self.operands[id(node), i] = own
                else:
                    self._load(node, i, self.fusion.view(x), over)

    def _load(self, node: Node, i: int, view: View, over: Shape) -> None:
        strides = spread(view, over)
        key = (id(view.base), strides, view.offset)
        self.loads.setdefault(key, _Operand(view.base, strides, view.offset))
        self.operands[id(node), i] = key

    def _write(self) -> None:
        domain = self.group.domain
        for node in self.group.stored:
            if node.kind == "reduce" and self.group.source is None:
                kept = tuple(
                    n for n, r in zip(domain, self.group.reduced or (), strict=True) if not r
                )
                dense = iter(contiguous_strides(kept))
                strides = tuple(0 if r else next(dense) for r in self.group.reduced or ())
            else:
                strides = contiguous_strides(domain)
            self.stores.append((node, _Operand(node, strides)))

    def _collapse(self) -> tuple[list[int], list[bool]]:
        """Join neighbouring axes through which every operand steps evenly."""
        operands = [*self.loads.values(), *(operand for _, operand in self.stores)]
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


def spread(view: View, over: Shape) -> Shape:
    """The strides of `view` over the axes of `over`, to which it broadcasts, without those of
    size 1."""
    lead = len(over) - len(view.shape)
    strides = []
    for i, n in enumerate(over):
        if n != 1:
            inside = i >= lead and view.shape[i - lead] != 1
            strides.append(view.strides[i - lead] if inside else 0)
    return tuple(strides)


class _LoopEmitter:
    """Writes the kernel of one nest."""

    def __init__(self, nest: _Nest) -> None:
        self.nest = nest
        self.nodes = nest.group.nodes
        self.copying = nest.group.source is not None
        sizes = nest.sizes
        self.e = KernelEmitter(lanes_for(self._dtypes()) if sizes else 1)
        self.reductions = [
            node for node in self.nodes if node.kind == "reduce" and not self.copying
        ]
        last = len(sizes) - 1
        kept = [i for i, r in enumerate(nest.reduced) if not r and i != last]
        inner = [i for i, r in enumerate(nest.reduced) if r and i != last]
        self.kept, self.inner, self.last = kept, inner, last
        self.last_reduced = bool(sizes) and nest.reduced[last]

    def _dtypes(self) -> list[DType]:
        found = [operand.node.dtype for operand in self.nest.loads.values()]
        return found + [node.dtype for node in self.nodes]

    def emit(self) -> Kernel:
        """The whole kernel."""
        pointers = {key: self.e.address(o.node, o.offset) for key, o in self.nest.loads.items()}
        for node, operand in self.nest.stores:
            pointers[id(node)] = self.e.address(operand.node)
        self._kept_loops(0, pointers)
        elements = math.prod(self.nest.sizes)
        touched = [operand.node for operand in self.nest.loads.values()]
        touched += [node for node, _ in self.nest.stores]
        moved = sum(node.size * node.dtype.itemsize for node in touched)
        return self.e.finish(elements * len(self.nodes), moved)

    # -- loops ----------------------------------------------------------------------------

    def _step_into(self, axis: int, i: str, pointers: dict[Any, str]) -> dict[Any, str]:
        """The pointers at position `i` of `axis`."""
        moved = {}
        for key, pointer in pointers.items():
            operand = self._operand(key)
            stride = operand.strides[axis] * operand.node.dtype.itemsize
            moved[key] = self._offset(pointer, i, stride)
        return moved

    def _offset(self, pointer: str, i: str, stride: int) -> str:
        return pointer if stride == 0 else self.e.offset(pointer, i, self.e.integer(stride))

    def _operand(self, key: Any) -> _Operand:
        found = self.nest.loads.get(key)
        if found is not None:
            return found
        return next(operand for node, operand in self.nest.stores if id(node) == key)

    def _kept_loops(self, depth: int, pointers: dict[Any, str]) -> None:
        if depth < len(self.kept):
            axis = self.kept[depth]

            def body(i: str, carried: list[Value]) -> Sequence[Value]:
                self._kept_loops(depth + 1, self._step_into(axis, i, pointers))
                return carried

            self.e.loop(self.e.integer(self.nest.sizes[axis]), 1, [], body)
        elif self.last < 0:
            self._compute(pointers, None, [])
        elif self.last_reduced:
            totals = self._inner_loops(0, pointers, self._identities(), vector=True)
            for node, total in zip(self.reductions, totals, strict=True):
                joined = self.e.across_lanes(functools.partial(self._combine, node), total)
                self._store_reduced(node, joined, pointers, first=True)
        else:
            self._vectors_outside(pointers)

    def _vectors_outside(self, pointers: dict[Any, str]) -> None:
        """The last axis stays: each vector of it goes through the reduced axes by itself."""

        def body(j: str, carried: list[Value]) -> Sequence[Value]:
            if not self.reductions:
                self._compute(pointers, j, [])
                return carried
            totals = self._inner_loops(0, pointers, self._identities(), vector=False, j=j)
            for node, total in zip(self.reductions, totals, strict=True):
                moved = self._at_vector(pointers, id(node), j)
                self._store_reduced(node, total, {id(node): moved}, first=False)
            return carried

        self.e.vector_loop(self.nest.sizes[self.last], [], body)

    def _inner_loops(
        self, depth: int, pointers: dict[Any, str], totals: list[Value], vector: bool, j: str = ""
    ) -> list[Value]:
        """The reduced axes; the last one by vectors if `vector`."""
        if depth < len(self.inner):
            axis = self.inner[depth]

            def body(i: str, carried: list[Value]) -> Sequence[Value]:
                inside = self._step_into(axis, i, pointers)
                return self._inner_loops(depth + 1, inside, carried, vector, j)

            return self.e.loop(self.e.integer(self.nest.sizes[axis]), 1, totals, body)
        if not vector:
            return self._compute(pointers, j, totals)
        return self._along_last(pointers, totals)

    def _along_last(self, pointers: dict[Any, str], totals: list[Value]) -> list[Value]:
        """The last axis, reduced: in blocks, each summed by itself, so that rounding errors grow
        with the number of blocks and not with that of elements."""
        e, size = self.e, self.nest.sizes[self.last]
        block = _VECTORS_PER_BLOCK * e.lanes
        blocks, rest = divmod(size, block)
        if blocks < 2:
            return e.vector_loop(size, totals, lambda i, c: self._compute(pointers, i, c))

        def one(start: str, carried: list[Value]) -> Sequence[Value]:
            def part(i: str, inner: list[Value]) -> Sequence[Value]:
                return self._compute(pointers, e.compute("add", start, i), inner)

            found = e.loop(e.integer(block), e.lanes, self._identities(), part)
            pairs = zip(self.reductions, carried, found, strict=True)
            return [self._combine(node, total, new) for node, total, new in pairs]

        totals = e.loop(e.integer(blocks * block), block, totals, one)
        if not rest:
            return totals
        after = e.integer(blocks * block)
        return e.vector_loop(
            rest, totals, lambda i, c: self._compute(pointers, e.compute("add", after, i), c)
        )

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
        values: dict[Any, Value] = {}
        after: list[Value] = []
        for node in self.nodes:
            inputs = [
                self._input(node, i, pointers, j, values)
                for i in range(1 if self.copying else len(node.inputs))
            ]
            if self.copying:
                values[id(node)] = inputs[0]
            elif node.kind == "reduce":
                total = totals[len(after)]
                after.append(self._accumulate(node, total, inputs[0]))
            else:
                values[id(node)] = self._apply(node, inputs)
        for node, _ in self.nest.stores:
            if id(node) in values:
                at = pointers[id(node)] if j is None else self._at_vector(pointers, id(node), j)
                self.e.store(values[id(node)], at)
        return after

    def _input(
        self, node: Node, i: int, pointers: dict[Any, str], j: str | None, values: dict[Any, Value]
    ) -> Value:
        operand = self.nest.operands[id(node), i]
        if isinstance(operand, Node):
            return values[id(operand)]
        if operand in values:
            return values[operand]
        if operand in self.nest.loads:
            values[operand] = self._load(operand, pointers, j)
            return values[operand]
        return self.e.literal(*operand)

    def _load(self, key: Any, pointers: dict[Any, str], j: str | None) -> Value:
        operand = self.nest.loads[key]
        dtype = operand.node.dtype
        if j is None:
            return self.e.load_one(pointers[key], dtype)
        at, stride = self._at_vector(pointers, key, j), operand.strides[self.last]
        if stride == 0:
            return self.e.load_one(at, dtype)
        if stride == 1:
            return self.e.load(at, dtype)
        return self.e.load_strided(at, self.e.integer(stride * dtype.itemsize), dtype)

    def _apply(self, node: Node, inputs: list[Value]) -> Value:
        if node.primitive is None or node.primitive.lower is None:
            raise CompileError(f"the compiler has no lowering for {node.where()}")
        value: Value = node.primitive.lower(self.e, *inputs, **node.attrs)
        return value

    # -- reductions -----------------------------------------------------------------------

    def _identities(self) -> list[Value]:
        return [self.e.constant(identity(node), node.dtype) for node in self.reductions]

    def _combine(self, node: Node, x: Value, y: Value) -> Value:
        return self.e.add(x, y) if node.op == "sum" else self.e.maximum(x, y)

    def _accumulate(self, node: Node, total: Value, value: Value) -> Value:
        if self.e.mask is not None and self.last_reduced:
            nothing = self.e.constant(identity(node), node.dtype)
            value = self.e.select(self.e.mask, value, nothing)
        return self._combine(node, total, value)

    def _store_reduced(
        self, node: Node, total: Value, pointers: dict[Any, str], first: bool
    ) -> None:
        if id(node) not in {id(stored) for stored, _ in self.nest.stores}:
            return
        if first:
            self.e.store_first(total, pointers[id(node)])
        else:
            self.e.store(total, pointers[id(node)])


def identity(node: Node) -> Any:
    """What a reduction starts from."""
    if node.op == "sum":
        return 0
    if node.op == "max":
        return -np.inf if node.dtype.kind == "f" else np.iinfo(node.dtype).min
    raise CompileError(f"the compiler has no loops for the reduction {node.where()}")


def emit_loops(fusion: Fusion, group: Group) -> Kernel | None:
    """The kernel of an elementwise or reducing group; None if it has nothing to do."""
    if 0 in group.domain:
        return _emit_empty(group)
    return _LoopEmitter(_Nest(fusion, group)).emit()


def _emit_empty(group: Group) -> Kernel | None:
    """Over no elements, only sums that keep some axes have a result: zeros."""
    filled = [node for node in group.stored if node.size]
    if not filled:
        return None
    e = KernelEmitter(lanes_for([node.dtype for node in filled]))
    for node in filled:
        pointer, zero = e.address(node), e.constant(0, node.dtype)

        def body(
            j: str, carried: list[Value], p: str = pointer, z: Value = zero
        ) -> Sequence[Value]:
            e.store(z, e.offset(p, j, str(z.dtype.itemsize)))
            return carried

        e.vector_loop(node.size, [], body)
    return e.finish(0, sum(node.size * node.dtype.itemsize for node in filled))
