"""How much memory does a process take at its peak that trains `mlp` for 200 steps?

The whole process counts, interpreter and libraries included: the largest resident size.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from statistics import median

from harness import Row, environment, last_line
from workloads import WORKLOADS

MUST = 0.6  # of JAX's
WORKLOAD, STEPS = "mlp", 200


def peak() -> float:
    """The largest resident size of this process so far, in MB."""
    try:
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    except FileNotFoundError:
        import resource  # not on every system

        unit = 1 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def train(contender: str) -> float:
    """The peak after the steps."""
    module = importlib.import_module(f"contenders.{contender}")
    trainer = module.Trainer(WORKLOADS[WORKLOAD])
    loss = None
    for i in range(STEPS):
        loss = trainer.step(*trainer.batches[i % len(trainer.batches)])
        trainer.wait(loss)
    if not 0 <= float(loss) < 1:
        raise ValueError(f"the loss is {float(loss)} after {STEPS} steps: nothing was learnt")
    return peak()


def sample(contender: str, threads: int) -> float | str:
    """The peak of one process in MB, or what went wrong; nothing is cached on disk."""
    with tempfile.TemporaryDirectory(prefix="cotangent-bench-") as cache:
        env = environment(threads, COTANGENT_CACHE=cache)
        command = [sys.executable, __file__, contender]
        done = subprocess.run(command, capture_output=True, text=True, env=env)
    return f"FAILED: {last_line(done.stderr)}" if done.returncode else float(done.stdout)


def compare(threads: int, rounds: int, contenders: list[str]) -> list[Row]:
    """A row for each library, ours with the ratio to JAX."""
    names = [c for c in ("cotangent", "torch", "jax") if c in contenders]
    found: dict[str, list[float | str]] = {c: [] for c in names}
    for _ in range(rounds):
        for c in names:
            found[c].append(sample(c, threads))
    rows = []
    for c, samples in found.items():
        note = next((s for s in samples if isinstance(s, str)), "")
        value = None if note else median(samples)
        rows.append(Row(f"{WORKLOAD}, peak memory", c, value, "MB", note=note))
    if "cotangent" in names and "jax" in names:
        ours, theirs = rows[0].value, rows[-1].value
        rows[0].peer, rows[0].must = "jax", MUST
        rows[0].ratio = ours / theirs if ours and theirs else None
    return rows


if __name__ == "__main__":
    print(train(sys.argv[1]))
