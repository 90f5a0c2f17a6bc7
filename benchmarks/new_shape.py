"""How long does a compiled step take to get used to a new batch size?

In a new process with an empty disk cache `small` is compiled for its batch of 32 examples; then
come batches of 31 and of 7, whose first calls are timed.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import time
from statistics import median

from harness import Row, environment, last_line
from workloads import WORKLOADS

MUST = 60.0  # ms
WORKLOAD = "small"
SIZES = (31, 7)


def measure(contender: str) -> dict[str, float]:
    """Milliseconds of the first call with each new batch size."""
    module = importlib.import_module(f"contenders.{contender}")
    trainer = module.Trainer(WORKLOADS[WORKLOAD])
    x, y = trainer.batches[0]
    for _ in range(3):
        trainer.wait(trainer.step(x, y))
    found = {}
    for size in SIZES:
        few = x[:size], y[:size]
        begin = time.perf_counter()
        trainer.wait(trainer.step(*few))
        found[str(size)] = (time.perf_counter() - begin) * 1e3
    return found


def sample(contender: str, threads: int) -> dict[str, float] | str:
    """The times of one process, or what went wrong."""
    with tempfile.TemporaryDirectory(prefix="cotangent-bench-") as cache:
        env = environment(threads, COTANGENT_CACHE=cache)
        command = [sys.executable, __file__, contender]
        done = subprocess.run(command, capture_output=True, text=True, env=env)
    return f"FAILED: {last_line(done.stderr)}" if done.returncode else dict(json.loads(done.stdout))


def compare(threads: int, rounds: int, contenders: list[str]) -> list[Row]:
    """Two rows for Cotangent, with a bound, and two for JAX."""
    names = [c for c in ("cotangent", "jax") if c in contenders]
    found: dict[str, list[dict[str, float] | str]] = {c: [] for c in names}
    for _ in range(rounds):
        for c in names:
            found[c].append(sample(c, threads))
    rows = []
    for c, samples in found.items():
        note = next((s for s in samples if isinstance(s, str)), "")
        for size in map(str, SIZES):
            value = None if note else median(s[size] for s in samples)
            row = Row(f"{WORKLOAD} first call with {size}", c, value, "ms", note=note)
            row.must = MUST if c == "cotangent" else None
            rows.append(row)
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
