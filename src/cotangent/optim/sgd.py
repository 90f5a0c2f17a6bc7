"""Gradient descent, with and without momentum."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..tensors import Tensor
from .optimizer import Hyper, Optimizer, State, zeros_of


class SGD(Optimizer):
    """Gradient descent, with momentum if asked for.

    With weight decay w, gradient ``g = g + w * p``. With momentum m, ``b = m * b + g`` (b starts
    at 0), and ``g = b``, or ``g + m * b`` (Nesterov). Then ``p = p - lr * g``. As in PyTorch.

    Args:
        lr: the learning rate, not negative; or a function of the step number.
        momentum: m, in [0, 1).
        nesterov: whether to look ahead; needs momentum.
        weight_decay: w, not negative.

    State: ``step``, and ``momentum`` (b) if m is not 0.

    >>> w = Tensor.var("w", [1.0])
    >>> SGD(lr=0.5).step(w, (w * w).sum().backward())
    >>> w.tolist()
    [0.0]
    """

    def __init__(
        self, lr: Any, momentum: float = 0.0, *, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        self.lr = lr
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    def check(self, name: str, value: Any) -> Any:
        if name == "momentum":
            value = self._number(name, value, below=1.0)
            if value == 0 and getattr(self, "nesterov", False):
                raise ArgumentError("SGD: nesterov=True needs a momentum above 0")
        if name == "nesterov" and value and not self.momentum:
            raise ArgumentError("SGD: nesterov=True needs a momentum above 0")
        return super().check(name, value)

    def init(self, parameter: Tensor) -> State:
        return {"momentum": zeros_of(parameter)} if self.momentum else {}

    def update(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hyper: Hyper
    ) -> tuple[Any, dict[str, Any]]:
        if self.weight_decay:
            gradient = gradient + value * hyper("weight_decay")
        new = {}
        if self.momentum:
            m = hyper("momentum")
            new["momentum"] = b = state["momentum"] * m + gradient
            gradient = gradient + b * m if self.nesterov else b
        return value - gradient * hyper("lr"), new
