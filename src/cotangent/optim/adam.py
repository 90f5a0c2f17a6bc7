"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensors import Tensor
from .hyper import first, rest_of_first, rest_of_second, second
from .optimizer import Hyper, Optimizer, State, zeros_of


class Adam(Optimizer):
    """Adaptive moments, with bias correction.

    With weight decay w, ``g = g + w * p``. Then ``m = b1 * m + (1 - b1) * g``,
    ``v = b2 * v + (1 - b2) * g * g``, and ``p = p - lr * (m / c1) / (sqrt(v / c2) + eps)``, where
    c1 and c2 are ``1 - b1**t`` and ``1 - b2**t`` after t steps, kept as ``c = b * c + (1 - b)``
    from 0, which loses no digits. As in PyTorch.

    Args:
        lr: the learning rate, not negative; or a function of the step number.
        betas: (b1, b2), each in [0, 1).
        eps: added to the root, not negative.
        weight_decay: w, not negative; it goes through the moments (L2 regularisation).

    State: ``step``, ``m``, ``v``, ``c1``, ``c2``.

    Source: D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    >>> w = Tensor.var("w", [1.0])
    >>> Adam(lr=0.5).step(w, (w * w).sum().backward())
    >>> w.tolist()
    [0.5]
    """

    _decoupled = False  # whether weight decay goes past the moments

    def __init__(
        self,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.lr = lr
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay

    def check(self, name: str, value: Any) -> Any:
        if name == "betas":
            return self._pair(name, value)
        return super().check(name, value)

    def init(self, parameter: Tensor) -> State:
        zero = Tensor(np.zeros((), parameter.dtype))
        return {"m": zeros_of(parameter), "v": zeros_of(parameter), "c1": zero, "c2": zero}

    def update(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hyper: Hyper
    ) -> tuple[Any, dict[str, Any]]:
        if self.weight_decay and not self._decoupled:
            gradient = gradient + value * hyper("weight_decay")
        if self.weight_decay and self._decoupled:
            value = value - value * hyper("lr") * hyper("weight_decay")
        b1, b2 = hyper("betas", first), hyper("betas", second)
        r1, r2 = hyper("betas", rest_of_first), hyper("betas", rest_of_second)
        m = state["m"] * b1 + gradient * r1
        v = state["v"] * b2 + gradient * gradient * r2
        c1 = state["c1"] * b1 + r1
        c2 = state["c2"] * b2 + r2
        denominator = xp.sqrt(v / c2) + hyper("eps")
        value = value - m * (hyper("lr") / c1) / denominator
        return value, {"m": m, "v": v, "c1": c1, "c2": c2}


class AdamW(Adam):
    """Adam with decoupled weight decay.

    First ``p = p - lr * w * p``, then Adam's update without weight decay: see `Adam` for the
    formulas. The decay does not go through the moments, so it is the same for all parameters.
    As in PyTorch. Biases and scales are usually left out:
    ``opt.group(lambda p: p.ndim < 2, weight_decay=0.0)``.

    Args:
        lr: the learning rate, not negative; or a function of the step number.
        betas: (b1, b2), each in [0, 1).
        eps: added to the root, not negative.
        weight_decay: w, not negative.

    State: ``step``, ``m``, ``v``, ``c1``, ``c2``.

    Source: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.

    >>> w = Tensor.var("w", [2.0])
    >>> AdamW(lr=0.5, weight_decay=0.5).step(w, [1.0])
    >>> w.tolist()
    [1.0]
    """

    _decoupled = True

    def __init__(
        self,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)
