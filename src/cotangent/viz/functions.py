"""Pictures of functions: activations with their derivatives, losses with their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import activations as library
from ..checks import real, whole
from ..errors import ArgumentError, ArgumentTypeError
from ..functional import relu, sigmoid, softplus, tanh
from ..nn.classification import binary_cross_entropy, cross_entropy_loss
from ..nn.losses import mse_loss
from ..ops import Primitive
from ..rearrange import stack
from ..spelling import closest
from ..tensors import Tensor, tensor
from ..transforms import vjp
from .axes import Axes, extent
from .drawing import Drawing, Picture

Array = np.ndarray[Any, Any]

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": relu, "leaky_relu": library.leaky_relu, "elu": library.elu, "selu": library.selu,
    "gelu": library.gelu, "silu": library.silu, "mish": library.mish, "softplus": softplus,
    "sigmoid": sigmoid, "tanh": tanh, "softsign": library.softsign,
    "hardtanh": library.hardtanh, "hardsigmoid": library.hardsigmoid,
    "hardswish": library.hardswish, "relu6": library.relu6, "log_sigmoid": library.log_sigmoid,
}  # fmt: skip
_USUAL = ("relu", "leaky_relu", "gelu", "silu", "sigmoid", "tanh")


@dataclass(frozen=True)
class FunctionCurve:
    """One function over a range.

    Attributes:
        name: of the function.
        x, y, slope: points, the values there, and the derivatives.
    """

    name: str
    x: Array
    y: Array
    slope: Array


@dataclass(frozen=True)
class ActivationCurves(Picture):
    """What `activations` returns."""

    functions: tuple[FunctionCurve, ...]
    title: str = "Activations and their derivatives"

    def drawings(self) -> list[Drawing]:
        """One for each activation."""
        return [_draw(f, ("value", "derivative"), "input") for f in self.functions]


@dataclass(frozen=True)
class LossCurves(Picture):
    """What `losses` returns: each loss over the predicted probability of the true class.

    Attributes:
        functions: squared error (MSE), binary cross-entropy (BCE), cross-entropy of two classes.
        by_logit: the derivative of each by the logit behind the probability.
    """

    functions: tuple[FunctionCurve, ...]
    by_logit: tuple[Array, ...]
    title: str = "Losses and their gradients"

    def drawings(self) -> list[Drawing]:
        """The losses, the sizes of their gradients by the prediction, and by the logit."""
        size = [np.abs(f.slope) for f in self.functions]
        logit = [np.abs(slope) for slope in self.by_logit]
        return [
            self._panel("loss", [f.y for f in self.functions], 5.0),
            self._panel("size of the gradient by the prediction", size, 20.0),
            self._panel("size of the gradient by the logit", logit, 1.0),
        ]

    def _panel(self, title: str, values: Sequence[Array], high: float) -> Drawing:
        axes = Axes(title, (0, 1), (0, high), "predicted probability of the true class")
        for i, (function, ys) in enumerate(zip(self.functions, values, strict=True)):
            axes.line(function.x, ys, i, function.name, wide=i == 1)
        return axes.drawing()


def activations(
    functions: Sequence[Any] = _USUAL, low: float = -4.0, high: float = 4.0, points: int = 201
) -> ActivationCurves:
    """Activations and their derivatives: how each squashes, and where its gradient dies.

    Args:
        functions: names (see ``ct.viz.ACTIVATIONS``), functions of a tensor that work element
            by element, or activation layers.
        low, high: the ends of the range.
        points: how many points are computed.

    Raises:
        ArgumentError: for a name that is not known, and an empty range.

    >>> curve = activations(["tanh"], points=3).functions[0]
    >>> curve.y[1].item(), curve.slope[1].item()
    (0.0, 1.0)
    """
    real("activations", "low", low, -1e6, 1e6)
    real("activations", "high", high, -1e6, 1e6)
    points = whole("activations", "points", points, least=2)
    if not low < high:
        raise ArgumentError(f"activations: low must be below high, not {low} and {high}")
    if isinstance(functions, str) or callable(functions):
        functions = [functions]
    x = np.linspace(low, high, points)
    return ActivationCurves(tuple(_curve(*_named(f), x) for f in functions))


def losses(points: int = 199) -> LossCurves:
    """Squared error, binary cross-entropy and cross-entropy against the predicted probability p of
    the true class, with their gradients by p.

    Where the prediction is wrong (p near 0) the squared error ``(1 - p)**2`` has a slope of 2 at
    most, while cross-entropy, ``-log(p)``, has the slope 1 / p: it pushes the harder, the more
    wrong the prediction is. By the logit z of ``p = sigmoid(z)`` the gradients are
    ``2 (1 - p)**2 p`` and ``1 - p``: the one vanishes for p near 0, the other is largest there.

    Args:
        points: how many points between 0 and 1.

    >>> squared, binary, classes = losses(points=3).functions
    >>> squared.slope.tolist(), binary.slope.round(6).tolist()
    ([-1.5, -1.0, -0.5], [-4.0, -2.0, -1.333333])
    """
    points = whole("losses", "points", points, least=2)
    p = np.arange(1, points + 1) / (points + 1)
    functions: tuple[tuple[str, Callable[[Any], Any]], ...] = (
        ("MSE", lambda t: mse_loss(t, np.ones(points), "none")),
        ("BCE", lambda t: binary_cross_entropy(t, np.ones(points), "none")),
        ("cross-entropy", _cross_entropy),
    )
    logits = np.log(p) - np.log1p(-p)
    by_logit = [_curve(name, _after_sigmoid(f), logits) for name, f in functions]
    return LossCurves(
        tuple(_curve(name, f, p) for name, f in functions), tuple(c.slope for c in by_logit)
    )


def _after_sigmoid(loss: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda z: loss(sigmoid(z))


def _cross_entropy(p: Tensor) -> Tensor:
    """The cross-entropy of logits (log p, log(1 - p)), whose softmax is (p, 1 - p)."""
    logits = stack([p.log(), (1.0 - p).log()], axis=1)
    return cross_entropy_loss(logits, np.zeros(p.size, np.int64), reduction="none")


def _named(function: Any) -> tuple[str, Callable[[Any], Any]]:
    if isinstance(function, str):
        if function not in ACTIVATIONS:
            close = closest(function, ACTIVATIONS)
            hint = f"; did you mean {close!r}?" if close else f": {', '.join(ACTIVATIONS)}"
            raise ArgumentError(f"activations: there is no activation {function!r}{hint}")
        return function, ACTIVATIONS[function]
    if not callable(function):
        raise ArgumentTypeError(
            f"activations: takes names, functions and layers, not {type(function).__name__}"
        )
    named = function.name if isinstance(function, Primitive) else ""
    named = named or getattr(function, "__name__", "")
    return (named or type(function).__name__), function


def _curve(name: str, function: Callable[[Any], Any], x: Array) -> FunctionCurve:
    """Values and derivatives in double precision."""
    y, pull = vjp(function, tensor(x, dtype=np.float64))
    if y.shape != x.shape:
        raise ArgumentError(
            f"activations: {name} turns shape {x.shape} into {y.shape}; give a function that "
            "works element by element"
        )
    (slope,) = pull(np.ones_like(x))
    return FunctionCurve(name, x, np.asarray(y.numpy()), np.asarray(slope.numpy()))


def _draw(curve: FunctionCurve, names: tuple[str, str], x_label: str) -> Drawing:
    low, high = extent([*curve.y, *curve.slope])
    axes = Axes(curve.name, (float(curve.x[0]), float(curve.x[-1])), (low, high), x_label,
                height=240)  # fmt: skip
    axes.marks(x=0.0, y=0.0)
    axes.line(curve.x, curve.y, 0, names[0])
    axes.line(curve.x, curve.slope, 1, names[1])
    return axes.drawing()
