"""Elementwise ops: arithmetic, exponentials, comparisons, selection."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import bool_
from ..errors import DTypeError
from ..shapes import broadcast_shapes
from .primitive import (
    Aval,
    Primitive,
    Sample,
    elementwise,
    minus_one,
    one,
    pairs,
    real,
    register,
    require_float,
    require_number,
    unbroadcast,
)

INF, NAN = np.inf, np.nan


def _special(*rows: tuple[Any, ...]) -> list[Sample]:
    """Special values: each row is the inputs, then the expected result."""
    return [Sample(tuple(np.asarray(x) for x in row[:-1]), {}, np.asarray(row[-1])) for row in rows]


add: Primitive = elementwise(
    "add", "x + y, broadcast",
    eval=lambda xp, x, y: xp.add(x, y),
    lower=lambda e, x, y: e.add(x, y),
    takes=require_number,
    partials=(one, one),
    samples=pairs(),
    special=_special((INF, -INF, NAN)),
)  # fmt: skip

subtract: Primitive = elementwise(
    "subtract", "x - y, broadcast",
    eval=lambda xp, x, y: xp.subtract(x, y),
    lower=lambda e, x, y: e.sub(x, y),
    takes=require_number,
    partials=(one, minus_one),
    samples=pairs(),
)  # fmt: skip

multiply: Primitive = elementwise(
    "multiply", "x * y, broadcast",
    eval=lambda xp, x, y: xp.multiply(x, y),
    lower=lambda e, x, y: e.mul(x, y),
    takes=require_number,
    partials=(lambda out, x, y: y, lambda out, x, y: x),
    saves=(0, 1),
    samples=pairs(),
    special=_special((0.0, INF, NAN)),
)  # fmt: skip


def _eval_mul_no_nan(xp: Any, g: Any, d: Any) -> Any:
    zero = xp.zeros((), dtype=g.dtype)
    return xp.where((g == 0) | (d == 0), zero, xp.multiply(g, d))


def _lower_mul_no_nan(e: Any, g: Any, d: Any) -> Any:
    zero = e.zero(g)
    return e.select(e.or_(e.eq(g, zero), e.eq(d, zero)), zero, e.mul(g, d))


# A zero on either side wins, not only one in g: the derivative with respect to d meets the
# masked zero in either place, from the second order on.
mul_no_nan: Primitive = elementwise(
    "mul_no_nan", "g * d, but 0 wherever either is 0, even against infinity or NaN; bilinear",
    eval=_eval_mul_no_nan,
    lower=_lower_mul_no_nan,
    takes=require_number,
    slopes=(
        lambda t, out, g, d: mul_no_nan(t, d),
        lambda t, out, g, d: mul_no_nan(t, g),
    ),
    saves=(0, 1),
    samples=pairs(low=0.5, high=2.0),
    special=_special(
        (0.0, INF, 0.0), (0.0, NAN, 0.0), (INF, 0.0, 0.0), (2.0, INF, INF), (2.0, NAN, NAN)
    ),
)  # fmt: skip

divide: Primitive = elementwise(
    "divide", "x / y, broadcast; by zero: infinity or NaN, as IEEE 754 says",
    eval=lambda xp, x, y: xp.divide(x, y),
    lower=lambda e, x, y: e.div(x, y),
    takes=require_float,
    partials=(lambda out, x, y: reciprocal(y), lambda out, x, y: negative(out) / y),
    bounded=False,
    saves=(1, "out"),
    samples=pairs(low=0.5, high=2.0),
    special=_special((1.0, 0.0, INF), (-1.0, 0.0, -INF), (0.0, 0.0, NAN)),
)  # fmt: skip

negative: Primitive = elementwise(
    "negative", "-x",
    eval=lambda xp, x: xp.negative(x),
    lower=lambda e, x: e.neg(x),
    takes=require_number,
    partials=(minus_one,),
    samples=real((2, 3)),
)  # fmt: skip

# The square in its partial is a mul_no_nan too: where a mask hides x = 0, the higher
# derivatives meet 0 * infinity inside it.
reciprocal: Primitive = elementwise(
    "reciprocal", "1 / x; infinite at 0",
    eval=lambda xp, x: xp.reciprocal(x),
    lower=lambda e, x: e.div(e.one(x), x),
    takes=require_float,
    partials=(lambda out, x: negative(mul_no_nan(out, out)),),
    bounded=False,
    saves=("out",),
    samples=real((2, 3), low=0.5),
    special=_special((0.0, INF), (INF, 0.0)),
)  # fmt: skip

exp: Primitive = elementwise(
    "exp", "e**x",
    eval=lambda xp, x: xp.exp(x),
    lower=lambda e, x: e.exp(x),
    takes=require_float,
    partials=(lambda out, x: out,),
    saves=("out",),
    samples=real((2, 3)),
    special=_special((-INF, 0.0), (INF, INF), (NAN, NAN), (0.0, 1.0), (-1000.0, 0.0)),
)  # fmt: skip

log: Primitive = elementwise(
    "log", "natural logarithm; -infinity at 0, NaN below",
    eval=lambda xp, x: xp.log(x),
    lower=lambda e, x: e.log(x),
    takes=require_float,
    partials=(lambda out, x: reciprocal(x),),
    bounded=False,
    saves=(0,),
    samples=real((2, 3), low=0.5),
    special=_special((0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (NAN, NAN)),
)  # fmt: skip

sqrt: Primitive = elementwise(
    "sqrt", "square root; NaN below 0; slope infinite at 0",
    eval=lambda xp, x: xp.sqrt(x),
    lower=lambda e, x: e.sqrt(x),
    takes=require_float,
    partials=(lambda out, x: reciprocal(out + out),),
    bounded=False,
    saves=("out",),
    samples=real((2, 3), low=0.5),
    special=_special((0.0, 0.0), (-1.0, NAN), (INF, INF)),
)  # fmt: skip

tanh: Primitive = elementwise(
    "tanh", "hyperbolic tangent",
    eval=lambda xp, x: xp.tanh(x),
    lower=lambda e, x: e.tanh(x),
    takes=require_float,
    partials=(lambda out, x: 1 - out * out,),
    saves=("out",),
    samples=real((2, 3)),
    special=_special((INF, 1.0), (-INF, -1.0), (0.0, 0.0), (NAN, NAN)),
)  # fmt: skip


def _eval_sigmoid(xp: Any, x: Any) -> Any:
    small = xp.exp(-xp.abs(x))
    return xp.where(x < 0, small, xp.ones((), dtype=x.dtype)) / (1 + small)


# A primitive for accuracy: 1 / (1 + exp(-x)) loses the slope where exp overflows.
sigmoid: Primitive = elementwise(
    "sigmoid", "1 / (1 + exp(-x)), accurate for every x",
    eval=_eval_sigmoid,
    lower=lambda e, x: e.call("sigmoid", x),
    takes=require_float,
    partials=(lambda out, x: out * (1 - out),),
    saves=("out",),
    samples=real((2, 3)),
    special=_special((INF, 1.0), (-INF, 0.0), (0.0, 0.5), (NAN, NAN), (-1e4, 0.0)),
)  # fmt: skip

# A primitive for stability: with the naive log(exp(x) + exp(y)), losses overflow, and a
# composition from max and abs has no second derivative at ties.
logaddexp: Primitive = elementwise(
    "logaddexp", "log(exp(x) + exp(y)) without overflow, broadcast; logaddexp(x, 0) is softplus",
    eval=lambda xp, x, y: xp.logaddexp(x, y),
    lower=lambda e, x, y: e.logaddexp(x, y),
    takes=require_float,
    partials=(lambda out, x, y: sigmoid(x - y), lambda out, x, y: sigmoid(y - x)),
    saves=(0, 1),
    samples=pairs(),
    special=_special((1000.0, 0.0, 1000.0), (-1000.0, 0.0, 0.0), (INF, 0.0, INF), (NAN, 0.0, NAN)),
)  # fmt: skip


def _mask(t: Any, out: Any, x: Any) -> Any:
    return where(greater_zero(out), t, 0.0)


# A primitive for speed, and because PyTorch's convention at 0 differs from that of maximum.
relu: Primitive = elementwise(
    "relu", "max(x, 0); the slope at 0 is 0; NaN stays NaN",
    eval=lambda xp, x: xp.maximum(x, xp.zeros((), dtype=x.dtype)),
    lower=lambda e, x: e.select(e.le(x, e.zero(x)), e.zero(x), x),
    takes=require_number,
    slopes=(_mask,),
    saves=("out",),
    samples=lambda rng: [Sample((np.array([[-1.5, 0.5, 2.0], [0.25, -0.75, 1.0]]),))],
    special=_special((NAN, NAN), (-INF, 0.0), (INF, INF), (0.0, 0.0)),
)  # fmt: skip

absolute: Primitive = elementwise(
    "abs", "absolute value; the slope at 0 is 0",
    eval=lambda xp, x: xp.abs(x),
    lower=lambda e, x: e.abs(x),
    takes=require_number,
    slopes=(lambda t, out, x: t * sign(x),),
    saves=(0,),
    samples=lambda rng: [Sample((np.array([[-1.5, 0.5, 2.0], [0.25, -0.75, 1.0]]),))],
    special=_special((-INF, INF), (NAN, NAN)),
)  # fmt: skip

sign: Primitive = elementwise(
    "sign", "-1, 0 or 1; slope 0 everywhere; NaN stays NaN",
    eval=lambda xp, x: xp.sign(x),
    lower=lambda e, x: e.sign(x),
    takes=require_number,
    samples=real((2, 3)),
    special=_special((0.0, 0.0), (NAN, NAN), (-INF, -1.0)),
)  # fmt: skip


def _distinct(rng: np.random.Generator) -> list[Sample]:
    """Two inputs that are nowhere within 0.1 of each other."""
    x = rng.uniform(-2, 2, (2, 3))
    return [Sample((x, x + rng.choice([-0.5, 0.5], (2, 3)))), Sample((x, np.float64(5.0)))]


def _choose(winner: Any, loser: Any) -> Any:
    """Slope of maximum or minimum with respect to one input: ties share equally."""

    def slope(t: Any, out: Any, x: Any, y: Any) -> Any:
        mine, other = (x, y) if loser is None else (y, x)
        tie = where(equal(mine, other), 0.5 * t, 0.0)
        return where(winner(mine, other), t, tie)

    return slope


maximum: Primitive = elementwise(
    "maximum", "the larger of x and y, broadcast; equal values share the slope; NaN wins",
    eval=lambda xp, x, y: xp.maximum(x, y),
    lower=lambda e, x, y: e.maximum(x, y),
    takes=require_number,
    slopes=(
        _choose(lambda a, b: less(b, a), None),
        _choose(lambda a, b: less(b, a), "second"),
    ),
    saves=(0, 1),
    samples=_distinct,
    special=_special((NAN, 1.0, NAN), (1.0, NAN, NAN), (INF, 1.0, INF)),
)  # fmt: skip

minimum: Primitive = elementwise(
    "minimum", "the smaller of x and y, broadcast; equal values share the slope; NaN wins",
    eval=lambda xp, x, y: xp.minimum(x, y),
    lower=lambda e, x, y: e.minimum(x, y),
    takes=require_number,
    slopes=(
        _choose(lambda a, b: less(a, b), None),
        _choose(lambda a, b: less(a, b), "second"),
    ),
    saves=(0, 1),
    samples=_distinct,
    special=_special((NAN, 1.0, NAN), (1.0, NAN, NAN), (INF, 1.0, 1.0)),
)  # fmt: skip


def _compare(name: str, doc: str, function: str, lower: Any, at_nan: bool) -> Primitive:
    return elementwise(
        name, doc,
        eval=lambda xp, x, y: getattr(xp, function)(x, y),
        lower=lower,
        gives=bool_,
        samples=_distinct,
        special=_special((1.0, 1.0, name in ("equal", "less_equal")), (NAN, 1.0, at_nan)),
    )  # fmt: skip


equal: Primitive = _compare(
    "equal", "x == y, broadcast", "equal", lambda e, x, y: e.eq(x, y), False
)
not_equal: Primitive = _compare(
    "not_equal", "x != y, broadcast", "not_equal", lambda e, x, y: e.ne(x, y), True
)
less: Primitive = _compare("less", "x < y, broadcast", "less", lambda e, x, y: e.lt(x, y), False)
less_equal: Primitive = _compare(
    "less_equal", "x <= y, broadcast", "less_equal", lambda e, x, y: e.le(x, y), False
)


def greater_zero(x: Any) -> Any:
    """x > 0, as masks of derivative rules need it."""
    return less(0, x)


def _require_bool(name: str, *xs: Any) -> None:
    for x in xs:
        if x.dtype != bool_:
            raise DTypeError(
                f"{name} takes bool tensors, not {x.dtype} of shape {x.shape}; compare first, "
                "as in x != 0"
            )


def _bools(count: int) -> Any:
    def samples(rng: np.random.Generator) -> list[Sample]:
        return [Sample(tuple(rng.random((2, 3)) > 0.5 for _ in range(count)))]

    return samples


logical_and: Primitive = elementwise(
    "logical_and", "x and y, of bools, broadcast",
    eval=lambda xp, x, y: xp.logical_and(x, y),
    lower=lambda e, x, y: e.and_(x, y),
    takes=_require_bool, gives=bool_, samples=_bools(2),
)  # fmt: skip

logical_or: Primitive = elementwise(
    "logical_or", "x or y, of bools, broadcast",
    eval=lambda xp, x, y: xp.logical_or(x, y),
    lower=lambda e, x, y: e.or_(x, y),
    takes=_require_bool, gives=bool_, samples=_bools(2),
)  # fmt: skip

logical_not: Primitive = elementwise(
    "logical_not", "not x, of bools",
    eval=lambda xp, x: xp.logical_not(x),
    lower=lambda e, x: e.not_(x),
    takes=_require_bool, gives=bool_, samples=_bools(1),
)  # fmt: skip


def _infer_where(c: Any, x: Any, y: Any) -> Aval:
    if c.dtype != bool_:
        raise DTypeError(
            f"where: the condition must be bool, not {c.dtype} (shape {c.shape}); "
            "write a comparison such as x > 0"
        )
    return broadcast_shapes("where", c.shape, x.shape, y.shape), x.dtype


def _where_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.random((2, 3)) > 0.5, rng.random((2, 3)), rng.random((2, 3)))),
        Sample((rng.random((2, 1)) > 0.5, rng.random(3), rng.random(()))),
    ]


def _first(t: Any, out: Any, c: Any, x: Any, y: Any) -> Any:
    return where(c, t, 0.0)


def _second(t: Any, out: Any, c: Any, x: Any, y: Any) -> Any:
    return where(c, 0.0, t)


where: Primitive = register(
    Primitive(
        "where", "x where the condition holds, else y; all three broadcast",
        kind="elementwise",
        infer=_infer_where,
        eval=lambda xp, c, x, y: xp.where(c, x, y),
        lower=lambda e, c, x, y: e.select(c, x, y),
        vjp=(
            None,
            lambda g, out, c, x, y: unbroadcast(where(c, g, 0.0), x.shape),
            lambda g, out, c, x, y: unbroadcast(where(c, 0.0, g), y.shape),
        ),
        jvp=(None, _first, _second),
        saves=(0,),
        uniform_from=1,
        samples=_where_samples,
        special=[
            Sample((np.array(True), np.array(1.0), np.array(NAN)), {}, np.array(1.0)),
            Sample((np.array(False), np.array(INF), np.array(2.0)), {}, np.array(2.0)),
        ],
    )
)  # fmt: skip
