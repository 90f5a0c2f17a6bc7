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
TURN = 0.01  # seconds at least
FEWEST = 64  # calls in a turn: the first one looks at all variables, as the other kind wrote last
PAIRS = 9  # of turns in a round


def cases(eager):
    """Name, and a function that does the work so many times, of each case."""
    rng = np.random.default_rng(0)
    for name, (sizes, batch) in STEPS.items():
        step, (x, y) = make_step(batch, sizes, ct.tanh)
        if eager:
            step = step.__wrapped__
        yield f"{name} calls", lambda n, s=step, x=x, y=y: [s(x, y) for _ in range(n)]
        if name == "mlp":  # its arguments are large: those that are tensors need not be copied
            tensors = [ct.tensor(a) for a in (x, y)]
            yield f"{name} tensors", lambda n, s=step, a=tensors: [s(*a) for _ in range(n)]
        if not eager:
            yield f"{name} loop", lambda n, s=step, x=x, y=y: s.loop(*_stacked((x, y), n))
    x, t = (ct.tensor(rng.normal(size=ROWS)) for _ in range(2))
    for name, function in FUNCTIONS.items():
        f = ct.value_and_grad(lambda x, t, f=function: (f(x) * t).sum())
        f = f if eager else ct.jit(f)
        yield name, lambda n, f=f, x=x, t=t: [f(x, t) for _ in range(n)]


_STACKS = {}


def _stacked(arrays, times):
    key = tuple((id(x), times) for x in arrays)
    if key not in _STACKS:
        _STACKS[key] = [np.stack([x] * times) for x in arrays]
    return _STACKS[key]


def _seconds(run, times, on, clock):
    with ct.debug_nans(on):
        start = clock()
        run(times)
        return (clock() - start) / times


def compare(run, clock):
    """Median seconds without, and the ratio."""
    for on in (False, True):
        _seconds(run, 1, on, clock)  # compiles
    least = min(_seconds(run, 3, False, clock) for _ in range(3))
    times = max(FEWEST, int(TURN / least))
    pairs = []
    for i in range(PAIRS):
        # Who goes first changes from pair to pair.
        order = (False, True) if i % 2 else (True, False)
        found = {on: _seconds(run, times, on, clock) for on in order}
        pairs.append((found[False], found[True] / found[False]))
    return tuple(median(column) for column in zip(*pairs, strict=True))


def main():
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    ct.set_num_threads(args.threads)
    # With one thread, what other processes do matters less to the processor's time.
    clock = time.process_time if args.threads == 1 else time.perf_counter
    for name, run in cases(args.eager):
        if args.only not in name:
            continue
        rounds = [compare(run, clock) for _ in range(args.rounds)]
        off, ratio = median(r[0] for r in rounds), median(r[1] for r in rounds)
        low, high = min(r[1] for r in rounds), max(r[1] for r in rounds)
        print(f"{name:14} {off * 1e6:10.2f} us, watched {ratio:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
