"""What does `ct.debug_nans` cost? With it and without it, in short turns.

    python benchmarks/nans.py                 # compiled steps and functions, on one thread
    python benchmarks/nans.py --threads 2
    python benchmarks/nans.py --eager         # the same steps without a compiler

The two take turns of some milliseconds, so a change in the machine's load meets them alike. The
ratio is the median of those of neighbouring turns.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from threads import make_step

import cotangent as ct
from cotangent import nn

# name -> widths and batch of a perceptron that Adam trains.
STEPS = {
    "xor": ((2, 8, 1), 1),
    "small": ((8, 64, 64, 1), 32),
    "tabular": ((32, 64, 64, 1), 64),
    "mlp": ((784, 256, 128, 10), 128),
}
FUNCTIONS = {
    "softmax": ct.softmax,
    "layer norm": nn.LayerNorm(512),
}
ROWS = (1024, 512)
TURN = 0.01  # seconds
PAIRS = 15  # of turns in a round


def cases(eager):
    """Name, and a function that does the work so many times, of each case."""
    rng = np.random.default_rng(0)
    for name, (sizes, batch) in STEPS.items():
        step, (x, y) = make_step(batch, sizes, ct.tanh)
        if eager:
            step = step.__wrapped__
        yield f"{name} calls", lambda n, s=step, x=x, y=y: [s(x, y) for _ in range(n)]
        if not eager:
            yield f"{name} loop", lambda n, s=step, x=x, y=y: s.loop(*_stacked((x, y), n))
    x = rng.normal(size=ROWS).astype(np.float32)
    t = rng.normal(size=ROWS).astype(np.float32)
    for name, function in FUNCTIONS.items():
        f = ct.value_and_grad(lambda x, t, f=function: (f(x) * t).sum())
        f = f if eager else ct.jit(f)
        yield name, lambda n, f=f, x=ct.tensor(x), t=ct.tensor(t): [f(x, t) for _ in range(n)]


_STACKS = {}


def _stacked(arrays, times):
    key = tuple((id(x), times) for x in arrays)
    if key not in _STACKS:
        _STACKS[key] = [np.stack([x] * times) for x in arrays]
    return _STACKS[key]


def _seconds(run, times, on):
    with ct.debug_nans(on):
        start = time.perf_counter()
        run(times)
        return (time.perf_counter() - start) / times


def compare(run):
    """Median seconds without, and the ratio."""
    for on in (False, True):
        _seconds(run, 1, on)  # compiles
    times = max(1, int(TURN / min(_seconds(run, 3, False) for _ in range(3))))
    run(times)
    # Who goes first changes from pair to pair.
    pairs = []
    for i in range(PAIRS):
        found = {on: _seconds(run, times, on) for on in ((False, True), (True, False))[i % 2]}
        pairs.append(found)
    return median(p[False] for p in pairs), median(p[True] / p[False] for p in pairs)


def main():
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    ct.set_num_threads(args.threads)
    runs = {name: run for name, run in cases(args.eager) if args.only in name}
    for name, run in runs.items():
        rounds = [compare(run) for _ in range(args.rounds)]
        off, ratio = median(r[0] for r in rounds), median(r[1] for r in rounds)
        low, high = min(r[1] for r in rounds), max(r[1] for r in rounds)
        print(f"{name:14} {off * 1e6:10.2f} us, watched {ratio:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
