"""More steps for random programs: what is less often used, but belongs to the library too.

`WIDE` are the functions of tensors by name, as in `fuzz_ops.APPLY`; `WIDE_MAKERS` propose steps
with them, as the makers of `fuzz_steps.py` do.
"""

from __future__ import annotations

from typing import Any

from fuzz_ops import APPLY, SMOOTH
from fuzz_steps import SIZES, Pool

import cotangent as ct
from cotangent import nn, ops

# -- elementwise ------------------------------------------------------------------------------

CURVES = {
    "sinh": ct.sinh, "cosh": ct.cosh, "asinh": ct.asinh, "exp2": ct.exp2,
    "acosh": lambda x: ct.acosh(1.5 + ct.abs(x)), "atanh": lambda x: ct.atanh(ct.tanh(x) * 0.5),
    "elu": nn.elu, "selu": nn.selu, "mish": nn.mish, "log_sigmoid": nn.log_sigmoid,
    "hardtanh": nn.hardtanh, "relu6": nn.relu6, "hardsigmoid": nn.hardsigmoid,
    "hardswish": nn.hardswish, "softsign": nn.softsign, "leaky_relu": nn.leaky_relu,
    "quick gelu": lambda x: nn.gelu(x, approximate="tanh"), "nan_to_num": ct.nan_to_num,
    "absolute": ct.absolute, "log_softmax": nn.log_softmax, "softmax": nn.softmax,
    "unstacked": lambda x: ct.unstack(x)[-1] * ct.unstack(x)[0] if x.ndim and x.size else x,
    "own derivative": lambda x: TRIPLED(x), "constants": lambda x: x + _grid(x),
    "forgotten": lambda x: ct.full(x.shape, 0.5, dtype=x.dtype),
    "forgotten but for a part": lambda x: ct.sum(x[:0]) + ct.zeros_like(x),
    "outside of the tape": lambda x: x.detach() * x,
}  # fmt: skip
TWO = {
    "hypot": ct.hypot, "xlogy": lambda x, y: ct.xlogy(x, SMOOTH["positive"](y)),
    "lerp": lambda x, y: ct.lerp(x, y, 0.25), "prelu": nn.prelu,
    "isclose": lambda x, y: ct.isclose(x, y, atol=0.3),
    "outer": lambda x, y: ct.outer(ct.flatten(x)[:40], ct.flatten(y)[:40]),
    "joined": lambda x, y: sum(ct.broadcast_arrays(x, y)),
    "mesh": lambda x, y: ct.add(*ct.meshgrid(ct.flatten(x)[:30], ct.flatten(y)[:30])),
    "pulled": lambda x, y: ct.vjp(lambda x: ct.tanh(x * y), x)[1](ct.tanh(x * y))[0],
}  # fmt: skip
QUESTIONS = {
    "isnan": ct.isnan, "isinf": ct.isinf, "isfinite": ct.isfinite, "any": ct.any, "all": ct.all,
    "isin": lambda x: ct.isin(ct.astype(ct.round(x), "int32"), [0, 1, -2]),
}  # fmt: skip
WHOLE = {
    "bitwise_invert": ct.bitwise_invert, "abs": ct.abs, "sign": ct.sign, "square": ct.square,
    "sum": ct.sum, "prod": ct.prod, "count": ct.count_nonzero, "clip": lambda x: ct.clip(x, -2, 3),
    "halved": lambda x: x / 2, "sort": ct.sort, "running": lambda x: ct.cumulative_sum(x, axis=0),
    "one of": lambda x: ct.isin(x, [1, 3]), "times": lambda x: x * 1.5,
}  # fmt: skip
SHIFTS = {"left": ct.bitwise_left_shift, "right": ct.bitwise_right_shift}


def _tripled(x: Any) -> Any:
    return x * 3


TRIPLED = ct.custom_vjp(_tripled)
TRIPLED.defvjp(lambda x: (x * 3, None), lambda saved, g: (g * 3,))


def _grid(x: Any) -> Any:
    """As many numbers as `x` has along its last axis."""
    n = x.shape[-1] if x.shape else 1
    found = ct.linspace(0, 1, n, dtype=x.dtype) + ct.astype(ct.arange(n), x.dtype)
    return found if x.shape else ct.sum(found)


def curve(pool: Pool) -> Any:
    return "curve", (pool.pick(),), {"name": pool.choice(CURVES)}


def two(pool: Pool) -> Any:
    x = pool.pick()
    return "two", (x, pool.partner(x)), {"name": pool.choice(TWO)}


def question(pool: Pool) -> Any:
    name = pool.choice((*QUESTIONS, "not"))
    return "question", (pool.pick("b" if name == "not" else "f"),), {"name": name}


def whole(pool: Pool) -> Any:
    x = pool.pick("i")
    if pool.chance(0.3):
        bits = pool.index(pool.values[x].shape, pool.choice((8, 32, 70)), 0)
        return "shift", (x, bits), {"name": pool.choice(SHIFTS)}
    return "whole", (x,), {"name": pool.choice(WHOLE)}


# -- moves and indices --------------------------------------------------------------------------

ARRANGE = {
    "tile": lambda x: ct.tile(x, (2, 1)), "moveaxis": lambda x: ct.moveaxis(x, 0, -1),
    "flatten": ct.flatten, "T": ct.matrix_transpose, "trace": ct.trace,
    "halves": lambda x: ct.chunk(x, 2)[0] - ct.chunk(x, 2)[0][::-1],
    "split": lambda x: ct.concat(ct.split(x, [1], axis=-1)[::-1], axis=-1),
    "new axes": lambda x: x[None, ..., None] * 2, "squeezed": lambda x: ct.squeeze(x[:1], axis=0),
    "expanded": lambda x: ct.expand_dims(x, axis=1), "diag": lambda x: ct.diag(ct.flatten(x)[:20]),
    "rolled": lambda x: ct.roll(x, 3, axis=-1), "matrix diag": lambda x: ct.diag(x),
    "every other": lambda x: x[..., ::2], "last": lambda x: x[..., -1],
    "running product": lambda x: ct.cumulative_prod(ct.tanh(x), axis=0),
    "with the first": lambda x: ct.cumulative_sum(x, axis=-1, include_initial=True),
    "smallest": lambda x: ct.argmin(x, axis=0, keepdims=True), "largest": lambda x: ct.argmax(x),
    "quantile": lambda x: ct.quantile(x, [0.25, 0.9], axis=-1), "count": ct.count_nonzero,
    "deviation": lambda x: ct.std(x, axis=0, correction=1), "slopes": lambda x: _slopes(x),
    "curvature": lambda x: ct.hessian(lambda x: ct.sum(ct.tanh(x) ** 3))(ct.flatten(x)[:6]),
    "shuffled": lambda x: x[ct.random.permutation(x.shape[0])],
}  # fmt: skip
INDEXED = {
    "rows": lambda x, i: x[i], "columns": lambda x, i: x.mT[..., i],
    "behind": lambda x, i: x[..., 0, :][..., :0] if not i.shape else x[i, ..., 0],
    "pairs": lambda x, i: x[i, i % min(x.shape[:2])],
    "with a slice": lambda x, i: x[i, 1:], "after a slice": lambda x, i: x.mT[..., i[:, None]],
    "multiplied": lambda x, i: x.at[i].multiply(0.5), "lifted": lambda x, i: x.at[i].max(0.25),
    "pushed": lambda x, i: x.at[i].min(0.25), "taken twice": lambda x, i: ct.take(ct.take(x, i), i),
    "unused": lambda x, i: (x[i], ct.take(x, i, axis=0), x * 2)[-1],
    "unused part": lambda x, i: ct.sum(x[i][:0]) + x,
    "scattered": lambda x, i: ops.scatter_add(ct.take(x, i), i, rows=x.shape[0]),
    "counted": lambda x, i: ct.sum(ct.one_hot(i, x.shape[0]), axis=0),
}  # fmt: skip


def _slopes(x: Any) -> Any:
    return ct.jacobian(lambda x: ct.tanh(x) * ct.sum(x))(ct.flatten(x)[:7])


def arrange(pool: Pool) -> Any:
    name = pool.choice(ARRANGE)
    smooth = name in ("quantile", "deviation", "slopes", "curvature", "running product")
    return "arrange", (pool.pick("f" if smooth else pool.choice("fffib"), rank=1),), {"name": name}


def indexed(pool: Pool) -> Any:
    x = pool.pick(pool.choice("fffi"), rank=1)
    rows = pool.values[x].shape[0]
    if not rows:
        return None
    name = pool.choice(INDEXED)
    if name in ("multiplied", "lifted", "pushed") and pool.chance(0.8):  # they must not repeat
        index = pool.index((pool.choice((1, min(rows, 5))),), rows, 0)
        pool.leaves[index][...] = pool.rng.permutation(rows)[: pool.leaves[index].size]
        pool.values[index] = ct.asarray(pool.leaves[index])
    else:
        small = name == "columns" or name == "after a slice"
        index = pool.index((pool.choice((1, 3, 9)),), rows, 0 if small else -rows)
    return "indexed", (x, index), {"name": name}


def masked(pool: Pool) -> Any:
    x = pool.pick()
    mask = pool.new(pool.values[x].shape, "bool")
    return "masked_fill", (x, mask), {"value": pool.choice((0.0, 2.0))}


# -- matrices, losses, random draws -----------------------------------------------------------

PRODUCTS = {
    "tensordot": lambda x, y: ct.tensordot(x, y, 1),
    "vecdot": lambda x, y: ct.vecdot(x, x) + y[0, 0],
    "cross": lambda x, y: ct.cross(x[..., :3], x[..., -3:]) * y[0, 0],
    "grouped": lambda x, y: ct.einsum("...i,ij->...j", x, y),
    "traced": lambda x, y: ct.einsum("ii->i", y @ y.mT) + ct.sum(x),
    "summed": lambda x, y: ct.einsum("...i,ij->j", x, y),
    "factor": lambda x, y: ct.cholesky(_definite(y)) + ct.sum(x),
    "upper": lambda x, y: ct.cholesky(_definite(y.mT), upper=True),
    "unused factor": lambda x, y: (ct.cholesky(_maybe_definite(y)), x)[1],
    "chained": lambda x, y: (x @ y) @ y.mT, "squared": lambda x, y: (x @ y).mT @ (x @ y),
    "activated": lambda x, y: nn.gelu(x @ y + y[0]),
    "residual": lambda x, y: x + ct.tanh(x @ y) @ y.mT,
    "attention": lambda x, y: ct.softmax((x @ y) @ (x @ y).mT * 0.3) @ x,
}  # fmt: skip
LOSSES = {
    "mse": nn.mse_loss, "l1": nn.l1_loss, "huber": nn.huber_loss, "smooth": nn.smooth_l1_loss,
    "quantile": nn.quantile_loss, "logits": lambda x, y, reduction, sample_weight: (
        nn.binary_cross_entropy_with_logits(
            x, ct.sigmoid(y), reduction, sample_weight=sample_weight)),
    "binary": lambda x, y, reduction, sample_weight: nn.binary_cross_entropy(
        ct.sigmoid(x), ct.sigmoid(y), reduction, sample_weight=sample_weight),
    "divergence": lambda x, y, reduction, sample_weight: nn.kl_div_loss(
        ct.log_softmax(x), ct.softmax(y), reduction),
    "poisson": lambda x, y, reduction, sample_weight: nn.poisson_nll_loss(
        ct.tanh(x), ct.abs(y), reduction, sample_weight=sample_weight),
    "gaussian": lambda x, y, reduction, sample_weight: nn.gaussian_nll_loss(
        x, y, ct.abs(y) + 0.5, reduction, sample_weight=sample_weight),
    "soft": lambda x, y, reduction, sample_weight: nn.soft_cross_entropy_loss(
        x, ct.softmax(y), reduction),
}  # fmt: skip
DRAWS = {
    "normal": lambda x: x + ct.random.normal(x.shape, dtype=x.dtype),
    "truncated": lambda x: x * ct.random.truncated_normal(x.shape, dtype=x.dtype),
    "coins": lambda x: ct.where(ct.random.bernoulli(x.shape, 0.3), x, 0.5 * x),
    "dice": lambda x: x + ct.astype(ct.random.randint(-2, 3, x.shape), x.dtype),
    "classes": lambda x: ct.random.categorical(ct.nan_to_num(x)),
    "twice": lambda x: ct.random.uniform(x.shape, dtype=x.dtype) - ct.random.uniform(x.shape),
}  # fmt: skip


def _maybe_definite(x: Any) -> Any:
    """Definite or not by its shape, so that no rounding decides it."""
    return _definite(x) * (-1.0 if x.shape[0] == 3 else 1.0)


def _definite(x: Any) -> Any:
    return x @ x.mT + 2 * ct.eye(x.shape[0], dtype=x.dtype)


def matrices(pool: Pool) -> Any:
    x = pool.pick(rank=2)
    shape, dtype = pool.values[x].shape, str(pool.values[x].dtype)
    y = pool.new((shape[-1], pool.choice(SIZES)), dtype)
    return "matrices", (x, y), {"name": pool.choice(PRODUCTS)}


def loss(pool: Pool) -> Any:
    x = pool.pick(rank=1)
    shape, dtype = pool.values[x].shape, str(pool.values[x].dtype)
    inputs = (x, pool.new(shape, dtype))
    if pool.chance(0.3):
        inputs += (pool.new(shape[: pool.choice((1, len(shape)))], dtype),)
    reduction = pool.choice(("mean", "sum", "none"))
    return "loss", inputs, {"name": pool.choice(LOSSES), "reduction": reduction}


def draw(pool: Pool) -> Any:
    return "draw", (pool.pick(rank=1),), {"name": pool.choice(DRAWS)}


def _loss(x: Any, y: Any, weight: Any = None, *, name: str, reduction: str) -> Any:
    weight = None if weight is None else ct.abs(weight)
    return LOSSES[name](x, y, reduction=reduction, sample_weight=weight)


WIDE = {
    "curve": lambda x, name: CURVES[name](x), "two": lambda x, y, name: TWO[name](x, y),
    "question": lambda x, name: ct.logical_not(x) if name == "not" else QUESTIONS[name](x),
    "whole": lambda x, name: WHOLE[name](x), "masked_fill": ct.masked_fill,
    "shift": lambda x, bits, name: SHIFTS[name](x, ct.astype(bits, x.dtype)),
    "arrange": lambda x, name: ARRANGE[name](x),
    "indexed": lambda x, i, name: INDEXED[name](x, i),
    "matrices": lambda x, y, name: PRODUCTS[name](x, y), "loss": _loss,
    "draw": lambda x, name: DRAWS[name](x),
}  # fmt: skip
APPLY |= WIDE
WIDE_MAKERS = {
    curve: 2, two: 1.5, question: 0.5, whole: 1, arrange: 2.5, indexed: 2, masked: 0.4,
    matrices: 1.5, loss: 1, draw: 0.4,
}  # fmt: skip
