"""A function that is compiled meets arrays of other sizes: the same values, few new kernels, and no
growth of memory."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.compiler import compiled, fuse, link
from cotangent.compiler.codegen.build import native_isa

pytestmark = pytest.mark.skipif(native_isa() == "none", reason="no code generation here")

SIZES = [*range(1, 37), 47, 48, 64, 100]


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    """No layouts from before, on disk or in memory."""
    monkeypatch.setenv("COTANGENT_CACHE", "off")
    monkeypatch.setattr(link, "_LAYOUTS", {})


def _data(size, dtype="float32"):
    rng = np.random.default_rng(size)
    x = rng.standard_normal((size, 5)).astype(dtype)
    return x, rng.standard_normal((size, 1)).astype(dtype), rng.integers(0, 40, size)


def _values(x, y, rows):
    """Products, sums along and across the batch, comparisons, a gather: each with the batch as its
    vector axis somewhere."""
    weight = ct.var("w", np.linspace(-1, 1, 200).reshape(40, 5), dtype=x.dtype)
    # Longer than a batch, so the sizes of the batches are no sizes of a variable.
    hidden = ct.tanh(x @ weight.T)
    loss = ((hidden @ ct.ones((40, 1), dtype=x.dtype) - y) ** 2).mean()
    picked = ct.take(hidden, rows, axis=1)
    across = ct.softmax(x.T @ x, axis=0).sum(axis=0)
    return loss, hidden.T @ x, ct.softmax(y[:, 0]), picked.sum(axis=1), (y > 0)[:, 0], across


def _bytes(size, dtype="float32"):
    x, y, rows = _data(size, dtype)
    tensors = [ct.tensor(array, dtype=dtype) for array in (x, y)]
    results = ct.jit(lambda a, b: _values(a, b, rows))(*tensors)
    assert str(results[0].dtype) == dtype
    return [np.asarray(result).tobytes() for result in results]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_size_that_varies_is_computed_like_one_that_does_not(dtype, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(fuse, "varying_sizes", lambda graph: frozenset())
        expected = {size: _bytes(size, dtype) for size in SIZES}
    link._LAYOUTS.clear()
    for size in SIZES:
        assert _bytes(size, dtype) == expected[size], size


@pytest.mark.parametrize("size", SIZES)
def test_every_size_equals_eager(size):
    x, y, rows = _data(size)
    got = ct.jit(lambda a, b: _values(a, b, rows))(x, y)
    for a, b in zip(got, _values(ct.tensor(x), ct.tensor(y), rows), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=3e-5, atol=3e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_packed_products_of_any_number_of_rows(dtype):
    rng = np.random.default_rng(0)
    weight = ct.var("w", rng.standard_normal((50, 640)), dtype=dtype)
    f = ct.jit(lambda x: (x @ weight.T, (x @ weight.T).T @ x))
    w = weight.numpy().astype("float64")
    known = set()
    for size in (98, 32, 33, 45, 100, 97, 112, 104, 300, 299):
        x = rng.standard_normal((size, 640)).astype(dtype)
        wide = x.astype("float64")
        tolerance = 2000 * np.finfo(dtype).eps
        for got, expected in zip(
            f(ct.tensor(x, dtype=dtype)), (wide @ w.T, (wide @ w.T).T @ wide), strict=True
        ):
            scale = np.abs(expected).max()
            np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=scale * tolerance)
        if size in (97, 112, 104, 299):  # heights and depths as before
            assert set(link._FUNCTIONS) == known, size
        known = set(link._FUNCTIONS)


def _step():
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(),
                          nn.Linear(64, 1))  # fmt: skip
    opt = optim.Adam(lr=0.01)

    def step(x, y):
        loss = nn.mse_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    jitted = ct.jit(step)
    return lambda size: jitted(np.ones((size, 8), np.float32), np.ones((size, 1), np.float32))


def test_another_batch_size_needs_few_kernels():
    step = _step()
    step(30)
    few = []
    for size in (29, 23, 100, 7, 9, 15):
        known = set(link._FUNCTIONS)
        step(size)
        few.append(len(set(link._FUNCTIONS) - known))
    # The one for 7 serves all batches of less than a vector.
    assert few[:3] == [0, 0, few[2]] and few[2] <= 4, few
    assert few[3] <= 1 and few[4:] == [0, 0], few


def test_sizes_of_variables_do_not_vary():
    def sizes(*shapes):
        w = ct.var("w", np.ones((4, 6)))
        found = []
        original = fuse.varying_sizes

        def spy(graph):
            found.append(original(graph))
            return found[-1]

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(fuse, "varying_sizes", spy)
            ct.jit(lambda *xs: sum((x.sum() for x in xs), w.sum()))(*(np.ones(s) for s in shapes))
        return found[0]

    assert sizes((3, 2), (5,)) == {3, 5}
    assert sizes((4, 2), (6,), (1, 9), ()) == set()


@pytest.mark.filterwarnings("ignore:ct.jit has traced")
def test_new_shapes_do_not_let_memory_grow(monkeypatch):
    monkeypatch.setattr(compiled, "_MOST_PROGRAMS", 2)
    monkeypatch.setattr(link, "_MOST_LAYOUTS", 2)
    w = ct.var("w", np.ones((8, 64)))

    @ct.jit
    def step(x):
        loss = ct.tanh(x @ w).mean()
        w.assign(w * 0.5 + (x.T @ ct.tanh(x @ w)) * loss)
        return loss

    def used():
        for size in range(40, 48):
            step(np.ones((size, 8), np.float32))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    used()
    tracemalloc.start()
    try:
        used()
        before = used()
        assert used() - before < 8 * 2048
    finally:
        tracemalloc.stop()


def test_objects_are_kept_up_to_a_bound(monkeypatch, tmp_path):
    monkeypatch.setenv("COTANGENT_CACHE", str(tmp_path))
    for name in ("_IMAGES", "_IMAGE_OF", "_FUNCTIONS"):
        monkeypatch.setattr(link, name, {})
    x = np.linspace(0, 1, 40, dtype=np.float32)

    def stored(function, *args):
        """How many files a function's first call adds to the cache."""
        before = len(list(tmp_path.iterdir()))
        pairs = zip(ct.jit(function)(*args), function(*map(ct.tensor, args)), strict=True)
        for got, expected in pairs:
            np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-5)
        return len(list(tmp_path.iterdir())) - before

    assert stored(lambda a: (ct.exp(ct.sin(a)),), x) == 1
    assert stored(lambda a: (ct.exp(ct.sin(a)), a @ a), x) == 1  # of both objects
    monkeypatch.setattr(link, "_MOST_IMAGE_BYTES", 1)
    assert stored(lambda a: (ct.exp(ct.cos(a)),), x) == 0  # that of the driver is gone
    assert len(link._IMAGES) == 1
    # It runs none the less.
    assert stored(lambda a: (ct.exp(ct.cos(a)), ct.exp(ct.sin(a)), a @ a), x) == 0
