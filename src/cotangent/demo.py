"""What `cotangent demo` does: train a small network on handwritten digits, and show it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import functional, random
from .compiler.compiled import jit
from .console import Console, Progress
from .data import Digits, digits
from .gradients import no_grad
from .io import save
from .nn import Linear, ReLU, Sequential, cross_entropy_loss
from .nn.summary import summarize
from .optim import Adam
from .tensors import tensor
from .viz import Panel, Series, curves_svg

SIZES = (64, 64, 32, 10)
BATCH = 32
RATE = 0.002
TIMED_STEPS = 30  # of each kind, for the comparison at the end

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class DemoOptions:
    """What the command line asked for.

    Attributes:
        epochs: passes over the training images, 1 or more.
        seed: of the first weights and of the order of the images.
        out: the folder for the weights and the curve; it must exist.
        eager: train op by op instead of by the compiled step.
    """

    epochs: int
    seed: int
    out: Path
    eager: bool


@dataclass
class History:
    """One number an epoch."""

    train_loss: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)


def shuffled(images: Digits, rng: np.random.Generator) -> tuple[Array, Array]:
    """The training images in a new order, as full batches [batches, BATCH, ...]."""
    count = len(images.x_train) // BATCH
    order = rng.permutation(len(images.x_train))[: count * BATCH]
    xs = images.x_train[order].reshape(count, BATCH, -1)
    return xs, images.y_train[order].reshape(count, BATCH)


def build() -> Sequential:
    """The network, with new weights."""
    layers: list[Any] = []
    for inputs, outputs in pairwise(SIZES):
        layers += [Linear(inputs, outputs), ReLU()]
    return Sequential(*layers[:-1])


def training_step(model: Sequential) -> Callable[[Any, Any], Any]:
    """One update of `model` by Adam, as a function of a batch that returns the loss."""
    opt = Adam(lr=RATE)

    def step(x: Any, y: Any) -> Any:
        loss = cross_entropy_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    return step


def evaluate(model: Sequential, x: Array, y: Array) -> tuple[float, float]:
    """Loss and accuracy."""
    with no_grad():
        logits = model(tensor(x))
        loss = cross_entropy_loss(logits, tensor(y))
        hits = functional.argmax(logits, axis=1).numpy() == y
    return loss.item(), float(hits.mean())


def train(model: Sequential, images: Digits, options: DemoOptions, tell: Progress) -> History:
    """Train for all epochs; `tell` hears of each."""
    step = training_step(model)
    compiled = None if options.eager else jit(step)
    rng, history = np.random.default_rng(options.seed), History()
    for epoch in range(1, options.epochs + 1):
        xs, ys = shuffled(images, rng)
        begin = time.perf_counter()
        if compiled is None:
            losses = [step(x, y).item() for x, y in zip(xs, ys, strict=True)]
        else:
            losses = compiled.loop(xs, ys).tolist()
        history.step_seconds.append((time.perf_counter() - begin) / len(xs))
        history.train_loss.append(float(np.mean(losses)))
        _, accuracy = evaluate(model, images.x_train, images.y_train)
        history.train_accuracy.append(accuracy)
        loss, accuracy = evaluate(model, images.x_test, images.y_test)
        history.test_loss.append(loss)
        history.test_accuracy.append(accuracy)
        tell(epoch, f"loss {history.train_loss[-1]:.4f}, held-out accuracy {accuracy:.1%}")
    return history


def eager_seconds(model: Sequential, images: Digits) -> float:
    """The median time of an eager step, taken on a copy of the model."""
    copy = build()
    copy.load_state_dict(model.state_dict())
    step, times = training_step(copy), []
    xs, ys = shuffled(images, np.random.default_rng(0))
    for x, y in list(zip(xs, ys, strict=True))[:TIMED_STEPS]:
        begin = time.perf_counter()
        step(x, y)
        times.append(time.perf_counter() - begin)
    return median(times)


def report_speed(console: Console, history: History, eager: float) -> None:
    """The time of a step, compiled beside eager; only the first epoch compiles."""
    later = history.step_seconds[1:]
    compiled = median(later or history.step_seconds)
    note = f"{eager / compiled:.1f} times" if later else "with the time to compile"
    console.line(
        f"time per step: compiled {compiled * 1e6:.0f} µs, eager {eager * 1e6:.0f} µs ({note})"
    )


def write(model: Sequential, history: History, folder: Path) -> list[Path]:
    """The weights and the curve, as files."""
    weights, curve = folder / "weights.safetensors", folder / "curve.svg"
    save(weights, model)
    panels = [
        Panel(
            "cross-entropy",
            [Series("training", history.train_loss), Series("held out", history.test_loss)],
            log=True,
        ),
        Panel(
            "accuracy",
            [Series("training", history.train_accuracy), Series("held out", history.test_accuracy)],
            percent=True,
        ),
    ]
    title = "Handwritten digits, " + "-".join(map(str, SIZES))
    curve.write_text(curves_svg(title, panels), encoding="utf-8")
    return [weights, curve]


def run(options: DemoOptions, console: Console) -> float:
    """The whole demonstration; returns the accuracy on the held-out images."""
    random.manual_seed(options.seed)
    images = digits()
    model = build()
    console.line(
        f"Handwritten digits, 8x8 pixels: {len(images.x_train):,} images to train on, "
        f"{len(images.x_test):,} held out",
        style="bold",
    )
    console.line()
    layers = summarize(model, images.x_train[:BATCH])
    console.table(layers.head, [*layers.rows(), layers.last_row()])
    console.line()
    begin = time.perf_counter()
    with console.progress("training", options.epochs) as tell:
        history = train(model, images, options, tell)
    seconds = time.perf_counter() - begin
    accuracy = history.test_accuracy[-1]
    console.line()
    console.line(f"held-out accuracy: {accuracy:.1%} after {seconds:.1f} s", style="bold green")
    if options.eager:
        console.line(f"time per step: eager {median(history.step_seconds) * 1e6:.0f} µs")
    else:
        report_speed(console, history, eager_seconds(model, images))
    for path in write(model, history, options.out):
        console.line(f"written: {path}")
    return accuracy
