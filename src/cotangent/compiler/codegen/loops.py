"""Loop nests: elementwise groups and reductions.

The loops run over the group's domain, collapsed where the strides allow. The last axis is cut
into vectors. Axes that stay are outside, axes that are reduced inside; a reduction of the last
axis keeps one partial result a lane and combines the lanes by a fixed tree at the end. A group that
uses results of its own reductions goes through each row in phases (see nest.py).

The longest of the axes that stay is the one that is split among threads. Where all of them are
short, and much is reduced, a reduced axis is cut into parts, by its length alone; each part has
a result of its own, and a second kernel combines them in order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from ...runtime.buffers import STAGGER
from ..fuse import Fusion, Group
from ..graph import Node
from .chunks import MANY_STEPS, NANOSECONDS_PER_LINE, axis_to_split, is_many
from .elements import ElementEmitter
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for, without_values
from .nest import Nest, Row
from .parts import Partial, combination, identity

_VECTORS_PER_BLOCK = 64
_ELEMENTS_PER_PART = 1 << 14
_MOST_PARTS = 256
# A loop over so few nodes waits for its sums, unless there are several.
_FEW_NODES = 3
# Blocks of rows that add up columns for themselves.
_MOST_BLOCKS_OF_ROWS, _FEWEST_ROWS = 64, 16


class _LoopEmitter(ElementEmitter):
    """Writes the kernel of one nest."""

    def __init__(self, nest: Nest) -> None:
        super().__init__(nest)
        self.by_row = any(isinstance(x, Row) for x in nest.operands.values())
        self.elements = math.prod(nest.sizes)
        self.split = self._split_axis()
        # The reduced axis that is cut into parts, the parts, and the steps of each.
        self.cut, self.parts, self.steps = -1, 1, 0
        self.range = ("", "")
        self._cut_reduced_axis()

    def _steps_of(self, axis: int) -> int:
        """The steps of a loop over whole vectors, or blocks of them, or elements."""
        size = self.nest.sizes[axis]
        if axis != self.last:
            return size
        return size // (self.e.lanes * (_VECTORS_PER_BLOCK if self.last_reduced else 1))

    def _split_axis(self) -> int:
        """The axis that stays and is split among threads; -1 if all are reduced."""
        axes = self.kept if self.last_reduced or self.last < 0 else [*self.kept, self.last]
        return axes[axis_to_split([self._steps_of(axis) for axis in axes])] if axes else -1

    def _cut_reduced_axis(self) -> None:
        if not self.reductions or self.by_row or self.nest.columns:
            return
        if not is_many(self.elements):
            return
        if self.split >= 0 and self._steps_of(self.split) >= MANY_STEPS:
            return
        axes = [*self.inner, self.last] if self.last_reduced else self.inner
        axis = axes[axis_to_split([self._steps_of(axis) for axis in axes])]
        count = self._steps_of(axis)
        if count < 2:
            return
        self.steps = -(-count // min(count, self.elements // _ELEMENTS_PER_PART, _MOST_PARTS))
        self.cut, self.parts, self.split = axis, -(-count // self.steps), -1

    def emit(self) -> list[Kernel]:
        """The kernel; a second one if a reduced axis is cut."""
        pointers = {key: self.e.address(o.node, o.offset) for key, o in self.nest.loads.items()}
        for node, operand in self.nest.stores:
            pointers[id(node)] = self.e.address(operand.node)
        for key, operand in self.nest.scratch.items():
            if key not in pointers:
                row = operand.node
                size = 1 << (row.size * row.dtype.itemsize - 1).bit_length()
                pointers[key] = self.e.scratch(size + STAGGER)
        if self.nest.columns:
            return self._with_columns(pointers)
        if self.cut < 0:
            self._kept_loops(0, pointers)
            return [self._finish()]
        partial = {
            node: Node("scratch", (self.parts, node.size), node.dtype)
            for node, _ in self.nest.stores
            if node.kind == "reduce"
        }
        starts = {node: self.e.address(row) for node, row in partial.items()}
        self.e.split_loop(self.parts, lambda part: self._part(part, pointers, partial, starts))
        return [self._finish(), combination(partial, self.parts, self.nest.fusion.watched)]

    def _finish(self) -> Kernel:
        touched = [operand.node for operand in self.nest.loads.values()]
        touched += [node for node, _ in self.nest.stores]
        moved = sum(node.size * node.dtype.itemsize for node in touched)
        vectors = self.elements / self.e.lanes
        nanoseconds = vectors * self.lines_per_vector * NANOSECONDS_PER_LINE
        nodes = self.nest.group.nodes
        rows = sum(id(node) in self.nest.group.rows for node in nodes)
        flops = self.elements * (len(nodes) - rows) + math.prod(self.nest.group.kept) * rows
        return self.e.finish(flops, moved, nanoseconds)

    def _part(
        self, part: str, pointers: dict[Any, str], partial: Partial, starts: dict[Node, str]
    ) -> None:
        """One part of the reduced axis; its results go into memory of their own."""
        e = self.e
        steps = e.integer(self.steps)
        first = e.compute("mul", part, steps)
        count = e.integer(self._steps_of(self.cut))
        self.range = (first, e.smaller(e.compute("add", first, steps), count))
        self._kept_loops(0, {**pointers, **self._own(part, partial, starts)})

    def _own(self, part: str, partial: Partial, starts: dict[Node, str]) -> dict[int, str]:
        """Where one part keeps its results, by the id of the reduction."""
        e = self.e
        return {
            id(node): e.offset(starts[node], part, e.integer(row.shape[1] * row.dtype.itemsize))
            for node, row in partial.items()
        }

    # -- sums of columns ------------------------------------------------------------------

    def _with_columns(self, pointers: dict[Any, str]) -> list[Kernel]:
        """Blocks of rows, each of which also adds its rows up into sums of its own."""
        e, nest = self.e, self.nest
        rows = math.prod(nest.sizes[axis] for axis in self.kept)
        each = -(-rows // min(_MOST_BLOCKS_OF_ROWS, rows // _FEWEST_ROWS))
        self.parts = -(-rows // each)
        partial = {
            node: Node(
                "scratch", (self.parts, node.size + STAGGER // node.dtype.itemsize), node.dtype
            )
            for node in nest.group.nodes
            if id(node) in nest.columns
        }
        starts = {node: e.address(row) for node, row in partial.items()}

        def block(part: str) -> None:
            own = self._own(part, partial, starts)
            for node in partial:
                self._clear(node, own[id(node)])
            first = e.compute("mul", part, e.integer(each))
            last = e.smaller(e.compute("add", first, e.integer(each)), e.integer(rows))
            whole = {**pointers, **own}
            e.loop(
                last,
                1,
                [],
                without_values(lambda r: self._row(self._at_row(r, whole), None)),
                first,
            )

        e.split_loop(self.parts, block)
        return [self._finish(), combination(partial, self.parts, nest.fusion.watched)]

    def _clear(self, node: Node, pointer: str) -> None:
        e, width = self.e, str(node.dtype.itemsize)
        nothing = e.constant(identity(node), node.dtype)

        def part(j: str, carried: list[Value]) -> list[Value]:
            e.store(nothing, e.offset(pointer, j, width))
            return carried

        e.vector_loop(node.size, [], part)

    def _at_row(self, number: str, pointers: dict[Any, str]) -> dict[Any, str]:
        """The pointers at row `number`, counted over all axes that stay."""
        e, below = self.e, 1
        for axis in reversed(self.kept):
            place = number
            if len(self.kept) > 1:
                above = e.compute("udiv", number, e.integer(below)) if below > 1 else number
                place = e.compute("urem", above, e.integer(self.nest.sizes[axis]))
            pointers = self._step_into(axis, place, pointers)
            below *= self.nest.sizes[axis]
        return pointers

    # -- loops ----------------------------------------------------------------------------

    def _kept_loops(self, depth: int, pointers: dict[Any, str]) -> None:
        if depth < len(self.kept):
            axis = self.kept[depth]

            def body(i: str) -> None:
                self._kept_loops(depth + 1, self._step_into(axis, i, pointers))

            if axis == self.split:
                self.e.split_loop(self.nest.sizes[axis], body)
            else:
                self.e.loop(self.e.integer(self.nest.sizes[axis]), 1, [], without_values(body))
        elif self.last < 0:
            self._compute(pointers, None, [])
        elif self.last_reduced:
            self._row(pointers, None)
        else:
            self._vectors_outside(pointers)

    def _vectors_outside(self, pointers: dict[Any, str]) -> None:
        """The last axis stays: each vector of it goes through the reduced axes by itself."""

        def body(j: str) -> None:
            if self.nest.group.reduced is None:
                self._compute(pointers, j, [])
            else:
                self._row(pointers, j)

        size = self.nest.sizes[self.last]
        if self.split == self.last:
            self.e.split_vectors(size)(body)
        else:
            self.e.vector_loop(size, [], without_values(body))

    def _row(self, pointers: dict[Any, str], j: str | None) -> None:
        """One row, or at `j` a vector of rows, phase by phase."""
        self.row_values = {}
        for phase in range(self.nest.phases + 1):
            for node in self.nest.rows_before(phase):
                count = range(len(node.inputs))
                inputs = [self._input(node, i, pointers, j, {}) for i in count]
                self._finish_row(node, self._apply(node, inputs), pointers, j)
            self._enter(phase)
            if not self.nodes:
                continue
            totals = self._inner_loops(0, pointers, self._identities(), j)
            for node, total in zip(self.reductions, totals, strict=True):
                if j is None:
                    total = self.e.across_lanes(functools.partial(self._combine, node), total)
                self._finish_row(node, total, pointers, j)

    def _finish_row(
        self, node: Node, value: Value, pointers: dict[Any, str], j: str | None
    ) -> None:
        """Keep a value of the present row, which is in the first lane if `j` is None."""
        if any(stored is node for stored, _ in self.nest.stores):
            if j is None:
                self.e.store_first(value, pointers[id(node)])
            else:
                self.e.store(value, self._at_vector(pointers, id(node), j))
            watched = self.nest.fusion.watched
            if id(node) in watched and self.cut < 0:
                found = self.e.splat_first(value) if j is None else value
                self.e.check([(found, watched[id(node)])])
        if self.by_row:
            self.row_values[id(node)] = self.e.splat_first(value) if j is None else value

    def _inner_loops(
        self, depth: int, pointers: dict[Any, str], totals: list[Value], j: str | None
    ) -> list[Value]:
        """The reduced axes; the last one, by vectors, if `j` is None."""
        if depth < len(self.inner):
            axis = self.inner[depth]

            def body(i: str, carried: list[Value]) -> Sequence[Value]:
                inside = self._step_into(axis, i, pointers)
                return self._inner_loops(depth + 1, inside, carried, j)

            if axis == self.cut:
                return self.e.loop(self.range[1], 1, totals, body, self.range[0])
            return self.e.loop(self.e.integer(self.nest.sizes[axis]), 1, totals, body)
        return (
            self._along_last(pointers, totals) if j is None else self._compute(pointers, j, totals)
        )

    def _along_last(self, pointers: dict[Any, str], totals: list[Value]) -> list[Value]:
        """The last axis, reduced: in blocks, each summed by itself, so that rounding errors grow
        with the number of blocks and not with that of elements."""
        e, size = self.e, self.nest.sizes[self.last]
        block = _VECTORS_PER_BLOCK * e.lanes
        blocks, rest = divmod(size, block)
        if blocks < 2:
            return self._short_row(size, totals, pointers)

        def one(start: str, carried: list[Value]) -> Sequence[Value]:
            return self._joined(carried, self._sums_of(start, block, pointers))

        after = e.integer(blocks * block)
        if self.cut == self.last:
            start, stop = (e.compute("mul", x, e.integer(block)) for x in self.range)
            totals = e.loop(stop, block, totals, one, start)
        else:
            totals = e.loop(after, block, totals, one)
        if not rest:
            return totals

        def remainder() -> list[Value]:
            return e.vector_loop(
                rest, totals, lambda i, c: self._compute(pointers, e.compute("add", after, i), c)
            )

        if self.cut != self.last:
            return remainder()
        # It belongs to the last part.
        return e.when(e.compare("eq", stop, after), totals, remainder)

    def _joined(self, totals: Sequence[Value], more: Sequence[Value]) -> list[Value]:
        """Two results of each reduction as one."""
        pairs = zip(self.reductions, totals, more, strict=True)
        return [self._combine(node, x, y) for node, x, y in pairs]

    def _sums_of(self, start: str, count: int, pointers: dict[Any, str]) -> list[Value]:
        """The reductions over `count` elements from `start` on: whole vectors, as many as the sums
        that are under way. Several are, where a vector takes less time than an addition."""
        e, sums = self.e, self._sums()
        step = sums * e.lanes

        def part(i: str, carried: list[Value]) -> Sequence[Value]:
            at = e.compute("add", start, i) if start != "0" else i
            after: list[Value] = []
            each = len(self.reductions)
            for number in range(sums):
                place = e.compute("add", at, str(number * e.lanes)) if number else at
                mine = carried[number * each : (number + 1) * each]
                after += self._compute(pointers, place, mine)
            return after

        found = e.loop(e.integer(count), step, self._identities() * sums, part)
        while len(found) > len(self.reductions):
            half = len(found) // 2
            found = [
                value
                for i in range(0, half, len(self.reductions))
                for value in self._joined(
                    found[i : i + len(self.reductions)],
                    found[half + i : half + i + len(self.reductions)],
                )
            ]
        return found

    def _sums(self) -> int:
        """How many sums are under way at once."""
        return 4 if self.reductions and len(self.nodes) <= _FEW_NODES else 1

    def _short_row(self, size: int, totals: list[Value], pointers: dict[Any, str]) -> list[Value]:
        """The last axis, reduced, where it is no longer than a block or two."""
        e, step = self.e, self._sums() * self.e.lanes
        whole = size // step * step
        if step == e.lanes or whole < 2 * step:
            return e.vector_loop(size, totals, lambda i, c: self._compute(pointers, i, c))
        totals = self._joined(totals, self._sums_of("0", whole, pointers))
        varies = size in e.varying
        if whole == size and not varies:
            return totals
        after = e.integer(whole)
        return e.vector_loop(
            size - whole, totals,
            lambda i, c: self._compute(pointers, e.compute("add", after, i), c), varies,
        )  # fmt: skip


def emit_loops(fusion: Fusion, group: Group) -> list[Kernel]:
    """The kernels of an elementwise or reducing group; none if it has nothing to do."""
    if 0 in group.domain:
        return _emit_empty(group)
    return _LoopEmitter(Nest(fusion, group)).emit()


def _emit_empty(group: Group) -> list[Kernel]:
    """Over no elements, only sums that keep some axes have a result: zeros."""
    filled = [node for node in group.stored if node.size]
    if not filled:
        return []
    e = KernelEmitter(lanes_for([node.dtype for node in filled]))
    for node in filled:
        pointer, zero = e.address(node), e.constant(0, node.dtype)

        def body(
            j: str, carried: list[Value], p: str = pointer, z: Value = zero
        ) -> Sequence[Value]:
            e.store(z, e.offset(p, j, str(z.dtype.itemsize)))
            return carried

        e.vector_loop(node.size, [], body)
    return [e.finish(0, sum(node.size * node.dtype.itemsize for node in filled))]
