"""Elementwise mathematics beyond arithmetic: rounding, trigonometry, powers, erf, bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dtypes import is_integer
from ..errors import DTypeError
from . import error_function
from .elementwise import INF, NAN, _special, exp, log, mul_no_nan, reciprocal, sqrt
from .primitive import (
    Primitive,
    Rule,
    Sample,
    elementwise,
    one,
    pairs,
    real,
    require_float,
    require_number,
)


def _is_float(x: Any) -> bool:
    """Whether an array of any array module is floating-point."""
    return "float" in str(x.dtype)


def _rounding(name: str, doc: str, how: str, *special: tuple[float, float]) -> Primitive:
    def evaluate(xp: Any, x: Any) -> Any:
        return getattr(xp, name)(x) if _is_float(x) else x

    return elementwise(
        name, f"{doc}; integers stay; slope 0",
        eval=evaluate,
        lower=lambda e, x: e.round(how, x),
        takes=require_number,
        samples=real((2, 3)),
        special=_special((NAN, NAN), (INF, INF), *special),
    )  # fmt: skip


floor = _rounding("floor", "the largest integer that is not above x", "floor", (-0.5, -1.0))
ceil = _rounding("ceil", "the smallest integer that is not below x", "ceil", (0.5, 1.0))
trunc = _rounding("trunc", "x without its fraction", "trunc", (-1.5, -1.0))
round: Primitive = _rounding(
    "round", "the nearest integer, of two equally near the even one", "roundeven",
    (0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, 0.0),
)  # fmt: skip


def _function(
    name: str, doc: str, partial: Rule, *, saves: tuple[int | str, ...] = (0,), low: float = -2.0,
    high: float = 2.0, bounded: bool = True, special: Any = (), eval: Rule | None = None,
) -> Primitive:  # fmt: skip
    """A function of one float, which the compiler knows by the same name."""
    return elementwise(
        name, doc,
        eval=eval or (lambda xp, x: getattr(xp, name)(x)),
        lower=lambda e, x: e.call(name, x),
        takes=require_float,
        partials=(partial,),
        saves=saves,
        bounded=bounded,
        samples=real((2, 3), low=low, high=high),
        special=_special((NAN, NAN), *special),
    )  # fmt: skip


sin = _function(
    "sin", "the sine, of an angle in radians; NaN at infinity", lambda out, x: cos(x),
    special=[(0.0, 0.0), (INF, NAN)],
)  # fmt: skip
cos: Primitive = _function(
    "cos", "the cosine, of an angle in radians; NaN at infinity", lambda out, x: -sin(x),
    special=[(0.0, 1.0), (INF, NAN)],
)  # fmt: skip
tan = _function(
    "tan", "the tangent, of an angle in radians; NaN at infinity", lambda out, x: 1 + out * out,
    saves=("out",), low=-1.2, high=1.2, special=[(0.0, 0.0), (INF, NAN)],
)  # fmt: skip


def _inverse_root(x: Any) -> Any:
    return reciprocal(sqrt((1 - x) * (1 + x)))


asin = _function(
    "asin", "the arc sine; NaN outside [-1, 1]; slope infinite at the ends",
    lambda out, x: _inverse_root(x), low=-0.9, high=0.9, bounded=False,
    special=[(1.0, math.pi / 2), (2.0, NAN)],
)  # fmt: skip
acos = _function(
    "acos", "the arc cosine, in [0, pi]; NaN outside [-1, 1]; slope infinite at the ends",
    lambda out, x: -_inverse_root(x), low=-0.9, high=0.9, bounded=False,
    special=[(-1.0, math.pi), (2.0, NAN)],
)  # fmt: skip
atan = _function(
    "atan", "the arc tangent, in [-pi/2, pi/2]", lambda out, x: reciprocal(1 + x * x),
    special=[(INF, math.pi / 2), (0.0, 0.0)],
)  # fmt: skip


def _over_square(x: Any, y: Any) -> Any:
    return x / (x * x + y * y)


atan2: Primitive = elementwise(
    "atan2", "the angle of the point (x, y), written atan2(y, x), in [-pi, pi], broadcast",
    eval=lambda xp, y, x: xp.atan2(y, x),
    lower=lambda e, y, x: e.call("atan2", y, x),
    takes=require_float,
    partials=(lambda out, y, x: _over_square(x, y), lambda out, y, x: -_over_square(y, x)),
    bounded=False,
    saves=(0, 1),
    samples=pairs(low=0.5),
    special=_special((1.0, 0.0, math.pi / 2), (0.0, -1.0, math.pi), (NAN, 1.0, NAN)),
)  # fmt: skip

expm1 = _function(
    "expm1", "e**x - 1, accurate near 0", lambda out, x: out + 1, saves=("out",),
    special=[(-INF, -1.0), (INF, INF), (0.0, 0.0), (1e-10, 1e-10)],
)  # fmt: skip
log1p = _function(
    "log1p", "log(1 + x), accurate near 0; -infinity at -1, NaN below",
    lambda out, x: reciprocal(1 + x), low=-0.5, bounded=False,
    special=[(-1.0, -INF), (-2.0, NAN), (INF, INF), (1e-10, 1e-10)],
)  # fmt: skip
log2 = _function(
    "log2", "the logarithm to base 2; -infinity at 0, NaN below",
    lambda out, x: reciprocal(x * math.log(2)), low=0.5, bounded=False,
    special=[(8.0, 3.0), (0.0, -INF), (-1.0, NAN), (INF, INF)],
)  # fmt: skip
log10 = _function(
    "log10", "the logarithm to base 10; -infinity at 0, NaN below",
    lambda out, x: reciprocal(x * math.log(10)), low=0.5, bounded=False,
    special=[(1000.0, 3.0), (0.0, -INF), (-1.0, NAN), (INF, INF)],
)  # fmt: skip
erf = _function(
    "erf", "the error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x",
    lambda out, x: exp(-x * x) * (2 / math.sqrt(math.pi)), eval=error_function.evaluate,
    special=[(INF, 1.0), (-INF, -1.0), (0.0, 0.0), (0.5, math.erf(0.5)), (1.5, math.erf(1.5))],
)  # fmt: skip


def _to_base(out: Any, x: Any, y: Any) -> Any:
    """The derivative by x: y x**(y - 1), and 0 for y = 0 even at x = 0."""
    return mul_no_nan(y, pow(x, y - 1))


def _to_exponent(out: Any, x: Any, y: Any) -> Any:
    """The derivative by y: x**y log(x), and 0 at x = 0."""
    return mul_no_nan(out, log(x))


pow: Primitive = elementwise(
    "pow", "x**y, broadcast; NaN for x < 0 unless y is whole; 0**0 is 1",
    eval=lambda xp, x, y: xp.pow(x, y),
    lower=lambda e, x, y: e.call("pow", x, y),
    takes=require_float,
    partials=(_to_base, _to_exponent),
    bounded=False,
    saves=(0, 1, "out"),
    samples=pairs(low=0.5),
    special=_special(
        (-2.0, 3.0, -8.0), (0.0, 0.0, 1.0), (NAN, 0.0, 1.0), (1.0, NAN, 1.0), (-1.0, 0.5, NAN),
        (0.0, -1.0, INF), (INF, -1.0, 0.0), (4.0, 0.5, 2.0),
    ),
)  # fmt: skip


def _squarings(x: Any, n: int, multiply: Any) -> Any:
    """x**n for n >= 1, by repeated squaring."""
    result, base = None, x
    while True:
        if n & 1:
            result = base if result is None else multiply(result, base)
        n >>= 1
        if not n:
            return result
        base = multiply(base, base)


def _whole_slope(out: Any, x: Any, n: int) -> Any:
    return n * (x if n == 2 else whole_power(x, n=n - 1))


# A primitive because of its slope, which is infinite where x is: log(x)**2 behind a mask has a
# gradient of 0 at x = 0, which a product of x with itself would turn into NaN.
whole_power: Primitive = elementwise(
    "whole_power", "x**n for a whole number n >= 2, by repeated squaring",
    eval=lambda xp, x, n: _squarings(x, n, xp.multiply),
    lower=lambda e, x, n: _squarings(x, n, e.mul),
    takes=require_number,
    partials=(_whole_slope,),
    bounded=False,
    saves=(0,),
    samples=lambda rng: [Sample((rng.uniform(-2, 2, (2, 3)),), {"n": n}) for n in (2, 3, 4, 7)],
    special=[
        Sample((np.array(-2.0),), {"n": 3}, np.array(-8.0)),
        Sample((np.array(-INF),), {"n": 2}, np.array(INF)),
        Sample((np.array(NAN),), {"n": 2}, np.array(NAN)),
    ],
)  # fmt: skip


# -- division with a remainder -----------------------------------------------------------------


def _by_zero(xp: Any, y: Any) -> Any:
    """Divisors, with 1 for 0 among integers."""
    return xp.where(y == 0, xp.ones((), dtype=y.dtype), y)


def _eval_floor_divide(xp: Any, x: Any, y: Any) -> Any:
    if _is_float(x):
        return xp.floor_divide(x, y)
    return xp.where(y == 0, xp.zeros((), dtype=x.dtype), xp.floor_divide(x, _by_zero(xp, y)))


def _eval_remainder(xp: Any, x: Any, y: Any) -> Any:
    if _is_float(x):
        return xp.remainder(x, y)
    return xp.where(y == 0, xp.zeros((), dtype=x.dtype), xp.remainder(x, _by_zero(xp, y)))


def _lower_remainder(e: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind != "f":
        rest = e.sub(x, e.mul(e.div(x, y), y))
        return e.select(e.eq(y, e.zero(y)), e.zero(y), rest)
    return e.call("remainder", x, y)


def _lower_floor_divide(e: Any, x: Any, y: Any) -> Any:
    return e.div(x, y) if x.dtype.kind != "f" else e.call("floor_divide", x, y)


def _division_samples(rng: np.random.Generator) -> list[Sample]:
    """Away from where the quotient jumps; and integers."""
    whole = rng.integers(-4, 5, (2, 3))
    fraction = rng.uniform(0.2, 0.8, (2, 3))
    y = rng.choice([-1.5, 0.75, 2.0], (2, 3))
    return [
        Sample(((whole + fraction) * y, y)),
        Sample((rng.integers(-20, 20, (4, 3)), np.array([-3, 1, 7]))),
        Sample((np.array([5, -5, 0], np.int32), np.array([0, 0, 0], np.int32))),
        Sample((np.array([5, 250], np.uint8), np.array([0, 7], np.uint8))),
    ]


floor_divide: Primitive = elementwise(
    "floor_divide", "the floor of x / y, broadcast; integers by 0 give 0; slope 0",
    eval=_eval_floor_divide,
    lower=_lower_floor_divide,
    takes=require_number,
    samples=_division_samples,
    special=_special((-7.0, 2.0, -4.0), (1.0, 0.0, INF), (NAN, 1.0, NAN), (5.0, INF, 0.0),
                     (INF, 2.0, NAN), (INF, 0.0, INF), (-1.0, INF, -1.0)),
)  # fmt: skip

remainder: Primitive = elementwise(
    "remainder", "x - floor(x / y) y, with the sign of y, broadcast; integers by 0 give 0",
    eval=_eval_remainder,
    lower=_lower_remainder,
    takes=require_number,
    partials=(one, lambda out, x, y: -floor_divide(x, y)),
    saves=(0, 1),
    samples=_division_samples,
    special=_special((-7.0, 2.0, 1.0), (7.0, -2.0, -1.0), (1.0, 0.0, NAN), (5.0, INF, 5.0)),
)  # fmt: skip


# -- bits --------------------------------------------------------------------------------------


def _require_integers(name: str, *xs: Any) -> None:
    for x in xs:
        if not is_integer(x.dtype):
            hint = "use logical_and, logical_or, logical_not" if x.dtype.kind == "b" else "convert"
            raise DTypeError(f"{name} takes integers, not {x.dtype} (shape {x.shape}); {hint}")


def _integers(count: int) -> Rule:
    def samples(rng: np.random.Generator) -> list[Sample]:
        return [
            Sample(tuple(rng.integers(0, 100, (2, 3)).astype(dtype) for _ in range(count)))
            for dtype in ("int64", "int8", "uint16")
        ]

    return samples


def _bits(name: str, doc: str, lower: Rule, count: int = 2) -> Primitive:
    def unary(xp: Any, x: Any) -> Any:
        return getattr(xp, name)(x)

    def binary(xp: Any, x: Any, y: Any) -> Any:
        return getattr(xp, name)(x, y)

    return elementwise(
        name, doc,
        eval=binary if count == 2 else unary,
        lower=lower, takes=_require_integers, samples=_integers(count),
    )  # fmt: skip


bitwise_and = _bits(
    "bitwise_and", "bits that are set in both, broadcast", lambda e, x, y: e.and_(x, y)
)
bitwise_or = _bits(
    "bitwise_or", "bits that are set in one of them, broadcast", lambda e, x, y: e.or_(x, y)
)
bitwise_xor = _bits("bitwise_xor", "bits that differ, broadcast", lambda e, x, y: e.xor(x, y))
bitwise_invert = _bits("bitwise_invert", "all bits flipped", lambda e, x: e.not_(x), 1)


def _shift(name: str, doc: str, left: bool) -> Primitive:
    def evaluate(xp: Any, x: Any, count: Any) -> Any:
        kind = str(x.dtype).split(".")[-1]
        width = int(kind.lstrip("uint"))
        inside = (count >= 0) & (count < width)
        gone = xp.zeros((), dtype=x.dtype)
        if not left and kind.startswith("i"):
            gone = getattr(xp, name)(x, xp.asarray(width - 1, dtype=x.dtype))
        safe = xp.where(inside, count, xp.zeros((), dtype=count.dtype))
        return xp.where(inside, getattr(xp, name)(x, safe), gone)

    return elementwise(
        name, f"{doc}, broadcast; by its width or more, or less than 0, all bits are gone",
        eval=evaluate,
        lower=lambda e, x, count: e.shift(x, count, left),
        takes=_require_integers,
        samples=lambda rng: [
            Sample((np.array([1, 5, -8, 7], np.int32), np.array([3, 31, 1, 40], np.int32))),
            Sample((rng.integers(0, 200, (2, 3)).astype(np.uint8), np.array(3, np.uint8))),
        ],
    )  # fmt: skip


bitwise_left_shift = _shift("bitwise_left_shift", "x times 2**count in its width", True)
bitwise_right_shift = _shift("bitwise_right_shift", "the floor of x / 2**count", False)
