"""`cotangent train --dataset`: a network on images that come as a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from .. import random
from ..console import Console
from ..data import digits, fashion_mnist, mnist
from ..nn import Dropout, Linear, Module, ReLU, Sequential
from ..optim import AdamW, cosine_decay
from ..train import fit
from ..viz import Report
from .arguments import WrongUseError, refusing, stop_if_interrupted

SETS: dict[str, Callable[[], Any]] = {
    "digits": digits, "fashion_mnist": fashion_mnist, "mnist": mnist,
}  # fmt: skip
_DEFAULTS: dict[str, Any] = {
    "hidden": (512, 256), "dropout": 0.2, "epochs": 15, "batch_size": 128, "lr": 1e-3,
    "weight_decay": 0.01, "seed": 0,
}  # fmt: skip
_FEW: dict[str, Any] = {"epochs": 60, "batch_size": 32}  # of less than 10,000 images


def train(name: str, given: dict[str, Any], folder: Path, resume: bool, compile: bool) -> float:
    """Train on the training images, and measure on the test images; returns that accuracy.

    Raises:
        WrongUseError: if the data cannot be had, or a setting is one of tables.
    """
    strange = [key for key in given if key not in _DEFAULTS]
    if strange:
        raise WrongUseError(f"train: --{strange[0]} goes with tables; a data set has test images")
    with refusing():
        images = SETS[name]()
    few = _FEW if len(images.x_train) < 10_000 else {}
    settings = {**_DEFAULTS, **few, **given}
    console = Console()
    x, y = _flat(images.x_train), images.y_train
    test = _flat(images.x_test), images.y_test
    random.manual_seed(settings["seed"])
    model = network(x.shape[1], settings["hidden"], int(y.max()) + 1, settings["dropout"])
    console.line(
        f"{name}: {len(x):,} images of {x.shape[1]} pixels to train on, {len(test[0]):,} to test",
        style="bold",
    )
    steps = settings["epochs"] * -(-len(x) // settings["batch_size"])
    history = fit(
        model, (x, y), optimizer=AdamW(settings["lr"], weight_decay=settings["weight_decay"]),
        schedule=cosine_decay(settings["lr"], steps), epochs=settings["epochs"],
        batch_size=settings["batch_size"], seed=settings["seed"], validation=test,
        compile=compile, folder=folder, resume=resume, callbacks=[Report(*test, every=0)],
    )  # fmt: skip
    stop_if_interrupted(history)
    accuracy = float(history.rows[-1]["validation accuracy"])
    seconds = median(row["seconds"] for row in history.rows)
    console.line(f"test accuracy: {accuracy:.2%} after {len(history)} epochs", style="bold green")
    console.line(f"time per epoch: {seconds:.2f} s")
    console.line(f"written: {folder}")
    return accuracy


def network(inputs: int, hidden: tuple[int, ...], classes: int, dropout: float) -> Module:
    """Layers of units with dropout between them."""
    layers: list[Module] = []
    for units in hidden:
        layers += [Linear(inputs, units), ReLU(), Dropout(dropout)]
        inputs = units
    return Sequential(*layers, Linear(inputs, classes))


def _flat(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return images.reshape(len(images), -1)
