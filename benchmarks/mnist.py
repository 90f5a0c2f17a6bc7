"""An epoch of MNIST, by `ct.train.fit`, PyTorch, and Keras where it is installed.

    python benchmarks/mnist.py                  the data are found as `ct.data.mnist` finds them
    python benchmarks/mnist.py --rounds 5 --only cotangent --only torch

All train 784-512-256-10 with ReLU and dropout 0.2 by AdamW in batches of 128, as `cotangent train
--dataset mnist` does, each in a process of its own, in turns, an epoch a turn; the first is not
counted. PyTorch is given whole tensors and slices them by a permutation, which is quicker than
its DataLoader. Keras runs on the backend that ``KERAS_BACKEND`` names, JAX by default, by its
`fit`. Printed are the median seconds of an epoch, and the accuracy on the test images at the end,
which shows that all have learnt.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

HIDDEN, DROPOUT, BATCH, RATE, DECAY = (512, 256), 0.2, 128, 1e-3, 0.01
Epoch = Callable[[], None]
Contender = tuple[Epoch, Callable[[], float]]  # train an epoch; accuracy on the test images


def images() -> tuple[Any, Any, Any, Any]:
    """MNIST as rows of 784 floats; as many to train on as ``ROWS`` says."""
    import cotangent as ct

    x, y, x_test, y_test = ct.data.mnist()
    rows = int(os.environ.get("ROWS", len(x)))
    x, y = x[:rows], y[:rows]
    return x.reshape(-1, 784), y, x_test.reshape(-1, 784), y_test


def by_cotangent() -> Contender:
    """`Trainer.fit`, compiled."""
    import cotangent as ct
    from cotangent.cli.images import network

    x, y, x_test, y_test = images()
    ct.manual_seed(0)
    model = network(784, HIDDEN, 10, DROPOUT)
    trainer = ct.train.Trainer(model, optimizer=ct.optim.AdamW(RATE, weight_decay=DECAY))

    def epoch() -> None:
        trainer.fit((x, y), epochs=1, batch_size=BATCH, check=False, progress=False)

    return epoch, lambda: float((trainer.predict(x_test).argmax(axis=1) == y_test).mean())


def by_torch() -> Contender:
    """A plain loop over slices."""
    import torch

    x, y, x_test, y_test = map(torch.from_numpy, images())
    layers: list[Any] = []
    for inputs, units in zip((784, *HIDDEN), HIDDEN, strict=False):
        layers += [torch.nn.Linear(inputs, units), torch.nn.ReLU(), torch.nn.Dropout(DROPOUT)]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(HIDDEN[-1], 10))
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)

    def epoch() -> None:
        model.train()
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()

    def accuracy() -> float:
        with torch.no_grad():
            return float((model.eval()(x_test).argmax(dim=1) == y_test).float().mean())

    return epoch, accuracy


def by_keras() -> Contender:
    """Its own `fit`."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    x, y, x_test, y_test = images()
    layers: list[Any] = [keras.Input((784,))]
    for units in HIDDEN:
        layers += [keras.layers.Dense(units, activation="relu"), keras.layers.Dropout(DROPOUT)]
    model = keras.Sequential([*layers, keras.layers.Dense(10)])
    model.compile(
        keras.optimizers.AdamW(RATE, weight_decay=DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def epoch() -> None:
        model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)

    def accuracy() -> float:
        outputs = model.predict(x_test, batch_size=1000, verbose=0)
        return float((np.asarray(outputs).argmax(axis=1) == y_test).mean())

    return epoch, accuracy


CONTENDERS = {"cotangent": by_cotangent, "torch": by_torch, "keras": by_keras}


def work(name: str) -> None:
    """In a process of its own: an epoch for each line that is read, and its seconds as answer."""
    epoch, accuracy = CONTENDERS[name]()
    for line in sys.stdin:
        begin = time.perf_counter()
        found = epoch() if line.strip() == "epoch" else accuracy()
        print(json.dumps(time.perf_counter() - begin if found is None else found), flush=True)


def ask(process: subprocess.Popen[str], what: str) -> float:
    """The answer of a process."""
    if process.stdin is None or process.stdout is None:
        raise SystemExit("a process without pipes")
    process.stdin.write(what + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise SystemExit(f"{process.args} ended; see what it printed")
    return float(json.loads(answer))


def main() -> None:
    """Print a row for each contender."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=60_000, help="the first so many images")
    parser.add_argument("--only", action="append", choices=list(CONTENDERS))
    parser.add_argument("--worker", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    names = [n for n in options.only or CONTENDERS if importlib.util.find_spec(n)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    pipes["env"] = {**os.environ, "ROWS": str(options.rows)}
    started = {
        n: subprocess.Popen([sys.executable, __file__, "--worker", n], **pipes) for n in names
    }
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(options.rounds + 1):
        for name in names:
            spent = ask(started[name], "epoch")
            if turn:
                seconds[name].append(spent)
    for name in names:
        ours = [a / b for a, b in zip(seconds["cotangent"], seconds[name], strict=True)]
        print(
            f"{name:<10} {median(seconds[name]):7.2f} s an epoch, ours takes {median(ours):.2f} of "
            f"it; test accuracy {ask(started[name], 'accuracy'):.4f}"
        )
        started[name].terminate()


if __name__ == "__main__":
    main()
