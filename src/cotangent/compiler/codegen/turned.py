"""Matrix products with few rows, whose right side is a transposed matrix: ``x @ W.T``.

Copying W to its transpose and back costs more than the product. Here squares of W, as many rows as
a vector has lanes, are transposed in registers, and each is multiplied at once. An element of C is
the same chain of `fma` over k from 0 as in matmul.py, so which of the two makes it does not
change its bits. The last block of columns overlaps the one before, if need be.

A product with a single column, ``x @ w``, is one with a single row from the other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..fuse import Fusion, Group
from ..views import View, batch_stride
from .chunks import axis_to_split
from .emitter import Value
from .epilogue import Epilogue
from .kernel import Kernel, KernelEmitter, lanes_for, without_values
from .moves import transpose_registers

# One core's time for a square of W, by its number of lanes: the exchange of halves takes most of
# it.
_NANOSECONDS_PER_LANE = 2.0


class _Sides(NamedTuple):
    """Names of the addresses at one place of the loops, and its place on the axes of the batch."""

    a: str
    b: str
    batch: tuple[str, ...] = ()


class TurnedEmitter:
    """Writes one product.

    Args:
        fusion, group: of the product, ``[..., m, n]``, with few rows; or of its transpose, which is
            stored alike if m is 1. Sizes that vary are no part of the text; the number of columns
            may be among them if they fill a vector.
        a, b: how its sides are read; the columns of `b` must lie densely.
    """

    def __init__(self, fusion: Fusion, group: Group, a: View, b: View) -> None:
        node, varying = group.nodes[0], fusion.varying
        self.node, self.a, self.b = node, a, b
        self.e = KernelEmitter(lanes_for([node.dtype]), varying)
        self.epilogue = Epilogue(fusion, group, self.e)
        self.size = node.dtype.itemsize
        self.batch = node.shape[:-2]
        self.m, self.n, self.k = a.shape[-2], b.shape[-1], a.shape[-1]
        self.blocks = -(-self.n // self.e.lanes)
        self.loops = self.blocks > 1 or self.n in varying
        # Threads share blocks of columns; where there is one only, an axis of the batch.
        self.split = len(self.batch)
        if not self.loops:
            self.split = axis_to_split(self.batch) if self.batch else -1

    def emit(self) -> Kernel:
        """The whole kernel."""
        e, size = self.e, self.size
        steps = (*self.a.strides[-2:], self.b.strides[-1])
        self.steps = [e.integer(s * size, f"step {i}") for i, s in enumerate(steps)]
        a, b = (e.address(view.base, view.offset) for view in (self.a, self.b))
        self._batches(0, _Sides(a, b))
        flops = 2 * self.node.size * self.k + self.epilogue.flops
        moved = size * (self.m * self.k + self.k * self.n) + self.epilogue.bytes
        squares = self.node.size // self.m * self.k / e.lanes**2
        return e.finish(flops, moved, squares * e.lanes * _NANOSECONDS_PER_LANE)

    def _batches(self, axis: int, sides: _Sides) -> None:
        """Loops over the leading axes; those of size 1 need none."""
        e = self.e
        if axis == len(self.batch):
            self._blocks(sides)
            return
        if self.batch[axis] == 1 and axis != self.split:
            self._batches(axis + 1, sides._replace(batch=(*sides.batch, "0")))
            return
        strides = [batch_stride(view, axis - len(self.batch)) for view in (self.a, self.b)]

        def body(i: str) -> None:
            moved = [
                e.offset(p, i, e.integer(s * self.size, "stride")) if s else p
                for p, s in zip(sides[:2], strides, strict=True)
            ]
            self._batches(axis + 1, _Sides(moved[0], moved[1], (*sides.batch, i)))

        if axis == self.split:
            e.split_loop(self.batch[axis], body)
        else:
            e.loop(e.integer(self.batch[axis]), 1, [], without_values(body))

    def _blocks(self, sides: _Sides) -> None:
        """The blocks of columns of one matrix."""
        e = self.e
        if not self.loops:
            self._columns(sides, "0", self.n)
            return
        last = e.integer(self.n - e.lanes, "last block")

        def block(i: str) -> None:
            j = e.smaller(e.compute("mul", i, str(e.lanes)), last)
            self._columns(sides, j, e.lanes)

        e.split_loop(self.blocks, block)

    def _columns(self, sides: _Sides, j: str, columns: int) -> None:
        """A block of at most as many columns of C as there are lanes, from number `j` on."""
        e = self.e
        b = e.offset(sides.b, j, self.steps[2])
        rows = [sides.a]
        for _ in range(self.m - 1):
            rows.append(e.offset(rows[-1], "1", self.steps[0]))
        totals = [e.constant(0, self.node.dtype)] * self.m
        whole, rest = divmod(self.k, e.lanes)
        if whole == 1:
            totals = self._square(rows, b, "0", (columns, e.lanes), totals)
        elif whole:

            def body(k: str, carried: list[Value]) -> Sequence[Value]:
                return self._square(rows, b, k, (columns, e.lanes), carried)

            totals = e.loop(e.integer(whole * e.lanes, "depth"), e.lanes, totals, body)
        if rest:
            after = e.integer(whole * e.lanes, "depth") if whole else "0"
            totals = self._square(rows, b, after, (columns, rest), totals)
        # A single column of C lies as a row does.
        is_row = self.node.shape[-2] == self.m and self.node.shape[-1] == self.n
        index = (*sides.batch, "0", j) if is_row else (*sides.batch, j, "0")
        start = self.epilogue.addresses(index)
        e.mask = e.first_lanes(str(columns)) if columns < e.lanes else None
        for i, total in enumerate(totals):
            self.epilogue.store(total, self.epilogue.along(start, -2, str(i)))
        e.mask = None

    def _square(
        self, rows: list[str], b: str, k: str, shape: tuple[int, int], totals: list[Value]
    ) -> list[Value]:
        """The totals after a square of W, or as much of one as there is, columns by depth."""
        e, dtype = self.e, self.node.dtype
        columns, depth = shape
        e.mask = e.first_lanes(str(depth)) if depth < e.lanes else None
        at, square = e.offset(b, k, str(self.size)), [e.constant(0, dtype)] * e.lanes
        for i in range(columns):
            square[i] = e.load(at, dtype)
            at = e.offset(at, "1", self.steps[2])
        e.mask = None
        turned = transpose_registers(e, square)
        totals = list(totals)
        for i, row in enumerate(rows):
            x = e.offset(row, k, self.steps[1])
            for column in turned[:depth]:
                totals[i] = e.fma(e.load_one(x, dtype), column, totals[i])
                x = e.offset(x, "1", self.steps[1])
        return totals


def flipped(view: View) -> View:
    """`view` with its last two axes exchanged."""
    *batch, m, n = range(len(view.shape))
    order = (*batch, n, m)
    shape, strides = (tuple(part[i] for i in order) for part in (view.shape, view.strides))
    return View(view.base, shape, strides, view.offset)
