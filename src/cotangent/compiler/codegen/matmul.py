"""Matrix multiplication: an outer-product register tile.

A tile of C is `height` rows by a few vectors of columns. For each k it loads the vectors of one
row of B and multiplies them by single elements of A. Rows of B must lie densely; A is read with
any strides, so a transposed left side costs nothing. Every element of C is one chain of `fma`
over k from 0, whatever the tile, so its bits depend on nothing but the operands.

The rows are cut into tiles of two heights, h and h - 1, so that no thin edge is left over.

Where B is deep and many tiles share it, a block of its rows is first copied into a dense panel that
stays in the first-level cache; C then carries the sums from one block to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...shapes import contiguous_strides
from ..fuse import Fusion, Group
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for

# Rows of B in a panel: with 32 columns of float32 it takes 16 KB.
_PANEL_ROWS = 128
# Copying a panel pays when at least this many tiles use it.
_TILES_PER_PANEL = 4


class Tile(NamedTuple):
    """The largest tile: rows, and vectors of columns."""

    rows: int
    vectors: int


class _Sides(NamedTuple):
    """Names of the addresses and byte strides at one place of the loops."""

    a: str
    b: str
    c: str


class _MatmulEmitter:
    """Writes one matrix multiplication."""

    def __init__(self, fusion: Fusion, group: Group, tile: Tile) -> None:
        node = group.nodes[0]
        self.node = node
        self.tile = tile
        self.a = fusion.view(node.inputs[0])
        self.b = fusion.contiguous_last(node.inputs[1])
        self.e = KernelEmitter(lanes_for([node.dtype]))
        self.size = node.dtype.itemsize
        self.batch = node.shape[:-2]
        self.m, self.n = node.shape[-2:]
        self.k = self.a.shape[-1]
        self.columns = self.e.lanes * tile.vectors
        many = self.m >= _TILES_PER_PANEL * tile.rows
        self.in_panels = many and self.k > _PANEL_ROWS and self.n > self.columns

    def emit(self) -> Kernel:
        """The whole kernel."""
        e, size = self.e, self.size
        self.steps = [e.integer(s * size) for s in (*self.a.strides[-2:], self.b.strides[-2])]
        self.c_row = e.integer(self.n * size)
        self.depth = e.integer(self.k)
        self.b_row = self.steps[2]
        if self.in_panels:
            width = self.columns * size
            self.panel = e.scratch(_PANEL_ROWS * width)
            self.panel_row = e.integer(width)
        a, b = (e.address(view.base, view.offset) for view in (self.a, self.b))
        sides = _Sides(a, b, e.address(self.node))
        self._batches(0, sides)
        flops = 2 * self.node.size * self.k
        moved = size * (self.node.size + self.m * self.k + self.k * self.n)
        return e.finish(flops, moved)

    def _batches(self, axis: int, sides: _Sides) -> None:
        """Loops over the leading axes; those of size 1 need none."""
        if axis == len(self.batch):
            self._columns(sides)
            return
        if self.batch[axis] == 1:
            self._batches(axis + 1, sides)
            return
        strides = [self._batch_stride(view.shape, view.strides, axis) for view in (self.a, self.b)]
        strides.append(contiguous_strides(self.node.shape)[axis])

        def body(i: str, carried: list[Value]) -> Sequence[Value]:
            moved = (
                self.e.offset(p, i, self.e.integer(s * self.size)) if s else p
                for p, s in zip(sides, strides, strict=True)
            )
            self._batches(axis + 1, _Sides(*moved))
            return carried

        self.e.loop(self.e.integer(self.batch[axis]), 1, [], body)

    def _batch_stride(self, shape: Sequence[int], strides: Sequence[int], axis: int) -> int:
        place = axis + len(shape) - 2 - len(self.batch)
        return strides[place] if place >= 0 and shape[place] != 1 else 0

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

    def _rows(self, sides: _Sides, j: str, vectors: int, last: int) -> None:
        """All rows of one block of columns, in tiles of two heights."""
        tiles = -(-self.m // self.tile.rows)
        height = -(-self.m // tiles)
        low = tiles * height - self.m  # tiles that are one row lower
        high = tiles - low
        mask = None
        if 0 < last < self.e.lanes:
            mask = self.e.first_lanes(self.e.integer(last) if self.n > 32 else str(last))
        first = _Sides(sides.a, self._at(sides.b, j), self._at(sides.c, j))

        def all_tiles(at: _Sides) -> None:
            self._tiles(at, height, high, vectors, mask)
            if low:
                start = self.e.integer(high * height) if high else "0"
                self._tiles(self._down(at, start), height - 1, low, vectors, mask)

        if self.in_panels:
            self._clear(first, vectors, mask)
            self._panels(first, vectors, mask, all_tiles)
        else:
            all_tiles(first)

    def _clear(self, sides: _Sides, vectors: int, mask: Value | None) -> None:
        """Zero one block of columns of C."""
        zero = self.e.constant(0, self.node.dtype)

        def body(i: str, carried: list[Value]) -> Sequence[Value]:
            row = self.e.offset(sides.c, i, self.c_row)
            for v in range(vectors):
                self._store(zero, row, v, vectors, mask)
            return carried

        self.e.loop(self.e.integer(self.m), 1, [], body)

    def _panels(
        self, sides: _Sides, vectors: int, mask: Value | None, all_tiles: Callable[[_Sides], None]
    ) -> None:
        """Blocks of rows of B of nearly equal depth: copy each into the panel, and use it."""
        e = self.e
        blocks = -(-self.k // _PANEL_ROWS)
        step = -(-self.k // blocks)
        whole, step_name = self.depth, e.integer(step)

        def block(number: str, carried: list[Value]) -> Sequence[Value]:
            k = e.compute("mul", number, step_name)
            left = e.compute("sub", whole, k)
            self.depth = e.smaller(left, step_name)
            source = e.offset(sides.b, k, self.steps[2])

            def copy(i: str, inner: list[Value]) -> Sequence[Value]:
                there, here = (
                    e.offset(source, i, self.steps[2]),
                    e.offset(self.panel, i, self.panel_row),
                )
                for v in range(vectors):
                    e.store(self._load(there, v, vectors, mask), self._vector(here, v))
                return inner

            e.loop(self.depth, 1, [], copy)
            self.b_row = self.panel_row
            all_tiles(_Sides(e.offset(sides.a, k, self.steps[1]), self.panel, sides.c))
            self.b_row, self.depth = self.steps[2], whole
            return carried

        e.loop(e.integer(blocks), 1, [], block)

    def _tiles(
        self, sides: _Sides, height: int, count: int, vectors: int, mask: Value | None
    ) -> None:
        if count == 1:
            self._tile(sides, height, vectors, mask)
            return

        def body(i: str, carried: list[Value]) -> Sequence[Value]:
            self._tile(self._down(sides, i), height, vectors, mask)
            return carried

        self.e.loop(self.e.integer(count * height), height, [], body)

    def _down(self, sides: _Sides, i: str) -> _Sides:
        """`i` rows further down in A and C."""
        a = self.e.offset(sides.a, i, self.steps[0])
        return _Sides(a, sides.b, self.e.offset(sides.c, i, self.c_row))

    def _at(self, pointer: str, j: str) -> str:
        return self.e.offset(pointer, j, str(self.size))

    # -- the tile -------------------------------------------------------------------------

    def _tile(self, sides: _Sides, height: int, vectors: int, mask: Value | None) -> None:
        e, dtype = self.e, self.node.dtype
        rows = [sides.a]
        for _ in range(height - 1):
            rows.append(e.offset(rows[-1], "1", self.steps[0]))
        c_rows = [sides.c]
        for _ in range(height - 1):
            c_rows.append(e.offset(c_rows[-1], "1", self.c_row))
        if self.in_panels:
            start = [self._load(c, v, vectors, mask) for c in c_rows for v in range(vectors)]
        else:
            start = [e.constant(0, dtype)] * (height * vectors)

        def body(k: str, totals: list[Value]) -> Sequence[Value]:
            across = e.compute("mul", k, self.steps[1])
            row = e.offset(sides.b, k, self.b_row)
            full = None if self.in_panels else mask  # a panel has whole vectors
            b = [self._load(row, v, vectors, full) for v in range(vectors)]
            after = []
            for i in range(height):
                x = e.load_one(e.offset(rows[i], across, "1"), dtype)
                after += [e.fma(x, b[v], totals[i * vectors + v]) for v in range(vectors)]
            return after

        totals = e.loop(self.depth, 1, start, body)
        for i, row in enumerate(c_rows):
            for v in range(vectors):
                self._store(totals[i * vectors + v], row, v, vectors, mask)

    def _store(self, value: Value, row: str, v: int, vectors: int, mask: Value | None) -> None:
        """Vector `v` of a row of C; only the last one may be masked."""
        self.e.mask = mask if v == vectors - 1 else None
        self.e.store(value, self._vector(row, v))
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


def emit_matmul(fusion: Fusion, group: Group, tile: Tile) -> Kernel | None:
    """The kernel of a matrix product; None if it has no elements."""
    emitter = _MatmulEmitter(fusion, group, tile)
    if emitter.node.size == 0:
        return None
    if emitter.k == 0:
        return _zeros(emitter)
    return emitter.emit()


def _zeros(emitter: _MatmulEmitter) -> Kernel:
    """A product over an empty axis is zero."""
    e, node = emitter.e, emitter.node
    pointer, zero = e.address(node), e.constant(0, node.dtype)

    def body(j: str, carried: list[Value]) -> Sequence[Value]:
        e.store(zero, e.offset(pointer, j, str(emitter.size)))
        return carried

    e.vector_loop(node.size, [], body)
    return e.finish(0, node.size * emitter.size)
