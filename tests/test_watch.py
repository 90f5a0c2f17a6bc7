"""`nn.watch`: outputs and gradients inside a model, against PyTorch's hooks."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn
from cotangent.errors import ArgumentError, ArgumentTypeError, TraceError, UnknownKeyError
from cotangent.nn.watching import WATCHES

X = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")


class Net(nn.Module):
    def __init__(self):
        self.layers = [nn.Linear(2, 4), nn.Linear(4, 3)]
        self.act = nn.Tanh()
        self.head = nn.Linear(3, 1)

    def forward(self, x):
        for layer in self.layers:
            x = self.act(layer(x))
        return self.head(x)


PATHS = ["layers.0", "act", "layers.1", "act:2", "head", ""]


def _loss(model, x):
    with nn.watch(model) as seen:
        loss = (model(x) ** 2).mean()
        grads = loss.backward()
    return loss, grads, seen


def test_outputs_and_gradients_against_pytorch():
    torch = pytest.importorskip("torch")
    model = Net()
    plain = (model(X) ** 2).mean()
    loss, grads, seen = _loss(model, X)
    assert loss.item() == plain.item()
    assert list(seen.outputs) == PATHS and set(seen.gradients) == set(PATHS)
    for v, g in plain.backward():
        np.testing.assert_array_equal(g.numpy(), grads.wrt(v).numpy())

    outputs = {}
    x = torch.tensor(X)
    layers = {
        name: [torch.tensor(p.numpy()) for p in layer.parameters()]
        for name, layer in [
            ("layers.0", model.layers[0]),
            ("layers.1", model.layers[1]),
            ("head", model.head),
        ]
    }

    def linear(name, x):
        weight, bias = layers[name]
        out = torch.nn.functional.linear(x, weight.requires_grad_(), bias)
        out.retain_grad()
        outputs[name] = out
        return out

    def act(name, x):
        outputs[name] = out = torch.tanh(x)
        out.retain_grad()
        return out

    y = linear("head", act("act:2", linear("layers.1", act("act", linear("layers.0", x)))))
    (y**2).mean().backward()
    for name, out in outputs.items():
        np.testing.assert_allclose(seen.outputs[name], out.detach().numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(seen.gradients[name], out.grad.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(seen.outputs[""], seen.outputs["head"])


def test_compiled_is_eager():
    model = Net()

    @ct.jit
    def step(x):
        loss, _, seen = _loss(model, x)
        return loss, dict(seen.outputs), dict(seen.gradients)

    loss, _, seen = _loss(model, X)
    for _ in range(2):
        got, outputs, gradients = step(X)
        np.testing.assert_allclose(got.numpy(), loss.numpy(), rtol=1e-6)
        assert list(outputs) == PATHS
        for name in PATHS:
            for mine, other in ((outputs, seen.outputs), (gradients, seen.gradients)):
                np.testing.assert_allclose(
                    mine[name].numpy(), other[name].numpy(), rtol=1e-5, atol=1e-6
                )


def test_several_results_of_a_layer():
    class Two(nn.Module):
        def __init__(self):
            self.split = Pair()

        def forward(self, x):
            a, b = self.split(x)
            return (a * b).sum()

    class Pair(nn.Module):
        def forward(self, x):
            return x + 1, x * 2

    w = ct.var("w", X)
    model = Two()
    with nn.watch(model) as seen:
        model(w).backward()
    assert list(seen.outputs) == ["split[0]", "split[1]", ""]
    np.testing.assert_array_equal(seen.gradients["split[0]"], 2 * X)
    np.testing.assert_array_equal(seen.gradients["split[1]"], X + 1)


def test_without_gradients():
    model = Net().freeze()
    with nn.watch(model) as seen:
        model(X)
    assert len(seen.outputs) == 6 and not seen.gradients
    model.unfreeze()
    with ct.no_grad(), nn.watch(model) as seen:
        model(X)
    assert len(seen.outputs) == 6 and not seen.outputs["head"].tracked


def test_nothing_stays_behind():
    model = Net()
    _, _, seen = _loss(model, X)
    assert not any(x.tracked for x in [*seen.outputs.values(), *seen.gradients.values()])
    assert not WATCHES
    with pytest.raises(ZeroDivisionError), nn.watch(model):
        raise ZeroDivisionError
    assert not WATCHES
    with nn.watch(model) as seen:
        loss = (model(X) ** 2).mean()
    entry = weakref.ref(loss.value) if hasattr(loss, "value") else weakref.ref(loss)
    gc.disable()
    try:
        del loss
        assert entry() is None
    finally:
        gc.enable()


def test_second_derivatives_go_through():
    model, x = Net(), ct.var("x", X)

    def penalty(watching):
        seen = nn.watch(model)
        if watching:
            seen.__enter__()
        g = (model(x) ** 2).mean().backward(differentiable=True).wrt(x)
        if watching:
            seen.__exit__(None)
        return (g * g).sum().backward().wrt(x).numpy()

    np.testing.assert_array_equal(penalty(True), penalty(False))


def test_two_at_once():
    model = Net()
    with nn.watch(model) as outer, nn.watch(model.head) as inner:
        model(X).sum().backward()
    np.testing.assert_array_equal(inner.gradients[""], outer.gradients["head"])


def test_mistakes():
    model = Net()
    _, _, seen = _loss(model, X)
    with pytest.raises(UnknownKeyError, match=r"no output of a layer 'layer.0'.*mean 'layers.0'"):
        seen.outputs["layer.0"]
    with pytest.raises(ArgumentError, match="no layer of Net was called"), nn.watch(model):
        pass
    with pytest.raises(TraceError, match="with statement is outside"), nn.watch(model):
        ct.jit(lambda x: model(x))(X)
    with pytest.raises(ArgumentTypeError, match="takes a model"):
        nn.watch(ct.ones(2))
    assert model(X).shape == (5, 1)
