"""Backward, Gradients, and the transformations, against closed forms, mpmath and PyTorch."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref

import mpmath
import numpy as np
import pytest

import cotangent as ct
from cotangent import ops, testing
from cotangent.config import STATE
from cotangent.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError


@pytest.fixture(autouse=True)
def _state_is_restored():
    yield
    assert (STATE.depth, STATE.grad, STATE.trace) == (0, True, None)


def _var(name="w", data=(1.0, 2.0, 3.0)):
    return ct.var(name, np.asarray(data), dtype="float64")


def _f64(x):
    return ct.asarray(np.asarray(x, np.float64))


# -- backward and Gradients --------------------------------------------------------------------


def test_backward_looks_up_by_variable():
    w, b, unused = _var(), _var("b", 0.5), _var("u", 1.0)
    grads = ((w * w).sum() + 3.0 * b).backward()
    np.testing.assert_array_equal(grads.wrt(w).numpy(), [2.0, 4.0, 6.0])
    assert grads.wrt(b).item() == 3.0 and grads.wrt(b).shape == ()
    assert grads.get(unused) is None
    assert w in grads and unused not in grads and "w" not in grads
    assert len(grads) == 2
    assert [v for v, _ in grads] == [w, b] or [v.name for v, _ in grads] == ["w", "b"]
    assert repr(grads) == "Gradients(w: (3,), b: ())"
    assert not grads.wrt(w).tracked


def test_gradients_arithmetic():
    w, b = _var(), _var("b", 2.0)
    g = (w.sum() * b).backward()
    twice, more = g * 2, 2 * g
    half = g / 2
    other = (b * b).backward()
    np.testing.assert_array_equal(twice.wrt(w).numpy(), more.wrt(w).numpy())
    assert half.wrt(b).item() == 3.0
    joint = g + other
    assert joint.wrt(b).item() == 6.0 + 4.0 and joint.wrt(w).shape == (3,)
    assert other.get(w) is None
    assert g.map(lambda t: -t).wrt(b).item() == -6.0
    assert g.norm().item() == pytest.approx(np.sqrt(3 * 4 + 36), rel=1e-15)
    with pytest.raises(TypeError):
        g + 1


def test_a_variable_is_its_own_gradient():
    b = _var("b", 2.0)
    assert b.backward().wrt(b).item() == 1.0


def test_a_variable_read_twice_and_one_of_size_one():
    w = _var("w", [[3.0]])
    grads = (w * w + w).backward()
    assert grads.wrt(w).shape == (1, 1) and grads.wrt(w).item() == 7.0


def test_assign_between_reads_counts_each_value():
    w = _var("w", 2.0)
    first = w * 3.0
    w.assign(10.0)
    grads = (first + w * w).backward()
    assert grads.wrt(w).item() == 3.0 + 20.0


def test_frozen_variables_get_nothing():
    w, v = _var(), _var("v")
    w.requires_grad = False
    grads = (w * v).sum().backward()
    assert grads.get(w) is None
    with pytest.raises(GradientError, match=r"w of shape \(3,\) had no part.*frozen"):
        grads.wrt(w)


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda w: (w * 2).backward(), GradientError, r"scalar.*shape \(3,\).*\.sum\(\)"),
        (lambda w: ct.tensor(1.0).backward(), GradientError, "nothing in this result is tracked"),
        (lambda w: w.detach().sum().backward(), GradientError, r"ct\.var"),
        (lambda w: (w > 0).astype("int64").sum().backward(), GradientError, "floating-point"),
        (lambda w: w.sum().backward().wrt(_var("v")), GradientError, r"v of shape \(3,\) had no"),
        (lambda w: w.sum().backward().wrt(ct.tensor(1.0)), ArgumentTypeError, "by variable"),
        (lambda w: w.sum().backward().get("w"), ArgumentTypeError, r"not by str.*ct\.grad"),
    ],
)
def test_errors_of_backward(make, kind, text):
    with pytest.raises(kind, match=text):
        make(_var())


def test_a_graph_is_consumed_once():
    w = _var()
    y = (w * w).sum()
    y.backward()
    with pytest.raises(GradientError, match=r"consumed by an earlier backward pass.*keep=True"):
        y.backward()
    z = (w * w).sum()
    a, b, c = z.backward(keep=True), z.backward(differentiable=True), z.backward()
    for g in (b, c):
        np.testing.assert_array_equal(g.wrt(w).numpy(), a.wrt(w).numpy())
    with pytest.raises(GradientError, match="consumed"):
        z.backward()


def test_a_shared_part_that_was_consumed_says_so():
    w = _var()
    shared = w.exp()
    shared.sum().backward()
    with pytest.raises(GradientError, match="consumed"):
        (shared * shared).sum().backward()
    with pytest.raises(GradientError, match="consumed"):
        (2.0 * shared).sum().backward()


def test_differentiable_backward():
    w = _var()
    g = (w**3).sum().backward(differentiable=True).wrt(w)
    assert g.tracked
    h = (g * g).sum().backward().wrt(w)  # d/dw of (3 w^2)^2 is 36 w^3
    np.testing.assert_allclose(h.numpy(), 36 * np.array([1.0, 8.0, 27.0]), rtol=1e-14)


def test_no_grad_records_nothing_and_can_be_entered_again():
    w = _var()
    quiet = ct.no_grad()
    with quiet, quiet:
        assert not (w * 2).tracked
    assert (w * 2).tracked
    with pytest.raises(KeyError), ct.no_grad():
        raise KeyError("inside")
    assert (w * 2).tracked


def test_a_pass_through_the_argument_of_a_transformation_counts_variables_only():
    w = _var("w", 2.0)

    def penalty(x):
        return (ct.grad(lambda z: w * z**3)(x)) ** 2  # (3 w x^2)^2

    seen = []

    def outer(x):
        grads = penalty(x).backward(keep=True)
        seen.append(grads)
        return penalty(x)

    ct.grad(outer)(_f64(1.5))
    assert len(seen[0]) == 1 and [v.name for v, _ in seen[0]] == ["w"]
    assert seen[0].norm().item() == abs(seen[0].wrt(w).item())


# -- memory ------------------------------------------------------------------------------------


def test_a_long_chain_differentiates_and_is_freed_without_the_collector():
    w = ct.var("w", 1.0)
    gc.collect()
    gc.disable()
    try:
        x = w * 1.0
        middle = None
        for i in range(100_000):
            x = x + 0.25
            if i == 50_000:
                middle = weakref.ref(x)
        first = weakref.ref(x)
        assert middle() is None  # the tape keeps no more than a rule reads
        assert x.backward(keep=True).wrt(w).item() == 1.0
        assert x.backward().wrt(w).item() == 1.0
        del x
        assert first() is None
        y = w * 1.0
        kept = []
        for _ in range(40_000):  # this one is dropped without a backward pass
            y = y * w
            if not kept:
                kept.append(weakref.ref(y))
        assert kept[0]() is not None
        del y
        assert kept[0]() is None
    finally:
        gc.enable()


def test_a_consumed_graph_lets_go_although_the_loss_is_kept():
    w = _var()
    gc.collect()
    gc.disable()
    try:
        hidden = w.exp()
        watch = weakref.ref(hidden)
        loss = (hidden * hidden).sum()
        del hidden
        assert watch() is not None
        loss.backward()
        assert watch() is None
        assert loss.item() > 0
    finally:
        gc.enable()


def test_the_result_of_grad_keeps_no_graph():
    g = ct.grad(lambda x: (x**3).sum())(_f64([1.0, 2.0]))
    assert not g.tracked
    value, g = ct.value_and_grad(lambda m: (m["w"] ** 3).sum())({"w": _var()})
    assert not value.tracked and all(not t.tracked for _, t in g)


def test_variables_die_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        w = _var()
        watch = weakref.ref(w)
        grads = (w * w).sum().backward()
        del w
        assert watch() is None
        assert list(grads) == []
    finally:
        gc.enable()


def test_a_deep_copy_of_a_model_has_gradients_of_its_own():
    model = {"w": _var(), "fixed": ct.tensor([1.0])}
    twin = copy.deepcopy(model)
    grads = (twin["w"] * 2).sum().backward()
    assert model["w"] not in grads
    assert grads.wrt(twin["w"]).tolist() == [2.0, 2.0, 2.0]
    twin["w"].assign(twin["w"] * 0)
    assert model["w"].tolist() == [1.0, 2.0, 3.0]
    again = pickle.loads(pickle.dumps(model))
    assert again["w"].name == "w" and again["w"].tolist() == [1.0, 2.0, 3.0]
    assert again["w"] in (again["w"] * 2).sum().backward()


# -- grad and value_and_grad -------------------------------------------------------------------


def test_argnums():
    f = lambda x, y: (x * y * y).sum()
    x, y = _f64([1.0, 2.0]), _f64([3.0, 4.0])
    assert ct.grad(f)(x, y).tolist() == [9.0, 16.0]
    assert ct.grad(f, 1)(x, y).tolist() == [6.0, 16.0]
    assert ct.grad(f, -1)(x, y).tolist() == [6.0, 16.0]
    both = ct.grad(f, (1, 0))(x, y)
    assert isinstance(both, tuple) and both[0].tolist() == [6.0, 16.0]
    assert ct.grad(f, (0,))(x, y)[0].tolist() == [9.0, 16.0]
    value, slope = ct.value_and_grad(f)(x, y)
    assert (value.item(), slope.tolist()) == (41.0, [9.0, 16.0])


def test_has_aux():
    f = lambda x: (x * x, {"double": x + x, "text": "kept"})
    (value, aux), slope = ct.value_and_grad(f, has_aux=True)(3.0)
    assert (value.item(), aux["double"].item(), aux["text"], slope.item()) == (9, 6, "kept", 6)
    assert not aux["double"].tracked
    slope, aux = ct.grad(f, has_aux=True)(3.0)
    assert (slope.item(), aux["double"].item()) == (6.0, 6.0)


class Line:
    """What a module looks like from here: an object with variables."""

    def __init__(self):
        self.weight = _var("weight", 2.0)
        self.parts = [_var("a", 1.0), {"b": _var("b", 3.0)}]
        self.note = "text"

    def __call__(self, x):
        return self.weight * x + self.parts[0] * self.parts[1]["b"]


def test_a_model_argument_gives_gradients():
    model = Line()
    value, grads = ct.value_and_grad(lambda m, x: m(x))(model, 5.0)
    assert value.item() == 13.0
    assert isinstance(grads, ct.Gradients) and len(grads) == 3
    assert grads.wrt(model.weight).item() == 5.0
    assert grads.wrt(model.parts[0]).item() == 3.0
    grads, slope = ct.grad(lambda m, x: m(x), (0, 1))(model, 5.0)
    assert (grads.wrt(model.parts[1]["b"]).item(), slope.item()) == (1.0, 2.0)
    part = ct.grad(lambda p: model(5.0))(model.parts)
    assert model.weight not in part and len(part) == 2


def test_an_argument_without_a_part_has_a_zero_gradient():
    for value in (1.0, np.inf, np.nan):
        g = ct.grad(lambda x, y: y * y)(_f64([value, 2.0]), 3.0)
        assert g.tolist() == [0.0, 0.0] and g.dtype == "float64"
    assert ct.grad(lambda x: 1.0)(2.0).item() == 0.0


def test_closures_see_outer_variables():
    w = _var("w", 3.0)
    g = ct.grad(lambda x: w * x * x)(_f64(2.0))
    assert g.item() == 12.0 and g.tracked
    assert g.backward().wrt(w).item() == 4.0
    assert ct.grad(lambda x: w * x)(w).item() == 3.0  # the closure is another path


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: ct.grad(lambda x: x * 2)(ct.ones(3)), GradientError, r"scalar.*\(3,\).*ct\.vjp"),
        (lambda: ct.grad(lambda x: x.sum())(np.arange(3)), GradientError, "int64.*no derivative"),
        (lambda: ct.grad(lambda x: x > 0)(1.0), GradientError, "bool"),
        (lambda: ct.grad(lambda x: (x, 1))(1.0), ArgumentTypeError, "has_aux=True"),
        (lambda: ct.grad(lambda x: x, has_aux=True)(ct.ones(2)), ArgumentTypeError, "a pair"),
        (lambda: ct.grad(lambda x: x, 1)(1.0), ArgumentError, "argnums=1 but only 1"),
        (lambda: ct.grad(ct.ones(()))(1.0), ArgumentTypeError, r"loss\.backward\(\)"),
        (lambda: ct.jvp(lambda x: x, (1.0,), ()), ArgumentError, "1 arguments but 0 tangents"),
        (lambda: ct.jvp(lambda x: x, (1.0,), ([1.0],)), ShapeError, r"tangent.*\(1,\).*\(\)"),
        (lambda: ct.vjp(lambda x: x, 1.0)[1]([1.0]), ArgumentTypeError, "nested like"),
        (lambda: ct.vjp(lambda x: x, 1.0)[1](ct.ones(2)), ShapeError, r"cotangent.*\(2,\).*\(\)"),
    ],
)
def test_errors_of_transformations(call, kind, text):
    with pytest.raises(kind, match=text):
        call()


@pytest.mark.parametrize("transform", [
    lambda f: ct.grad(f)(1.0),
    lambda f: ct.vjp(f, 1.0),
    lambda f: ct.jvp(f, (1.0,), (1.0,)),
    lambda f: ct.grad(lambda x: ct.grad(f)(x))(1.0),
])  # fmt: skip
def test_an_exception_inside_restores_the_state(transform):
    def fails(x):
        with ct.no_grad():
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            transform(fails)
        assert (STATE.depth, STATE.grad) == (0, True)
    assert ct.grad(lambda x: x * x)(3.0).item() == 6.0


# -- vjp and jvp -------------------------------------------------------------------------------


def test_vjp_of_containers_and_integers():
    x, n = _f64([1.0, 2.0]), np.array([1, 0])
    y, pullback = ct.vjp(lambda x, n: {"rows": ct.take(x, n) * 3.0, "s": (x.sum(),)}, x, n)
    assert y["rows"].tolist() == [6.0, 3.0] and not y["rows"].tracked
    back = pullback({"rows": np.array([1.0, 10.0]), "s": (100.0,)})
    assert len(back) == 2 and back[1] is None
    assert back[0].tolist() == [130.0, 103.0]
    assert pullback({"rows": np.zeros(2), "s": (1.0,)})[0].tolist() == [1.0, 1.0]  # once more


def test_jvp_of_containers_and_of_what_has_no_derivative():
    y, t = ct.jvp(lambda x: (x * x, [x > 0, 7.0]), (3.0,), (2.0,))
    assert (y[0].item(), t[0].item()) == (9.0, 12.0)
    assert y[1][0].item() is True and t[1][0].item() is False
    assert t[1][1].item() == 0.0


def test_jvp_skips_a_constant_part_that_is_infinite():
    _, t = ct.jvp(lambda x, y: (y, x), (1.0, np.inf), (1.0, 0.0))
    assert [v.item() for v in t] == [0.0, 1.0]
    _, t = ct.jvp(lambda x: ct.full((2,), np.inf), (1.0,), (1.0,))
    assert t.tolist() == [0.0, 0.0]


def test_tangents_and_cotangents_take_the_dtype_of_what_they_belong_to():
    _, t = ct.jvp(lambda x: x * x, (_f64(3.0),), (1.0,))
    assert t.dtype == "float64"
    _, pullback = ct.vjp(lambda x: x * x, _f64(3.0))
    assert pullback(1.0)[0].dtype == "float64"


# -- higher orders -----------------------------------------------------------------------------


def _third(f, x):
    return ct.grad(ct.grad(ct.grad(f)))(_f64(x)).item()


@pytest.mark.parametrize(
    ("f", "reference", "x"),
    [
        (ct.exp, mpmath.exp, 0.7),
        (ct.log, mpmath.log, 1.3),
        (ct.tanh, mpmath.tanh, 0.4),
        (ct.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), -0.8),
        (ct.softplus, lambda x: mpmath.log(1 + mpmath.exp(x)), 0.3),
        (ct.sqrt, mpmath.sqrt, 2.0),
        (lambda x: x**5 - 2 / x, lambda x: x**5 - 2 / x, 1.5),
        (lambda x: (x * ct.log(x)).exp(), lambda x: x**x, 1.2),
        (lambda x: ct.softmax(ct.tensor([0.0, 1.0]) * x)[1],
         lambda x: 1 / (1 + mpmath.exp(-x)), 0.6),
        (lambda x: ct.logsumexp(ct.tensor([0.5, 1.0]) * x * x),
         lambda x: mpmath.log(mpmath.exp(x * x / 2) + mpmath.exp(x * x)), 0.9),
    ],
)  # fmt: skip
def test_three_orders_against_mpmath(f, reference, x):
    expected = [float(mpmath.diff(reference, x, n)) for n in (1, 2, 3)]
    first, second = ct.grad(f), ct.grad(ct.grad(f))
    got = [first(_f64(x)).item(), second(_f64(x)).item(), _third(f, x)]
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_every_mixture_of_modes_gives_the_second_derivative():
    f = lambda x: x.exp() * x**3
    x, one = _f64(0.8), _f64(1.0)
    forward = lambda g: lambda z: ct.jvp(g, (z,), (one,))[1]
    backward = lambda g: lambda z: ct.vjp(g, z)[1](one)[0]
    expected = float(mpmath.diff(lambda z: mpmath.exp(z) * z**3, 0.8, 2))
    for outer in (forward, backward, ct.grad):
        for inner in (forward, backward, ct.grad):
            assert outer(inner(f))(x).item() == pytest.approx(expected, rel=1e-12)
    third = float(mpmath.diff(lambda z: mpmath.exp(z) * z**3, 0.8, 3))
    for chain in (
        (forward, forward, forward),
        (ct.grad, forward, backward),
        (forward, ct.grad, forward),
    ):
        a, b, c = chain
        assert a(b(c(f)))(x).item() == pytest.approx(third, rel=1e-10)


def test_perturbations_are_not_confused():
    inner = lambda x: ct.grad(lambda y: x + y)(_f64(1.0))
    assert ct.grad(lambda x: x * inner(x))(_f64(1.0)).item() == 1.0
    one = _f64(1.0)
    d = lambda f: lambda x: ct.jvp(f, (x,), (one,))[1]
    assert d(lambda x: x * d(lambda y: x + y)(one))(one).item() == 1.0
    assert d(lambda x: x * ct.grad(lambda y: x * y)(_f64(2.0)))(_f64(3.0)).item() == 6.0
    assert ct.grad(lambda x: x * d(lambda y: x * y * y)(_f64(2.0)))(_f64(3.0)).item() == 24.0


def test_hessian_vector_products():
    rng = np.random.default_rng(0)
    a, x, v = rng.normal(size=(4, 4)), rng.normal(size=4), rng.normal(size=4)
    f = lambda z: (z @ _f64(a) @ z) + (z**4).sum()
    expected = (a + a.T) @ v + 12 * x**2 * v
    over = ct.jvp(ct.grad(f), (_f64(x),), (_f64(v),))[1]
    under = ct.grad(lambda z: ct.jvp(f, (z,), (_f64(v),))[1])(_f64(x))
    twice = ct.grad(lambda z: (ct.grad(f)(z) * _f64(v)).sum())(_f64(x))
    for got in (over, under, twice):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


def test_a_gradient_penalty_reaches_the_variables():
    w = _var("w", [0.5, -1.0])
    x = _f64([0.3, 0.7])
    score = lambda z: (w * z).sum().tanh()
    loss = (ct.grad(score)(x) ** 2).sum()
    got = loss.backward().wrt(w).numpy()

    def penalty(values):
        s = np.tanh((values * x.numpy()).sum())
        return (((1 - s * s) * values) ** 2).sum()

    h = 1e-6
    expected = [
        (penalty(w.numpy() + h * e) - penalty(w.numpy() - h * e)) / (2 * h) for e in np.eye(2)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-8)


def test_a_model_inside_an_outer_transformation():
    model = Line()
    inner = ct.grad(lambda m, x: m(x) ** 2)

    def outer(x):  # d/dw of (w x + 3)^2 is 2 x (w x + 3)
        return inner(model, x).wrt(model.weight)

    assert ct.grad(outer)(_f64(5.0)).item() == pytest.approx(4 * 2 * 5 + 6, rel=1e-14)


def test_masked_infinite_slopes():
    f = lambda x: ct.log(x) ** 2
    assert ct.grad(ct.grad(f))(_f64(1.0)).item() == 2.0
    g = lambda x: ct.where(x > 1.0, ct.log(x), 2.0 * x)
    assert ct.grad(g)(_f64(0.0)).item() == 2.0
    assert ct.grad(ct.grad(g))(_f64(0.0)).item() == 0.0


@pytest.mark.parametrize("f", [
    ct.sqrt, ct.log, ops.reciprocal,
    lambda x: 1.0 / x, lambda x: x / x, lambda x: x**-0.5, lambda x: x**-2,
])  # fmt: skip
def test_a_mask_hides_an_infinite_slope_at_every_order(f):
    h = lambda x: ct.where(x > 0.0, f(x), 0.0 * x)
    for order in range(5):
        assert h(_f64(0.0)).item() == 0.0, order
        forward = lambda x, h=h: ct.jvp(h, (x,), (_f64(1.0),))[1]
        assert forward(_f64(0.0)).item() == 0.0, order
        h = ct.grad(h)


def test_first_and_second_order_of_compositions():
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(4, 3)), rng.normal(size=(3, 2))
    testing.check_gradients(lambda x, w: ct.log_softmax(x @ w).sum(axis=0), x, w)
    testing.check_gradients(lambda x, w: (x @ w).tanh().mean(axis=1, keepdims=True), x, w)
    testing.check_gradients(lambda x: ct.logsumexp(x, axis=(0, 1)), x, order=3)
    testing.check_gradients(lambda x: ct.softmax(x, axis=0) * x, x)
    testing.check_gradients(lambda x: ct.take(x.T.reshape(2, 6), [1, 1, 0], axis=1) / 3, x)
    testing.check_gradients(lambda x, w: (ct.exp(x[0]) @ w, x[0] @ x[1], w.mT @ x[1]), x, w)
    testing.check_gradients(lambda x: ct.min(x, axis=0) - ct.max(x, axis=1).sum(), x)


# -- against PyTorch on random compositions ----------------------------------------------------


def _random_program(seed):
    """A few dozen steps on a (3, 4) and a (4, 3) tensor, the same for both libraries."""
    rng = np.random.default_rng(seed)
    unary = ["tanh", "sigmoid", "exp_small", "sqrt_safe", "log_safe", "square", "relu_shifted"]
    steps = [(str(rng.choice(unary)), int(rng.integers(3))) for _ in range(8)]
    binary = [str(rng.choice(["add", "mul", "div_safe", "matmul"])) for _ in range(8)]

    def run(x, y, m):
        pool = [x, y.T, x * 0.5]
        for (name, i), op in zip(steps, binary, strict=True):
            v = pool[i]
            v = {
                "tanh": lambda v: m.tanh(v),
                "sigmoid": lambda v: m.sigmoid(v),
                "exp_small": lambda v: m.exp(m.tanh(v)),
                "sqrt_safe": lambda v: m.sqrt(v * v + 1.0),
                "log_safe": lambda v: m.log(v * v + 0.5),
                "square": lambda v: v**2 * 0.1,
                "relu_shifted": lambda v: m.relu(v + 0.123),
            }[name](v)
            u = pool[(i + 1) % 3]
            pool[(i + 2) % 3] = {
                "add": lambda a, b: a + b,
                "mul": lambda a, b: a * b * 0.3,
                "div_safe": lambda a, b: a / (b * b + 1.0),
                "matmul": lambda a, b: (a @ b.T) @ a * 0.1,
            }[op](v, u)
        return sum((p * p).mean() for p in pool) + ((x @ y) ** 2).mean()

    return run, rng.normal(size=(3, 4)), rng.normal(size=(4, 3))


@pytest.mark.parametrize("seed", range(12))
def test_random_compositions_against_torch(seed):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    run, x, y = _random_program(seed)
    tx, ty = (torch.tensor(a, requires_grad=True) for a in (x, y))
    expected = run(tx, ty, torch)
    slopes = torch.autograd.grad(expected, (tx, ty), create_graph=True)
    curves = torch.autograd.grad(sum((s * s).sum() for s in slopes), (tx, ty))
    f = lambda a, b: run(a, b, ct)
    value, got = ct.value_and_grad(f, (0, 1))(_f64(x), _f64(y))
    bend = ct.grad(lambda a, b: sum((s * s).sum() for s in ct.grad(f, (0, 1))(a, b)), (0, 1))
    np.testing.assert_allclose(value.item(), expected.item(), rtol=1e-12)
    for mine, theirs in zip((*got, *bend(_f64(x), _f64(y))), (*slopes, *curves), strict=True):
        theirs = theirs.detach().numpy()
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-10, atol=1e-12 * scale)


# -- threads -----------------------------------------------------------------------------------


def test_modes_belong_to_a_thread():
    w = _var("w", 2.0)
    inside, go = threading.Event(), threading.Event()
    seen = []

    def worker():
        seen.append((w * 2).tracked)  # the main thread is in no_grad now
        with ct.no_grad():
            inside.set()
            go.wait(10)
        seen.append(ct.grad(lambda x: x * x)(3.0).item())

    thread = threading.Thread(target=worker)
    with ct.no_grad():
        thread.start()
        inside.wait(10)
    assert (w * 2).tracked  # the worker is in no_grad now
    go.set()
    thread.join()
    assert seen == [True, 6.0]


def test_gradients_in_many_threads():
    results = {}

    def worker(n):
        for _ in range(50):
            results[n] = ct.grad(ct.grad(lambda x: x**3))(_f64(float(n))).item()

    threads = [threading.Thread(target=worker, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {n: 6.0 * n for n in range(4)}
