"""How much faster is a training step on several threads than on one?

    .venv/bin/python benchmarks/threads.py                     # one and all threads, 12 sizes
    .venv/bin/python benchmarks/threads.py --processes 4       # as many processes at once

Both numbers of threads take turns in one process, so a change in the machine's load meets them
alike; the ratio is that of the medians over the turns. Steps are called one by one, and by `loop`.
With --processes, so many processes do the same at once, first all of them on one thread, then all
of them on several: what threads cost where the cores are taken already.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from statistics import median

import numpy as np

import cotangent as ct
from cotangent import nn, optim

# Batch, and the widths of a multilayer perceptron that Adam trains.
SIZES = [
    (1, (2, 8, 1)), (16, (8, 16, 1)), (32, (8, 64, 64, 1)), (32, (16, 128, 10)),
    (64, (32, 128, 128, 10)), (64, (64, 256, 10)), (128, (64, 256, 256, 10)),
    (128, (784, 128, 10)), (128, (784, 256, 128, 10)), (256, (784, 256, 128, 10)),
    (256, (784, 512, 512, 10)), (512, (784, 1024, 1024, 10)),
]  # fmt: skip
MOST_LOSS = 1.05  # what more threads may cost at most


class Perceptron(nn.Module):
    """Linear layers with an activation in between."""

    def __init__(self, widths, activation):
        self.activation = activation
        self.layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]

    def forward(self, x):
        """The outputs of the last layer."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def make_step(batch, widths, activation=ct.relu):
    """A compiled training step, and its arguments."""
    ct.manual_seed(0)
    model, opt = Perceptron(widths, activation), optim.Adam(lr=1e-3)

    @ct.jit
    def step(x, y):
        loss = nn.mse_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    rng = np.random.default_rng(0)
    return step, [rng.normal(size=(batch, n)).astype(np.float32) for n in (widths[0], widths[-1])]


def seconds(run, least=0.02):
    """The time of one run, of as many as take `least` seconds."""
    times, spent = 0, 0.0
    start = time.perf_counter()
    while spent < least:
        run()
        times += 1
        spent = time.perf_counter() - start
    return spent / times


def compare(batch, widths, counts, turns):
    """Median seconds of a call and of an iteration of `loop`, for each number of threads."""
    step, (x, y) = make_step(batch, widths)
    stacked = [np.stack([a] * 8) for a in (x, y)]
    ways = {"call": lambda: step(x, y), "loop": lambda: step.loop(*stacked)}
    found = {(way, n): [] for way in ways for n in counts}
    for turn in range(turns + 1):
        for (way, n), samples in found.items():
            ct.set_num_threads(n)
            ways[way]()
            taken = seconds(ways[way]) / (8 if way == "loop" else 1)
            if turn:  # the first one warms up
                samples.append(taken)
    return {key: median(samples) for key, samples in found.items()}


def table(threads, turns):
    """One line for each size."""
    print(f"microseconds of a step, 1 thread and {threads}, and their ratio")
    worst = 0.0
    for batch, widths in SIZES:
        found = compare(batch, widths, (1, threads), turns)
        cells = []
        for way in ("call", "loop"):
            one, more = (found[way, n] * 1e6 for n in (1, threads))
            worst = max(worst, more / one)
            cells.append(f"{way} {one:9.1f} {more:9.1f} {more / one:6.2f}")
        print(f"{batch:4} x {'-'.join(map(str, widths)):18}  {'   '.join(cells)}", flush=True)
    print(f"worst ratio {worst:.2f} (at most {MOST_LOSS})")


def together(processes, threads, turns):
    """Steps a second of so many processes at once, on one thread each and on several."""
    print(f"{processes} processes at once: microseconds of a step, 1 thread and {threads} each")
    for number, (batch, widths) in enumerate(SIZES):
        found = {1: [], threads: []}
        for _ in range(turns):
            for count, samples in found.items():
                samples.append(_at_once(processes, number, count))
        one, more = median(found[1]) * 1e6, median(found[threads]) * 1e6
        name = f"{batch:4} x {'-'.join(map(str, widths)):18}"
        print(f"{name}  {one:9.1f} {more:9.1f} {more / one:6.2f}", flush=True)


def _at_once(processes, number, threads):
    """The mean over processes of the seconds of a step."""
    environment = {**os.environ, "COTANGENT_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--worker", str(number)]
    workers = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(processes)
    ]
    for worker in workers:
        worker.stdout.readline()  # it is ready
    for worker in workers:
        worker.stdin.write(b"go\n")
        worker.stdin.flush()
    return sum(float(worker.communicate()[0]) for worker in workers) / processes


def work(number):
    """One of several processes: the seconds of a step, over a fifth of a second."""
    step, (x, y) = make_step(*SIZES[number])
    step(x, y)
    print("ready", flush=True)
    sys.stdin.readline()
    print(seconds(lambda: step(x, y), 0.2))


def main():
    """Read the arguments; measure; print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=ct.get_num_threads())
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        work(given.worker)
    elif given.processes > 1:
        together(given.processes, given.threads, max(1, given.turns // 5))
    else:
        table(given.threads, given.turns)


if __name__ == "__main__":
    main()
