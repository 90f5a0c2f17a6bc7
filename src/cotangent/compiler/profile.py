"""`profile`: how long each kernel of a compiled step takes, and how near it comes to the machine's
limits.

A profiled program is the program with a row more in the driver's table before every kernel and
after the last: a native function that stores the processor's time stamp. So the kernels run as
they always do, on as many threads, and nothing but the stamps, of some ten nanoseconds each, lies
between them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ..console import Console
from ..errors import CompileError
from ..runtime.threads import get_num_threads
from .codegen.build import TILES, native_isa
from .codegen.driver import ROW
from .fuse import Group, fuse
from .graph import Graph
from .memory import plan
from .peaks import Peaks, native, peaks
from .program import ARENA, Program, address_of
from .simplify import simplify

HEAD = (
    "#",
    "time us",
    "%",
    "MFLOP",
    "GFLOP/s",
    "% peak",
    "MB",
    "GB/s",
    "% memory",
    "kernel",
    "where",
)


class KernelTime(NamedTuple):
    """One kernel of a profiled step.

    Attributes:
        number: its place in the order of running.
        phase: "compute" or "commit".
        kind: which loops it has: "loops", "matmul", "gather", ...; "copy" into variables.
        domain: the shape that they run over.
        ops: the names of the ops that it computes.
        seconds: the median time of a run.
        flops, bytes: what it computes, and moves between registers and memory or caches.
        source, layer: the user's line, and the layer, of the last op in it; of a product with an
            epilogue, those of the product.
    """

    number: int
    phase: str
    kind: str
    domain: tuple[int, ...]
    ops: tuple[str, ...]
    seconds: float
    flops: int
    bytes: int
    source: str
    layer: str

    @property
    def flops_per_second(self) -> float:
        """Operations a second."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds if self.seconds else 0.0


class Profile(NamedTuple):
    """What ``step.profile(...)`` returns. ``print`` shows it as a table; so does `show`, by rich
    where standard output is a terminal.

    Attributes:
        name: of the function.
        rows: a `KernelTime` for each kernel, in the order of running.
        seconds: the median time of a whole run, from the first kernel to the last.
        runs: how many there were.
        peaks: the machine's measured limits, for the same number of threads.
    """

    name: str
    rows: list[KernelTime]
    seconds: float
    runs: int
    peaks: Peaks

    def table(self) -> tuple[Sequence[str], list[list[str]]]:
        """Head and rows as text, the slowest kernel first."""
        ordered = sorted(self.rows, key=lambda row: -row.seconds)
        return HEAD, [self._cells(row) for row in ordered]

    def _cells(self, row: KernelTime) -> list[str]:
        what = f"{row.kind} {list(row.domain)}: {_shortened(row.ops)}"
        if not row.ops:
            what = "copy of new values into variables"
        where = f"{row.source.rpartition('/')[2]} {row.layer}".strip()
        numbers = (
            row.seconds * 1e6, 100 * row.seconds / max(self.seconds, 1e-12), row.flops / 1e6,
            row.flops_per_second / 1e9, 100 * row.flops_per_second / self.peaks.flops,
            row.bytes / 1e6, row.bytes_per_second / 1e9,
            100 * row.bytes_per_second / self.peaks.bytes,
        )  # fmt: skip
        digits = (2, 1, 3, 1, 0, 3, 1, 0)
        texts = [f"{x:.{n}f}" for x, n in zip(numbers, digits, strict=True)]
        if row.bytes_per_second > self.peaks.bytes:
            texts[-1] = "cache"
        return [str(row.number), *texts, what, where]

    def title(self) -> str:
        """The whole time, and the limits, in a sentence."""
        threads = f"{self.peaks.threads} thread{'s' * (self.peaks.threads > 1)}"
        return (
            f"{self.name}: {self.seconds * 1e6:.2f} us in {len(self.rows)} kernels (median of "
            f"{self.runs} runs); peaks of {threads}: "
            f"{self.peaks.flops / 1e9:.0f} GFLOP/s, {self.peaks.bytes / 1e9:.1f} GB/s from memory"
        )

    def show(self) -> None:
        """Print the table: by rich on a terminal, if rich is installed, else as plain text."""
        console = Console()
        if console.rich is None:
            print(self)
            return
        console.line(self.title(), style="bold")
        console.table(*self.table())

    def __str__(self) -> str:
        head, rows = self.table()
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        text = [self.title()]
        for row in (head, *rows):
            parts = [
                c.ljust(w) if i >= len(head) - 2 else c.rjust(w)
                for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            text.append("  ".join(parts).rstrip())
        return "\n".join(text)


def _shortened(ops: Sequence[str], most: int = 5) -> str:
    return " ".join(ops) if len(ops) <= most else f"{' '.join(ops[:most])} +{len(ops) - most}"


def profile_program(
    name: str, graph: Graph, program: Program, inputs: Sequence[Any], seconds: float
) -> Profile:
    """The profile of a program, which is used up by it.

    Args:
        graph: the traced graph that `program` was linked from.
        inputs: arrays for its arguments.
        seconds: about how long to repeat; at least 3 runs.

    Raises:
        Failed: as a call would. The variables then, and at the end, are what they were.
    """
    isa = native_isa()
    made = plan(fuse(simplify(graph)), TILES[isa])
    if len(program._entries) != ROW * len(made.kernels) + 1:
        raise CompileError(f"profile: the kernels of {name} are not those of its graph")
    with ARENA.lock:
        before = [program.variables[n].peek().copy() for n in program.written]
        stamps = _with_stamps(program, made.computing, isa)
        try:
            spans = _spans(program, inputs, stamps, seconds)
        finally:
            for n, array in zip(program.written, before, strict=True):
                program.variables[n].claim(array)
    pool = int(program._header[6])
    limits = peaks(program._run, pool, get_num_threads() if pool else 1, isa)
    shares = [median(int(x[i]) for x in spans) / limits.ticks for i in range(len(made.kernels))]
    rows = [
        _row(i, "compute" if i < made.computing else "commit", group, share, kernel)
        for i, (kernel, group, share) in enumerate(
            zip(made.kernels, made.groups, shares, strict=True)
        )
    ]
    whole = median(int(x.sum()) for x in spans) / limits.ticks
    return Profile(name, rows, whole, len(spans), limits)


def _row(number: int, phase: str, group: Group | None, seconds: float, kernel: Any) -> KernelTime:
    if group is None:
        rest: tuple[Any, ...] = ("copy", (), (), "", "")
    else:
        last = next((n for n in reversed(group.nodes) if n.role == "op"), group.nodes[-1])
        last = group.nodes[0] if group.kind == "matmul" else last  # an epilogue is beside it
        ops = tuple(node.op for node in group.nodes)
        rest = (group.kind, tuple(group.domain), ops, last.source, last.layer)
    kind, domain, ops, source, layer = rest
    return KernelTime(
        number, phase, kind, domain, ops, seconds, kernel.flops, kernel.bytes, source, layer
    )


def _with_stamps(program: Program, computing: int, isa: str) -> np.ndarray[Any, Any]:
    """Put a row that stores the time before every kernel of a program, and one after the last; the
    stored times."""
    count = len(program._entries) // ROW
    stamps = np.zeros(count + 1, np.int64)
    stamp, base = native(isa)["stamp"], address_of(stamps)
    rows: list[int] = []
    for i in range(count):
        rows += [stamp, base + 8 * i, 0, 0]
        rows += program._entries[ROW * i : ROW * (i + 1)].tolist()
    rows += [stamp, base + 8 * count, 0, 0]
    program._entries = np.array([*rows, 0], np.int64)
    program._header[:3] = address_of(program._entries), 2 * computing, 2 * count + 1
    return stamps


def _spans(
    program: Program, inputs: Sequence[Any], stamps: np.ndarray[Any, Any], seconds: float
) -> list[Any]:
    """The ticks that each kernel took, for each of several runs."""
    program.call(inputs)  # touches memory, wakes threads
    ticks: list[np.ndarray[Any, Any]] = []
    start = time.perf_counter()
    while len(ticks) < 3 or (time.perf_counter() - start < seconds and len(ticks) < 1000):
        program.call(inputs)
        ticks.append(np.diff(stamps))
    return ticks
