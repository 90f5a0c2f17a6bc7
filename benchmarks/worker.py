"""A contender in a process of its own: answers requests on standard input with JSON lines.

    python benchmarks/worker.py CONTENDER WORKLOAD

At once it reports the time of the first call and the losses of the first steps; then, for every
line that it reads, the seconds a step took.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

from workloads import WORKLOADS, Workload

CHECKED = 12  # losses that must agree before anything is timed
ROUND = 0.15  # seconds that one timed round should take


class Timed:
    """A trainer with a stop-watch."""

    def __init__(self, trainer: Any, work: Workload) -> None:
        self.trainer = trainer
        self.loops = work.mode == "loop"
        self.steps = work.batches if self.loops else 4

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
        return {"first_call": seconds, "losses": losses}

    def _one(self, i: int) -> Any:
        x, y = self.trainer.batches[i % len(self.trainer.batches)]
        loss = self.trainer.step(x, y)
        self.trainer.wait(loss)
        return loss

    def measure(self) -> float:
        """Seconds a step, over about `ROUND` seconds."""
        run = self._run_loop if self.loops else self._run_steps
        while True:
            seconds = run()
            if seconds > ROUND / 2 or self.loops:
                return seconds / self.steps
            self.steps = max(2 * self.steps, int(self.steps * ROUND / max(seconds, 1e-9)))

    def _run_steps(self) -> float:
        step, wait, batches = self.trainer.step, self.trainer.wait, self.trainer.batches
        rounds = -(-self.steps // len(batches))
        self.steps = rounds * len(batches)
        begin = time.perf_counter()
        for _ in range(rounds):
            for x, y in batches:
                wait(step(x, y))
        return time.perf_counter() - begin

    def _run_loop(self) -> float:
        begin = time.perf_counter()
        self.trainer.wait(self.trainer.loop())
        return time.perf_counter() - begin


def pin() -> None:
    """Stay on the cores that the runner names, where the system can do that."""
    cores = os.environ.get("BENCH_CORES")
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})


def main() -> None:
    """Answer until the input ends."""
    contender, name = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing that a library prints gets between

    def say(**what: Any) -> None:
        print(json.dumps(what), file=answers, flush=True)

    try:
        pin()
        module = importlib.import_module(f"contenders.{contender}")
        timed = Timed(module.Trainer(WORKLOADS[name]), WORKLOADS[name])
        say(**timed.start())
        for _ in sys.stdin:
            say(seconds=timed.measure())
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
