"""exp, log, tanh, sigmoid and logaddexp as instructions on vectors, in float32 and float64.

Each takes an emitter and values and writes straight-line code: no branches, no tables, no calls
to a mathematical library. Every rounding is spelled out, so every processor gives the same
bits.

The argument is reduced to a short interval, where a polynomial takes over. The polynomials go
through Chebyshev nodes of that interval; the tests derive them again. The reductions are
textbook ones; see J.-M. Muller, "Elementary Functions", on range reduction.

Greatest errors that the tests allow, in units in the last place of the result:

=========  =======  =======
function   float32  float64
=========  =======  =======
exp        1        1
log        1        1
tanh       2        3
sigmoid    2        2
softplus   2        3        logaddexp(x, 0)
logaddexp  3        4        in units of the largest of abs(x), abs(y) and the result
=========  =======  =======
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...dtypes import DType, float32, float64

# Emitters and their values. emitter.py stands above this file, which names no classes of it.
E = Any
V = Any

LOG2_E = 1.4426950408889634074
HALF_SQRT2 = 0.70710678118654752440
# Of polynomials: from how many terms on there are two chains, and the steps that follow them.
_MANY_TERMS, _SINGLE_STEPS = 12, 4


class Format:
    """What the functions need to know about one floating-point format.

    Attributes:
        word: the unsigned integer of the same width.
        mantissa: bits of the mantissa.
        bias: of the exponent.
        integer: adding this float rounds to an integer, which is then in its low bits.
        exponent_mask: the bits of the exponent.
        root: the bits of sqrt(1/2).
        lift: 2**lift brings what is below the normal numbers among them.
        ln2: log(2) as a sum of two floats.
        least, most: exp is 0 below and infinite above.
        saturates: tanh is 1 from here on.
        exp: q of ``exp(r) = 1 + r + r**2 q(r)`` for ``abs(r) <= log(2) / 2``.
        log: float32: p of ``log(1 + f) = f - f**2 / 2 + f**3 p(f)``; float64: p of
            ``log(1 + f) = w + w**3 p(w**2)`` with ``w = 2 f / (2 + f)``; both for
            ``sqrt(1/2) <= 1 + f <= sqrt(2)``.
        log1p: float32: p of ``log(1 + u) = u + u**2 p(u)``; float64: p of
            ``log(1 + u) = w + w**3 p(w**2)`` with ``w = 2 u / (2 + u)``; both for u in [0, 1].
    """

    def __init__(
        self,
        dtype: DType,
        limits: tuple[float, float, float],
        exp: tuple[float, ...],
        log: tuple[float, ...],
        log1p: tuple[float, ...],
    ) -> None:
        info = np.finfo(dtype)
        self.dtype = dtype
        self.word = np.dtype(f"uint{info.bits}")
        self.mantissa = info.nmant
        self.bias = (1 << (info.nexp - 1)) - 1
        self.integer = 1.5 * 2.0**info.nmant
        self.exponent_mask = (2 * self.bias + 1) << info.nmant
        self.lift = 1 << (info.nexp - 2)
        self.root = self.bits(HALF_SQRT2)
        self.ln2 = _LN2[dtype]
        self.least, self.most, self.saturates = limits
        self.exp, self.log, self.log1p = exp, log, log1p

    def bits(self, value: float) -> int:
        """The bits of `value` in this format."""
        return int(self.dtype.type(value).view(self.word))


_LN2 = {
    float32: (0.693147182464599609375, -1.904654323148236017e-9),
    float64: (0.69314718055994528623, 2.3190468138462995584e-17),
}
FORMATS = {
    float32: Format(
        float32,
        (-104.0, 88.73, 10.0),
        exp=(0.5, 0.16666576, 0.041666552, 0.008363233, 0.001392625),
        log=(
            0.3333333, -0.24999997, 0.20000716, -0.16667803, 0.14249058,
            -0.12425687, 0.1168542, -0.11479734, 0.06971612,
        ),
        log1p=(
            -0.5, 0.33333236, -0.2499676, 0.19956708, -0.16365153, 0.13033365,
            -0.09139414, 0.049309973, -0.017184267, 0.002801642,
        ),
    ),
    float64: Format(
        float64,
        (-746.0, 709.8, 20.0),
        exp=(
            0.5000000000000001, 0.16666666666666669, 0.041666666666623824,
            0.008333333333330039, 0.0013888888917367081, 0.00019841269863171557,
            2.4801521057868204e-05, 2.7557268276905696e-06, 2.7620201591031547e-07,
            2.5100472505694996e-08,
        ),
        log=(
            0.08333333333333337, 0.012499999999968595, 0.002232142861404335,
            0.0004340275612264664, 8.8783638306942e-05, 1.8715480469428762e-05,
            4.460586451734438e-06,
        ),
        log1p=(
            0.08333333333333333, 0.012500000000004558, 0.0022321428568053718,
            0.00043402778744976297, 8.877826873111747e-05, 1.8781213458201444e-05,
            4.063154360856609e-06, 9.156091926262446e-07, 1.6786076519288395e-07,
            7.707617574664846e-08,
        ),
    ),
}  # fmt: skip


def exp(e: E, x: V) -> V:
    """e**x: 0 at -infinity and far below 0, infinite above the range, NaN at NaN.

    ``x = n log(2) + r`` with integer n, so ``exp(x) = 2**n exp(r)``.
    """
    most = e.constant(FORMATS[x.dtype].most, x.dtype)
    return _exp_below(e, e.select(e.lt(most, x), most, x))


def log(e: E, x: V) -> V:
    """The natural logarithm: -infinity at 0, NaN below 0 and at NaN, infinite at infinity.

    ``x = 2**k m`` with m between sqrt(1/2) and sqrt(2), so ``log(x) = k log(2) + log(m)``.
    """
    form = FORMATS[x.dtype]
    k, f = split(e, x, form)
    return log_of_parts(e, k, f, x)


def log_of_parts(e: E, k: V, f: V, x: V) -> V:
    """``k log(2) + log(1 + f)`` with 1 + f between sqrt(1/2) and sqrt(2), for an x above 0 and
    below infinity; for another x what its logarithm is."""
    form = FORMATS[x.dtype]
    inside = _log_near_one_32 if x.dtype == float32 else _log_near_one_64
    y = inside(e, f, k, form)
    y = e.fma(k, e.constant(form.ln2[0], x.dtype), y)
    infinity, zero = e.constant(np.inf, x.dtype), e.zero(x)
    invalid = e.constant(np.nan, x.dtype)
    outside = e.select(e.eq(x, zero), e.constant(-np.inf, x.dtype), invalid)
    y = e.select(e.eq(x, infinity), infinity, y)
    return e.select(e.lt(zero, x), y, outside)


def tanh(e: E, x: V) -> V:
    """The hyperbolic tangent; tiny x is returned as it is, -0 included.

    ``tanh(x) = h / (h + 1)`` for positive x, with ``h = (exp(2 x) - 1) / 2``, which keeps its
    relative accuracy near 0: with ``x = n log(2) / 2 + r`` it is
    ``2**n (exp(2 r) - 1) / 2 + (2**n - 1) / 2``, and n is 0 there.
    """
    form = FORMATS[x.dtype]
    number = _numbers(e, x.dtype)
    y = e.abs(x)
    limit = number(form.saturates)
    y = e.select(e.lt(limit, y), limit, y)
    shift = number(form.integer + form.bias)
    t = e.fma(y, number(2 * LOG2_E), shift)
    n = e.sub(t, shift)
    r = e.fma(n, number(-0.5 * form.ln2[0]), y)
    r = e.fma(n, number(-0.5 * form.ln2[1]), r)
    terms = [c * 2.0 ** (i + 1) for i, c in enumerate(form.exp)]
    h = e.fma(polynomial(e, r, terms), e.mul(r, r), r)
    word = e.bitcast(t, form.word)
    power = e.bitcast(e.shl(word, e.constant(form.mantissa, form.word)), x.dtype)
    h = e.fma(power, h, e.fma(power, number(0.5), number(-0.5)))
    divide = _over_one_more if x.dtype == float32 else _over_one_more_roughly
    return e.copysign(divide(e, h), x)


def sigmoid(e: E, x: V) -> V:
    """1 / (1 + exp(-x)), with u = exp(-abs(x)), which does not overflow.

    ``a - a u / (1 + u)`` with a = u below 0 and a = 1 above: the rounding errors of the quotient
    count less than they would in a / (1 + u).
    """
    u, one = exp_of_negative(e, e.neg(e.abs(x))), e.one(x)
    quotient = e.div(u, e.add(one, u))
    a = e.select(e.lt(x, e.zero(x)), u, one)
    return e.fma(e.neg(quotient), a, a)


def logaddexp(e: E, x: V, y: V) -> V:
    """log(exp(x) + exp(y)): the larger plus ``log(1 + exp(-abs(x - y)))``; never overflows.

    Equal infinities give that infinity; NaN in either gives NaN.
    """
    top = e.select(e.lt(x, y), y, x)
    # The difference of equal infinities would be NaN.
    gap = e.select(e.eq(x, y), e.zero(x), e.sub(x, y))
    u = exp_of_negative(e, e.neg(e.abs(gap)))
    log1p = _log1p_32 if x.dtype == float32 else _log1p_64
    return one_nan(e, e.add(top, log1p(e, u)))


def one_nan(e: E, x: V) -> V:
    """x with one and the same NaN: where two of them meet in an instruction, it depends on the
    order of its operands, which the assembler may change, whose sign and payload stay."""
    return e.select(e.is_nan(x), e.constant(np.nan, x.dtype), x)


def _over_one_more(e: E, h: V) -> V:
    """h / (h + 1) for h >= 0, with the roundings of sum and quotient corrected: half an ulp
    instead of 1.5. The correction is first order in both, so one step is enough."""
    one = e.one(h)
    below = e.add(h, one)
    missed = e.sub(h, e.sub(below, one))
    inverse = e.div(one, below)
    quotient = e.mul(h, inverse)
    minus = e.neg(quotient)
    rest = e.fma(minus, missed, e.fma(minus, below, h))
    return e.fma(rest, inverse, quotient)


def _over_one_more_roughly(e: E, h: V) -> V:
    """h / (h + 1)."""
    return e.div(h, e.add(h, e.one(h)))


def _numbers(e: E, dtype: DType) -> Any:
    return lambda value: e.constant(value, dtype)


def polynomial(e: E, x: V, coefficients: Any) -> V:
    """``c[0] + c[1] x + c[2] x**2 + ...`` by Horner's rule.

    Each step waits for the one before. So of many terms the highest, whose rounding errors count
    least, are summed in two chains side by side: the even powers and the odd ones.
    """
    first = len(coefficients)
    if first < _MANY_TERMS:
        y = e.constant(coefficients[-1], x.dtype)
        first -= 1
    else:
        first = _SINGLE_STEPS
        square, high = e.mul(x, x), coefficients[first:]
        even, odd = (polynomial(e, square, high[start::2]) for start in (0, 1))
        y = e.fma(x, odd, even)
    for c in reversed(coefficients[:first]):
        y = e.fma(y, x, e.constant(c, x.dtype))
    return y


def _exp_below(e: E, x: V) -> V:
    """exp(x) for x that do not overflow by more than a little."""
    form = FORMATS[x.dtype]
    # The low bits of the word hold n plus twice the bias.
    p, word = _exp_parts(e, x, 2 * form.bias)
    return _scale(e, p, word, form)


def exp_of_negative(e: E, x: V) -> V:
    """exp(x) for x that are not above 0, in three instructions fewer than `exp`: 2**n is lifted
    until it is normal for every n, so the last product is the only one that may round."""
    form = FORMATS[x.dtype]
    p, word = _exp_parts(e, x, form.bias + form.lift)
    power = e.bitcast(e.shl(word, e.constant(form.mantissa, form.word)), x.dtype)
    return e.mul(e.mul(p, power), e.constant(2.0**-form.lift, x.dtype))


def _exp_parts(e: E, x: V, offset: int) -> tuple[V, V]:
    """exp(r), and a word whose low bits are n + offset, with ``x = n log(2) + r``."""
    form = FORMATS[x.dtype]
    number = _numbers(e, x.dtype)
    least = number(form.least)
    x = e.select(e.lt(x, least), least, x)
    shift = number(form.integer + offset)
    t = e.fma(x, number(LOG2_E), shift)
    n = e.sub(t, shift)
    r = e.fma(n, number(-form.ln2[0]), x)
    r = e.fma(n, number(-form.ln2[1]), r)
    return polynomial(e, r, (1.0, 1.0, *form.exp)), e.bitcast(t, form.word)


def _scale(e: E, p: V, word: V, form: Format) -> V:
    """p times 2**n, where the low bits of `word` are n plus twice the bias.

    By two factors, because 2**n may be too large or too small for the format although the
    product is not; only the second product is rounded.
    """
    half = e.shl(word, e.constant(form.mantissa - 1, form.word))
    half = e.and_(half, e.constant(form.exponent_mask, form.word))
    rest = e.sub(e.shl(word, e.constant(form.mantissa, form.word)), half)
    p = e.mul(p, e.bitcast(half, p.dtype))
    return e.mul(p, e.bitcast(rest, p.dtype))


def split(e: E, x: V, form: Format) -> tuple[V, V]:
    """k and f with ``x = 2**k (1 + f)`` and 1 + f between sqrt(1/2) and sqrt(2), for positive x."""
    number, word = _numbers(e, x.dtype), _numbers(e, form.word)
    lift = form.mantissa + 1
    denormal = e.lt(x, number(2.0 ** (1 - form.bias)))
    x = e.select(denormal, e.mul(x, number(2.0**lift)), x)
    offset = e.select(
        denormal, number(form.integer + form.bias + lift), number(form.integer + form.bias)
    )
    bits = e.add(e.bitcast(x, form.word), word((form.bias << form.mantissa) - form.root))
    k = e.or_(e.shr(bits, word(form.mantissa)), word(form.bits(form.integer)))
    k = e.sub(e.bitcast(k, x.dtype), offset)
    m = e.add(e.and_(bits, word((1 << form.mantissa) - 1)), word(form.root))
    return k, e.sub(e.bitcast(m, x.dtype), e.one(x))


def _log_near_one_32(e: E, f: V, k: V, form: Format) -> V:
    """log(1 + f) and the low part of k log(2)."""
    number = _numbers(e, f.dtype)
    square = e.mul(f, f)
    y = e.mul(e.mul(f, square), polynomial(e, f, form.log))
    y = e.fma(k, number(form.ln2[1]), y)
    return e.add(f, e.fma(number(-0.5), square, y))


def _log_near_one_64(e: E, f: V, k: V, form: Format) -> V:
    """log(1 + f) and the low part of k log(2).

    ``w + w**3 p`` is ``f - f**2 / 2 + w (f**2 / 4 + w**2 p)``, where all but f is small.
    """
    number = _numbers(e, f.dtype)
    w = e.div(e.add(f, f), e.add(f, number(2.0)))
    v = e.mul(w, w)
    square = e.mul(f, f)
    y = e.fma(v, polynomial(e, v, form.log), e.mul(square, number(0.25)))
    y = e.fma(w, y, e.mul(k, number(form.ln2[1])))
    return e.add(f, e.fma(number(-0.5), square, y))


def _log1p_32(e: E, u: V) -> V:
    """log(1 + u) for u in [0, 1], with full relative accuracy near 0; no division."""
    return e.fma(e.mul(u, u), polynomial(e, u, FORMATS[u.dtype].log1p), u)


def _log1p_64(e: E, u: V) -> V:
    """log(1 + u) for u in [0, 1], with full relative accuracy near 0."""
    w = e.div(e.add(u, u), e.add(u, e.constant(2.0, u.dtype)))
    v = e.mul(w, w)
    return e.fma(e.mul(w, v), polynomial(e, v, FORMATS[u.dtype].log1p), w)


FUNCTIONS: dict[str, Callable[..., Any]] = {"sigmoid": sigmoid}
