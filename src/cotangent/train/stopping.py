"""Early stopping, and keeping the best weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import real, whole
from ..errors import ArgumentError, ArgumentTypeError, UnknownKeyError
from .history import Row
from .metrics import Metric

Array = np.ndarray[Any, Any]


class EarlyStopping:
    """Ends a run that no longer gets better.

    An epoch is better if its number is below ``best - min_delta``, or above ``best + min_delta``
    where higher is better. After `patience` epochs in a row that are not, the run ends.

    Args:
        patience: how many epochs to wait for a better one; None never ends a run, which then
            only keeps its best weights.
        monitor: a name in the rows of the history; by default "validation loss", or "loss" where
            nothing is held out.
        min_delta: the least improvement that counts.
        restore_best: whether the model has the weights of the best epoch at the end.
        mode: "min" or "max"; found from the metric by default.

    Raises:
        ArgumentError: for a setting out of range.
    """

    def __init__(
        self, patience: int | None = 10, monitor: str | None = None, min_delta: float = 0.0,
        restore_best: bool = True, mode: str | None = None,
    ) -> None:  # fmt: skip
        if patience is not None and whole("EarlyStopping", "patience", patience) < 0:
            raise ArgumentError(f"EarlyStopping: patience must not be negative, got {patience}")
        if not 0.0 <= real("EarlyStopping", "min_delta", min_delta) < math.inf:
            raise ArgumentError(f"EarlyStopping: min_delta must not be negative, got {min_delta}")
        if mode not in (None, "min", "max"):
            raise ArgumentError(f'EarlyStopping: mode must be "min", "max" or None, not {mode!r}')
        self.patience = patience
        self.monitor = monitor
        self.min_delta = float(min_delta)
        self.restore_best = bool(restore_best)
        self.mode = mode

    def __repr__(self) -> str:
        return f"EarlyStopping(patience={self.patience}, monitor={self.monitor!r})"


def as_stopping(given: Any) -> EarlyStopping | None:
    """What `fit` was given, as `EarlyStopping`: an integer is the patience."""
    if given is None or given is False or isinstance(given, EarlyStopping):
        return given or None
    if given is True:
        return EarlyStopping()
    if isinstance(given, int):
        return EarlyStopping(patience=given)
    raise ArgumentTypeError(
        f"fit: early_stopping is a number of epochs or an EarlyStopping, not {given!r}"
    )


def monitored(stopping: EarlyStopping, validated: bool, metrics: Sequence[Metric]) -> (
    tuple[str, str]
):  # fmt: skip
    """The name of the number that is watched, and "min" or "max"."""
    name = stopping.monitor or ("validation loss" if validated else "loss")
    bare = name.removeprefix("validation ")
    if name != bare and not validated:
        raise ArgumentError(
            f"EarlyStopping: {name!r} needs held-out data; pass validation=(x, y) or a fraction "
            f"to fit, or monitor={bare!r}"
        )
    known = {metric.name: metric for metric in metrics}
    if bare not in ("loss", *known):
        raise UnknownKeyError(
            f"EarlyStopping: nothing called {bare!r} is measured; there are loss"
            + "".join(f", {other}" for other in known)
        )
    if stopping.mode is not None:
        return name, stopping.mode
    higher = bare in known and known[bare].higher_is_better
    return name, "max" if higher else "min"


class Patience:
    """What early stopping knows in a run.

    Attributes:
        name, mode: what is watched, and whether it should be small ("min") or large ("max").
        best: the best number so far.
        epoch: its epoch; 0 before the first.
        weights: the model's state in that epoch, if it is to be restored.
    """

    def __init__(self, stopping: EarlyStopping, name: str, mode: str) -> None:
        self.stopping = stopping
        self.name = name
        self.mode = mode
        self.best = math.inf if mode == "min" else -math.inf
        self.epoch = 0
        self.weights: dict[str, Array] = {}

    def improved(self, row: Row) -> bool:
        """Whether an epoch is the best so far; it is noted."""
        value = row.get(self.name)
        if not isinstance(value, (int, float)):
            raise ArgumentError(
                f"EarlyStopping: {self.name!r} is no number but {value!r}; watch another metric"
            )
        gain = self.best - value if self.mode == "min" else value - self.best
        if math.isnan(value) or not (gain > self.stopping.min_delta or math.isinf(self.best)):
            return False
        self.best, self.epoch = float(value), int(row["epoch"])
        return True

    def over(self, epoch: int) -> bool:
        """Whether patience is at an end after an epoch."""
        patience = self.stopping.patience
        return patience is not None and epoch - self.epoch >= max(patience, 1)

    def state_dict(self) -> dict[str, Any]:
        """For JSON; the weights are apart."""
        best = self.best if math.isfinite(self.best) else None
        return {"name": self.name, "best": best, "epoch": self.epoch}

    def load_state_dict(self, values: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        if values["best"] is not None:
            self.best = float(values["best"])
        self.epoch = int(values["epoch"])
