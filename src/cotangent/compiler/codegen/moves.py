"""Kernels that move rows: gather, scatter-add, transposing copies.

Indices are checked where they are used. A bad one sets the status of the step and is replaced
by 0, so nothing outside of the arrays is ever touched.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from ...errors import CompileError
from ...shapes import contiguous_strides
from ..fuse import Fusion, Group
from ..graph import Node
from .chunks import axis_to_split
from .emitter import Emitter, Value
from .kernel import Kernel, KernelEmitter, lanes_for, without_values

_KINDS = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}


def _row_of(e: KernelEmitter, index: Node, pointer: str, i: str, rows: int) -> str:
    """Index number `i` as a 64-bit integer in ``[0, rows)``; a bad one is reported and becomes
    0."""
    kind = _KINDS[index.dtype.itemsize]
    at = e.offset(pointer, i, str(index.dtype.itemsize))
    raw, wide = e.fresh(), e.fresh()
    e.lines.append(f"  {raw} = load {kind}, ptr {at}")
    if kind == "i64":
        wide = raw
    else:
        widen = "sext" if index.dtype.kind == "i" else "zext"
        e.lines.append(f"  {wide} = {widen} {kind} {raw} to i64")
    bad = e.compare("uge", wide, e.integer(rows))  # as unsigned, a negative index is huge
    e.report(bad)
    safe = e.fresh()
    e.lines.append(f"  {safe} = select i1 {bad}, i64 0, i64 {wide}")
    return safe


def _each(e: KernelEmitter, count: int, body: Callable[[str], None]) -> None:
    """A plain loop, or no loop for one."""

    def step(i: str, carried: list[Value]) -> Sequence[Value]:
        body(i)
        return carried

    if count == 1:
        body("0")
    else:
        e.loop(e.integer(count), 1, [], step)


def emit_gather(fusion: Fusion, group: Group) -> list[Kernel]:
    """Rows of x by index."""
    node = group.nodes[0]
    x, index = (fusion.dense(operand).base for operand in node.inputs)
    count = node.inputs[1].size
    rows, width = node.inputs[0].shape[0], math.prod(node.inputs[0].shape[1:])
    if count == 0:
        return []
    if rows == 0:
        width = 0  # every index is out of range: check them, and read nothing
    e = KernelEmitter(lanes_for([node.dtype]))
    size = node.dtype.itemsize
    source, places, target = e.address(x), e.address(index), e.address(node)

    def one(i: str) -> None:
        row = _row_of(e, index, places, i, rows)
        there = e.offset(source, row, e.integer(width * size))
        here = e.offset(target, i, e.integer(width * size))

        def part(j: str, carried: list[Value]) -> Sequence[Value]:
            value = e.load(e.offset(there, j, str(size)), node.dtype)
            e.store(value, e.offset(here, j, str(size)))
            return carried

        e.vector_loop(width, [], part)

    if count == 1:
        one("0")
    else:
        e.split_loop(count, one)
    return [e.finish(0, 2 * node.size * size)]


def emit_scatter(fusion: Fusion, group: Group) -> list[Kernel]:
    """Zeros, and then row after row is added, in order; or x, and rows replace those of x.

    Where rows are long enough, each chunk does some columns of all of them: so rows are added in
    the same order however many threads there are.
    """
    node = group.nodes[0]
    adding = node.op == "scatter_add"
    *start, values, index = (fusion.dense(operand).base for operand in node.inputs)
    count = node.inputs[-1].size
    rows, width = node.shape[0], math.prod(node.shape[1:])
    if node.size == 0 and count == 0:
        return []
    if rows == 0:
        width = 0  # every index is out of range: check them, and write nothing
    e = KernelEmitter(lanes_for([node.dtype]))
    size = node.dtype.itemsize
    source, places, target = e.address(values), e.address(index), e.address(node)
    zero = e.constant(0, node.dtype)
    split = width > 32  # as `split_vectors` has it

    def whole(body: Callable[[str], None]) -> None:
        e.vector_loop(node.size, [], without_values(body))

    columns = e.split_vectors(width)

    def begin(row: str) -> None:
        there = e.offset(target, row, e.integer(width * size))
        here = e.offset(e.address(start[0]), row, e.integer(width * size)) if start else ""

        def part(j: str) -> None:
            first = e.load(e.offset(here, j, str(size)), node.dtype) if start else zero
            e.store(first, e.offset(there, j, str(size)))

        (columns if split else whole)(part)

    def one(i: str) -> None:
        row = _row_of(e, index, places, i, rows)
        here = e.offset(source, i, e.integer(width * size))
        there = e.offset(target, row, e.integer(width * size))

        def part(j: str) -> None:
            at = e.offset(there, j, str(size))
            new = e.load(e.offset(here, j, str(size)), node.dtype)
            e.store(e.add(e.load(at, node.dtype), new) if adding else new, at)

        columns(part)

    if split:
        _each(e, rows, begin)
    else:
        begin("0")
    if count:
        _each(e, count, one)
    return [e.finish(node.size, size * (node.size + 3 * count * width))]


def emit_transpose(fusion: Fusion, group: Group) -> list[Kernel]:
    """A copy of a view whose second to last axis lies densely, in square blocks in registers."""
    node, view = group.nodes[0], group.source
    if view is None:
        raise CompileError(f"a transposing copy without a source: {node.where()}")
    if node.size == 0:
        return []
    e = KernelEmitter(lanes_for([node.dtype]))
    batch = list(range(len(view.shape) - 2))
    parts = -(-node.shape[-2] // e.lanes)
    split = axis_to_split([*view.shape[:-2], parts])
    if parts < 2 and split == len(batch):
        split = -1
    out = contiguous_strides(node.shape)
    size = node.dtype.itemsize

    def at(axis: int, source: str, target: str) -> None:
        if axis == len(batch):
            _blocks(e, node, (source, target, view.strides[-1] * size), split == axis)
            return

        def inside(i: str) -> None:
            step = e.integer(view.strides[axis] * size)
            moved = e.offset(target, i, e.integer(out[axis] * size))
            at(axis + 1, e.offset(source, i, step), moved)

        if axis == split:
            e.split_loop(view.shape[axis], inside)
        else:
            _each(e, view.shape[axis], inside)

    at(0, e.address(view.base, view.offset), e.address(node))
    return [e.finish(0, 2 * node.size * size)]


def _blocks(
    e: KernelEmitter, node: Node, sides: tuple[str, str, int], is_split: bool
) -> None:  # fmt: skip
    """Transpose one matrix: rows of the result are columns that lie `source_row` bytes apart."""
    source, target, source_row = sides
    size = node.dtype.itemsize
    height, width = node.shape[-2:]  # the source has `width` rows of `height` dense elements
    source_step, target_step = e.integer(source_row), e.integer(width * size)

    def column(i: str, rows: int) -> None:
        def block(j: str, columns: int) -> None:
            there = e.offset(e.offset(source, j, source_step), i, str(size))
            here = e.offset(e.offset(target, i, target_step), j, str(size))
            _block(e, node, (there, source_step, columns), (here, target_step, rows))

        _in_parts(e, width, block)

    if is_split:
        _split_in_parts(e, height, column)
    else:
        _in_parts(e, height, column)


def _split_in_parts(e: KernelEmitter, total: int, body: Callable[[str, int], None]) -> None:
    """`_in_parts`, for the parts that are to be done now."""
    whole, rest = divmod(total, e.lanes)
    first, last = e.split(whole + (rest > 0))
    width, count = str(e.lanes), e.integer(whole)
    stop = e.smaller(last, count)

    def full() -> Sequence[Value]:
        start = e.compute("mul", first, width)
        step = without_values(lambda i: body(i, e.lanes))
        e.loop(e.compute("mul", stop, width), e.lanes, [], step, start)
        return []

    def partial() -> Sequence[Value]:
        body(e.compute("mul", count, width), rest)
        return []

    e.when(e.compare("ult", first, stop), [], full)
    if rest:
        e.when(e.compare("ugt", last, count), [], partial)


def _in_parts(e: KernelEmitter, total: int, body: Callable[[str, int], None]) -> None:
    """`body` for parts of as many as there are lanes, then for the rest."""
    whole, rest = divmod(total, e.lanes)
    if whole == 1:
        body("0", e.lanes)
    elif whole:

        def step(i: str, carried: list[Value]) -> Sequence[Value]:
            body(i, e.lanes)
            return carried

        e.loop(e.integer(whole * e.lanes), e.lanes, [], step)
    if rest:
        body(e.integer(whole * e.lanes) if whole else "0", rest)


def _block(
    e: KernelEmitter, node: Node, source: tuple[str, str, int], target: tuple[str, str, int]
) -> None:
    """One block: load its rows, exchange halves in log2 steps, store its columns."""
    at, step, count = source
    rows = []
    e.mask = e.first_lanes(str(target[2])) if target[2] < e.lanes else None
    for i in range(e.lanes):
        rows.append(e.load(at, node.dtype) if i < count else e.constant(0, node.dtype))
        if i + 1 < count:
            at = e.offset(at, "1", step)
    e.mask = None
    rows = transpose_registers(e, rows)
    at, step, stored = target
    e.mask = e.first_lanes(str(count)) if count < e.lanes else None
    for i in range(stored):
        e.store(rows[i], at)
        if i + 1 < stored:
            at = e.offset(at, "1", step)
    e.mask = None


def transpose_registers(e: KernelEmitter, rows: list[Value]) -> list[Value]:
    """The transposed square of as many vectors as they have lanes, a power of two.

    A round interleaves the lanes of rows i and i + n/2 into rows 2i and 2i + 1: of the bits of a
    row's number and a lane's, one after the other, the first becomes the last. After log2 n rounds
    they have changed places. All rounds are alike, so they are a loop: LLVM takes long for each of
    the instructions that exchange lanes.
    """
    n = e.lanes
    low, high = _interleaved(n, 0), _interleaved(n, n // 2)

    def turn(_round: str, rows: list[Value]) -> list[Value]:
        pairs = zip(rows[: n // 2], rows[n // 2 :], strict=True)
        return [_mix(e, a, b, lanes) for a, b in pairs for lanes in (low, high)]

    return e.loop(str(n.bit_length() - 1), 1, rows, turn) if n > 1 else rows


@functools.cache
def _interleaved(n: int, start: int) -> str:
    """Lanes of two vectors of `n` in turn, from number `start` on."""
    lanes = [start + k // 2 + n * (k % 2) for k in range(n)]
    return ", ".join(f"i32 {k}" for k in lanes)


def _mix(e: Emitter, a: Value, b: Value, pick: str) -> Value:
    kind = e.type_of(a.dtype)
    lanes = f"<{e.lanes} x i32> <{pick}>"
    return e.emit(f"shufflevector {kind} {a.text}, {kind} {b.text}, {lanes}", a.dtype)
