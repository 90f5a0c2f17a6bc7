"""RMSprop."""

from __future__ import annotations

from typing import Any

from ..tensors import Tensor
from .hyper import rest
from .optimizer import Hyper, Optimizer, State, zeros_of


class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of squared gradients.

    With weight decay w, ``g = g + w * p``. Then ``v = a * v + (1 - a) * g * g`` and
    ``d = g / (sqrt(v) + eps)``; if centred, with ``u = a * u + (1 - a) * g`` and ``v - u * u`` in
    the place of v under the root. With momentum m, ``b = m * b + d`` and ``d = b``. Then
    ``p = p - lr * d``. As in PyTorch.

    Args:
        lr: the learning rate, not negative; or a function of the step number.
        alpha: a, in [0, 1).
        eps: added to the root, not negative.
        weight_decay: w, not negative.
        momentum: m, in [0, 1).
        centered: whether the mean gradient is taken off, so that v becomes a variance.

    State: ``step``, ``v``, ``u`` if centred, and ``momentum`` (b) if m is not 0.

    Source: T. Tieleman, G. Hinton, "Lecture 6.5: rmsprop", COURSERA Neural Networks for Machine
    Learning, 2012; centred: A. Graves, arXiv 1308.0850, 2013.

    >>> w = Tensor.var("w", [1.0])
    >>> RMSprop(lr=0.25, alpha=0.75).step(w, [1.0])
    >>> w.tolist()
    [0.5]
    """

    def __init__(
        self,
        lr: Any = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        self.lr = lr
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.centered = centered

    def check(self, name: str, value: Any) -> Any:
        if name in ("alpha", "momentum"):
            return self._number(name, value, below=1.0)
        return super().check(name, value)

    def init(self, parameter: Tensor) -> State:
        state = {"v": zeros_of(parameter)}
        if self.centered:
            state["u"] = zeros_of(parameter)
        if self.momentum:
            state["momentum"] = zeros_of(parameter)
        return state

    def update(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hyper: Hyper
    ) -> tuple[Any, dict[str, Any]]:
        if self.weight_decay:
            gradient = gradient + value * hyper("weight_decay")
        a, b = hyper("alpha"), hyper("alpha", rest)
        v = square = state["v"] * a + gradient * gradient * b
        new = {"v": v}
        if self.centered:
            new["u"] = u = state["u"] * a + gradient * b
            square = v - u * u
        direction = gradient / (xp.sqrt(square) + hyper("eps"))
        if self.momentum:
            new["momentum"] = direction = state["momentum"] * hyper("momentum") + direction
        return value - direction * hyper("lr"), new
