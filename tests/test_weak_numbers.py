"""Python floats among the arguments of compiled functions mean what they mean eagerly."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim

DTYPES = (ct.float16, ct.bfloat16, ct.float32, ct.float64, ct.int32)
A = 0.3  # no float of any dtype
VALUES = np.random.default_rng(0).uniform(0.2, 0.9, (3, 4))

FUNCTIONS = {
    "add": lambda x, a: x + a,
    "subtract from": lambda x, a: a - x,
    "multiply": lambda x, a: a * x,
    "divide": lambda x, a: x / a,
    "divide by": lambda x, a: a / x,
    "floor divide": lambda x, a: x // a,
    "remainder": lambda x, a: x % a,
    "power": lambda x, a: x**a,
    "power of": lambda x, a: a**x,
    "compare": lambda x, a: ct.where(x > a, x, a),
    "compare alone": lambda x, a: ct.where(a < 0.3, x, x + 1),
    "arithmetic": lambda x, a: x * (1 - 2 * a / 3 + a**2 - (-a) + abs(a) + a % 0.2 + a // 0.1),
    "two of them": lambda x, a: x * (a * a - a + a / a),
    "from the right": lambda x, a: x * (2**a + 5 // a + 7 % a + 1 / a),
    "clip": lambda x, a: ct.clip(x, a, 2 * a),
    "maximum": lambda x, a: ct.maximum(a, x),
    "lerp": lambda x, a: ct.lerp(x, x * 2, a),
    "alone": lambda x, a: ct.exp(a),
    "product alone": lambda x, a: ct.multiply(a, 2.0),
    "tensor": lambda x, a: ct.tensor(a),
    "asarray": lambda x, a: ct.asarray(a),
    "tensor of float64": lambda x, a: ct.tensor(a, dtype=ct.float64),
    "array": lambda x, a: x + a * np.ones(4, np.float32),
    "array on the left": lambda x, a: x + np.ones(4, np.float32) * a,
    "set": lambda x, a: x.at[0].set(a),
    "add at": lambda x, a: x.at[:, 1].add(a),
    "masked fill": lambda x, a: ct.masked_fill(x, x > 0.5, a),
    "softmax": lambda x, a: ct.softmax(x / a, axis=-1),
    "leaky": lambda x, a: nn.leaky_relu(x - 0.5, a),
    "huber": lambda x, a: nn.huber_loss(x, x * 0, a),
    "gradient": lambda x, a: ct.grad(lambda t: (t * t * a).sum())(x),
    "gradient by it": lambda x, a: ct.grad(lambda t: (t * x).sum())(a),
    "jvp": lambda x, a: ct.jvp(lambda t: t * a, (x,), (x,))[1],
    "vmap": lambda x, a: ct.vmap(lambda row, b: (row * b).sum(), in_axes=(0, None))(x, a),
    "vmap around": lambda x, a: ct.vmap(lambda row: (row * a).sum())(x),
    "checkpoint": lambda x, a: ct.checkpoint(lambda t, b: t * b)(x, a),
    "inner": lambda x, a: ct.jit(lambda t, b: t * b)(x, a),
    "nested": lambda x, a: (lambda d: x * d["a"][0])({"a": [a]}),
}


def _outcome(f, *args):
    try:
        return ct.asarray(f(*args))
    except ct.Error as error:
        return type(error)


@pytest.mark.parametrize("number", [A, np.float64(A), np.float32(A)], ids=["float", "f8", "f4"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtype_and_digits_are_those_of_the_eager_function(name, number):
    f = FUNCTIONS[name]
    if name == "asarray" and type(number) is np.float32:
        pytest.skip("it is a float32 array to NumPy, and asarray keeps that")
    for dtype in DTYPES if isinstance(number, float) else (ct.float16, ct.float64):
        x = ct.asarray((VALUES * (5 if dtype == ct.int32 else 1)).astype(dtype))
        expected, found = _outcome(f, x, number), _outcome(ct.jit(f), x, number)
        if isinstance(expected, type):
            assert found is expected
            continue
        assert found.dtype == expected.dtype, dtype
        bits = {2: 8, 4: 20, 8: 40}.get(expected.dtype.itemsize)
        if type(number) is np.float32 and name in ("arithmetic", "two of them", "from the right"):
            bits = min(bits, 18)  # NumPy computes with float32
        np.testing.assert_allclose(
            found.numpy().astype(np.float64), expected.numpy().astype(np.float64), rtol=2.0**-bits
        )


def test_a_rate_keeps_all_its_digits():
    finals = []
    for compiled in (False, True):
        w = ct.var("w", VALUES, dtype=ct.float64)
        momentum = ct.var("m", 0.0, dtype=ct.float64, requires_grad=False)
        opt = optim.SGD(lr=0.5)

        def step(x, lr, beta, w=w, momentum=momentum, opt=opt):
            loss = (w * x * beta).square().sum()
            opt.step(w, loss.backward().wrt(w), lr=lr)
            momentum.assign(beta)
            return loss

        f = ct.jit(step) if compiled else step
        for i in range(3):
            f(ct.asarray(VALUES), 0.1 + i / 70, beta=0.9)
        finals.append((w.numpy(), momentum.item()))
    np.testing.assert_allclose(finals[1][0], finals[0][0], rtol=1e-14)
    assert finals[0][1] == finals[1][1] == 0.9


@pytest.mark.parametrize("dtype", DTYPES[:4])
def test_gradients_through_a_call_with_a_number(dtype):
    w = ct.var("w", VALUES, dtype=dtype)
    x = ct.asarray(VALUES.astype(dtype))

    def f(x, a):
        return (w * x * a).sum(), a * 2

    expected = f(x, A)[0].backward().wrt(w)
    compiled = ct.jit(f)
    found = compiled(x, A)[0].backward().wrt(w)
    assert found.dtype == expected.dtype == dtype
    eps = float(ct.finfo(dtype).eps)
    np.testing.assert_allclose(found.numpy().astype(float), expected.numpy().astype(float), 4 * eps)
    second = ct.grad(lambda x: ct.grad(lambda x: compiled(x, A)[0] ** 2)(x).sum())(x)
    assert second.dtype == dtype


def test_what_decides_is_refused_with_advice():
    x = np.ones((3, 4), np.float32)
    for f in (
        lambda x, a: nn.dropout(x, a),
        lambda x, a: ct.quantile(x, a),
        lambda x, a: nn.cross_entropy_loss(x, ct.arange(3), label_smoothing=a),
    ):
        with pytest.raises(ct.TraceError, match=r"must be known when .* close over it"):
            ct.jit(f)(x, A)
    for f in (lambda x, a: x if a else -x, lambda x, a: x * float(a), lambda x, a: x[int(a)]):
        with pytest.raises(ct.TraceError, match=r"test_weak_numbers\.py"):
            ct.jit(f)(x, A)
    assert "traced" in ct.jit(lambda x, a: f"{a} {a!r}")(x, A)


def test_results_are_tensors_of_the_default_float():
    for result in ct.jit(lambda a: (a, [a * 2], {"b": -a}))(A)[0:1]:
        assert isinstance(result, ct.Tensor) and result.dtype == ct.float32
    assert ct.jit(lambda a: a.sqrt())(4.0).item() == 2.0
