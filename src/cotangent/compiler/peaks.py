"""What this machine can do at most: measured once in a process, for each number of threads."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..runtime import loader
from .codegen.build import build
from .codegen.driver import FIELDS
from .program import address_of

_LANES = 16  # float32 in a vector of the text
_ROUNDS = 1000  # of fused multiply-adds in a unit of work
_UNITS = 64
_BLOCK = 1 << 16  # bytes in a unit of reading
_BYTES = 64 << 20
_VECTOR = f"<{_LANES} x float>"
# Independent sums: as many as hide the latency of a multiply-add and fit into registers.
_SUMS = {"avx512": 12, "avx2": 5}

STAMP = """declare i64 @llvm.readcyclecounter()
define void @stamp(ptr %at, i64 %first, i64 %last) "no-builtins" nounwind {
  %t = call i64 @llvm.readcyclecounter()
  store i64 %t, ptr %at
  ret void
}"""

Run = Callable[[int, int], int]


class Peaks(NamedTuple):
    """The machine's measured limits.

    Attributes:
        flops: float32 operations a second, by fused multiply-adds in registers.
        bytes: bytes a second, read from 64 MiB of memory, which caches do not hold.
        threads: with how many threads.
        ticks: of the clock that ``stamp`` reads, a second.
    """

    flops: float
    bytes: float
    threads: int
    ticks: float


_MEASURED: dict[tuple[str, int], Peaks] = {}


def peaks(run: Run, pool: int, threads: int, isa: str) -> Peaks:
    """The peaks of `threads` threads; the first call takes about a tenth of a second.

    Args:
        run: the native driver.
        pool: the address of the memory of the pool of threads, or 0.
        isa: what to compile for.
    """
    found = _MEASURED.get((isa, threads))
    if found is None:
        found = _MEASURED[isa, threads] = _measure(run, pool, threads, isa)
    return found


def _measure(run: Run, pool: int, threads: int, isa: str) -> Peaks:
    functions = native(isa)
    count = _SUMS[isa]
    flops = _UNITS * _ROUNDS * count * _LANES * 2
    memory = np.ones(_BYTES // 4, np.float32)  # written, so that every page is there
    scratch = np.zeros(_LANES, np.float32)
    slots = np.array([address_of(memory), address_of(scratch)], np.int64)
    compute = (functions["multiply_add"], address_of(slots), _UNITS, 4)
    read = (functions["read"], address_of(slots), _BYTES // _BLOCK, 32)
    stamp = np.zeros(1, np.int64)
    clock = (functions["stamp"], address_of(stamp), 0, 0)
    first, start = _ticks(run, clock, stamp), time.perf_counter()
    rates = flops / _best(run, compute, pool, 10), _BYTES / _best(run, read, pool, 1)
    last, end = _ticks(run, clock, stamp), time.perf_counter()
    return Peaks(*rates, threads, (last - first) / (end - start))


def _ticks(run: Run, row: tuple[int, int, int, int], stamp: Any) -> int:
    _best(run, row, 0, 1)
    return int(stamp[0])


def _best(run: Run, row: tuple[int, int, int, int], pool: int, times: int) -> float:
    """Seconds for one run of a row of the driver's table: the shortest of several."""
    entries = np.array([*row, 0], np.int64)
    status = np.zeros(1, np.int64)
    header = np.zeros(len(FIELDS), np.int64)
    header[:7] = address_of(entries), 1, 1, address_of(status), 0, 0, pool
    spent = []
    for _ in range(8):
        start = time.perf_counter()
        run(address_of(header), times)
        spent.append((time.perf_counter() - start) / times)
    return min(spent)


@functools.cache
def native(isa: str) -> dict[str, int]:
    """The addresses of ``stamp``, which stores the clock's ticks, and of the two that measure."""
    return loader.load(build([STAMP, _multiply_add(_SUMS[isa]), _READ], isa))


def _multiply_add(count: int) -> str:
    sums = range(count)
    zero = "zeroinitializer"
    starts = "\n".join(f"  %a{i} = phi {_VECTOR} [{zero}, %unit], [%b{i}, %loop]" for i in sums)
    steps = "\n".join(
        f"  %b{i} = call {_VECTOR} @llvm.fma.v{_LANES}f32("
        f"{_VECTOR} %x, {_VECTOR} %x, {_VECTOR} %a{i})"
        for i in sums
    )
    total = [f"  %t0 = fadd {_VECTOR} %b0, %b1"]
    total += [f"  %t{i - 1} = fadd {_VECTOR} %t{i - 2}, %b{i}" for i in range(2, count)]
    joined = "\n".join(total)
    return f"""declare {_VECTOR} @llvm.fma.v{_LANES}f32({_VECTOR}, {_VECTOR}, {_VECTOR})
define void @multiply_add(ptr %slots, i64 %first, i64 %last) "no-builtins" nounwind {{
entry:
  %data = load ptr, ptr %slots
  %out.p = getelementptr ptr, ptr %slots, i64 1
  %out = load ptr, ptr %out.p
  %x = load {_VECTOR}, ptr %data, align 4
  br label %unit
unit:
  %u = phi i64 [%first, %entry], [%u1, %done]
  br label %loop
loop:
  %n = phi i64 [0, %unit], [%n1, %loop]
{starts}
{steps}
  %n1 = add i64 %n, 1
  %more = icmp ult i64 %n1, {_ROUNDS}
  br i1 %more, label %loop, label %done
done:
{joined}
  store {_VECTOR} %t{count - 2}, ptr %out, align 4
  %u1 = add i64 %u, 1
  %again = icmp ult i64 %u1, %last
  br i1 %again, label %unit, label %exit
exit:
  ret void
}}"""


_READ = f"""define void @read(ptr %slots, i64 %first, i64 %last) "no-builtins" nounwind {{
entry:
  %data = load ptr, ptr %slots
  %out.p = getelementptr ptr, ptr %slots, i64 1
  %out = load ptr, ptr %out.p
  %start = mul i64 %first, {_BLOCK}
  %stop = mul i64 %last, {_BLOCK}
  br label %loop
loop:
  %at = phi i64 [%start, %entry], [%at1, %loop]
  %a = phi {_VECTOR} [zeroinitializer, %entry], [%a1, %loop]
  %b = phi {_VECTOR} [zeroinitializer, %entry], [%b1, %loop]
  %p = getelementptr i8, ptr %data, i64 %at
  %q = getelementptr i8, ptr %p, i64 {4 * _LANES}
  %x = load {_VECTOR}, ptr %p, align 4
  %y = load {_VECTOR}, ptr %q, align 4
  %a1 = fadd {_VECTOR} %a, %x
  %b1 = fadd {_VECTOR} %b, %y
  %at1 = add i64 %at, {8 * _LANES}
  %more = icmp ult i64 %at1, %stop
  br i1 %more, label %loop, label %exit
exit:
  %sum = fadd {_VECTOR} %a1, %b1
  store {_VECTOR} %sum, ptr %out, align 4
  ret void
}}"""
