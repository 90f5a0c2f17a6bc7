"""A run: where training stands, and what happens between its steps."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..callers import levels
from ..checks import whole
from ..errors import ArgumentError, ArgumentTypeError
from ..nn.looking import mode
from ..nn.module import state_dict
from ..optim.plateau import ReduceLROnPlateau
from .average import WeightMean
from .callbacks import Callback
from .evaluation import Totals, mean_losses
from .history import History
from .interrupt import Interrupt
from .length import NEVER
from .metrics import Metric
from .progress import Progress
from .stopping import Patience

Array = np.ndarray[Any, Any]


class Run:
    """One call of `fit`, as callbacks see it.

    Attributes:
        model, optimizer: what is trained, by what.
        history: the rows so far.
        epoch: how many epochs are complete.
        batch: how many batches of the present epoch are.
        step: how many updates were made.
        loss: the loss of the last batch.
        last_epoch, last_step: where the run ends.
        folder: the run's folder, or None.
        seconds: what went into data and steps so far.
        validate, noted, saved, finished: what `Trainer` has done at the end of an epoch, after a
            piece, for a checkpoint, and at the end.
        save_seconds: the time between checkpoints.
        norms: the norms of the gradients in the present epoch, where they are clipped.
    """

    def __init__(
        self, model: Any, optimizer: Any, *, epochs: int | None, steps: int | None,
        updates: int | None, schedule: Any, metrics: Sequence[Metric], mean: WeightMean | None,
        callbacks: Sequence[Callback], progress: Progress, folder: Path | None,
    ) -> None:  # fmt: skip
        self.model = model
        self.optimizer = optimizer
        self.history = History()
        self.history.folder = self.folder = folder
        self.epoch = self.batch = self.step = 0
        self.loss = float("nan")
        self.seconds = {"data": 0.0, "step": 0.0, "other": 0.0}
        self.schedule = schedule
        self.mean = mean
        self.patience: Patience | None = None
        self.validate: Callable[[], dict[str, Any]] | None = None
        self.saved: Callable[[], None] = _nothing
        self.noted: Callable[[], None] = _nothing
        self.finished: Callable[[], None] = _nothing
        self.save_seconds = math.inf
        self.totals = Totals(metrics)
        self.callbacks = checked_callbacks(callbacks)
        self._progress = progress
        self.norms: list[float] = []
        self._reason = ""
        self._begun = self._saved = time.perf_counter()
        self._epoch_seconds = 0.0
        self._updates: int | None = None
        self._plan(epochs, steps, updates)
        self._hears_epochs = any(type(c).on_epoch is not Callback.on_epoch for c in self.callbacks)

    def _plan(self, epochs: int | None, steps: int | None, updates: int | None) -> None:
        """Where the run ends, with so many updates in an epoch; None where that is not known."""
        self._updates = updates
        if epochs is not None:
            self.last_epoch = epochs
            self.last_step = NEVER if updates is None else epochs * updates
        else:
            self.last_step = NEVER if steps is None else steps
            self.last_epoch = NEVER if updates is None else -(-self.last_step // updates)

    # -- for callbacks --------------------------------------------------------------------

    def stop(self, why: str = "stopped by a callback") -> None:
        """End the run after the present piece."""
        self._reason = self._reason or why

    def say(self, text: str) -> None:
        """Print a line, if this run prints at all."""
        self._progress.say(text)

    # -- what drivers ask and tell --------------------------------------------------------

    def free_epochs(self) -> int:
        """How many whole epochs may be trained at once from here, nothing happening between."""
        if self.validate or self.patience or self._hears_epochs or self.totals.metrics:
            return 1
        if isinstance(self.schedule, ReduceLROnPlateau):
            return 1
        return min(self.last_epoch - self.epoch, self.room() // max(self._updates or 1, 1))

    def room(self) -> int:
        """How many updates may be made before something else has to happen; at least 1."""
        room = self.last_step - self.step
        for callback in self.callbacks:
            if callback.every is not None:
                room = min(room, callback.every - self.step % callback.every)
        return max(room, 1)

    def rates(self, count: int) -> list[Array]:
        """The learning rates of the next updates, as a list of one array; [] without a schedule."""
        if self.schedule is None or isinstance(self.schedule, ReduceLROnPlateau):
            return []
        rates = np.array([float(self.schedule(self.step + i)) for i in range(count)], np.float64)
        bad = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
        if bad.size:
            raise ArgumentError(
                f"fit: the schedule gives a learning rate of {rates[bad[0]]} for step "
                f"{self.step + bad[0]}; a rate is finite and not negative"
            )
        return [rates]

    def note(self, found: dict[str, Array]) -> None:
        """Take down what steps found besides losses."""
        if "norm" in found:
            self.norms += found["norm"].tolist()

    def moved(self, batches: int, updates: int, loss: float) -> None:
        """So many batches and updates were made."""
        self.batch += batches
        self.step += updates
        self.loss = loss

    def end_epoch(self) -> None:
        """The last batch of an epoch is done: measure, note, tell."""
        self.epoch += 1
        self.batch = 0
        row: dict[str, Any] = {"epoch": self.epoch, "step": self.step, **self.totals.values()}
        if self.norms:
            row["gradient norm"] = float(np.mean(self.norms))
        if self.validate is not None:
            row |= self.validate()
        row["lr"] = self._rates_at(np.array([self.step]))[0]
        row["seconds"] = self._since_last_epoch()
        self.totals = Totals(self.totals.metrics)
        self.norms = []
        self.history.append(row)
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(row.get("validation loss", row["loss"]))
        self._judge(row)
        for callback in self.callbacks:
            callback.on_epoch(self, row)
        self._progress.epoch(self, row)

    def end_epochs(self, losses: Array, weights: Array) -> None:
        """What `end_epoch` does, for epochs ``[epochs, batches]`` that nothing happens between."""
        rates = self._rates_at(self.step + np.arange(1, len(losses) + 1) * losses.shape[1])
        seconds = self._since_last_epoch() / len(losses)
        norms = np.reshape(self.norms, (len(losses), -1)).mean(axis=1) if self.norms else None
        for i, loss in enumerate(mean_losses(losses, weights)):
            self.epoch += 1
            self.step += losses.shape[1]
            row = {"epoch": self.epoch, "step": self.step, "loss": loss}
            if norms is not None:
                row["gradient norm"] = float(norms[i])
            row["lr"], row["seconds"] = rates[i], seconds
            self.history.append(row)
            self._progress.epoch(self, row)
        self.norms = []
        self.loss = float(losses[-1, -1])

    def _rates_at(self, steps: Array) -> list[float]:
        """The learning rates of the updates before these."""
        rate = self._rate_function()
        if callable(rate):
            return [float(rate(max(int(step) - 1, 0))) for step in steps]
        return [float(rate)] * len(steps)

    def _rate_function(self) -> Any:
        """The learning rate: a number, or a function of the step."""
        if self.schedule is not None and not isinstance(self.schedule, ReduceLROnPlateau):
            return self.schedule
        return getattr(self.optimizer, "lr", math.nan)

    def _since_last_epoch(self) -> float:
        now = time.perf_counter() - self._begun
        before, self._epoch_seconds = self._epoch_seconds, now
        return now - before

    def _judge(self, row: dict[str, Any]) -> None:
        """Early stopping."""
        patience = self.patience
        if patience is None:
            return
        if patience.improved(row):
            if patience.stopping.restore_best or self.folder is not None:
                with self.averaged():
                    patience.weights = state_dict(self.model)
        elif patience.over(self.epoch):
            self.stop("early stopping")

    def averaged(self) -> Any:
        """A context in which the model holds the mean of its weights, if one is kept."""
        return contextlib.nullcontext() if self.mean is None else self.mean.held()

    def shares(self) -> dict[str, float]:
        """The seconds of the run by what they went into."""
        spent = time.perf_counter() - self._begun
        known = self.seconds["data"] + self.seconds["step"]
        return {**self.seconds, "other": max(spent - known, 0.0)}

    # -- the course of a run --------------------------------------------------------------

    def go(self, advance: Callable[[Run], None]) -> None:
        """Train to the end, a piece at a time."""
        with Interrupt() as interrupt, mode(self.model, True):
            for callback in self.callbacks:
                callback.on_start(self)
            self._progress.start(self)
            try:
                while not self._ended():
                    before = self.step
                    advance(self)
                    self._between(before)
                    if interrupt.seen:
                        self.stop("interrupted")
                self.saved()
                if self.batch and self._reason == "done":
                    # Steps end inside of an epoch: measured, but saved as it was, to be gone on.
                    self.end_epoch()
                self.noted()
                self.finished()
            finally:
                self._progress.close(self)
                for callback in self.callbacks:
                    callback.on_end(self)

    def _ended(self) -> bool:
        if self.epoch >= self.last_epoch or self.step >= self.last_step:
            self.stop("done")
        self.history.stopped = self._reason
        return bool(self._reason)

    def _between(self, before: int) -> None:
        """Between two pieces: callbacks, checkpoints, progress."""
        for callback in self.callbacks:
            every = callback.every
            if every is not None and self.step // every > before // every:
                callback.on_step(self)
        if math.isnan(self.loss) and not self._reason:
            self.stop("the loss became NaN")
            warnings.warn(
                f"fit: the loss became NaN, by step {self.step}; lower the learning rate, pass "
                "clip_norm=1.0, or find the operation with ct.debug_nans()",
                RuntimeWarning,
                stacklevel=levels(),
            )
        self._progress.piece(self)
        self.noted()
        if time.perf_counter() - self._saved >= self.save_seconds:
            self.saved()
            self._saved = time.perf_counter()


def checked_callbacks(callbacks: Sequence[Callback]) -> list[Callback]:
    """The callbacks; raises for what is none, or counts steps by no positive number."""
    if not isinstance(callbacks, (list, tuple)):
        raise ArgumentTypeError(f"fit: callbacks must be a list of callbacks, not {callbacks!r}")
    found = list(callbacks)
    for callback in found:
        if not isinstance(callback, Callback):
            raise ArgumentTypeError(
                f"fit: callbacks are objects of classes made from train.Callback, not {callback!r}"
            )
        if callback.every is not None and whole("fit", "a callback's every", callback.every) < 1:
            raise ArgumentError(f"fit: a callback's every must be positive, got {callback.every}")
    return found


def _nothing() -> None:
    """What a run without a folder does for a checkpoint."""
