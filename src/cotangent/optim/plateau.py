"""Lowering the learning rate when progress stops."""

from __future__ import annotations

import math
from typing import Any

from ..checks import real
from ..errors import ArgumentError, ArgumentTypeError
from .optimizer import Optimizer


class ReduceLROnPlateau:
    """Multiplies the learning rate by `factor` when a metric has stopped improving.

    Call ``step(metric)`` after each epoch. A metric is better if it is below
    ``best * (1 - threshold)``, or with ``mode="max"`` above ``best * (1 + threshold)``; after more
    than `patience` calls in a row that are not better, ``opt.lr`` becomes
    ``max(opt.lr * factor, min_lr)``, and so does the rate of every group that has its own. As in
    PyTorch. Compiled steps take the new rate without being compiled again.

    Args:
        opt: an optimizer whose learning rate is a number, not a schedule.
        mode: "min" if a smaller metric is better (a loss), "max" if a larger one is.
        factor: in (0, 1).
        patience: how many calls without improvement are put up with.
        threshold: the relative improvement that counts.
        cooldown: how many calls after a reduction are not counted.
        min_lr: the learning rate goes no lower.

    Attributes:
        best: the best metric so far.
        bad: calls since then that count.

    Raises:
        ArgumentTypeError: if the learning rate is a schedule.
        ArgumentError: for a setting out of range, or a metric that is NaN.

    >>> from cotangent.optim import SGD
    >>> opt = SGD(lr=1.0)
    >>> plateau = ReduceLROnPlateau(opt, factor=0.5, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0):
    ...     plateau.step(loss)
    >>> opt.lr
    0.5
    """

    def __init__(
        self,
        opt: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        if not isinstance(mode, str) or mode not in ("min", "max"):
            raise ArgumentError(f'ReduceLROnPlateau: mode must be "min" or "max", not {mode!r}')
        if not 0.0 < real("ReduceLROnPlateau", "factor", factor) < 1.0:
            raise ArgumentError(f"ReduceLROnPlateau: factor must lie in (0, 1), not {factor}")
        for name, value in (
            ("patience", patience), ("threshold", threshold), ("cooldown", cooldown),
            ("min_lr", min_lr),
        ):  # fmt: skip
            if not 0 <= real("ReduceLROnPlateau", name, value) < math.inf:
                raise ArgumentError(f"ReduceLROnPlateau: {name} must not be negative, got {value}")
        self.opt = opt
        self.sign = 1.0 if mode == "min" else -1.0
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.best = self.sign * math.inf
        self.bad = 0
        self._cooling = 0
        self._holders()

    def step(self, metric: Any) -> None:
        """Note a metric, and lower the learning rate if it is time."""
        value = float(metric)
        if math.isnan(value):
            raise ArgumentError("ReduceLROnPlateau.step: the metric is NaN")
        if self._is_better(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self._cooling:
            self._cooling, self.bad = self._cooling - 1, 0
        if self.bad > self.patience:
            self._cooling, self.bad = self.cooldown, 0
            for holder in self._holders():
                holder.lr = max(holder.lr * self.factor, self.min_lr)

    def _is_better(self, value: float) -> bool:
        if math.isinf(self.best):
            return self.sign * value < self.sign * self.best
        return self.sign * value < self.sign * self.best * (1.0 - self.sign * self.threshold)

    def _holders(self) -> list[Any]:
        """The optimizer, and its groups that have a learning rate of their own."""
        if not hasattr(self.opt, "groups"):
            raise ArgumentTypeError(
                f"ReduceLROnPlateau: takes an optimizer, not {type(self.opt).__name__}"
            )
        holders = [o for o in (self.opt, *self.opt.groups) if "lr" in vars(o)]
        for holder in holders:
            if callable(holder.lr):
                raise ArgumentTypeError(
                    "ReduceLROnPlateau: the learning rate is a schedule, which would overrule "
                    "it; make the optimizer with a number, as in lr=0.01"
                )
        return holders

    def state_dict(self) -> dict[str, float]:
        """What it remembers; the learning rates are the optimizer's."""
        return {"best": self.best, "bad": self.bad, "cooling": self._cooling}

    def load_state_dict(self, values: dict[str, float]) -> None:
        """Take over what `state_dict` returned."""
        self.best = float(values["best"])
        self.bad = int(values["bad"])
        self._cooling = int(values["cooling"])
