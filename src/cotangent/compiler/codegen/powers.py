"""Powers, logarithms to other bases, log1p, expm1 and erf on vectors.

float32 is computed in float64 and rounded once. float64 powers need the logarithm to more digits
than a float has: it is carried as a sum of two.

Greatest errors that the tests allow, in units in the last place of the result: 1 in float32; in
float64 2, but 3 for pow.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ...dtypes import float32, float64
from ...ops.error_function import FAR, NEAR, TAIL
from .functions import FORMATS, exp, log, polynomial, split
from .trigonometry import two_sum

E = Any
V = Any

_LOG2_E = 1.4426950408889634
_LOG10_E = 0.4342944819032518
_LOG10_2 = (0.3010299956640665, -8.532344317057107e-14)
# log(1 + f) = w + w**3 / 12 + w**5 p(w**2) with w = 2 f / (2 + f), abs(w) < 0.3432.
_LONG_LOG = (
    0.0125,
    0.0022321428571428566,
    0.0004340277777778993,
    8.877840908033454e-05,
    1.8780048537368907e-05,
    4.0689991711344275e-06,
    8.977367632603517e-07,
    1.994376826434747e-07,
    5.1321351164070185e-08,
)
_TWELFTH = (0.08333333333333333, 4.625929269271485e-18)


def pow(e: E, x: V, y: V) -> V:
    """x**y, with the special cases of the C standard; NaN for a negative x and a broken y."""
    base, exponent = e.cast(x, float64), e.cast(y, float64)
    size = e.abs(base)
    power = _power_32 if x.dtype == float32 else _power_64
    value = power(e, size, exponent)
    number = functools.partial(e.constant, dtype=float64)
    zero, one = number(0.0), number(1.0)
    half = e.mul(exponent, number(0.5))
    whole = e.eq(e.round("trunc", exponent), exponent)
    odd = e.and_(whole, e.ne(e.round("trunc", half), half))
    below = e.lt(e.copysign(one, base), zero)
    value = e.select(e.and_(below, odd), e.neg(value), value)
    broken = e.and_(e.lt(base, zero), e.not_(whole))
    broken = e.and_(broken, e.lt(size, number(math.inf)))
    value = e.select(broken, number(math.nan), value)
    certain = e.or_(e.eq(exponent, zero), e.eq(base, one))
    # 1 to infinity is 1, and so is -1.
    edge = e.and_(e.eq(size, one), e.eq(e.abs(exponent), number(math.inf)))
    return e.cast(e.select(e.or_(certain, edge), one, value), x.dtype)


def _power_32(e: E, size: V, y: V) -> V:
    return exp(e, e.mul(y, log(e, size)))


def _power_64(e: E, size: V, y: V) -> V:
    """exp(y log(size)), the product and the logarithm as sums of two."""
    high, low = _long_log(e, size)
    product = e.mul(y, high)
    rest = e.fma(y, low, e.fma(y, high, e.neg(product)))
    inside = e.lt(e.abs(product), e.constant(800.0, float64))
    value = exp(e, product)
    return e.select(inside, e.fma(value, e.select(inside, rest, e.zero(rest)), value), value)


def _long_log(e: E, x: V) -> tuple[V, V]:
    """log(x) for x >= 0, as a sum of two.

    ``x = 2**k (1 + f)``, and ``log(1 + f)`` is the series in ``w = 2 f / (2 + f)`` whose first two
    terms, like k log(2), are sums of two.
    """
    form = FORMATS[float64]
    number = functools.partial(e.constant, dtype=float64)
    k, f = split(e, x, form)
    below, missed = two_sum(e, number(2.0), f)
    twice = e.add(f, f)
    w = e.div(twice, below)
    w_low = e.div(e.sub(e.fma(e.neg(w), below, twice), e.mul(w, missed)), below)
    v = e.mul(w, w)
    v_low = e.fma(e.add(w, w), w_low, e.fma(w, w, e.neg(v)))
    t = e.mul(w, v)
    t_low = e.fma(w, v_low, e.fma(w_low, v, e.fma(w, v, e.neg(t))))
    u = e.mul(t, number(_TWELFTH[0]))
    u_low = e.fma(t, number(_TWELFTH[0]), e.neg(u))
    u_low = e.fma(t_low, number(_TWELFTH[0]), e.fma(t, number(_TWELFTH[1]), u_low))
    rest = e.mul(e.mul(t, v), polynomial(e, v, _LONG_LOG))
    a = e.mul(k, number(form.ln2[0]))
    a_low = e.fma(k, number(form.ln2[1]), e.fma(k, number(form.ln2[0]), e.neg(a)))
    high, first = two_sum(e, a, w)
    high, second = two_sum(e, high, u)
    low = e.add(e.add(first, second), e.add(e.add(w_low, u_low), e.add(a_low, rest)))
    total, low = two_sum(e, high, low)
    zero, infinity = number(0.0), number(math.inf)
    plain = e.and_(e.lt(zero, x), e.lt(x, infinity))
    edge = e.select(e.eq(x, zero), number(-math.inf), e.add(x, zero))
    return e.select(plain, total, edge), e.select(plain, low, zero)


def log2(e: E, x: V) -> V:
    """The logarithm to base 2; exact for powers of two."""
    return _other_base(e, x, (1.0, 0.0), _LOG2_E)


def log10(e: E, x: V) -> V:
    """The logarithm to base 10."""
    return _other_base(e, x, _LOG10_2, _LOG10_E)


def _other_base(e: E, x: V, two: tuple[float, float], factor: float) -> V:
    """``k log(2) + log(m)`` in another base, with ``x = 2**k m``."""
    wide = e.cast(x, float64)
    number = functools.partial(e.constant, dtype=float64)
    k, f = split(e, wide, FORMATS[float64])
    inside = e.mul(log(e, e.add(f, number(1.0))), number(factor))
    value = e.fma(k, number(two[0]), e.fma(k, number(two[1]), inside))
    edge = log(e, wide)  # infinite or NaN where the value is not one
    plain = e.lt(e.abs(edge), number(math.inf))
    return e.cast(e.select(plain, value, edge), x.dtype)


def log1p(e: E, x: V) -> V:
    """log(1 + x), accurate near 0: ``log(u) + (x - (u - 1)) / u`` with u = 1 + x rounded."""
    wide = e.cast(x, float64)
    number = functools.partial(e.constant, dtype=float64)
    u = e.add(wide, number(1.0))
    missed = e.div(e.sub(wide, e.sub(u, number(1.0))), u)
    value = log(e, u)
    plain = e.lt(e.abs(value), number(math.inf))
    tiny = e.lt(e.abs(wide), number(2.0**-54))  # keeps -0
    value = e.select(plain, e.add(value, missed), value)
    return e.cast(e.select(tiny, wide, value), x.dtype)


def expm1(e: E, x: V) -> V:
    """exp(x) - 1, accurate near 0: ``2**n (exp(r) - 1) + (2**n - 1)`` with ``x = n log(2) + r``."""
    wide = e.cast(x, float64)
    form = FORMATS[float64]
    number = functools.partial(e.constant, dtype=float64)
    high = e.lt(number(40.0), wide)
    y = e.select(high, number(0.0), wide)
    y = e.select(e.lt(y, number(-50.0)), number(-50.0), y)
    shift = number(form.integer + form.bias)
    t = e.fma(y, number(_LOG2_E), shift)
    n = e.sub(t, shift)
    r = e.fma(n, number(-form.ln2[1]), e.fma(n, number(-form.ln2[0]), y))
    p = e.fma(polynomial(e, r, form.exp), e.mul(r, r), r)
    power = e.bitcast(e.shl(e.bitcast(t, form.word), e.constant(form.mantissa, form.word)), float64)
    low = e.fma(power, p, e.sub(power, number(1.0)))
    tiny = e.lt(e.abs(wide), number(2.0**-54))
    value = e.select(tiny, wide, e.select(high, exp(e, wide), low))
    return e.cast(value, x.dtype)


def erf(e: E, x: V) -> V:
    """The error function."""
    wide = e.cast(x, float64)
    number = functools.partial(e.constant, dtype=float64)
    size = e.abs(wide)
    size = e.select(e.lt(number(FAR), size), number(FAR), size)
    near = e.mul(wide, polynomial(e, e.mul(wide, wide), NEAR[x.dtype]))
    u = e.div(number(1.0), e.fma(size, number(0.5), number(1.0)))
    above = e.mul(exp(e, e.neg(e.mul(size, size))), polynomial(e, u, TAIL[x.dtype]))
    far = e.copysign(e.sub(number(1.0), above), wide)
    return e.cast(e.select(e.lt(size, number(1.0)), near, far), x.dtype)


def _quotient(e: E, x: V, y: V) -> tuple[V, V]:
    """The floor of x / y, and what is left, in float64."""
    quotient = e.round("floor", e.div(x, y))
    rest = e.fma(e.neg(quotient), y, x)
    endless = e.eq(e.abs(y), e.constant(math.inf, float64))
    rest = e.select(endless, e.add(x, e.sub(x, x)), rest)
    # A rounded quotient can be one too large, and then the rest has the wrong sign.
    zero = e.zero(rest)
    wrong = e.lt(e.mul(e.copysign(e.one(y), y), rest), zero)
    rest = e.select(wrong, e.add(rest, y), rest)
    quotient = e.select(wrong, e.sub(quotient, e.one(quotient)), quotient)
    return quotient, e.select(e.eq(rest, zero), e.copysign(zero, y), rest)


def remainder(e: E, x: V, y: V) -> V:
    """x - floor(x / y) y, of floats; exact while the quotient is below 2**53."""
    return e.cast(_quotient(e, e.cast(x, float64), e.cast(y, float64))[1], x.dtype)


def floor_divide(e: E, x: V, y: V) -> V:
    """The floor of x / y, of floats; NaN for an infinite x, unless y is 0."""
    quotient = _quotient(e, e.cast(x, float64), e.cast(y, float64))[0]
    endless = e.eq(e.abs(x), e.constant(math.inf, x.dtype))
    undefined = e.and_(endless, e.ne(y, e.zero(y)))
    return e.select(undefined, e.sub(x, x), e.cast(quotient, x.dtype))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "pow": pow, "log2": log2, "log10": log10, "log1p": log1p, "expm1": expm1, "erf": erf,
    "remainder": remainder, "floor_divide": floor_divide,
}  # fmt: skip
