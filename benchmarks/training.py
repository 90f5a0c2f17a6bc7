"""What does `train.fit` cost over the steps that it makes, and what does watching cost?

    python benchmarks/training.py [QUESTION ...]

Three questions, each asked in turns within one run:

- ``fit_mlp``: 784-256-128-10, batches of 128, Adam, against a hand-written compiled loop over the
  same rows in the same order, which gathers them natively too. Both are traced anew in every turn.
- ``fit_xor``: 8,000 steps of 2-8-1 on one example each, against the same loop in PyTorch, each in
  a process of its own: with imports, and without (nor what PyTorch's first step imports).
- ``fit_watching``: a run of 32-64-64-1 with batches of 64 that prints, and calls back every epoch
  and every 1,000 steps, against one that does neither, in seconds of the processor: what watching
  takes is too little to be seen through the load of a shared machine.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from harness import Row, environment, last_line
from workloads import LEARNING_RATE, WORKLOADS, data

QUESTIONS = {"fit_mlp": 1.05, "fit_watching": 1.01, "fit_xor": 0.05}
WITH_IMPORTS = 0.2
QUICK = "BENCH_ROUND" in os.environ  # see run.py: only whether everything runs
STEPS = 80 if QUICK else 8_000
MLP_BATCHES = 4 if QUICK else 200
MLP_EPOCHS, WATCHED_EPOCHS = (1, 1) if QUICK else (2, 20)


def rows_of(name: str, batches: int) -> tuple[np.ndarray, np.ndarray]:
    """The examples of a workload, repeated to so many batches."""
    xs, ys = data(WORKLOADS[name])
    repeats = -(-batches // len(xs))
    xs, ys = np.tile(xs, (repeats, 1, 1))[:batches], np.concatenate([ys] * repeats)[:batches]
    return xs.reshape(-1, xs.shape[-1]), ys.reshape(-1, *ys.shape[2:])


def network(name: str) -> Any:
    """The network of a workload, with its first weights."""
    from contenders.cotangent import MLP

    return MLP(WORKLOADS[name])


def by_hand(epochs: int) -> float:
    """Seconds of a hand-written compiled loop on `mlp`."""
    import cotangent as ct
    from cotangent import nn, optim
    from cotangent.data import shuffled

    x, y = rows_of("mlp", MLP_BATCHES)
    model, opt = network("mlp"), optim.Adam(lr=LEARNING_RATE)
    begin = time.perf_counter()
    inputs = ct.var("inputs", x, requires_grad=False)
    labels = ct.var("labels", y, requires_grad=False)

    @ct.jit
    def step(rows: Any) -> Any:
        loss = nn.cross_entropy_loss(model(ct.take(inputs, rows)), ct.take(labels, rows))
        opt.step(model, loss.backward())
        return loss

    for epoch in range(epochs):
        losses = step.loop(shuffled(len(x), 0, epoch).reshape(-1, 128))
        float(losses.numpy().mean())
    return time.perf_counter() - begin


def by_fit(epochs: int) -> float:
    """Seconds of `fit` on the same."""
    from cotangent import optim, train

    x, y = rows_of("mlp", MLP_BATCHES)
    model, opt = network("mlp"), optim.Adam(lr=LEARNING_RATE)
    begin = time.perf_counter()
    train.fit(
        model, (x, y), optimizer=opt, epochs=epochs, batch_size=128, progress=False, metrics=()
    )
    return time.perf_counter() - begin


def unwatched(watched: bool = False) -> float:
    """Seconds of a run on `tabular`."""
    from cotangent import optim, train

    class Watcher(train.Callback):
        every = 1_000

        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_step(self, run: Any) -> None:
            self.losses.append(run.loss)

        def on_epoch(self, run: Any, row: dict[str, Any]) -> None:
            self.losses.append(row["loss"])

    x, y = rows_of("tabular_loop", 1000)
    model, opt = network("tabular_loop"), optim.Adam(lr=LEARNING_RATE)
    with contextlib.redirect_stdout(io.StringIO()):
        begin = time.process_time()
        train.fit(
            model, (x, y), optimizer=opt, epochs=WATCHED_EPOCHS, batch_size=64,
            progress=None if watched else False, callbacks=[Watcher()] if watched else (),
        )  # fmt: skip
        return time.process_time() - begin


def in_turns(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> list[float]:
    """Medians of seconds, and of the ratio of neighbours."""
    times = []
    for turn in range(rounds + 1):  # the first warms up
        first, second = (ours, theirs) if turn % 2 else (theirs, ours)
        a, b = first(), second()
        times.append((a, b) if turn % 2 else (b, a))
    kept = times[1:]
    return [
        median(a for a, _ in kept), median(b for _, b in kept), median(a / b for a, b in kept)
    ]  # fmt: skip


XOR_OURS = f"""
import time; begin = time.perf_counter()
import numpy as np
import cotangent as ct
from cotangent import nn, optim, train
model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
y = np.array([[0], [1], [1], [0]], np.float32)
ready = time.perf_counter()
history = train.fit(
    model, (x, y), optimizer=optim.Adam({LEARNING_RATE}), steps={STEPS}, batch_size=1,
    progress=False,
)
end = time.perf_counter()
print(end - begin, end - ready, history.rows[-1]["loss"])
"""
XOR_TORCH = f"""
import time; begin = time.perf_counter()
import torch
from torch import nn
torch.set_num_threads(1)
# The first step of an optimizer imports more, which is to count as imports.
first = nn.Linear(2, 1)
first(torch.ones(1, 2)).sum().backward()
torch.optim.Adam(first.parameters()).step()
model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
x = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float32)
y = torch.tensor([[0], [1], [1], [0]], dtype=torch.float32)
opt, loss_of = torch.optim.Adam(model.parameters(), lr={LEARNING_RATE}), nn.MSELoss()
ready = time.perf_counter()
for epoch in range({STEPS} // 4):
    for i in torch.randperm(4).tolist():
        opt.zero_grad()
        loss = loss_of(model(x[i:i + 1]), y[i:i + 1])
        loss.backward()
        opt.step()
end = time.perf_counter()
print(end - begin, end - ready, loss.item())
"""


def script(text: str, threads: int) -> tuple[float, float]:
    """Seconds of a program with its imports, and without."""
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=environment(threads)
    )
    if done.returncode:
        raise RuntimeError(last_line(done.stderr))
    whole, part, _ = map(float, done.stdout.split())
    return whole, part


def compare_xor(threads: int, rounds: int, peer: bool) -> list[Row]:
    """Both programs in turns; ours alone without `peer`."""
    try:
        script(XOR_OURS, threads)  # fills the cache of compiled steps
        if not peer:
            value = median(script(XOR_OURS, threads)[1] for _ in range(rounds))
            return [Row("fit_xor", "cotangent", value * 1e3, "ms")]
        pairs = [(script(XOR_OURS, threads), script(XOR_TORCH, threads)) for _ in range(rounds)]
    except RuntimeError as error:
        return [Row("fit_xor", "cotangent", None, "ms", note=f"FAILED: {error}")]
    rows = []
    for i, (name, must) in enumerate(
        (("fit_xor, with imports", WITH_IMPORTS), ("fit_xor", QUESTIONS["fit_xor"]))
    ):
        ours, theirs = ([pair[j][i] * 1e3 for pair in pairs] for j in (0, 1))
        ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
        rows.append(Row(name, "cotangent", median(ours), "ms", "torch", ratio, must))
        rows.append(Row(name, "torch", median(theirs), "ms"))
    return rows


def measure(question: str, rounds: int) -> list[float]:
    """Seconds of ours and of the other, and the ratio, in this process."""
    if question == "fit_mlp":
        return in_turns(lambda: by_fit(MLP_EPOCHS), lambda: by_hand(MLP_EPOCHS), rounds)
    return in_turns(lambda: unwatched(True), unwatched, 2 * rounds)


def compare(question: str, threads: int, rounds: int, contenders: list[str]) -> list[Row]:
    """The rows that answer one question."""
    if "cotangent" not in contenders:
        return []
    if question == "fit_xor":
        return compare_xor(threads, max(1, rounds // 2), "torch" in contenders)
    command = [sys.executable, __file__, question, str(rounds)]
    env = environment(1 if question == "fit_watching" else threads)
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        return [Row(question, "fit", None, "ms", note=f"FAILED: {last_line(done.stderr)}")]
    ours, theirs, ratio = json.loads(done.stdout)
    other = "by hand" if question == "fit_mlp" else "unwatched"
    return [
        Row(question, "fit", ours * 1e3, "ms", other, ratio, QUESTIONS[question]),
        Row(question, other, theirs * 1e3, "ms"),
    ]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
