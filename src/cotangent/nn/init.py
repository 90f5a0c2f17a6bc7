"""Initial values of parameters.

Each function returns a tensor. The fans come from the shape: ``[out, in, *kernel]`` has
``fan_in = in * prod(kernel)`` and ``fan_out = out * prod(kernel)``.
"""

from __future__ import annotations

import math
from typing import Any

from .. import random
from ..creation import full
from ..creation import zeros as zeros_of
from ..dtypes import default_dtype
from ..errors import ShapeError
from ..shapes import as_shape
from ..tensors import Tensor


def fans(shape: Any) -> tuple[int, int]:
    """``(fan_in, fan_out)`` of a weight of `shape`, which needs two axes or more.

    >>> fans((8, 2))
    (2, 8)
    """
    sizes = as_shape("init", shape)
    if len(sizes) < 2 or min(sizes) < 1:
        raise ShapeError(
            f"init: a weight of shape {sizes} has no fans; it needs the axes [out, in, ...], "
            "none of them empty"
        )
    kernel = math.prod(sizes[2:])
    return sizes[1] * kernel, sizes[0] * kernel


def kaiming_uniform(shape: Any, dtype: Any = None) -> Tensor:
    """Uniform in ±sqrt(6 / fan_in): keeps the variance through layers followed by relu.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """
    bound = math.sqrt(6.0 / fans(shape)[0])
    return random.uniform(shape, -bound, bound, dtype)


def kaiming_normal(shape: Any, dtype: Any = None) -> Tensor:
    """Normal with deviation sqrt(2 / fan_in); otherwise as `kaiming_uniform`."""
    return random.normal(shape, 0.0, math.sqrt(2.0 / fans(shape)[0]), dtype)


def xavier_uniform(shape: Any, dtype: Any = None) -> Tensor:
    """Uniform in ±sqrt(6 / (fan_in + fan_out)): for tanh, sigmoid and linear layers.

    Source: X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.
    """
    bound = math.sqrt(6.0 / sum(fans(shape)))
    return random.uniform(shape, -bound, bound, dtype)


def xavier_normal(shape: Any, dtype: Any = None) -> Tensor:
    """Normal with deviation sqrt(2 / (fan_in + fan_out)); otherwise as `xavier_uniform`."""
    return random.normal(shape, 0.0, math.sqrt(2.0 / sum(fans(shape))), dtype)


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """All zeros."""
    return zeros_of(shape, dtype)


def constant(shape: Any, value: float, dtype: Any = None) -> Tensor:
    """All `value`, in the default float unless `dtype` is given."""
    return full(shape, value, default_dtype() if dtype is None else dtype)
