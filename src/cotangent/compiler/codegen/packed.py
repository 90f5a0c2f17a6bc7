"""Matrix multiplication for larger sizes: both sides are packed, then an outer-product tile.

The depth is cut into blocks. Of each, one kernel copies the rows of B into strips, as wide as the
tile. The next one goes along the tiles of rows: it copies the piece of A into a strip, which stays
in the first-level cache while the tile goes along a block of strips of B, which stay in the
second-level cache. C carries the sums from one block of the depth to the next. So every element of
C is one chain of `fma` over k from 0, as it is without packing: its bits depend on nothing but the
operands, and threads may share the tiles as they come.

Where there are very many columns, or many matrices, a thread packs a block of B for itself and does
all of its rows; and few columns are read where they lie. What limits the tile is how many
instructions there are for a multiplication, where another thread has half of the core: see
docs/performance.md.

The sizes of the matrices and of the blocks are no part of the text, so one kernel serves many.

Source: K. Goto, R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS
34(3), 2008, with the sides exchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...shapes import contiguous_strides
from ..graph import Node
from ..views import View, batch_stride
from .blocking import BYTES_OF_B, COLUMN, Tile, blocks, deepest
from .chunks import MANY_STEPS, NANOSECONDS_PER_FLOP_AND_BYTE, grain_for
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for, without_values

_LINE = 64  # bytes
# So many columns of B are read in place, if the tile is wide: a narrow one goes down them often.
_FEW_COLUMNS = 64
# From this size on a block of B has left the second-level cache in parts before it is read again,
# and rows of it are fetched so many rows ahead.
_BYTES_TO_FETCH = 512 << 10
_ROWS_AHEAD = 8
# Columns of A that one round of the innermost loop takes, a power of two.
_UNROLLED = 2
# Rows of B that are packed in one go, and how many chunks there are of that.
_ROWS_PACKED = 16
_CHUNKS_OF_PACKING = 8


class _Strips(NamedTuple):
    """What a tile reads: the address of a strip of B and the bytes from row to row, the mask of its
    last vector, and how many vectors it has."""

    b: str
    b_row: str
    mask: Value | None
    vectors: int


class PackedEmitter:
    """Writes one kernel of a matrix multiplication: `product`, or `packing` for that.

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
        bytes_of_block = self.block.strips * self.block.depth * self.width * self.size
        self.fetches = not self.in_place and bytes_of_block >= _BYTES_TO_FETCH
        self.nanoseconds = 2 * node.size * self.k * self.size * NANOSECONDS_PER_FLOP_AND_BYTE
        self.panel = ""

    def panel_node(self) -> Node:
        """The memory for a packed block of the depth, all columns of all matrices."""
        size = math.prod(self.batch) * self.strips * self._strip_bytes() // self.size
        return Node("scratch", (size,), self.node.dtype)

    def _strip_bytes(self) -> int:
        """Bytes of a strip of B; not a power of two, so that strips do not compete for the same
        lines of the cache."""
        return self.block.depth * self.width * self.size + 2 * _LINE

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
                copy = without_values(lambda line: self._pack_row(b, line, full, tail))
                return e.loop(last, 1, [], copy, line)

            e.when(e.compare("ult", line, last), [], rows)

        e.split_loop(units, piece)
        moved = 2 * self.size * math.prod(self.batch) * self.block.depth * self.n
        kernel = e.finish(0, moved)
        # Threads are awake for the product, so they may as well share this.
        shared = grain_for(kernel.extent, self.nanoseconds) < kernel.extent
        return kernel._replace(grain=-(-units // _CHUNKS_OF_PACKING)) if shared else kernel

    def product(
        self, blocks: tuple[int, int], panel: Node | None, after: Kernel | None = None
    ) -> Kernel:
        """The kernel that computes what blocks of the depth, from the first to before the last,
        add to C.

        Args:
            panel: where the block of B is, packed; None if it is read in place, or packed here.
            after: the epilogue, which is done with what the last block completes.
        """
        e, size = self.e, self.size
        self.after = after
        ends = self._arguments()
        self.c_row = e.integer(self.n * size, "row of c")
        self.bounds = [
            e.integer(x, role) for x, role in zip(blocks, ("first", "last"), strict=True)
        ]
        self.strip = e.scratch((deepest(size) + e.lanes) * COLUMN * size)
        if panel is not None:
            start = e.address(panel)
        elif not self.in_place:
            start = e.scratch(BYTES_OF_B + 2 * _LINE * BYTES_OF_B // (self.width * size))
        sides = [*ends, e.address(self.home)]
        # A unit is a tile of rows; or all of them, where the block of B is packed for each.
        rows = 1 if self.alone else self.tiles
        first, last = e.split(math.prod(self.batch) * self.across * rows)
        divisors = e.integer(rows, "rows"), e.integer(self.across, "across")

        def unit(number: str) -> None:
            rest, tile = (e.compute(x, number, divisors[0]) for x in ("udiv", "urem"))
            batch, column = (e.compute(x, rest, divisors[1]) for x in ("udiv", "urem"))
            if panel is not None:
                self.panel = self._panel_of(start, batch)
            elif not self.in_place:
                self.panel = start
            self.matrix = batch
            self._unit(self._in_batch(sides, batch), column, tile)

        e.loop(last, 1, [], without_values(unit), first)
        share = (blocks[1] - blocks[0]) / self.depths
        flops = int(2 * self.node.size * self.k * share)
        moved = int(size * (self.node.size + (self.m * self.k + self.k * self.n) * share))
        return e.finish(flops, moved, self.nanoseconds * share, after)

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

    # -- some of the rows of a block of columns --------------------------------------------

    def _unit(self, sides: list[str], column: str, tile: str) -> None:
        e = self.e
        a, b, c = sides
        (b, c), full, tail = self._columns_of(column, [b, c])

        def block(number: str) -> None:
            k = e.compute("mul", number, self.depth)
            depth = e.smaller(e.compute("sub", e.integer(self.k, "k"), k), self.depth)
            here = e.offset(b, k, self.steps[2])
            if self.alone:
                row = without_values(lambda line: self._pack_row(here, line, full, tail))
                e.loop(depth, 1, [], row)
            at = e.offset(a, k, self.steps[1])
            following = e.compute("add", number, "1")
            self.complete = e.compare("eq", following, self.bounds[1])
            self._tile_rows((at, here, c), tile, depth, number, full, tail)

        e.loop(self.bounds[1], 1, [], without_values(block), self.bounds[0])

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

    def _pack_row(self, b: str, line: str, full: str, tail: str) -> None:
        """Copy row `line` of a block of B into the strips."""
        e, row = self.e, str(self.width * self.size)
        source = e.offset(b, line, self.steps[2])
        target = e.offset(self.panel, line, row)

        def strip(s: str, narrow: bool) -> None:
            vectors, mask = self._vectors_of(narrow)
            there = e.offset(source, s, row)
            here = e.offset(target, s, self.strip_bytes)
            for v in range(vectors):
                value = self._load(self._vector(there, v), mask, v == vectors - 1)
                e.store(value, self._vector(here, v))

        self._each_strip(full, tail if self.rest else "", strip)

    def _tile_rows(
        self, sides: tuple[str, str, str], tile: str, depth: str, number: str, full: str, tail: str
    ) -> None:
        """A tile of rows, or all of them: high ones, then those one row lower."""
        e, high, (a, b, c) = self.e, self.tiles - self.low, sides
        border, tiles = e.integer(high, "border"), e.integer(self.tiles, "tiles")
        start, stop = ("0", tiles) if self.alone else (tile, e.compute("add", tile, "1"))
        kinds = [(self.height, start, e.smaller(stop, border))]
        if self.low or self.varies:
            kinds.append((self.height - 1, e.larger(start, border), stop))
        for height, first, last in kinds:

            def one(t: str, height: int = height) -> None:
                lower = e.compute("mul", t, str(self.height))
                if height < self.height:
                    past = e.compute("sub", t, border)
                    lower = e.compute("sub", lower, past)
                self._pack_a(e.offset(a, lower, self.steps[0]), height, depth)
                row = e.offset(c, lower, self.c_row)
                self._each_strip(
                    full, tail,
                    lambda s, narrow: self._tile(b, row, s, height, depth, number, narrow),
                )  # fmt: skip
                place = (self.matrix, lower, str(height), self.across_at, self.columns)
                e.call_after(self.after, self.complete, (row, self.c_row, *place))

            def some(one: Callable[[str], None] = one, ends: Any = (first, last)) -> list[Value]:
                e.loop(ends[1], 1, [], without_values(one), ends[0])
                return []

            e.when(e.compare("ult", first, last), [], some)

    def _pack_a(self, a: str, height: int, depth: str) -> None:
        """Copy `height` rows of a block of A into a strip, as they lie there: row after row, or
        column after column, each of `COLUMN` elements, of which those past the rows mean
        nothing."""
        e, dtype = self.e, self.node.dtype
        if self.by_columns:
            mask = e.first_lanes(str(height)) if height < e.lanes else None

            def column(k: str) -> None:
                value = self._load(e.offset(a, k, self.steps[1]), mask, True)
                # The next one overlaps.
                e.store(value, e.offset(self.strip, k, str(self.strip_steps[1])))

            e.loop(depth, 1, [], without_values(column))
            return
        step = self.a.strides[-1] * self.size
        rows = [a]
        for _ in range(height - 1):
            rows.append(e.offset(rows[-1], "1", self.steps[0]))

        def piece(k: str, mask: Value | None = None) -> None:
            here = e.offset(self.strip, k, str(self.strip_steps[1]))
            for i, row in enumerate(rows):
                e.mask = mask
                value = e.load_along(e.offset(row, k, self.steps[1]), step, dtype)
                e.mask = None
                e.store(value, e.offset(here, "1", str(i * self.strip_steps[0])) if i else here)

        whole = e.compute("and", depth, str(-e.lanes))

        def vectors_of_depth() -> list[Value]:
            e.loop(whole, e.lanes, [], without_values(piece))
            return []

        def end() -> list[Value]:
            piece(whole, e.first_lanes(e.compute("sub", depth, whole)))
            return []

        e.when(e.compare("ne", whole, "0"), [], vectors_of_depth)
        e.when(e.compare("ne", whole, depth), [], end)

    # -- the tile -------------------------------------------------------------------------

    def _tile(
        self, b: str, c: str, s: str, height: int, depth: str, number: str, narrow: bool
    ) -> None:
        """One tile of C: `height` rows of a strip."""
        e, dtype = self.e, self.node.dtype
        vectors, mask = self._vectors_of(narrow)
        row = str(self.width * self.size)
        c_rows = [e.offset(c, s, row)]
        for _ in range(height - 1):
            c_rows.append(e.offset(c_rows[-1], "1", self.c_row))
        places = [(self._vector(r, v), v == vectors - 1) for r in c_rows for v in range(vectors)]
        start = [e.constant(0, dtype)] * (height * vectors)

        def carried() -> list[Value]:
            return [self._load(at, mask, last) for at, last in places]

        if self.depths > 1:
            start = e.when(e.compare("ne", number, "0"), start, carried)
        if self.in_place:
            strip, b_row = e.offset(b, s, row), self.steps[2]
        else:
            strip, b_row = e.offset(self.panel, s, self.strip_bytes), row
        read_mask = mask if self.in_place else None
        totals = self._down_the_depth(_Strips(strip, b_row, read_mask, vectors), depth, start)
        for total, (at, last) in zip(totals, places, strict=True):
            e.mask = mask if last else None
            e.store(total, at)
            e.mask = None

    def _down_the_depth(self, read: _Strips, depth: str, start: list[Value]) -> list[Value]:
        """The sums of a tile, which are `start` before, over all columns of the strip of A."""
        e, along = self.e, self.strip_steps[1]

        def columns(count: int) -> Callable[[str, list[Value]], list[Value]]:
            def body(_number: str, carried: list[Value]) -> list[Value]:
                row, column = (e.pointer_to(address) for address in carried[:2])
                totals = carried[2:]
                for _ in range(count):
                    totals = self._step(read, row, column, totals)
                    row, column = e.offset(row, "1", read.b_row), e.offset(column, "1", str(along))
                return [e.address_at(row), e.address_at(column), *totals]

            return body

        # Addresses are carried, rather than computed from a number: fewer instructions.
        begin = [e.address_at(read.b), e.address_at(self.strip), *start]
        whole = e.compute("and", depth, str(-_UNROLLED))
        many, one = columns(_UNROLLED), columns(1)
        carried = e.when(
            e.compare("ne", whole, "0"), begin, lambda: e.loop(whole, _UNROLLED, begin, many)
        )
        return e.when(
            e.compare("ne", whole, depth), carried, lambda: e.loop(depth, 1, carried, one, whole)
        )[2:]

    def _step(self, read: _Strips, row: str, column: str, totals: list[Value]) -> list[Value]:
        """The totals after a row of the strip of B and a column of that of A."""
        e, dtype, vectors = self.e, self.node.dtype, read.vectors
        if self.fetches:
            ahead = e.offset(row, str(_ROWS_AHEAD), str(self.width * self.size))
            for v in range(vectors):
                e.prefetch(self._vector(ahead, v))
        columns = [
            self._load(self._vector(row, v), read.mask, v == vectors - 1) for v in range(vectors)
        ]
        after = []
        for i in range(len(totals) // vectors):
            at = e.offset(column, "1", str(i * self.strip_steps[0])) if i else column
            if self._is_folded(i):
                xs = e.load_apart(at, dtype, vectors)
            else:
                xs = [e.load_one(at, dtype)] * vectors
            after += [e.fma(xs[v], columns[v], totals[i * vectors + v]) for v in range(vectors)]
        return after

    def _is_folded(self, i: int) -> bool:
        """Whether row `i` is one of those of `Tile.folded`, which are spread evenly."""
        # One less where rows are fetched ahead, which is reading too.
        rows, folded = self.tile.rows, max(self.tile.folded - self.fetches, 0)
        return i * folded // rows != (i + 1) * folded // rows

    def _vector(self, row: str, v: int) -> str:
        """The address of vector `v` of a row."""
        return self.e.offset(row, str(v * self.e.lanes), str(self.size)) if v else row

    def _load(self, at: str, mask: Value | None, last: bool) -> Value:
        """A vector; the last one under the mask."""
        self.e.mask = mask if last else None
        value = self.e.load(at, self.node.dtype)
        self.e.mask = None
        return value


def emit_packed(make: Callable[[], PackedEmitter], after: Kernel | None) -> list[Kernel]:
    """The kernels of a product: one, or for each block of the depth one that packs B and one that
    adds to C.

    Args:
        make: makes an emitter of the product.
        after: its epilogue.
    """
    one = make()
    if one.in_place or one.alone:
        return [one.product((0, one.depths), None, after)]
    panel, kernels = one.panel_node(), []
    for number in range(one.depths):
        kernels.append(make().packing(number, panel))
        is_last = number == one.depths - 1
        kernels.append(make().product((number, number + 1), panel, after if is_last else None))
    return kernels
