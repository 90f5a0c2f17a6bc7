"""What NumPy's functions do with tensors: ours where there is one, else an error that says so."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent import protocols
from cotangent.errors import ArgumentTypeError, TraceError

A = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], np.float32)


def _same(name, *extra):
    function = getattr(np, name)
    return pytest.param(lambda x: function(x, *extra), id=name)


UNARY = [
    "exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "arcsin", "arccos", "arctan", "sinh",
    "cosh", "expm1", "log1p", "log2", "log10", "floor", "ceil", "trunc", "rint", "sign", "fabs",
    "absolute", "negative", "positive", "square", "reciprocal", "isnan", "isinf", "isfinite",
    "sum", "mean", "max", "min", "argmax", "argmin", "prod", "std", "var", "any", "all",
    "transpose", "ravel", "flip", "tril", "triu", "trace", "diagonal", "diag", "sort", "argsort",
    "round", "count_nonzero",
]  # fmt: skip
CASES = [_same(name) for name in UNARY] + [
    _same("power", 2.5), _same("add", A), _same("divide", A), _same("maximum", 0.3),
    _same("arctan2", A), _same("greater", 0.3), _same("clip", 0.2, 0.4), _same("matmul", A.T),
    _same("reshape", (3, 2)), _same("swapaxes", 0, 1), _same("expand_dims", 0),
    _same("broadcast_to", (4, 2, 3)), _same("roll", 1, 1), _same("tile", (2, 1)),
    _same("repeat", 2, 0), _same("cumsum", 1),
    pytest.param(lambda x: np.where(A > 0.3, x, 0), id="where"),
    pytest.param(lambda x: np.concatenate([x, A], axis=1), id="concatenate"),
    pytest.param(lambda x: np.stack([x, x]), id="stack"),
    pytest.param(lambda x: np.einsum("ij,kj->ik", x, A), id="einsum"),
    pytest.param(lambda x: np.tensordot(x, A.T, 1), id="tensordot"),
    pytest.param(lambda x: np.sum(x, axis=(0, 1), keepdims=True), id="sum of axes"),
    pytest.param(lambda x: A * x - A / x, id="array first"),
    pytest.param(lambda x: np.float32(3) ** x, id="number first"),
    pytest.param(lambda x: (A + 1) // x + x // 0.25 - 2 // x, id="floor division"),
]  # fmt: skip


@pytest.mark.parametrize("function", CASES)
def test_a_function_of_numpy_is_ours(function):
    expected = function(A)
    got = function(ct.var("x", A))
    assert isinstance(got, ct.Tensor)
    np.testing.assert_allclose(got.numpy(), expected, rtol=3e-6, atol=1e-6)
    np.testing.assert_allclose(ct.jit(function)(A).numpy(), expected, rtol=3e-6, atol=1e-6)


def test_the_gradient_flows_through_numpy():
    w = ct.var("w", A)
    grads = np.sum(np.exp(w) * A).backward()
    np.testing.assert_allclose(grads.wrt(w).numpy(), np.exp(A) * A, rtol=1e-6)


def test_every_name_is_a_function_of_numpy():
    assert all(isinstance(getattr(np, name), np.ufunc) for name in protocols._UFUNCS)


REFUSED = {
    "no counterpart": (lambda t: np.hypot(t, t), "np.hypot does not take tensors"),
    "a method": (lambda t: np.add.reduce(t), "np.add.reduce does not take tensors"),
    "in place": (lambda t: A.copy().__iadd__(t), "write x = x \\+ t"),
    "out": (lambda t: np.exp(t, out=A.copy()), "in place"),
    "dtype of a ufunc": (lambda t: np.exp(t, dtype="float64"), "takes no dtype="),
    "dtype of a function": (lambda t: np.sum(t, dtype="float64"), "arguments of sum: .*dtype"),
    "decimals": (lambda t: np.round(t, 1), "np.round of a tensor"),
    "tracked": (lambda t: np.linalg.norm(t), r"np.linalg.norm would lose the gradient"),
    "in a list": (lambda t: np.hstack([A, t]), "np.hstack would lose the gradient"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_ours_says_what_to_write(name):
    function, message = REFUSED[name]
    with pytest.raises(ArgumentTypeError, match=message):
        function(ct.var("x", A))


def test_values_of_plain_tensors_go_to_any_function():
    x = ct.tensor(A)
    assert np.linalg.norm(x) == np.linalg.norm(A)
    np.testing.assert_array_equal(np.hstack([x, A]), np.hstack([A, A]))


def test_looking_at_tracked_tensors_is_allowed():
    w = ct.var("w", A)
    assert np.allclose(w, A) and np.array_equal(w, A)
    assert (np.shape(w), np.ndim(w), np.size(w)) == ((2, 3), 2, 6)


def test_a_trace_has_no_values_to_look_at():
    with pytest.raises(TraceError, match="inside a function compiled"):
        ct.jit(lambda x: ct.tensor(float(np.allclose(x, A))))(A)
    with pytest.raises(ArgumentTypeError, match=r"np\.median"):
        ct.jit(lambda x: np.median(x))(A)
