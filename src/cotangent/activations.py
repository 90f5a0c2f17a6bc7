"""Activation functions, composed of ops: what networks put between their layers.

`relu`, `sigmoid`, `tanh` and the softmax family are in `functional`. All take tensors, arrays or
numbers of a floating-point dtype and work element by element.
"""

from __future__ import annotations

import math
from typing import Any

from . import functional, ops
from .checks import real
from .errors import ArgumentError, ArgumentTypeError, ShapeError
from .ops import lift

_ROOT_2_OVER_PI = math.sqrt(2.0 / math.pi)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _float(name: str, x: Any) -> Any:
    x = lift(x)
    ops.require_float(name, x)
    return x


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where x > 0, else ``negative_slope * x``; the slope at 0 is `negative_slope`.

    Source: A. Maas, A. Hannun, A. Ng, "Rectifier nonlinearities improve neural network acoustic
    models", ICML 2013.

    >>> leaky_relu([-2.0, 3.0], 0.5).tolist()
    [-1.0, 3.0]
    """
    x = _float("leaky_relu", x)
    return ops.where(ops.less(0.0, x), x, x * negative_slope)


def prelu(x: Any, weight: Any) -> Any:
    """`leaky_relu` with a trained slope: x where x > 0, else ``weight * x``.

    Args:
        x: any shape.
        weight: ``[1]``, or ``[channels]`` for `x` of shape ``[n, channels, ...]``.

    Raises:
        ShapeError: if `weight` has neither one element nor one for each channel.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.

    >>> prelu([-2.0, 3.0], [0.25]).tolist()
    [-0.5, 3.0]
    """
    x, weight = _float("prelu", x), lift(weight)
    if weight.size != 1:
        if len(x.shape) < 2 or weight.shape != (x.shape[1],):
            raise ShapeError(
                f"prelu: x of shape {x.shape} needs one slope, or one for each element of its "
                f"axis 1, not slopes of shape {weight.shape}"
            )
        weight = functional.reshape(weight, (-1,) + (1,) * (len(x.shape) - 2))
    else:
        weight = functional.reshape(weight, ())
    return ops.where(ops.less(0.0, x), x, x * weight)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else ``alpha * (exp(x) - 1)``.

    Source: D. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by
    exponential linear units", ICLR 2016.

    >>> round(elu(-1.0).item(), 6)
    -0.632121
    """
    x = _float("elu", x)
    positive = ops.less(0.0, x)
    # The exponential sees 0 where x is positive, so it does not overflow there.
    below = ops.expm1(ops.where(positive, 0.0, x))
    return ops.where(positive, x, below * alpha)


def selu(x: Any) -> Any:
    """`elu` scaled so that layers keep mean 0 and variance 1: 1.0507 * elu(x, 1.6733).

    Source: G. Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.

    >>> round(selu(1.0).item(), 6)
    1.050701
    """
    return elu(x, _SELU_ALPHA) * _SELU_SCALE


def gelu(x: Any, approximate: str = "none") -> Any:
    """x times the normal distribution function of x, ``x / 2 * (1 + erf(x / sqrt(2)))``.

    Args:
        x: any shape.
        approximate: "none"; or "tanh" for
            ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``, which is within 5e-4.

    Raises:
        ArgumentError: for another value of `approximate`.

    Source: D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016, arXiv 1606.08415.

    >>> round(gelu(1.0).item(), 6), round(gelu(1.0, "tanh").item(), 6)
    (0.841345, 0.841192)
    """
    x = _float("gelu", x)
    if not isinstance(approximate, str):
        raise ArgumentTypeError(f"gelu: approximate is 'none' or 'tanh', not {approximate!r}")
    if approximate == "none":
        return x * 0.5 * (1.0 + ops.erf(x * math.sqrt(0.5)))
    if approximate != "tanh":
        raise ArgumentError(f'gelu: approximate must be "none" or "tanh", not {approximate!r}')
    return x * 0.5 * (1.0 + ops.tanh((x + x * x * x * 0.044715) * _ROOT_2_OVER_PI))


def silu(x: Any) -> Any:
    """x * sigmoid(x), also called swish.

    Source: S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units", 2017, arXiv 1702.03118.

    >>> round(silu(1.0).item(), 6)
    0.731059
    """
    x = _float("silu", x)
    return x * ops.sigmoid(x)


def mish(x: Any) -> Any:
    """x * tanh(softplus(x)).

    Source: D. Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.

    >>> round(mish(1.0).item(), 6)
    0.865098
    """
    x = _float("mish", x)
    return x * ops.tanh(functional.softplus(x))


def log_sigmoid(x: Any) -> Any:
    """log(1 / (1 + exp(-x))), accurate for every x.

    >>> round(log_sigmoid(0.0).item(), 6)
    -0.693147
    """
    return -functional.softplus(-_float("log_sigmoid", x))


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """`x` limited to ``[min_val, max_val]``; the slope is 0 at both ends and beyond.

    Raises:
        ArgumentError: if `min_val` is not below `max_val`.

    >>> hardtanh([-2.0, 0.5]).tolist()
    [-1.0, 0.5]
    """
    x = _float("hardtanh", x)
    real("hardtanh", "min_val", min_val)
    if not min_val < real("hardtanh", "max_val", max_val):
        raise ArgumentError(f"hardtanh: needs min_val < max_val, not {min_val} and {max_val}")
    inside = ops.logical_and(ops.less(min_val, x), ops.less(x, max_val))
    return ops.where(inside, x, functional.clip(x, min_val, max_val).detach())


def relu6(x: Any) -> Any:
    """`x` limited to [0, 6].

    >>> relu6([-1.0, 7.0]).tolist()
    [0.0, 6.0]
    """
    return hardtanh(x, 0.0, 6.0)


def hardsigmoid(x: Any) -> Any:
    """``relu6(x + 3) / 6``: a sigmoid of three straight lines.

    >>> hardsigmoid([-4.0, 0.0]).tolist()
    [0.0, 0.5]
    """
    return hardtanh(_float("hardsigmoid", x) + 3.0, 0.0, 6.0) / 6.0


def hardswish(x: Any) -> Any:
    """``x * hardsigmoid(x)``.

    Source: A. Howard et al., "Searching for MobileNetV3", ICCV 2019.

    >>> hardswish([3.0, 9.0]).tolist()
    [3.0, 9.0]
    """
    x = _float("hardswish", x)
    return x * hardsigmoid(x)


def softsign(x: Any) -> Any:
    """x / (1 + abs(x)).

    >>> softsign(1.0).item()
    0.5
    """
    x = _float("softsign", x)
    return x / (ops.absolute(x) + 1.0)
