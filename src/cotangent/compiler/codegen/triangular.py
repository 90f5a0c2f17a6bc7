"""Kernels of triangular matrices: the Cholesky factor, and solving with a triangle.

Matrices of a batch are independent. Inside one, every element is a chain of `fma` in the order of
the textbook, so its bits depend on nothing but the matrix.
"""

from __future__ import annotations

import math

from ...dtypes import DType
from ..fuse import Fusion, Group
from .emitter import Value
from .kernel import Kernel, KernelEmitter, lanes_for

_NANOSECONDS_PER_STEP = 1.5


def emit_triangular(fusion: Fusion, group: Group) -> list[Kernel]:
    """The kernel of a Cholesky factor or of a triangular system; none if the matrices are empty."""
    node = group.nodes[0]
    if node.inputs[0].size == 0:  # not the right sides: a diagonal is looked at without them, too
        return []
    return [_emit_cholesky(fusion, group) if node.op == "cholesky" else _emit_solve(fusion, group)]


def _chain(
    e: KernelEmitter, total: Value, first: str, last: str, term: tuple[str, str, str, str]
) -> Value:
    """`total` less the sum of x[k] * y[k] over `first` <= k < `last`; one element a step."""
    x, x_step, y, y_step = term

    def some() -> list[Value]:
        def step(k: str, carried: list[Value]) -> list[Value]:
            a = e.load_one(e.offset(x, k, x_step), total.dtype)
            b = e.load_one(e.offset(y, k, y_step), total.dtype)
            return [e.fma(e.neg(a), b, carried[0])]

        return e.loop(last, 1, [total], step, first)

    return e.when(e.compare("ult", first, last), [total], some)[0]


def _emit_cholesky(fusion: Fusion, group: Group) -> Kernel:
    """Row by row: each element is what is left of x after the products of the rows so far."""
    node = group.nodes[0]
    e, dtype = KernelEmitter(1), node.dtype
    size, n = dtype.itemsize, node.shape[-1]
    count, row, one = e.integer(n), e.integer(n * size), str(size)
    source, target = e.address(fusion.dense(node.inputs[0]).base), e.address(node)

    def matrix(m: str) -> None:
        there = e.offset(source, m, e.integer(n * n * size))
        here = e.offset(target, m, e.integer(n * n * size))

        def element(i: str, j: str) -> tuple[Value, str, str]:
            """What is left at (i, j), and the starts of the rows i and j of the factor."""
            mine, other = e.offset(here, i, row), e.offset(here, j, row)
            x = e.load_one(e.offset(e.offset(there, i, row), j, one), dtype)
            y = e.load_one(e.offset(e.offset(there, j, row), i, one), dtype)
            even = e.mul(e.constant(0.5, dtype), e.add(x, y))
            return _chain(e, even, "0", j, (mine, one, other, one)), mine, other

        def of_row(i: str, carried: list[Value]) -> list[Value]:
            def left() -> list[Value]:
                def below(j: str, inner: list[Value]) -> list[Value]:
                    rest, mine, other = element(i, j)
                    pivot = e.load_one(e.offset(other, j, one), dtype)
                    e.store(e.div(rest, pivot), e.offset(mine, j, one))
                    return inner

                return e.loop(i, 1, [], below)

            e.when(e.compare("ne", i, "0"), [], left)
            rest, mine, _ = element(i, i)
            fine = e.and_(e.lt(e.zero(rest), rest), e.lt(rest, e.constant(math.inf, dtype)))
            e.report(e.not_(fine).text)
            e.store(e.sqrt(rest), e.offset(mine, i, one))
            _zeros_after(e, mine, i, count, dtype)
            return carried

        e.loop(count, 1, [], of_row)

    e.split_loop(node.size // (n * n), matrix)
    steps = node.size * n // 3
    return e.finish(steps, 2 * node.size * size, _NANOSECONDS_PER_STEP * steps)


def _zeros_after(e: KernelEmitter, row: str, i: str, count: str, dtype: DType) -> None:
    """Zeros in a row, from behind element `i` on."""
    first = e.compute("add", i, "1")

    def some() -> list[Value]:
        def step(j: str, carried: list[Value]) -> list[Value]:
            e.store(e.constant(0, dtype), e.offset(row, j, str(dtype.itemsize)))
            return carried

        return e.loop(count, 1, [], step, first)

    e.when(e.compare("ult", first, count), [], some)


def _emit_solve(fusion: Fusion, group: Group) -> Kernel:
    """Row after row of x, from the end that needs no others; its columns by vectors."""
    node = group.nodes[0]
    dtype, size = node.dtype, node.dtype.itemsize
    n, width = node.shape[-2:]
    e = KernelEmitter(lanes_for([dtype]))
    a, b = (e.address(fusion.dense(x).base) for x in node.inputs)
    x = e.address(node)
    transpose = node.attrs["transpose"]
    backwards = node.attrs["upper"] != transpose
    count, row, one = e.integer(n), e.integer(n * size), str(size)
    across, down = (row, one) if transpose else (one, row)  # bytes between elements of a
    line = e.integer(width * size)

    def matrix(m: str) -> None:
        matrix_a = e.offset(a, m, e.integer(n * n * size))
        matrix_b, matrix_x = (e.offset(p, m, e.integer(n * width * size)) for p in (b, x))

        def of_row(number: str, carried: list[Value]) -> list[Value]:
            i = number
            if backwards:
                i = e.compute("sub", e.compute("sub", count, "1"), number)
            mine = e.offset(matrix_a, i, down)
            pivot = e.load_one(e.offset(mine, i, across), dtype)
            zero = e.eq(pivot, e.zero(pivot))
            e.report(_first_lane(e, zero))
            first = e.compute("add", i, "1") if backwards else "0"
            last = count if backwards else i

            def columns(j: str, inner: list[Value]) -> list[Value]:
                at = e.offset(matrix_x, j, one)
                rest = e.load(e.offset(e.offset(matrix_b, i, line), j, one), dtype)

                def some() -> list[Value]:
                    def step(k: str, totals: list[Value]) -> list[Value]:
                        factor = e.load_one(e.offset(mine, k, across), dtype)
                        known = e.load(e.offset(at, k, line), dtype)
                        return [e.fma(e.neg(factor), known, totals[0])]

                    return e.loop(last, 1, [rest], step, first)

                rest = e.when(e.compare("ult", first, last), [rest], some)[0]
                e.store(e.div(rest, pivot), e.offset(at, i, line))
                return inner

            e.vector_loop(width, [], columns)
            return carried

        e.loop(count, 1, [], of_row)

    e.split_loop(node.inputs[0].size // (n * n), matrix)
    steps = node.size * n
    return e.finish(steps, 3 * node.size * size, _NANOSECONDS_PER_STEP * steps / e.lanes)


def _first_lane(e: KernelEmitter, flag: Value) -> str:
    """The bit of a flag that is the same in every lane."""
    name = e.fresh()
    e.lines.append(f"  {name} = extractelement <{e.lanes} x i1> {flag.text}, i64 0")
    return name
