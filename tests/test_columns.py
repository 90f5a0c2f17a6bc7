"""Sums of the columns of large arrays, which go row by row: NumPy's numbers, on any threads."""

import numpy as np
import pytest

import cotangent as ct

RNG = np.random.default_rng(5)
SHAPES = [(512, 512), (600, 515), (65, 4096), (16, 33, 600), (40, 20, 23, 30), (4097, 64)]


def _leading(shape):
    """All axes before the last, or before the last two of four."""
    return tuple(range(max(len(shape) - 1, 1))) if len(shape) < 4 else (0, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_are_exact_to_rounding(shape, dtype):
    axes, count = _leading(shape), int(np.prod([shape[i] for i in _leading(shape)]))
    x = RNG.normal(size=shape).astype(dtype)
    got = ct.jit(lambda x: ct.sum(x, axis=axes))(ct.asarray(x)).numpy()
    wide = x.astype("longdouble")
    bound = count * np.finfo(dtype).eps * np.abs(wide).sum(axes)
    assert (np.abs(got - wide.sum(axes)) <= bound).all()


def test_what_is_beside_the_sums():
    x = RNG.normal(size=(700, 513)).astype("float32")
    x[17, 500] = np.nan
    n = RNG.integers(-100, 100, size=(700, 513))
    f = ct.jit(lambda x, n: (x.relu(), x.max(axis=0), n.sum(axis=0), n.max(axis=0), n * 2))
    relu, most, total, largest, double = (t.numpy() for t in f(ct.asarray(x), ct.asarray(n)))
    np.testing.assert_array_equal(relu, np.where(x > 0, x, np.where(np.isnan(x), x, 0)))
    np.testing.assert_array_equal(most, x.max(axis=0))
    np.testing.assert_array_equal(total, n.sum(axis=0))
    np.testing.assert_array_equal(largest, n.max(axis=0))
    np.testing.assert_array_equal(double, n * 2)


def test_bits_are_those_of_one_thread_by_calls_and_by_loop():
    x = RNG.normal(size=(3, 2048, 520)).astype("float32")
    f = ct.jit(lambda x: (ct.sum(x * x, axis=0), ct.relu(x).sum(axis=0)))
    before = ct.get_num_threads()
    found = set()
    try:
        for threads in (1, 2, 3):
            ct.set_num_threads(threads)
            calls = [f(ct.asarray(part)) for part in x]
            found.add(b"".join(a.numpy().tobytes() + b.numpy().tobytes() for a, b in calls))
            looped = [t.numpy() for t in f.loop(ct.asarray(x))]
            found.add(b"".join(a.tobytes() + b.tobytes() for a, b in zip(*looped, strict=True)))
    finally:
        ct.set_num_threads(before)
    assert len(found) == 1


def test_gradient_of_a_bias():
    x, w = RNG.normal(size=(1024, 8)), RNG.normal(size=(512, 8))
    b = ct.var("b", np.zeros(512), dtype="float64")

    def loss(x, w):
        return ((x @ w.T + b).tanh() * 0.5).sum()

    got = ct.jit(lambda x, w: loss(x, w).backward().wrt(b))(ct.asarray(x), ct.asarray(w))
    want = (0.5 / np.cosh(x @ w.T) ** 2).sum(axis=0)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12)
