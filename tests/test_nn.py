"""Modules and layers: PyTorch's values and keys, walking, modes, loading, printing, messages."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn
from cotangent.config import EPOCH


class Block(nn.Module):
    def __init__(self) -> None:
        self.layers = [nn.Linear(4, 3), nn.Linear(3, 2)]
        self.heads = {"a": nn.Linear(2, 1), "b": nn.Linear(2, 1, bias=False)}
        self.scale = ct.var("scale", [2.0])
        self.mean = ct.var("mean", [0.0], requires_grad=False)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = nn.relu(layer(x))
        return self.heads["a"](x) * self.scale + self.heads["b"](x)


class Plain:
    """A class that knows nothing of modules."""

    def __init__(self) -> None:
        self.block = Block()
        self.label = "text"
        self.extra = (ct.var("extra", 1.0),)


KEYS = [
    "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "heads.a.weight",
    "heads.a.bias", "heads.b.weight", "scale", "mean",
]  # fmt: skip


@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 3, 4), (0, 4), (2, 1, 2, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_pytorch(shape: tuple[int, ...], bias: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    layer = nn.Linear(4, 3, bias=bias, dtype=ct.float64)
    peer = torch.nn.Linear(4, 3, bias=bias, dtype=torch.float64)
    peer.load_state_dict({k: torch.tensor(v) for k, v in layer.state_dict().items()})
    x = np.random.default_rng(0).normal(size=shape)
    y, expected = layer(ct.asarray(x)), peer(torch.tensor(x))
    assert y.shape == tuple(expected.shape)
    np.testing.assert_allclose(y.numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-15)
    grads = (y * y).sum().backward()
    (expected * expected).sum().backward()
    for name, parameter in peer.named_parameters():
        ours = grads.wrt(getattr(layer, name)).numpy()
        np.testing.assert_allclose(ours, parameter.grad.numpy(), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", ["ReLU", "Sigmoid", "Tanh", "LogSoftmax", "Softmax", "Identity"])
def test_activations_equal_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    x = np.random.default_rng(1).normal(size=(3, 4)) * 3
    peer = getattr(torch.nn, name)
    expected = (peer(dim=-1) if "max" in name else peer())(torch.tensor(x)).numpy()
    np.testing.assert_allclose(getattr(nn, name)()(ct.asarray(x)).numpy(), expected, rtol=1e-13)
    functions = {"ReLU": nn.relu, "Sigmoid": nn.sigmoid, "Tanh": nn.tanh,
                 "LogSoftmax": nn.log_softmax, "Softmax": nn.softmax}  # fmt: skip
    if name in functions:
        np.testing.assert_allclose(functions[name](ct.asarray(x)).numpy(), expected, rtol=1e-13)


def test_state_dict_keys_equal_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    ours = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 2, bias=False)))
    peer = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.ReLU(),
        torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False)),
    )  # fmt: skip
    mine = ours.state_dict()
    theirs = peer.state_dict()
    assert list(mine) == list(theirs)
    assert [v.shape for v in mine.values()] == [tuple(v.shape) for v in theirs.values()]
    ours.load_state_dict({k: v.numpy() for k, v in theirs.items()})
    x = np.ones((2, 4), np.float32)
    np.testing.assert_allclose(
        ours(x).numpy(), peer(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )


def test_parameters_are_found_in_lists_dicts_and_plain_classes() -> None:
    model = Block()
    assert [name for name, _ in model.named_parameters()] == KEYS[:-1]
    assert list(model.state_dict()) == KEYS
    assert model.num_parameters() == 12 + 3 + 6 + 2 + 2 + 1 + 2 + 1
    plain = Plain()
    assert [n for n, _ in nn.named_parameters(plain)] == [f"block.{k}" for k in KEYS[:-1]] + [
        "extra.0"
    ]
    assert list(nn.state_dict([plain.block, {"x": ct.var("x", 1)}])) == [f"0.{k}" for k in KEYS] + [
        "1.x"
    ]
    found = nn.parameters(plain)
    assert all(v is w for v, w in zip(found, plain.block.parameters(), strict=False))


def test_shared_parameters_count_once_and_have_a_key_for_each_path() -> None:
    model = Block()
    model.tied = model.layers[0].weight
    assert len(model.parameters()) == 8
    state = model.state_dict()
    assert np.array_equal(state["tied"], state["layers.0.weight"])
    state["tied"] = state["layers.0.weight"] = np.zeros((3, 4))
    model.load_state_dict(state)
    assert not model.tied.numpy().any()
    del state["tied"]  # as files that drop duplicates have it
    model.load_state_dict(state)
    with pytest.raises(ct.ArgumentError, match="shared variable"):
        model.load_state_dict({**state, "tied": np.ones((3, 4))})


def test_freezing_keeps_parameters_and_leaves_buffers() -> None:
    model = Block()
    assert model.freeze() is model
    assert [v.requires_grad for v in model.parameters()] == [False] * 8
    assert not model(np.ones((1, 4))).tracked
    model.unfreeze()
    assert [v.requires_grad for v in model.parameters()] == [True] * 8
    assert not model.mean.requires_grad


def test_modes_reach_everything() -> None:
    model = Block()
    model.plain = Plain()
    below = [*model.layers, *model.heads.values(), model.plain.block.layers[1]]
    assert model.eval() is model
    assert not any(layer.training for layer in [model, *below])
    model.train()
    assert all(layer.training for layer in [model, *below])


def test_changes_of_attributes_bump_the_structure() -> None:
    layer = nn.Linear(2, 2)
    for change in (layer.eval, layer.freeze, lambda: setattr(layer, "bias", None),
                   lambda: delattr(layer, "bias")):  # fmt: skip
        before = EPOCH.structure
        change()
        assert EPOCH.structure > before


def test_state_dict_never_changes() -> None:
    layer = nn.Linear(2, 2)
    state = layer.state_dict()
    kept = state["weight"].copy()
    layer.weight.assign(layer.weight * 2)
    np.testing.assert_array_equal(state["weight"], kept)
    with pytest.raises(ValueError, match="read-only"):
        state["weight"][0, 0] = 1


def test_loading_checks_everything_before_it_assigns() -> None:
    model = Block()
    good = model.state_dict()
    other = {k: v + 1 for k, v in good.items()}

    def refused(values: dict[str, Any], kind: type[Exception], *texts: str) -> None:
        with pytest.raises(kind) as caught:
            model.load_state_dict(values)
        for text in texts:
            assert text in str(caught.value)
        for key, value in model.state_dict().items():
            np.testing.assert_array_equal(value, good[key])

    renamed = {k.replace("a.weight", "a.weigth"): v for k, v in other.items()}
    refused(renamed, ct.UnknownKeyError, "missing keys: 'heads.a.weight'",
            "close to 'heads.a.weigth'",
            "unexpected keys", "strict=False")  # fmt: skip
    refused({**other, "mean": np.zeros(3)}, ct.ShapeError, "'mean'", "(1,)", "(3,)")
    refused({**other, "mean": np.array(["x"])}, ct.DTypeError, "'mean'")
    model.load_state_dict({"scale": [7.0], "nothing": 1}, strict=False)
    assert model.scale.item() == 7.0
    model.load_state_dict({k: ct.asarray(v.astype(np.float64)) for k, v in good.items()})
    assert model.scale.dtype == ct.float32
    counter = {"n": ct.var("n", 3)}
    with pytest.raises(ct.DTypeError, match="int64"):
        nn.load_state_dict(counter, {"n": 1.5})


def test_errors_carry_the_path_of_the_layer() -> None:
    class Inner:
        def __init__(self) -> None:
            self.parts = {"first": nn.Sequential(nn.ReLU(), nn.Linear(30, 1))}

    class Outer(nn.Module):
        def __init__(self) -> None:
            self.inner = Inner()

        def forward(self, x: Any) -> Any:
            return self.inner.parts["first"](x)

    with pytest.raises(ct.ShapeError) as caught:
        Outer()(np.ones((32, 20)))
    assert caught.value.layer == "inner.parts.first.1"
    assert str(caught.value) == (
        "Linear(30 -> 1): input has 20 features in its last axis (shape (32, 20)), expected 30\n"
        "  in layer inner.parts.first.1: Linear(30 -> 1)"
    )
    model = Block()
    with pytest.raises(ct.ShapeError, match=r"in layer layers\.0: Linear\(4 -> 3\)"):
        model(np.ones(5))
    with pytest.raises(ct.ShapeError, match=r"in layer Block\(\)"):
        model.forward = lambda x: ct.matmul(x, x)
        model(np.ones((2, 3)))
    with pytest.raises(ct.ShapeError, match=r"scalar \(shape \(\)\)"):
        nn.Linear(2, 1)(1.0)


def test_printing() -> None:
    assert repr(nn.Linear(2, 8, bias=False)) == "Linear(2 -> 8, bias=False)"
    assert repr(Block()) == (
        "Block(\n  (layers.0): Linear(4 -> 3)\n  (layers.1): Linear(3 -> 2)\n"
        "  (heads.a): Linear(2 -> 1)\n  (heads.b): Linear(2 -> 1, bias=False)\n)"
    )
    nested = nn.Sequential(nn.Sequential(nn.Softmax()), nn.Flatten())
    assert repr(nested) == (
        "Sequential(\n  (0): Sequential(\n    (0): Softmax(axis=-1)\n  )\n"
        "  (1): Flatten(start_axis=1)\n)"
    )


def test_sequential_is_a_sequence() -> None:
    layers = [nn.Linear(2, 3), nn.ReLU(), lambda x: x * 2]
    model = nn.Sequential(*layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[-1] is layers[2]
    assert list(model[:2]) == layers[:2]
    model[1] = nn.Tanh()
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(model(x).numpy(), (layers[0](x).tanh() * 2).numpy())
    with pytest.raises(ct.BoundsError, match="no layer 3"):
        model[3]
    with pytest.raises(ct.ArgumentTypeError, match="unpack it with"):
        nn.Sequential(layers)  # type: ignore[arg-type]


def test_flatten() -> None:
    x = np.zeros((2, 3, 4))
    assert nn.Flatten()(x).shape == (2, 12)
    assert nn.Flatten(0)(x).shape == (24,)
    with pytest.raises(ct.BoundsError):
        nn.Flatten(4)(x)


@pytest.mark.parametrize(
    ("make", "bound"),
    [(nn.init.kaiming_uniform, 6 / 50), (nn.init.xavier_uniform, 6 / (50 + 80)),
     (nn.init.kaiming_normal, 2 / 50), (nn.init.xavier_normal, 2 / (50 + 80))],
)  # fmt: skip
def test_initial_values(make: Any, bound: float) -> None:
    ct.manual_seed(3)
    w = make((80, 50)).numpy()
    uniform = "uniform" in make.__name__
    variance = bound / 3 if uniform else bound
    # The deviations of the mean and variance of 4,000 values, four of them allowed.
    assert abs(w.mean()) < 4 * (variance / 4000) ** 0.5
    assert abs(w.var() / variance - 1) < 4 * ((0.8 if uniform else 2) / 4000) ** 0.5
    if uniform:
        assert 0.99 * bound**0.5 < np.abs(w).max() <= np.float32(bound**0.5)
    assert make((6, 2, 3, 3), ct.float64).dtype == ct.float64
    with pytest.raises(ct.ShapeError, match="fans"):
        make((3,))


def test_linear_starts_as_documented() -> None:
    ct.manual_seed(0)
    layer = nn.Linear(24, 100)
    assert 0.49 < np.abs(layer.weight.numpy()).max() <= 0.5
    assert not layer.bias.numpy().any()  # type: ignore[union-attr]
    assert not nn.init.zeros((2,)).numpy().any()
    assert nn.init.constant((2,), 3).tolist() == [3.0, 3.0]
    for sizes in ((0, 2), (2, -1)):
        with pytest.raises(ct.ArgumentError, match="must be positive"):
            nn.Linear(*sizes)
    with pytest.raises(ct.ArgumentTypeError, match="in_features must be an integer"):
        nn.Linear(2.0, 1)  # type: ignore[arg-type]


def test_a_copy_is_another_model() -> None:
    model = Block()
    model.tied = model.scale
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert list(other.state_dict()) == [*KEYS, "tied"]
        assert len(other.parameters()) == 8
        assert other.tied is other.scale
        other.scale.assign([9.0])
        assert model.scale.item() == 2.0
        grads = (other(np.ones((1, 4))) ** 2).sum().backward()
        assert grads.get(model.scale) is None
        assert grads.get(other.scale) is not None


def test_gradients_of_a_plain_object() -> None:
    layers = {"a": nn.Linear(2, 3), "b": [nn.Linear(3, 1)]}
    run = lambda m: m["b"][0](m["a"](np.ones((1, 2)))).sum()
    value, grads = ct.value_and_grad(run)(layers)
    assert value.shape == ()
    assert len(grads) == 4
    assert grads.wrt(layers["b"][0].bias).tolist() == [1.0]  # type: ignore[index]


def test_a_module_without_forward_says_so() -> None:
    class Nothing(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match="Nothing does not define forward"):
        Nothing()(1)


def test_import_brings_in_no_optional_package() -> None:
    code = (
        "import sys, cotangent\n"
        "heavy = {'safetensors', 'rich', 'llvmlite', 'torch', 'jax', 'matplotlib', 'sklearn'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
