"""Lion."""

from __future__ import annotations

from typing import Any

from ..tensors import Tensor
from .hyper import first, rest_of_first, rest_of_second, second
from .optimizer import Hyper, Optimizer, State, zeros_of


class Lion(Optimizer):
    """Steps of one size: the sign of an interpolated momentum.

    ``d = sign(b1 * m + (1 - b1) * g)``, ``p = p - lr * (d + w * p)``, and then
    ``m = b2 * m + (1 - b2) * g``. The learning rate is usually a third to a tenth of Adam's, and
    the weight decay as much larger.

    Args:
        lr: the learning rate, not negative; or a function of the step number.
        betas: (b1, b2), each in [0, 1).
        weight_decay: w, not negative; decoupled, as in `AdamW`.

    State: ``step``, ``m``.

    Source: X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.

    >>> w = Tensor.var("w", [1.0])
    >>> Lion(lr=0.25).step(w, [7.0])
    >>> w.tolist()
    [0.75]
    """

    def __init__(
        self,
        lr: Any = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        self.lr = lr
        self.betas = betas
        self.weight_decay = weight_decay

    def check(self, name: str, value: Any) -> Any:
        return self._pair(name, value) if name == "betas" else super().check(name, value)

    def init(self, parameter: Tensor) -> State:
        return {"m": zeros_of(parameter)}

    def update(
        self, xp: Any, value: Any, gradient: Any, state: dict[str, Any], hyper: Hyper
    ) -> tuple[Any, dict[str, Any]]:
        m = state["m"]
        mixed = m * hyper("betas", first) + gradient * hyper("betas", rest_of_first)
        direction = xp.sign(mixed)
        if self.weight_decay:
            direction = direction + value * hyper("weight_decay")
        m = m * hyper("betas", second) + gradient * hyper("betas", rest_of_second)
        return value - direction * hyper("lr"), {"m": m}
