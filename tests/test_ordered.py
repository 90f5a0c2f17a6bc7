"""Compiled running sums and sorting against NumPy: every dtype, lengths around each limit, ties."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent.compiler.codegen import ordered
from cotangent.dtypes import INTEGERS, bool_, float32, float64

pytest.importorskip("llvmlite.binding", reason="machine code needs llvmlite")

LENGTHS = [1, 2, 7, 8, 9, 16, 17, 33, 127, 128, 129, 300, 1000]
SORTED = (bool_, *INTEGERS, float32, float64)


def argsort(x):
    return ct.jit(ct.argsort)(ct.asarray(x)).numpy()


def sums(x):
    return ct.jit(lambda t: ct.cumulative_sum(t, axis=-1))(ct.asarray(x)).numpy()


def elements(dtype, shape, seed=0):
    """All bit patterns; half of the elements are drawn from a few, so that many are equal."""
    rng = np.random.default_rng(seed)
    if dtype == bool_:
        return rng.random(shape) > 0.5
    word = np.dtype(f"uint{8 * dtype.itemsize}")
    x = rng.integers(0, np.iinfo(word).max, shape, dtype=word, endpoint=True).view(dtype)
    if dtype.kind == "f":
        few = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45], dtype)
    else:
        few = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1], dtype)
    return np.where(rng.random(shape) < 0.5, x, rng.choice(few, shape))


@pytest.mark.parametrize("dtype", SORTED, ids=str)
def test_argsort_is_the_stable_one(dtype):
    for n in LENGTHS:
        x = elements(dtype, (3, n), n)
        np.testing.assert_array_equal(argsort(x), np.argsort(x, axis=-1, stable=True), str(n))


@pytest.mark.parametrize("dtype", [np.dtype("int64"), float64], ids=str)
def test_digits_that_are_the_same_in_all_keys(dtype):
    """Few digits differ, or none: an odd or even number of passes."""
    rng = np.random.default_rng(1)
    n = ordered._SHORT + 50
    for high in (1, 200, 60_000, 2**20, 2**30):
        x = rng.integers(-high, high, (2, n)).astype(dtype)
        x[1] = abs(x[1]) % max(high, 1)
        np.testing.assert_array_equal(argsort(x), np.argsort(x, axis=-1, stable=True))


def test_presorted_reversed_and_constant_rows():
    for n in (40, ordered._SHORT, 500):
        x = np.arange(n, dtype=np.float32)
        rows = np.stack([x, x[::-1], np.zeros(n, np.float32), np.full(n, np.nan, np.float32)])
        np.testing.assert_array_equal(argsort(rows), np.argsort(rows, axis=-1, stable=True))


def test_narrow_floats_are_sorted_too():
    x = np.random.default_rng(2).standard_normal((2, 200)).astype(np.float16)
    np.testing.assert_array_equal(argsort(x), np.argsort(x, axis=-1, stable=True))


@pytest.mark.parametrize("shape", [(1, 100_000), (3000, 40), (400, 500)])
def test_threads_do_not_change_the_order(shape):
    x = np.random.default_rng(3).integers(0, 1000, shape).astype(np.float32)
    threads = ct.get_num_threads()
    try:
        for count in (1, 2):
            ct.set_num_threads(count)
            np.testing.assert_array_equal(argsort(x), np.argsort(x, axis=-1, stable=True))
    finally:
        ct.set_num_threads(threads)


def documented_sums(x):
    """Row by row as the docstring says: vectors of 64 bytes, or 16 elements if they are short."""
    lanes = 8 if x.dtype.itemsize == 8 else 16
    out = np.empty_like(x)
    for row, result in zip(x.reshape(-1, x.shape[-1]), out.reshape(-1, x.shape[-1]), strict=True):
        total = x.dtype.type(0)
        for start in range(0, row.size, lanes):
            part = row[start : start + lanes].copy()
            width = 1
            while width < lanes:
                part[width:] = part[:-width] + part[width:]
                width *= 2
            result[start : start + lanes] = total + part
            total = total + part[-1]
    return out


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_sums_have_the_documented_order(dtype):
    for n in LENGTHS:
        x = np.random.default_rng(n).standard_normal((3, n)).astype(dtype)
        np.testing.assert_array_equal(sums(x), documented_sums(x))
        wide = np.cumsum(x.astype(np.longdouble), axis=-1)
        room = np.cumsum(np.abs(x.astype(np.longdouble)), axis=-1)
        steps = 5 + np.arange(n) / 8
        assert (abs(sums(x) - wide) <= steps * np.finfo(dtype).eps * room).all()


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_sums_of_integers_wrap(dtype):
    for n in LENGTHS:
        x = elements(dtype, (2, n), n)
        np.testing.assert_array_equal(sums(x), np.cumsum(x, axis=-1, dtype=dtype))


def test_sums_of_special_values():
    inf, nan = np.inf, np.nan
    rows = np.array([[-0.0, -0.0, 1.0], [1.0, inf, -inf], [nan, 1.0, 2.0], [inf, 1.0, inf]], "f4")
    with np.errstate(invalid="ignore"):
        expected = np.cumsum(rows, axis=-1)
    found = sums(rows)
    np.testing.assert_array_equal(found, expected)
    assert np.signbit(found[0, :2]).all()
