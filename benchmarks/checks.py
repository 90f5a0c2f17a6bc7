"""What the compiler promises of processes, signals and memory, with the figure beside the bound.

    .venv/bin/python benchmarks/checks.py                 # all
    .venv/bin/python benchmarks/checks.py forks shapes    # some

`forks`: the slowest of 100 children that compute and compile after compiled work, and of children
made while another thread compiles or is in a `loop`; `workers`: joblib's and multiprocessing's
processes, with PyTorch and scikit-learn imported where they are installed; `signals`: from Ctrl-C
to the end of a `loop`; `shapes`: memory for each of 500 new shapes, beside what the largest needs,
and what 10,000 calls with alternating shapes add. Speed on several threads, and of several
processes at once, is measured by `threads.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings

import numpy as np

import cotangent as ct

X = np.random.default_rng(0).uniform(-1, 1, (317, 301)).astype(np.float32)


@ct.jit
def work(x):
    """What the parent and all children compute."""
    return (x @ x.T).tanh().sum()


def resident():
    """The memory of this process, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def report(what, figure, bound, unit):
    """Print a line; whether the bound is kept."""
    print(f"{what:62} {figure:9.3f} {unit:7} (at most {bound})", flush=True)
    return figure <= bound


def child_seconds(size):
    """How long a child takes to run a compiled function and to compile another."""
    end, other = os.pipe()
    pid = os.fork()
    if not pid:
        start = time.perf_counter()
        with contextlib.suppress(BaseException):
            work(X)
            ct.jit(lambda x: (x * 2).sum())(np.ones((size, 2), np.float32))
            os.write(other, np.float64(time.perf_counter() - start).tobytes())
        os._exit(0)
    os.close(other)
    found = os.read(end, 8)
    os.close(end)
    os.waitpid(pid, 0)
    return float(np.frombuffer(found)[0]) if found else np.inf


class Busy:
    """Another Python thread that does something again and again."""

    def __init__(self, run):
        self.go, self.run = True, run
        self.thread = threading.Thread(target=self._repeat)

    def _repeat(self):
        number = 400
        while self.go:
            number += 1
            self.run(number)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.go = False
        self.thread.join()


def forks():
    """Children after compiled work, during a compilation, and during a loop."""
    ct.set_num_threads(2)
    expected = work(X).item()
    fine = report("fork after compiled work, slowest of 100 children",
                  max(child_seconds(33 + i) for i in range(100)), 1.0, "s")  # fmt: skip

    def compiling(n):
        ct.jit(lambda x: (x @ x.T).exp().sum())(np.ones((n, 3), np.float32))

    w = ct.var("w", np.zeros(100_000))
    step = ct.jit(lambda x: w.assign(w + x))
    for what, run in (("a compilation", compiling),
                      ("a loop", lambda n: step.loop(np.ones(20_000, np.float32)))):  # fmt: skip
        with Busy(run):
            times, waits = [], []
            for i in range(30):
                start = time.perf_counter()
                times.append(child_seconds(200 + i))
                waits.append(time.perf_counter() - start - times[-1])
        fine &= report(f"fork during {what}, slowest of 30 children", max(times), 1.0, "s")
        fine &= report("  and the fork itself", max(waits), 1.0, "s")
    return fine and work(X).item() == expected


def task(number):
    """What a worker of a pool does, and how long that takes."""
    start = time.perf_counter()
    value = work(X).item()
    return value, time.perf_counter() - start


def workers():
    """Pools of processes."""
    for name in ("torch", "sklearn.ensemble"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
            print(f"with {name} imported")
    expected, fine = work(X).item(), True
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            found = pool.map(task, range(8))
        fine &= report(f"multiprocessing by {method}, slowest task",
                       max(s for _, s in found), 1.0 if method == "fork" else 5.0, "s")  # fmt: skip
        fine &= all(value == expected for value, _ in found)
    with contextlib.suppress(ImportError):
        joblib = importlib.import_module("joblib")
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(task)(i) for i in range(8))
        fine &= report("joblib, slowest task", max(s for _, s in found), 5.0, "s")
        fine &= all(value == expected for value, _ in found)
    return fine


def signals():
    """From SIGINT to the exception."""
    w = ct.var("w", np.zeros(300_000))
    step = ct.jit(lambda x: w.assign(w + x))
    rows, late, sent = np.ones(1_000_000, np.float32), [], []
    step(1.0)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    for _ in range(20):
        timer = threading.Timer(0.2, interrupt)
        timer.start()
        try:
            while True:
                step.loop(rows)
        except KeyboardInterrupt:
            late.append(time.perf_counter() - sent[-1])
        timer.join()
    return report("Ctrl-C ends a loop, slowest of 20", max(late), 0.2, "s")


def shapes():
    """Memory that new shapes, and alternating ones, take."""
    warnings.simplefilter("ignore")
    w = ct.var("w", np.ones((8, 64)))

    @ct.jit
    def step(x):
        loss = ct.tanh(x @ w).mean()
        w.assign(w * 0.5 + (x.T @ ct.tanh(x @ w)) * loss)
        return loss

    def call(size):
        step(np.ones((size, 8), np.float32))

    for size in (*range(33, 133), 633):  # the process has what it needs, also for the largest
        call(size)
    before = resident()
    for size in range(133, 633):
        call(size)
    fine = report("memory for each of 500 new shapes", (resident() - before) / 500 / 1024, 2, "KB")
    for i in range(1000):
        call(40 + i % 4)
    before = resident()
    for i in range(10_000):
        call(40 + i % 4)
    return fine & report("memory for 10,000 calls of 4 shapes in turns",
                         (resident() - before) / 1024, 64, "KB")  # fmt: skip


CHECKS = {"forks": forks, "workers": workers, "signals": signals, "shapes": shapes}


def main():
    """Read the arguments; check; 1 if a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checks", nargs="*", help=f"of {', '.join(CHECKS)}; all by default")
    given = parser.parse_args()
    if unknown := set(given.checks) - CHECKS.keys():
        parser.error(f"no such checks: {', '.join(sorted(unknown))}")
    os.environ["COTANGENT_CACHE"] = "off"  # with it, LLVM may be loaded in the middle of a check
    kept = [CHECKS[name]() for name in given.checks or CHECKS]
    return not all(kept)


if __name__ == "__main__":
    sys.exit(main())
