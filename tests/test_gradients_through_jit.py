"""Gradients that flow through compiled functions are those of the functions themselves."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim, testing

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


def _f(x, y):
    return (x * y.exp()).tanh().sum() + (x * x * x).sum()


def _close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def test_all_derivatives_against_differences():
    testing.check_gradients(ct.jit(_f), X, X[::-1].copy())
    testing.check_gradients(ct.jit(lambda x: ct.softmax(x, axis=1) * x), X)
    testing.check_gradients(ct.jit(lambda x: (x.exp(), [x @ x.T])), X * 0.5, order=1)


@pytest.mark.parametrize("argnums", [0, 1, (0, 1)])
def test_gradients_by_arguments(argnums):
    x, y = ct.asarray(X), ct.asarray(X * 0.5)
    f = ct.jit(_f)
    for _ in range(2):
        got, expected = ct.grad(f, argnums)(x, y), ct.grad(_f, argnums)(x, y)
        for a, b in zip(got, expected, strict=True):
            _close(a, b, 1e-12)


def test_second_and_third_order():
    def cube(x):
        return (x * x * x * x).sum()

    def derivative(f):
        return lambda x: ct.grad(f)(x).sum()

    x = ct.asarray(X)
    one, two, three = (
        lambda f=f: f for f in (cube, derivative(cube), derivative(derivative(cube)))
    )
    jitted = ct.jit(cube)
    _close(ct.grad(jitted)(x), 4 * X**3, 1e-12)
    _close(ct.grad(derivative(jitted))(x), 12 * X**2, 1e-12)
    _close(ct.grad(derivative(derivative(jitted)))(x), 24 * X, 1e-12)
    for f in (one(), two(), three()):
        _close(ct.jit(ct.grad(f))(x), ct.grad(f)(x), 1e-12)


def test_jvp_and_vjp():
    x, t = ct.asarray(X), ct.asarray(np.ones_like(X))
    f = ct.jit(lambda x: x * x.tanh())
    y, tangent = ct.jvp(f, (x,), (t,))
    _close(y, X * np.tanh(X), 1e-12)
    _close(tangent, np.tanh(X) + X / np.cosh(X) ** 2, 1e-12)
    _, pullback = ct.vjp(f, x)
    _close(pullback(t)[0], tangent, 1e-12)


class Net(nn.Module):
    def __init__(self):
        self.l1, self.l2 = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.l2(self.l1(x).tanh())


def test_gradients_of_captured_variables():
    ct.manual_seed(0)
    model = Net()
    loss = ct.jit(lambda x: (model(x) ** 2).mean())
    for _ in range(3):
        got = loss(X).backward()
        expected = (model(ct.tensor(X)) ** 2).mean().backward()
        for variable in model.parameters():
            _close(got.wrt(variable), expected.wrt(variable))
        optim.SGD(0.1).step(model, got)


def test_a_compiled_model_inside_an_eager_loss():
    model = Net()
    forward = ct.jit(model.forward)
    w = ct.var("w", 2.0)
    got = (forward(ct.tensor(X)) * w).sum().backward()
    expected = (model(ct.tensor(X)) * w).sum().backward()
    for variable in (*model.parameters(), w):
        _close(got.wrt(variable), expected.wrt(variable))


def test_several_results_flow_together():
    w = ct.var("w", X)
    f = ct.jit(lambda x: {"a": (w * x).sum(), "b": [w.exp(), 3], "n": x.astype(ct.int32)})

    def joint(out):
        return out["a"] * 2 + (out["b"][0] * out["b"][0]).sum() + out["a"] * out["b"][0].sum()

    def plain(x):
        return {"a": (w * x).sum(), "b": [w.exp(), 3]}

    got = joint(f(X)).backward().wrt(w)
    _close(got, joint(plain(ct.tensor(X))).backward().wrt(w), 1e-4)
    out = f(X)
    assert not out["n"].tracked and out["a"].tracked
    _close(out["a"].backward().wrt(w), X)  # the other results are left alone


def test_a_variable_that_changes_between_call_and_backward():
    w = ct.var("w", [1.0, 2.0])
    f = ct.jit(lambda x: (w * w * x).sum())
    grow = ct.jit(lambda: w.assign(w * 10))
    y = f(np.ones(2))
    w.assign([5.0, 6.0])
    _close(y.backward().wrt(w), [2.0, 4.0])
    y = f(np.ones(2))
    grow()
    grow()
    _close(y.backward().wrt(w), [10.0, 12.0])


def test_arguments_that_change_between_call_and_backward():
    w = ct.var("w", [1.0, 2.0])
    f = ct.jit(lambda x, s: (w * x * s).sum())
    x = np.array([3.0, 4.0], np.float32)
    y = f(x, 0.5)
    x[:] = 100
    _close(y.backward().wrt(w), [1.5, 2.0])


def test_numbers_are_those_of_the_call():
    w = ct.var("w", [1.0, 2.0])
    f = ct.jit(lambda s, n: (w * s).sum() * n)
    results = [(s, n, f(s, n)) for s in (2.0, 3.0, np.float32(4.0)) for n in (1, 2)]
    for s, n, y in results:
        _close(y.backward().wrt(w), [s * n, s * n])


def test_integer_and_static_arguments():
    w = ct.var("w", np.arange(12.0).reshape(4, 3))
    f = ct.jit(lambda i, mode, n: (ct.take(w, i) * n).sum() if mode == "sum" else None)
    expected = np.zeros((4, 3))
    np.add.at(expected, [1, 3, 1], 2.0)
    _close(f(np.array([1, 3, 1]), "sum", 2).backward().wrt(w), expected)


def test_a_changed_mode_before_backward_is_an_error():
    model = Net()
    y = ct.jit(lambda x: model(x).sum())(X)
    model.eval()
    with pytest.raises(ct.GradientError, match="changed after the call"):
        y.backward()


def test_nothing_is_tracked_without_gradients():
    w = ct.var("w", X)
    f = ct.jit(lambda x: (w * x).sum())
    with ct.no_grad():
        assert not f(X).tracked
    assert f(X).tracked
    w.requires_grad = False
    assert not f(X).tracked
    assert f(ct.var("x", X)).tracked


def test_backward_consumes_and_keep_keeps():
    w = ct.var("w", X)
    y = ct.jit(lambda x: (w * w * x).sum())(X)
    first = y.backward(keep=True).wrt(w)
    _close(first, y.backward().wrt(w))
    with pytest.raises(ct.GradientError, match="consumed"):
        y.backward()


def test_a_function_and_its_gradient_compiled_inside_a_step():
    ct.manual_seed(0)
    model, opt = Net(), optim.SGD(0.05)
    inner = ct.jit(lambda x: (model(x) ** 2).mean())

    @ct.jit
    def step(x):
        loss = inner(x)
        opt.step(model, loss.backward())
        return loss

    losses = [step(X).item() for _ in range(20)]
    assert losses[-1] < losses[0]


def test_each_call_keeps_the_values_that_it_read():
    w = ct.var("w", [1.0, 2.0])
    f = ct.jit(lambda x: (w * w * x).sum())
    train = ct.jit(lambda: w.assign(w * 2.0))
    x = ct.ones((2,))
    before = [f(x), f(x)]
    train()
    train()
    after = [f(x), f(x)]
    for y in before:
        assert y.backward().wrt(w).tolist() == [2.0, 4.0]
    for y in after:
        assert y.backward().wrt(w).tolist() == [8.0, 16.0]
    assert w.tolist() == [4.0, 8.0]


def test_two_calls_with_one_cotangent():
    w = ct.var("w", 3.0)
    f = ct.jit(lambda x: w * x * x)
    x, y = ct.var("x", 5.0), ct.var("y", 7.0)
    grads = (f(x.value) + f(y.value)).backward()
    assert [grads.wrt(v).item() for v in (w, x, y)] == [25.0 + 49.0, 30.0, 42.0]


def test_a_variable_is_frozen_and_thawed_between_calls():
    v, w = ct.var("v", 2.0), ct.var("w", 3.0)
    f = ct.jit(lambda x: v * w * x)
    x = ct.tensor(5.0)
    assert f(x).backward().wrt(w).item() == 10.0
    w.requires_grad = False
    grads = f(x).backward()
    assert grads.get(w) is None
    assert grads.wrt(v).item() == 15.0
    v.requires_grad = False
    assert not f(x).tracked
    w.requires_grad = True
    assert f(x).backward().wrt(w).item() == 10.0


def test_freezing_a_variable_between_calls():
    w = ct.var("w", [1.0, 2.0])
    f = ct.jit(lambda x: (w * w * x).sum())
    x = ct.tensor([1.0, 1.0])
    for _ in range(2):
        assert f(x).tracked
        w.requires_grad = False
        assert not f(x).tracked
        w.requires_grad = True
    _close(f(x).backward().wrt(w), [2.0, 4.0])


def test_values_are_let_go_with_the_results_that_need_them():
    w = ct.var("w", [1.0, 2.0])
    f = ct.jit(lambda x: (w * w * x).sum())
    y = f(ct.tensor([1.0, 1.0]))
    read = weakref.ref(w.value)
    _close(y.backward().wrt(w), [2.0, 4.0])
    w.assign([3.0, 4.0])
    del y
    gc.collect()
    assert read() is None


ROWS = np.random.default_rng(0).normal(size=(6, 3))


class Stateful(nn.Module):
    """Dropout and running statistics: every call writes variables that are not trained."""

    def __init__(self, seed):
        ct.manual_seed(seed)
        self.first, self.norm = nn.Linear(3, 6), nn.BatchNorm1d(6)
        self.drop, self.last = nn.Dropout(0.4), nn.Linear(6, 1)

    def forward(self, x):
        return self.last(self.drop(self.norm(self.first(x)).tanh())).square().mean()


def test_functions_that_draw_and_keep_statistics():
    """The backward pass of a call draws what the call drew, and keeps nothing a second time."""
    batches = [ROWS + i * ROWS**2 for i in range(4)]
    outcomes = []
    for compiled in (False, True):
        model = Stateful(0)
        f = ct.jit(model) if compiled else model
        ct.manual_seed(7)
        # All calls first, then the gradients: each of the state that its own call found.
        losses = [f(x) for x in batches]
        gradients = [loss.backward() for loss in losses]
        buffers = {k: v for k, v in model.state_dict().items() if k.startswith("norm.")}
        outcomes.append((losses, [g.wrt(model.first.weight) for g in gradients], buffers))
    (losses, gradients, buffers), (other_losses, other_gradients, other_buffers) = outcomes
    assert buffers["norm.num_batches_tracked"] == 4
    for a, b in zip(losses + gradients, other_losses + other_gradients, strict=True):
        _close(b, a)
    assert len({round(g.numpy().max().item(), 5) for g in gradients}) == 4
    for name, value in buffers.items():
        _close(other_buffers[name], value)


def test_training_eagerly_around_a_stateful_compiled_forward_pass():
    finals = []
    for compiled in (False, True):
        model, opt = Stateful(1), optim.SGD(lr=0.1, momentum=0.9)
        f = ct.jit(model) if compiled else model
        ct.manual_seed(3)
        for _ in range(5):
            opt.step(model, f(ROWS).backward())
        finals.append(model.state_dict())
    for name, value in finals[0].items():
        _close(finals[1][name], value, 1e-4)


def test_derivatives_of_a_stateful_function_in_every_mode():
    model = Stateful(2)
    x = ct.tensor(ROWS)
    found = []
    for f in (model, ct.jit(model)):
        ct.manual_seed(5)
        second = ct.grad(lambda x, f=f: ct.grad(f)(x).square().sum())(x)
        _, forward = ct.jvp(f, (x,), (x * x,))
        found.append((second, forward))
    for a, b in zip(*found, strict=True):
        _close(b, a, 1e-4)


def test_a_function_that_trains_gives_results_that_are_not_tracked():
    w = ct.var("w", [1.0, 2.0])

    @ct.jit
    def step(x):
        loss = (w * x).sum()
        w.assign(w - loss.backward().wrt(w))
        return loss

    loss = step(np.ones(2, np.float32))
    assert not loss.tracked
    with pytest.raises(ct.GradientError, match="compiled function that assigns parameters"):
        loss.backward()


def test_a_buffer_that_changes_between_call_and_backward():
    w = ct.var("w", [1.0, 2.0])
    scale = ct.var("scale", [3.0, 5.0], requires_grad=False)
    y = ct.jit(lambda x: (w * scale * x).sum())(np.ones(2, np.float32))
    scale.assign([30.0, 50.0])
    assert y.backward().wrt(w).tolist() == [3.0, 5.0]


def test_jacobians_and_maps_of_gradients_of_compiled_functions():
    w = ct.var("w", X[0])
    f = ct.jit(lambda x: (w * x.tanh() * x).sum())
    expected = ct.hessian(lambda x: (w * x.tanh() * x).sum())(ct.tensor(X[1]))
    _close(ct.hessian(f)(ct.tensor(X[1])), expected)
    _close(ct.jit(ct.hessian(f))(ct.tensor(X[1])), expected)
    _close(ct.jacobian(ct.grad(ct.jit(f)))(ct.tensor(X[1])), expected)
    _, pullback = ct.vjp(f, ct.tensor(X[1]))
    rows = ct.vmap(lambda g: pullback(g)[0])(ct.tensor([1.0, 2.0]))
    _close(rows[1], 2 * rows[0])


def test_results_beside_gradients_keep_their_places():
    w = ct.var("w", [1.0, 2.0])

    def f(x):
        gradient = ct.grad(lambda x: (w * x**3).sum())(x)
        return gradient, ct.argmax(x), (w * x).sum()

    for g in (f, ct.jit(f)):
        gradient, where, total = g(ct.tensor([3.0, 4.0]))
        assert where.item() == 1 and not where.tracked
        assert gradient.sum().backward().wrt(w).tolist() == [27.0, 48.0]
        assert total.backward().wrt(w).tolist() == [3.0, 4.0]


def test_a_call_that_took_gradients_itself():
    w = ct.var("w", [1.0, 2.0])

    @ct.jit
    def f(x):
        loss = (w * x).sum()
        return {"g": [loss.backward(keep=True)], "n": ct.argmax(x), "loss": loss, "x": x * w}

    found = f(ct.tensor([3.0, 4.0]))
    gradient = found["g"][0].wrt(w)
    assert gradient.tolist() == [3.0, 4.0] and not gradient.tracked
    assert found["loss"].backward().wrt(w).tolist() == [3.0, 4.0]
    assert found["x"].sum().backward().wrt(w).tolist() == [3.0, 4.0]
