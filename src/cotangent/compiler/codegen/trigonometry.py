"""Trigonometry on vectors: sin, cos, atan2, and what follows from them.

sin and cos of float32 are computed in float32 up to 2**17; all else is computed in float64, and
rounded once for float32. As in `functions`, there are no tables in memory and no calls, so
every processor gives the same bits. One branch leads to the reduction of large arguments.

sin and cos are accurate for every argument, however large. ``x 2/pi`` is needed modulo 4 to far
more digits than a float has; which digits of 2/pi matter depends on the exponent of x (Payne and
Hanek, "Radian reduction for trigonometric functions", 1983). For each group of exponents the
digits that matter are a few constants, chosen by comparisons and multiplied exactly by `fma`.

Greatest errors that the tests allow, in units in the last place of the result: in float32 2 for sin
and cos, else 1; in float64 1 for sin and cos, 2 for atan2, 4 for asin and acos, 3 for tan.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ...dtypes import float32, float64
from .functions import FORMATS, one_nan, polynomial

E = Any
V = Any

# 2/pi, 1200 bits after the point.
_TWO_OVER_PI = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e0"
    "06492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639835339f4"
    "9c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f463f669e5fea2d"
    "7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b",
    16,
)
_BITS = 1200
_HALF_PI = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
_HALF_PI_32 = (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
# Below it, abs(x) is reduced by a few multiples of these.
_QUICK = 2.0**17
_WORD, _LONG_WORD = FORMATS[float32].word, FORMATS[float64].word

# As _SINE and _COSINE below, but for arithmetic in float32.
SINE_32 = (-0.16666664, 0.008332723, -0.00019582524)
COSINE_32 = (0.041666664, -0.0013888278, 2.4542564e-05)
# sin(r) = r + r**3 p(r**2) and cos(r) = 1 - r**2 / 2 + r**4 p(r**2), for abs(r) < pi / 4.
_SINE = {
    float32: (
        -0.16666666663806767,
        0.008333331855881882,
        -0.0001984007658578246,
        2.724861257142899e-06,
    ),
    float64: (
        -0.16666666666666666,
        0.008333333333333331,
        -0.00019841269841264962,
        2.755731921925893e-06,
        -2.5052106204636416e-08,
        1.6058527220272607e-10,
        -7.586438377688691e-13,
    ),
}
_COSINE = {
    float32: (
        0.04166666666428071,
        -0.0013888887656303163,
        2.4800591906204934e-05,
        -2.729986313754214e-07,
    ),
    float64: (
        0.041666666666666664,
        -0.0013888888888887365,
        2.4801587298716964e-05,
        -2.755731724651074e-07,
        2.087614102358448e-09,
        -1.13822553641454e-11,
    ),
}
# atan(t) = t + t**3 p(t**2) for abs(t) < tan(pi / 8).
_ARC = {
    float32: (
        -0.33333333279030264,
        0.19999977181137085,
        -0.14284147012133833,
        0.11071287551546859,
        -0.0862409863998892,
        0.05046648875608924,
    ),
    float64: (
        -0.3333333333333333,
        0.1999999999999549,
        -0.1428571428466014,
        0.11111111014741562,
        -0.09090904557214267,
        0.0769218270524632,
        -0.06664504610032648,
        0.05858089538610203,
        -0.050851391487066376,
        0.03922268882347632,
        -0.0191659065063043,
    ),
}


@functools.cache
def _digits(group: int, whole: int, count: int) -> list[float]:
    """``2**(32 group) 2/pi`` modulo ``2**whole``, as a sum of `count` floats."""
    rest = _TWO_OVER_PI << 32 * group
    if group:
        rest %= 1 << (_BITS + whole)
    words = []
    for _ in range(count):
        shift = max(rest.bit_length() - 53, 0)
        words.append(math.ldexp(rest >> shift, shift - _BITS))
        rest -= (rest >> shift) << shift
    return words


def sin(e: E, x: V) -> V:
    """The sine; NaN at infinity; -0 stays."""
    if x.dtype == float32:
        return _quick_or(_sin_64, e, x, 0)
    return _sin_64(e, x)


def cos(e: E, x: V) -> V:
    """The cosine; NaN at infinity."""
    if x.dtype == float32:
        return _quick_or(_cos_64, e, x, 1)
    return _cos_64(e, x)


def _sin_64(e: E, x: V) -> V:
    wide = e.cast(x, float64)
    high, low, quarter = _reduce(e, e.abs(wide), x)
    value = _wave(e, high, low, quarter, x)
    number = functools.partial(e.constant, dtype=float64)
    flipped = e.select(e.lt(e.copysign(number(1.0), wide), number(0.0)), e.neg(value), value)
    return e.cast(one_nan(e, flipped), x.dtype)


def _cos_64(e: E, x: V) -> V:
    high, low, quarter = _reduce(e, e.abs(e.cast(x, float64)), x)
    quarter = e.add(quarter, e.constant(1.0, float64))
    return e.cast(one_nan(e, _wave(e, high, low, quarter, x)), x.dtype)


def _quick_or(slow: Callable[[E, V], V], e: E, x: V, quarters: int) -> V:
    """sin(x + quarters pi / 2) in float32, and by `slow` where x is large.

    ``abs(x) = r + k pi / 2``: pi / 2 is a sum of three floats (W. Cody, W. Waite, "Software Manual
    for the Elementary Functions", 1980), and the first difference is exact.
    """
    number, word = (functools.partial(e.constant, dtype=d) for d in (float32, _WORD))
    y = e.abs(x)
    shift = number(FORMATS[float32].integer + quarters)
    t = e.fma(y, number(2 / math.pi), shift)
    k = e.sub(t, shift)
    r = y
    for part in _HALF_PI_32:
        r = e.fma(k, number(-part), r)
    z = e.mul(r, r)
    sine = e.fma(e.mul(r, z), polynomial(e, z, SINE_32), r)
    cosine = e.fma(e.mul(z, z), polynomial(e, z, COSINE_32), e.fma(z, number(-0.5), number(1.0)))
    # The low bits of t are k + quarters: the last says which of the two, the one above the sign.
    bits = e.bitcast(t, _WORD)
    value = e.select(e.ne(e.and_(bits, word(1)), word(0)), cosine, sine)
    sign = e.shl(e.and_(bits, word(2)), word(30))
    if quarters == 0:
        sign = e.xor(sign, e.and_(e.bitcast(x, _WORD), word(1 << 31)))
    value = e.bitcast(e.xor(e.bitcast(value, _WORD), sign), float32)
    return e.rarely(e.le(number(_QUICK), y), [value], lambda: [slow(e, x)])[0]


def tan(e: E, x: V) -> V:
    """The tangent; NaN at infinity."""
    return _tan_32(e, x) if x.dtype == float32 else _tan_64(e, x)


def _tan_32(e: E, x: V) -> V:
    """In float64, with few terms, and by `_tan_64` where x is large."""
    number, word = (functools.partial(e.constant, dtype=d) for d in (float64, _LONG_WORD))
    y = e.abs(e.cast(x, float64))
    shift = number(FORMATS[float64].integer)
    t = e.fma(y, number(2 / math.pi), shift)
    k = e.sub(t, shift)
    r = e.fma(k, number(-_HALF_PI[1]), e.fma(k, number(-_HALF_PI[0]), y))
    z = e.mul(r, r)
    sine = e.fma(e.mul(r, z), polynomial(e, z, _SINE[float32]), r)
    cosine = e.fma(z, number(-0.5), number(1.0))
    cosine = e.fma(e.mul(z, z), polynomial(e, z, _COSINE[float32]), cosine)
    odd = e.ne(e.and_(e.bitcast(t, _LONG_WORD), word(1)), word(0))
    above, below = e.select(odd, e.neg(cosine), sine), e.select(odd, sine, cosine)
    value = e.cast(e.div(above, below), float32)
    negative = e.lt(e.copysign(e.one(x), x), e.zero(x))
    value = e.select(negative, e.neg(value), value)
    large = e.le(e.constant(_QUICK, float32), e.abs(x))
    return one_nan(e, e.rarely(large, [value], lambda: [_tan_64(e, x)])[0])


def _tan_64(e: E, x: V) -> V:
    wide = e.cast(x, float64)
    high, low, quarter = _reduce(e, e.abs(wide), x)
    one = e.constant(1.0, float64)
    sine = _wave(e, high, low, quarter, x)
    quotient = e.div(sine, _wave(e, high, low, e.add(quarter, one), x))
    below = e.lt(e.copysign(one, wide), e.zero(one))
    return e.cast(one_nan(e, e.select(below, e.neg(quotient), quotient)), x.dtype)


def _wave(e: E, high: V, low: V, quarter: V, x: V) -> V:
    """sin(high + low + quarter pi / 2), for abs(high) below pi / 4."""
    number = functools.partial(e.constant, dtype=float64)
    z = e.mul(high, high)
    half = e.mul(z, number(0.5))
    # sin: high + (high z p + low (1 - z / 2))
    sine = e.mul(e.mul(z, high), polynomial(e, z, _SINE[x.dtype]))
    sine = e.add(high, e.fma(low, e.sub(number(1.0), half), sine))
    # cos: 1 - z / 2 with the rounding of that corrected
    top = e.sub(number(1.0), half)
    missed = e.sub(e.sub(number(1.0), top), half)
    cosine = e.mul(e.mul(z, z), polynomial(e, z, _COSINE[x.dtype]))
    cosine = e.add(top, e.add(missed, e.sub(cosine, e.mul(high, low))))
    turns = e.sub(quarter, e.mul(number(4.0), e.round("floor", e.mul(quarter, number(0.25)))))
    odd = e.or_(e.eq(turns, number(1.0)), e.eq(turns, number(3.0)))
    value = e.select(odd, cosine, sine)
    return e.select(e.le(number(2.0), turns), e.neg(value), value)


def _reduce(e: E, y: V, x: V) -> tuple[V, V, V]:
    """r and k with ``y = r + k pi / 2`` for y >= 0 and abs(r) <= pi / 4: r as a sum, and k."""
    number = functools.partial(e.constant, dtype=float64)
    shift = number(FORMATS[float64].integer)
    quarter = e.sub(e.fma(y, number(2 / math.pi), shift), shift)
    top, middle, bottom = (number(part) for part in _HALF_PI)
    # As in `_quick_or` the first difference is exact; what the second one misses is kept.
    rest = e.fma(e.neg(quarter), top, y)
    product = e.mul(quarter, middle)
    missed = e.fma(quarter, bottom, e.fma(quarter, middle, e.neg(product)))
    high, low = two_sum(e, rest, e.neg(product))
    usual = (high, e.sub(low, missed), quarter)
    large = e.le(number(_QUICK), y)
    high, low, quarter = e.rarely(large, usual, lambda: _reduce_any(e, y, x))
    return high, low, quarter


def _reduce_any(e: E, y: V, x: V) -> tuple[V, V, V]:
    """The same for every y >= 0."""
    number = functools.partial(e.constant, dtype=float64)
    narrow = x.dtype == float32
    groups, whole, count = (4, 26, 3) if narrow else (32, 55, 4)
    words = [number(w) for w in _digits(0, whole, count)]
    scale = number(1.0)
    for group in range(1, groups + 1):
        here = e.le(number(2.0 ** (32 * group - 1)), y)
        later = _digits(group, whole, count)
        words = [e.select(here, number(b), a) for a, b in zip(words, later, strict=True)]
        scale = e.select(here, number(2.0 ** (-32 * group)), scale)
    m = e.mul(y, scale)
    terms = []
    for word in words:
        product = e.mul(m, word)
        terms += [product, e.fma(m, word, e.neg(product))]
    # Beyond 4 only the remainder counts; the later products are small.
    terms[:3] = [_modulo_4(e, term) for term in terms[:3]]
    terms = _distill(e, terms[:-1])
    quarter = e.round("roundeven", terms[0])
    terms[0] = e.sub(terms[0], quarter)
    high, low, *_ = _distill(e, terms)
    top, bottom, _ = (number(part) for part in _HALF_PI)
    product = e.mul(high, top)
    rest = e.fma(low, top, e.fma(high, bottom, e.fma(high, top, e.neg(product))))
    small = e.lt(y, number(0.785398163397448))
    return (
        e.select(small, y, product),
        e.select(small, number(0.0), rest),
        e.select(small, number(0.0), quarter),
    )


def _modulo_4(e: E, x: V) -> V:
    quotient = e.round("roundeven", e.mul(x, e.constant(0.25, float64)))
    return e.fma(quotient, e.constant(-4.0, float64), x)


def _distill(e: E, terms: list[V]) -> list[V]:
    """The same sum with its rounded value in front and the errors behind."""
    total, errors = terms[-1], []
    for term in reversed(terms[:-1]):
        total, error = two_sum(e, term, total)
        errors.append(error)
    return [total, *reversed(errors)]


def two_sum(e: E, a: V, b: V) -> tuple[V, V]:
    """The rounded sum, and what rounding took away; exact for any order of magnitudes."""
    total = e.add(a, b)
    moved = e.sub(total, a)
    return total, e.add(e.sub(a, e.sub(total, moved)), e.sub(b, moved))


def atan2(e: E, y: V, x: V) -> V:
    """The angle of the point (x, y), in [-pi, pi], with the cases of signed zeros and infinities
    as IEEE 754 has them."""
    up, right = e.cast(y, float64), e.cast(x, float64)
    return e.cast(_angle(e, up, right, y.dtype), y.dtype)


def atan(e: E, x: V) -> V:
    """The arc tangent."""
    wide = e.cast(x, float64)
    return e.cast(_angle(e, wide, e.constant(1.0, float64), x.dtype), x.dtype)


def asin(e: E, x: V) -> V:
    """The arc sine; NaN outside [-1, 1]."""
    wide = e.cast(x, float64)
    return e.cast(_angle(e, wide, _other_side(e, wide), x.dtype), x.dtype)


def acos(e: E, x: V) -> V:
    """The arc cosine; NaN outside [-1, 1]."""
    wide = e.cast(x, float64)
    return e.cast(_angle(e, _other_side(e, wide), wide, x.dtype), x.dtype)


def _other_side(e: E, x: V) -> V:
    """sqrt(1 - x**2), accurate near 1."""
    one = e.constant(1.0, float64)
    return e.sqrt(e.mul(e.sub(one, x), e.add(one, x)))


def _angle(e: E, y: V, x: V, precision: Any) -> V:
    number = functools.partial(e.constant, dtype=float64)
    up, right = e.abs(y), e.abs(x)
    steep = e.lt(right, up)
    low, high = e.select(steep, right, up), e.select(steep, up, right)
    # Equal infinities are at 45 degrees, and the origin is on the axis.
    low, high = (e.select(e.eq(up, right), number(1.0), v) for v in (low, high))
    origin = e.and_(e.eq(up, number(0.0)), e.eq(right, number(0.0)))
    t = e.select(origin, number(0.0), e.div(low, high))
    far = e.lt(number(math.tan(math.pi / 8)), t)
    t = e.select(far, e.div(e.sub(t, number(1.0)), e.add(t, number(1.0))), t)
    z = e.mul(t, t)
    curve = e.mul(e.mul(t, z), polynomial(e, z, _ARC[precision]))
    quarter = (number(_HALF_PI[0] / 2), number(_HALF_PI[1] / 2))
    first = e.select(far, quarter[0], number(0.0))
    second = e.add(curve, e.select(far, quarter[1], number(0.0)))
    first, error = two_sum(e, first, t)
    second = e.add(second, error)
    # Above 45 degrees the angle is counted from the vertical; to the left, from the back.
    first, second = _mirror(e, steep, first, second, 1.0)
    behind = e.lt(e.copysign(number(1.0), x), number(0.0))
    first, second = _mirror(e, behind, first, second, 2.0)
    value = e.copysign(e.add(first, second), y)
    nan = e.or_(e.is_nan(x), e.is_nan(y))
    return e.select(nan, number(math.nan), value)


def _mirror(e: E, where: V, first: V, second: V, quarters: float) -> tuple[V, V]:
    """The angle a as `quarters` right angles minus a, where asked."""
    number = functools.partial(e.constant, dtype=float64)
    top, error = two_sum(e, number(quarters * _HALF_PI[0]), e.neg(first))
    rest = e.add(e.sub(number(quarters * _HALF_PI[1]), second), error)
    return e.select(where, top, first), e.select(where, rest, second)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": sin, "cos": cos, "tan": tan, "atan2": atan2, "atan": atan, "asin": asin, "acos": acos,
}  # fmt: skip
