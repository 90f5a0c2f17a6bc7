"""How long does a shuffled epoch of a table take, without any training?

20,000 rows of 20 float32 numbers, 256 rows a batch: `data.batches`, the same gather in a compiled
loop (full batches only), and NumPy's indexing beside them. All make the order of the rows, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from harness import Row, environment, last_line

MUST = 1.0  # ms
ROWS, COLUMNS, BATCH = 20_000, 20, 256
FULL = ROWS // BATCH
TIMES = 20  # epochs in a round


def epochs() -> dict[str, Callable[[int], list[Any]]]:
    """Functions of the number of the epoch that return its batches."""
    import cotangent as ct
    from cotangent.data import batches, shuffled

    table = np.random.default_rng(0).standard_normal((ROWS, COLUMNS), np.float32)
    tensor = ct.tensor(table)
    gather = ct.jit(lambda rows: ct.take(tensor, rows))

    def looped(epoch: int) -> list[Any]:
        order = shuffled(ROWS, 0, epoch)[: FULL * BATCH]
        return [gather.loop(order.reshape(FULL, BATCH))]

    def sliced(epoch: int) -> list[Any]:
        order = np.random.default_rng(epoch).permutation(ROWS)
        return [table[order[at : at + BATCH]] for at in range(0, ROWS, BATCH)]

    return {
        "data.batches": lambda epoch: list(batches(table, BATCH, epoch=epoch)),
        "step.loop": looped,
        "numpy": sliced,
    }


def check(found: dict[str, Callable[[int], list[Any]]]) -> None:
    """Every row comes once, and the two of ours have the same order."""
    rows = {
        name: np.concatenate([np.reshape(b, (-1, COLUMNS)) for b in epoch(1)])
        for name, epoch in found.items()
    }
    ours, theirs, looped = rows["data.batches"], rows["numpy"], rows["step.loop"]
    if not np.array_equal(np.sort(ours[:, 0]), np.sort(theirs[:, 0])):
        raise ValueError("the batches of an epoch are not the rows of the table")
    if not np.array_equal(ours[: len(looped)], looped):
        raise ValueError("the loop gathers other rows than data.batches")


def measure(rounds: int) -> dict[str, float]:
    """Median milliseconds an epoch."""
    found = epochs()
    check(found)
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds + 1):
        for name, epoch in found.items():
            begin = time.perf_counter()
            for number in range(TIMES):
                epoch(number)
            times[name].append((time.perf_counter() - begin) / TIMES * 1e3)
    return {name: median(values[1:]) for name, values in times.items()}


def compare(threads: int, rounds: int) -> list[Row]:
    """Our two rows, and NumPy's."""
    command = [sys.executable, __file__, str(rounds)]
    env = environment(threads)
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    found = {} if done.returncode else json.loads(done.stdout)
    note = f"FAILED: {last_line(done.stderr)}" if done.returncode else ""
    rows = []
    for name in ("data.batches", "step.loop"):
        question = f"shuffled epoch, {name}"
        rows.append(Row(question, "cotangent", found.get(name), "ms", must=MUST, note=note))
    rows.append(Row("shuffled epoch, indexing", "numpy", found.get("numpy"), "ms", note=note))
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
