"""Kernels in which order matters: running sums, and sorting.

Running sums go along a row by vectors. In a vector x of L lanes, ``x[i] += x[i - w]`` for w = 1,
2, 4, ... gives its own running sums; the total of all vectors before is added last. So the order of
the additions depends on the row's length and dtype only.

To sort, keys become unsigned integers in the same order, all NaN the largest. In a short row an
element's place is the number of those before it, counted by vectors. A longer row is sorted by the
digits of its keys to base 256, from the lowest to the highest (D. Knuth, "The Art of Computer
Programming", volume 3, section 5.2.5): count how often each value of the digit occurs, and move
the elements to where theirs begin. Each pass keeps the order of equal digits, so equal elements
keep theirs. A digit that is the same in all keys needs no pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...dtypes import DType, bool_, int32, int64, uint8
from ..fuse import Fusion, Group
from ..graph import Node
from .access import lane_numbers
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for, without_values

_NANOSECONDS_PER_SUM, _NANOSECONDS_PER_MOVE = 0.4, 3.0
# Up to here counting takes less time than sorting by bytes.
_SHORT = 128
# Values of a digit. With 11 bits in place of 8 there are fewer passes, but they take longer.
_VALUES = 256


def emit_ordered(fusion: Fusion, group: Group) -> list[Kernel]:
    """The kernel of running sums or an argsort; none if it has no elements."""
    node = group.nodes[0]
    if node.size == 0:
        return []
    if node.op != "argsort":
        return [_emit_sums(fusion, group)]
    return [(_emit_counting if node.shape[-1] <= _SHORT else _emit_by_digits)(fusion, group)]


# -- running sums -----------------------------------------------------------------------------


def _emit_sums(fusion: Fusion, group: Group) -> Kernel:
    node = group.nodes[0]
    e = KernelEmitter(lanes_for([node.dtype]))
    size, n = node.dtype.itemsize, node.shape[-1]
    source, target = e.address(fusion.dense(node.inputs[0]).base), e.address(node)
    # Adding 0 would make a positive zero of -0.
    nothing = e.constant(-0.0 if node.dtype.kind == "f" else 0, node.dtype)

    def row(r: str) -> None:
        there = e.offset(source, r, e.integer(n * size))
        here = e.offset(target, r, e.integer(n * size))

        def step(i: str, totals: list[Value]) -> Sequence[Value]:
            value = e.load(e.offset(there, i, str(size)), node.dtype)
            width = 1
            while width < e.lanes:
                before = [e.lanes if k < width else k - width for k in range(e.lanes)]
                value = e.add(_shuffle(e, value, nothing, before), value)
                width *= 2
            e.store(e.add(totals[0], value), e.offset(here, i, str(size)))
            return [e.add(totals[0], _shuffle(e, value, nothing, [e.lanes - 1] * e.lanes))]

        e.vector_loop(n, [nothing], step)

    e.split_loop(node.size // n, row)
    return e.finish(node.size, 2 * node.size * size, _NANOSECONDS_PER_SUM * node.size)


def _shuffle(e: KernelEmitter, x: Value, y: Value, lanes: list[int]) -> Value:
    """Lanes of x, then those of y, by number."""
    kind, turn = e.type_of(x.dtype), ", ".join(f"i32 {lane}" for lane in lanes)
    text = f"shufflevector {kind} {x.text}, {kind} {y.text}, <{e.lanes} x i32> <{turn}>"
    return e.emit(text, x.dtype)


# -- sorting ----------------------------------------------------------------------------------


def _word(dtype: DType) -> DType:
    """The unsigned integer that holds a key."""
    return uint8 if dtype == bool_ else np.dtype(f"uint{8 * dtype.itemsize}")


def _key(e: KernelEmitter, x: Value) -> Value:
    """An unsigned integer for each element, in the same order; equal ones for equal elements."""
    word = _word(x.dtype)
    if x.dtype == bool_ or x.dtype.kind == "u":
        return e.cast(x, word)
    top = e.constant(1 << (8 * x.dtype.itemsize - 1), word)
    if x.dtype.kind == "i":
        return e.xor(e.cast(x, word), top)
    bits = e.bitcast(x, word)
    # Below 0 the order of the bits is the reverse one; -0 is not below, and gets the key of 0.
    key = e.select(e.lt(x, e.zero(x)), e.not_(bits), e.or_(bits, top))
    return e.select(e.is_nan(x), e.constant(-1, word), key)


def _emit_counting(fusion: Fusion, group: Group) -> Kernel:
    """Short rows: an element goes behind those that are smaller, or equal and before it."""
    node = group.nodes[0]
    source, dtype = fusion.dense(node.inputs[0]).base, node.inputs[0].dtype
    n, word = node.shape[-1], _word(dtype)
    e = KernelEmitter(lanes_for([word]))
    width, padded = word.itemsize, -(-n // e.lanes) * e.lanes
    start, target, keys = e.address(source), e.address(node), e.scratch(padded * width)

    def row(r: str) -> None:
        there = e.offset(start, r, e.integer(n * width))
        here = e.offset(target, r, e.integer(n * 8))
        # Past the end come keys that are smaller than none, and not before any.
        last = e.offset(keys, str(padded - e.lanes), str(width))
        e.store(e.constant(-1, word), last)

        def fill(i: str) -> None:
            key = _key(e, e.load(e.offset(there, i, str(width)), dtype))
            e.store(key, e.offset(keys, i, str(width)))

        e.vector_loop(n, [], without_values(fill))
        starts = range(0, padded, e.lanes)
        vectors = [e.load(e.offset(keys, str(at), str(width)), word) for at in starts]

        def place(i: str) -> None:
            key = e.load_one(e.offset(keys, i, str(width)), word)
            rank = _count_before(e, vectors, key, i)
            e.lines.append(f"  store i64 {i}, ptr {e.offset(here, rank, '8')}")

        e.loop(e.integer(n), 1, [], without_values(place))

    e.split_loop(node.size // n, row)
    work = node.size * len(range(0, padded, e.lanes))
    return e.finish(node.size * n, 2 * node.size * 8, 2.0 * work)


def _count_before(e: KernelEmitter, vectors: list[Value], key: Value, i: str) -> str:
    """How many keys are smaller than `key`, which has number i, or equal and before it."""
    number = e.splat(_scalar(e, f"trunc i64 {i} to i32"), int32)
    total = "0"
    for at, vector in enumerate(vectors):
        first = e.constant(at * e.lanes, int32)
        numbers = e.add(Value(lane_numbers(e.lanes, "i32"), int32, e.lanes), first)
        equal = e.and_(e.eq(vector, key), e.lt(numbers, number))
        before = e.or_(e.lt(vector, key), equal)
        kind = f"i{e.lanes}"
        bits = _scalar(e, f"bitcast <{e.lanes} x i1> {before.text} to {kind}")
        e.declarations.add(f"declare {kind} @llvm.ctpop.{kind}({kind})")
        count = _scalar(e, f"call {kind} @llvm.ctpop.{kind}({kind} {bits})")
        total = e.compute("add", total, _scalar(e, f"zext {kind} {count} to i64"))
    return total


def _scalar(e: KernelEmitter, text: str) -> str:
    """The name of the result of one scalar instruction."""
    name = e.fresh()
    e.lines.append(f"  {name} = {text}")
    return name


class _Buffers:
    """Memory for keys and places of a row, twice, and for how often each digit occurs."""

    def __init__(self, e: KernelEmitter, node: Node, word: DType) -> None:
        rows, n = node.size // node.shape[-1], node.shape[-1]
        self.e, self.n, self.word = e, n, word
        self.index = int32 if n < 2**31 else int64
        self.keys = e.address(Node("scratch", (rows, 2, n), word))
        self.places = e.address(Node("scratch", (rows, 2, n), self.index))
        self.digits = word.itemsize
        self.counts = e.scratch(self.digits * _VALUES * self.index.itemsize)

    def at(self, pointer: str, number: str, dtype: DType) -> str:
        """Where element `number` is."""
        return self.e.offset(pointer, number, str(dtype.itemsize))

    def sides(self, pointer: str, r: str, side: str, dtype: DType) -> str:
        """The row's first or second half."""
        size = self.n * dtype.itemsize
        start = self.e.offset(pointer, r, self.e.integer(2 * size))
        return self.e.offset(start, side, self.e.integer(size))

    def counters(self, number: int) -> str:
        """The counters of the values of digit `number`."""
        return self.e.offset(self.counts, str(number * _VALUES), str(self.index.itemsize))

    def counter(self, key: Value, number: int) -> str:
        """The counter of digit `number` of a key."""
        e = self.e
        digit = e.shr(key, e.constant(8 * number, self.word))
        digit = e.and_(digit, e.constant(_VALUES - 1, self.word))
        return self.at(self.counters(number), e.cast(digit, int64).text, self.index)


def _emit_by_digits(fusion: Fusion, group: Group) -> Kernel:
    node = group.nodes[0]
    dtype, n = node.inputs[0].dtype, node.shape[-1]
    e, word = KernelEmitter(1), _word(dtype)
    source, target = e.address(fusion.dense(node.inputs[0]).base), e.address(node)
    buffers = _Buffers(e, node, word)

    def row(r: str) -> None:
        there = e.offset(source, r, e.integer(n * word.itemsize))
        here = e.offset(target, r, e.integer(n * 8))
        _fill(buffers, r, there, dtype)
        side = e.constant(0, int64)
        for number in range(buffers.digits):
            side = _pass(buffers, r, side, number)
        places = buffers.sides(buffers.places, r, side.text, buffers.index)

        def result(i: str) -> None:
            place = e.load_one(buffers.at(places, i, buffers.index), buffers.index)
            e.store(e.cast(place, int64), e.offset(here, i, "8"))

        e.loop(e.integer(n), 1, [], without_values(result))

    e.split_loop(node.size // n, row)
    work = node.size * (buffers.digits + 1)
    return e.finish(work, 2 * node.size * 8, _NANOSECONDS_PER_MOVE * work)


def _fill(buffers: _Buffers, r: str, source: str, dtype: DType) -> None:
    """Keys and places of a row on side 0, and how often each digit occurs."""
    e, index = buffers.e, buffers.index
    keys = buffers.sides(buffers.keys, r, "0", buffers.word)
    places = buffers.sides(buffers.places, r, "0", index)

    def clear(i: str) -> None:
        e.store(e.constant(0, index), buffers.at(buffers.counts, i, index))

    e.loop(str(buffers.digits * _VALUES), 1, [], without_values(clear))

    def fill(i: str) -> None:
        key = _key(e, e.load_one(buffers.at(source, i, buffers.word), dtype))
        e.store(key, buffers.at(keys, i, buffers.word))
        e.store(e.cast(Value(i, int64, 1), index), buffers.at(places, i, index))
        for number in range(buffers.digits):
            at = buffers.counter(key, number)
            e.store(e.add(e.load_one(at, index), e.constant(1, index)), at)

    e.loop(e.integer(buffers.n), 1, [], without_values(fill))


def _pass(buffers: _Buffers, r: str, side: Value, number: int) -> Value:
    """Order a row by digit `number`, from `side` to the other; the side where it is then."""
    e, index, word = buffers.e, buffers.index, buffers.word
    keys, places = (
        buffers.sides(pointer, r, side.text, dtype)
        for pointer, dtype in ((buffers.keys, word), (buffers.places, index))
    )
    first = e.load_one(buffers.counter(e.load_one(keys, word), number), index)
    mixed = e.ne(e.cast(first, int64), Value(e.integer(buffers.n), int64, 1))

    def move() -> Sequence[Value]:
        other = e.sub(e.constant(1, int64), side)
        new_keys = buffers.sides(buffers.keys, r, other.text, word)
        new_places = buffers.sides(buffers.places, r, other.text, index)
        start = buffers.counters(number)

        def begin(i: str, totals: list[Value]) -> Sequence[Value]:
            at = buffers.at(start, i, index)
            count = e.load_one(at, index)
            e.store(totals[0], at)
            return [e.add(totals[0], count)]

        e.loop(str(_VALUES), 1, [e.constant(0, index)], begin)

        def step(i: str) -> None:
            key = e.load_one(buffers.at(keys, i, word), word)
            counter = buffers.counter(key, number)
            place = e.load_one(counter, index)
            e.store(e.add(place, e.constant(1, index)), counter)
            to = e.cast(place, int64).text
            e.store(key, buffers.at(new_keys, to, word))
            e.store(
                e.load_one(buffers.at(places, i, index), index), buffers.at(new_places, to, index)
            )

        e.loop(e.integer(buffers.n), 1, [], without_values(step))
        return [other]

    return e.when(mixed.text, [side], move)[0]
