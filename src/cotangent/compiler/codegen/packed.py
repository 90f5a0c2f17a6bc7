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
from collections.abc import Callable
from typing import NamedTuple

from ..graph import Node
from .blocking import BYTES_OF_B, COLUMN, deepest
from .emitter import Value
from .kernel import Kernel, without_values
from .strips import LINE, UNROLLED, StripsEmitter

# From this size on a block of B has left the second-level cache in parts before it is read again,
# and rows of it are fetched so many rows ahead.
_BYTES_TO_FETCH = 512 << 10
_ROWS_AHEAD = 8


class _Strips(NamedTuple):
    """What a tile reads: the address of a strip of B and the bytes from row to row, the mask of its
    last vector, and how many vectors it has."""

    b: str
    b_row: str
    mask: Value | None
    vectors: int


class PackedEmitter(StripsEmitter):
    """Writes the kernels of a product, of which `packing` is one that copies a block of B."""

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
        bytes_of_block = self.block.strips * self.block.depth * self.width * size
        self.fetches = not self.in_place and bytes_of_block >= _BYTES_TO_FETCH
        ends = self._arguments()
        self.c_row = e.integer(self.n * size, "row of c")
        self.bounds = [
            e.integer(x, role) for x, role in zip(blocks, ("first", "last"), strict=True)
        ]
        self.strip = e.scratch((deepest(size) + e.lanes) * COLUMN * size)
        if panel is not None:
            start = e.address(panel)
        elif not self.in_place:
            start = e.scratch(BYTES_OF_B + 2 * LINE * BYTES_OF_B // (self.width * size))
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
                self._pack_rows(here, ("0", depth), full, tail)
            at = e.offset(a, k, self.steps[1])
            following = e.compute("add", number, "1")
            self.complete = e.compare("eq", following, self.bounds[1])
            self._tile_rows((at, here, c), tile, depth, number, full, tail)

        e.loop(self.bounds[1], 1, [], without_values(block), self.bounds[0])

    def _tile_rows(
        self, sides: tuple[str, str, str], tile: str, depth: str, number: str, full: str, tail: str
    ) -> None:
        """A tile of rows, or all of them."""
        e, (a, b, c) = self.e, sides

        def one(t: str) -> None:
            first, rows, last = self._rows_at(t)
            self._pack_a(e.offset(a, first, self.steps[0]), rows, last, depth)
            row = e.offset(c, first, self.c_row)
            c_rows = self._rows_of(row, self.c_row, last)
            self._each_strip(
                full, tail, lambda s, narrow: self._tile(b, c_rows, s, depth, number, narrow)
            )
            place = (self.matrix, first, rows, self.across_at, self.columns)
            e.call_after(self.after, self.complete, (row, self.c_row, *place))

        if self.alone:
            e.loop(e.integer(self.tiles, "tiles"), 1, [], without_values(one))
        else:
            one(tile)

    def _rows_at(self, t: str) -> tuple[str, str, str]:
        """Where tile number `t` of the rows begins, how many it has, and which of these comes last.

        High tiles come first, then those one row lower. A low tile is worked on as a high one in
        which the last two rows are the same; its own number of the last one is "" where there are
        no low tiles.
        """
        e, height = self.e, str(self.height)
        first = e.compute("mul", t, height)
        if not (self.low or self.varies):
            return first, height, ""
        border = e.integer(self.tiles - self.low, "border")
        past = e.compute("sub", e.larger(e.compute("add", t, "1"), border), border)
        missing = e.smaller(past, "1")
        first = e.compute("sub", first, e.compute("sub", past, missing))
        rows = e.compute("sub", height, missing)
        return first, rows, e.compute("sub", rows, "1")

    # -- the tile -------------------------------------------------------------------------

    def _tile(
        self, b: str, c_rows: list[str], s: str, depth: str, number: str, narrow: bool
    ) -> None:
        """One tile of C: rows of a strip."""
        e, dtype = self.e, self.node.dtype
        vectors, mask = self._vectors_of(narrow)
        row = str(self.width * self.size)
        ends = [e.offset(r, s, row) for r in c_rows]
        places = [(self._vector(r, v), v == vectors - 1) for r in ends for v in range(vectors)]
        start = [e.constant(0, dtype)] * len(places)

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
        # The last row comes first, as in a low tile another one is stored over it.
        pairs = list(zip(totals, places, strict=True))
        for total, (at, last) in pairs[-vectors:] + pairs[:-vectors]:
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
        many, one = columns(UNROLLED), columns(1)
        if not self.in_place:
            return e.loop(self._rounded(depth), UNROLLED, begin, many)[2:]
        whole = e.compute("and", depth, str(-UNROLLED))
        carried = e.when(
            e.compare("ne", whole, "0"), begin, lambda: e.loop(whole, UNROLLED, begin, many)
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
