"""What does `ct.debug_nans` cost a compiled step? With it and without it, in turns.

python benchmarks/nans.py
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np
from threads import make_step

import cotangent as ct

# name -> widths, batch, steps in a round
STEPS = {
    "xor": ((2, 8, 1), 1, 2000),
    "small": ((8, 64, 64, 1), 32, 500),
    "mlp": ((784, 256, 128, 10), 128, 60),
}


def _seconds(run, times):
    # Time of the processor: with one thread, what other processes do matters less.
    start = time.process_time()
    run()
    return (time.process_time() - start) / times


def main():
    """Print the medians."""
    ct.set_num_threads(1)
    for name, (sizes, batch, times) in STEPS.items():
        step, (x, y) = make_step(batch, sizes, ct.tanh)
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
