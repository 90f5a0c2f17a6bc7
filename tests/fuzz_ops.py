"""What the ops of a random program do: functions of tensors, by name, in `APPLY`.

Besides single ops there are compositions, and transformations of short chains of ops (``vmap``,
``checkpoint``, ``jvp``, ``grad``, ``jit`` within a function). A chain is a tuple of
``(op, attributes)``, each with one input.
"""

from __future__ import annotations

from typing import Any

import cotangent as ct
from cotangent import nn, ops
from cotangent.compiler.graph import Node

SMOOTH = {
    "exp": lambda x: ct.exp(x), "log": lambda x: ct.log(x), "sqrt": lambda x: ct.sqrt(x),
    "tanh": ct.tanh, "sigmoid": ct.sigmoid, "reciprocal": ct.reciprocal, "negative": ct.negative,
    "relu": ct.relu, "abs": ct.abs, "sign": ct.sign, "square": ct.square, "sin": ct.sin,
    "cos": ct.cos, "atan": ct.atan, "expm1": ct.expm1, "log1p": ct.log1p, "log2": ct.log2,
    "erf": ct.erf, "floor": ct.floor, "round": ct.round, "softplus": ct.softplus,
    "gelu": nn.gelu, "silu": nn.silu, "trunc": ct.trunc, "ceil": ct.ceil,
    "asin": ct.asin, "acos": ct.acos, "tan": ct.tan, "log10": ct.log10,
    "clip": lambda x: ct.clip(x, -0.7, 0.9), "affine": lambda x: 1.5 * x - 0.25,
    "positive": lambda x: ct.abs(x) + 0.5, "small": lambda x: ct.tanh(x) * 0.875,
    "cube": lambda x: x**3, "root": lambda x: x**0.5, "shifted": lambda x: (x + 1) - x / 3,
    "masked": lambda x: ct.where(x > 0.1, x, ct.zeros_like(x)),
    "guarded log": lambda x: ct.where(x > 0.1, ct.log(ct.abs(x) + 0.1), 0.5 * x),
}  # fmt: skip
# What makes the inputs of an op fit its domain.
BEFORE = {
    "exp": "small", "expm1": "small", "log": "positive", "sqrt": "positive", "log2": "positive",
    "log10": "positive", "reciprocal": "positive", "log1p": "positive", "asin": "small",
    "acos": "small", "tan": "small", "root": "positive", "cube": "small", "square": "small",
}  # fmt: skip
PAIRS = {
    "add": ct.add, "subtract": ct.subtract, "multiply": ct.multiply, "divide": ct.divide,
    "maximum": ct.maximum, "minimum": ct.minimum, "atan2": ct.atan2, "logaddexp": ct.logaddexp,
    "remainder": ct.remainder, "mul_no_nan": ct.mul_no_nan, "pow": ct.pow,
    "floor_divide": ct.floor_divide,
}  # fmt: skip


def _normalized(x: Any, axis: int) -> Any:
    centered = x - ct.mean(x, axis=axis, keepdims=True)
    return centered / ct.sqrt(ct.mean(centered * centered, axis=axis, keepdims=True) + 0.01)


def _unary(x: Any, op: str, before: str) -> Any:
    return SMOOTH[op](SMOOTH[before](x) if before else x)


def _binary(x: Any, y: Any, op: str, domain: str) -> Any:
    positive = SMOOTH["positive"]
    if domain == "both":
        return PAIRS[op](positive(x), ct.tanh(y))
    return PAIRS[op](x, positive(y) if domain else y)


def _at(x: Any, key: Any, values: Any, what: str) -> Any:
    return getattr(x.at[key], what)(values)


def _chain(x: Any, chain: Any) -> Any:
    for op, attrs in chain:
        x = APPLY[op](x, **attrs)
    return x


def _layer(x: Any, y: Any, bias: Any, *rest: Any, op: str, before: str, how: str) -> Any:
    """A product and what is made of its elements, of which more than one thing may be kept."""
    sums = x @ y + bias
    out = _unary(sums, op, before)
    if how == "residual":
        out = out + rest[0]
    elif how == "mask":
        out = ct.where(rest[0] > 0, out, 0.5 * sums)
    elif how == "twice":
        out = out * sums - sums
    elif how == "summed":
        out = out - ct.mean(sums, axis=-1, keepdims=True)
    elif how == "cast":
        out = out.astype(ct.float32)
    return out


def _jit(x: Any, chain: Any) -> Any:
    """A jitted function within the jitted one; eagerly nothing is compiled."""
    return ct.jit(_chain)(x, chain) if isinstance(x.data, Node) else _chain(x, chain)


def _slope(x: Any, chain: Any) -> Any:
    return ct.grad(lambda x: ct.sum(ct.square(_chain(x, chain)) * 0.1))(x)


def _solve(a: Any, b: Any, upper: bool, transpose: bool) -> Any:
    """With the triangle made well conditioned."""
    n = a.shape[-1]
    a = ct.tanh(ct.nan_to_num(a)) / max(n, 1) + 2 * ct.eye(n, dtype=a.dtype)
    return ct.solve_triangular(a, b, upper=upper, transpose=transpose)


APPLY = {
    "unary": _unary,
    "binary": _binary,
    "function": lambda *xs, name: getattr(ct, name)(*xs),
    "astype": ct.astype,
    "reshape": ct.reshape, "permute_dims": ct.permute_dims, "broadcast_to": ct.broadcast_to,
    "flip": ct.flip, "roll": ct.roll, "getitem": lambda x, key: x[key],
    "concat": lambda *xs, axis: ct.concat(xs, axis=axis),
    "stack": lambda *xs, axis: ct.stack(xs, axis=axis),
    "pad": ct.pad, "tril": ct.tril, "triu": ct.triu, "take": ct.take,
    "at slice": lambda x, values, key, what: _at(x, key, values, what),
    "at rows": lambda x, values, index, what: _at(x, index, values, what),
    "sum": ct.sum, "mean": ct.mean, "max": ct.max, "min": ct.min,
    "softmax": ct.softmax, "log_softmax": ct.log_softmax, "logsumexp": ct.logsumexp,
    "cumulative_sum": ct.cumulative_sum, "sort": ct.sort, "argmax": ct.argmax,
    "argsort": ct.argsort, "normalized": _normalized,
    "std": lambda x, axis: ct.sqrt(ct.variance(x, axis=axis) + 0.01),
    "unit": lambda x, axis: x / (ct.norm(x, axis=axis, keepdims=True) + 0.5),
    "layer": _layer, "matmul": ct.matmul, "matmul transposed": lambda x, y: ct.matmul(x, y.mT),
    "vmap": lambda x, chain, axis: ct.vmap(lambda row: _chain(row, chain), in_axes=axis)(x),
    "vmapped product": lambda x, y: ct.vmap(ct.matmul, in_axes=(0, None))(x, y),
    "checkpoint": lambda x, chain: ct.checkpoint(lambda x: _chain(x, chain))(x),
    "jvp": lambda x, t, chain: ct.jvp(lambda x: _chain(x, chain), (x,), (t,))[1],
    "slope": _slope, "jit": _jit,
    "noise": lambda x: x + ct.random.uniform(x.shape, dtype=x.dtype),
    "dropout": lambda x, p: nn.dropout(x, p),
    "prod": ct.prod, "cumulative_prod": lambda x, axis: ct.cumulative_prod(ct.tanh(x), axis=axis),
    "topk": lambda x, k, part, axis, largest: ct.topk(x, k, axis=axis, largest=largest)[part],
    "take_along_axis": ct.take_along_axis, "one_hot": ct.one_hot, "repeat": ct.repeat,
    "tile": ct.tile, "diff": ct.diff, "diagonal": ct.diagonal, "swapaxes": ct.swapaxes,
    "median": ct.median, "searchsorted": lambda e, x: ct.searchsorted(ct.sort(e), x),
    "einsum": lambda x, y: ct.einsum("...ij,...kj->...ik", x, y),
    "layer_norm": lambda x: nn.layer_norm(x),
    "rms_norm": lambda x: nn.rms_norm(x),
    "cross entropy": lambda x, index, reduction: nn.cross_entropy_loss(
        x, index, reduction=reduction
    ),
    "solve": _solve,
    "squash": lambda x: ct.tanh(x * 0.25),
    "scatter": lambda x, index, rows: ops.scatter_add(x, index, rows=rows),
}  # fmt: skip
