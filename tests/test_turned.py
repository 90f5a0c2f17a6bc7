"""Products of few rows with a transposed matrix: bits of the other way, and NumPy's numbers."""

import numpy as np
import pytest

import cotangent as ct
from cotangent.compiler import link

RNG = np.random.default_rng(3)


def _numbers(*shape, dtype="float32"):
    return ct.asarray(RNG.normal(size=shape).astype(dtype))


def _kernels(f):
    return f.explain().partition("kernels:")[2]


def _sizes():
    """Edges of the squares: 16 lanes, 8 for float64."""
    return [(1, 1, 1), (1, 2, 8), (1, 64, 64), (3, 17, 15), (6, 33, 31), (2, 16, 48), (5, 7, 100)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize(("m", "k", "n"), _sizes())
def test_bits_are_those_of_a_stored_transpose(m, k, n, dtype):
    scale = 100 if dtype == "int32" else 1
    x = _numbers(m, k).numpy() * scale
    w = _numbers(n, k).numpy() * scale
    x, w, wt = (ct.var("v", a.astype(dtype), dtype=dtype) for a in (x, w, w.T.copy()))
    turned, stored = ct.jit(lambda: x @ w.T), ct.jit(lambda: x @ wt)
    got = turned()
    assert got.numpy().tobytes() == stored().numpy().tobytes()
    assert "transpose over" not in _kernels(turned)
    exact = x.numpy().astype("longdouble") @ w.numpy().astype("longdouble").T
    size = np.abs(x.numpy()).astype("longdouble") @ np.abs(w.numpy()).astype("longdouble").T
    eps = 0 if dtype == "int32" else np.finfo(dtype).eps
    assert (np.abs(got.numpy() - exact) <= k * eps * size).all()


BATCHES = [((4,), (4,)), ((4,), ()), ((), (4,)), ((2, 1), (3,)), ((1,), (1,))]


@pytest.mark.parametrize("batch", BATCHES)
def test_leading_axes_broadcast(batch):
    x, w = ct.var("x", _numbers(*batch[0], 2, 19)), ct.var("w", _numbers(*batch[1], 21, 19))
    f = ct.jit(lambda: x @ w.mT)
    np.testing.assert_allclose(
        f().numpy(), x.numpy() @ np.swapaxes(w.numpy(), -1, -2), rtol=1e-4, atol=1e-5
    )
    assert "transpose over" not in _kernels(f)


def test_views_of_both_sides():
    x, w = ct.var("x", _numbers(19, 4)), ct.var("w", _numbers(40, 60))
    f = ct.jit(lambda: x.T[1:] @ w[3:35:2, 7:26].T)
    want = x.numpy().T[1:] @ w.numpy()[3:35:2, 7:26].T
    np.testing.assert_allclose(f().numpy(), want, rtol=1e-4, atol=1e-5)
    assert "transpose over" not in _kernels(f)


def test_more_rows_or_more_products_share_one_copy():
    w = _numbers(24, 24)
    many = ct.jit(lambda x, w: x @ w.T)
    many(_numbers(24, 24), w)
    assert "transpose over" in _kernels(many)
    twice = ct.jit(lambda x, w: (x @ w.T).tanh() @ w.T)
    x = _numbers(1, 24)
    got = twice(x, w)
    assert _kernels(twice).count("transpose over") == 1
    want = np.tanh(x.numpy() @ w.numpy().T) @ w.numpy().T
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_have_the_bits_of_one(threads):
    x, w = _numbers(1, 1500), _numbers(1237, 1500)
    f = ct.jit(lambda x, w: x @ w.T)
    before = ct.get_num_threads()
    try:
        ct.set_num_threads(1)
        one = f(x, w).numpy().tobytes()
        ct.set_num_threads(threads)
        assert {f(x, w).numpy().tobytes() for _ in range(20)} == {one}
    finally:
        ct.set_num_threads(before)


def test_empty_sides():
    f = ct.jit(lambda x, w: x @ w.T)
    assert f(_numbers(2, 0), _numbers(3, 0)).numpy().tolist() == [[0.0] * 3] * 2
    assert f(_numbers(2, 3), _numbers(0, 3)).shape == (2, 0)
    assert f(_numbers(0, 3), _numbers(4, 3)).shape == (0, 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", [False, True], ids=["captured", "argument"])
@pytest.mark.parametrize(("m", "k"), [(16, 16), (17, 5), (40, 37), (31, 64), (64, 2), (5, 9)])
def test_a_single_column_has_the_bits_of_the_other_way(m, k, given, dtype):
    # As an argument, the number of rows is no part of the kernel's text.
    x, w = _numbers(m, k, dtype=dtype), ct.var("w", _numbers(1, k, dtype=dtype), dtype=dtype)
    xt = ct.var("xt", x.numpy().T.copy(), dtype=dtype)
    held = ct.var("x", x, dtype=dtype)
    f = ct.jit((lambda x: x @ w.T) if given else (lambda: held @ w.T))
    got = f(x) if given else f()
    other = ct.jit(lambda: xt.T @ w.T)()
    assert got.numpy().tobytes() == other.numpy().tobytes()
    assert "transpose over" not in _kernels(f)
    want = x.numpy().astype("longdouble") @ w.numpy().astype("longdouble").T
    size = np.abs(x.numpy()) @ np.abs(w.numpy()).T
    assert (np.abs(got.numpy() - want) <= k * np.finfo(dtype).eps * size).all()


@pytest.mark.parametrize("batch", [(3,), (2, 3), (1,)])
@pytest.mark.parametrize("m", [7, 16, 21])
def test_single_columns_of_a_batch(batch, m):
    x, w = ct.var("x", _numbers(*batch, m, 19)), ct.var("w", _numbers(batch[-1], 19, 1))
    got = ct.jit(lambda: x @ w)()
    np.testing.assert_allclose(got.numpy(), x.numpy() @ w.numpy(), rtol=1e-4, atol=1e-5)


def test_another_number_of_rows_needs_no_new_kernel(monkeypatch):
    w = ct.var("w", _numbers(1, 24))
    f = ct.jit(lambda x: x @ w.T)
    f(_numbers(64, 24))
    monkeypatch.setattr(link, "build", None)
    for m in (65, 33, 17, 128):
        x = _numbers(m, 24)
        np.testing.assert_allclose(f(x), x.numpy() @ w.numpy().T, rtol=1e-4, atol=1e-5)
