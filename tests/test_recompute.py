"""`checkpoint` and `custom_vjp`: against the same functions without them, and PyTorch."""

from __future__ import annotations

import gc
import re
import weakref

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim, testing
from cotangent.config import STATE
from cotangent.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _state_is_restored():
    yield
    assert (STATE.depth, STATE.grad, STATE.trace) == (0, True, None)


# -- checkpoint --------------------------------------------------------------------------------


class Deep(nn.Module):
    """Layers with dropout and running statistics, each checkpointed or not."""

    def __init__(self, checkpointed):
        self.layers = [nn.Linear(8, 8) for _ in range(4)]
        self.norms = [nn.BatchNorm1d(8) for _ in range(4)]
        self.drop = nn.Dropout(0.5)
        self.wrap = ct.checkpoint if checkpointed else lambda f: f

    def block(self, i, x):
        return self.drop(self.norms[i](self.layers[i](x)).tanh())

    def forward(self, x):
        for i in range(4):
            x = self.wrap(self.block)(i, x)
        return x


@pytest.mark.parametrize("compiled", [False, True])
def test_training_with_checkpoints_has_the_same_bits(compiled):
    x = RNG.normal(size=(16, 8)).astype("float32")
    results = []
    for checkpointed in (False, True):
        ct.manual_seed(3)
        model, opt = Deep(checkpointed), optim.SGD(0.1)

        def step(x, model=model, opt=opt):
            loss = (model(x) ** 2).mean()
            opt.step(model, loss.backward())
            return loss

        run = ct.jit(step) if compiled else step
        losses = [run(x).item() for _ in range(4)]
        results.append((losses, model.state_dict()))
    assert results[0][0] == results[1][0]
    for key, value in results[0][1].items():
        np.testing.assert_array_equal(value, results[1][1][key], err_msg=key)


def test_derivatives_of_every_order_and_forwards():
    f = ct.checkpoint(lambda x, y: (x * y.sin(), (x + y).exp()))
    testing.check_gradients(lambda x, y: f(x, y)[0] * f(x, y)[1], [0.3, -0.2], [0.5, 0.1], order=3)
    assert ct.jvp(ct.checkpoint(lambda x: x**3), (2.0,), (1.0,))[1].item() == 12
    per_sample = ct.vmap(ct.grad(ct.checkpoint(lambda x: x**3)))
    assert per_sample([1.0, 2.0]).tolist() == [3, 12]


def test_variables_have_the_values_of_the_first_run():
    w = ct.var("w", 3.0)
    y = ct.checkpoint(lambda x: w * w * x)(ct.tensor(2.0))
    w.assign(100.0)
    assert y.backward().wrt(w).item() == 12


def test_what_is_assigned_happens_once():
    calls = ct.var("calls", 0.0, requires_grad=False)
    w = ct.var("w", 3.0)

    def f(x):
        calls.assign(calls + 1)
        return x * w

    ct.checkpoint(f)(ct.tensor(2.0)).backward()
    assert calls.item() == 1


def test_intermediate_results_are_not_kept():
    kept = []

    def f(x):
        y = x.exp()
        kept.append(weakref.ref(y))
        return y.sin().exp()

    w = ct.var("w", [1.0])
    out = ct.checkpoint(f)(w)
    gc.collect()
    assert kept[0]() is None
    assert out.sum().backward().wrt(w).shape == (1,)
    assert len(kept) == 2


def _arena(step, *args):
    return int(re.search(r"arena ([\d,]+)", step.explain(*args)).group(1).replace(",", ""))


def test_a_compiled_step_takes_less_memory():
    arenas = []
    x = RNG.normal(size=(256, 32)).astype("float32")
    for wrap in (lambda f: f, ct.checkpoint):
        layers = [nn.Linear(32, 32) for _ in range(8)]

        @ct.jit
        def step(x, layers=layers, wrap=wrap):
            for pair in zip(layers[::2], layers[1::2], strict=True):
                x = wrap(lambda x, pair=pair: pair[1](pair[0](x).tanh()).tanh())(x)
            return (x**2).mean().backward()

        step(x)
        arenas.append(_arena(step))
    assert arenas[1] < 0.8 * arenas[0]


def test_a_function_that_computes_something_else_is_refused():
    shapes = iter([2, 3])
    w = ct.var("w", 1.0)
    y = ct.checkpoint(lambda x: x * ct.ones(next(shapes)))(w).sum()
    with pytest.raises(GradientError, match="returned something else"):
        y.backward()
    with pytest.raises(ArgumentTypeError, match="checkpoint takes a function"):
        ct.checkpoint(3)


# -- custom_vjp --------------------------------------------------------------------------------


def _clipped(low, high):
    """The identity whose cotangent is limited."""

    @ct.custom_vjp
    def identity(x):
        return x * 1.0

    identity.defvjp(lambda x: (x * 1.0, None), lambda saved, g: (ct.clip(g, low, high),))
    return identity


def test_the_stated_rule_is_used_eager_compiled_and_nested():
    f = _clipped(-1.0, 1.0)

    def loss(x):
        return (f(x) * 5.0).sum()

    for run in (ct.grad(loss), ct.jit(ct.grad(loss)), ct.grad(ct.checkpoint(loss))):
        assert run(np.ones(2, "float32")).tolist() == [1, 1]
    xs = np.ones((3, 2), "float32")
    assert ct.vmap(ct.grad(loss))(xs).tolist() == [[1, 1]] * 3
    # Around a map the tape sees the rule too, not the ops that f is made of.
    assert ct.grad(lambda x: ct.vmap(loss)(x).sum())(xs).tolist() == [[1, 1]] * 3


def test_shared_arguments_of_a_map_get_the_sum():
    @ct.custom_vjp
    def product(x, y):
        return x * y

    product.defvjp(lambda x, y: (x * y, (x, y)), lambda s, g: (g * s[1] * 7, g * s[0]))
    xs = np.array([1.0, 2.0], "float32")
    by_y = ct.grad(lambda y: ct.vmap(lambda x: product(x, y))(xs).sum())
    assert by_y(3.0).item() == 3
    inner = ct.vmap(ct.grad(product), in_axes=(0, None))
    assert inner(xs, 3.0).tolist() == [21, 21]
    outer = ct.grad(lambda y: ct.vmap(lambda x: ct.grad(lambda v: product(v, y))(x))(xs).sum())
    assert outer(3.0).item() == ct.jit(outer)(3.0).item() == 14


def test_a_rule_equal_to_the_derivative_is_right_to_every_order():
    @ct.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3, x), lambda x, g: (g * 3 * x * x,))
    third = ct.grad(ct.grad(ct.grad(lambda x: cube(x * 2))))
    assert third(1.0).item() == 48


def test_arguments_and_results_may_be_nested_and_static():
    @ct.custom_vjp
    def f(pair, name, scale):
        return {"sum": pair[0] + pair[1], "text": ct.tensor(len(name))}

    def forward(pair, name, scale):
        return f(pair, name, scale), scale

    f.defvjp(forward, lambda scale, g: ((g["sum"] * scale, None), None, None))
    a, b = ct.var("a", 1.0), ct.var("b", 2.0)
    grads = f((a, b), "abc", 10.0)["sum"].backward()
    assert grads.wrt(a).item() == 10
    assert grads.get(b) is None


def test_mistakes_are_told():
    w = ct.var("w", 2.0)
    f = ct.custom_vjp(lambda x: x)
    with pytest.raises(GradientError, match="has no rule"):
        f(w)
    with pytest.raises(ArgumentTypeError, match="forward is a function"):
        f.defvjp(1, 2)
    with pytest.raises(ArgumentTypeError, match="takes a function"):
        ct.custom_vjp(1)
    f.defvjp(lambda x: x, lambda s, g: (g,))
    with pytest.raises(ArgumentTypeError, match=r"\(result, saved\)"):
        f(w)
    f.defvjp(lambda x: (x * 1, None), lambda s, g: g)
    with pytest.raises(ArgumentError, match="tuple of 1 cotangents"):
        f(w).backward()
    f.defvjp(lambda x: (x * 1, None), lambda s, g: (g.reshape((1,)),))
    with pytest.raises(ShapeError, match=r"\(1,\) for an argument of shape \(\)"):
        f(w).backward()
    f.defvjp(lambda x: (x * w, None), lambda s, g: (g,))
    with pytest.raises(GradientError, match="not an argument"):
        f(ct.var("v", 1.0))
    f.defvjp(lambda x: (x * 1, None), lambda s, g: (g,))
    with pytest.raises(GradientError, match="reverse rule only"):
        ct.jvp(f, (1.0,), (1.0,))
