"""Epilogues of products: the bits of the product and what follows as two programs; updates of
weights against eager steps."""

from __future__ import annotations

import re

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim

# Rows, depth and columns: in registers; by a transposed side; edges of a tile; packed, in place, in
# one block and in several of the depth, with a narrow strip; and of a batch.
SHAPES = {
    "registers": ((), 1, 5, 40),
    "registers, edge": ((), 3, 7, 9),
    "tile": ((), 6, 20, 64),
    "tiles": ((), 37, 20, 70),
    "tall": ((), 200, 40, 45),
    "few batches": ((3,), 7, 11, 31),
    "batches": ((2, 1, 40), 5, 6, 16),
    "packed in place": ((), 49, 71, 100),
    "packed": ((), 40, 129, 200),
    "deep": ((), 57, 771, 150),
    "wide": ((), 37, 385, 1100),
    "packed batches": ((3,), 33, 50, 131),
    "packed alone": ((33,), 32, 48, 130),
}


def _random(*shape, dtype="float32", seed=0):
    return ct.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def _kernels(f):
    return f.explain().partition("kernels:")[2]


# What is made of a product p; b is a row, c a column, r as large as the product.
_TREES = (
    lambda p, b, c, r: (p + b).tanh(),
    lambda p, b, c, r: ((p + b), (p + b).relu()),
    lambda p, b, c, r: (p, (p - b).relu()),
    lambda p, b, c, r: (p * 0.5 + b).relu() + r,
    lambda p, b, c, r: p * c - b,
    lambda p, b, c, r: ct.where(r > 0, p, ct.zeros_like(p)),
    lambda p, b, c, r: (p * 3).astype(ct.int32),
    lambda p, b, c, r: (p + b).astype(ct.bfloat16),
    lambda p, b, c, r: (p + b) > 0,
    lambda p, b, c, r: (p + b).gelu() * c,
)


def _flat(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, "float32") for name in SHAPES] + [("tiles", "float64"), ("deep", "float64")],
)
def test_bits_are_those_of_two_programs(name, dtype):
    batch, m, k, n = SHAPES[name]
    a, b = _random(*batch, m, k, dtype=dtype), _random(k, n, dtype=dtype, seed=1)
    row, column, like = (_random(*s, dtype=dtype, seed=2) for s in ((n,), (m, 1), (*batch, m, n)))
    product = ct.jit(lambda a, b: a @ b)(a, b)
    exact = np.asarray(a).astype("longdouble") @ np.asarray(b)
    assert np.abs(np.asarray(product) - exact).max() < k * 16 * np.finfo(dtype).eps
    # One tree, whose memory the product may use before; then all of them at once.
    for trees in (_TREES[:1], _TREES):

        def follow(p, b, c, r, trees=trees):
            return tuple([x for tree in trees for x in _flat(tree(p, b, c, r))])

        together = ct.jit(lambda a, b, r, c, x, f=follow: f(a @ b, r, c, x))
        got = together(a, b, row, column, like)
        want = ct.jit(follow)(product, row, column, like)
        for x, y in zip(got, want, strict=True):
            assert x.dtype == y.dtype and x.numpy().tobytes() == y.numpy().tobytes()
        assert "loops over" not in _kernels(together)


@pytest.mark.parametrize("m", [1, 4, 6])
def test_few_rows_by_a_transposed_matrix(m):
    x, w, b = _random(m, 40), ct.var("w", _random(70, 40, seed=1)), _random(70, seed=2)
    f = ct.jit(lambda x, b: (x @ w.T + b).relu())
    got = np.asarray(f(x, b))
    want = np.maximum(np.asarray(x) @ np.asarray(w).T + np.asarray(b), 0)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert "matmul add relu" in _kernels(f) and "loops" not in _kernels(f)


@pytest.mark.parametrize("shape", [(50, 60, 70), (7, 9, 33)])
def test_a_product_that_is_needed_elsewhere_is_stored_too(shape):
    m, k, n = shape
    a, b, c = _random(m, k), _random(k, n, seed=1), _random(n, 33, seed=2)
    f = ct.jit(lambda a, b, c: ((a @ b).relu(), (a @ b) @ c))
    relu, chain = (np.asarray(x) for x in f(a, b, c))
    product = np.asarray(a, np.float64) @ np.asarray(b)
    np.testing.assert_allclose(relu, np.maximum(product, 0), atol=1e-4)
    np.testing.assert_allclose(chain, product @ np.asarray(c), atol=1e-3)


def test_a_sum_of_two_products_takes_the_first_from_memory():
    a, b, x, w = (_random(40, 50, seed=i) for i in range(4))
    f = ct.jit(lambda a, b, x, w: (a @ b.T + x @ w.T).tanh())
    want = np.tanh(np.asarray(a, np.float64) @ np.asarray(b).T + np.asarray(x) @ np.asarray(w).T)
    np.testing.assert_allclose(np.asarray(f(a, b, x, w)), want, atol=1e-4)
    assert "matmul add tanh" in _kernels(f)


def test_what_depends_on_the_product_by_another_way_stays_outside():
    a, b = _random(40, 50), _random(50, 40, seed=1)
    f = ct.jit(lambda a, b: (a @ b) / (a @ b).sum(axis=0) + ((a @ b) @ (a @ b)))
    p = np.asarray(a, np.float64) @ np.asarray(b)
    np.testing.assert_allclose(np.asarray(f(a, b)), p / p.sum(0) + p @ p, rtol=2e-3, atol=2e-3)


def test_an_empty_depth_gives_what_follows_from_zeros():
    f = ct.jit(lambda a, b, c: (a @ b + c).relu())
    got = f(ct.zeros((4, 0)), ct.zeros((0, 20)), ct.asarray(np.arange(20, dtype="float32") - 5))
    np.testing.assert_array_equal(got.numpy(), np.tile(np.maximum(np.arange(20) - 5, 0), (4, 1)))


def test_another_batch_takes_the_same_kernels():
    w, b = ct.var("w", _random(40, 70)), ct.var("b", _random(70, seed=1))
    f = ct.jit(lambda x: (x @ w + b).relu())
    for m in (50, 61, 35, 97):
        x = _random(m, 40, seed=m)
        want = np.maximum(np.asarray(x, np.float64) @ np.asarray(w) + np.asarray(b), 0)
        np.testing.assert_allclose(np.asarray(f(x)), want, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_change_a_bit(threads):
    a, b, c = _random(300, 200), _random(200, 500, seed=1), _random(500, seed=2)
    f = ct.jit(lambda a, b, c: (a @ b + c).gelu())
    before = ct.get_num_threads()
    try:
        ct.set_num_threads(threads)
        got = np.asarray(f(a, b, c))
    finally:
        ct.set_num_threads(before)
    want = ct.jit(lambda p, c: (p + c).gelu())(ct.jit(lambda a, b: a @ b)(a, b), c)
    assert got.tobytes() == np.asarray(want).tobytes()


# -- updates ----------------------------------------------------------------------------------


class _Net(nn.Module):
    """Two layers of 64; `tied` shares the weight."""

    def __init__(self, tied: bool) -> None:
        self.first = nn.Linear(64, 64)
        self.second = self.first if tied else nn.Linear(64, 64)

    def forward(self, x):
        return self.second(self.first(x).tanh())


def _training(optimizer, compiled, tied=False, steps=5, extra=lambda grads: None):
    ct.manual_seed(3)
    model, opt = _Net(tied), optimizer()
    x, y = _random(50, 64, seed=4), _random(50, 64, seed=5)

    def step(x, y):
        loss = nn.mse_loss(model(x), y)
        grads = loss.backward()
        opt.step(model, grads)
        return loss, extra(grads.wrt(model.first.weight))

    run = ct.jit(step) if compiled else step
    losses = [float(run(x, y)[0]) for _ in range(steps)]
    values = [v.numpy() for _, v in model.named_parameters()]
    return losses, values, run


OPTIMIZERS = {
    "plain": lambda: optim.SGD(lr=0.3),
    "momentum": lambda: optim.SGD(lr=0.1, momentum=0.9),
    "decay": lambda: optim.SGD(lr=0.1, weight_decay=0.01),
}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_in_the_commit_are_those_of_eager_steps(name, tied):
    eager, values, _ = _training(OPTIMIZERS[name], False, tied)
    compiled, got, step = _training(OPTIMIZERS[name], True, tied)
    np.testing.assert_allclose(compiled, eager, rtol=1e-5)
    for x, y in zip(got, values, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-5)
    commit = _kernels(step).partition("-- commit --")[2]
    # The old weight is read by the gradient of x before.
    assert re.search(r"matmul over \[64, 64\]: matmul (add )?multiply", commit)
    assert eager[-1] < eager[0]


def test_a_gradient_that_is_needed_leaves_its_update_to_loops():
    eager, values, _ = _training(OPTIMIZERS["plain"], False, extra=lambda g: (g * g).sum())
    compiled, got, step = _training(OPTIMIZERS["plain"], True, extra=lambda g: (g * g).sum())
    np.testing.assert_allclose(compiled, eager, rtol=1e-5)
    np.testing.assert_allclose(got[0], values[0], atol=2e-5)
    assert "the product is needed before variables may change" in step.explain()


def test_a_heavy_update_stays_in_loops_and_explain_says_why():
    _, _, step = _training(lambda: optim.Adam(lr=0.01), True, steps=1)
    assert "the update takes longer to compute than its elements take to be moved" in step.explain()


def test_a_product_of_the_variable_that_it_updates():
    w = ct.var("w", _random(64, 64) * 0.1)
    old = w.numpy()
    x = _random(64, 64, seed=1)

    @ct.jit
    def step(x):
        w.assign(w - 0.5 * (x @ w))

    step(x)
    want = old - 0.5 * (np.asarray(x, np.float64) @ old)
    np.testing.assert_allclose(w.numpy(), want, atol=1e-5)
    assert "the product reads a variable that changes" in step.explain()


def test_two_variables_that_read_each_other_change_at_once():
    v, w = ct.var("v", _random(64, 64)), ct.var("w", _random(64, 64, seed=1))
    old = v.numpy().astype("float64"), w.numpy().astype("float64")
    x, y = _random(64, 64, seed=2), _random(64, 64, seed=3)

    @ct.jit
    def step(x, y):
        first, second = x @ y, y @ x
        a, b = v - first * w, w - second * v
        v.assign(a)
        w.assign(b)

    step(x, y)
    x, y = (np.asarray(t, np.float64) for t in (x, y))
    np.testing.assert_allclose(v.numpy(), old[0] - (x @ y) * old[1], atol=1e-3)
    np.testing.assert_allclose(w.numpy(), old[1] - (y @ x) * old[0], atol=1e-3)


def test_a_transposed_variable_is_not_overwritten_while_it_is_read():
    w = ct.var("w", _random(64, 64))
    old = w.numpy()
    x = _random(64, 64, seed=1)

    @ct.jit
    def step(x):
        w.assign(x @ x + w.T)

    step(x)
    np.testing.assert_allclose(w.numpy(), np.asarray(x) @ np.asarray(x) + old.T, atol=1e-4)


def test_a_loop_of_updates_has_the_bits_of_calls():
    ct.manual_seed(3)
    x, y = _random(6, 50, 64, seed=4), _random(6, 50, 64, seed=5)
    found = []
    for by_loop in (True, False):
        ct.manual_seed(3)
        model, opt = _Net(False), optim.SGD(lr=0.1, momentum=0.9)

        @ct.jit
        def step(x, y, model=model, opt=opt):
            loss = nn.mse_loss(model(x), y)
            opt.step(model, loss.backward())
            return loss

        if by_loop:
            step.loop(x, y)
        else:
            for i in range(6):
                step(x[i], y[i])
        found.append([v.numpy().tobytes() for _, v in model.named_parameters()])
    assert found[0] == found[1]


def test_debug_nans_finds_what_an_update_makes_and_undoes_it():
    w = ct.var("w", _random(64, 64))
    x = _random(64, 64, seed=1)

    @ct.jit
    def step(x, scale):
        w.assign(w - (x @ x) * scale)

    with ct.debug_nans():
        step(x, 0.5)
        kept = w.numpy()
        with pytest.raises(ct.NonFiniteError, match="multiply"):
            step(x, 3e38)
        assert w.numpy().tobytes() == kept.tobytes()
        step(x, 0.5)
    assert "matmul" in _kernels(step).partition("-- commit --")[2]


def test_verify_agrees_with_an_update():
    w = ct.var("w", _random(64, 64))
    x = _random(64, 64, seed=1)
    step = ct.jit(verify=True)(lambda x: w.assign(w - (x @ x) * 0.01))
    for _ in range(3):
        step(x)


def test_profile_counts_what_the_epilogue_does():
    a, b, c = _random(60, 50), _random(50, 64, seed=1), _random(64, seed=2)
    f = ct.jit(lambda a, b, c: (a @ b + c).relu())
    f(a, b, c)
    rows = [x for x in f.profile(a, b, c, seconds=0).rows if x.kind == "matmul"]
    row = max(rows, key=lambda x: x.flops)  # with AVX2, a kernel before it packs
    assert row.ops == ("matmul", "add", "relu")
    assert row.flops == 60 * 64 * (2 * 50 + 2)
    assert row.bytes >= 4 * (60 * 50 + 50 * 64 + 60 * 64 + 64)
