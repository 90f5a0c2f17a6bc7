"""Functions beyond the first release, against PyTorch and NumPy: values, gradients, compiled."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import cotangent as ct
from cotangent import testing
from cotangent.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.uniform(-0.9, 0.9, (3, 4))
Y = RNG.uniform(1.1, 3.0, (3, 4))


def _positive(*lead, n=4):
    x = RNG.normal(size=(*lead, n, n))
    return x @ np.swapaxes(x, -1, -2) + np.eye(n)


# Each row: our function, PyTorch's (or NumPy's, with None before), and float64 inputs.
def _rows():
    torch = pytest.importorskip("torch")
    c, t = ct, torch
    tri = np.tril(RNG.normal(size=(2, 4, 4))) + 3 * np.eye(4)
    b = RNG.normal(size=(2, 4, 3))
    zeros = X.copy()
    zeros[1, 2] = zeros[0, 0] = 0.0
    return {
        "exp2": (c.exp2, t.exp2, [X * 5]),
        "asinh": (c.asinh, t.asinh, [X * 50]),
        "acosh": (c.acosh, t.acosh, [Y * 9]),
        "atanh": (c.atanh, t.atanh, [X]),
        "hypot": (c.hypot, t.hypot, [X, Y]),
        "lerp": (lambda x, y: c.lerp(x, y, 0.3), lambda x, y: t.lerp(x, y, 0.3), [X, Y]),
        "cumulative_prod": (lambda x: c.cumulative_prod(x, 1), lambda x: t.cumprod(x, 1), [X]),
        "with zeros": (lambda x: c.cumulative_prod(x, 1), lambda x: t.cumprod(x, 1), [zeros]),
        "diff": (lambda x: c.diff(x, 1, n=2), lambda x: t.diff(x, n=2), [X]),
        "cross": (lambda x, y: c.cross(x, y, 0), lambda x, y: t.linalg.cross(x, y, dim=0), [X, Y]),
        "quantile": (
            lambda x: c.quantile(x, 0.3, 1), lambda x: t.quantile(x, 0.3, dim=1), [X],
        ),
        "median of all": (lambda x: c.median(x), lambda x: t.quantile(x, 0.5), [X]),
        "cholesky": (
            c.cholesky, lambda x: t.linalg.cholesky(0.5 * (x + x.mT)), [_positive(2, 1, n=5)],
        ),
        "upper": (
            lambda x: c.cholesky(x, upper=True),
            lambda x: t.linalg.cholesky(0.5 * (x + x.mT)).mT, [_positive(n=3)],
        ),
        "lower system": (
            lambda a, b: c.solve_triangular(a, b),
            lambda a, b: t.linalg.solve_triangular(a, b, upper=False), [tri, b],
        ),
        "upper system": (
            lambda a, b: c.solve_triangular(a, b, upper=True, transpose=True),
            lambda a, b: t.linalg.solve_triangular(a.triu().mT, b, upper=False),
            [tri.swapaxes(1, 2), b[0]],
        ),
        "vector": (
            lambda a, b: c.solve_triangular(a, b),
            lambda a, b: t.linalg.solve_triangular(a, b[:, None], upper=False)[..., 0],
            [tri, b[0, :, 0]],
        ),
        "einsum": (
            lambda x, y: c.einsum("...ij,...kj->...ik", x, y),
            lambda x, y: t.einsum("...ij,...kj->...ik", x, y), [tri, b[0].T],
        ),
        "einsum without result": (
            lambda x, y: c.einsum("j...,ij", x, y), lambda x, y: t.einsum("j...,ij", x, y),
            [tri[0], b[0].T],
        ),
        "einsum that broadcasts": (
            lambda x, y: c.einsum("i...,i...->...", x, y),
            lambda x, y: t.einsum("i...,i...->...", x, y), [b[:, :1], b],
        ),
    }  # fmt: skip


try:
    ROWS = _rows()
except pytest.skip.Exception:
    ROWS = {}


@pytest.mark.parametrize("name", ROWS)
def test_values_gradients_and_compiled(name):
    import torch

    ours, theirs, arrays = ROWS[name]
    inputs = [torch.tensor(a, requires_grad=True) for a in arrays]
    expected = theirs(*inputs)
    weights = RNG.normal(size=tuple(expected.shape))
    (expected * torch.tensor(weights)).sum().backward()
    tensors = [ct.asarray(a) for a in arrays]
    close = {"rtol": 1e-10, "atol": 1e-11}
    np.testing.assert_allclose(ours(*tensors).numpy(), expected.detach().numpy(), **close)
    np.testing.assert_allclose(ct.jit(ours)(*tensors).numpy(), expected.detach().numpy(), **close)
    gradient = ct.grad(
        lambda *xs: (ours(*xs) * ct.asarray(weights)).sum(), tuple(range(len(arrays)))
    )
    for got in (gradient(*tensors), ct.jit(gradient)(*tensors)):
        for g, x in zip(got, inputs, strict=True):
            np.testing.assert_allclose(g.numpy(), x.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["cholesky", "lower system", "cumulative_prod", "asinh"])
def test_second_derivatives(name):
    if name in ROWS:
        ours, _, arrays = ROWS[name]
        testing.check_gradients(lambda *xs: ours(*xs).sum(), *arrays, order=2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["asinh", "acosh", "atanh", "exp2"])
def test_accuracy(name, dtype):
    function = getattr(ct, name)
    judge = getattr(mpmath, name) if name != "exp2" else (lambda x: mpmath.mpf(2) ** x)
    points = {
        "asinh": [0.0, 1e-20, 1e-8, 1e-3, 0.5, 1.0, 30.0, 5e3, 2e8, 1e30],
        "acosh": [1.0, 1.0 + 2**-20, 1.5, 3.0, 100.0, 5e3, 2e8, 1e30],
        "atanh": [0.0, 1e-20, 1e-3, 0.5, 0.9, 0.9990234375],
        "exp2": [0.0, 0.5, 3.0, -7.25, 100.0, -100.0],
    }[name]
    x = np.array([*points, *(-p for p in points if name in ("asinh", "atanh"))], dtype)
    expected = np.array([float(judge(float(v))) for v in x])
    for f in (function, ct.jit(function)):
        got = f(ct.asarray(x)).numpy()
        np.testing.assert_allclose(got, expected, rtol=6 * np.finfo(dtype).eps, atol=0)


def test_edges():
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(ct.asinh([inf, -inf, nan]).numpy(), [inf, -inf, nan])
    np.testing.assert_array_equal(ct.acosh([inf, 0.0, -3.0, nan]).numpy(), [inf, nan, nan, nan])
    np.testing.assert_array_equal(ct.atanh([1.0, -1.0, 2.0, nan]).numpy(), [inf, -inf, nan, nan])
    np.testing.assert_array_equal(
        ct.hypot([0.0, 3e38, inf, 1e-30], [0.0, 0.0, 1.0, 0.0]).numpy(),
        np.array([0, 3e38, inf, 1e-30], "f4"),
    )
    assert ct.grad(lambda x: ct.hypot(x, 0.0))(0.0).item() == 0.0
    assert ct.grad(ct.asinh)(0.0).item() == 1.0


def test_isin():
    x = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(ct.isin(x, [4, 1]).numpy(), np.isin(x, [4, 1]))
    assert ct.isin(x, np.zeros((0,), np.int64)).tolist() == [[False, False], [False, False]]


def test_isclose_and_allclose():
    x, y = np.array([1.0, np.inf, np.nan, 1.0, np.inf]), np.array([1 + 1e-6, np.inf, np.nan, 2, 1])
    for f in (ct.isclose, ct.jit(ct.isclose)):
        np.testing.assert_array_equal(f(ct.asarray(x), ct.asarray(y)).numpy(), np.isclose(x, y))
    assert bool(ct.allclose([1, 2], [1, 2])) and not bool(ct.allclose([1.0], [1.1]))


def test_nan_to_num():
    x = np.array([1.0, np.nan, np.inf, -np.inf], "f4")
    np.testing.assert_array_equal(ct.nan_to_num(x).numpy(), np.nan_to_num(x))
    np.testing.assert_array_equal(ct.nan_to_num(x, 1, 2, 3).numpy(), [1, 1, 2, 3])
    assert ct.grad(lambda x: ct.nan_to_num(x).sum())(x).tolist() == [1, 0, 0, 0]


def test_meshgrid():
    for indexing in ("xy", "ij"):
        for vectors in ([np.arange(2.0)], [np.arange(2.0), np.arange(3.0), np.arange(4.0)]):
            told = np.meshgrid(*vectors, indexing=indexing)
            for got, grid in zip(ct.meshgrid(*vectors, indexing=indexing), told, strict=True):
                np.testing.assert_array_equal(got.numpy(), grid)


def test_limits_of_dtypes():
    assert ct.finfo("float32").eps == np.finfo("float32").eps and ct.iinfo("uint8").max == 255
    assert float(ct.finfo(ct.bfloat16).max) == 2.0**127 * (2 - 2**-7)
    assert ct.result_type("int8", "float16", "bool") == ct.float16
    with pytest.raises(ct.DTypeError, match="finfo: int8"):
        ct.finfo("int8")


@pytest.mark.parametrize("compiled", [False, True])
def test_a_matrix_that_is_not_positive_definite(compiled):
    state = ct.var("state", 0.0)

    def f(x):
        state.assign(state + 1)
        return ct.cholesky(x)

    run = ct.jit(f) if compiled else f
    good = run(np.stack([np.eye(2), 4 * np.eye(2)]))
    np.testing.assert_array_equal(good.numpy()[1], 2 * np.eye(2))
    with pytest.raises(ArgumentError, match=r"cholesky: .*\(2, 2, 2\).*not positive definite"):
        run(np.stack([np.eye(2), [[1.0, 2.0], [2.0, 1.0]]]))
    with pytest.raises(ArgumentError, match="not positive definite"):
        run(np.full((2, 2, 2), np.nan))
    assert state.item() == (1.0 if compiled else 3.0)  # a compiled step changes nothing


@pytest.mark.parametrize("compiled", [False, True])
def test_a_triangle_with_a_zero_on_its_diagonal(compiled):
    run = ct.jit(ct.solve_triangular) if compiled else ct.solve_triangular
    with pytest.raises(ArgumentError, match="zero on its diagonal"):
        run(np.diag([1.0, 0.0]), np.ones((2, 1)))


MISTAKES = [
    (lambda: ct.cholesky(np.ones((2, 3))), r"cholesky: .*\(2, 3\)"),
    (lambda: ct.solve_triangular(np.eye(3), np.ones((2, 2))), r"\(3, 3\) and \(2, 2\)"),
    (lambda: ct.einsum("...ij...,jk", X, X), r"\.\.\.ij\.\.\."),
    (lambda: ct.einsum("...ijk", X), r"does not fit a tensor of shape \(3, 4\)"),
    (lambda: ct.meshgrid(X), "takes vectors"),
    (lambda: ct.cross(X, X), "must have size 3"),
    (lambda: ct.quantile(X, 2.0), r"q must lie in \[0, 1\]"),
    (lambda: ct.diff(X, n=-1), "n, how many times"),
    (lambda: ct.cumulative_prod(X), "name an axis"),
]


@pytest.mark.parametrize(("call", "message"), MISTAKES)
def test_mistakes(call, message):
    with pytest.raises((ShapeError, ArgumentError), match=message):
        call()


MASKED = {
    "log squared": lambda x: ct.log(x) ** 2,
    "log cubed": lambda x: ct.log(x) ** 3,
    "square of log": lambda x: ct.square(ct.log(x)),
    "reciprocal squared": lambda x: (1 / x) ** 2,
    "root to the fourth": lambda x: ct.sqrt(x) ** 4 + 1 / ct.sqrt(x) ** 2,
    "xlogy": lambda x: ct.xlogy(x, x),
}


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_masked_power_has_a_finite_gradient_at_every_order(name, compiled):
    f = MASKED[name]
    x = np.array([0.0, 0.5, 2.0])

    def masked(x):
        return ct.where(x > 0, f(x), 0.0).sum()

    def plain(x):
        return f(x).sum()

    for order in range(1, 4):
        if order > 1:
            masked, plain = (
                (lambda g: lambda x: ct.grad(g)(x).sum())(masked),
                (lambda g: lambda x: ct.grad(g)(x).sum())(plain),
            )
        gradient = ct.grad(masked)
        got = (ct.jit(gradient) if compiled else gradient)(ct.asarray(x)).numpy()
        assert got[0] == 0.0
        expected = ct.grad(plain)(ct.asarray(x[1:])).numpy()
        np.testing.assert_allclose(got[1:], expected, rtol=1e-10)


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 3, 10])
def test_whole_powers(n):
    torch = pytest.importorskip("torch")
    t = torch.tensor(X, requires_grad=True)
    (t**n).sum().backward()
    x = ct.var("x", ct.asarray(X))
    np.testing.assert_allclose((x**n).numpy(), X**n, rtol=1e-13)
    if n:
        np.testing.assert_allclose((x**n).sum().backward().wrt(x), t.grad, rtol=1e-12)
    whole = np.array([-3, 2, 0, 5])
    if n > 0:
        np.testing.assert_array_equal((ct.tensor(whole) ** n).numpy(), whole**n)
