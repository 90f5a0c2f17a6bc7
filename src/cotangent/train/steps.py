"""The training step: loss, gradients, clipping, update, mean of the weights; compiled or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional, ops
from ..checks import real
from ..compiler.compiled import jit
from ..creation import zeros
from ..errors import ArgumentError
from ..gradients import Gradients
from ..nn.module import parameters
from ..optim.clip import clip_norm
from ..optim.optimizer import Optimizer
from ..tensors import Tensor, Variable
from ..tree import flatten
from .average import WeightMean
from .examples import Batch
from .objective import Objective

Array = np.ndarray[Any, Any]
Select = Callable[..., Batch]


class Update:
    """How gradients change a model.

    Args:
        model: what is trained.
        optimizer: makes the update.
        clip_value: every element of a gradient is cut to ``[-clip_value, clip_value]``, or None.
        clip_norm: then gradients are scaled to this global L2 norm at most, or None.
        mean: the running mean of the weights, or None.
    """

    def __init__(
        self, model: Any, optimizer: Optimizer, clip_value: float | None = None,
        clip_norm: float | None = None, mean: WeightMean | None = None,
    ) -> None:  # fmt: skip
        for name, value in (("clip_value", clip_value), ("clip_norm", clip_norm)):
            if value is not None and not real("fit", name, value) > 0:
                raise ArgumentError(f"fit: {name} must be positive, got {value}")
        self.model = model
        self.optimizer = optimizer
        self._value = clip_value
        self._norm = clip_norm
        self.mean = mean
        self.limits = {"value": clip_value, "norm": clip_norm}

    def __call__(self, gradients: Gradients, rate: Any) -> dict[str, Tensor]:
        """Change the model; the norm of the gradients, if it is looked at."""
        found = {}
        if self._value is not None:
            top = self._value
            gradients = gradients.map(lambda g: ops.minimum(ops.maximum(g, -top), top))
        if self._norm is not None:
            gradients, found["norm"] = clip_norm(gradients, self._norm)
        self.optimizer.step(self.model, gradients, lr=rate)
        if self.mean is not None:
            self.mean.update()
        return found


class Steps:
    """The steps of a run, each a function of what `select` turns into a batch.

    Attributes:
        whole: loss, gradients and update of one batch.
        part: adds the gradients of one batch to those before.
        finish: the update by the gradients that were added up.
    """

    def __init__(
        self, objective: Objective, update: Update, select: Select, *, rated: bool,
        accumulate: bool, predictions: bool, compiled: bool,
    ) -> None:  # fmt: skip
        model = update.model
        self.rated = rated
        self.compiled = compiled
        made = jit if compiled else _plain

        def results(loss: Tensor, weight: Any, predicted: Any) -> dict[str, Any]:
            found = {"loss": loss.detach()}
            if weight is not None:
                found["weight"] = weight
            if predictions and isinstance(predicted, Tensor):
                found["predictions"] = predicted.detach()
            return found

        def whole(*given: Any) -> dict[str, Any]:
            rows, rate = (given[:-1], given[-1]) if rated else (given, None)
            loss, weight, predicted = objective(model, select(*rows))
            found = results(loss, weight, predicted)
            return found | update(loss.backward(), rate)

        self.whole = made(whole)
        if not accumulate:
            return
        sums = _Sums(model)

        def part(*rows: Any) -> dict[str, Any]:
            batch = select(*rows)
            loss, weight, predicted = objective(model, batch)
            sums.add(loss.backward(), float(_rows_of(batch)) if weight is None else weight)
            return results(loss, weight, predicted)

        def finish(*rate: Any) -> dict[str, Any]:
            return update(sums.take(), rate[0] if rated else None)

        self.part, self.finish = made(part), made(finish)


def _rows_of(batch: Batch) -> int:
    return int(next(leaf for leaf in flatten(batch)[0] if leaf is not None).shape[0])


class _Sums:
    """Gradients of several batches, each times what the batch weighs, added up."""

    def __init__(self, model: Any) -> None:
        self._cells = [
            (p, Variable(np.zeros(p.shape, p.dtype), f"{p.name or 'parameter'}.sum", False))
            for p in parameters(model)
            if p.requires_grad
        ]
        dtype = next((p.dtype for p, _ in self._cells), np.dtype("float32"))
        self._weight = Variable(np.zeros((), dtype), "weight of the gradients", False)
        self._reached: set[int] = set()

    def add(self, gradients: Gradients, weight: Any) -> None:
        """Count in the gradients of a mean over rows that weigh `weight` together."""
        for parameter, cell in self._cells:
            gradient = gradients.get(parameter)
            if gradient is not None:
                self._reached.add(parameter.leaf.number)
                cell.assign(cell.value + gradient.detach() * weight)
        self._weight.assign(self._weight.value + weight)

    def take(self) -> Gradients:
        """The gradients of the mean over all rows; the sums begin anew."""
        total = self._weight.value
        whole = ops.where(ops.equal(total, 0.0), 1.0, total)
        found = []
        for parameter, cell in self._cells:
            if parameter.leaf.number in self._reached:
                mean = cell.value.detach() / functional.astype(whole, parameter.dtype)
                found.append((parameter.leaf.number, parameter.leaf.owner, mean))
                cell.assign(zeros(cell.shape, cell.dtype))
        self._weight.assign(zeros((), self._weight.dtype))
        return Gradients.of(found)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def run_each(step: Any, compiled: bool, stacked: list[Any]) -> dict[str, Array]:
    """The results of `step` on the leading slices of `stacked`, stacked.

    Args:
        step: a function of arrays.
        compiled: whether it is compiled; then it runs in native code.
        stacked: arrays of equal lengths.
    """
    if compiled:
        found = step.loop(*map(Tensor, stacked))
        return {name: tensor.numpy() for name, tensor in found.items()}
    rows = [step(*map(Tensor, slices)) for slices in zip(*stacked, strict=True)]
    return {name: np.stack([row[name].numpy() for row in rows]) for name in rows[0]}


def run_once(step: Any, given: list[Any]) -> dict[str, Array]:
    """The results of `step` on arrays, with a leading axis of 1."""
    return {name: tensor.numpy()[None] for name, tensor in step(*map(Tensor, given)).items()}
