"""Activations as layers; the functions are of the same names in small letters."""

from __future__ import annotations

from typing import Any

from .. import activations, functional, ops
from ..checks import real, whole
from ..errors import ArgumentError
from ..tensors import Tensor, Variable, lift, var
from . import init
from .module import Module


class ReLU(Module):
    """max(x, 0); the slope at 0 is 0."""

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Any:
        return ops.tanh(x)


class _Along(Module):
    """What works along one axis."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class LogSoftmax(_Along):
    """The logarithm of the softmax along `axis`."""

    def forward(self, x: Any) -> Any:
        return functional.log_softmax(x, self.axis)


class Softmax(_Along):
    """The softmax along `axis`. Before a loss use none: the losses take logits."""

    def forward(self, x: Any) -> Any:
        return functional.softmax(x, self.axis)


class LeakyReLU(Module):
    """x where x > 0, else ``negative_slope * x``: see `leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return activations.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"{self.negative_slope}"


class PReLU(Module):
    """`LeakyReLU` with a trained slope: see `prelu`.

    Args:
        num_parameters: 1, or the number of channels, which are axis 1 of the input.
        init_value: the slope at first.
        dtype: float32 or float64; the default float unless given.

    Attributes:
        weight: the slopes, ``[num_parameters]``. Exempt them from weight decay.
    """

    def __init__(
        self, num_parameters: int = 1, init_value: float = 0.25, dtype: Any = None
    ) -> None:
        num_parameters = whole("PReLU", "num_parameters", num_parameters, 1)
        slopes = init.constant((num_parameters,), init_value, dtype)
        self.weight: Variable = var("weight", slopes, dtype=dtype)

    def forward(self, x: Any) -> Tensor:
        return activations.prelu(x, self.weight.value)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}"


class ELU(Module):
    """x where x > 0, else ``alpha * (exp(x) - 1)``: see `elu`."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return activations.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SELU(Module):
    """The scaled exponential unit: see `selu`."""

    def forward(self, x: Any) -> Any:
        return activations.selu(x)


class GELU(Module):
    """x times the normal distribution function of x: see `gelu`."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return activations.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x * sigmoid(x)."""

    def forward(self, x: Any) -> Any:
        return activations.silu(x)


class Mish(Module):
    """x * tanh(softplus(x))."""

    def forward(self, x: Any) -> Any:
        return activations.mish(x)


class Softplus(Module):
    """``log(1 + exp(beta * x)) / beta``, without overflow."""

    def __init__(self, beta: float = 1.0) -> None:
        if not real("Softplus", "beta", beta) > 0:
            raise ArgumentError(f"Softplus: beta must be positive, got {beta}")
        self.beta = beta

    def forward(self, x: Any) -> Any:
        if self.beta == 1.0:
            return functional.softplus(x)
        return functional.softplus(lift(x) * self.beta) * (1.0 / self.beta)

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


class Softsign(Module):
    """x / (1 + abs(x))."""

    def forward(self, x: Any) -> Any:
        return activations.softsign(x)


class LogSigmoid(Module):
    """log(1 / (1 + exp(-x))), accurate for every x."""

    def forward(self, x: Any) -> Any:
        return activations.log_sigmoid(x)


class Hardtanh(Module):
    """The input limited to ``[min_val, max_val]``: see `hardtanh`."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        real("Hardtanh", "min_val", min_val)
        if not min_val < real("Hardtanh", "max_val", max_val):
            raise ArgumentError(f"Hardtanh: needs min_val < max_val, not {min_val} and {max_val}")
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, x: Any) -> Any:
        return activations.hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"{self.min_val}, {self.max_val}"


class ReLU6(Module):
    """The input limited to [0, 6]."""

    def forward(self, x: Any) -> Any:
        return activations.relu6(x)


class Hardsigmoid(Module):
    """A sigmoid of three straight lines: see `hardsigmoid`."""

    def forward(self, x: Any) -> Any:
        return activations.hardsigmoid(x)


class Hardswish(Module):
    """``x * hardsigmoid(x)``."""

    def forward(self, x: Any) -> Any:
        return activations.hardswish(x)
