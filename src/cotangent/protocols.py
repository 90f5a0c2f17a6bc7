"""What NumPy's own functions do with a tensor.

``np.exp(t)`` is ``ct.exp(t)``, tracked and traced like it, and ``array * t`` is a tensor. A
function of NumPy that has no counterpart here computes with the values of a plain tensor, as it
does with a list; for a tracked or traced one it raises, because its result would have no gradient.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from . import functional, linalg, ops, rearrange, sorting, statistics
from .errors import ArgumentTypeError

Function = Callable[..., Any]

# Functions of NumPy that go element by element, by our name where it differs from theirs.
_UFUNCS: dict[str, Function] = {
    name: getattr(ops, name)
    for name in (
        "add", "subtract", "multiply", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt",
        "sin", "cos", "tan", "tanh", "floor", "ceil", "trunc", "sign", "negative", "remainder",
        "floor_divide", "maximum", "minimum", "equal", "not_equal", "less", "less_equal",
        "bitwise_and", "bitwise_or", "bitwise_xor", "logical_and", "logical_or", "logical_not",
        "reciprocal", "logaddexp", "absolute",
    )
} | {
    "divide": functional.true_divide, "power": functional.power, "square": functional.square,
    "matmul": functional.matmul, "greater": functional.greater, "fabs": ops.absolute,
    "greater_equal": functional.greater_equal, "arcsin": ops.asin, "arccos": ops.acos,
    "arctan": ops.atan, "arctan2": ops.atan2, "sinh": statistics.sinh, "cosh": statistics.cosh,
    "isnan": statistics.isnan, "isinf": statistics.isinf, "isfinite": statistics.isfinite,
    "logical_xor": statistics.logical_xor, "invert": ops.bitwise_invert, "positive": ops.lift,
    "left_shift": ops.bitwise_left_shift, "right_shift": ops.bitwise_right_shift,
    "rint": ops.round, "vecdot": linalg.vecdot,
}  # fmt: skip


def _transpose(x: Any, axes: Any = None) -> Any:
    x = ops.lift(x)
    return functional.permute_dims(x, range(len(x.shape))[::-1] if axes is None else axes)


def _where(condition: Any, x: Any, y: Any) -> Any:
    return ops.where(condition, x, y)


def _round(x: Any) -> Any:
    return ops.round(x)


# Functions of whole arrays, with the arguments of ours.
_FUNCTIONS: dict[Function, Function] = {
    np.sum: functional.sum, np.mean: functional.mean, np.max: functional.max,
    np.min: functional.min, np.argmax: functional.argmax, np.argmin: statistics.argmin,
    np.prod: statistics.prod, np.std: statistics.std, np.var: statistics.var,
    np.any: statistics.any, np.all: statistics.all, np.clip: functional.clip,
    np.where: _where, np.reshape: functional.reshape, np.transpose: _transpose,
    np.swapaxes: rearrange.swapaxes, np.moveaxis: rearrange.moveaxis,
    np.expand_dims: functional.expand_dims, np.squeeze: functional.squeeze,
    np.broadcast_to: functional.broadcast_to, np.ravel: rearrange.flatten,
    np.concatenate: rearrange.concat, np.stack: rearrange.stack, np.flip: rearrange.flip,
    np.roll: rearrange.roll, np.tile: rearrange.tile, np.repeat: rearrange.repeat,
    np.tril: rearrange.tril, np.triu: rearrange.triu, np.trace: rearrange.trace,
    np.diagonal: rearrange.diagonal, np.diag: linalg.diag, np.einsum: linalg.einsum,
    np.tensordot: linalg.tensordot, np.outer: statistics.outer, np.sort: sorting.sort,
    np.argsort: sorting.argsort, np.cumsum: sorting.cumulative_sum, np.round: _round,
    np.count_nonzero: functional.count_nonzero, np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim, np.size: lambda x: x.size,
}  # fmt: skip

# Functions that only look at values: no gradient is lost by what they return.
_LOOKING = {
    np.allclose, np.isclose, np.array_equal, np.array_equiv, np.array2string, np.array_repr,
    np.array_str, np.save, np.savez, np.savez_compressed, np.savetxt, np.shares_memory,
    np.may_share_memory, np.histogram, np.iscomplexobj, np.isrealobj,
}  # fmt: skip


def _is_tensor(x: Any) -> bool:
    return isinstance(x, NumPyProtocols)


def _values(x: Any) -> Any:
    """Tensors within `x` as arrays."""
    if _is_tensor(x):
        return x.numpy()
    if isinstance(x, (tuple, list)):
        return type(x)(map(_values, x))
    return {key: _values(v) for key, v in x.items()} if isinstance(x, dict) else x


def _is_live(x: Any) -> bool:
    """Whether a tensor within `x` is tracked, or traced."""
    if isinstance(x, (tuple, list)):
        return any(map(_is_live, x))
    return _is_tensor(x) and (x.tracked or not isinstance(x.data, (np.ndarray, np.generic)))


def _call(name: str, function: Function, inputs: Any, keywords: dict[str, Any]) -> Any:
    try:
        inspect.signature(function).bind(*inputs, **keywords)
    except TypeError as error:
        told = f"takes the arguments of {getattr(function, '__name__', name)}: {error}"
        raise ArgumentTypeError(f"np.{name} of a tensor {told}") from None
    return function(*inputs, **keywords)


class NumPyProtocols:
    """The two methods by which NumPy hands its functions over; the base of `Tensor` has them."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        name = ufunc.__name__
        if keywords.get("out") is not None:
            raise ArgumentTypeError(
                f"np.{name}: an array cannot take the values of a tensor in place; write x = x + t "
                "instead of x += t for a tensor, or x += t.numpy() for values without gradients"
            )
        found = _UFUNCS.get(name) if method == "__call__" else None
        if found is None:
            called = name if method == "__call__" else f"{name}.{method}"
            raise ArgumentTypeError(
                f"np.{called} does not take tensors; use a function of cotangent, or "
                f"np.{called}(t.numpy()) for values without gradients"
            )
        if keywords and found is not linalg.vecdot:
            given = ", ".join(f"{key}=" for key in keywords)
            raise ArgumentTypeError(
                f"np.{name} of a tensor takes no {given}; use a function of cotangent, or "
                f"np.{name}(t.numpy(), {given}...)"
            )
        return found(*inputs, **keywords)

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        module = function.__module__.removeprefix("numpy").strip(".")
        name = f"{module}.{function.__name__}" if module else function.__name__
        found = _FUNCTIONS.get(function)
        if found is not None:
            return _call(name, found, args, keywords)
        live = _is_live(args) or _is_live(list(keywords.values()))
        if live and function not in _LOOKING:
            raise ArgumentTypeError(
                f"np.{name} would lose the gradient of a tensor that is tracked, or traced by "
                f"ct.jit; use a function of cotangent, or np.{name}(t.numpy(), ...) for values "
                "without gradients, outside of a compiled function"
            )
        return function(*_values(args), **_values(keywords))
