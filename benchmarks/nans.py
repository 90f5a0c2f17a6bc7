"""What does `ct.debug_nans` cost a compiled step? With it and without it, in turns.

python benchmarks/nans.py
"""

from __future__ import annotations

import time
from itertools import pairwise
from statistics import median

import numpy as np

import cotangent as ct
from cotangent import nn, optim

# name -> widths, batch, steps in a round
STEPS = {
    "xor": ((2, 8, 1), 1, 2000),
    "small": ((8, 64, 64, 1), 32, 500),
    "mlp": ((784, 256, 128, 10), 128, 60),
}


class Net(nn.Module):
    """Dense layers with tanh between them."""

    def __init__(self, sizes):
        self.layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = layer(x).tanh()
        return self.layers[-1](x)


def _step(sizes, batch):
    ct.manual_seed(0)
    model, opt = Net(sizes), optim.Adam(lr=1e-3)

    @ct.jit
    def step(x, y):
        loss = nn.mse_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(batch, n)).astype(np.float32) for n in (sizes[0], sizes[-1]))
    return step, x, y


def _seconds(run, times):
    # Time of the processor: with one thread, what other processes do matters less.
    start = time.process_time()
    run()
    return (time.process_time() - start) / times


def main():
    """Print the medians."""
    ct.set_num_threads(1)
    for name, (sizes, batch, times) in STEPS.items():
        step, x, y = _step(sizes, batch)
        rows = [np.stack([part] * times) for part in (x, y)]
        runs = {
            "calls": lambda step=step, x=x, y=y, n=times: [step(x, y) for _ in range(n)],
            "loop": lambda step=step, rows=rows: step.loop(*rows),
        }
        for what, run in runs.items():
            found = {False: [], True: []}
            for on in [False, True] * 9:
                with ct.debug_nans(on):
                    found[on].append(_seconds(run, times))
            off, watched = (median(found[on][1:]) * 1e6 for on in (False, True))
            print(
                f"{name:6} {what:6} {off:9.2f} us  watched {watched:9.2f} us  {watched / off:.2f}"
            )


if __name__ == "__main__":
    main()
