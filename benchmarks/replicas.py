"""What do 32 networks trained as one cost, beside one? In turns, in one process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from harness import Row, environment

MUST = 8.0  # at most so many times one network's step
COUNT = 32
SIZES = {"xor": ((2, 8, 1), 1), "2-16-1": ((2, 16, 1), 32), "8-32-1": ((8, 32, 1), 32)}
ROUND = 0.02  # seconds


def steps(name: str) -> dict:
    """The compiled steps of one network and of 32, on the same batch, each with Adam."""
    import numpy as np

    import cotangent as ct
    from cotangent import nn, optim

    (inputs, hidden, outputs), batch = SIZES[name]
    rng = np.random.default_rng(0)
    x = ct.tensor(rng.normal(size=(batch, inputs)))
    y = ct.tensor(rng.normal(size=(batch, outputs)))

    def network(seed):
        ct.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))

    def train(model, opt, rate):
        loss = nn.mse_loss(model(x), y)
        opt.step(model, loss.backward(), lr=rate)
        return loss

    solo, own = network(0), optim.Adam()
    together, opt = nn.stack([network(seed) for seed in range(COUNT)]), optim.Adam()
    rates = ct.tensor(np.geomspace(1e-3, 1e-1, COUNT))
    return {
        "one": ct.jit(lambda: train(solo, own, 0.001)),
        "all": ct.jit(lambda: ct.vmap(lambda m, r: train(m, opt, r))(together, rates)),
    }


def measure(name: str, rounds: int) -> dict[str, float]:
    """Median seconds a step."""
    found = steps(name)
    times: dict[str, list[float]] = {key: [] for key in found}
    for _ in range(rounds + 1):
        for key, step in found.items():
            count, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < ROUND:
                for _ in range(20):
                    step()
                count += 20
            times[key].append((time.perf_counter() - begin) / count)
    return {key: median(values[1:]) for key, values in times.items()}


def compare(threads: int, rounds: int) -> list[Row]:
    """A row for each size of network."""
    rows = []
    for name in SIZES:
        command = [sys.executable, __file__, name, str(3 * rounds)]
        env = environment(threads)
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=Path.cwd())
        question = f"{COUNT} replicas of {name}"
        if done.returncode:
            note = f"FAILED: {done.stderr.strip().splitlines()[-1]}"
            rows.append(Row(question, "cotangent", None, "us", must=MUST, note=note))
            continue
        found = json.loads(done.stdout)
        ratio = found["all"] / found["one"]
        rows.append(Row(question, "cotangent", found["all"] * 1e6, "us", "one", ratio, MUST))
    return rows


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
