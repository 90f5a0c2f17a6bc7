"""``ct.jit(verify=True)``: machine code is compared with the evaluation op by op."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, ops, optim
from cotangent.compiler import link, memory, verify
from cotangent.compiler import simplify as simplifier
from cotangent.compiler.arguments import placeholders
from cotangent.errors import ArgumentError, BoundsError, VerificationError

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
Y = np.array([0, 2, 1, 1, 0, 2])


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    """A planted error must not reach the programs of other tests, nor theirs this one."""
    monkeypatch.setenv("COTANGENT_CACHE", "off")
    link._LAYOUTS.clear()
    yield
    link._LAYOUTS.clear()


class Net(nn.Module):
    def __init__(self):
        self.l1 = nn.Linear(5, 7)
        self.l2 = nn.Linear(7, 3)

    def forward(self, x):
        return self.l2(self.l1(x).tanh())


def _training(opt, **settings):
    ct.manual_seed(0)
    model = Net()

    @ct.jit(**settings)
    def step(x, y):
        loss = nn.cross_entropy_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    return model, step


def _bytes(model):
    return {name: value.numpy().tobytes() for name, value in model.named_parameters()}


@pytest.mark.parametrize("opt", [optim.SGD, optim.Adam, optim.RMSprop])
def test_a_right_step_passes_and_computes_the_same_bits(opt):
    plain, step = _training(opt(lr=0.1))
    checked, verified = _training(opt(lr=0.1), verify=True)
    for _ in range(5):
        assert step(X, Y).numpy().tobytes() == verified(X, Y).numpy().tobytes()
    assert _bytes(plain) == _bytes(checked)


def test_the_first_step_of_adam_on_a_gradient_of_noise_passes():
    """The gradient of a bias before a softmax's shift is 0 but for rounding; Adam makes steps of
    +-lr of it, and so of the roundings."""
    rng = np.random.default_rng(1)
    shift = ct.var("shift", np.zeros(1, np.float32))
    w = ct.var("w", rng.normal(size=(5, 8)).astype(np.float32))
    opt = optim.Adam(lr=0.5)

    @ct.jit(verify=4)
    def step(x, y):
        loss = nn.cross_entropy_loss(x @ w + shift, y)
        grads = loss.backward()
        opt.step(shift, grads.wrt(shift))
        opt.step(w, grads.wrt(w))
        return loss

    for seed in range(4):
        x = np.random.default_rng(seed).normal(size=(64, 5)).astype(np.float32)
        step(x, rng.integers(0, 8, 64))


def test_calls_are_counted_for_each_program(monkeypatch):
    judged = []
    judge = verify.judge
    monkeypatch.setattr(verify, "judge", lambda *args: judged.append(1) or judge(*args))
    f = ct.jit(lambda x: (x * 2).sum(), verify=2)
    counts = []
    for n in (3, 3, 3, 4, 4, 4):
        f(np.ones(n, np.float32))
        counts.append(len(judged))
    assert counts[1] == counts[2] and counts[4] == counts[5]
    assert counts[0] < counts[1] < counts[3] < counts[4]


def test_off_it_costs_nothing():
    f = ct.jit(lambda x: x * 2, verify=0)
    f(np.ones(3, np.float32))
    (entries,) = f._entries.values()
    assert not isinstance(entries[0].program, verify.Verifying)


def test_loop_verifies_its_first_iterations():
    _, step = _training(optim.Adam(lr=0.1))
    expected = step.loop(np.stack([X] * 5), np.stack([Y] * 5)).numpy()
    _, step = _training(optim.Adam(lr=0.1), verify=2)
    got = step.loop(np.stack([X] * 5), np.stack([Y] * 5)).numpy()
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("bad", [0, 1, 3])
def test_a_bad_index_in_a_verified_loop_undoes_all(bad):
    w = ct.var("w", np.arange(4.0, dtype=np.float32))

    @ct.jit(verify=2)
    def step(i):
        w.assign(w + 1)
        return ct.take(w, i)

    index = np.zeros((5, 1), np.int64)
    index[bad] = 9
    with pytest.raises(BoundsError, match=rf"iteration {bad} of loop"):
        step.loop(index)
    assert w.tolist() == [0.0, 1.0, 2.0, 3.0]
    step.loop(np.zeros((5, 1), np.int64))
    assert w.tolist() == [5.0, 6.0, 7.0, 8.0]


def test_methods_and_gradients_through_a_compiled_function_are_verified(monkeypatch):
    judged = []
    judge = verify.judge
    monkeypatch.setattr(verify, "judge", lambda *args: judged.append(1) or judge(*args))
    w = ct.var("w", X[0])

    class Model(nn.Module):
        @ct.jit(verify=1)
        def forward(self, x):
            return (x * w).sum()

    y = Model()(X)
    before = len(judged)
    y.backward()
    assert 0 < before < len(judged)


# -- planted errors ---------------------------------------------------------------------------


def _wrong_tanh(e, x):
    return e.mul(e.tanh(x), e.constant(1.001, x.dtype))


def test_a_wrong_op_is_named_with_layer_line_and_values(monkeypatch):
    class Layered(nn.Module):
        def __init__(self):
            self.inner = Net()

        def forward(self, x):
            return self.inner(x) * 2

    ct.manual_seed(0)
    model, opt = Layered(), optim.Adam(lr=0.1)
    monkeypatch.setattr(ops.tanh, "lower", _wrong_tanh)

    @ct.jit(verify=True)
    def step(x, y):
        loss = nn.cross_entropy_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    before = _bytes(model)
    for _ in range(2):
        with pytest.raises(VerificationError) as caught:
            step(X, Y)
        text = str(caught.value)
        assert "tanh in Layered.inner at " in text and "test_verify.py:" in text
        assert "float32(6, 7) from (float32(6, 7))" in text
        assert "they may differ by" in text and "step differs" in text
        assert _bytes(model) == before


@pytest.fixture
def leaky():
    """An op that is the identity eagerly, and 1 % more compiled."""
    op = ops.elementwise(
        "test_leaky", "x", eval=lambda xp, x: xp.add(x, 0), samples=ops.real((2,)),
        lower=lambda e, x: e.mul(x, e.constant(1.01, x.dtype)),
    )  # fmt: skip
    yield op
    ops.unregister("test_leaky")


def test_a_wrong_gradient_is_seen_where_the_update_hides_it(leaky):
    """Adam's first update is the sign of the gradient: 1 % more makes no difference to it."""
    w = ct.var("w", X.T @ X / 6)
    opt = optim.Adam(lr=0.1)

    @ct.jit(verify=True)
    def step(x):
        loss = (x @ w).tanh().sum()
        opt.step(w, leaky(loss.backward().wrt(w)))
        return loss

    before = w.numpy()
    with pytest.raises(VerificationError, match=r"test_leaky at .*test_verify"):
        step(X)
    assert w.numpy().tobytes() == before.tobytes()


def test_a_wrong_simplification_is_seen(monkeypatch):
    """A rule that takes exp(x) for x."""
    drop = lambda node: node.inputs[0] if node.op == "exp" else None
    monkeypatch.setattr(simplifier, "RULES", [drop, *simplifier.RULES])
    with pytest.raises(VerificationError, match=r"result 0; every value .* a simplification"):
        ct.jit(lambda x: x + x.exp(), verify=True)(X)


def test_memory_shared_by_two_live_values_is_seen(monkeypatch):
    monkeypatch.setattr(memory, "_gap", lambda live, need: 0)

    def f(x):
        a, b = x.sum(axis=0), x.max(axis=0)
        return (a * b - a).sum() + (x - a).exp().sum() + (x * b).max()

    with pytest.raises(VerificationError, match="how kernels share memory"):
        ct.jit(f, verify=True)(X)


def test_ties_are_not_compared():
    """Whether 0.1 + 0.2 > 0.3 is decided by rounding."""
    x = np.array([0.1, 0.2], np.float32)
    f = ct.jit(lambda x: ct.greater(x[0] + x[1], 0.3), verify=True)
    f(x)
    graph = f._trace(*placeholders((x,), {})).graph
    (judged,) = verify.judge(graph, verify.Inputs([x], []), graph.outputs)
    assert judged.bound is None


def test_numbers_that_rounding_could_make_equal_are_not_compared():
    """A mean that cancels differs from its value by other rounding; the largest element does not
    from itself."""
    x = np.array([1.1, 2.3, -3.4, 0.7, -0.7 + 1e-7], np.float32)
    mean = np.float32(x.astype("float64").mean())
    near, far = mean + np.float32(3e-8), mean + np.float32(1e-3)

    def bound(f, *args):
        graph = ct.jit(f)._trace(*placeholders(args, {})).graph
        return verify.judge(graph, verify.Inputs(args, []), graph.outputs)[0].bound

    assert bound(lambda x, y: ct.not_equal(ct.mean(x), y), x, near) is None
    assert bound(lambda x, y: ct.not_equal(ct.mean(x), y), x, far) is not None
    assert bound(lambda x: (lambda y: ct.equal(y, ct.max(y)))(x * 3), x) is not None
    assert bound(lambda x, y: ct.equal(x, y), x, x + np.float32(1e-7)) is not None


@pytest.mark.parametrize("times", [-1, -3])
def test_a_negative_count_is_an_error(times):
    with pytest.raises(ArgumentError, match=r"verify says how many calls"):
        ct.jit(lambda x: x, verify=times)
