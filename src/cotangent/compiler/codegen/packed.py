"""Matrix multiplication for larger sizes: both sides are packed, then an outer-product tile.

The depth is cut into blocks, and the columns into blocks too. A block of B is copied into strips,
as wide as the tile, which stay in the second-level cache; then for every tile of rows the piece
of A is copied into a dense strip, which stays in the first-level cache while the tile goes along
the block of B. C carries the sums from one block of the depth to the next. So every element of C is
one chain of `fma` over k from 0, as it is without packing: its bits depend on nothing but the
operands.

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
from .chunks import NANOSECONDS_PER_FLOP_AND_BYTE
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for, without_values

_LINE = 64  # bytes
# The strip of A in the first-level cache, and the block of B in the second.
_BYTES_OF_A = 28 << 10
_BYTES_OF_B = 512 << 10
_MOST_COLUMNS = 256
# Units of work that threads share, and tiles of rows that one at least has.
_FEWEST_UNITS = 8
_TILES_PER_PART = 2
_FLOPS_PER_UNIT = 3_000_000
# Smaller products are done without packing.
_LEAST_ROWS, _LEAST_COLUMNS, _LEAST_DEPTH = 32, 32, 48


class Block(NamedTuple):
    """Sizes of the blocks: `depth` of both sides, `strips` of B side by side."""

    depth: int
    strips: int


def pays(m: int, n: int, k: int) -> bool:
    """Whether copying the sides costs less than it saves."""
    return m >= _LEAST_ROWS and n >= _LEAST_COLUMNS and k >= _LEAST_DEPTH


def blocks(k: int, n: int, width: int, rows: int, size: int) -> Block:
    """The blocks for a product of depth `k` and `n` columns, by a tile of `rows` rows and `width`
    columns of `size` bytes: as deep as the strip of A may be, and of nearly equal depth; two blocks
    side by side at least, for two threads."""
    depth = -(-k // -(-k // deepest(rows, size)))
    columns = min(_MOST_COLUMNS, _BYTES_OF_B // (depth * size))
    return Block(depth, max(min(columns // width, -(-n // (2 * width))), 1))


def deepest(rows: int, size: int) -> int:
    """The largest depth of a block."""
    return max(_BYTES_OF_A // (rows * size) // 32 * 32, 32)


class PackedEmitter:
    """Writes one matrix multiplication.

    Args:
        node: the product, ``[..., m, n]``.
        a, b: how its sides are read; the rows of `b` must lie densely.
        rows, vectors: the largest tile.
        varies: whether the number of rows varies (see `Fusion.varying`).
    """

    def __init__(
        self, node: Node, a: View, b: View, rows: int, vectors: int, varies: bool = False
    ) -> None:
        self.node, self.a, self.b = node, a, b
        self.e = KernelEmitter(lanes_for([node.dtype]))
        self.size = node.dtype.itemsize
        self.batch = node.shape[:-2]
        self.m, self.n = node.shape[-2:]
        self.k = a.shape[-1]
        self.vectors = vectors
        self.width = vectors * self.e.lanes
        self.varies = varies
        self.deepest = deepest(rows, self.size)
        self.block = blocks(self.k, self.n, self.width, rows, self.size)
        self.tiles = -(-self.m // rows)
        self.height = -(-self.m // self.tiles)
        self.low = self.tiles * self.height - self.m  # tiles that are one row lower
        self.strips = -(-self.n // self.width)
        self.rest = self.n % self.width
        self.depths = -(-self.k // self.block.depth)
        # A strip of A has its rows or, where those of A lie densely downwards, its columns.
        self.by_columns = a.strides[-2] == 1 and a.strides[-1] != 1
        line = -(-rows * self.size // _LINE) * _LINE
        self.a_steps = (line, self.size) if self.by_columns else (self.size, self._row_bytes())

    def _row_bytes(self) -> int:
        """Bytes from row to row of a strip of A; not a power of two, so that the rows do not
        compete for the same lines of the cache."""
        return -(-self.deepest * self.size // _LINE) * _LINE + _LINE

    def emit(self) -> Kernel:
        """The whole kernel."""
        e, size = self.e, self.size
        across = -(-self.strips // self.block.strips)
        parts = self._row_parts(across)
        ends = [e.address(view.base, view.offset) for view in (self.a, self.b)]
        steps = (*self.a.strides[-2:], self.b.strides[-2])
        self.steps = [e.integer(s * size, f"step {i}") for i, s in enumerate(steps)]
        self.c_row = e.integer(self.n * size, "row of c")
        self.depth = e.integer(self.block.depth, "depth of a block")
        self.strip_bytes = e.integer(
            self.block.depth * self.width * size + 2 * _LINE, "bytes of a strip"
        )
        bytes_of_a = self.deepest * self.a_steps[0] if self.by_columns else (
            self.height * self.a_steps[1] + _LINE
        )  # fmt: skip
        self.strip = e.scratch(bytes_of_a)
        self.panel = e.scratch(_BYTES_OF_B + _MOST_COLUMNS // self.width * 2 * _LINE)
        sides = [*ends, e.address(self.node)]

        def unit(number: str) -> None:
            divisors = e.integer(parts, "parts"), e.integer(across, "across")
            rest, part = (e.compute(x, number, divisors[0]) for x in ("udiv", "urem"))
            batch, column = (e.compute(x, rest, divisors[1]) for x in ("udiv", "urem"))
            self._unit(self._in_batch(sides, batch), column, part, divisors[0])

        e.split_loop(math.prod(self.batch) * across * parts, unit)
        flops = 2 * self.node.size * self.k
        moved = size * (self.node.size + self.m * self.k + self.k * self.n)
        return e.finish(flops, moved, flops * size * NANOSECONDS_PER_FLOP_AND_BYTE)

    def _row_parts(self, across: int) -> int:
        """Into how many parts the rows are cut, each of which copies the block of B for itself: so
        many that threads have enough to share."""
        units, flops = across * math.prod(self.batch), 2 * self.node.size * self.k
        parts = 1
        while (
            units * parts < _FEWEST_UNITS
            and self.tiles >= 2 * parts * _TILES_PER_PART
            and flops >= 2 * units * parts * _FLOPS_PER_UNIT
        ):
            parts *= 2
        return parts

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

    # -- one block of columns, some of the rows -------------------------------------------

    def _unit(self, sides: list[str], column: str, part: str, parts: str) -> None:
        e, count = self.e, self.e.integer(self.block.strips, "strips of a block")
        first = e.compute("mul", column, count)
        last = e.smaller(e.compute("add", first, count), e.integer(self.strips, "strips"))
        # The strips of full width, and whether one of less is behind them.
        whole = e.smaller(last, e.integer(self.n // self.width, "whole strips"))
        tail = e.compare("ult", whole, last) if self.rest else ""
        full = e.compute("sub", whole, first)
        a, b, c = sides
        across = e.compute("mul", first, str(self.width))
        b, c = (e.offset(p, across, str(self.size)) for p in (b, c))
        bounds = [part, e.compute("add", part, "1")]
        tiles = e.integer(self.tiles, "tiles")
        start, stop = (e.compute("udiv", e.compute("mul", x, tiles), parts) for x in bounds)

        def block(number: str) -> None:
            k = e.compute("mul", number, self.depth)
            depth = e.smaller(e.compute("sub", e.integer(self.k, "k"), k), self.depth)
            self._pack_b(e.offset(b, k, self.steps[2]), depth, full, tail)
            at = e.offset(a, k, self.steps[1])
            self._tile_rows(at, c, (start, stop), depth, number, full, tail)

        e.loop(e.integer(self.depths, "depths"), 1, [], without_values(block))

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
            return self.vectors, None
        vectors = -(-self.rest // self.e.lanes)
        last = self.rest - (vectors - 1) * self.e.lanes
        return vectors, self.e.first_lanes(str(last)) if last < self.e.lanes else None

    def _pack_b(self, b: str, depth: str, full: str, tail: str) -> None:
        """Copy a block of B into strips of which each row follows the one before."""
        e, row = self.e, self.width * self.size

        def line(k: str) -> None:
            source = e.offset(b, k, self.steps[2])
            target = e.offset(self.panel, k, str(row))

            def strip(s: str, narrow: bool) -> None:
                vectors, mask = self._vectors_of(narrow)
                there = e.offset(source, s, str(row))
                here = e.offset(target, s, self.strip_bytes)
                for v in range(vectors):
                    value = self._load(self._vector(there, v), mask, v == vectors - 1)
                    e.store(value, self._vector(here, v))

            self._each_strip(full, tail, strip)

        e.loop(depth, 1, [], without_values(line))

    def _tile_rows(
        self, a: str, c: str, tiles: tuple[str, str], depth: str, number: str, full: str, tail: str
    ) -> None:
        """The tiles from the first to before the last: high ones, then those one row lower."""
        e, high = self.e, self.tiles - self.low
        border = e.integer(high, "border")
        kinds = [(self.height, "0", border, tiles[0], e.smaller(tiles[1], border))]
        if self.low or self.varies:
            kinds.append((self.height - 1, border, "", e.larger(tiles[0], border), tiles[1]))
        for height, _, _, start, stop in kinds:

            def tile(t: str, height: int = height) -> None:
                lower = e.compute("mul", t, str(self.height))
                if height < self.height:
                    past = e.compute("sub", t, border)
                    lower = e.compute("sub", lower, past)
                self._pack_a(e.offset(a, lower, self.steps[0]), height, depth)
                row = e.offset(c, lower, self.c_row)
                self._each_strip(
                    full, tail,
                    lambda s, narrow: self._tile(row, s, height, depth, number, narrow),
                )  # fmt: skip

            def some(tile: Callable[[str], None] = tile, ends: Any = (start, stop)) -> list[Value]:
                e.loop(ends[1], 1, [], without_values(tile), ends[0])
                return []

            e.when(e.compare("ult", start, stop), [], some)

    def _pack_a(self, a: str, height: int, depth: str) -> None:
        """Copy `height` rows of a block of A."""
        e, dtype = self.e, self.node.dtype
        if self.by_columns:
            vectors = -(-height // e.lanes)
            last = height - (vectors - 1) * e.lanes
            mask = e.first_lanes(str(last)) if last < e.lanes else None

            def column(k: str) -> None:
                there = e.offset(a, k, self.steps[1])
                here = e.offset(self.strip, k, str(self.a_steps[0]))
                for v in range(vectors):
                    value = self._load(self._vector(there, v), mask, v == vectors - 1)
                    e.store(value, self._vector(here, v))

            e.loop(depth, 1, [], without_values(column))
            return
        step = self.a.strides[-1] * self.size
        rows = [a]
        for _ in range(height - 1):
            rows.append(e.offset(rows[-1], "1", self.steps[0]))

        def piece(k: str) -> None:
            for i, row in enumerate(rows):
                value = e.load_along(e.offset(row, k, self.steps[1]), step, dtype)
                here = e.offset(self.strip, k, str(self.size))
                e.store(value, e.offset(here, "1", str(i * self.a_steps[1])) if i else here)

        whole = e.compute("and", depth, str(-e.lanes))

        def vectors_of_depth() -> list[Value]:
            e.loop(whole, e.lanes, [], without_values(piece))
            return []

        def end() -> list[Value]:
            e.mask = e.first_lanes(e.compute("sub", depth, whole))
            piece(whole)
            e.mask = None
            return []

        e.when(e.compare("ne", whole, "0"), [], vectors_of_depth)
        e.when(e.compare("ne", whole, depth), [], end)

    # -- the tile -------------------------------------------------------------------------

    def _tile(self, c: str, s: str, height: int, depth: str, number: str, narrow: bool) -> None:
        """One tile of C: `height` rows of a strip."""
        e, dtype = self.e, self.node.dtype
        vectors, mask = self._vectors_of(narrow)
        row = self.width * self.size
        b = e.offset(self.panel, s, self.strip_bytes)
        c_rows = [e.offset(c, s, str(row))]
        for _ in range(height - 1):
            c_rows.append(e.offset(c_rows[-1], "1", self.c_row))
        places = [(self._vector(r, v), v == vectors - 1) for r in c_rows for v in range(vectors)]
        zeros = [e.constant(0, dtype)] * (height * vectors)

        def carried() -> list[Value]:
            return [self._load(at, mask, last) for at, last in places]

        start = zeros
        if self.depths > 1:
            start = e.when(e.compare("ne", number, "0"), zeros, carried)
        along, down = self.a_steps

        def body(k: str, totals: list[Value]) -> Sequence[Value]:
            b_row = e.offset(b, k, str(row))
            a_column = e.offset(self.strip, k, str(along))
            columns = [e.load(self._vector(b_row, v), dtype) for v in range(vectors)]
            after = []
            for i in range(height):
                x = e.load_one(e.offset(a_column, "1", str(i * down)) if i else a_column, dtype)
                after += [e.fma(x, columns[v], totals[i * vectors + v]) for v in range(vectors)]
            return after

        totals = e.loop(depth, 1, start, body)
        for total, (at, last) in zip(totals, places, strict=True):
            e.mask = mask if last else None
            e.store(total, at)
            e.mask = None

    def _vector(self, row: str, v: int) -> str:
        """The address of vector `v` of a row."""
        return self.e.offset(row, str(v * self.e.lanes), str(self.size)) if v else row

    def _load(self, at: str, mask: Value | None, last: bool) -> Value:
        """A vector; the last one under the mask."""
        self.e.mask = mask if last else None
        value = self.e.load(at, self.node.dtype)
        self.e.mask = None
        return value
