"""Initial values of parameters.

Each function returns a tensor, to make a variable of or to assign:
``layer.weight.assign(init.orthogonal(layer.weight.shape))``. All take a `dtype`, float32 or
float64; the default float unless given. The random ones use the generator that
`ct.manual_seed` seeds. The fans come from the shape: ``[out, in, *kernel]`` has
``fan_in = in * prod(kernel)`` and ``fan_out = out * prod(kernel)``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import random
from ..checks import real
from ..creation import full
from ..creation import zeros as zeros_of
from ..dtypes import default_dtype
from ..errors import ArgumentError, ShapeError
from ..shapes import as_shape
from ..tensors import Tensor, asarray


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


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """All ones."""
    return constant(shape, 1.0, dtype)


def uniform(shape: Any, low: float = 0.0, high: float = 1.0, dtype: Any = None) -> Tensor:
    """Uniform in ``[low, high)``."""
    return random.uniform(shape, low, high, dtype)


def normal(shape: Any, mean: float = 0.0, std: float = 1.0, dtype: Any = None) -> Tensor:
    """Normal with deviation `std`."""
    return random.normal(shape, mean, std, dtype)


def trunc_normal(
    shape: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    dtype: Any = None,
) -> Tensor:
    """Normal with deviation `std`, given that it lies in ``[a, b]``; as PyTorch's.

    The bounds are values, not multiples of `std`: with ``std=0.02`` the default bounds cut
    nothing. Raises `ArgumentError` if `std` is not positive, or `a` not below `b`.
    """
    return random.truncated_normal(shape, a, b, mean, std, dtype)


def orthogonal(shape: Any, gain: float = 1.0, dtype: Any = None) -> Tensor:
    """`gain` times a random matrix with orthonormal rows or columns, whichever are fewer.

    Axes after the first count as one. Uniform over all such matrices: the Q of a QR
    decomposition of normal numbers, with the signs of R's diagonal. Eager only.

    Raises:
        ShapeError: if `shape` has fewer than two axes, or an empty one.

    Source: A. Saxe, J. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks", ICLR 2014.

    >>> q = orthogonal((2, 3)).numpy()
    >>> bool(np.allclose(q @ q.T, np.eye(2), atol=1e-6))
    True
    """
    fans(shape)
    if not math.isfinite(real("orthogonal", "gain", gain)):
        raise ArgumentError(f"orthogonal: gain must be finite, got {gain}")
    sizes = as_shape("orthogonal", shape)
    rows, columns = sizes[0], math.prod(sizes[1:])
    drawn = random.normal((max(rows, columns), min(rows, columns)), dtype="float64").numpy()
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diagonal(r) < 0, -gain, gain)
    kind = default_dtype() if dtype is None else dtype
    return asarray((q if rows >= columns else q.T).reshape(sizes), dtype=kind)
