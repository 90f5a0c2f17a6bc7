"""Every op record, by its own samples: two judges of the derivatives, and tests of the judges."""

from __future__ import annotations

import numpy as np
import pytest

import cotangent as ct
from cotangent import ops, testing
from cotangent.errors import Error
from cotangent.ops import Primitive, Sample

SEED = 0


def _rows(which: str) -> list:
    """One row per record and sample; the names come from the records alone."""
    return [
        pytest.param(name, i, id=f"{name}-{i}")
        for name, record in sorted(ops.REGISTRY.items())
        for i in range(len(_list(record, which)))
    ]


def _list(record: Primitive, which: str) -> list[Sample]:
    if which == "special":
        return list(record.special)
    return record.samples(np.random.default_rng(SEED))


def _get(name: str, index: int, which: str = "samples") -> tuple[Primitive, Sample]:
    record = ops.REGISTRY[name]
    return record, _list(record, which)[index]


@pytest.mark.parametrize("name", sorted(ops.REGISTRY))
def test_record_is_documented(name):
    testing.check_documented(ops.REGISTRY[name])
    assert ops.REGISTRY[name].name == name


@pytest.mark.parametrize("check", testing.SAMPLE_CHECKS)
@pytest.mark.parametrize(("name", "index"), _rows("samples"))
def test_sample(name, index, check):
    testing.SAMPLE_CHECKS[check](*_get(name, index))


@pytest.mark.parametrize("check", testing.DERIVATIVE_CHECKS)
@pytest.mark.parametrize(("name", "index"), _rows("samples"))
def test_derivative(name, index, check):
    record, sample = _get(name, index)
    reason = testing.no_derivative(record, sample)
    if reason:
        pytest.skip(reason)
    testing.DERIVATIVE_CHECKS[check](record, sample)


@pytest.mark.parametrize(("name", "index"), _rows("special"))
def test_special_value(name, index):
    testing.check_special(*_get(name, index, "special"))


# -- the registry ------------------------------------------------------------------------------


def _copy(name: str, new: str, **changes) -> Primitive:
    """A record like `name` with some of its fields changed."""
    old = ops.REGISTRY[name]
    fields = {
        f: getattr(old, f)
        for f in ("kind", "infer", "eval", "samples", "vjp", "jvp", "saves", "lower",
                  "uniform_from", "special")
    }  # fmt: skip
    return Primitive(new, old.doc, **(fields | changes))


@pytest.fixture
def planted():
    """Registers records, and takes them out again."""
    names = []

    def plant(record: Primitive) -> Primitive:
        ops.register(record)
        names.append(record.name)
        return record

    yield plant
    for name in names:
        ops.unregister(name)


def test_a_name_can_be_taken_once(planted):
    record = planted(_copy("exp", "exp_twin"))
    with pytest.raises(Error, match="'exp_twin' is registered already"):
        ops.register(record)
    assert ops.find("exp_twin") is record


def test_a_faithful_copy_passes(planted):
    testing.check_record(planted(_copy("tanh", "tanh_twin")))


# -- planted errors: each judge must see what it is there for ----------------------------------


def _first(record: Primitive) -> Sample:
    return _list(record, "samples")[0]


def test_a_derivative_off_by_a_thousandth_is_caught(planted):
    wrong = (lambda t, out, x: t * out * 1.001,)
    record = planted(_copy("exp", "exp_off", vjp=wrong, jvp=wrong))
    with pytest.raises(testing.CheckError, match="JVP of exp_off for input 0 against central"):
        testing.check_jvp(record, _first(record))
    testing.check_adjoint(record, _first(record))  # blind to it: both rules are wrong alike
    with pytest.raises(testing.CheckError):
        testing.check_record(record)


def test_a_vjp_that_is_not_the_adjoint_is_caught(planted):
    right = ops.REGISTRY["matmul"]
    wrong = (right.vjp[0], lambda g, out, a, b: right.vjp[1](g, out, a, b) * 1.001)
    record = planted(_copy("matmul", "matmul_off", vjp=wrong))
    testing.check_jvp(record, _first(record))  # the JVP is right
    with pytest.raises(testing.CheckError, match="<g, JVP> against <VJP, t> of matmul_off"):
        testing.check_adjoint(record, _first(record))


def test_a_vjp_of_the_wrong_shape_is_caught(planted):
    record = planted(_copy("add", "add_off", vjp=(lambda g, *_: g, lambda g, *_: g)))
    with pytest.raises(testing.CheckError, match="cotangent of input 1 is float64"):
        testing.check_adjoint(record, _list(record, "samples")[1])


def test_a_wrong_second_derivative_is_caught(planted):
    rule = (lambda t, out, x: t * out.detach(),)
    record = planted(_copy("exp", "exp_flat", vjp=rule, jvp=rule))
    testing.check_jvp(record, _first(record))
    testing.check_adjoint(record, _first(record))
    with pytest.raises(testing.CheckError, match="the VJP of exp_flat"):
        testing.check_second_order(record, _first(record))


def test_a_rule_that_reads_what_it_does_not_save_is_caught(planted):
    record = planted(_copy("multiply", "multiply_off", saves=(0,)))
    with pytest.raises(Error):
        testing.check_adjoint(record, _first(record))


def test_a_wrong_shape_rule_is_caught(planted):
    record = planted(_copy("reshape", "reshape_off", infer=lambda x, shape: (x.shape, x.dtype)))
    with pytest.raises(testing.CheckError, match="the shape rule says"):
        testing.check_shape_rule(record, _first(record))


def test_a_wrong_special_value_is_caught(planted):
    wrong = [Sample((np.array(-np.inf),), {}, np.array(1.0))]
    record = planted(_copy("exp", "exp_edge", special=wrong))
    with pytest.raises(testing.CheckError, match="exp_edge"):
        testing.check_special(record, wrong[0])


# -- the public helper -------------------------------------------------------------------------


def test_check_gradients_accepts_what_is_right():
    x, y = np.array([0.5, -1.0, 2.0]), np.array([[1.0], [2.0]])
    testing.check_gradients(lambda a, b: ((a * b).tanh() + a.exp()).sum(), x, y, order=3)
    testing.check_gradients(lambda a: (a.exp(), a * a), x)


def test_check_gradients_sees_a_lost_path():
    with pytest.raises(testing.CheckError, match="central differences"):
        testing.check_gradients(lambda x: (x * x.detach()).sum(), [1.0, 2.0])


# -- conventions at ties and edges that the records promise ------------------------------------


def _slope(f, *xs, argnums=0):
    return ct.grad(lambda *a: f(*a).sum(), argnums)(*map(ct.asarray, xs))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ties_share_the_slope(dtype):
    x = np.array([2.0, 2.0, 1.0, 2.0], dtype)
    got = _slope(lambda t: ct.max(t), x)
    assert got.dtype == dtype
    np.testing.assert_array_equal(
        got.numpy(), np.array([1, 1, 0, 1], dtype) / np.dtype(dtype).type(3)
    )
    for f in (ct.maximum, ct.minimum):
        a, b = _slope(f, np.ones(1, dtype), np.ones(1, dtype), argnums=(0, 1))
        assert (a.item(), b.item()) == (0.5, 0.5)


def test_max_keeps_half_precision():
    assert _slope(lambda t: ct.max(t), np.ones(2, "float16")).dtype == "float16"


@pytest.mark.parametrize(
    ("f", "at", "slope"),
    [
        (lambda x: ops.absolute(x), 0.0, 0.0),
        (ct.relu, 0.0, 0.0),
        (ct.sqrt, 0.0, np.inf),
        (ct.log, 0.0, np.inf),
        (ct.sigmoid, -1000.0, 0.0),
        (ct.sigmoid, 1000.0, 0.0),
        (ct.softplus, 1000.0, 1.0),
        (ct.softplus, -1000.0, 0.0),
        (ct.tanh, 1000.0, 0.0),
    ],
)
def test_slope_at_an_edge(f, at, slope):
    assert ct.grad(f)(at).item() == slope
