"""`vmap`, `jacobian`, `hessian`: against loops over the examples, closed forms and PyTorch."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.config import STATE
from cotangent.errors import (
    ArgumentError,
    ArgumentTypeError,
    BoundsError,
    Error,
    GradientError,
    ShapeError,
    TraceError,
)

RNG = np.random.default_rng(0)
XS = RNG.normal(size=(5, 3)).astype("float32")


@pytest.fixture(autouse=True)
def _state_is_restored():
    yield
    assert (STATE.depth, STATE.grad, STATE.trace) == (0, True, None)


def _loop(f, *xs):
    return np.stack([f(*map(ct.tensor, parts)).numpy() for parts in zip(*xs, strict=True)])


# -- examples ----------------------------------------------------------------------------------

FUNCTIONS = {
    "norm": lambda x: x / ct.norm(x),
    "softmax": lambda x: nn.softmax(x, -1).max(),
    "sort": lambda x: ct.sort(x)[0] + ct.cumulative_sum(x)[-1],
    "topk": lambda x: ct.topk(x, 2)[0],
    "einsum": lambda x: ct.einsum("i,j->ij", x, x).sum(0),
    "gather": lambda x: x[[2, 0, 0]] * x[::-1],
    "update": lambda x: x.at[1].set(x[0]).at[[0, 0]].add(1.0),
    "mask": lambda x: ct.where(x > 0, x, 0.0).sum(),
    "layer norm": lambda x: nn.LayerNorm(3)(x),
    "outer": lambda x: ct.outer(x, x) @ x,
    "pad": lambda x: ct.concat([ct.pad(x, 1), x]),
    "variance": lambda x: ct.variance(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_equals_a_loop(name):
    f = FUNCTIONS[name]
    np.testing.assert_allclose(ct.vmap(f)(XS), _loop(f, XS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_equals_eager(name):
    f = ct.vmap(ct.grad(lambda x: FUNCTIONS[name](x).sum()))
    np.testing.assert_allclose(ct.jit(f)(XS), f(XS), rtol=2e-5, atol=1e-5)


def test_axes_and_shared_arguments():
    w = RNG.normal(size=(3, 4)).astype("float32")
    got = ct.vmap(lambda x, w: x @ w, in_axes=(1, None), out_axes=1)(XS.T, w)
    np.testing.assert_allclose(got, (XS @ w).T, rtol=1e-5)
    nested = {"a": XS, "b": (XS, 2.0)}
    got = ct.vmap(lambda t: t["a"] + t["b"][0] * t["b"][1], in_axes=({"a": 0, "b": (0, None)},))
    np.testing.assert_allclose(got(nested), XS * 3, rtol=1e-6)
    both = ct.vmap(ct.vmap(lambda a, b: a * b, in_axes=(None, 0)), in_axes=(0, None))
    assert both([1.0, 2.0], [3.0, 4.0, 5.0]).tolist() == [[3, 4, 5], [6, 8, 10]]


def test_a_shared_result_is_repeated_and_no_examples_are_fine():
    assert ct.vmap(lambda x: ct.ones(2))(XS).shape == (5, 2)
    assert ct.vmap(lambda x: x.sum())(np.ones((0, 4))).shape == (0,)


def test_keyword_arguments_are_mapped():
    assert ct.vmap(lambda x, y: x * y)(XS, y=XS).shape == XS.shape


# -- derivatives through and inside ------------------------------------------------------------


def test_gradient_of_a_map_reaches_what_is_around_it():
    w = ct.var("w", [1.0, 2.0, 3.0])
    loss = ct.vmap(lambda x: (w * x).sum() ** 2)(XS).sum()
    by_hand = (2 * (XS @ [1, 2, 3])[:, None] * XS).sum(0)
    np.testing.assert_allclose(loss.backward().wrt(w), by_hand, rtol=1e-5)


def test_gradients_of_a_model_for_every_sample_match_torch():
    torch = pytest.importorskip("torch")
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    labels = np.array([0, 1, 1, 0, 1])
    per_sample = ct.vmap(lambda x, y: nn.cross_entropy_loss(model(x[None]), y[None]).backward())
    for run in (per_sample, ct.jit(per_sample)):
        grads = run(XS, labels)
        peer = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
        peer.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
        for i in range(5):
            peer.zero_grad()
            out = peer(torch.tensor(XS[i : i + 1]))
            torch.nn.functional.cross_entropy(out, torch.tensor(labels[i : i + 1])).backward()
            for (path, v), p in zip(model.named_parameters(), peer.parameters(), strict=True):
                np.testing.assert_allclose(
                    grads.wrt(v)[i], p.grad, rtol=2e-5, atol=1e-6, err_msg=path
                )


def test_transformations_nest():
    third = ct.vmap(ct.grad(ct.grad(ct.grad(lambda x: x**4))))
    np.testing.assert_allclose(third([1.0, 2.0]), [24.0, 48.0], rtol=1e-6)
    np.testing.assert_allclose(ct.jit(third)(np.array([1.0, 2.0])), [24.0, 48.0], rtol=1e-6)
    outer = ct.grad(lambda c: ct.vmap(ct.grad(lambda x: c * x**3))(np.array([1.0, 2.0])).sum())
    np.testing.assert_allclose(outer(1.0), 15.0, rtol=1e-6)
    y, t = ct.jvp(lambda x: ct.vmap(lambda r: (r * r).sum())(x), (XS,), (np.ones_like(XS),))
    np.testing.assert_allclose(t, 2 * XS.sum(1), rtol=1e-5)
    assert y.shape == (5,)


def test_what_only_a_transformation_inside_tracked_is_not_tracked_outside():
    assert not ct.vmap(lambda x: ct.grad(lambda v: (v * x).sum())([1.0, 1.0, 1.0]))(XS).tracked
    assert not ct.vmap(ct.grad(lambda x: (x * x).sum()))(XS).tracked


def test_jacobian_and_hessian_match_torch():
    torch = pytest.importorskip("torch")
    a, b = RNG.normal(size=(2, 3)), RNG.normal(size=(3,))

    def f(lib, a, b):
        return lib.tanh(a @ b)

    ours = ct.jacobian(lambda a, b: f(ct, a, b), argnums=(0, 1))(ct.asarray(a), ct.asarray(b))
    theirs = torch.autograd.functional.jacobian(
        lambda a, b: f(torch, a, b), (torch.tensor(a), torch.tensor(b))
    )
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)
        assert not x.tracked
    h = ct.hessian(lambda b: (ct.tanh(ct.asarray(a) @ b) ** 2).sum())
    peer = torch.autograd.functional.hessian(
        lambda b: (torch.tanh(torch.tensor(a) @ b) ** 2).sum(), torch.tensor(b)
    )
    np.testing.assert_allclose(h(ct.asarray(b)), peer, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ct.jit(h)(ct.asarray(b)), peer, rtol=1e-10, atol=1e-12)


def test_jacobian_of_several_results():
    got = ct.jacobian(lambda x: {"y": x * x, "s": (x.sum(), x[0])})([1.0, 2.0])
    assert got["y"].tolist() == [[2, 0], [0, 4]]
    assert [part.tolist() for part in got["s"]] == [[1, 1], [1, 0]]


# -- many models as one ------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, seed, p=0.0):
        ct.manual_seed(seed)
        self.l1 = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.l2 = nn.Linear(8, 3)
        self.noise = ct.random.Generator(seed)
        self.p = p

    def forward(self, x):
        x = nn.dropout(self.norm(self.l1(x)).relu(), self.p, self.training, self.noise)
        return self.l2(x)


OPTIMIZERS = {
    "SGD": lambda: optim.SGD(0.1, momentum=0.9),
    "Adam": lambda: optim.Adam(),
    "AdamW": lambda: optim.AdamW(weight_decay=0.1),
    "RMSprop": lambda: optim.RMSprop(),
    "Lion": lambda: optim.Lion(),
    "schedule": lambda: optim.Adam(lr=lambda step: 0.1 / (1 + step)),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_replica_has_the_bits_of_its_solo_run(name, compiled):
    count = 5
    x = RNG.normal(size=(12, 4)).astype("float32")
    y = RNG.integers(0, 3, 12)
    rates = [None if name == "schedule" else 0.01 * (k + 1) for k in range(count)]

    def train(model, opt, rate, x, y):
        loss = nn.cross_entropy_loss(model(x), y)
        grads, _ = optim.clip_norm(loss.backward(), 1.0)
        opt.step(model, grads, lr=rate)
        return loss

    wrap = ct.jit if compiled else lambda f: f
    models = [Net(seed, p=0.3) for seed in range(count)]
    together = nn.stack(models)
    opt = OPTIMIZERS[name]()
    given = None if name == "schedule" else np.array(rates, "float32")

    def all_of_them(x, y):
        return ct.vmap(
            lambda m, r: train(m, opt, r, x, y), in_axes=(0, None if given is None else 0)
        )(together, given)

    step = wrap(all_of_them)
    losses = [step(x, y).numpy() for _ in range(4)]
    for k, replica in enumerate(nn.unstack(together)):
        solo, own = copy.deepcopy(models[k]), OPTIMIZERS[name]()
        alone = wrap(lambda x, y, m=solo, o=own, r=rates[k]: train(m, o, r, x, y))
        for loss in losses:
            assert alone(x, y).item() == loss[k]
        for key, value in solo.state_dict().items():
            np.testing.assert_array_equal(replica.state_dict()[key], value, err_msg=key)
    assert len({*losses[-1]}) == count


def test_stack_and_unstack_keep_values_modes_and_originals():
    pair = [nn.Linear(2, 1), nn.Linear(2, 1)]
    pair[0].bias.requires_grad = False
    both = nn.stack(pair).eval()
    assert pair[0].weight.shape == (1, 2)
    assert both.weight.shape == (2, 1, 2)
    assert not both.bias.requires_grad
    assert both.bias.parameter
    for one, again in zip(pair, nn.unstack(both), strict=True):
        np.testing.assert_array_equal(one.weight.numpy(), again.weight.numpy())
        assert again.training is False


def test_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            self.a = nn.Linear(3, 3)
            self.b = self.a

    assert (both := nn.stack([Tied(), Tied()])).a is both.b


def test_optimizer_state_of_replicas_is_saved_and_loaded():
    together = nn.stack([Net(0), Net(1)])
    x = np.ones((4, 4), "float32")

    def step(opt):
        run = ct.vmap(lambda m: opt.step(m, (m(x) ** 2).mean().backward()))
        run(together)

    first, second = optim.Adam(), optim.Adam()
    step(first)
    assert first.state_dict(together)["l1.weight.step"].tolist() == [1, 1]
    second.load_state_dict(together, first.state_dict(together))
    step(second)
    assert second.state_dict(together)["l1.weight.step"].tolist() == [2, 2]
    with pytest.raises(ArgumentError, match=r"made for 2 models inside ct.vmap.*outside"):
        first.step(together, (together.l1.weight**2).sum().backward())


def test_buffers_that_are_shared_are_assigned_once():
    count = ct.var("count", 0.0, requires_grad=False)

    def f(x):
        count.assign(count + 1)
        return x + count

    assert ct.vmap(f)([1.0, 2.0]).tolist() == [2.0, 3.0]
    assert count.item() == 1


# -- mistakes ----------------------------------------------------------------------------------

W = ct.var("w", 1.0)
KEPT: list = []

MISTAKES = [
    (lambda: ct.vmap(3), ArgumentTypeError, "vmap takes a function"),
    (lambda: ct.vmap(lambda x: x, in_axes=None)(XS), ArgumentError, "no argument is mapped"),
    (lambda: ct.vmap(lambda x: x, in_axes=2)(XS), BoundsError, "axis 2 is out of range"),
    (lambda: ct.vmap(lambda x: x, in_axes="0")(XS), ArgumentTypeError, "in_axes='0'"),
    (lambda: ct.vmap(lambda x: x, in_axes=(0, 0))(XS), ArgumentError, "2 entries for 1"),
    (lambda: ct.vmap(lambda x, y: x)(XS, XS[:2]), ShapeError, "5.*2"),
    (lambda: ct.vmap(lambda x, y: x)(XS, 1.0), ArgumentError, "in_axes=None"),
    (lambda: ct.vmap(lambda x: x, out_axes=None)(XS), ArgumentTypeError, "out_axes"),
    (lambda: ct.vmap(lambda x: x.item())(XS), TraceError, "made inside .*ct.vmap"),
    (lambda: ct.vmap(lambda x: -x if x[0] > 0 else x)(XS), TraceError, "ct.where"),
    (lambda: ct.vmap(lambda x: W.assign(x[0]))(XS), ArgumentError, "shared by all examples"),
    (lambda: ct.vmap(lambda x: x @ x[:2])(XS), ShapeError, "matmul"),
    (lambda: ct.vmap(lambda i: ct.ones(3)[i])(np.array([0, 7])), BoundsError, "index 7"),
    (lambda: ct.vmap(KEPT.append)(XS) or KEPT[0] + 1, TraceError, "return it from the function"),
    (lambda: ct.jacobian(lambda x: x)(1), GradientError, "int64"),
    (lambda: ct.jacobian(lambda x: x, argnums=1)(1.0), ArgumentError, "argnums=1"),
    (lambda: ct.hessian(lambda x: x)([1.0, 2.0]), GradientError, "needs a scalar"),
    (lambda: nn.stack([]), ArgumentTypeError, "at least one model"),
    (lambda: nn.stack([nn.Linear(1, 2), nn.Tanh()]), ArgumentError, "weight, bias"),
    (lambda: nn.stack([nn.Linear(1, 2), nn.Linear(2, 2)]), ShapeError, "'weight' has shape"),
    (lambda: nn.unstack(nn.Linear(2, 3, bias=True)), ShapeError, None),
    (lambda: optim.SGD(0.1).step(W, 1.0, lr=-1.0), ArgumentError, "lr must be"),
    (lambda: optim.SGD(0.1).step(W, 1.0, lr=ct.ones(2)), ShapeError, "lr must be one"),
]


@pytest.mark.parametrize("index", range(len(MISTAKES)))
def test_mistake(index):
    call, kind, text = MISTAKES[index]
    if text is None:
        assert len(call()) == 3  # a layer of three rows looks like three of one row
        return
    with pytest.raises(kind, match=text) as caught:
        call()
    assert isinstance(caught.value, Error)
