"""Matrix multiplication: an outer-product register tile.

A tile of C is `height` rows by a few vectors of columns. For each k it loads the vectors of one
row of B and multiplies them by single elements of A. Rows of B must lie densely; A is read with
any strides, so a transposed left side costs nothing. Every element of C is one chain of `fma`
over k from 0, whatever the tile, so its bits depend on nothing but the operands.

The rows are cut into tiles of two heights, h and h - 1, so that no thin edge is left over. Where
the number of rows varies (see `Fusion.varying`), these are the largest, and how many tiles of each
there are is no part of the text; where rows cannot be cut so, tiles overlap.

What follows from the elements is done with each tile: see epilogue.py.

Larger products go another way: see packed.py; and products of few rows with a transposed matrix:
see turned.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...shapes import contiguous_strides
from ..fuse import Fusion, Group
from ..views import View, batch_stride
from .blocking import Tile, pays
from .chunks import MANY_STEPS, NANOSECONDS_PER_FLOP_AND_BYTE, axis_to_split
from .emitter import Value
from .epilogue import Epilogue, epilogue_function, home
from .kernel import Kernel, KernelEmitter, lanes_for, without_values
from .packed import PackedEmitter, emit_packed
from .turned import TurnedEmitter, flipped

# Rows are cut where a block of columns is more work than this.
_FLOPS_PER_UNIT = 4_000_000
# A product of so many vectors has its epilogue in the text.
_FEW_VECTORS = 4


class Tiles(NamedTuple):
    """The tiles of a target: without packing, and with it."""

    direct: Tile
    packed: Tile


class _Sides(NamedTuple):
    """Names of the addresses at one place of the loops, and which place of C it is: on each axis of
    the batch, the row, the column."""

    a: str
    b: str
    c: str
    batch: tuple[str, ...] = ()
    row: str = "0"
    column: str = "0"


class _MatmulEmitter:
    """Writes one matrix multiplication."""

    def __init__(self, fusion: Fusion, group: Group, tile: Tile) -> None:
        node = group.nodes[0]
        self.node = node
        self.tile = tile
        self.a = fusion.view(node.inputs[0])
        self.b = fusion.right_side(node)
        self.e = KernelEmitter(lanes_for([node.dtype]))
        self.size = node.dtype.itemsize
        self.batch = node.shape[:-2]
        self.m, self.n = node.shape[-2:]
        self.k = self.a.shape[-1]
        self.columns = self.e.lanes * tile.vectors
        self.tiles = -(-self.m // tile.rows)
        self.varies = self.m in fusion.varying and self.tiles > 1
        self.height = tile.rows if self.varies else -(-self.m // max(self.tiles, 1))
        # Tiles that are one row lower, and the others.
        self.low = min(self.tiles * self.height - self.m, self.tiles)
        self.high = self.tiles - self.low
        self.split, self.row_parts = self._choose_split()
        self.fusion, self.group = fusion, group
        self.inside: Epilogue | None = None
        self.after: Kernel | None = None
        self.tile_memory = ""

    def _choose_split(self) -> tuple[int, int]:
        """What the threads share: an axis of the batch, or, as its number of axes, blocks of
        columns by parts of the rows; and how many such parts there are, a power of two.

        Every element of C is computed alike wherever the cuts are.
        """
        place = len(self.batch)
        if max(self.batch, default=1) >= MANY_STEPS:
            return axis_to_split(self.batch), 1
        blocks = -(-self.n // self.columns)
        flops = 2 * self.m * self.k * min(self.n, self.columns)
        parts = 1
        while flops > parts * _FLOPS_PER_UNIT and self.tiles >= 4 * parts:
            parts *= 2
        if parts * blocks == 1 and place:
            return axis_to_split(self.batch), 1
        return place, parts

    def emit(self) -> Kernel:
        """The whole kernel."""
        e, size = self.e, self.size
        self._choose_epilogue()
        steps = (*self.a.strides[-2:], self.b.strides[-2])
        self.steps = [e.integer(s * size, f"step {i}") for i, s in enumerate(steps)]
        self.c_row = e.integer(self.n * size, "row of c")
        self.depth = e.integer(self.k, "depth")
        a, b = (e.address(view.base, view.offset) for view in (self.a, self.b))
        sides = _Sides(a, b, "" if self.inside or self.after else e.address(self.node))
        if self.split == len(self.batch):
            self._grid(sides)
        else:
            self._batches(0, sides, self._columns)
        flops = 2 * self.node.size * self.k
        moved = size * (self.m * self.k + self.k * self.n)
        nanoseconds = flops * size * NANOSECONDS_PER_FLOP_AND_BYTE
        if self.inside:
            flops, moved = flops + self.inside.flops, moved + self.inside.bytes
        elif self.after is None:
            moved += size * self.node.size
        return e.finish(flops, moved, nanoseconds, after=self.after)

    def _choose_epilogue(self) -> None:
        """Have the epilogue of a small product in the text; that of others in a function, which
        gets tiles by way of a piece of the stack."""
        if len(self.group.nodes) == 1:
            return
        if self.m * -(-self.n // self.e.lanes) <= _FEW_VECTORS:
            self.inside = Epilogue(self.fusion, self.group, self.e)
            return
        self.after = epilogue_function(self.fusion, self.group, is_stored=False)
        self.tile_memory = self.e.scratch(self.height * self.columns * self.size)

    def _batches(self, axis: int, sides: _Sides, inside: Callable[[_Sides], None]) -> None:
        """Loops over the leading axes; those of size 1 need none."""
        if axis == len(self.batch):
            inside(sides)
            return
        if self.batch[axis] == 1:
            self._batches(axis + 1, sides._replace(batch=(*sides.batch, "0")), inside)
            return
        strides = [batch_stride(view, axis - len(self.batch)) for view in (self.a, self.b)]
        strides.append(contiguous_strides(self.node.shape)[axis])

        def body(i: str) -> None:
            moved = [
                self.e.offset(p, i, self.e.integer(s * self.size, "stride")) if s and p else p
                for p, s in zip(sides[:3], strides, strict=True)
            ]
            below = _Sides(moved[0], moved[1], moved[2], (*sides.batch, i))
            self._batches(axis + 1, below, inside)

        if axis == self.split:
            self.e.split_loop(self.batch[axis], body)
        else:
            self.e.loop(self.e.integer(self.batch[axis]), 1, [], without_values(body))

    def _grid(self, sides: _Sides) -> None:
        """The units that are to be done now: blocks of columns by parts of the rows, the parts of
        one block after each other. Each goes through the whole batch."""
        e, whole, rest = self.e, *divmod(self.n, self.columns)
        parts = self.row_parts
        first, last = e.split((whole + (rest > 0)) * parts)
        shift, below = str(parts.bit_length() - 1), str(parts - 1)

        def unit(number: str, vectors: int, masked: int) -> None:
            block = e.compute("lshr", number, shift)
            j = e.compute("mul", block, str(self.columns))
            part = e.compute("and", number, below) if parts > 1 else ""
            self._batches(0, sides, lambda at: self._rows(at, j, vectors, masked, part))

        def full() -> Sequence[Value]:
            e.loop(stop, 1, [], without_values(lambda u: unit(u, self.tile.vectors, 0)), first)
            return []

        def partial() -> Sequence[Value]:
            vectors = -(-rest // e.lanes)
            masked = rest - (vectors - 1) * e.lanes
            body = without_values(lambda u: unit(u, vectors, masked))
            e.loop(last, 1, [], body, e.larger(first, edge))
            return []

        edge = e.integer(whole * parts) if whole else "0"
        stop = e.smaller(last, edge) if rest else last
        if not rest:
            full()
        elif not whole:
            partial()
        else:
            e.when(e.compare("ult", first, stop), [], full)
            e.when(e.compare("ugt", last, edge), [], partial)

    def _columns(self, sides: _Sides) -> None:
        """Blocks of columns; what is left over at the end under a mask."""
        whole, rest = divmod(self.n, self.columns)
        if whole == 1:
            self._rows(sides, "0", self.tile.vectors, 0)
        elif whole:

            def body(j: str, carried: list[Value]) -> Sequence[Value]:
                self._rows(sides, j, self.tile.vectors, 0)
                return carried

            self.e.loop(self.e.integer(whole * self.columns), self.columns, [], body)
        if rest:
            vectors = -(-rest // self.e.lanes)
            start = self.e.integer(whole * self.columns) if whole else "0"
            self._rows(sides, start, vectors, rest - (vectors - 1) * self.e.lanes)

    def _rows(self, sides: _Sides, j: str, vectors: int, last: int, part: str = "") -> None:
        """The rows of one block of columns, in tiles of two heights: all, or those of a part."""
        e, height, low, high = self.e, self.height, self.low, self.high
        mask = None
        if 0 < last < e.lanes:
            mask = e.first_lanes(e.integer(last) if self.n > 32 else str(last))
        b, c = self._at(sides.b, j), self._at(sides.c, j)
        first = sides._replace(b=b, c=c, column=j)
        start, stop = self._tiles_of(part) if part else ("", "")

        def all_tiles(at: _Sides) -> None:
            self._tiles(at, height, high, vectors, mask)
            if low:
                below = self._down(at, e.integer(high * height)) if high else at
                self._tiles(below, height - 1, low, vectors, mask)

        def some_tiles(at: _Sides) -> None:
            border = e.integer(high, "border")
            self._tiles_between(at, height, (start, e.smaller(stop, border)), vectors, mask)
            if low or self.varies:
                below = self._down(at, e.integer(high * height, "row"))
                after = e.compute("sub", e.larger(start, border), border)
                before = e.compute("sub", e.larger(stop, border), border)
                self._tiles_between(below, height - 1, (after, before), vectors, mask)

        if not part and self.varies:
            start, stop = "0", e.integer(self.tiles, "tiles")
        if start:
            some_tiles(first)
        else:
            all_tiles(first)

    def _tiles_of(self, part: str) -> tuple[str, str]:
        """The tiles of a part of the rows; parts differ by one tile at most."""
        e, count = self.e, self.e.integer(self.tiles, "tiles")
        shift = str(self.row_parts.bit_length() - 1)
        bounds = (part, e.compute("add", part, "1"))
        start, stop = (e.compute("lshr", e.compute("mul", x, count), shift) for x in bounds)
        return start, stop

    def _tiles_between(
        self, sides: _Sides, height: int, tiles: tuple[str, str], vectors: int, mask: Value | None
    ) -> None:
        """Tiles of one height, from the first to before the last; perhaps none."""
        e = self.e

        def tile(i: str) -> None:
            if self.varies and height < self.height:
                # What two tiles compute is the same in both, and C is not read.
                past = self.m - self.high * self.height - height
                i = e.smaller(i, e.integer(past, "last tile"))
            self._tile(self._down(sides, i), height, vectors, mask)

        def some() -> Sequence[Value]:
            first, last = (e.compute("mul", x, str(height)) for x in tiles)
            e.loop(last, height, [], without_values(tile), first)
            return []

        e.when(e.compare("ult", *tiles), [], some)

    def _tiles(
        self, sides: _Sides, height: int, count: int, vectors: int, mask: Value | None
    ) -> None:
        if count == 1:
            self._tile(sides, height, vectors, mask)
            return

        body = without_values(lambda i: self._tile(self._down(sides, i), height, vectors, mask))
        self.e.loop(self.e.integer(count * height), height, [], body)

    def _down(self, sides: _Sides, i: str) -> _Sides:
        """`i` rows further down in A and C."""
        a = self.e.offset(sides.a, i, self.steps[0])
        c = self.e.offset(sides.c, i, self.c_row) if sides.c else ""
        row = i if sides.row == "0" else self.e.compute("add", sides.row, i)
        return sides._replace(a=a, c=c, row=row)

    def _at(self, pointer: str, j: str) -> str:
        return self.e.offset(pointer, j, str(self.size)) if pointer else ""

    # -- the tile -------------------------------------------------------------------------

    def _tile(self, sides: _Sides, height: int, vectors: int, mask: Value | None) -> None:
        e, dtype = self.e, self.node.dtype
        rows = [sides.a]
        for _ in range(height - 1):
            rows.append(e.offset(rows[-1], "1", self.steps[0]))
        start = [e.constant(0, dtype)] * (height * vectors)

        def body(k: str, totals: list[Value]) -> Sequence[Value]:
            across = e.compute("mul", k, self.steps[1])
            row = e.offset(sides.b, k, self.steps[2])
            b = [self._load(row, v, vectors, mask) for v in range(vectors)]
            after = []
            for i in range(height):
                x = e.load_one(e.offset(rows[i], across, "1"), dtype)
                after += [e.fma(x, b[v], totals[i * vectors + v]) for v in range(vectors)]
            return after

        totals = e.loop(self.depth, 1, start, body)
        rows_of_totals = [totals[i * vectors : (i + 1) * vectors] for i in range(height)]
        if self.inside:
            self._finish(self.inside, sides, rows_of_totals, mask)
        else:
            self._store(sides, rows_of_totals, mask)

    def _store(self, sides: _Sides, totals: list[list[Value]], mask: Value | None) -> None:
        """Store a tile of C, and have the epilogue done."""
        e, c, c_row = self.e, sides.c, self.c_row
        if self.after:
            c, c_row = self.tile_memory, str(self.columns * self.size)
        for i, values in enumerate(totals):
            c = e.offset(c, "1", c_row) if i else c
            for v, value in enumerate(values):
                e.mask = mask if v == len(values) - 1 else None
                e.store(value, self._vector(c, v))
                e.mask = None
        if self.after is None:
            self._check(totals)
            return
        columns = str(len(totals[0]) * e.lanes)
        if mask is not None:
            left = e.compute("sub", e.integer(self.n, "columns"), sides.column)
            columns = e.smaller(left, columns)
        place = (self._matrix(sides), sides.row, str(len(totals)), sides.column, columns)
        e.call_after(self.after, "true", (self.tile_memory, c_row, *place))

    def _check(self, totals: list[list[Value]]) -> None:
        """Look at a tile that is in registers, if the product is watched. Past the last column, B
        is read as 0: what is not finite there comes of a row of A that spoils all columns."""
        watched = self.fusion.watched
        if id(self.node) in watched:
            allowed = watched[id(self.node)]
            self.e.check([(x, allowed) for values in totals for x in values])

    def _matrix(self, sides: _Sides) -> str:
        """The number of the matrix."""
        e, number = self.e, "0"
        for n, i in zip(self.batch, sides.batch, strict=True):
            if n > 1 and number != "0":
                number = e.compute("mul", number, e.integer(n, "axis"))
                number = e.compute("add", number, i)
            elif n > 1:
                number = i
        return number

    def _finish(
        self, epilogue: Epilogue, sides: _Sides, totals: list[list[Value]], mask: Value | None
    ) -> None:
        """Do the epilogue of a tile that is in registers."""
        start = epilogue.addresses((*sides.batch, sides.row, sides.column))
        for i, values in enumerate(totals):
            row = epilogue.along(start, -2, str(i))
            for v, value in enumerate(values):
                self.e.mask = mask if v == len(values) - 1 else None
                epilogue.store(value, epilogue.along(row, -1, str(v * self.e.lanes)))
                self.e.mask = None

    def _vector(self, row: str, v: int) -> str:
        """The address of vector `v` of a row."""
        return self.e.offset(row, str(v * self.e.lanes), str(self.size)) if v else row

    def _load(self, row: str, v: int, vectors: int, mask: Value | None) -> Value:
        """Vector `v` of a row; only the last one may be masked."""
        self.e.mask = mask if v == vectors - 1 else None
        value = self.e.load(self._vector(row, v), self.node.dtype)
        self.e.mask = None
        return value


def emit_matmul(fusion: Fusion, group: Group, tiles: Tiles) -> list[Kernel]:
    """The kernel of a matrix product; none if it has no elements."""
    node, b = group.nodes[0], fusion.right_side(group.nodes[0])
    if node.size == 0:
        return []
    sides = _turned_sides(fusion, fusion.view(node.inputs[0]), b)
    if sides is not None:
        return [TurnedEmitter(fusion, group, *sides).emit()]
    emitter = _MatmulEmitter(fusion, group, tiles.direct)
    if pays(emitter.m, emitter.n, emitter.k):
        varies = emitter.m in fusion.varying
        after = epilogue_function(fusion, group, is_stored=True)
        make = functools.partial(
            PackedEmitter, node, emitter.a, emitter.b, tiles.packed, varies,
            home(fusion, group),
        )  # fmt: skip
        return emit_packed(make, after)
    return [emitter.emit() if emitter.k else _zeros(emitter)]


def _turned_sides(fusion: Fusion, a: View, b: View) -> tuple[View, View] | None:
    """The sides of a product that goes by turned.py, the one that is turned last; or None."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    if n != 1 and b.strides[-1] != 1:
        return a, b
    by_rows = a.strides[-1] == 1 and k > 1 and k not in fusion.varying
    return (
        (flipped(b), flipped(a)) if n == 1 and m >= lanes_for([a.base.dtype]) and by_rows else None
    )


def _zeros(emitter: _MatmulEmitter) -> Kernel:
    """A product over an empty axis is zero."""
    e, node = emitter.e, emitter.node
    pointer, zero = e.address(node), e.constant(0, node.dtype)

    def body(j: str, carried: list[Value]) -> Sequence[Value]:
        e.store(zero, e.offset(pointer, j, str(emitter.size)))
        return carried

    e.vector_loop(node.size, [], body)
    return e.finish(0, node.size * emitter.size)
