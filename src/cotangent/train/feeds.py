"""What training goes through: rows in memory, or batches that something yields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import functional
from ..checks import whole
from ..data.batching import shuffles
from ..errors import ArgumentError
from ..tensors import Variable
from .examples import Batch, Examples, each

Array = np.ndarray[Any, Any]
Select = Callable[..., Batch]


class Rows:
    """Rows in memory: a step is given the numbers of the rows of its batch, and gathers them.

    Batches are numbered through all epochs: batch g is number ``g % count`` of epoch
    ``g // count``. Which rows it has is a function of the seed and g.

    Attributes:
        examples: the data.
        size: rows in a batch.
        full: batches of `size` rows in an epoch.
        rest: rows of the last batch, if it has fewer; else 0.
        count: batches in an epoch.
    """

    def __init__(self, examples: Examples, size: int, shuffle: bool, seed: int) -> None:
        if whole("fit", "batch_size", size) < 1:
            raise ArgumentError(f"fit: batch_size must be positive, got {size}")
        self.examples = examples
        self.size = min(int(size), examples.rows)
        self.full, self.rest = divmod(examples.rows, self.size)
        self.count = self.full + bool(self.rest)
        self._shuffle = bool(shuffle)
        self._seed = seed
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def select(self) -> Select:
        """The function that turns the numbers of rows into a batch, eagerly or in a trace."""
        held = self.examples.map(lambda x: Variable(x, "data", False))

        def select(rows: Any) -> Batch:
            batch: Batch = each(lambda x: functional.take(x, rows), held)
            return batch

        return select

    def order(self, epoch: int) -> Array:
        """The numbers of all rows in the order of an epoch."""
        if not self._shuffle:
            return np.arange(self.examples.rows)
        if epoch != self._epoch:
            self._order = shuffles(self.examples.rows, self._seed, epoch, 1)[0]
            self._epoch = epoch
        return self._order

    def epochs(self, first: int, count: int) -> Array:
        """The batches of several whole epochs, ``[count * full, size]``; without a rest."""
        rows = self.examples.rows
        if self._shuffle:
            return shuffles(rows, self._seed, first, count).reshape(-1, self.size)
        return np.tile(np.arange(rows), count).reshape(-1, self.size)

    def batches(self, epoch: int, first: int, last: int) -> Array:
        """The full batches of an epoch from `first` to before `last`, ``[last - first, size]``."""
        part = self.order(epoch)[first * self.size : last * self.size]
        return part.reshape(last - first, self.size)

    def remainder(self, epoch: int) -> Array:
        """The rows of the last batch of an epoch, ``[rest]``."""
        return self.order(epoch)[self.full * self.size :]

    def targets(self, rows: Array) -> Batch:
        """Targets and weights of rows, for metrics; the inputs are left out."""
        y, weight = self.examples.y, self.examples.weight
        flat = rows.reshape(-1)
        some = each(lambda x: x[flat], y)
        return (None, some, None if weight is None else weight[flat])
