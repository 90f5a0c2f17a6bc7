"""A contender in a process of its own: answers requests on standard input with JSON lines.

    python benchmarks/worker.py CONTENDER

``prepare NAME`` sets up a workload or function and answers with the seconds of its first call
and values to be compared: the losses of the first steps, or a part of the results. ``time``
answers with the seconds of a step or call. What fails answers with ``error``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

import numpy as np
from functions import FUNCTIONS, MATMULS, Function
from workloads import WORKLOADS, Workload

CHECKED = 12  # losses that must agree before anything is timed
SAMPLED = 1000  # elements of each result that must agree
ROUND = float(os.environ.get("BENCH_ROUND", "0.15"))  # seconds that one timed round should take


class Steps:
    """A trainer with a stop-watch."""

    def __init__(self, module: Any, work: Workload) -> None:
        self.trainer = module.Trainer(work)
        self.loops = work.mode == "loop"
        self.least = work.batches if self.loops else len(self.trainer.batches)

    def start(self) -> dict[str, Any]:
        """The seconds of the first call, and the first losses."""
        begin = time.perf_counter()
        first = self.trainer.loop() if self.loops else self._one(0)
        if self.loops:
            self.trainer.wait(first)
        seconds = time.perf_counter() - begin
        if self.loops:
            losses = [float(first[i]) for i in range(CHECKED)]
        else:
            losses = [float(first)] + [float(self._one(i)) for i in range(1, CHECKED)]
        return {"first_call": seconds, "values": [losses]}

    def _one(self, i: int) -> Any:
        x, y = self.trainer.batches[i % len(self.trainer.batches)]
        loss = self.trainer.step(x, y)
        self.trainer.wait(loss)
        return loss

    def run(self, rounds: int) -> None:
        """`rounds` times over all batches, which are `least` steps."""
        step, wait, batches = self.trainer.step, self.trainer.wait, self.trainer.batches
        for _ in range(rounds):
            if self.loops:
                wait(self.trainer.loop())
                continue
            for x, y in batches:
                wait(step(x, y))


class Calls:
    """A function of arrays with a stop-watch."""

    least = 1

    def __init__(self, module: Any, function: Function) -> None:
        self.prepared = module.Prepared(function)

    def start(self) -> dict[str, Any]:
        """The seconds of the first call, and of each result some elements and the norm."""
        begin = time.perf_counter()
        found = self.prepared.call()
        self.prepared.wait(found)
        seconds = time.perf_counter() - begin
        values = []
        for array in self.prepared.arrays(found):
            flat = np.asarray(array).ravel()
            at = np.linspace(0, flat.size - 1, min(SAMPLED, flat.size)).astype(int)
            values += [flat[at].astype(float).tolist(), [float(np.linalg.norm(flat))]]
        return {"first_call": seconds, "values": values}

    def run(self, rounds: int) -> None:
        """`rounds` calls."""
        call, wait = self.prepared.call, self.prepared.wait
        for _ in range(rounds):
            wait(call())


class Timed:
    """Steps or calls, as many in a round as fill it."""

    def __init__(self, measured: Steps | Calls) -> None:
        self.measured = measured
        self.rounds = 1

    def measure(self) -> float:
        """Seconds a step or call, over about `ROUND` seconds."""
        while True:
            begin = time.perf_counter()
            self.measured.run(self.rounds)
            seconds = time.perf_counter() - begin
            if seconds > ROUND / 2:
                return seconds / (self.rounds * self.measured.least)
            wanted = int(self.rounds * ROUND / max(seconds, 1e-9))
            self.rounds = max(2 * self.rounds, min(wanted, 100 * self.rounds))


def prepare(module: Any, name: str) -> Steps | Calls:
    """What `name` stands for, in one library."""
    if name in WORKLOADS:
        return Steps(module, WORKLOADS[name])
    return Calls(module, (FUNCTIONS | MATMULS)[name])


def main() -> None:
    """Answer until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing that a library prints gets between
    timed: Timed | None = None
    for line in sys.stdin:
        request, _, name = line.strip().partition(" ")
        try:
            if request == "prepare":
                timed = None  # the arrays of the one before
                module = importlib.import_module(f"contenders.{sys.argv[1]}")
                measured = prepare(module, name)
                answer = measured.start()
                timed = Timed(measured)
            elif timed is None:
                answer = {"error": "nothing is prepared"}
            else:
                answer = {"seconds": timed.measure()}
        except Exception as error:
            text = " ".join(str(error).split())
            answer = {"error": f"{type(error).__name__}: {text[:200]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
