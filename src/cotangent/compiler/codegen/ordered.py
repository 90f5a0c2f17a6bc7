"""Kernels in which order matters: running sums, and sorting by heap."""

from __future__ import annotations

from collections.abc import Sequence

from ...dtypes import DType, bool_, uint8
from ..fuse import Fusion, Group
from .emitter import Emitter, Value
from .kernel import Kernel, KernelEmitter

_NANOSECONDS_PER_SUM, _NANOSECONDS_PER_COMPARISON = 1.2, 20.0


def emit_ordered(fusion: Fusion, group: Group) -> list[Kernel]:
    """The kernel of a running sum or an argsort; none if it has no elements."""
    node = group.nodes[0]
    if node.size == 0:
        return []
    return [_emit_argsort(fusion, group) if node.op == "argsort" else _emit_sums(fusion, group)]


def _emit_sums(fusion: Fusion, group: Group) -> Kernel:
    """One row after the other, element by element."""
    node = group.nodes[0]
    e = KernelEmitter(1)
    size, n = node.dtype.itemsize, node.shape[-1]
    source, target = e.address(fusion.dense(node.inputs[0]).base), e.address(node)

    def row(r: str) -> None:
        there = e.offset(source, r, e.integer(n * size))
        here = e.offset(target, r, e.integer(n * size))

        def step(i: str, totals: list[Value]) -> Sequence[Value]:
            value = e.load_one(e.offset(there, i, str(size)), node.dtype)
            total = e.add(totals[0], value)
            e.store(total, e.offset(here, i, str(size)))
            return [total]

        e.loop(e.integer(n), 1, [e.constant(0, node.dtype)], step)

    e.split_loop(node.size // n, row)
    return e.finish(node.size, 2 * node.size * size, _NANOSECONDS_PER_SUM * node.size)


# A heap of indices, in place. Elements are compared with their index as a tie-break, so there is
# one order, whatever the algorithm: the stable one. The words in capitals are filled in.
_HEAP_SORT = """
  %r = alloca i64
  %start = alloca i64
  %end = alloca i64
  %root = alloca i64
  %child = alloca i64
  %i = alloca i64
  store i64 %first, ptr %r
  br label %row
row:
  %r0 = load i64, ptr %r
  %more = icmp ult i64 %r0, %last
  br i1 %more, label %begin, label %finished
begin:
  %begin.o = mul i64 %r0, COUNT
  %keys.o = mul i64 %begin.o, SIZE
  %keys = getelementptr i8, ptr KEYS, i64 %keys.o
  %places = getelementptr i64, ptr PLACES, i64 %begin.o
  store i64 0, ptr %i
  br label %fill
fill:
  %i0 = load i64, ptr %i
  %i.p = getelementptr i64, ptr %places, i64 %i0
  store i64 %i0, ptr %i.p
  %i1 = add i64 %i0, 1
  store i64 %i1, ptr %i
  %filling = icmp ult i64 %i1, COUNT
  br i1 %filling, label %fill, label %heap
heap:
  %half = lshr i64 COUNT, 1
  store i64 %half, ptr %start
  store i64 COUNT, ptr %end
  br label %turn
turn:
  %e0 = load i64, ptr %end
  %left = icmp ugt i64 %e0, 1
  br i1 %left, label %choose, label %next_row
next_row:
  %r1 = add i64 %r0, 1
  store i64 %r1, ptr %r
  br label %row
choose:
  %s0 = load i64, ptr %start
  %building = icmp ugt i64 %s0, 0
  br i1 %building, label %build, label %take
build:
  %s1 = sub i64 %s0, 1
  store i64 %s1, ptr %start
  store i64 %s1, ptr %root
  br label %sift
take:
  %e1 = sub i64 %e0, 1
  store i64 %e1, ptr %end
  %tail.p = getelementptr i64, ptr %places, i64 %e1
  %tail = load i64, ptr %tail.p
  %top = load i64, ptr %places
  store i64 %top, ptr %tail.p
  store i64 %tail, ptr %places
  store i64 0, ptr %root
  br label %sift
sift:
  %root0 = load i64, ptr %root
  %twice = shl i64 %root0, 1
  %c0 = add i64 %twice, 1
  %e2 = load i64, ptr %end
  %has = icmp ult i64 %c0, %e2
  br i1 %has, label %left_child, label %turn
left_child:
  store i64 %c0, ptr %child
  %c0.p = getelementptr i64, ptr %places, i64 %c0
  %left.i = load i64, ptr %c0.p
  %c1 = add i64 %c0, 1
  %both = icmp ult i64 %c1, %e2
  br i1 %both, label %right_child, label %compare
right_child:
  %c1.p = getelementptr i64, ptr %places, i64 %c1
  %right.i = load i64, ptr %c1.p
LESS(a, %left.i, %right.i)
  %c2 = select i1 %a.less, i64 %c1, i64 %c0
  store i64 %c2, ptr %child
  br label %compare
compare:
  %c3 = load i64, ptr %child
  %root.p = getelementptr i64, ptr %places, i64 %root0
  %root.i = load i64, ptr %root.p
  %c3.p = getelementptr i64, ptr %places, i64 %c3
  %child.i = load i64, ptr %c3.p
LESS(b, %root.i, %child.i)
  br i1 %b.less, label %swap, label %turn
swap:
  store i64 %child.i, ptr %root.p
  store i64 %root.i, ptr %c3.p
  store i64 %c3, ptr %root
  br label %sift
finished:
"""

_LESS_WHOLE = """  %T.below = icmp ORDERlt KIND %T.x, %T.y
  %T.above = icmp ORDERlt KIND %T.y, %T.x
"""
_LESS_FLOAT = """  %T.lt = fcmp olt KIND %T.x, %T.y
  %T.gt = fcmp olt KIND %T.y, %T.x
  %T.x.nan = fcmp uno KIND %T.x, %T.x
  %T.y.nan = fcmp uno KIND %T.y, %T.y
  %T.y.alone = icmp ult i1 %T.x.nan, %T.y.nan
  %T.x.alone = icmp ult i1 %T.y.nan, %T.x.nan
  %T.below = or i1 %T.lt, %T.y.alone
  %T.above = or i1 %T.gt, %T.x.alone
"""
_LESS = """  %T.x.p = getelementptr KIND, ptr %keys, i64 LEFT
  %T.y.p = getelementptr KIND, ptr %keys, i64 RIGHT
  %T.x = load KIND, ptr %T.x.p
  %T.y = load KIND, ptr %T.y.p
COMPARE  %T.first = icmp ult i64 LEFT, RIGHT
  %T.level = xor i1 %T.above, true
  %T.tie = and i1 %T.level, %T.first
  %T.less = or i1 %T.below, %T.tie"""


def _less(tag: str, left: str, right: str, dtype: DType) -> str:
    """Whether the element at `left` comes before that at `right`."""
    compare = _LESS_FLOAT if dtype.kind == "f" else _LESS_WHOLE
    text = _LESS.replace("COMPARE", compare)
    text = text.replace("ORDER", "s" if dtype.kind == "i" else "u")
    text = text.replace("KIND", Emitter(1).type_of(dtype))
    return text.replace("%T", f"%{tag}").replace("LEFT", left).replace("RIGHT", right)


def _emit_argsort(fusion: Fusion, group: Group) -> Kernel:
    node = group.nodes[0]
    x = fusion.dense(node.inputs[0]).base
    held = uint8 if node.inputs[0].dtype == bool_ else node.inputs[0].dtype
    e = KernelEmitter(1)
    n = node.shape[-1]
    text = _HEAP_SORT.strip("\n")
    for tag, left, right in (("a", "%left.i", "%right.i"), ("b", "%root.i", "%child.i")):
        text = text.replace(f"LESS({tag}, {left}, {right})", _less(tag, left, right, held))
    e.split(node.size // n)
    names = {
        "COUNT": e.integer(n), "SIZE": str(held.itemsize), "KEYS": e.address(x),
        "PLACES": e.address(node),
    }  # fmt: skip
    for word, name in names.items():
        text = text.replace(word, name)
    e.lines += text.splitlines()
    comparisons = node.size * n.bit_length()
    return e.finish(comparisons, 2 * node.size * 8, _NANOSECONDS_PER_COMPARISON * comparisons)
