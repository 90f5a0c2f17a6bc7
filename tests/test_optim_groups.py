"""Settings by parameter, every optimizer compiled, and Lion against its formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim

OPTIMIZERS: list[tuple[str, Callable[[], Any]]] = [
    ("sgd", lambda: optim.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    ("adam", lambda: optim.Adam(0.01, weight_decay=0.01)),
    ("adamw", lambda: optim.AdamW(0.01, weight_decay=0.1)),
    ("adamw scheduled", lambda: optim.AdamW(optim.cosine_decay(0.01, 10), weight_decay=0.1)),
    ("rmsprop", lambda: optim.RMSprop(0.01, momentum=0.5, centered=True)),
    ("adagrad", lambda: optim.Adagrad(0.1, initial_accumulator_value=0.1)),
    ("lion", lambda: optim.Lion(0.01, weight_decay=0.1)),
]


def _model() -> Any:
    ct.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))


def _train(model: Any, opt: Any, wrap: Callable[[Any], Any], steps: int = 12) -> dict[str, Any]:
    @wrap
    def step(x: Any, y: Any) -> Any:
        loss = nn.mse_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    rng = np.random.default_rng(0)
    for _ in range(steps):
        x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
        step(x.astype(np.float32), y.astype(np.float32))
    return model.state_dict() | opt.state_dict(model)


@pytest.mark.parametrize(("name", "make"), OPTIMIZERS, ids=[name for name, _ in OPTIMIZERS])
def test_compiled_equals_eager(name: str, make: Callable[[], Any]) -> None:
    eager, compiled = _train(_model(), make(), lambda f: f), _train(_model(), make(), ct.jit)
    assert list(eager) == list(compiled)
    for key, value in eager.items():
        np.testing.assert_allclose(compiled[key], value, rtol=2e-5, atol=2e-6, err_msg=key)


@pytest.mark.parametrize(("name", "make"), OPTIMIZERS, ids=[name for name, _ in OPTIMIZERS])
def test_a_saved_state_continues_with_equal_bits(name: str, make: Callable[[], Any]) -> None:
    model, opt = _model(), make()
    _train(model, opt, lambda f: f, 4)
    copy, fresh = _model(), make()
    copy.load_state_dict(model.state_dict())
    fresh.load_state_dict(copy, opt.state_dict(model))
    one, other = _train(model, opt, lambda f: f, 4), _train(copy, fresh, lambda f: f, 4)
    for key, value in one.items():
        np.testing.assert_array_equal(other[key], value, err_msg=key)


def test_lion_follows_its_formula() -> None:
    w, opt = ct.var("w", [0.5, -2.0], dtype="float64"), optim.Lion(0.1, (0.8, 0.95), 0.3)
    p, m = w.numpy().copy(), np.zeros(2)
    for g in np.random.default_rng(0).normal(size=(50, 2)):
        opt.step(w, ct.asarray(g))
        p = p - 0.1 * (np.sign(0.8 * m + 0.2 * g) + 0.3 * p)
        m = 0.95 * m + 0.05 * g
        np.testing.assert_allclose(w.numpy(), p, rtol=1e-12)


@pytest.mark.parametrize("wrap", [lambda f: f, ct.jit], ids=["eager", "compiled"])
def test_groups_equal_pytorchs(wrap: Callable[[Any], Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    model = _model()
    peer = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
    peer.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
    opt = optim.AdamW(0.01, weight_decay=0.1)
    opt.group(lambda p: p.ndim < 2, weight_decay=0.0)
    head = opt.group(model[2].weight, lr=0.03)
    bodies = [peer[0].weight], [peer[0].bias, peer[2].bias], [peer[2].weight]
    settings: list[dict[str, float]] = [{}, {"weight_decay": 0.0}, {"lr": 0.03}]
    other = torch.optim.AdamW(
        [{"params": p, **s} for p, s in zip(bodies, settings, strict=True)],
        lr=0.01, weight_decay=0.1,
    )  # fmt: skip

    def step(x: Any, y: Any) -> Any:
        loss = nn.mse_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    step = wrap(step)
    rng = np.random.default_rng(0)
    for i in range(20):
        if i == 7:
            head.lr, other.param_groups[2]["lr"] = 0.001, 0.001
        if i == 12:
            opt.lr = 0.02
            other.param_groups[0]["lr"] = other.param_groups[1]["lr"] = 0.02
        x, y = rng.normal(size=(5, 3)).astype("f4"), rng.normal(size=(5, 2)).astype("f4")
        step(x, y)
        other.zero_grad()
        torch.nn.functional.mse_loss(peer(torch.tensor(x)), torch.tensor(y)).backward()
        other.step()
    for key, value in peer.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[key], value.numpy(), rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("wrap", [lambda f: f, ct.jit], ids=["eager", "compiled"])
def test_a_group_made_between_steps_counts_from_then_on(wrap: Callable[[Any], Any]) -> None:
    layers = {"a": ct.var("a", [1.0]), "b": ct.var("b", [1.0])}
    opt = optim.SGD(0.25)
    step = wrap(lambda: opt.step(layers, (layers["a"] + layers["b"]).sum().backward()))
    step()
    opt.group({"only": layers["b"]}, lr=0.0)
    step()
    assert (layers["a"].item(), layers["b"].item()) == (0.5, 0.75)
    opt.group(layers, lr=0.5)  # the latest decides
    step()
    assert (layers["a"].item(), layers["b"].item()) == (0.0, 0.25)


def test_a_group_may_need_more_state_and_single_updates_know_it() -> None:
    layers = {"a": ct.var("a", [1.0]), "b": ct.var("b", [1.0])}
    opt = optim.SGD(0.5)
    opt.group(layers["b"], momentum=0.5)
    opt.step(layers["a"], [1.0])
    opt.step(layers["b"], [1.0])
    assert set(opt.state_dict(layers)) == {"a.step", "b.step", "b.momentum"}
    fresh = optim.SGD(0.5)
    fresh.group(layers["b"], momentum=0.5)
    fresh.load_state_dict(layers, opt.state_dict(layers))
    assert set(fresh.state_dict(layers)) == {"a.step", "b.step", "b.momentum"}


def test_mistakes_are_explained() -> None:
    opt = optim.Adam(0.1)
    layer = nn.Linear(2, 2)
    with pytest.raises(ct.ArgumentError, match="no setting 'momentum'; it has lr, betas, eps"):
        opt.group(layer, momentum=0.9)
    with pytest.raises(ct.ArgumentError, match="lr must be finite"):
        opt.group(layer, lr=-1.0)
    with pytest.raises(ct.ArgumentTypeError, match="takes a variable, a module"):
        opt.group("bias", lr=0.1)
    assert opt.groups == ()
    with pytest.raises(ct.ArgumentError, match="not on a group"):
        opt.group(layer, lr=0.2).group(layer, lr=0.1)
    for make in (
        lambda: optim.RMSprop(alpha=1.0), lambda: optim.RMSprop(momentum=-0.1),
        lambda: optim.Adagrad(initial_accumulator_value=-1.0), lambda: optim.Lion(betas=(1.0, 0.0)),
        lambda: optim.AdamW(weight_decay=-0.1),
    ):  # fmt: skip
        with pytest.raises(ct.ArgumentError):
            make()
    with pytest.raises(AttributeError, match="Adam has no attribute 'momentum'"):
        opt.momentum  # type: ignore[attr-defined]
