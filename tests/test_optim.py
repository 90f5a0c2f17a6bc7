"""Optimizers: PyTorch's trajectories, state, flat groups, messages, and learning XOR."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.optim import flat


class MLP(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        self.l1 = nn.Linear(inputs, hidden)
        self.l2 = nn.Linear(hidden, outputs)

    def forward(self, x: Any) -> Any:
        return self.l2(self.l1(x).tanh())


@pytest.fixture
def double() -> Iterator[None]:
    ct.set_default_dtype(ct.float64)
    yield
    ct.set_default_dtype(ct.float32)


def torch_twin(model: MLP) -> Any:
    """PyTorch's network with the same weights."""
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")

    class Twin(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.l1 = torch.nn.Linear(model.l1.in_features, model.l1.out_features)
            self.l2 = torch.nn.Linear(model.l2.in_features, model.l2.out_features)

        def forward(self, x: Any) -> Any:
            return self.l2(self.l1(x).tanh())

    values = {name: torch.tensor(v) for name, v in model.state_dict().items()}
    twin = Twin().to(values["l1.weight"].dtype)
    twin.load_state_dict(values)
    return twin


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.02}),
    ("Adam", {"lr": 0.01, "betas": (0.0, 0.9)}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.3}),
    ("RMSprop", {"lr": 0.01}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.01, "momentum": 0.8}),
    ("RMSprop", {"lr": 0.01, "alpha": 0.9, "centered": True}),
    ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "weight_decay": 0.02}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.5, "eps": 1e-6}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_fifty_steps_equal_pytorch(double: None, name: str, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    ct.manual_seed(1)
    model = MLP(3, 5, 2)
    twin = torch_twin(model)
    rng = np.random.default_rng(0)
    xs, ys = rng.normal(size=(50, 7, 3)), rng.normal(size=(50, 7, 2))
    opt = getattr(optim, name)(**settings)
    peer = getattr(torch.optim, name)(twin.parameters(), **settings)
    for x, y in zip(xs, ys, strict=True):
        opt.step(model, nn.mse_loss(model(x), y).backward())
        peer.zero_grad()
        torch.nn.functional.mse_loss(twin(torch.tensor(x)), torch.tensor(y)).backward()
        peer.step()
    expected = twin.state_dict()
    for key, value in model.state_dict().items():
        np.testing.assert_allclose(value, expected[key].numpy(), rtol=1e-11, err_msg=key)


@pytest.mark.parametrize(
    ("name", "settings"), [*SETTINGS, ("Lion", {"lr": 0.01, "weight_decay": 0.1})]
)
def test_flat_groups_give_the_bits_of_single_updates(name: str, settings: dict[str, Any]) -> None:
    ct.manual_seed(2)
    together, apart = MLP(4, 6, 3), MLP(4, 6, 3)
    apart.load_state_dict(together.state_dict())
    one, other = getattr(optim, name)(**settings), getattr(optim, name)(**settings)
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
        one.step(together, nn.mse_loss(together(x), y).backward())
        grads = nn.mse_loss(apart(x), y).backward()
        for parameter in apart.parameters():
            other.step(parameter, grads.wrt(parameter))
    for key, value in apart.state_dict().items():
        np.testing.assert_array_equal(together.state_dict()[key], value)
    mine, theirs = one.state_dict(together), other.state_dict(apart)
    assert list(mine) == list(theirs)
    for key, value in theirs.items():
        np.testing.assert_array_equal(mine[key], value)


def _steps(model: Any, opt: optim.Optimizer, count: int, change: Callable[[int], None]) -> None:
    rng = np.random.default_rng(5)
    for i in range(count):
        change(i)
        x = rng.normal(size=(4, 3))
        opt.step(model, (model(x) * model(x)).mean().backward())


def test_groups_follow_what_happens_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freezing, assignments, new settings and single updates: the flat path obeys all of them."""

    def run(small: int) -> dict[str, Any]:
        monkeypatch.setattr(flat, "_SMALL", small)
        ct.manual_seed(4)
        model, opt = MLP(3, 4, 2), optim.Adam(0.05)

        def change(i: int) -> None:
            if i == 2:
                model.l1.freeze()
            if i == 4:
                model.l1.unfreeze()  # from here on two step counts
            if i == 5:
                model.l2.bias.assign([1.0, 2.0])  # type: ignore[union-attr]
            if i == 6:
                opt.step(model.l1.bias, np.ones(4, np.float32))
            if i == 7:
                opt.betas = (0.5, 0.6)
            if i == 8:
                opt.load_state_dict(model, opt.state_dict(model))

        _steps(model, opt, 10, change)
        return model.state_dict() | opt.state_dict(model)

    grouped, single = run(4096), run(0)
    assert list(grouped) == list(single)
    for key, value in single.items():
        np.testing.assert_array_equal(grouped[key], value, err_msg=key)
    assert grouped["l1.weight.step"] == 8
    assert grouped["l2.weight.step"] == 10


def test_large_and_scalar_parameters() -> None:
    values = {"big": np.ones((70, 70)), "number": 1.0, "row": [1.0, 2.0], "double": [3.0]}
    model = {k: ct.var(k, v, dtype="float64" if k == "double" else None) for k, v in values.items()}
    loss = sum((v * v).sum().astype(ct.float64) for v in model.values())
    optim.SGD(0.25).step(model, loss.backward())
    for key, value in values.items():
        np.testing.assert_array_equal(model[key].numpy(), 0.5 * np.asarray(value))


def test_values_read_before_a_step_stay() -> None:
    model, opt = MLP(2, 3, 1), optim.Adam(0.1)
    _steps(nn.Sequential(nn.Linear(3, 2), model), opt, 2, lambda i: None)
    before, array = model.l1.weight.detach(), model.l1.weight.numpy()
    kept = array.copy()
    opt.step(model, (model(np.ones((1, 2))) ** 2).sum().backward())
    np.testing.assert_array_equal(before.numpy(), kept)
    np.testing.assert_array_equal(array, kept)
    assert not np.array_equal(model.l1.weight.numpy(), kept)


def test_frozen_and_unused_parameters_are_skipped_with_their_state() -> None:
    model = {name: ct.var(name, [1.0]) for name in ("used", "frozen", "unused")}
    model["buffer"] = ct.var("buffer", [1.0], requires_grad=False)
    model["frozen"].requires_grad = False
    opt = optim.Adam(0.1)
    opt.step(model, (model["used"] * model["frozen"] * model["buffer"]).sum().backward())
    assert set(opt.state_dict(model)) == {f"used.{n}" for n in ("step", "m", "v", "c1", "c2")}
    assert [v.item() == 1.0 for v in model.values()] == [False, True, True, True]
    opt.step(model["frozen"], [1.0])
    assert model["frozen"].item() == 1.0


def test_state_goes_with_the_parameter_and_is_let_go_with_it() -> None:
    model, opt = MLP(2, 3, 1), optim.SGD(0.1, momentum=0.9)
    step = lambda: opt.step(model, (model(np.ones((1, 2))) ** 2).sum().backward())
    step()
    weight = model.l1.weight
    step()
    assert model.l1.weight is weight
    assert opt.state_dict(model)["l1.weight.step"] == 2
    model.l1 = nn.Linear(2, 3)
    step()
    state = opt.state_dict(model)
    assert (state["l1.weight.step"], state["l2.weight.step"]) == (1, 3)
    del weight
    gc.collect()
    assert len(opt._memory._records) == 4


def test_a_layer_replaced_in_a_plain_list_is_noticed() -> None:
    layers = [nn.Linear(2, 2), nn.Linear(2, 1)]
    spare = nn.Linear(2, 2)
    opt = optim.SGD(0.1)

    def step() -> None:
        y = layers[1](layers[0](np.ones((1, 2))))
        opt.step(layers, (y * y + y).sum().backward())

    step()
    before = spare.weight.numpy()
    layers[0] = spare
    step()
    assert not np.array_equal(before, spare.weight.numpy())


def test_new_settings_take_effect_and_make_the_state_that_they_need() -> None:
    w, opt = ct.var("w", [1.0]), optim.SGD(1.0)
    opt.step(w, [0.5])
    opt.momentum = 0.5
    opt.lr = 0.1
    opt.step(w, [1.0])
    assert w.item() == pytest.approx(0.4)
    opt.step(w, [1.0])
    assert w.item() == pytest.approx(0.25)
    assert opt.state_dict({"w": w})["w.step"] == 3


def test_a_schedule_is_a_function_of_the_step() -> None:
    seen: list[int] = []

    def schedule(step: int) -> float:
        seen.append(step)
        return 1.0 / (step + 1)

    w, opt = ct.var("w", [0.0]), optim.SGD(schedule)
    for _ in range(3):
        opt.step(w, [1.0])
    assert seen == [0, 1, 2]
    assert w.item() == pytest.approx(-(1 + 1 / 2 + 1 / 3))
    opt.lr = lambda step: -1.0
    with pytest.raises(ct.ArgumentError, match="lr"):
        opt.step(w, [1.0])


@pytest.mark.parametrize("lr", [0.1, lambda step: 0.1 / (1 + step)])
def test_a_compiled_step_updates_as_an_eager_one(lr: Any) -> None:
    def run(wrap: Callable[[Any], Any]) -> dict[str, Any]:
        ct.manual_seed(0)
        model, opt = MLP(3, 4, 2), optim.SGD(lr, momentum=0.5)

        @wrap
        def step(x: Any) -> Any:
            loss = (model(x) ** 2).mean()
            grads, _ = optim.clip_norm(loss.backward(), 0.1)
            opt.step(model, grads)
            return loss

        xs = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
        for i, x in enumerate(xs):
            if i == 3:
                opt.momentum = 0.25
            if i == 5:
                opt.lr = 0.01
            step(x)
        return model.state_dict() | opt.state_dict(model)

    compiled, eager = run(ct.jit), run(lambda f: f)
    assert list(compiled) == list(eager)
    for key, value in eager.items():
        np.testing.assert_allclose(compiled[key], value, rtol=1e-5, atol=1e-7, err_msg=key)


def test_a_failing_trace_leaves_no_state() -> None:
    w, opt = ct.var("w", [1.0]), optim.Adam(0.1)

    @ct.jit
    def step() -> Any:
        opt.step(w, (w * w).sum().backward())
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        step()
    assert opt.state_dict({"w": w}) == {}
    assert w.item() == 1.0


def test_the_correction_loses_no_digits() -> None:
    w, opt = ct.var("w", [0.0], dtype="float64"), optim.Adam(1e-3)
    for t in range(1, 101):
        opt.step(w, np.ones(1))
        state = opt.state_dict({"w": w})
        np.testing.assert_allclose(state["w.c2"], -np.expm1(t * np.log(0.999)), rtol=1e-13)


def test_state_dict_round_trip_continues_with_equal_bits() -> None:
    ct.manual_seed(0)
    model, opt = MLP(3, 4, 2), optim.Adam(0.05)
    _steps(model, opt, 3, lambda i: None)
    copy, fresh = MLP(3, 4, 2), optim.Adam(0.05)
    copy.load_state_dict(model.state_dict())
    fresh.load_state_dict(copy, opt.state_dict(model))
    _steps(model, opt, 3, lambda i: None)
    _steps(copy, fresh, 3, lambda i: None)
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(copy.state_dict()[key], value)
    with pytest.raises(ct.UnknownKeyError, match=r"l9\.weight\.m"):
        fresh.load_state_dict(copy, {"l9.weight.m": np.zeros(3)})
    with pytest.raises(ct.UnknownKeyError, match="step, m, v, c1, c2"):
        fresh.load_state_dict(copy, {"l1.weight.momentum": np.zeros((4, 3))})
    with pytest.raises(ct.ShapeError, match=r"\(3,\).*\(4, 3\)"):
        fresh.load_state_dict(copy, {"l1.weight.m": np.zeros(3)})


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clip_norm_equals_pytorch(double: None, limit: float) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    model = MLP(3, 4, 2)
    twin = torch_twin(model)
    x = np.random.default_rng(0).normal(size=(6, 3)) * 10
    grads, norm = optim.clip_norm((model(x) ** 2).sum().backward(), limit)
    (twin(torch.tensor(x)) ** 2).sum().backward()
    peer = torch.nn.utils.clip_grad_norm_(twin.parameters(), limit)
    assert norm.item() == pytest.approx(peer.item(), rel=1e-12)
    for name, parameter in twin.named_parameters():
        ours = grads.wrt(dict(model.named_parameters())[name]).numpy()
        np.testing.assert_allclose(ours, parameter.grad.numpy(), rtol=1e-11, atol=1e-15)


def test_mistakes_are_explained() -> None:
    model = MLP(2, 3, 1)
    grads = model(np.ones((1, 2))).sum().backward()
    for make in (lambda: optim.SGD(-1.0), lambda: optim.Adam(float("nan")),
                 lambda: optim.Adam(eps=-1.0), lambda: optim.Adam(betas=(1.0, 0.9)),
                 lambda: optim.Adam(betas=(0.9, -0.1)),
                 lambda: optim.SGD(0.1, momentum=1.0), lambda: optim.SGD(0.1, weight_decay=-1.0),
                 lambda: optim.SGD(0.1, nesterov=True), lambda: optim.clip_norm(grads, 0.0),
                 lambda: optim.SGD(float("inf"))):  # fmt: skip
        with pytest.raises(ct.ArgumentError):
            make()
    with pytest.raises(ct.ArgumentTypeError, match=r"lr must be a number, not '0\.1'"):
        optim.Adam("0.1")
    with pytest.raises(ct.ArgumentTypeError, match="pair"):
        optim.Adam(betas=0.9)  # type: ignore[arg-type]
    opt = optim.Adam(0.1)
    with pytest.raises(ct.ArgumentError, match="Adam: lr must be finite, not negative, got -1"):
        opt.lr = -1
    assert opt.lr == 0.1
    with pytest.raises(ct.ShapeError, match=r"l1.weight has shape \(3,\).*\(3, 2\)"):
        opt.step(model, grads.map(lambda g: g.sum(axis=-1)))
    with pytest.raises(ct.ShapeError, match="weight"):
        opt.step(model.l1.weight, np.ones(3))
    with pytest.raises(ct.ArgumentTypeError, match="goes with the Gradients"):
        opt.step(model, np.ones(3))
    with pytest.raises(ct.ArgumentError, match="holds no variables"):
        opt.step([], grads)
    with pytest.raises(ct.ArgumentTypeError, match="Gradients"):
        optim.clip_norm(np.ones(3), 1.0)  # type: ignore[arg-type]
    assert opt.state_dict(model) == {}


# -- XOR --------------------------------------------------------------------------------------

XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR_Y = np.array([[0], [1], [1], [0]], np.float32)


def xor_model(seed: int) -> MLP:
    """The 2-8-1 network with the initial weights of `seed`."""
    ct.manual_seed(seed)
    return MLP(2, 8, 1)


def xor_learned(predict: Callable[[Any], Any]) -> bool:
    """Whether the four logits have the right signs."""
    return bool(np.array_equal(np.asarray(predict(XOR_X)) > 0, XOR_Y > 0.5))


def xor_here(seed: int, steps: int = 4000, lr: float = 0.01) -> bool:
    """Train on one sample a step, in turn; whether it was learned."""
    model, opt = xor_model(seed), optim.Adam(lr)
    samples = [(ct.tensor(XOR_X[i : i + 1]), ct.tensor(XOR_Y[i : i + 1])) for i in range(4)]
    for i in range(steps):
        x, y = samples[i % 4]
        loss = nn.binary_cross_entropy_with_logits(model(x), y)
        opt.step(model, loss.backward())
    return xor_learned(lambda x: model(x).numpy())


def xor_in_torch(seed: int, steps: int = 4000, lr: float = 0.01) -> bool:
    """The same training in PyTorch from the same initial weights."""
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    twin = torch_twin(xor_model(seed))
    opt = torch.optim.Adam(twin.parameters(), lr=lr)
    lossf = torch.nn.functional.binary_cross_entropy_with_logits
    samples = [(torch.tensor(XOR_X[i : i + 1]), torch.tensor(XOR_Y[i : i + 1])) for i in range(4)]
    for i in range(steps):
        x, y = samples[i % 4]
        opt.zero_grad()
        lossf(twin(x), y).backward()
        opt.step()
    return xor_learned(lambda x: twin(torch.tensor(x)).detach().numpy())


def test_xor_is_learned_as_often_as_in_pytorch() -> None:
    # Fewer and longer steps than the 4,000 of 0.01 that are the default here, for the time.
    assert xor_here(0, steps=800, lr=0.03)
    assert xor_in_torch(0, steps=800, lr=0.03)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_state_that_is_loaded_is_what_the_next_step_starts_from(compiled: bool) -> None:
    """Also of a step that was compiled before: judged by a twin that goes on."""
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)

    def make() -> tuple[Any, Any, Any]:
        ct.manual_seed(0)
        model, opt = nn.Linear(3, 2), optim.Adam(0.1)

        def step() -> None:
            opt.step(model, (model(x) ** 2).mean().backward())

        return model, opt, ct.jit(step) if compiled else step

    model, opt, step = make()
    twin, twin_opt, twin_step = make()
    for _ in range(3):
        step()
        twin_step()
    for _ in range(2):  # these are taken back
        step()
    model.load_state_dict(twin.state_dict())
    opt.load_state_dict(model, twin_opt.state_dict(twin))
    for _ in range(3):
        step()
        twin_step()
    for key, value in (twin.state_dict() | twin_opt.state_dict(twin)).items():
        found = (model.state_dict() | opt.state_dict(model))[key]
        assert np.asarray(found).tobytes() == np.asarray(value).tobytes(), key
