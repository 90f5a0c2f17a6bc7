"""The functions of `powers` and `trigonometry` against mpmath: errors in units in the last place.

Arguments are drawn over all exponents, and edges have the values of the C standard."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_functions import Kernel

from cotangent.compiler.codegen import powers, trigonometry
from cotangent.dtypes import float32, float64
from cotangent.ops import error_function

mpmath = pytest.importorskip("mpmath", reason="the judge of the functions is mpmath")
mpmath.mp.prec = 160

ALL = {**powers.FUNCTIONS, **trigonometry.FUNCTIONS}
# name -> (judge, smallest and largest magnitude as powers of two, allowed errors)
ONE_ARGUMENT = {
    "sin": (mpmath.sin, -140, 127, (0.51, 1.0)),
    "cos": (mpmath.cos, -140, 127, (0.51, 1.0)),
    "tan": (mpmath.tan, -140, 127, (0.51, 3.0)),
    "atan": (mpmath.atan, -140, 127, (0.51, 2.0)),
    "asin": (mpmath.asin, -60, 0, (0.51, 4.0)),
    "acos": (mpmath.acos, -60, 0, (0.51, 4.0)),
    "erf": (mpmath.erf, -60, 4, (0.6, 2.0)),
    "log1p": (mpmath.log1p, -60, 100, (0.51, 2.0)),
    "expm1": (mpmath.expm1, -60, 6.3, (0.51, 2.0)),
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
        assert ulps(compiled(name, dtype)(x), expected, dtype) <= 1.0


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
    assert ulps(compiled("pow", dtype, 2)(x, y), expected, dtype) <= (0.51, 3.0)[dtype == float64]


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


def test_powers_of_two_have_whole_logarithms():
    x = 2.0 ** np.arange(-1020, 1020)
    np.testing.assert_array_equal(compiled("log2", float64)(x), np.arange(-1020, 1020))


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
