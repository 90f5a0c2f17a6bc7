"""Adagrad."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensors import Tensor
from .optimizer import Hyper, Optimizer, State


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients so far.

    With weight decay w, ``g = g + w * p``. Then ``s = s + g * g`` and
    ``p = p - lr * g / (sqrt(s) + eps)``. As in PyTorch; its ``lr_decay`` is the schedule
    ``lr=lambda step: lr / (1 + step * lr_decay)``.

    Args:
        lr: the learning rate, not negative; or a function of the step number.
        weight_decay: w, not negative.
        initial_accumulator_value: s at first, not negative.
        eps: added to the root, not negative.

    State: ``step``, ``s``.

    Source: J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 2011.

    >>> w = Tensor.var("w", [1.0])
    >>> Adagrad(lr=0.5).step(w, [3.0])
    >>> w.tolist()
    [0.5]
    """

    def __init__(
        self,
        lr: Any = 0.01,
        *,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        self.initial_accumulator_value = initial_accumulator_value
        self.eps = eps

    def check(self, name: str, value: Any) -> Any:
        if name == "initial_accumulator_value":
            return self._number(name, value)
        return super().check(name, value)

    def init(self, parameter: Tensor) -> State:
        start = np.full(parameter.shape, self.initial_accumulator_value, parameter.dtype)
        return {"s": Tensor(start)}

    def update(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hyper: Hyper
    ) -> tuple[Any, dict[str, Any]]:
        if self.weight_decay:
            gradient = gradient + value * hyper("weight_decay")
        s = state["s"] + gradient * gradient
        return value - gradient * hyper("lr") / (xp.sqrt(s) + hyper("eps")), {"s": s}
