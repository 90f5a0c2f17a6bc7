"""Processes that measure in turns, and the table that compares them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass
class Row:
    """One line of the table.

    Attributes:
        question: what was measured.
        contender: the library.
        value: the median, in `unit`; None where it failed.
        unit: ``us``, ``ms``, ``MB``.
        peer: the library that the ratio is to, or "".
        ratio: our median over the peer's.
        must: the bound on the ratio, or on the value where there is no peer.
        note: what else to know, the message of a failure for instance.
    """

    question: str
    contender: str
    value: float | None
    unit: str
    peer: str = ""
    ratio: float | None = None
    must: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the bound holds."""
        if self.must is None:
            return ""
        judged = self.ratio if self.peer else self.value
        return "failed" if judged is None else "yes" if judged <= self.must else "NO"


def environment(threads: int, **more: str) -> dict[str, str]:
    """The environment of a contender: equal thread counts, compiled Python files allowed."""
    env = dict(os.environ)
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env[name] = str(threads)
    env["COTANGENT_NUM_THREADS"] = str(threads)
    if threads == 1:
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))[-threads:]
        env["BENCH_CORES"] = ",".join(map(str, cores))
    env["JAX_PLATFORMS"] = "cpu"
    return env | more


class Process:
    """A running `worker.py`."""

    def __init__(self, contender: str, workload: str, env: dict[str, str]) -> None:
        command = [sys.executable, str(HERE / "worker.py"), contender, workload]
        pipe = subprocess.PIPE
        self.contender = contender
        self.child = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=env
        )
        self.start = self._read()

    def _read(self) -> dict[str, Any]:
        line = self.child.stdout.readline() if self.child.stdout else ""
        if not line:
            return {"error": f"the process ended with code {self.child.wait()}"}
        return dict(json.loads(line))

    def measure(self) -> float | None:
        """Seconds a step; None after a failure, which `start` then names."""
        if "error" in self.start or self.child.stdin is None:
            return None
        try:
            self.child.stdin.write("time\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._read()
        if "error" in answer:
            self.start = answer
            return None
        return float(answer["seconds"])

    def close(self) -> None:
        """Let the worker end."""
        if self.child.stdin:
            self.child.stdin.close()
        self.child.wait()


def show(value: float | None, missing: str = "-") -> str:
    """Three significant digits."""
    if value is None:
        return missing
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    head = ("question", "contender", "median", "unit", "to peer", "ratio", "must", "met", "note")
    cells = [head] + [
        (
            row.question, row.contender, show(row.value), row.unit, row.peer,
            show(row.ratio, "-" if row.peer else ""),
            "" if row.must is None else f"<= {row.must:g}", row.verdict, row.note,
        )
        for row in rows
    ]  # fmt: skip
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


def as_json(rows: list[Row], about: dict[str, Any]) -> str:
    """The rows for a program to read."""
    listed = [asdict(row) | {"met": row.verdict} for row in rows]
    return json.dumps({"about": about, "rows": listed}, indent=2)
