"""What is written in place under `debug_nans` is known to be finite before: the proofs hold, there
is one for every optimizer, and where numbers are beyond their ranges, calls mean the same."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.compiler import entry, memory
from cotangent.compiler.bounds import prove
from cotangent.compiler.fuse import fuse
from cotangent.compiler.simplify import simplify
from cotangent.config import STATE
from cotangent.errors import NonFiniteError

BATCH = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)


@pytest.fixture(autouse=True)
def _off_after():
    yield
    STATE.trace = None


def _watching(step):
    """The one entry of a jitted function."""
    (found,) = [e for entries in step._entries.values() for e in entries]
    return found


# -- the proofs ------------------------------------------------------------------------------------

# Float32 x and v, and what makes a new value of them.
SAFE = {
    "sum": lambda x, v: x * 0.9 + v, "difference": lambda x, v: x - v * x,
    "root": lambda x, v: x / (ct.sqrt(v) + 1e-8), "square root": lambda x, v: ct.sqrt(x * x + 1.0),
    "where": lambda x, v: ct.where(x > v, x, -v), "abs": lambda x, v: x / (ct.abs(v) + 0.5),
    "clipped": lambda x, v: ct.minimum(ct.maximum(x * v, -1.0), 1.0),
    "bounded": lambda x, v: ct.tanh(x) * ct.sigmoid(v), "cube": lambda x, v: x * x * v,
    "relu": lambda x, v: ct.relu(x) / ct.maximum(v, 1e-3),
    "reciprocal": lambda x, v: 1.0 / (v * v + 2.0), "sign": lambda x, v: x - ct.sign(v),
    "cast": lambda x, v: (x > 0).astype(ct.float32) * v,
}  # fmt: skip
UNSAFE = {
    "fourth power": lambda x, v: (x * x) * (v * v), "quotient": lambda x, v: x / v,
    "small divisor": lambda x, v: x * x / (ct.abs(v) + 1e-30), "exp": lambda x, v: ct.exp(x),
    "rounded to 0": lambda x, v: x / ((ct.abs(v) * 0.0 + 1.0 + 1e-9) - 1.0),
    "log": lambda x, v: ct.log(ct.abs(v) + 1.0), "root": lambda x, v: ct.sqrt(ct.sin(x)),
}  # fmt: skip


def _proofs(f, shape=(6, 8)):
    """Of the groups that write in place, with and without a proof."""
    x, v = ct.var("x", np.ones(shape, np.float32)), ct.var("v", np.ones(shape, np.float32))
    g = ct.var("g", np.ones(shape, np.float32))

    @ct.jit
    def step():
        x.assign(f(x.value, g.value * 1.0))
        v.assign(v * 0.5)

    traced = step._trace((), {})
    fusion = fuse(simplify(traced.graph), True)
    number = traced.trace.variables.index(x)
    written = dict(fusion.writes)[number]
    groups = [grp for grp in memory._commits(fusion) if written in grp.stored]
    return [prove(fusion, grp) for grp in groups], fusion, groups, written


@pytest.mark.parametrize("name", SAFE)
def test_there_is_a_proof_and_it_holds(name):
    """Judged by NumPy, at the ends of the ranges and inside."""
    (proof,), fusion, (group,), written = _proofs(SAFE[name])
    rng = np.random.default_rng(0)
    for _ in range(30):
        values = {}
        for node, allowed in proof.read.items():
            ends = np.nextafter(np.float32([allowed.low, allowed.high]), np.float32(0))
            wide = rng.uniform(*ends, node.shape)
            small = np.exp(rng.uniform(-80, 20, node.shape)) * np.sign(wide)
            pick = rng.integers(0, 4, node.shape)
            made = np.choose(pick, [wide, ends[0] + 0 * wide, ends[1] + 0 * wide, small])
            values[id(node)] = np.clip(made, *ends).astype(np.float32)
        found = _evaluate(fusion, group, values)
        assert np.isfinite(found[id(written)]).all()
        low, high = proof.stored[id(written)]
        slack = 1e-5 * max(abs(low), abs(high))
        assert low - slack <= found[id(written)].min() <= found[id(written)].max() <= high + slack


def _evaluate(fusion, group, values):
    """The nodes of a group of equal shapes, op by op."""
    found = dict(values)
    for node in group.nodes:
        inputs = []
        for x in node.inputs:
            own, known = fusion.own_value(group, x), x.uniform
            base = own if own is not None else fusion.view(x).base if known is None else None
            inputs.append(np.asarray(known) if base is None else found[id(base)])
        tensors = [ct.asarray(x) for x in inputs]
        found[id(node)] = node.primitive(*tensors, **node.attrs).numpy()
    return found


@pytest.mark.parametrize("name", UNSAFE)
def test_where_something_may_overflow_there_is_no_proof(name):
    proofs = _proofs(UNSAFE[name])[0]
    assert proofs in ([None], [])


OPTIMIZERS = {
    "SGD": lambda: optim.SGD(lr=0.1), "momentum": lambda: optim.SGD(lr=0.1, momentum=0.9),
    "Nesterov": lambda: optim.SGD(lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda: optim.Adam(lr=1e-3), "AdamW": lambda: optim.AdamW(lr=1e-3),
    "RMSprop": lambda: optim.RMSprop(lr=1e-3), "Adagrad": lambda: optim.Adagrad(lr=1e-2),
    "Lion": lambda: optim.Lion(lr=1e-4), "schedule": lambda: optim.Adam(lambda n: 0.1 / (n + 1)),
}  # fmt: skip


def _step_of(model, opt, rate=1.0):
    @ct.jit
    def step(x):
        loss = (model(x) ** 2).mean() * rate
        opt.step(model, loss.backward())
        return loss

    return step


def _train(make, steps, watched, rate=1.0):
    ct.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 1))
    opt = make()
    step = _step_of(model, opt, rate)
    with ct.debug_nans(watched):
        for _ in range(steps):
            step(BATCH)
        step.loop(np.stack([BATCH] * 3))
    state = {k: np.asarray(v).tobytes() for k, v in opt.state_dict(model).items()}
    return step, state | {k: v.numpy().tobytes() for k, v in model.named_parameters()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_writes_in_place_while_it_is_watched(name, monkeypatch):
    real, kept = memory._watch, []

    def watch(fusion, commits):
        found = real(fusion, commits)
        kept.append((len(commits), len(found[0])))
        return found

    monkeypatch.setattr(memory, "_watch", watch)
    step, watched = _train(OPTIMIZERS[name], 5, True)
    assert watched == _train(OPTIMIZERS[name], 5, False)[1]
    assert _watching(step).trust == entry._TRUST  # no number was beyond its range
    # What is computed in the epilogue of a product is not written in place then.
    assert all(some == every or (name == "SGD" and some) for every, some in kept)


# -- numbers beyond the ranges -------------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e12, 1e16])
def test_large_numbers_are_no_errors(rate):
    """Gradients beyond the range: the same bits; after some calls by a program without bounds."""
    step, watched = _train(lambda: optim.Adam(lr=1e-3), 6, True, rate)
    assert watched == _train(lambda: optim.Adam(lr=1e-3), 6, False, rate)[1]
    assert _watching(step).trust == 0


def test_large_numbers_in_a_loop_are_no_errors_and_what_is_not_finite_is_one():
    w = ct.var("w", np.ones(64, np.float32))

    @ct.jit
    def step(x):
        w.assign(w * x)
        return x.sum()

    twin = np.ones(64, np.float32)
    rows = np.full((6, 64), 1e6, np.float32)
    with ct.debug_nans():
        step.loop(rows)
        for row in rows:
            twin = twin * row
        assert w.numpy().tobytes() == twin.tobytes()
        with pytest.raises(NonFiniteError, match=r"iteration 0 of loop"):
            step.loop(rows)
        with pytest.raises(NonFiniteError, match="multiply gives infinity"):
            step(rows[0])
    assert w.numpy().tobytes() == twin.tobytes()


@pytest.mark.parametrize("calls", [1, 5])
def test_a_state_that_no_root_can_be_taken_of_is_found(calls):
    """Somebody else writes it."""
    model, opt = nn.Linear(30, 4), optim.RMSprop(lr=1e-3)
    step = _step_of(model, opt)
    with ct.debug_nans():
        for _ in range(calls):
            step(BATCH)
        state = opt.state_dict(model)
        bad = {k: v if np.asarray(v).ndim == 0 else v * 0 - 1e6 for k, v in state.items()}
        opt.load_state_dict(model, bad)
        weight = model.weight.numpy().copy()
        with pytest.raises(NonFiniteError, match="sqrt gives NaN"):
            step(BATCH)
        assert model.weight.numpy().tobytes() == weight.tobytes()


def test_an_epsilon_of_zero_is_divided_by():
    """Where a divisor may be 0, the program does without bounds, and 0 / 0 is found."""
    step, watched = _train(lambda: optim.Adam(lr=1e-3, eps=1e-30), 5, True)
    assert watched == _train(lambda: optim.Adam(lr=1e-3, eps=1e-30), 5, False)[1]
    assert _watching(step).trust == 0


@pytest.mark.parametrize("n", [40, 5000])
def test_a_large_constant_is_looked_at(n):
    """Equal programs whose constants differ: of large ones the contents are in no key."""
    even = np.linspace(1, 2, n).astype(np.float32)
    for number, value in enumerate((even[n // 2], 0.0, 1.0)):
        given = even.copy()
        given[n // 2] = value
        v, divisor = ct.var("v", np.ones(n, np.float32)), ct.tensor(given)

        @ct.jit
        def step(x, v=v, divisor=divisor):
            v.assign(v - x / divisor)

        with ct.debug_nans():
            if number == 1:
                with pytest.raises(NonFiniteError, match="divide gives infinity in 1 of"):
                    step(np.ones(n, np.float32))
                assert (v.numpy() == 1).all()
            else:
                step(np.ones(n, np.float32))
                assert np.array_equal(v.numpy(), np.float32(1) - np.float32(1) / given)


@pytest.mark.parametrize("bad", [None, 4])
def test_a_loop_goes_on_looking_after_a_nan_that_came_in(bad):
    v = ct.var("v", np.ones(4, np.float32))

    @ct.jit
    def step(x, y):
        v.assign(v * 0.5 + x * x)
        return y.sum()

    xs, ys = np.ones((6, 4), np.float32), np.ones((6, 3), np.float32)
    ys[1, 0] = np.nan
    with ct.debug_nans():
        if bad is None:
            assert np.isnan(step.loop(xs, ys).numpy()).tolist() == [False, True, *[False] * 4]
            assert v.tolist() == [1.984375] * 4  # 2 - 2 ** -6
        else:
            xs[bad] = 1e30
            with pytest.raises(NonFiniteError, match=r"multiply gives infinity(?s:.*)iteration 4"):
                step.loop(xs, ys)
            assert v.tolist() == [1.0] * 4


def test_what_only_compiled_code_makes_is_found():
    """A gradient that is 0 but for rounding, divided by its root: compiled it may be 0 / 0."""
    ct.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 17), nn.BatchNorm1d(17), nn.Linear(17, 1))
    step = _step_of(model, optim.RMSprop(lr=1e-3, eps=0.0))
    with ct.debug_nans():
        for _ in range(4):
            try:
                step(BATCH)
            except NonFiniteError:
                break
    for name, parameter in model.named_parameters():
        assert np.isfinite(parameter.numpy()).all(), name
