"""How a run goes forward a piece at a time: some batches by one native call, or one by one.

However training is cut into pieces, the results are the same bits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .feeds import Rows
from .steps import Steps, run_each, run_once

if TYPE_CHECKING:
    from .run import Run

Array = np.ndarray[Any, Any]

_SECONDS = 0.1  # that a piece should take: Ctrl-C and progress wait for its end
_MOST_BYTES = 32 << 20  # of predictions that a piece returns


class Pace:
    """How many batches make a piece, found from how long they took."""

    def __init__(self) -> None:
        self.batches = 16
        self._most = 1 << 30
        self._begun = False

    def note(self, batches: int, seconds: float, found: dict[str, Array]) -> None:
        """Learn from a piece."""
        predictions = found.get("predictions")
        if predictions is not None:
            self._most = max(1, _MOST_BYTES // max(predictions.nbytes // batches, 1))
        if self._begun:  # the first piece compiles
            wanted = int(batches * _SECONDS / max(seconds, 1e-9))
            self.batches = max(1, min(wanted, 64 * self.batches))
        self._begun = True
        self.batches = min(self.batches, self._most)


class RowsDriver:
    """Trains on rows in memory.

    Args:
        feed: the rows.
        steps: what is done with a batch.
        accumulate: batches to an update.
        metrics: whether targets are wanted, for metrics of the training rows.
    """

    def __init__(self, feed: Rows, steps: Steps, accumulate: int, metrics: bool) -> None:
        self.feed = feed
        self.count = feed.count
        self.updates = -(-feed.count // accumulate)
        self._steps = steps
        self._accumulate = accumulate
        self._metrics = metrics
        self._pace = Pace()

    def advance(self, run: Run) -> None:
        """Train a piece."""
        if self._accumulate > 1:
            self._accumulated(run)
            return
        many = min(run.free_epochs(), self._pace.batches // max(self.count, 1))
        if run.batch == 0 and many > 1 and not self.feed.rest:
            self._epochs(run, many)
        elif run.batch < self.feed.full:
            last = min(self.feed.full, run.batch + min(self._pace.batches, run.room()))
            begin = time.perf_counter()
            rows = self.feed.batches(run.epoch, run.batch, last)
            run.seconds["data"] += time.perf_counter() - begin
            self._full(run, rows)
        else:
            self._remainder(run)
        if run.batch == self.count:
            run.end_epoch()

    def _full(self, run: Run, rows: Array) -> None:
        found = self._timed(run, rows)
        sizes = np.full(len(rows), self.feed.size)
        run.totals.add(found, self._targets(rows), sizes)
        run.moved(batches=len(rows), updates=len(rows), loss=float(found["loss"][-1]))

    def _timed(self, run: Run, rows: Array) -> dict[str, Array]:
        stacked = [rows, *run.rates(len(rows))]
        begin = time.perf_counter()
        found = run_each(self._steps.whole, self._steps.compiled, stacked)
        seconds = time.perf_counter() - begin
        run.seconds["step"] += seconds
        self._pace.note(len(rows), seconds, found)
        run.note(found)
        return found

    def _targets(self, rows: Array) -> Any:
        return self.feed.targets(rows) if self._metrics else None

    def _epochs(self, run: Run, many: int) -> None:
        """Several whole epochs by one call, where nothing happens between them."""
        found = self._timed(run, self.feed.epochs(run.epoch, many))
        weights = found.get("weight", np.full(len(found["loss"]), self.feed.size))
        run.end_epochs(*(x.reshape(many, self.count) for x in (found["loss"], weights)))

    def _remainder(self, run: Run) -> None:
        rows = self.feed.remainder(run.epoch)
        begin = time.perf_counter()
        found = run_once(self._steps.whole, [rows, *(rate[0] for rate in run.rates(1))])
        run.seconds["step"] += time.perf_counter() - begin
        run.note(found)
        run.totals.add(found, self._targets(rows), np.array([len(rows)]))
        run.moved(batches=1, updates=1, loss=float(found["loss"][0]))

    def _accumulated(self, run: Run) -> None:
        """One update by the gradients of several batches."""
        first, last = run.batch, min(run.batch + self._accumulate, self.count)
        begin = time.perf_counter()
        if first < self.feed.full:
            rows = self.feed.batches(run.epoch, first, min(last, self.feed.full))
            found = run_each(self._steps.part, self._steps.compiled, [rows])
            run.totals.add(found, self._targets(rows), np.full(len(rows), self.feed.size))
        if last > self.feed.full:
            rest = self.feed.remainder(run.epoch)
            found = run_once(self._steps.part, [rest])
            run.totals.add(found, self._targets(rest), np.array([len(rest)]))
        run.note(run_once(self._steps.finish, [rate[0] for rate in run.rates(1)]))
        run.seconds["step"] += time.perf_counter() - begin
        run.moved(batches=last - first, updates=1, loss=float(found["loss"][-1]))
        if run.batch == self.count:
            run.end_epoch()
