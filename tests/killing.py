"""Kill -9 while checkpoints are written, and see that nothing is lost.

Run as ``python tests/killing.py writes 500 [seed]``: so many children write checkpoints in a loop
and are killed at a random moment; each time the old or the new one must load, whole.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cotangent.train import checkpoint

BEST = 3  # every third checkpoint is the best so far


def content(n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What checkpoint number n holds: arrays and facts that say so in every element."""
    arrays = {f"layers.{i}.weight": np.full((64, 64), n + i, np.float32) for i in range(6)}
    return arrays | {"step": np.array(n)}, {"n": n, "rows": [n] * 20}


def write_until_killed(folder: Path, first: int, report: int) -> None:
    """Write checkpoints one after the other, and report the number of each that is complete."""
    with checkpoint.lock(folder):
        n = first
        while True:
            checkpoint.write(folder, *content(n), best=n % BEST == 0)
            os.write(report, n.to_bytes(8, "little"))
            n += 1


def check(folder: Path, complete: int) -> int:
    """The number that the newest checkpoint holds, which must be the last complete one's or more.

    Raises:
        RuntimeError: if anything was lost.
    """
    found = checkpoint.read(folder)
    n = int(found.facts["n"])
    _require(n in (complete, complete + 1), f"loads {n} after {complete}")
    _same(found, n)
    if n >= BEST:
        best = checkpoint.read(folder, best=True)
        _require(best.facts["n"] == n - n % BEST, f"best is {best.facts['n']} after {n}")
        _same(best, int(best.facts["n"]))
    return n


def _same(found: checkpoint.Checkpoint, n: int) -> None:
    arrays, facts = content(n)
    _require(found.facts == facts and set(found.arrays) == set(arrays), f"{n} has other names")
    for name, x in arrays.items():
        _require(found.arrays[name].tobytes() == x.tobytes(), f"{name} of {n} differs")


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise RuntimeError(text)


def kill_one(folder: Path, first: int, draw: random.Random) -> int:
    """Start a writer, kill it at a random moment of its writing; the last complete number."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_until_killed(folder, first, writes)
        finally:
            os._exit(1)
    os.close(writes)
    begun = time.perf_counter()
    complete = int.from_bytes(os.read(reads, 8), "little")
    # One write takes about so long; the kill falls anywhere into the next one or two.
    one = time.perf_counter() - begun
    select.select([], [], [], draw.uniform(0.0, 2.0 * one))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while said := os.read(reads, 8):
        complete = int.from_bytes(said, "little")
    os.close(reads)
    return complete


def kill_writers(count: int, seed: int = 0) -> dict[str, int]:
    """Kill so many writers in one folder, and count in what state they died."""
    draw = random.Random(seed)
    died = {"writing": 0, "renamed": 0, "between": 0}
    n = 0
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = Path(place)
        for _ in range(count):
            complete = kill_one(folder, n + 1, draw)
            part = any(p.name.endswith(".part") for p in (folder / "checkpoints").iterdir())
            n = check(folder, complete)
            died["writing" if part else "renamed" if n > complete else "between"] += 1
    return died


def main() -> None:
    """The command."""
    if len(sys.argv) < 3 or sys.argv[1] != "writes":
        raise SystemExit(__doc__)
    count = int(sys.argv[2])
    died = kill_writers(count, int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    print(
        f"{count} kills, nothing lost: {died['writing']} died while writing, {died['renamed']} "
        f"after renaming and before saying so, {died['between']} elsewhere"
    )


if __name__ == "__main__":
    main()
