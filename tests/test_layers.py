"""Activations, dropout, embedding and norms: PyTorch's values and gradients, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn

# name here, arguments here, name in PyTorch, arguments there
ACTIVATIONS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("ReLU", (), {}), ("Sigmoid", (), {}), ("Tanh", (), {}), ("SELU", (), {}), ("SiLU", (), {}),
    ("Mish", (), {}), ("Softsign", (), {}), ("LogSigmoid", (), {}), ("ReLU6", (), {}),
    ("Hardsigmoid", (), {}), ("Hardswish", (), {}), ("Hardtanh", (), {}),
    ("Hardtanh", (-0.5, 0.75), {}), ("LeakyReLU", (), {}), ("LeakyReLU", (0.3,), {}),
    ("ELU", (), {}), ("ELU", (0.5,), {}), ("Softplus", (), {}), ("Softplus", (2.0,), {}),
    ("GELU", ("tanh",), {"approximate": "tanh"}), ("GELU", (), {}), ("Softmax", (-1,), {"dim": -1}),
    ("LogSoftmax", (0,), {"dim": 0}), ("PReLU", (), {}), ("PReLU", (6, 0.1), {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "theirs"), ACTIVATIONS)
def test_activations_equal_pytorch(name: str, args: Any, theirs: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(8, 6)) * 3, [[0, 40, -40, 1e-3, -1e-3, 5]]])
    layer = getattr(nn, name)(*args, **({"dtype": "float64"} if name == "PReLU" else {}))
    peer = getattr(torch.nn, name)(*(() if theirs else args), **theirs).double()
    peer.load_state_dict({k: torch.tensor(v) for k, v in layer.state_dict().items()})
    v, t = ct.var("x", x, dtype="float64"), torch.tensor(x, requires_grad=True)
    weight = rng.normal(size=x.shape)
    y, expected = layer(v), peer(t)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-15)
    grads = (y * ct.asarray(weight)).sum().backward()
    (expected * torch.tensor(weight)).sum().backward()
    # PyTorch's hardsigmoid multiplies by a sixth in single precision.
    bound = 1e-7 if name == "Hardsigmoid" else 1e-11
    np.testing.assert_allclose(grads.wrt(v).numpy(), t.grad.numpy(), rtol=bound, atol=1e-15)
    if name == "PReLU":
        assert list(layer.state_dict()) == list(peer.state_dict()) == ["weight"]
        theirs_grad = peer.weight.grad.numpy()
        np.testing.assert_allclose(grads.wrt(layer.weight).numpy(), theirs_grad, rtol=1e-11)


def _both_ways(layer: Any, x: Any, dtype: str = "float32") -> None:
    """Values and gradients of a compiled call equal those of an eager one."""
    x = np.asarray(x, dtype)

    def run(x: Any) -> Any:
        value, grads = ct.value_and_grad(lambda a: (layer(a) * layer(a)).sum())(x)
        return value, grads

    for eager, compiled in zip(run(ct.asarray(x)), ct.jit(run)(x), strict=True):
        np.testing.assert_allclose(compiled.numpy(), eager.numpy(), rtol=3e-5, atol=3e-6)


def test_activations_compile() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=(8, 6)) * 3, [[0, 40, -40, 1, -1, 5]]])
    names = [n for n, args, _ in ACTIVATIONS if not args and n != "PReLU"]
    layers = [getattr(nn, n)() for n in names] + [nn.GELU("tanh"), nn.Softmax(), nn.PReLU()]
    _both_ways(lambda v: sum(layer(v * (0.5 + 0.1 * i)) for i, layer in enumerate(layers)), x)


def test_nan_passes_through_activations() -> None:
    for name, args, _ in ACTIVATIONS:
        if name not in ("Softmax", "LogSoftmax", "PReLU"):
            assert np.isnan(getattr(nn, name)(*args)([np.nan]).numpy()).all(), name


@pytest.mark.parametrize("padding", [None, 2, -1])
def test_embedding_equals_pytorch(padding: int | None) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    layer = nn.Embedding(5, 3, padding_idx=padding, dtype="float64")
    peer = torch.nn.Embedding(5, 3, padding_idx=padding).double()
    if padding is not None:
        assert not layer.weight.numpy()[padding].any()
    peer.load_state_dict({k: torch.tensor(v) for k, v in layer.state_dict().items()})
    index = np.array([[0, 2, 2], [4, 1, 0]])
    y, expected = layer(index), peer(torch.tensor(index))
    np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
    weight = np.random.default_rng(0).normal(size=(2, 3, 3))
    (expected * torch.tensor(weight)).sum().backward()
    ours = (y * ct.asarray(weight)).sum().backward().wrt(layer.weight)
    np.testing.assert_allclose(ours.numpy(), peer.weight.grad.numpy(), rtol=1e-13)
    step = ct.jit(lambda i: (layer(i) * ct.asarray(weight)).sum().backward().wrt(layer.weight))
    np.testing.assert_allclose(step(index).numpy(), ours.numpy(), rtol=1e-13)


def test_embedding_mistakes_are_explained() -> None:
    layer = nn.Sequential(nn.Embedding(5, 3))
    with pytest.raises(ct.BoundsError, match=r"Embedding\(5 x 3\): index 5 is out of range"):
        layer([1, 5])
    with pytest.raises(ct.BoundsError, match="index 7"):
        ct.jit(lambda i: layer(i))(np.array([7]))
    with pytest.raises(ct.DTypeError, match=r"float32 of shape \(2,\); use .astype"):
        layer([1.0, 2.0])
    for wrong in (lambda: nn.Embedding(0, 3), lambda: nn.Embedding(5, 3, padding_idx=5)):
        with pytest.raises(ct.ArgumentError):
            wrong()


NORMS: list[tuple[str, Any, tuple[int, ...], dict[str, Any]]] = [
    ("LayerNorm", 5, (4, 5), {}),
    ("LayerNorm", (3, 5), (2, 4, 3, 5), {"eps": 1e-3}),
    ("LayerNorm", 5, (5,), {"bias": False}),
    ("LayerNorm", 5, (2, 5), {"elementwise_affine": False}),
    ("RMSNorm", 5, (4, 5), {}),
    ("RMSNorm", (3, 5), (2, 3, 5), {"eps": 1e-3}),
    ("RMSNorm", 5, (2, 5), {"elementwise_affine": False}),
    ("BatchNorm1d", 5, (4, 5), {}),
    ("BatchNorm1d", 5, (4, 5, 3), {"momentum": 0.3, "eps": 1e-3}),
    ("BatchNorm1d", 5, (4, 5), {"momentum": None}),
    ("BatchNorm1d", 5, (4, 5), {"affine": False}),
    ("BatchNorm1d", 5, (4, 5), {"track_running_stats": False}),
]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("name", "size", "shape", "settings"), NORMS)
def test_norms_equal_pytorch(
    name: str, size: Any, shape: tuple[int, ...], settings: dict[str, Any], compiled: bool
) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    rng = np.random.default_rng(0)
    layer = getattr(nn, name)(size, **settings, dtype="float64")
    peer = getattr(torch.nn, name)(size, **settings).double()
    assert list(layer.state_dict()) == list(peer.state_dict())
    for parameter in layer.parameters():
        parameter.assign(ct.asarray(rng.normal(size=parameter.shape)))
    peer.load_state_dict({k: torch.tensor(v) for k, v in layer.state_dict().items()})

    scale = ct.var("scale", 1.0, dtype="float64")  # so that there is a variable always

    def run(x: Any, weight: Any) -> Any:
        loss = lambda m, a: (m[0](a) * weight * m[1]).sum()
        return layer(x), ct.value_and_grad(loss, (0, 1))([layer, scale], x)[1]

    if compiled:
        run = ct.jit(run)
    for mode in (True, True, False):
        layer.train(mode)
        peer.train(mode)
        x, weight = rng.normal(size=shape) * 2 + 1, rng.normal(size=shape)
        y, (grads, dx) = run(ct.asarray(x), ct.asarray(weight))
        t = torch.tensor(x, requires_grad=True)
        peer.zero_grad()
        peer(t)  # `run` calls the layer twice, and each call moves the statistics
        expected = peer(t)
        (expected * torch.tensor(weight)).sum().backward()
        np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(dx.numpy(), t.grad.numpy(), rtol=1e-8, atol=1e-12)
        for key, parameter in peer.named_parameters():
            ours = grads.wrt(dict(layer.named_parameters())[key]).numpy()
            np.testing.assert_allclose(ours, parameter.grad.numpy(), rtol=1e-9, atol=1e-12)
        for key, value in peer.state_dict().items():
            np.testing.assert_allclose(layer.state_dict()[key], value.numpy(), rtol=1e-12)


def test_batch_norm_trains_the_same_eager_compiled_and_looped() -> None:
    def run(how: str) -> dict[str, Any]:
        ct.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 1))
        opt = ct.optim.SGD(0.05)

        def step(x: Any) -> Any:
            loss = (model(x) ** 2).mean()
            opt.step(model, loss.backward())
            return loss

        xs = np.random.default_rng(0).normal(size=(6, 8, 4)).astype(np.float32)
        call = step if how == "eager" else ct.jit(step)
        if how == "looped":
            call.loop(xs)  # type: ignore[attr-defined]
        else:
            for x in xs:
                call(x)
        return model.state_dict()

    eager, compiled, looped = (run(how) for how in ("eager", "compiled", "looped"))
    assert eager["1.num_batches_tracked"] == 6
    for key, value in eager.items():
        np.testing.assert_allclose(compiled[key], value, rtol=2e-5, atol=1e-6, err_msg=key)
        np.testing.assert_array_equal(looped[key], compiled[key], err_msg=key)


def test_dropout_keeps_the_mean_and_has_the_same_mask_both_ways() -> None:
    layer, ones = nn.Dropout(0.3), np.ones(20000, np.float32)
    compiled = ct.jit(lambda x: layer(x))
    ct.manual_seed(1)
    eager = [layer(ones).numpy() for _ in range(3)]
    ct.manual_seed(1)
    for mask in eager:
        np.testing.assert_array_equal(compiled(ones).numpy(), mask)
        assert set(np.unique(mask).tolist()) == {0.0, float(np.float32(1 / 0.7))}
        assert abs((mask == 0).mean() - 0.3) < 3.3 * (0.21 / 20000) ** 0.5
    assert not np.array_equal(eager[0], eager[1])
    looped = compiled.loop(np.ones((3, 50), np.float32)).numpy()
    assert not np.array_equal(looped[0], looped[1])
    layer.eval()
    np.testing.assert_array_equal(compiled(ones).numpy(), ones)
    np.testing.assert_array_equal(layer(ones).numpy(), ones)
    assert nn.Dropout(0.0)(ones).numpy() is not None


def test_the_gradient_of_dropout_has_the_mask() -> None:
    ct.manual_seed(2)
    v = ct.var("x", np.ones(100))
    y = nn.dropout(v, 0.5)
    np.testing.assert_array_equal(y.sum().backward().wrt(v).numpy(), y.numpy())


def test_methods_are_the_functions() -> None:
    x = ct.tensor([-1.5, 0.5])
    for name in ("leaky_relu", "elu", "gelu", "silu", "softplus"):
        np.testing.assert_array_equal(getattr(x, name)().numpy(), getattr(nn, name)(x).numpy())


def test_mistakes_are_explained() -> None:
    wrong: list[Callable[[], Any]] = [
        lambda: nn.Dropout(1.0), lambda: nn.dropout([1.0], -0.1), lambda: nn.Softplus(0.0),
        lambda: nn.Hardtanh(1.0, 1.0), lambda: nn.LayerNorm(0), lambda: nn.LayerNorm(3, eps=-1.0),
        lambda: nn.BatchNorm1d(0), lambda: nn.BatchNorm1d(3, momentum=2.0), lambda: nn.PReLU(0),
        lambda: nn.gelu([1.0], "exact"),
    ]  # fmt: skip
    for make in wrong:
        with pytest.raises(ct.ArgumentError):
            make()
    with pytest.raises(ct.ArgumentTypeError, match=r"p must be a number, not '0\.5'"):
        nn.Dropout("0.5")  # type: ignore[arg-type]
    with pytest.raises(ct.ShapeError, match=r"LayerNorm\(3\): the input of shape \(2, 4\) must"):
        nn.LayerNorm(3)(np.ones((2, 4)))
    with pytest.raises(ct.ShapeError, match=r"\(2, 4\) must have the axes \[n, 3\]"):
        nn.BatchNorm1d(3)(np.ones((2, 4)))
    with pytest.raises(ct.ShapeError, match="use larger batches"):
        nn.BatchNorm1d(3)(np.ones((1, 3)))
    assert nn.BatchNorm1d(3).eval()(np.ones((1, 3))).shape == (1, 3)
    with pytest.raises(ct.ShapeError, match=r"slopes of shape \(3,\)"):
        nn.prelu(np.ones((2, 4)), np.ones(3))
    with pytest.raises(ct.DTypeError, match="silu"):
        nn.silu([1, 2])
