"""Batches that something yields: training on what does not lie in memory."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dtypes import DType
from ..errors import ArgumentError, ArgumentTypeError
from ..tree import flatten
from .examples import Batch, Examples, as_examples, refilled
from .feeds import Select
from .steps import Steps, run_once

if TYPE_CHECKING:
    from .run import Run

Array = np.ndarray[Any, Any]

_SECONDS = 0.1  # after which a piece ends


class Stream:
    """An iterable of batches, or a function of the number of the epoch that returns one.

    A batch is ``(x, y)``, ``(x, y, weight)``, a list of these, or x alone. An iterable that has a
    method ``set_epoch`` is told the number of each epoch, from 0, before it is gone through.

    Attributes:
        count: batches in an epoch, or None where that is not known.
    """

    def __init__(self, data: Any, dtype: DType, what: str = "data") -> None:
        self._data = data
        self._dtype = dtype
        self._what = what
        self._first: Iterator[Examples] | None = None
        self._peeked: Examples | None = None
        self._used = False
        self.prepare: Callable[[Examples], Examples] = lambda examples: examples
        known = hasattr(data, "__len__") and not callable(data)
        self.count: int | None = len(data) if known else None

    def few(self, rows: int) -> Examples:
        """The first rows of the first batch; it is yielded all the same."""
        if self._peeked is None:
            batches = self._raw(0)
            self._peeked = next(batches, None)
            if self._peeked is None:
                raise ArgumentError(f"fit: {self._what} yields no batch at all")
            self._first = itertools.chain([self._peeked], batches)
        return self._peeked.rows_of(slice(0, rows))

    def batches(self, epoch: int) -> Iterator[Examples]:
        """The batches of an epoch."""
        raw, self._first, self._peeked = (self._first if epoch == 0 else None), None, None
        return map(self.prepare, self._raw(epoch) if raw is None else raw)

    def _raw(self, epoch: int) -> Iterator[Examples]:
        data = self._data
        if callable(data) and not hasattr(data, "__iter__"):
            data = data(epoch)
        elif hasattr(data, "set_epoch"):
            data.set_epoch(epoch)
        made = iter(data)
        if made is self._data and self._used:
            raise ArgumentError(
                f"fit: {self._what} is an iterator, which can be gone through once, and epoch "
                f"{epoch + 1} begins; pass epochs=1, a list or another object that can be gone "
                "through again, or a function of the number of the epoch that returns batches"
            )
        self._used = True
        return (self._read(batch, number) for number, batch in enumerate(made))

    def _read(self, batch: Any, number: int) -> Examples:
        part = tuple(batch) if isinstance(batch, list) else batch
        found = as_examples(part, self._dtype, f"batch {number} of {self._what}")
        if found is None:
            raise ArgumentTypeError(
                f"fit: batch {number} of {self._what} must be (x, y) or x of arrays, not "
                f"{type(batch).__name__}"
            )
        return found


class Packing:
    """Turns batches into lists of arrays, as steps take them, and back.

    All batches of a run must have the same parts; the first one decides.
    """

    def __init__(self, examples: Examples) -> None:
        leaves, self._structure = flatten(examples.parts)
        self._missing = [leaf is None for leaf in leaves]

    def pack(self, examples: Examples) -> list[Array]:
        """The arrays of a batch."""
        leaves, structure = flatten(examples.parts)
        if structure != self._structure or [leaf is None for leaf in leaves] != self._missing:
            raise ArgumentError(
                "fit: the batches have different parts; all must have the same inputs, and either "
                "all or none targets and weights"
            )
        return [leaf for leaf in leaves if leaf is not None]

    def select(self) -> Select:
        """The function that makes a batch of its arrays again."""

        def select(*arrays: Any) -> Batch:
            batch: Batch = refilled(self._structure, self._missing, arrays)
            return batch

        return select


class StreamDriver:
    """Trains on batches as they come: see `RowsDriver`."""

    def __init__(
        self, stream: Stream, packing: Packing, steps: Steps, accumulate: int, metrics: bool
    ) -> None:
        self._stream = stream
        self._packing = packing
        self._steps = steps
        self._accumulate = accumulate
        self._metrics = metrics
        self._left: Iterator[Examples] | None = None
        self.count = stream.count
        self.updates = None if self.count is None else -(-self.count // accumulate)

    def advance(self, run: Run) -> None:
        """Train on some batches."""
        if self._left is None:
            self._left = self._stream.batches(run.epoch)
            self._skip(run)
        until = time.perf_counter() + _SECONDS
        for _ in range(run.room()):
            if not self._update(run):
                self._left = None
                if not run.batch:
                    raise ArgumentError(f"fit: the data yield no batch in epoch {run.epoch + 1}")
                run.end_epoch()
                return
            if time.perf_counter() > until:
                return

    def _skip(self, run: Run) -> None:
        """Pass over the batches that a resumed run has had."""
        for number in range(run.batch):
            if self._next(run) is None:
                raise ArgumentError(
                    f"fit: resume=True: the run has had {run.batch} batches of epoch "
                    f"{run.epoch + 1}, but the data now yield only {number}"
                )

    def _next(self, run: Run) -> Examples | None:
        begin = time.perf_counter()
        found = None if self._left is None else next(self._left, None)
        run.seconds["data"] += time.perf_counter() - begin
        return found

    def _update(self, run: Run) -> bool:
        """One update; False if there are no batches left."""
        batches: list[Examples] = []
        while len(batches) < self._accumulate:
            batch = self._next(run)
            if batch is None:
                break
            batches.append(batch)
        if not batches:
            return False
        begin = time.perf_counter()
        step = self._steps.whole if self._accumulate == 1 else self._steps.part
        rates = [rate[0] for rate in run.rates(1)]
        for batch in batches:
            extra = rates if self._accumulate == 1 else []
            found = run_once(step, [*self._packing.pack(batch), *extra])
            targets = (None, batch.y, batch.weight) if self._metrics else None
            run.totals.add(found, targets, np.array([batch.rows]))
            run.note(found)
        if self._accumulate > 1:
            run.note(run_once(self._steps.finish, rates))
        run.seconds["step"] += time.perf_counter() - begin
        run.moved(batches=len(batches), updates=1, loss=float(found["loss"][-1]))
        return True
