"""``ct.debug_nans``: the first op that makes a NaN or an infinity of finite numbers is named."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, ops, optim
from cotangent.compiler import link
from cotangent.compiler.bounds import NEVER_LARGER
from cotangent.config import STATE
from cotangent.errors import BoundsError, NonFiniteError, TraceError

X = np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32)


@pytest.fixture(autouse=True)
def _off_after():
    yield
    STATE.trace = None


class Logs(nn.Module):
    """log(x w + b): NaN once an entry is below 0."""

    def __init__(self):
        self.inner = nn.Linear(3, 2)

    def forward(self, x):
        return ct.log(self.inner(x))


class Deep(nn.Module):
    def __init__(self):
        self.first = Logs()
        self.last = nn.Linear(2, 1)

    def forward(self, x):
        return self.last(self.first(x))


def _model():
    ct.manual_seed(0)
    model = Deep()
    model.first.inner.weight.assign(ct.ones((2, 3)))
    model.first.inner.bias.assign(ct.full((2,), 4.0))
    return model


GOOD = np.ones((4, 3), np.float32)
BAD = GOOD * -2


def _training(model, opt):
    def step(x):
        loss = (model(x) ** 2).mean()
        opt.step(model, loss.backward())
        return loss

    return step


def _bytes(model, opt):
    found = {name: value.numpy().tobytes() for name, value in model.named_parameters()}
    return found | {f"opt.{k}": np.asarray(v).tobytes() for k, v in opt.state_dict(model).items()}


# -- eagerly ----------------------------------------------------------------------------------


def test_the_op_is_named_with_line_and_layer():
    model = _model()
    with ct.debug_nans():
        model(GOOD)
        with pytest.raises(NonFiniteError) as caught:
            model(BAD)
    text = str(caught.value)
    assert "log gives NaN in 8 of 8 elements from finite inputs" in text
    assert "float32 (4, 2) in [-2, -2]" in text
    assert "test_nans.py:" in text and "Logs" in text


def test_a_backward_pass_is_looked_at_too():
    w = ct.var("w", np.zeros(3))
    with ct.debug_nans():
        y = ct.sqrt(w).sum()
        with pytest.raises(NonFiniteError, match=r"infinity in 3 of 3 elements"):
            y.backward()


def test_inputs_that_are_not_finite_are_nobodys_fault():
    with ct.debug_nans():
        x = ct.tensor([np.inf, -np.inf, np.nan])
        assert ct.exp(x).tolist()[:2] == [np.inf, 0.0]
        assert ct.where(x > 0, x, ct.zeros_like(x)).tolist()[0] == np.inf


def test_integers_and_empty_tensors_pass():
    with ct.debug_nans():
        assert (ct.tensor([1, 2]) // 0).tolist() == [0, 0]
        assert ct.log(ct.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("opt", [optim.SGD(0.1, momentum=0.9), optim.Adam(lambda n: 0.1 / (n + 1))])
def test_training_is_the_same_while_nothing_happens(opt):
    plain, watched = _model(), _model()
    for _ in range(3):
        _training(plain, opt)(GOOD)
    with ct.debug_nans():
        for _ in range(3):
            _training(watched, opt)(GOOD)
    assert _bytes(plain, opt) == _bytes(watched, opt)


def test_the_switch():
    bad = ct.tensor(-1.0)
    ct.debug_nans(True)
    with pytest.raises(NonFiniteError):
        ct.log(bad)
    with ct.debug_nans(False):
        ct.log(bad)
    with pytest.raises(NonFiniteError):
        ct.log(bad)
    ct.debug_nans(True)  # twice is once
    ct.debug_nans(False)
    ct.log(bad)
    assert STATE.trace is None


def test_it_is_off_again_after_an_error_and_in_other_threads():
    seen = []
    with pytest.raises(NonFiniteError), ct.debug_nans():
        thread = threading.Thread(target=lambda: seen.append(ct.log(ct.tensor(-1.0)).item()))
        thread.start()
        thread.join()
        ct.log(ct.tensor(-1.0))
    assert STATE.trace is None and np.isnan(seen[0])


def test_it_cannot_be_switched_inside_a_trace_or_map():
    def f(x):
        ct.debug_nans(True)
        return x

    with pytest.raises(TraceError, match="debug_nans"):
        ct.jit(f)(X)
    with pytest.raises(TraceError, match="debug_nans"):
        ct.vmap(f)(ct.tensor(X))


def test_maps_and_gradients_inside_it_are_looked_at():
    with ct.debug_nans():
        with pytest.raises(NonFiniteError, match="log gives NaN"):
            ct.vmap(ct.log)(ct.tensor(X))
        with pytest.raises(NonFiniteError, match="log gives NaN"):
            ct.grad(lambda x: ct.log(x).sum())(ct.tensor(X))


# -- compiled ---------------------------------------------------------------------------------


@pytest.fixture(params=["compiled", "op by op"])
def how(request, monkeypatch):
    """With machine code, and without."""
    if request.param == "op by op":
        monkeypatch.setattr(link, "native_isa", lambda: "none")
        monkeypatch.setattr(link, "_say_once", lambda why: None)
    return request.param


def test_a_compiled_step_names_the_op_and_changes_nothing(how):
    model, opt = _model(), optim.Adam(lr=0.1)
    step = ct.jit(_training(model, opt))
    with ct.debug_nans():
        step(GOOD)
        before = _bytes(model, opt)
        for _ in range(2):
            with pytest.raises(NonFiniteError) as caught:
                step(BAD)
            text = str(caught.value)
            assert "in step, log gives NaN in 8 of 8 elements from finite inputs" in text
            assert "log in Deep.first at " in text and "test_nans.py:" in text
            assert "no variable was changed" in text
            assert _bytes(model, opt) == before
        step(GOOD)
    step(BAD)  # off: nothing is looked at
    assert np.isnan(step(GOOD).item())


def test_the_watched_step_gives_the_same_bits(how):
    plain, watched, opt = _model(), _model(), optim.Adam(lr=0.1)
    step, same = ct.jit(_training(plain, opt)), ct.jit(_training(watched, opt))
    for _ in range(3):
        expected = step(GOOD).numpy()
        with ct.debug_nans():
            assert same(GOOD).numpy().tobytes() == expected.tobytes()
    assert _bytes(plain, opt) == _bytes(watched, opt)
    step(GOOD)
    same(GOOD)  # on and off in turns
    assert _bytes(plain, opt) == _bytes(watched, opt)


def test_an_update_that_overflows_is_not_committed(how):
    """The gradient is finite; the step along it is not."""
    w = ct.var("w", np.full(3, 1e30, np.float32))

    @ct.jit
    def step(x):
        w.assign(w - 1e20 * (w * x))
        return ct.sum(x)

    with ct.debug_nans():
        with pytest.raises(NonFiniteError, match=r"multiply gives infinity in 3 of 3"):
            step(np.ones(3, np.float32))
        assert w.tolist() == np.full(3, 1e30, np.float32).tolist()


def test_what_a_later_op_swallows_is_not_reported(how):
    @ct.jit
    def f(x):
        masked = ct.where(x > 0, x, -np.inf)
        return ct.softmax(masked), ct.exp(ct.log(ct.abs(x) * 0))

    with ct.debug_nans():
        shares, zeros = f(X[1:] + 0.5)
    assert np.all(zeros.numpy() == 0) and np.isfinite(shares.numpy()).all()


def test_what_came_in_is_not_reported(how):
    w = ct.var("w", np.array([np.inf, 1.0], np.float32))

    @ct.jit
    def step(x):
        w.assign(w * 2)
        return x + 1, w

    with ct.debug_nans():
        out, _ = step(np.array([np.nan, 1.0], np.float32))
        assert np.isnan(out.tolist()[0]) and w.tolist() == [np.inf, 2.0]
        rows = np.array([[1.0, 2.0], [np.inf, 2.0]], np.float32)
        assert step.loop(rows)[0].tolist()[1] == [np.inf, 3.0]
        assert w.tolist() == [np.inf, 8.0]


def test_the_first_of_several_is_named():
    @ct.jit
    def f(x):
        a = ct.log(x - 5)  # NaN
        b = ct.sqrt(a - 1)
        c = ct.exp(x * 1000)  # infinite, later
        return b.sum() + c.sum()

    with ct.debug_nans(), pytest.raises(NonFiniteError, match="in f, log gives NaN in 3 of 3"):
        f(np.ones(3, np.float32))


@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_loop_is_undone_and_names_the_iteration(how, at):
    model, opt = _model(), optim.Adam(lr=0.1)
    step = ct.jit(_training(model, opt))
    rows = np.stack([GOOD] * 5)
    with ct.debug_nans():
        step.loop(rows)
        before = _bytes(model, opt)
        rows[at] = BAD
        with pytest.raises(NonFiniteError, match=rf"iteration {at} of loop") as caught:
            step.loop(rows)
        assert "log in Deep.first at " in str(caught.value)
        assert _bytes(model, opt) == before


def test_bad_indices_are_still_what_they_are(how):
    f = ct.jit(lambda x, i: ct.take(x, i))
    with ct.debug_nans(), pytest.raises(BoundsError, match="index 9 is out of range"):
        f(X, np.array([9]))


def test_gradients_through_a_compiled_function():
    f = ct.jit(lambda x: ct.sqrt(x).sum())
    w = ct.var("w", np.zeros(3))
    with ct.debug_nans():
        y = f(w.value)
        with pytest.raises(NonFiniteError, match="infinity in 3 of 3"):
            y.backward()


def test_half_precision_overflows(how):
    f = ct.jit(lambda x: x * 300)
    with ct.debug_nans():
        with pytest.raises(NonFiniteError, match="infinity in 2 of 2"):
            f(ct.tensor([300.0, 400.0], dtype=ct.float16))
        assert f(ct.tensor([1.0, 2.0], dtype=ct.float16)).tolist() == [300.0, 600.0]


def test_integer_results_and_no_results_need_no_check(how):
    f = ct.jit(lambda x: x // 0)
    with ct.debug_nans():
        assert f(np.array([1, 2])).tolist() == [0, 0]


def test_an_optimizer_that_overflows_names_its_op():
    w, b = ct.var("w", np.zeros(3)), ct.var("b", np.zeros(2))
    holder, opt = [w, b], optim.SGD(lr=1e30)
    with ct.debug_nans():
        loss = (w * 1e20).sum() + b.sum()
        with pytest.raises(NonFiniteError, match="multiply gives infinity in 3 of"):
            opt.step(holder, loss.backward())
    assert np.isfinite(w.numpy()).all()


def _planted():
    """Name, the op that makes it, a function of a good and a bad argument, how the call is made."""
    good, zero, large = np.full(3, 2.0, np.float32), np.zeros(3, np.float32), np.full(3, 1e30)
    twice = ct.jit(lambda x: ct.log(x) * 2)
    return {
        "log": ("log", ct.log, good, -good),
        "log of zero": ("log", ct.log, good, zero),
        "sqrt": ("sqrt", ct.sqrt, good, -good),
        "divide": ("divide", lambda x: 1 / x, good, zero),
        "zero by zero": ("divide", lambda x: x / x, good, zero),
        "square": ("multiply|power|square", lambda x: x * x, good, large),
        "exp": ("exp", lambda x: ct.exp(x * 100), good * 0.1, good),
        "power": ("power|pow", lambda x: ct.pow(x, 0.3), good, -good),
        "sum": ("sum", lambda x: ct.sum(x * 2e8, axis=0), good, large),
        "product": ("matmul", lambda x: ct.outer(x, x) @ x, good, large * 1e-12),
        "in a reduction": ("log", lambda x: ct.log(x).sum(), good, -good),
        "of a gradient": ("", ct.grad(lambda x: ct.sqrt(x).sum()), good, zero),
        "vmap": ("log", ct.vmap(ct.log), good, -good),
        "checkpoint": (
            "log",
            ct.grad(ct.checkpoint(lambda x: (ct.log(x) ** 2).sum())),
            good,
            -good,
        ),
        "jit in jit": ("log", lambda x: twice(x) + 1, good, -good),
        "one of many": ("log", lambda x: ct.log(ct.concat([x] * 99)), good, good - [0, 0, 5]),
        "moved": ("log", lambda x: ct.log(ct.outer(x, x + 9)).T, good, -good),
        "cumulative": ("cumulative_sum", lambda x: ct.cumulative_sum(x * 2e8), good, large),
        "rows": ("log", lambda x: ct.softmax(ct.log(x)), good, -good),
        "in float64": ("log", lambda x: ct.log(x.astype(ct.float64)), good, -good),
    }


PLANTED = _planted()


@pytest.mark.parametrize("name", PLANTED)
def test_planted_ones_are_all_found(how, name):
    op, function, good, bad = PLANTED[name]
    step = ct.jit(lambda x: function(x))
    good, bad = good.astype(np.float32), bad.astype(np.float32)
    with ct.debug_nans():
        assert np.isfinite(step(good).numpy()).all()
        for call in (step, lambda x: step.loop(np.stack([good, x]))):
            with pytest.raises(NonFiniteError, match=rf"({op}) gives (NaN|infinity)") as caught:
                call(bad)
            assert "test_nans.py:" in str(caught.value)
        assert np.isfinite(step(good).numpy()).all()


def test_sums_in_parts_are_looked_at_when_they_are_whole():
    """Of a long array, and of columns beside rows: no part of them overflows."""

    @ct.jit
    def whole(x):
        return ct.sum(x)

    @ct.jit
    def columns(x):
        shares = x / x.sum(axis=1, keepdims=True)
        return (shares * x * 64).sum(axis=0)

    ones = np.ones((4096, 64), np.float32)
    with ct.debug_nans():
        for step, large in ((whole, 4e33), (columns, 2e35)):
            assert np.isfinite(step(ones).numpy()).all()
            assert np.isfinite(step(ones * np.float32(large / 100)).numpy()).all()
            with pytest.raises(NonFiniteError, match="sum gives infinity"):
                step(ones * np.float32(large))


@pytest.mark.parametrize("written", [False, True], ids=["a result", "a variable"])
@pytest.mark.parametrize("shape", [(), (3,), (40, 50)], ids=str)
def test_what_is_made_of_constants_is_looked_at(shape, written):
    """It would be computed while the function is compiled."""
    v = ct.var("v", np.ones(shape, np.float32))

    @ct.jit
    def step(x):
        root = ct.sqrt(ct.full(shape, -1.0))
        v.assign(root if written else v + 1)
        return x if written else (x, root)

    with ct.debug_nans(), pytest.raises(NonFiniteError, match="sqrt gives NaN"):
        step(X)
    assert (v.numpy() == 1).all()
    step(X)
    assert np.isnan(v.numpy()).all() if written else (v.numpy() == 2).all()


@pytest.mark.parametrize("name", sorted(NEVER_LARGER))
def test_ops_that_are_not_looked_at_have_finite_results(name):
    rng, op = np.random.default_rng(0), ops.find(name)
    sizes = [np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal, 0.0, 1.0, np.pi / 2]
    ends = np.float32([*sizes, *(-x for x in sizes)])
    for sample in op.samples(rng):
        shapes = [(np.shape(x), np.asarray(x).dtype.kind) for x in sample.inputs]
        inputs = [rng.choice(ends if k == "f" else [False, True], shape) for shape, k in shapes]
        with np.errstate(all="ignore"):
            out = op(*map(ct.asarray, inputs), **sample.attrs)
        assert np.isfinite(np.asarray(out)).all()
