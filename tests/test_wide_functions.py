"""The functions of `powers` and `trigonometry` against mpmath: errors in units in the last place.

Arguments are drawn over all exponents, and edges have the values of the C standard."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_functions import Kernel
from test_functions import ulps as wide_ulps

import cotangent as ct
from cotangent.compiler.codegen import powers, trigonometry
from cotangent.dtypes import float32, float64
from cotangent.ops import error_function

mpmath = pytest.importorskip("mpmath", reason="the judge of the functions is mpmath")
mpmath.mp.prec = 160

ALL = {**powers.FUNCTIONS, **trigonometry.FUNCTIONS}
# name -> (judge, smallest and largest magnitude as powers of two, allowed errors)
ONE_ARGUMENT = {
    "sin": (mpmath.sin, -140, 127, (2.0, 1.0)),
    "cos": (mpmath.cos, -140, 127, (2.0, 1.0)),
    "tan": (mpmath.tan, -140, 127, (0.51, 3.0)),
    "atan": (mpmath.atan, -140, 127, (0.51, 2.0)),
    "asin": (mpmath.asin, -60, 0, (0.51, 4.0)),
    "acos": (mpmath.acos, -60, 0, (0.51, 4.0)),
    "erf": (mpmath.erf, -140, 4, (2.0, 2.0)),
    "log1p": (mpmath.log1p, -140, 127, (2.0, 2.0)),
    "expm1": (mpmath.expm1, -140, 6.3, (2.0, 2.0)),
    "log2": (lambda x: mpmath.log(x, 2), -140, 127, (0.51, 2.0)),
    "log10": (lambda x: mpmath.log(x, 10), -140, 127, (0.51, 2.0)),
}
POSITIVE = {"log2", "log10"}


def compiled(name, dtype, count=1):
    return Kernel(lambda e, *xs: e.call(name, *xs), *[dtype] * count)


def ulps(got, expected, dtype):
    """The largest error of `got` against mpmath numbers."""
    worst = 0.0
    least = mpmath.mpf(float(np.finfo(dtype).smallest_subnormal))
    for a, b in zip(got, expected, strict=True):
        if abs(b) > float(np.finfo(dtype).max):
            continue
        size = abs(b)
        step = least
        if size >= float(np.finfo(dtype).tiny):
            step = mpmath.mpf(2) ** (int(mpmath.floor(mpmath.log(size, 2))) - np.finfo(dtype).nmant)
        worst = max(worst, float(abs(mpmath.mpf(float(a)) - b) / step))
    return worst


def spread(rng, low, high, dtype, count=400):
    sizes = 2.0 ** rng.uniform(low, high, count)
    return (sizes * rng.choice([-1.0, 1.0], count)).astype(dtype)


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_errors(name, dtype):
    judge, low, high, allowed = ONE_ARGUMENT[name]
    rng = np.random.default_rng(3)
    wide = dtype == float64 and high == 127
    x = np.concatenate([
        spread(rng, low, 1000 if wide else high, dtype),
        spread(rng, max(low, -6), min(high, 6), dtype),
    ])  # fmt: skip
    x = np.abs(x) if name in POSITIVE else x
    x = x[x > -1] if name == "log1p" else x
    x = x[np.abs(x) < np.float64(704 if dtype == float64 else 88)] if name == "expm1" else x
    got = compiled(name, dtype)(x)
    expected = [judge(mpmath.mpf(float(value))) for value in x]
    assert ulps(got, expected, dtype) <= allowed[dtype == float64]


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_sines_near_multiples_of_pi(dtype):
    """The worst cases of argument reduction: closest to a multiple of pi / 2."""
    k = np.concatenate([np.arange(1, 60), 10 ** np.arange(2, 15)]).astype(np.float64)
    x = (k * (math.pi / 2)).astype(dtype)
    if dtype == float64:
        x = np.append(x, [6381956970095103.0 * 2.0**797, 5.3193726483265414e255])
    for name, judge in (("sin", mpmath.sin), ("cos", mpmath.cos)):
        mpmath.mp.prec = 1400
        expected = [judge(mpmath.mpf(float(value))) for value in x]
        mpmath.mp.prec = 160
        assert ulps(compiled(name, dtype)(x), expected, dtype) <= (2.0, 1.0)[dtype == float64]


IN_FLOAT32 = {
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "log1p": np.log1p, "expm1": np.expm1,
    "erf": lambda x: error_function.evaluate(np, x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "log2": np.log2, "log10": np.log10,
}  # fmt: skip


@pytest.mark.parametrize("name", IN_FLOAT32)
def test_float32_functions_over_all_floats(name):
    """Every 2003rd float32, with float64 as the judge; denormal results too."""
    x = np.arange(0, 2**32, 2003, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        expected = IN_FLOAT32[name](x.astype(float64))
        assert wide_ulps(compiled(name, float32)(x), expected).max() <= 2.0


def test_the_sigmoid_of_float64():
    x = np.concatenate([np.linspace(-745, 745, 50_001), np.linspace(-4, 4, 100_000)])
    wide = x.astype(np.longdouble)
    if np.finfo(wide.dtype).nmant <= 52:
        pytest.skip("no wider float on this machine")
    expected = 1 / (1 + np.exp(-wide))
    assert wide_ulps(compiled("sigmoid", float64)(x), expected).max() <= 2.0


def test_large_arguments_beside_small_ones():
    """A vector in which one lane is beyond the quick reduction; the others keep their bits."""
    x = np.linspace(-100, 100, 64)
    for dtype in (float32, float64):
        for name in ("sin", "cos", "tan"):
            y = x.astype(dtype)
            alone = compiled(name, dtype)(y)
            y[::5] = 3e20
            mixed = compiled(name, dtype)(y)
            kept = y != dtype.type(3e20)
            np.testing.assert_array_equal(mixed[kept], alone[kept])
            exact = float(getattr(mpmath, name)(mpmath.mpf(float(y[0]))))
            np.testing.assert_allclose(mixed[0], exact, rtol=4 * np.finfo(dtype).eps)


def test_a_whole_kernel_branches_to_the_same_bits():
    x = np.concatenate([np.linspace(-9, 9, 100), 2.0 ** np.arange(-20, 120)])
    for dtype in (float32, float64):
        y = x.astype(dtype)
        for name in ("sin", "cos", "tan"):
            found = ct.jit(getattr(ct, name))(ct.asarray(y)).numpy()
            np.testing.assert_array_equal(found, compiled(name, dtype)(y))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_powers(dtype):
    rng = np.random.default_rng(4)
    limit = 120 if dtype == float32 else 1000
    x = 2.0 ** rng.uniform(-40, 40, 600)
    y = rng.uniform(-limit, limit, 600) / np.log2(x)
    x, y = x.astype(dtype), y.astype(dtype)
    x[:20] = -x[:20]
    y[:20] = rng.integers(-3, 4, 20)
    expected = [
        mpmath.power(mpmath.mpf(float(a)), mpmath.mpf(float(b))) for a, b in zip(x, y, strict=True)
    ]
    assert ulps(compiled("pow", dtype, 2)(x, y), expected, dtype) <= (0.6, 3.0)[dtype == float64]


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_angles(dtype):
    rng = np.random.default_rng(5)
    y, x = spread(rng, -30, 30, dtype, 600), spread(rng, -30, 30, dtype, 600)
    pairs = zip(y, x, strict=True)
    expected = [mpmath.atan2(mpmath.mpf(float(a)), mpmath.mpf(float(b))) for a, b in pairs]
    assert ulps(compiled("atan2", dtype, 2)(y, x), expected, dtype) <= (0.51, 2.0)[dtype == float64]


EDGES = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0, -2.0, 0.5, -0.5, 1e-42, 3.0])


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", ONE_ARGUMENT)
def test_edges(name, dtype):
    x = EDGES.astype(dtype)
    if name == "erf":
        expected = np.array([math.erf(value) for value in x], dtype)
    else:
        with np.errstate(all="ignore"):
            expected = getattr(np, name if hasattr(np, name) else f"arc{name[1:]}")(x)
    got = compiled(name, dtype)(x)
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(expected)[numbers])


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", ["pow", "atan2"])
def test_edges_of_pairs(name, dtype):
    x, y = (side.ravel().astype(dtype) for side in np.meshgrid(EDGES, EDGES))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    got = compiled(name, dtype, 2)(x, y)
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(expected)[numbers])


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_powers_of_two_have_whole_logarithms(dtype):
    exponents = np.arange(-149, 128) if dtype == float32 else np.arange(-1020, 1020)
    x = 2.0**exponents
    np.testing.assert_array_equal(compiled("log2", dtype)(x.astype(dtype)), exponents)


def test_whole_powers_of_float32_are_rounded_once():
    x, n = (side.ravel().astype(float32) for side in np.meshgrid(np.arange(-20, 21), np.arange(6)))
    expected = (x.astype(float64) ** n.astype(float64)).astype(float32)
    np.testing.assert_array_equal(compiled("pow", float32, 2)(x, n), expected)


def _through_nodes(f, low, high, count):
    """The polynomial through the Chebyshev nodes of an interval, lowest power first."""
    low, high = mpmath.mpf(low), mpmath.mpf(high)
    nodes = [
        (low + high) / 2 + (high - low) / 2 * mpmath.cos(mpmath.pi * (2 * k + 1) / (2 * count))
        for k in range(count)
    ]
    rows = mpmath.matrix([[x**j for j in range(count)] for x in nodes])
    return mpmath.lu_solve(rows, mpmath.matrix([f(x) for x in nodes]))


def _of_square(f):
    return lambda z: f(mpmath.sqrt(z))


FITS = {
    "sine": (trigonometry._SINE, _of_square(lambda r: (mpmath.sin(r) - r) / r**3), 0, "0.6195"),
    "cosine": (
        trigonometry._COSINE,
        _of_square(lambda r: (mpmath.cos(r) - 1 + r**2 / 2) / r**4),
        0,
        "0.6195",
    ),
    "arc": (trigonometry._ARC, _of_square(lambda t: (mpmath.atan(t) - t) / t**3), 0, "0.1717"),
    "erf": (error_function.NEAR, _of_square(lambda x: mpmath.erf(x) / x), 0, 1),
    "tail of erf": (
        error_function.TAIL,
        lambda u: mpmath.exp((2 / u - 2) ** 2) * mpmath.erfc(2 / u - 2),
        mpmath.mpf(1) / 4,
        mpmath.mpf(2) / 3,
    ),
}


_LOW, _HIGH = "-0.29289321881345247560", "0.41421356237309504880"  # sqrt(1/2) - 1, sqrt(2) - 1
FITS_32 = {
    "sine": (trigonometry.SINE_32, FITS["sine"][1], 0, "0.63"),
    "cosine": (trigonometry.COSINE_32, FITS["cosine"][1], 0, "0.63"),
    "erf": (powers.ERF_NEAR, _of_square(lambda x: mpmath.erf(x) / x - 1), 0, "1.44"),
    "log2": (powers.LOG2, lambda f: mpmath.log(1 + f, 2) / f, _LOW, _HIGH),
    "exp2": (powers.EXP2, lambda r: mpmath.mpf(2) ** r, "-0.5", "0.5"),
    "erf beyond": (powers.ERF_FAR, lambda s: mpmath.erf(s + mpmath.mpf(5) / 2), "-1.3", "1.5"),
}


@pytest.mark.parametrize("name", FITS_32)
def test_float32_coefficients_are_what_they_say(name):
    stored, f, low, high = FITS_32[name]
    mpmath.mp.prec = 300
    found = _through_nodes(f, low, high, len(stored))
    mpmath.mp.prec = 160
    # What is computed in float64 has its digits.
    kind = float64 if name in ("log2", "exp2") else float32
    exact = np.array([float(c) for c in found]).astype(kind)
    np.testing.assert_allclose(np.array(stored, kind), exact, rtol=1e-14 * (kind == float64))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", FITS)
def test_coefficients_are_what_they_say(name, dtype):
    tables, f, low, high = FITS[name]
    mpmath.mp.prec = 300
    found = _through_nodes(f, low, high, len(tables[dtype]))
    mpmath.mp.prec = 160
    np.testing.assert_allclose(tables[dtype], [float(c) for c in found], rtol=1e-14)


def test_the_series_of_the_long_logarithm():
    def rest(v):
        w = mpmath.sqrt(v)
        return ((2 * mpmath.atanh(w / 2) - w) / w**3 - mpmath.mpf(1) / 12) / v

    mpmath.mp.prec = 300
    found = _through_nodes(rest, 0, "0.1178", len(powers._LONG_LOG))
    mpmath.mp.prec = 160
    np.testing.assert_allclose(powers._LONG_LOG, [float(c) for c in found], rtol=1e-14)


def test_two_over_pi():
    mpmath.mp.prec = 1400
    assert int(mpmath.floor(2 / mpmath.pi * mpmath.mpf(2) ** 1200)) == trigonometry._TWO_OVER_PI
    mpmath.mp.prec = 160
