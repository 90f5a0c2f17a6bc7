"""The strips of a packed product: how its sides lie in them, and how they are copied there.

A strip of A has the rows of a tile, a strip of B the columns, both over a block of the depth. The
innermost loop of the product takes several columns of A in a round, so the last round may find
fewer; strips are filled up for that: A by 0, B by -0. Their product is -0, which changes no sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ...shapes import contiguous_strides
from ..graph import Node
from ..views import View, batch_stride
from .blocking import COLUMN, Tile, blocks, deepest
from .chunks import MANY_STEPS, NANOSECONDS_PER_FLOP_AND_BYTE, grain_for
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for, without_values

LINE = 64  # bytes of the cache
# Columns of A that one round of the innermost loop takes, a power of two.
UNROLLED = 2
# So many columns of B are read in place, if the tile is wide: a narrow one goes down them often.
_FEW_COLUMNS = 64
# Rows of B that are packed in one go, and how many chunks there are of that.
_ROWS_PACKED = 16
_CHUNKS_OF_PACKING = 8


class StripsEmitter:
    """Writes kernels that read or write strips: the sizes and places that all of them need.

    Args:
        node: the product, ``[..., m, n]``.
        a, b: how its sides are read; the rows of `b` must lie densely.
        tile: the largest tile.
        varies: whether the number of rows varies (see `Fusion.varying`).
        home: where C is stored, if not in the memory of `node`.
    """

    def __init__(
        self, node: Node, a: View, b: View, tile: Tile, varies: bool = False,
        home: Node | None = None,
    ) -> None:  # fmt: skip
        self.node, self.a, self.b, self.tile = node, a, b, tile
        self.home = home or node
        self.e = KernelEmitter(lanes_for([node.dtype]))
        self.size = node.dtype.itemsize
        self.batch = node.shape[:-2]
        self.m, self.n = node.shape[-2:]
        self.k = a.shape[-1]
        self.width = tile.vectors * self.e.lanes
        self.varies = varies
        self.block = blocks(self.k, self.n, self.width, self.size)
        self.tiles = -(-self.m // tile.rows)
        self.height = -(-self.m // self.tiles)
        self.low = self.tiles * self.height - self.m  # tiles that are one row lower
        self.strips = -(-self.n // self.width)
        self.rest = self.n % self.width
        self.depths = -(-self.k // self.block.depth)
        # Whether the rows of A lie densely downwards.
        self.by_columns = a.strides[-2] == 1 and a.strides[-1] != 1
        # Bytes in the strip of A from row to row, and from column to column.
        self.strip_steps = (deepest(self.size) * self.size, self.size)
        if self.by_columns:
            self.strip_steps = (self.size, COLUMN * self.size)
        self.across = -(-self.strips // self.block.strips)
        self.in_place = tile.vectors > 1 and self.n <= _FEW_COLUMNS
        self.alone = not self.in_place and math.prod(self.batch) * self.across >= MANY_STEPS
        self.nanoseconds = 2 * node.size * self.k * self.size * NANOSECONDS_PER_FLOP_AND_BYTE
        # Where the strips of B begin, and the one of A.
        self.panel, self.strip = "", ""

    def panel_node(self) -> Node:
        """The memory for a packed block of the depth, all columns of all matrices."""
        size = math.prod(self.batch) * self.strips * self._strip_bytes() // self.size
        return Node("scratch", (size,), self.node.dtype)

    def _strip_bytes(self) -> int:
        """Bytes of a strip of B; not a power of two, so that strips do not compete for the same
        lines of the cache."""
        rows = self.block.depth + self.block.depth % UNROLLED
        return rows * self.width * self.size + 2 * LINE

    def _arguments(self) -> list[str]:
        """The sizes that both kernels need; the addresses of A and B."""
        e, size = self.e, self.size
        ends = [e.address(view.base, view.offset) for view in (self.a, self.b)]
        steps = (*self.a.strides[-2:], self.b.strides[-2])
        self.steps = [e.integer(s * size, f"step {i}") for i, s in enumerate(steps)]
        self.depth = e.integer(self.block.depth, "depth of a block")
        self.strip_bytes = e.integer(self._strip_bytes(), "bytes of a strip")
        self.all_strips = e.integer(self.strips, "strips")
        return ends

    def packing(self, number: int, panel: Node) -> Kernel:
        """The kernel that copies block `number` of the depth of B into strips; threads share its
        rows."""
        e = self.e
        ends = self._arguments()
        start = e.address(panel)
        k = e.compute("mul", e.integer(number, "block"), self.depth)
        depth = e.smaller(e.compute("sub", e.integer(self.k, "k"), k), self.depth)
        pieces = -(-self.block.depth // _ROWS_PACKED)
        divisors = e.integer(pieces, "pieces"), e.integer(self.across, "across")
        units = math.prod(self.batch) * self.across * pieces

        def piece(unit: str) -> None:
            rest, first = (e.compute(x, unit, divisors[0]) for x in ("udiv", "urem"))
            batch, column = (e.compute(x, rest, divisors[1]) for x in ("udiv", "urem"))
            self.panel = self._panel_of(start, batch)
            _, b, _ = self._in_batch([*ends, ends[0]], batch)
            (b,), full, tail = self._columns_of(column, [b])
            b = e.offset(b, k, self.steps[2])
            line = e.compute("mul", first, str(_ROWS_PACKED))
            last = e.smaller(e.compute("add", line, str(_ROWS_PACKED)), depth)

            def rows() -> list[Value]:
                self._pack_rows(b, (line, last), full, tail)
                return []

            e.when(e.compare("ult", line, last), [], rows)

        e.split_loop(units, piece)
        moved = 2 * self.size * math.prod(self.batch) * self.block.depth * self.n
        kernel = e.finish(0, moved)
        # Threads are awake for the product, so they may as well share this.
        shared = grain_for(kernel.extent, self.nanoseconds) < kernel.extent
        return kernel._replace(grain=-(-units // _CHUNKS_OF_PACKING)) if shared else kernel

    def _panel_of(self, start: str, batch: str) -> str:
        """Where the strips of matrix number `batch` begin."""
        bytes_of_one = self.e.compute("mul", self.all_strips, self.strip_bytes)
        return self.e.offset(start, batch, bytes_of_one)

    def _in_batch(self, sides: Sequence[str], number: str) -> list[str]:
        """The addresses of the matrices number `number` of the leading axes."""
        e, moved = self.e, list(sides)
        below = 1
        lead = len(self.batch)
        strides = [
            [batch_stride(view, axis - lead) for view in (self.a, self.b)]
            + [contiguous_strides(self.node.shape)[axis]]
            for axis in range(lead)
        ]
        for axis in reversed(range(lead)):
            count = self.batch[axis]
            if count > 1:
                place = e.compute("udiv", number, e.integer(below)) if below > 1 else number
                place = e.compute("urem", place, e.integer(count))
                moved = [
                    e.offset(p, place, e.integer(s * self.size)) if s else p
                    for p, s in zip(moved, strides[axis], strict=True)
                ]
            below *= count
        return moved

    def _columns_of(self, column: str, sides: list[str]) -> tuple[list[str], str, str]:
        """Block number `column` of the strips, to which the panel moves too: where it begins in
        `sides`, how many of its strips are of full width, and whether one of less is behind them.
        """
        e, count = self.e, self.e.integer(self.block.strips, "strips of a block")
        first = e.compute("mul", column, count)
        last = e.smaller(e.compute("add", first, count), self.all_strips)
        whole = e.smaller(last, e.integer(self.n // self.width, "whole strips"))
        tail = e.compare("ult", whole, last) if self.rest else ""
        across = self.across_at = e.compute("mul", first, str(self.width))
        end = e.smaller(e.compute("mul", last, str(self.width)), e.integer(self.n, "columns"))
        self.columns = e.compute("sub", end, across)
        if not self.in_place and not self.alone:
            self.panel = e.offset(self.panel, first, self.strip_bytes)
        moved = [e.offset(p, across, str(self.size)) for p in sides]
        return moved, e.compute("sub", whole, first), tail

    def _each_strip(self, full: str, tail: str, body: Callable[[str, bool], None]) -> None:
        """`body` of every strip of the block: the number, and whether it is the narrow one."""
        e = self.e

        def whole() -> Sequence[Value]:
            e.loop(full, 1, [], without_values(lambda s: body(s, False)))
            return []

        def narrow() -> Sequence[Value]:
            body(full, True)
            return []

        e.when(e.compare("ne", full, "0"), [], whole)
        if tail:
            e.when(tail, [], narrow)

    def _vectors_of(self, narrow: bool) -> tuple[int, Value | None]:
        """How many vectors a strip has that count, and the mask of the last one."""
        if not narrow:
            return self.tile.vectors, None
        vectors = -(-self.rest // self.e.lanes)
        last = self.rest - (vectors - 1) * self.e.lanes
        return vectors, self.e.first_lanes(str(last)) if last < self.e.lanes else None

    def _rounded(self, depth: str) -> str:
        """`depth`, or what the rounds of the innermost loop make of it."""
        more = self.e.compute("add", depth, str(UNROLLED - 1))
        return self.e.compute("and", more, str(-UNROLLED))

    def _pack_rows(self, b: str, lines: tuple[str, str], full: str, tail: str) -> None:
        """Copy the rows from one of `lines` to before the other, of a block of B, into the strips.
        If they end within a round of the innermost loop, one of -0 follows."""
        e = self.e
        first, last = lines

        def filling() -> list[Value]:
            self._pack_row("", last, full, tail)
            return []

        e.loop(last, 1, [], without_values(lambda line: self._pack_row(b, line, full, tail)), first)
        e.when(e.compare("ne", last, self._rounded(last)), [], filling)

    def _pack_row(self, b: str, line: str, full: str, tail: str) -> None:
        """Copy row `line` of a block of B into the strips, or -0 if there is no `b`."""
        e, row = self.e, str(self.width * self.size)
        source = e.offset(b, line, self.steps[2]) if b else ""
        target = e.offset(self.panel, line, row)
        filling = e.constant(-0.0, self.node.dtype)

        def strip(s: str, narrow: bool) -> None:
            vectors, mask = self._vectors_of(narrow)
            there = e.offset(source, s, row) if b else ""
            here = e.offset(target, s, self.strip_bytes)
            for v in range(vectors):
                value = filling
                if b:
                    value = self._load(self._vector(there, v), mask, v == vectors - 1)
                e.store(value, self._vector(here, v))

        self._each_strip(full, tail if self.rest else "", strip)

    def _pack_a(self, a: str, rows: str, last: str, depth: str) -> None:
        """Copy `rows` rows of a block of A into a strip, as they lie there: row after row, or
        column after column, each of `COLUMN` elements, of which those past the rows mean
        nothing. Zeros follow."""
        e, dtype = self.e, self.node.dtype
        if self.by_columns:
            mask = e.first_lanes(rows) if self.height < e.lanes or last else None

            def column(k: str) -> None:
                value = self._load(e.offset(a, k, self.steps[1]), mask, True)
                # The next one overlaps.
                e.store(value, e.offset(self.strip, k, str(self.strip_steps[1])))

            e.loop(depth, 1, [], without_values(column))
            e.store(e.constant(0, dtype), e.offset(self.strip, depth, str(self.strip_steps[1])))
            return
        step = self.a.strides[-1] * self.size
        addresses = self._rows_of(a, self.steps[0], last)

        def piece(k: str) -> None:
            here = e.offset(self.strip, k, str(self.strip_steps[1]))
            mask = e.first_lanes(e.compute("sub", depth, k))
            for i, row in enumerate(addresses):
                e.mask = mask
                value = e.load_along(e.offset(row, k, self.steps[1]), step, dtype)
                e.mask = None
                e.store(value, e.offset(here, "1", str(i * self.strip_steps[0])) if i else here)

        e.loop(depth, e.lanes, [], without_values(piece))

    def _rows_of(self, first: str, step: str, last: str) -> list[str]:
        """The addresses of the rows of a tile; of the last one too, which is number `last`."""
        e, rows = self.e, [first]
        for _ in range(self.height - 2 if last else self.height - 1):
            rows.append(e.offset(rows[-1], "1", step))
        if last:
            rows.append(e.offset(first, last, step))
        return rows

    def _vector(self, row: str, v: int) -> str:
        """The address of vector `v` of a row."""
        return self.e.offset(row, str(v * self.e.lanes), str(self.size)) if v else row

    def _load(self, at: str, mask: Value | None, last: bool) -> Value:
        """A vector; the last one under the mask."""
        self.e.mask = mask if last else None
        value = self.e.load(at, self.node.dtype)
        self.e.mask = None
        return value
