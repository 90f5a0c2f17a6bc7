"""Perceptrons with hidden layers, trained by scikit-learn's rules."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from .. import functional, nn, optim, random
from ..compiler.compiled import jit
from ..errors import ArgumentError
from ..nn.module import load_state_dict, state_dict
from ..tensors import Tensor
from ..train import Callback, Trainer

Array = np.ndarray[Any, Any]
Loss = Callable[[Any, Any], Any]

ACTIVATIONS = {
    "identity": nn.Identity, "logistic": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU,
}  # fmt: skip
# Below this an adaptive rate is not cut any more, and training ends.
_LEAST_RATE = 1e-6


def build(
    sizes: Sequence[int], activation: str, dropout: float, batch_norm: bool, dtype: Any
) -> nn.Sequential:
    """Linear layers of the given sizes; after each but the last batch normalisation, the
    activation, and dropout, as asked for.

    Weights and biases begin uniform within ``sqrt(6 / (inputs + outputs))``, or sqrt(2 / ...)
    before "logistic", as scikit-learn's do.

    Source: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.

    >>> [type(layer).__name__ for layer in build((2, 8, 1), "tanh", 0.1, False, None)]
    ['Linear', 'Tanh', 'Dropout', 'Linear']
    """
    layers: list[Any] = []
    factor = 2.0 if activation == "logistic" else 6.0
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.append(_linear(inputs, outputs, factor, dtype))
        if batch_norm:
            layers.append(nn.BatchNorm1d(outputs, dtype=dtype))
        layers.append(ACTIVATIONS[activation]())
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, _linear(sizes[-2], sizes[-1], factor, dtype))


def _linear(inputs: int, outputs: int, factor: float, dtype: Any) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, dtype=dtype)
    bound = math.sqrt(factor / (inputs + outputs))
    for parameter in layer.parameters():
        parameter.assign(random.uniform(parameter.shape, -bound, bound, dtype))
    return layer


# -- losses, one value a row --------------------------------------------------------------


def half_squared_error(predictions: Any, targets: Any) -> Any:
    """``(p - t)**2 / 2``, the mean over outputs."""
    return functional.mean(nn.mse_loss(predictions, targets, reduction="none"), axis=1) * 0.5


def poisson_loss(predictions: Any, targets: Any) -> Any:
    """``exp(p) - t * p``, the mean over outputs."""
    return functional.mean(nn.poisson_nll_loss(predictions, targets, reduction="none"), axis=1)


def label_loss(logits: Any, targets: Any) -> Any:
    """Binary cross-entropy, the sum over labels."""
    each = nn.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return functional.sum(each, axis=1)


def class_loss(logits: Any, targets: Any) -> Any:
    """Cross-entropy of integer classes."""
    return nn.cross_entropy_loss(logits, targets, reduction="none")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from the stream of `seed` meanwhile; the default generator is as before afterwards."""
    generator = random.DEFAULT
    cells = (generator.seed_low, generator.seed_high, generator.draw)
    before = [cell.value.detach() for cell in cells]
    generator.reseed(seed)
    try:
        yield
    finally:
        for cell, value in zip(cells, before, strict=True):
            cell.assign(value)


class Course(Callback):
    """How training goes, and when it ends: by scikit-learn's rules.

    An epoch is better if its loss is below the best by `tolerance`, or its score of held-out rows
    above it. After more than `patience` epochs in a row that are not, an adaptive learning rate is
    divided by 5, and any other training ends.

    Args:
        tolerance, patience: see above.
        adaptive: whether the learning rate is.
        score: of the held-out rows, or None to look at the loss.

    Attributes:
        losses, scores: by epoch.
        best: the best loss or score.
        converged: whether training ended by these rules.
    """

    def __init__(
        self, tolerance: float, patience: int, adaptive: bool, score: Callable[[], float] | None
    ) -> None:
        self.tolerance, self.patience, self.adaptive = tolerance, patience, adaptive
        self.score = score
        self.losses: list[float] = []
        self.scores: list[float] = []
        self.best = math.inf if score is None else -math.inf
        self.converged = False
        self._waited = 0
        self._weights: dict[str, Array] = {}

    def on_epoch(self, run: Any, row: dict[str, Any]) -> None:
        loss = row["loss"]
        if not math.isfinite(loss):
            raise _diverged()
        self.losses.append(loss)
        if self._better(run, loss):
            self._waited = 0
        else:
            self._waited += 1
        if self._waited > self.patience:
            self._tired(run)

    def _better(self, run: Any, loss: float) -> bool:
        """Whether the epoch is better; the best is noted, with its weights if there is a score."""
        if self.score is None:
            better = loss <= self.best - self.tolerance
            self.best = min(self.best, loss)
            return better
        score = self.score()
        self.scores.append(score)
        better = score >= self.best + self.tolerance
        if score > self.best:
            self.best = score
            self._weights = state_dict(run.model)
        return better

    def _tired(self, run: Any) -> None:
        if self.adaptive and run.optimizer.lr > _LEAST_RATE:
            run.optimizer.lr = run.optimizer.lr / 5
            self._waited = 0
            return
        self.converged = True
        run.stop("early stopping")

    def on_end(self, run: Any) -> None:
        if self._weights:
            load_state_dict(run.model, self._weights)


def train_by_batches(
    model: nn.Module, loss: Loss, optimizer: Any, data: tuple[Array, Array, Array | None], *,
    schedule: Any, course: Course, callbacks: Sequence[Callback], epochs: int, batch_size: int,
    shuffle: bool, seed: int, verbose: bool,
) -> None:  # fmt: skip
    """Train by `optimizer` until `course` ends it, or for so many epochs."""
    x, y, weight = data
    trainer = Trainer(model, loss=loss, optimizer=optimizer, metrics=[], schedule=schedule)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fit: the loss became NaN", RuntimeWarning)
        history = trainer.fit(
            (x, y), sample_weight=weight, epochs=epochs, batch_size=batch_size, shuffle=shuffle,
            seed=seed, callbacks=[course, *callbacks], check=False, progress=verbose,
        )  # fmt: skip
    if history.stopped == "the loss became NaN":
        raise _diverged()


def _diverged() -> ArgumentError:
    return ArgumentError(
        "the loss is no finite number any more; scale the inputs, or lower learning_rate_init"
    )


def train_as_a_whole(
    model: nn.Module, loss: Loss, data: tuple[Array, Array, Array | None], *, penalty: float,
    course: Course, iterations: int,
) -> None:  # fmt: skip
    """Train by L-BFGS on all rows at once, for so many iterations at most.

    Args:
        penalty: half of it times the sum of the squared weights is added to the mean loss.
    """
    x, y, weight = (None if part is None else Tensor(part) for part in data)
    weights = [p for p in model.parameters() if p.ndim > 1]
    scale = 1.0 if weight is None else 1.0 / weight.sum().item()

    def whole() -> Any:
        rows = loss(model(x), y)
        mean = functional.mean(rows) if weight is None else functional.sum(rows * weight) * scale
        squares = [functional.sum(functional.square(w)) for w in weights]
        return mean + sum(squares[1:], squares[0]) * (0.5 * penalty)

    closure = jit(whole)
    least = 64 * float(np.finfo(data[0].dtype).eps)
    opt = optim.LBFGS(max_iter=1, tolerance_grad=course.tolerance, tolerance_change=least)
    model.train()
    while len(course.losses) < iterations:
        course.losses.append(opt.step(model, closure).item())
        course.best = min(course.best, course.losses[-1])
        if opt.converged:
            course.converged = True
            break
