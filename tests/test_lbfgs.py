"""L-BFGS: the minima that others find, its messages, and what it leaves behind."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim


def test_rosenbrock_in_ten_dimensions() -> None:
    w = ct.var("w", np.full(10, -1.2), dtype="float64")
    calls = 0

    def loss() -> Any:
        nonlocal calls
        calls += 1
        a, b = ct.take(w, np.arange(9)), ct.take(w, np.arange(1, 10))
        return (100.0 * (b - a * a) ** 2 + (1.0 - a) ** 2).sum()

    opt = optim.LBFGS(max_iter=200)
    final = opt.step(w, loss)
    assert opt.converged
    assert final.item() < 1e-12
    np.testing.assert_allclose(w.numpy(), np.ones(10), atol=1e-6)
    assert calls < 150


def test_logistic_regression_equals_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is the judge")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    y = (x @ rng.normal(size=5) + rng.normal(size=200) > 0).astype(float)
    judge = linear.LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(x, y)
    model = nn.Linear(5, 1, dtype=ct.float64)
    xs, ys = ct.asarray(x), ct.asarray(y[:, None])

    @ct.jit
    def loss() -> Any:
        logits = model(xs)
        likelihood = nn.binary_cross_entropy_with_logits(logits, ys, reduction="sum")
        return likelihood + 0.5 * (model.weight * model.weight).sum()

    optim.LBFGS(tolerance_grad=1e-9).step(model, loss)
    np.testing.assert_allclose(model.weight.numpy(), judge.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.bias.numpy(), judge.intercept_, rtol=1e-5)  # type: ignore[union-attr]


def test_as_few_calls_as_pytorchs_on_a_network() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    rng = np.random.default_rng(0)
    x = np.linspace(-2, 2, 40)[:, None]
    y = np.sin(2 * x) + 0.1 * rng.normal(size=x.shape)
    ct.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(1, 10, dtype="float64"), nn.Tanh(), nn.Linear(10, 1, dtype="float64")
    )
    peer = torch.nn.Sequential(
        torch.nn.Linear(1, 10), torch.nn.Tanh(), torch.nn.Linear(10, 1)
    ).double()
    peer.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
    calls = [0, 0]
    xs, ys = ct.asarray(x), ct.asarray(y)

    def loss() -> Any:
        calls[0] += 1
        return nn.mse_loss(model(xs), ys)

    final = optim.LBFGS(max_iter=100).step(model, loss).item()
    judge = torch.optim.LBFGS(
        peer.parameters(), max_iter=100, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Any:
        calls[1] += 1
        judge.zero_grad()
        out = torch.nn.functional.mse_loss(peer(torch.tensor(x)), torch.tensor(y))
        out.backward()
        return out

    judge.step(closure)
    assert final < 1.2 * closure().item()
    assert calls[0] < 2 * calls[1]


def test_it_goes_on_from_where_it_stopped_and_never_climbs() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 8))
    w = ct.var("w", np.zeros(8))
    b = a @ rng.normal(size=8)
    opt = optim.LBFGS(max_iter=2)
    loss = lambda: ((ct.asarray(a).astype(ct.float32) @ w - b.astype(np.float32)) ** 2).mean()
    losses = [opt.step(w, loss).item() for _ in range(12)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < 1e-6
    assert loss().item() == losses[-1]


def test_a_loss_that_is_undefined_further_on() -> None:
    w = ct.var("w", [3.0], dtype="float64")
    opt = optim.LBFGS()
    opt.step(w, lambda: (w - ct.log(w)).sum())  # NaN below 0; the minimum is at 1
    assert w.item() == pytest.approx(1.0, abs=1e-6)


def test_frozen_and_unused_parameters_stay_and_errors_undo() -> None:
    model = {name: ct.var(name, [2.0]) for name in ("used", "frozen", "unused")}
    model["frozen"].requires_grad = False
    opt = optim.LBFGS()
    opt.step(model, lambda: ((model["used"] * model["frozen"]) ** 2).sum())
    assert abs(model["used"].item()) < 1e-6
    assert (model["frozen"].item(), model["unused"].item()) == (2.0, 2.0)
    model["used"].assign([2.0])
    calls = iter([True, True, False])

    def failing() -> Any:
        if not next(calls):
            raise ZeroDivisionError("on purpose")
        return (model["used"] ** 4).sum()

    with pytest.raises(ZeroDivisionError):
        opt.step(model, failing)
    assert model["used"].item() == 2.0


def test_mistakes_are_explained() -> None:
    w, opt = ct.var("w", [1.0, 2.0]), optim.LBFGS()
    with pytest.raises(ct.ShapeError, match=r"scalar, not of shape \(2,\)"):
        opt.step(w, lambda: w * w)
    with pytest.raises(ct.ArgumentTypeError, match="must return the loss"):
        opt.step(w, lambda: None)
    with pytest.raises(ct.ArgumentError, match="nothing to update"):
        opt.step([], lambda: w.sum())
    with pytest.raises(ct.ArgumentError, match="loss at the start is nan"):
        opt.step(w, lambda: ct.log(-w).sum())
    with pytest.raises(ct.ArgumentError, match="history"):
        optim.LBFGS(history=0)
    with pytest.raises(ct.TraceError, match="compile the closure"):
        ct.jit(lambda: opt.step(w, lambda: w.sum()))()
