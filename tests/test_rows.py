"""Row programs over large arrays: softmax and layer norm with their gradients, of rows of every
kind and wherever the arrays lie. The judge is their formula in a wider type, by NumPy."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn
from cotangent.compiler.codegen.build import TARGETS, TILES, build
from cotangent.compiler.fuse import fuse
from cotangent.compiler.memory import plan
from cotangent.compiler.simplify import simplify
from cotangent.compiler.trace import Trace, run_traced
from cotangent.runtime.loader import undefined_symbols
from cotangent.tree import flatten

RNG = np.random.default_rng(3)
SHAPES = [(160, 1024), (257, 515), (34, 4096), (4100, 33), (9000, 15), (70_000, 2), (5, 60, 511)]
WIDER = {"float16": "float64", "float32": "float64", "float64": "longdouble"}
PAGE = mmap.PAGESIZE


def _softmax(x, g):
    y, pullback = ct.vjp(ct.softmax, x)
    return y, *pullback(g)


def _softmax_by_numpy(x, g):
    e = np.exp(x - x.max(-1, keepdims=True))
    y = e / e.sum(-1, keepdims=True)
    return y, y * (g - (y * g).sum(-1, keepdims=True))


def _layer_norm(x, g, w, b):
    y, pullback = ct.vjp(nn.layer_norm, x, w, b)
    return y, *pullback(g)


def _layer_norm_by_numpy(x, g, w, b):
    centred = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    normal, rows = centred * scale, tuple(range(x.ndim - 1))
    d = g * w
    dx = scale * (d - d.mean(-1, keepdims=True) - normal * (d * normal).mean(-1, keepdims=True))
    return normal * w + b, dx, (g * normal).sum(rows), g.sum(rows)


def _shifted(array):
    """An equal array that begins one element after a multiple of 64 bytes."""
    memory = np.empty(array.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + array.itemsize
    moved = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def _passed(array):
    """`array` as an argument that keeps its dtype: where it lies, or a copy of float64."""
    return ct.asarray(array) if array.dtype == np.float64 else array


def _close(got, expected, count):
    """Equal to some units in the last place, more of them in a sum of `count` values."""
    limit = 16 * np.sqrt(count) * float(np.finfo(got.dtype).eps)
    scale = max(float(np.abs(expected).max()), 1.0)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got.astype(expected.dtype), expected, rtol=0, atol=limit * scale)


@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", [np.array, _shifted])
def test_softmax_and_its_gradient(shape, dtype, place):
    x, g = (place(RNG.normal(size=shape).astype(dtype)) for _ in range(2))
    expected = _softmax_by_numpy(x.astype(WIDER[dtype]), g.astype(WIDER[dtype]))
    for mine, wanted in zip(ct.jit(_softmax)(*map(_passed, (x, g))), expected, strict=True):
        assert mine.dtype == dtype
        _close(mine.numpy(), wanted, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[-1] > 2])
def test_layer_norm_and_its_gradients(shape, dtype):
    arrays = [RNG.normal(size=n).astype(dtype) for n in (shape, shape, shape[-1:], shape[-1:])]
    got = ct.jit(_layer_norm)(*map(_passed, map(_shifted, arrays)))
    expected = _layer_norm_by_numpy(*(a.astype(WIDER[dtype]) for a in arrays))
    counts = (1, 1, arrays[0].size // shape[-1], arrays[0].size // shape[-1])
    for mine, wanted, count in zip(got, expected, counts, strict=True):
        _close(mine.numpy(), wanted, count)


@pytest.mark.parametrize("body", [_softmax, lambda x, g: _layer_norm(x, g, x[0], g[0])])
def test_bits_are_those_of_one_thread_by_calls_and_by_loop(body):
    x, g = RNG.normal(size=(2, 3, 257, 515)).astype("float32")
    f, before, found = ct.jit(body), ct.get_num_threads(), set()
    try:
        for threads in (1, 2, 3):
            ct.set_num_threads(threads)
            calls = [f(a, b) for a, b in zip(x, g, strict=True)]
            for results in (calls, zip(*f.loop(x, g), strict=True)):
                found.add(b"".join(t.numpy().tobytes() for row in results for t in row))
    finally:
        ct.set_num_threads(before)
    assert len(found) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="protects memory by mprotect")
@pytest.mark.parametrize("shape", [(257, 515), (9000, 15)])
def test_nothing_is_read_past_the_end_of_an_argument(shape):
    """The page after it cannot be read; what is fetched ahead of the last row lies there."""
    size = int(np.prod(shape)) * 4
    used = -(-size // PAGE) * PAGE
    memory = mmap.mmap(-1, used + PAGE)
    whole = np.frombuffer(memory, np.uint8)
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(whole.ctypes.data + used), PAGE, 0) == 0
    x = whole[used - size : used].view("float32").reshape(shape)
    x[...] = RNG.normal(size=shape)
    wide = x.astype("float64")
    for mine, wanted in zip(ct.jit(_softmax)(x, x), _softmax_by_numpy(wide, wide), strict=True):
        _close(mine.numpy(), wanted, 1)


def _kernel(f):
    trace = Trace()
    xs = [trace.argument((4096, 1024), np.dtype("float32"), name) for name in "xg"]
    graph = run_traced(trace, lambda: trace.finish(flatten(f(*xs))[0]))
    (kernel,) = plan(fuse(simplify(graph)), TILES["avx2"]).kernels
    return kernel.text


@pytest.mark.parametrize("isa", TARGETS)
def test_row_programs_fetch_ahead_what_they_read_and_write(isa):
    text = _kernel(_softmax)
    for_writing, for_reading = "i32 1, i32 3, i32 1)", "i32 0, i32 3, i32 1)"
    vectors = text.count("store <16 x float>") // 3  # a scratch row, and two results
    assert text.count(for_writing) >= 2 * vectors > 0
    assert text.count(for_reading) >= 2 * vectors
    assert "prefetch" not in _kernel(lambda x, g: (x * g).sum(axis=-1))  # one phase
    assert undefined_symbols(build([text], isa)) == []
