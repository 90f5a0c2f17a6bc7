"""Kill -9 in the middle of training, resume in a fresh process, and compare every byte.

Run as ``python tests/killing_runs.py 50 [seed]``: so many runs, with dropout, shuffling, Adam, a
schedule, a mean of the weights, and in turn metrics with early stopping, or accumulated gradients
that are clipped, are killed at random moments; every other one again after it was resumed. Each is
finished in a process of its own, and its weights and its history must be those of the run that was
not killed.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import cotangent as ct
from cotangent import nn, optim
from cotangent.train import Callback, checkpoint, fit

KINDS = ("plain", "metrics", "accumulated")
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"metrics": []},
    "metrics": {"metrics": ["accuracy", "roc_auc"], "validation": 0.2, "early_stopping": 1000},
    "accumulated": {"accumulate": 3, "clip_norm": 0.5, "validation": 0.2},
}


class Begun(Callback):
    """Says that the first step is next."""

    def on_start(self, run: Any) -> None:
        """Say it."""
        print("begun", flush=True)


def train(folder: str, kind: str, epochs: int) -> None:
    """Train, or go on with what is in the folder; says ``begun`` when the first step is next."""
    ct.manual_seed(3)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1010, 12)).astype(np.float32)
    y = (x @ generator.normal(size=12) + generator.normal(size=1010) > 0.0).astype(np.int64)
    model = nn.Sequential(
        nn.Linear(12, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 1)
    )
    fit(
        model, (x, y), epochs=epochs, batch_size=16, optimizer=optim.Adam(0.01),
        schedule=optim.cosine_decay(0.01, 64 * epochs), ema=0.99, callbacks=[Begun()],
        folder=folder, resume=True, checkpoint_seconds=0.02, progress=False, **SETTINGS[kind],
    )  # fmt: skip


def _start(folder: Path, kind: str, epochs: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "train", str(folder), kind, str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> None:
    process.communicate()
    if process.returncode:
        raise RuntimeError(f"a run ended with {process.returncode}")


def _result(folder: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """The final weights, and the history without the times."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return (folder / "model.safetensors").read_bytes(), [
        {name: value for name, value in row.items() if name != "seconds"} for row in rows
    ]


def _seconds(folder: Path) -> float:
    """About how long a run takes from its beginning, once its steps are compiled."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return 1.2 * sum(float(row["seconds"]) for row in rows[1:])


def kill_and_resume(place: Path, kind: str, epochs: int, moments: list[float]) -> list[int]:
    """Kill a run so many seconds after it began, also when it is resumed, and finish it.

    Returns:
        The steps that it was resumed from.
    """
    steps = []
    for moment in moments:
        process = _start(place, kind, epochs)
        process.stdout.readline()  # type: ignore[union-attr]
        select.select([], [], [], moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        there = checkpoint.exists(place)
        steps.append(int(checkpoint.read(place).facts["step"]) if there else 0)
    _finish(_start(place, kind, epochs))
    return steps


def kill_runs(count: int, seed: int, epochs: int) -> list[tuple[str, list[int]]]:
    """Kill so many runs, every other one twice; (kind, the steps it was resumed from) of each.

    Raises:
        RuntimeError: if one ends with another byte than the run that was not killed.
    """
    draw = random.Random(seed)
    found: list[tuple[str, list[int]]] = []
    with tempfile.TemporaryDirectory() as top:
        os.environ["COTANGENT_CACHE"] = os.path.join(top, "cache")
        whole: dict[str, Any] = {}
        for kind in KINDS[:count]:
            place = Path(top) / kind
            _finish(_start(place, kind, epochs))
            whole[kind] = _result(place), _seconds(place)
        for i in range(count):
            kind = KINDS[i % len(KINDS)]
            result, seconds = whole[kind]
            place = Path(top) / f"killed-{i}"
            moments = [draw.uniform(0.0, seconds / (1 + i % 2)) for _ in range(1 + i % 2)]
            steps = kill_and_resume(place, kind, epochs, moments)
            if _result(place) != result:
                raise RuntimeError(f"run {i} ({kind}), resumed from {steps}, ends differently")
            found.append((kind, steps))
    return found


def main() -> None:
    """The command."""
    if len(sys.argv) == 5 and sys.argv[1] == "train":
        train(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    count = int(sys.argv[1])
    found = kill_runs(count, int(sys.argv[2]) if len(sys.argv) > 2 else 0, epochs=60)
    steps = sorted(step for _, steps in found for step in steps)
    updates = {"plain": 64, "metrics": 51, "accumulated": 17}  # of an epoch
    middle = sum(step % updates[kind] != 0 for kind, steps in found for step in steps)
    print(
        f"{count} runs killed {len(steps)} times and resumed, all bytes equal; resumed from the "
        f"steps {steps}, {middle} of them inside an epoch"
    )


if __name__ == "__main__":
    main()
