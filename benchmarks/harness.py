"""Processes that measure in turns, and the table that compares them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

HERE = Path(__file__).parent
# Seconds in which the threads of the one before stop spinning: those of OpenBLAS take a tenth of a
# second, in which they keep a core from whoever comes next.
SETTLE = 0.2
# contender -> what its process needs from the start
SETTINGS = {"numpy_skylakex": {"OPENBLAS_CORETYPE": "SkylakeX"}}


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


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pin(threads: int) -> None:
    """Stay, with all contenders to come, on `threads` cores, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def environment(threads: int, **more: str) -> dict[str, str]:
    """The environment of a contender: equal thread counts, compiled Python files allowed."""
    env = dict(os.environ)
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env[name] = str(threads)
    env["COTANGENT_NUM_THREADS"] = str(threads)
    if threads == 1:  # else XLA takes as many as there are cores to be on, see `pin`
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    env["JAX_PLATFORMS"] = "cpu"
    return env | more


class Process:
    """A running `worker.py`."""

    def __init__(self, contender: str, env: dict[str, str]) -> None:
        command = [sys.executable, str(HERE / "worker.py"), contender]
        pipe = subprocess.PIPE
        self.contender = contender
        self.start: dict[str, Any] = {"error": "nothing is prepared"}
        self.child = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True,
            env=env | SETTINGS.get(contender, {}),
        )  # fmt: skip

    def prepare(self, name: str) -> None:
        """Set up a workload or function; `start` has its first call, or the error."""
        self.start = self._ask(f"prepare {name}")

    def _ask(self, request: str) -> dict[str, Any]:
        if self.child.stdin is None or self.child.stdout is None:
            return {"error": "no pipe"}
        with suppress(BrokenPipeError):  # then there is no answer either
            print(request, file=self.child.stdin, flush=True)
        line = self.child.stdout.readline()
        if not line:
            return {"error": f"the process ended with code {self.child.wait()}"}
        return dict(json.loads(line))

    def measure(self) -> float | None:
        """Seconds a step or call; None after a failure, which `start` then names."""
        if "error" in self.start:
            return None
        answer = self._ask("time")
        if "error" in answer:
            self.start = answer
            return None
        return float(answer["seconds"])

    def close(self) -> None:
        """Let the worker end."""
        if self.child.stdin:
            with suppress(BrokenPipeError):  # it has ended already, with a request unread
                self.child.stdin.close()
        if self.child.stdout:
            self.child.stdout.close()
        self.child.wait()


@dataclass
class Times:
    """The medians of contenders, in seconds, and what went wrong with the others."""

    medians: dict[str, float]
    errors: dict[str, str]

    def best(self, names: Sequence[str]) -> str:
        """Who of `names` took least; "" if none has a time."""
        return min(
            (n for n in names if n in self.medians), key=self.medians.__getitem__, default=""
        )

    def ratio(self, ours: str, theirs: str) -> float | None:
        """The median of one over that of the other."""
        if ours not in self.medians or theirs not in self.medians:
            return None
        return self.medians[ours] / self.medians[theirs]

    def note(self, name: str) -> str:
        """Why a contender has no time."""
        return f"FAILED: {self.errors[name]}" if name in self.errors else ""


def in_turns(processes: list[Process], name: str, rounds: int, tolerance: float) -> Times:
    """Prepare all, compare what they compute, and measure them in turns."""
    for process in processes:
        process.prepare(name)
    for process in processes:
        wrong = disagreement(process, processes[1:], tolerance)
        if wrong:
            process.start = {"error": wrong}
    times: dict[str, list[float]] = {p.contender: [] for p in processes}
    for process in processes:
        process.measure()  # warm-up, and finding the number of steps in a round
    for number in range(rounds):
        for process in processes[:: (-1) ** number]:  # nobody always comes after the same one
            time.sleep(SETTLE)
            seconds = process.measure()
            if seconds is not None:
                times[process.contender].append(seconds)
    errors = {p.contender: str(p.start["error"]) for p in processes if "error" in p.start}
    return Times({c: median(t) for c, t in times.items() if t and c not in errors}, errors)


def disagreement(ours: Process, peers: list[Process], tolerance: float) -> str:
    """Why the values of `ours` are not to be trusted, or "": those of the first peer decide."""
    theirs = next((peer for peer in peers if "values" in peer.start), None)
    if theirs is None or theirs is ours or "values" not in ours.start:
        return ""
    if len(ours.start["values"]) != len(theirs.start["values"]):
        return f"not as many results as from {theirs.contender}"
    for a, b in zip(ours.start["values"], theirs.start["values"], strict=True):
        size = np.max(np.abs(b), initial=0)
        if np.shape(a) != np.shape(b) or not np.allclose(a, b, tolerance, tolerance * size / 10):
            return f"values differ from {theirs.contender}'s: {a[:4]} against {b[:4]}"
    return ""


def last_line(text: str) -> str:
    """What a traceback says at its end."""
    return (text.strip().splitlines() or ["no message"])[-1][:200]


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
