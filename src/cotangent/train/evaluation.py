"""Losses, metrics and predictions of a model that is not being trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..compiler.compiled import jit
from ..gradients import no_grad
from ..nn.looking import mode
from ..tensors import Tensor
from ..tree import flatten
from .examples import Batch, Examples, apply, each, refilled
from .metrics import Metric
from .objective import Objective
from .steps import run_each, run_once

Array = np.ndarray[Any, Any]

ROWS = 256  # in a batch; always as many, so that the same rows give the same bits
_MOST_BYTES = 32 << 20


class Evaluation:
    """Runs a model over rows, batch by batch, without changing it.

    Args:
        model: it is in evaluation mode meanwhile.
        objective: its loss, or None to predict only.
        compiled: whether to compile.
    """

    def __init__(self, model: Any, objective: Objective | None, compiled: bool) -> None:
        self._model = model
        self._objective = objective
        self._compiled = compiled
        self._made: dict[Any, Any] = {}

    def over(self, batches: Iterable[tuple[Batch, int]], use: Callable[..., None]) -> None:
        """Run over batches, and call ``use(found, batch, rows)`` with the results of each piece.

        Args:
            batches: pairs of a stretch of rows and the length of a batch in it.
        """
        with mode(self._model, False), no_grad():
            for piece, size in batches:
                self._piece(piece, size, use)

    def _piece(self, piece: Batch, size: int, use: Callable[..., None]) -> None:
        leaves, structure = flatten(piece)
        held = [leaf for leaf in leaves if leaf is not None]
        rows = len(held[0])
        full = rows // size
        step = self._step(structure, tuple(leaf is None for leaf in leaves))
        if full:
            stacked = [x[: full * size].reshape((full, size, *x.shape[1:])) for x in held]
            found = run_each(step, self._compiled, stacked)
            use(found, _part(piece, 0, full * size), np.full(full, size))
        if rows % size:
            found = run_once(step, [x[full * size :] for x in held])
            use(found, _part(piece, full * size, rows), np.array([rows % size]))

    def _step(self, structure: Any, missing: tuple[bool, ...]) -> Any:
        key = (structure, missing)
        if key not in self._made:
            made = _forward(self._model, self._objective, structure, missing)
            self._made[key] = jit(made) if self._compiled else made
        return self._made[key]


def _forward(model: Any, objective: Objective | None, structure: Any, missing: Sequence[bool]) -> (
    Any
):  # fmt: skip
    """What is computed of a batch, given as its arrays."""

    def forward(*arrays: Any) -> dict[str, Any]:
        batch = refilled(structure, missing, arrays)
        if objective is None:
            return {"predictions": apply(model, batch[0])}
        loss, weight, predictions = objective(model, batch)
        found = {"loss": loss}
        if weight is not None:
            found["weight"] = weight
        if isinstance(predictions, Tensor):
            found["predictions"] = predictions
        return found

    return forward


def pieces(examples: Examples, size: int = ROWS) -> Iterator[tuple[Batch, int]]:
    """Stretches of rows of which results take no more than some megabytes."""
    row = sum(x.nbytes for x in flatten(examples.parts)[0] if x is not None)
    many = max(1, _MOST_BYTES // max(row // examples.rows * size, 1)) * size
    for first in range(0, examples.rows, many):
        yield _part(examples.parts, first, min(first + many, examples.rows)), size


def _part(piece: Batch, first: int, last: int) -> Batch:
    found: Batch = each(lambda x: x[first:last], piece)
    return found


class Totals:
    """A mean loss and metrics, gathered piece by piece.

    Attributes:
        losses, weights: of every batch so far, as lists of arrays.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics = metrics
        self.losses: list[Array] = []
        self.weights: list[Array] = []
        for metric in metrics:
            metric.reset()

    def add(self, found: dict[str, Array], batch: Batch | None, rows: Array) -> None:
        """Count in the results of batches of so many rows; `batch` has the targets."""
        self.losses.append(found["loss"])
        self.weights.append(found.get("weight", rows))
        if batch is None or not self.metrics or "predictions" not in found:
            return
        predictions = found["predictions"]
        if predictions.shape[0] == len(rows) and predictions.ndim > 1:
            predictions = predictions.reshape((-1, *predictions.shape[2:]))
        for metric in self.metrics:
            metric.update(predictions, batch[1], batch[2])

    @property
    def loss(self) -> float:
        """See `mean_losses`."""
        losses, weights = np.concatenate(self.losses), np.concatenate(self.weights)
        return mean_losses(losses[None], weights[None])[0]

    def values(self, prefix: str = "") -> dict[str, Any]:
        """The loss and the metrics by name."""
        found = {f"{prefix}loss": self.loss}
        for metric in self.metrics:
            found[f"{prefix}{metric.name}"] = plain(metric.value())
        return found


def mean_losses(losses: Array, weights: Array) -> list[float]:
    """``sum(weight * loss) / sum(weight)`` of each row of ``[epochs, batches]``, rounded once: the
    same in whatever pieces an epoch came.

    A batch that weighs nothing counts nothing, and NaN is the mean of no weight.
    """
    heavy = weights.astype(np.float64)
    terms = np.multiply(losses, heavy, out=np.zeros_like(heavy), where=heavy > 0)
    return [
        _sum(row) / total if (total := _sum(weight)) else math.nan
        for row, weight in zip(terms.tolist(), heavy.tolist(), strict=True)
    ]


def _sum(terms: list[float]) -> float:
    """The sum, rounded once; where that cannot be, of infinities for instance, as it comes."""
    try:
        return math.fsum(terms)
    except (OverflowError, ValueError):
        return sum(terms)


def plain(value: Any) -> Any:
    """A number or nested lists of numbers, of Python's own kinds."""
    return value.tolist() if hasattr(value, "tolist") else value
