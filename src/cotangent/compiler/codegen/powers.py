"""Powers, logarithms to other bases, log1p, expm1 and erf on vectors.

log1p, expm1 and erf of float32 are computed in float32, the others in float64 and rounded once.
float64 powers need the logarithm to more digits than a float has: it is carried as a sum of two.

Greatest errors that the tests allow, in units in the last place of the result: 2, but in float32 1
for pow, log2 and log10, and in float64 3 for pow.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ...dtypes import float32, float64
from ...ops.error_function import FAR, NEAR, TAIL
from .functions import FORMATS, exp, exp_of_negative, log, log_of_parts, polynomial, split
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
# log2(1 + f) = f p(f) for sqrt(1/2) <= 1 + f <= sqrt(2), and 2**r for abs(r) <= 1/2.
LOG2 = (
    1.4426950408708794, -0.7213475209631551, 0.4808983601762459, -0.3606736553159396,
    0.28853739437873954, -0.24045433696411997, 0.20617283226751987, -0.1802710257711494,
    0.15878356832510718, -0.14349039375280995, 0.14495052999815844, -0.1414478821058739,
    0.07553790398013412,
)  # fmt: skip
EXP2 = (
    1.0, 0.6931472067028326, 0.24022650922288757, 0.05550327226670302, 0.009618056678524637,
    0.0013400428177615838, 0.0001546144469856913,
)  # fmt: skip
# float32: erf(x) = x + x p(x**2) below the limit; beyond, q(x - centre) up to where it is 1.
_ERF_LIMIT, _ERF_CENTRE, _ERF_FAR = 1.2, 2.5, 4.0
ERF_NEAR = (
    0.12837915,
    -0.37612545,
    0.11282752,
    -0.026822075,
    0.0051337685,
    -0.0007577328,
    6.561942e-05,
)
ERF_FAR = (
    0.9995931, 0.0021783176, -0.0054458682, 0.0083496375, -0.008620726, 0.006118824, -0.002804712,
    0.0005414367, 0.00027148717, -0.0002527123, 6.956713e-05, 9.62426e-06, -1.05918225e-05,
    1.9221363e-06,
)  # fmt: skip
_TWELFTH = (0.08333333333333333, 4.625929269271485e-18)


def pow(e: E, x: V, y: V) -> V:
    """x**y, with the special cases of the C standard; NaN for a negative x and a broken y."""
    size = e.abs(x)
    value = _power_32(e, size, y) if x.dtype == float32 else _power_64(e, size, y)
    number = functools.partial(e.constant, dtype=x.dtype)
    zero, one, infinity = number(0.0), number(1.0), number(math.inf)
    half = e.mul(y, number(0.5))
    whole = e.eq(e.round("trunc", y), y)
    odd = e.and_(whole, e.ne(e.round("trunc", half), half))
    below = e.lt(e.copysign(one, x), zero)
    value = e.select(e.and_(below, odd), e.neg(value), value)
    broken = e.and_(e.lt(x, zero), e.not_(whole))
    broken = e.and_(broken, e.lt(size, infinity))
    value = e.select(broken, number(math.nan), value)
    certain = e.or_(e.eq(y, zero), e.eq(x, one))
    # 1 to infinity is 1, and so is -1.
    edge = e.and_(e.eq(size, one), e.eq(e.abs(y), infinity))
    return e.select(e.or_(certain, edge), one, value)


def _power_32(e: E, size: V, y: V) -> V:
    """2**(y log2(size)) for float32, computed in float64, which holds every such power."""
    form = FORMATS[float64]
    number = functools.partial(e.constant, dtype=float64)
    exponent = e.mul(e.cast(y, float64), _log2_of_32(e, size))
    for limit, is_most in ((129.0, True), (-151.0, False)):
        end = number(limit)
        beyond = e.lt(end, exponent) if is_most else e.lt(exponent, end)
        exponent = e.select(beyond, end, exponent)
    shift = number(form.integer + form.bias)
    t = e.add(exponent, shift)
    p = polynomial(e, e.sub(exponent, e.sub(t, shift)), EXP2)
    power = e.shl(e.bitcast(t, form.word), e.constant(form.mantissa, form.word))
    return e.cast(e.mul(p, e.bitcast(power, float64)), float32)


def _log2_of_32(e: E, x: V) -> V:
    """log2(x) of a float32 that is not below 0, in float64 to some 35 bits; exact for powers of 2.

    ``x = 2**k (1 + f)``, and ``log2(x) = k + f p(f)``. In float64 no float32 is denormal.
    """
    form = FORMATS[float64]
    number, word = (functools.partial(e.constant, dtype=d) for d in (float64, form.word))
    wide = e.cast(x, float64)
    bits = e.add(e.bitcast(wide, form.word), word((form.bias << form.mantissa) - form.root))
    k = e.or_(e.shr(bits, word(form.mantissa)), word(form.bits(form.integer)))
    k = e.sub(e.bitcast(k, float64), number(form.integer + form.bias))
    m = e.add(e.and_(bits, word((1 << form.mantissa) - 1)), word(form.root))
    f = e.sub(e.bitcast(m, float64), number(1.0))
    value = e.fma(f, polynomial(e, f, LOG2), k)
    value = e.select(e.lt(wide, number(math.inf)), value, wide)
    return e.select(e.eq(wide, number(0.0)), number(-math.inf), value)


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
    """The logarithm in a base with the logarithm `two` of 2, which is `factor` times log(x)."""
    if x.dtype == float64:
        return _other_base_64(e, x, two, factor)
    value = e.mul(_log2_of_32(e, x), e.constant(sum(two), float64))
    return e.select(e.lt(x, e.zero(x)), e.constant(math.nan, float32), e.cast(value, float32))


def _other_base_64(e: E, wide: V, two: tuple[float, float], factor: float) -> V:
    """``k log(2) + log(m)`` in another base, with ``x = 2**k m``."""
    number = functools.partial(e.constant, dtype=float64)
    k, f = split(e, wide, FORMATS[float64])
    inside = e.mul(log(e, e.add(f, number(1.0))), number(factor))
    value = e.fma(k, number(two[0]), e.fma(k, number(two[1]), inside))
    edge = log(e, wide)  # infinite or NaN where the value is not one
    plain = e.lt(e.abs(edge), number(math.inf))
    return e.select(plain, value, edge)


def log1p(e: E, x: V) -> V:
    """log(1 + x), accurate near 0."""
    return _log1p_32(e, x) if x.dtype == float32 else _log1p_64(e, x)


def _log1p_32(e: E, x: V) -> V:
    """``1 + x = 2**k (1 + f)`` with k from the rounded sum, but ``f = x / 2**k + (1 / 2**k - 1)``
    with one rounding."""
    form = FORMATS[float32]
    number, word = (functools.partial(e.constant, dtype=d) for d in (float32, form.word))
    u = e.add(x, number(1.0))
    bits = e.add(e.bitcast(u, form.word), word((form.bias << form.mantissa) - form.root))
    k = e.or_(e.shr(bits, word(form.mantissa)), word(form.bits(form.integer)))
    k = e.sub(e.bitcast(k, float32), number(form.integer + form.bias))
    # By way of 4 / 2**k, because 1 / 2**k is not normal for the largest k.
    top = word(2 * (form.bias + 1) << form.mantissa)
    four = e.bitcast(e.sub(top, e.and_(bits, word(form.exponent_mask))), float32)
    scale = e.mul(four, number(0.25))
    f = e.fma(x, scale, e.sub(scale, number(1.0)))
    return e.copysign(log_of_parts(e, k, f, u), x)


def _log1p_64(e: E, wide: V) -> V:
    """``log(u) + (x - (u - 1)) / u`` with u = 1 + x rounded."""
    number = functools.partial(e.constant, dtype=float64)
    u = e.add(wide, number(1.0))
    missed = e.div(e.sub(wide, e.sub(u, number(1.0))), u)
    value = log(e, u)
    plain = e.lt(e.abs(value), number(math.inf))
    tiny = e.lt(e.abs(wide), number(2.0**-54))  # keeps -0
    value = e.select(plain, e.add(value, missed), value)
    return e.select(tiny, wide, value)


def expm1(e: E, x: V) -> V:
    """exp(x) - 1, accurate near 0: ``2**n (exp(r) - 1) + (2**n - 1)`` with ``x = n log(2) + r``."""
    return _expm1_32(e, x) if x.dtype == float32 else _expm1_64(e, x)


def _expm1_32(e: E, x: V) -> V:
    """Half of it, because 2**n may be just too large, and twice that."""
    form = FORMATS[float32]
    number = functools.partial(e.constant, dtype=float32)
    least, most = number(-18.0), number(form.most)  # -1 below
    y = e.select(e.lt(most, x), most, x)
    y = e.select(e.lt(y, least), least, y)
    shift = number(form.integer + form.bias - 1)
    t = e.fma(y, number(_LOG2_E), shift)
    n = e.sub(t, shift)
    r = e.fma(n, number(-form.ln2[1]), e.fma(n, number(-form.ln2[0]), y))
    p = e.fma(polynomial(e, r, form.exp), e.mul(r, r), r)
    raised = e.shl(e.bitcast(t, form.word), e.constant(form.mantissa, form.word))
    power = e.bitcast(raised, float32)
    half = e.fma(power, p, e.sub(power, number(0.5)))
    return e.copysign(e.add(half, half), x)


def _expm1_64(e: E, wide: V) -> V:
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
    return e.select(tiny, wide, e.select(high, exp(e, wide), low))


def erf(e: E, x: V) -> V:
    """The error function."""
    return _erf_32(e, x) if x.dtype == float32 else _erf_64(e, x)


def _erf_32(e: E, x: V) -> V:
    """Two polynomials; from 4 on the second one is 1."""
    number = functools.partial(e.constant, dtype=float32)
    size = e.abs(x)
    near = e.fma(x, polynomial(e, e.mul(x, x), ERF_NEAR), x)
    most = number(_ERF_FAR)
    offset = e.sub(e.select(e.lt(most, size), most, size), number(_ERF_CENTRE))
    far = e.copysign(polynomial(e, offset, ERF_FAR), x)
    return e.select(e.lt(size, number(_ERF_LIMIT)), near, far)


def _erf_64(e: E, wide: V) -> V:
    """A polynomial near 0, and 1 minus an exponential times another beyond."""
    number = functools.partial(e.constant, dtype=float64)
    size = e.abs(wide)
    size = e.select(e.lt(number(FAR), size), number(FAR), size)
    near = e.mul(wide, polynomial(e, e.mul(wide, wide), NEAR[float64]))
    u = e.div(number(1.0), e.fma(size, number(0.5), number(1.0)))
    above = e.mul(exp_of_negative(e, e.neg(e.mul(size, size))), polynomial(e, u, TAIL[float64]))
    far = e.copysign(e.sub(number(1.0), above), wide)
    return e.select(e.lt(size, number(1.0)), near, far)


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
