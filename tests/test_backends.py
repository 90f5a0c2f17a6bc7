"""Every op, layer, loss and optimizer on other backends than NumPy, and moves between them.

The judge is NumPy: the same records, evaluated by another array module, must give the same values.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from places import OTHER, PLACES, STRICT, TORCH, need

import cotangent as ct
from cotangent import backends, nn, ops, optim, random, testing
from cotangent.backends import ArrayModuleBackend, base
from cotangent.backends.modules import BEYOND_THE_STANDARD
from cotangent.errors import ArgumentError, ArgumentTypeError, BackendError, BoundsError, ShapeError
from cotangent.optim import flat

SEED = 0
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


@pytest.fixture(params=PLACES, ids="-".join)
def place(request):
    need(request.param)
    return request.param


@pytest.fixture
def torch_place():
    need(TORCH)
    return TORCH


def _same_bits(got, expected):
    got, expected = got.numpy(), expected.numpy()
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    assert got.tobytes() == expected.tobytes()


# -- every record of the registry --------------------------------------------------------------

# What a place lacks: (place, dtype) -> ops. Each must say so.
LACKS = {("torch", "uint16"): {"bitwise_invert"}}


def _samples(name):
    record = ops.REGISTRY[name]
    return record, [*record.samples(np.random.default_rng(SEED)), *record.special]


def _arrays(sample, dtype):
    arrays = [np.asarray(x) for x in sample.inputs]
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays]


def _lacking(place, name, arrays):
    return any(name in LACKS.get((place[0], x.dtype.name), ()) for x in arrays)


# Functions of the module's own library (exp, tanh, ...) differ in their last bits; sums in order.
UNITS = 16


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(ops.REGISTRY))
def test_every_op_gives_the_values_of_numpy(place, name, dtype):
    record, samples = _samples(name)
    for sample in samples:
        arrays = _arrays(sample, dtype)
        expected = record(*map(ct.asarray, arrays), **sample.attrs)
        inputs = [ct.asarray(x).to(*place) for x in arrays]
        if _lacking(place, name, arrays):
            with pytest.raises(BackendError, match=f"{name}: the backend {place[0]}.* cannot do"):
                record(*inputs, **sample.attrs)
            continue
        got = record(*inputs, **sample.attrs)
        assert (got.backend, got.device) == place
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        if not testing.is_float(got.dtype):
            np.testing.assert_array_equal(got.numpy(), expected.numpy())
            continue
        units = UNITS * EPS[got.dtype.name]
        size = max([1.0, *(np.max(np.abs(x), initial=0, where=np.isfinite(x)) for x in arrays)])
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=units, atol=units * size)


@pytest.mark.parametrize("name", sorted(ops.REGISTRY))
def test_every_derivative_gives_the_values_of_numpy_and_stays_in_place(place, name):
    record, samples = _samples(name)
    for sample in samples:
        if testing.no_derivative(record, sample):
            continue
        arrays = _arrays(sample, "float64")

        def derivatives(where, arrays=arrays, attrs=sample.attrs):
            rng = np.random.default_rng(1)
            xs = [ct.asarray(x).to(*where) for x in arrays]
            ts = [ct.asarray(rng.uniform(-1, 1, x.shape).astype(x.dtype)) for x in arrays]
            ts = [t.to(*where) for t in ts]
            y, pullback = ct.vjp(lambda *xs: record(*xs, **attrs), *xs)
            g = ct.asarray(rng.uniform(-1, 1, y.shape)).to(*where)
            _, forward = ct.jvp(lambda *xs: record(*xs, **attrs), xs, ts)
            return [part for part in (*pullback(g), forward) if part is not None]

        pairs = zip(derivatives(place), derivatives(("numpy", "cpu")), strict=True)
        for got, expected in pairs:
            assert (got.backend, got.device) == place
            np.testing.assert_allclose(
                got.numpy(), expected.numpy(), rtol=1e-13, atol=1e-13, err_msg=name
            )


def test_the_standard_is_enough_for_all_ops_but_two():
    """What else a backend has to bring is the list `BEYOND_THE_STANDARD`."""
    need(STRICT)
    bare = ArrayModuleBackend("bare", base.find_backend(*STRICT).xp._xp)
    beyond = set()
    for name in ops.REGISTRY:
        record, samples = _samples(name)
        for sample in samples:
            arrays = [np.asarray(x) for x in sample.inputs]
            try:
                record(*[ct.Tensor(bare.copy_in(x, x.dtype)) for x in arrays], **sample.attrs)
            except BackendError:
                beyond.add(name)
    assert beyond == {"scatter_add", "put_rows"}
    assert set(BEYOND_THE_STANDARD) == {"add_rows", "put_rows"}


@pytest.mark.parametrize("dtype", sorted(d.name for d in ct.dtypes.SUPPORTED))
def test_values_of_every_dtype_go_there_and_back(place, dtype):
    x = ct.tensor(np.arange(6).reshape(2, 3).T[::-1], dtype=dtype)  # with negative strides
    if dtype == "float16" and place[0] != "torch":
        with pytest.raises(BackendError, match="has no dtype float16"):
            x.to(*place)
        return
    moved = x.to(*place)
    assert moved.dtype == x.dtype and moved.shape == x.shape and moved.backend == place[0]
    _same_bits(moved.to("numpy"), x)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float32"])
def test_reductions_keep_their_dtype(place, dtype):
    """The standard widens the sums of small integers; ours wrap around."""
    x = ct.tensor([[100, 27], [100, 1]], dtype=dtype)
    for call in (ct.sum, ct.max, ct.cumulative_sum):
        expected, got = call(x, axis=1), call(x.to(*place), axis=1)
        assert got.dtype == expected.dtype == x.dtype
        np.testing.assert_array_equal(got.numpy(), expected.numpy())
    assert (x.to(*place).T @ x.to(*place)).dtype == x.dtype


def test_bfloat16_goes_to_torch_and_back(torch_place):
    pytest.importorskip("ml_dtypes")
    x = ct.tensor([1.0, -2.5, np.inf], dtype="bfloat16")
    moved = x.to("torch")
    assert moved.dtype == x.dtype
    _same_bits(moved.to("numpy"), x)
    assert (moved * moved).tolist() == [1.0, 6.25, np.inf]
    assert (moved * 2.0).dtype == x.dtype


def test_a_value_that_is_shared_with_numpy_never_changes(place):
    source = np.ones(3, np.float32)
    x = ct.tensor(source)
    moved = x.to(*place)
    source[:] = 5
    back = moved.numpy()
    assert not back.flags.writeable
    assert moved.tolist() == back.tolist() == [1.0, 1.0, 1.0]


# -- random numbers ----------------------------------------------------------------------------

LOGITS = np.linspace(-3, 3, 11)
DRAWS = {
    "bits": lambda g: g.bits((3, 5), 1),
    "uniform": lambda g: g.uniform((1001,), -0.3, 0.7),
    "uniform, float64": lambda g: g.uniform((1001,), -0.3, 0.7, dtype="float64"),
    "normal": lambda g: g.normal((11, 91), 0.5, 1.7),
    "normal, float64": lambda g: g.normal((1001,), 0.5, 1.7, dtype="float64"),
    "truncated_normal": lambda g: g.truncated_normal((1001,), -0.5, 3.0),
    "truncated_normal, float64": lambda g: g.truncated_normal((1001,), dtype="float64"),
    "bernoulli": lambda g: g.bernoulli((1001,), 0.3),
    "bernoulli of a tensor": lambda g: g.bernoulli((5, 11), ct.tensor(np.linspace(0, 1, 11))),
    "randint": lambda g: g.randint(-5, 2**40, (1001,)),
    "randint, int8": lambda g: g.randint(-100, 100, (1001,), dtype="int8"),
    "permutation": lambda g: g.permutation(1001),
    "categorical": lambda g: g.categorical(ct.tensor(LOGITS), (501,)),
    "categorical, float64": lambda g: g.categorical(ct.asarray(LOGITS), (501,)),
}


def test_the_table_has_every_kind_of_draw():
    kinds = {name for name in vars(random.Generator) if not name.startswith("_")}
    assert kinds - {"reseed"} == {name.split(",")[0].split(" ")[0] for name in DRAWS}


@pytest.mark.parametrize("draw", DRAWS)
def test_random_numbers_are_bit_for_bit_the_same(place, draw):
    ours, theirs = random.Generator(2**40 + 7), random.Generator(2**40 + 7)
    for _ in range(3):
        expected = DRAWS[draw](ours)
        with ct.backend(*place):
            got = DRAWS[draw](theirs)
        assert (got.backend, got.device) == place
        _same_bits(got, expected)


def test_probabilities_say_where_the_draw_is_made(place):
    p, logits = ct.tensor([0.0, 1.0]).to(*place), ct.tensor([0.0, -np.inf]).to(*place)
    assert random.bernoulli((2,), p).backend == place[0]
    assert random.bernoulli((2,), p).tolist() == [False, True]
    drawn = random.categorical(logits, (3,))
    assert (drawn.backend, drawn.tolist()) == (place[0], [0, 0, 0])


# -- where things are made ---------------------------------------------------------------------

MAKERS = {
    "tensor": lambda: ct.tensor([[1.0, 2.0]]),
    "tensor of a tensor": lambda: ct.tensor(ct.tensor([1, 2])),
    "asarray": lambda: ct.asarray(np.ones(2)),
    "var": lambda: ct.var("w", [1.0, 2.0]),
    "zeros": lambda: ct.zeros((2, 3)),
    "ones": lambda: ct.ones(4, dtype="int32"),
    "full": lambda: ct.full((2,), 7),
    "zeros_like of data": lambda: ct.zeros_like([1.0]),
    "arange": lambda: ct.arange(2, 9, 3),
    "linspace": lambda: ct.linspace(0.0, 1.0, 5),
    "eye": lambda: ct.eye(3),
    "init": lambda: nn.init.orthogonal((3, 4)),
    "layer": lambda: nn.Linear(3, 2).weight,
}


@pytest.mark.parametrize("name", MAKERS)
def test_backend_says_where_tensors_are_made(place, name):
    ct.manual_seed(3)
    expected = MAKERS[name]()
    assert expected.backend == "numpy"
    ct.manual_seed(3)
    with ct.backend(*place):
        with ct.backend("numpy"):
            assert ct.zeros(1).backend == "numpy"
        made = MAKERS[name]()
    assert (made.backend, made.device) == place
    np.testing.assert_allclose(made.numpy(), expected.numpy(), rtol=1e-6, atol=1e-7)
    assert ct.zeros(1).backend == "numpy"


def test_the_place_is_restored_after_an_error(place):
    with pytest.raises(ZeroDivisionError), ct.backend(*place):
        raise ZeroDivisionError
    assert ct.zeros(1).backend == "numpy"


def test_one_context_may_be_entered_again(place):
    context = ct.backend(*place)
    with context, context:
        assert ct.zeros(1).backend == place[0]
    assert ct.zeros(1).backend == "numpy"


def test_operations_follow_their_inputs_whatever_the_context(place):
    x = ct.tensor([1.0, 2.0])
    y = x.to(*place)
    with ct.backend(*place):
        assert (x * 2 + np.ones(2, np.float32)).backend == "numpy"
        assert x[[1, 0]].backend == ct.softmax(x, 0).backend == "numpy"
        assert ct.zeros_like(x).backend == nn.dropout(x).backend == "numpy"
    assert (y * 2 + np.ones(2, np.float32)).backend == place[0]
    assert y[[1, 0]].backend == ct.softmax(y, 0).backend == place[0]
    assert ct.zeros_like(y).backend == ct.ones_like(y).backend == place[0]
    assert nn.dropout(y).backend == ct.tensor(y).backend == place[0]


def test_raw_data_goes_where_the_tensors_beside_it_are(place):
    x = ct.tensor([[1.0, 2.0], [3.0, 4.0]]).to(*place)
    raw = np.array([[0.5, -1.0], [2.0, 0.0]], np.float32)
    plain = ct.tensor([[1.0, 2.0], [3.0, 4.0]])
    calls = {
        "an operand": lambda t: t + raw,
        "a number of NumPy": lambda t: t * np.float32(2),
        "a list": lambda t: ct.matmul(t, [[1.0], [2.0]]),
        "changed before it meets the tensor": lambda t: t @ ct.exp(ct.reshape(raw, (2, 2))),
        "a mask": lambda t: ct.where(raw > 0, t, 0.0),
        "concat": lambda t: ct.concat([raw, t], axis=1),
        "an index": lambda t: t[np.array([1, 1, 0])],
        "a mask as an index": lambda t: t[raw > 0],
        "at": lambda t: t.at[np.array([1])].add(raw[:1]),
        "at, multiplied": lambda t: t.at[np.array([1])].multiply(raw[:1]),
        "a loss": lambda t: nn.mse_loss(t, raw),
        "classes": lambda t: nn.cross_entropy_loss(t, np.array([1, 0])),
        "probabilities": lambda t: nn.binary_cross_entropy(ct.sigmoid(t), (raw > 0) * 1.0),
        "take_along_axis": lambda t: ct.take_along_axis(t, np.array([[1], [0]]), 1),
        "sort": lambda t: ct.sort(t, descending=True),
        "einsum": lambda t: ct.einsum("ij,kj->ik", t, raw),
        "pad": lambda t: ct.pad(t, ((1, 0), (0, 2))),
        "searchsorted": lambda t: ct.searchsorted([1.5, 3.5], t),
    }
    for name, call in calls.items():
        got, expected = call(x), call(plain)
        assert got.backend == place[0], name
        np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6, err_msg=name)


def test_single_numbers_of_numpy_go_with_any_backend(place):
    x = ct.tensor([1.0, 2.0]).to(*place)
    assert (x * ct.tensor(3.0)).tolist() == (ct.tensor(3.0) * x).tolist() == [3.0, 6.0]
    assert (x / ct.tensor(2.0)).backend == place[0]


# -- mixing ------------------------------------------------------------------------------------


def test_mixing_names_both_places_and_the_fix(place):
    x, y = ct.tensor([1.0, 2.0]), ct.tensor([1.0, 2.0]).to(*place)
    where = base.place_of(base.find_backend(*place)).replace("(", r"\(").replace(")", r"\)")
    said = rf"add: tensors of the backends {where} and numpy do not mix \(\(2,\) on .*\.to\("
    for a, b in ((x, y), (y, x), (ct.var("w", [1.0, 2.0]), y)):
        with pytest.raises(BackendError, match=said):
            a + b
    for call in (
        lambda: ct.concat([x, y]),
        lambda: ct.where(x > 0, y, y),
        lambda: y[ct.tensor([0, 1])],
        lambda: nn.mse_loss(y, x),
        lambda: nn.Linear(2, 1)(y),
    ):
        with pytest.raises(BackendError, match="do not mix"):
            call()


def test_two_devices_of_one_backend_do_not_mix():
    need(STRICT), need(OTHER)
    x, y = (ct.tensor([1.0, 2.0]).to(*where) for where in (STRICT, OTHER))
    with pytest.raises(BackendError, match=r"strict \(CPU_DEVICE\) and array_api_strict \(device1"):
        x + y
    assert (x.to(*OTHER) + y).device == "device1"
    with pytest.raises(BackendError, match=r"multiply: .* do not mix"):
        ct.tensor(1.0).to(*STRICT) * y  # single numbers, too, unless they are NumPy's


def test_a_tensor_of_another_backend_is_not_assigned(place):
    w = ct.var("w", [1.0, 2.0])
    y = ct.tensor([3.0, 4.0]).to(*place)
    with pytest.raises(BackendError, match="assign: w is on the backend numpy, and the tensor of"):
        w.assign(y)
    assert w.tolist() == [1.0, 2.0]
    w.assign(y.to("numpy"))
    w.move(*place)
    with pytest.raises(BackendError, match=f"assign: w is on the backend {place[0]}"):
        w.assign(ct.tensor([1.0, 2.0]))
    w.assign([5.0, 6.0])
    assert (w.backend, w.tolist()) == (place[0], [5.0, 6.0])


def test_a_cotangent_of_another_backend_is_refused(place):
    x = ct.tensor([1.0, 2.0]).to(*place)
    _, pullback = ct.vjp(lambda x: x * x, x)
    with pytest.raises(BackendError, match="pullback: the value of the cotangent is on the"):
        pullback(ct.tensor([1.0, 1.0]))
    assert pullback(np.ones(2))[0].tolist() == [2.0, 4.0]


# -- moves -------------------------------------------------------------------------------------


def test_gradients_flow_through_a_move_and_come_back(place):
    w = ct.var("w", [1.0, 2.0])
    loss = (w.to(*place) ** 3).sum()
    assert loss.backend == place[0]
    grads = loss.backward()
    assert (grads.wrt(w).backend, grads.wrt(w).tolist()) == ("numpy", [3.0, 12.0])
    there = ct.var("v", [1.0, 2.0])
    there.move(*place)
    slope = (there.to("numpy") * 2.0).sum().backward().wrt(there)
    assert (slope.backend, slope.tolist()) == (place[0], [2.0, 2.0])


def test_a_move_has_derivatives_of_every_order(place):
    x = np.array([0.5, -1.25])

    def f(x):
        return ct.sum(ct.sin(x.to(*place)).to("numpy") * x)

    testing.check_gradients(f, x, order=3)
    bent = ct.grad(lambda x: ct.sum(ct.grad(f)(x)))(ct.asarray(x))
    np.testing.assert_allclose(bent.numpy(), 2 * np.cos(x) - x * np.sin(x), rtol=1e-14)


def test_a_move_to_where_it_is_changes_nothing(place):
    x = ct.tensor([1.0]).to(*place)
    assert x.to(*place) is x


def test_raw_data_that_is_moved_has_a_place(place):
    x = ct.exp([0.0, 0.0]).to(*place)
    assert (x + 1).tolist() == [2.0, 2.0] and x.backend == place[0]
    with pytest.raises(BackendError, match="do not mix"):
        x + ct.tensor([1.0, 2.0])


def test_a_move_says_where_it_is(place):
    x = ct.tensor([1.0, 2.0]).to(*place)
    assert repr(x) == (
        f"Tensor([1., 2.], dtype=float32, backend='{place[0]}', device='{place[1]}')"
    )
    assert "backend" not in repr(x.to("numpy"))
    w = ct.var("w", 3.0)
    w.move(*place)
    assert repr(w).endswith(f"device='{place[1]}', name='w', tracked)")


def test_values_come_out(place):
    x = ct.tensor([[1.0, 2.0]]).to(*place)
    assert np.asarray(x).tolist() == x.tolist() == [[1.0, 2.0]]
    assert float(x[0, 1]) == x.max().item() == 2.0
    assert int(ct.tensor(7).to(*place)) == 7 and bool(ct.tensor(1.0).to(*place))
    assert [row.tolist() for row in x] == [[1.0, 2.0]]
    assert [1, 2, 3][ct.tensor(1).to(*place)] == 2


def test_tensors_and_variables_keep_their_place_in_copies_and_pickles(place):
    x, w = ct.tensor([1.0, 2.0]).to(*place), ct.var("w", [1.0, 2.0])
    w.move(*place)
    with ct.backend("numpy"):
        for made in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
            assert (made.backend, made.device, made.tolist()) == (*place, [1.0, 2.0])
        for made in (pickle.loads(pickle.dumps(w)), copy.deepcopy(w)):
            assert (made.backend, made.device, made.tolist()) == (*place, [1.0, 2.0])
            assert made.name == "w" and made.requires_grad and made.leaf is not w.leaf
    plain = pickle.dumps(ct.tensor([1.0]))
    with ct.backend(*place):
        assert pickle.loads(plain).backend == "numpy"


class Net(nn.Module):
    """Something of everything: embedding, norms with buffers, dropout, a list."""

    def __init__(self):
        self.table = nn.Embedding(5, 6)
        self.parts = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.LayerNorm(8), nn.Dropout(0.3)]
        self.generator = random.Generator(1)
        self.out = nn.Linear(8, 3)

    def forward(self, index):
        x = self.table(index)
        for part in self.parts:
            x = ct.tanh(part(x))
        return self.out(nn.dropout(x, 0.1, self.training, self.generator))


def test_a_module_moves_in_place_and_keeps_its_variables(place):
    net = Net()
    before = net.named_parameters()
    values = {name: np.array(v) for name, v in net.state_dict().items()}
    old = net.out.weight.detach()
    assert net.to(*place) is net
    assert [(n, v) for n, v in before] == net.named_parameters()
    for name, variable in nn.module.named_variables(net):
        expected = "numpy" if name.startswith("generator") else place[0]
        assert variable.backend == expected, name
    assert old.backend == "numpy"  # what was read before stays
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, values[name])
    net.to("numpy")
    assert net.out.weight.backend == "numpy"


def test_a_move_that_fails_moves_nothing():
    need(STRICT)
    model = {"w": ct.var("w", [1.0]), "half": ct.var("half", [1.0], dtype="float16")}
    holder = nn.Sequential()
    holder.parts = model
    with pytest.raises(BackendError, match="has no dtype float16"):
        holder.to(*STRICT)
    assert {v.backend for v in model.values()} == {"numpy"}


def test_variables_do_not_move_inside_compiled_or_mapped_functions(torch_place):
    w = ct.var("w", [1.0, 2.0])
    for wrap in (ct.jit, ct.vmap):
        for there in ("torch", "numpy"):
            with pytest.raises(ct.TraceError, match="variables cannot be moved"):
                wrap(lambda x, there=there: (w.move(there), x)[1])(ct.tensor([1.0, 2.0]))
    assert w.backend == "numpy" and (w * 2).tolist() == [2.0, 4.0]


def test_a_compiled_function_makes_no_tensors_elsewhere(torch_place):
    f = ct.jit(lambda x: x + ct.ones(2))
    with pytest.raises(BackendError, match="jit compiles for the CPU"), ct.backend("torch"):
        f(ct.tensor([1.0, 2.0]))
    assert f(ct.tensor([1.0, 2.0])).tolist() == [2.0, 3.0]


def test_weights_are_saved_and_loaded_from_anywhere(place, tmp_path):
    ct.manual_seed(1)
    there, here = Net().to(*place), Net()
    ct.save(tmp_path / "net.safetensors", there)
    here.load_state_dict(ct.load(tmp_path / "net.safetensors"))
    for (_, a), (_, b) in zip(here.named_parameters(), there.named_parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    fresh = Net().to(*place)
    fresh.load_state_dict(here.state_dict())
    assert fresh.out.weight.backend == place[0]
    np.testing.assert_array_equal(fresh.out.weight.numpy(), here.out.weight.numpy())


# -- training ----------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": lambda: optim.SGD(0.05),
    "SGD, Nesterov": lambda: optim.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda: optim.Adam(0.01, weight_decay=0.01),
    "AdamW": lambda: optim.AdamW(0.01),
    "Adagrad": lambda: optim.Adagrad(0.05),
    "RMSprop": lambda: optim.RMSprop(0.01, momentum=0.5),
    "Lion": lambda: optim.Lion(0.01, weight_decay=0.1),
    "a schedule": lambda: optim.Adam(lambda step: 0.02 * 0.9**step),
}


def test_the_table_has_every_optimizer():
    known = {n for n in dir(optim) if isinstance(getattr(optim, n), type)}
    named = {name.split(",")[0] for name in OPTIMIZERS}
    apart = {"Optimizer", "LBFGS", "ReduceLROnPlateau", "Schedule"}
    assert known - apart <= named


def _train(net, opt, x, y, steps):
    losses = []
    for _ in range(steps):
        loss = nn.cross_entropy_loss(net(x), y)
        opt.step(net, loss.backward())
        losses.append(loss.item())
    return losses


INDEX = np.random.default_rng(5).integers(0, 5, 16)
CLASS = np.random.default_rng(6).integers(0, 3, 16)


def _seeded():
    ct.manual_seed(11)
    return Net()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_gives_the_losses_of_numpy(place, name):
    steps = 20 if place[0] == "torch" else 4  # `array_api_strict` is slow
    ct.set_default_dtype("float64")
    try:
        net, opt = _seeded(), OPTIMIZERS[name]()
        expected = _train(net, opt, INDEX, CLASS, steps)
        there, other = _seeded().to(*place), OPTIMIZERS[name]()
        ct.manual_seed(0), ct.manual_seed(11)
        ct.random.DEFAULT.draw.assign(random.DEFAULT.draw)
        _seeded()  # so that dropout draws the same
        got = _train(there, other, ct.tensor(INDEX).to(*place), CLASS, steps)
    finally:
        ct.set_default_dtype("float32")
    # The sign that Lion takes, and the square root of Adam, magnify the last bits of a sum.
    np.testing.assert_allclose(got, expected, rtol=1e-7)
    assert expected[-1] < expected[0] or steps < 20
    for (path, a), (_, b) in zip(net.named_parameters(), there.named_parameters(), strict=True):
        assert b.backend == place[0]
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-5, atol=1e-8, err_msg=path)
    for cells in (other._memory.known(v) for v in there.parameters()):
        assert {c.backend for c in cells.values()} == {place[0]}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_after_a_move_there_and_back(torch_place, name):
    """Also that parameters which were updated as one vector no longer are."""
    target = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    x = np.random.default_rng(1).normal(size=(4, 5)).astype("float32")

    def run(moves):
        ct.manual_seed(2)
        net, opt, losses = nn.Linear(5, 3), OPTIMIZERS[name](), []
        for where in moves:
            net.to(*where)
            for _ in range(3):
                loss = nn.mse_loss(net(x), target)
                opt.step(net, loss.backward())
                losses.append(loss.item())
        return losses, {k: np.array(v) for k, v in opt.state_dict(net).items()}

    expected, state = run([("numpy", None)] * 3)
    got, other = run([("numpy", None), torch_place, ("numpy", None)])
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert state.keys() == other.keys()
    for key in state:
        np.testing.assert_allclose(other[key], state[key], rtol=1e-4, atol=1e-5, err_msg=key)


def test_the_state_of_an_optimizer_is_loaded_to_where_the_parameter_is(torch_place):
    net, opt = nn.Linear(2, 1).to("torch"), optim.Adam(0.1)
    opt.step(net.bias, [1.0])
    saved = opt.state_dict(net)
    other = optim.Adam(0.1)
    other.load_state_dict(net, saved)
    assert {c.backend for c in other._memory.known(net.bias).values()} == {"torch"}
    other.step(net.bias, [1.0])
    opt_cells = other._memory.known(net.bias)
    assert opt_cells["step"].item() == 2


def test_lbfgs_works_on_host_numbers_and_puts_parameters_back(torch_place):
    w = ct.var("w", [3.0, -2.0], dtype="float64")
    w.move("torch")
    opt = optim.LBFGS()
    opt.step([w], lambda: ((w - np.array([1.0, 2.0])) ** 2).sum())
    assert w.backend == "torch"
    np.testing.assert_allclose(w.numpy(), [1.0, 2.0], rtol=1e-6)


def test_clipping_and_arithmetic_of_gradients(place):
    w = ct.var("w", [3.0, 4.0])
    w.move(*place)
    grads = (0.5 * w * w).sum().backward()
    clipped, norm = optim.clip_norm(grads, 1.0)
    assert norm.item() == pytest.approx(5.0)
    np.testing.assert_allclose(clipped.wrt(w).numpy(), [0.6, 0.8], rtol=1e-6)
    assert (grads + 2.0 * grads).wrt(w).tolist() == [9.0, 12.0]
    assert clipped.wrt(w).backend == place[0]


X = np.random.default_rng(7).normal(size=(6, 4)).astype("float32")
P = np.abs(X[:, :1]) / (1 + np.abs(X[:, :1]))
LOSSES = {
    "mse_loss": lambda t: nn.mse_loss(t, X * 0.5),
    "l1_loss": lambda t: nn.l1_loss(t, X * 0.5),
    "smooth_l1_loss": lambda t: nn.smooth_l1_loss(t, X * 0.5),
    "huber_loss": lambda t: nn.huber_loss(t, X * 0.5),
    "quantile_loss": lambda t: nn.quantile_loss(t, X * 0.5, 0.3),
    "poisson_nll_loss": lambda t: nn.poisson_nll_loss(t, np.abs(X)),
    "gaussian_nll_loss": lambda t: nn.gaussian_nll_loss(t, X * 0.5, np.abs(X) + 0.1),
    "kl_div_loss": lambda t: nn.kl_div_loss(ct.log_softmax(t, -1), np.full((6, 4), 0.25, "f4")),
    "nll_loss": lambda t: nn.nll_loss(ct.log_softmax(t, -1), np.array([0, 1, 2, 3, 0, 1])),
    "cross_entropy_loss": lambda t: nn.cross_entropy_loss(
        t, np.array([0, 1, 2, 3, 0, 1]), sample_weight=np.arange(6.0)
    ),
    "soft_cross_entropy_loss": lambda t: nn.soft_cross_entropy_loss(t, np.full((6, 4), 0.25, "f4")),
    "binary_cross_entropy": lambda t: nn.binary_cross_entropy(ct.sigmoid(t[:, :1]), P),
    "binary_cross_entropy_with_logits": lambda t: nn.binary_cross_entropy_with_logits(t[:, :1], P),
}


def test_the_table_has_every_loss():
    endings = ("_loss", "cross_entropy", "_with_logits")
    assert {name for name in dir(nn) if name.endswith(endings)} == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients(place, name):
    slopes = []
    for where in (("numpy", None), place):
        t = ct.var("t", X)
        t.move(*where)
        loss = LOSSES[name](t)
        assert loss.backend == where[0]
        slopes.append((loss.numpy(), loss.backward().wrt(t).numpy()))
    for got, expected in zip(slopes[1], slopes[0], strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


PLAIN_LAYERS = sorted(
    name
    for name in dir(nn)
    if isinstance(getattr(nn, name), type)
    and issubclass(getattr(nn, name), nn.Module)
    and name not in ("Module", "Sequential", "Linear", "Embedding", "Dropout", "BatchNorm1d")
)


@pytest.mark.parametrize("name", PLAIN_LAYERS)
def test_layers_and_their_gradients(torch_place, name):
    kind = getattr(nn, name)
    try:
        make = kind if name not in ("LayerNorm", "RMSNorm") else (lambda: kind(4))
        make()
    except TypeError:
        pytest.skip(f"{name} takes arguments; it has tests of its own")
    slopes = []
    for where in (("numpy", None), torch_place):
        layer, t = make().to(*where), ct.var("t", X)
        t.move(*where)
        out = layer(t)
        grads = (out * np.arange(out.size, dtype="f4").reshape(out.shape)).sum().backward()
        slopes.append([out.numpy(), grads.wrt(t).numpy()])
        slopes[-1] += [grads.wrt(p).numpy() for p in layer.parameters()]
    for got, expected in zip(slopes[1], slopes[0], strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def test_vmap_on_another_backend(torch_place):
    x = ct.tensor(X).to("torch")
    w = ct.var("w", np.ones(4))
    w.move("torch")
    got = ct.vmap(lambda row: (row * w).sum() + ct.sin(row[0]))(x)
    assert got.backend == "torch"
    np.testing.assert_allclose(got.numpy(), X.sum(1) + np.sin(X[:, 0]), rtol=1e-5)


def test_the_jacobian_on_another_backend(torch_place):
    x = ct.tensor([1.0, 2.0]).to("torch")
    found = ct.jacobian(lambda x: x * x)(x)
    assert (found.backend, found.tolist()) == ("torch", [[2.0, 0.0], [0.0, 4.0]])


# -- errors ------------------------------------------------------------------------------------


def test_shape_errors_are_the_usual_ones(place):
    x = ct.tensor([[1.0, 2.0]]).to(*place)
    with pytest.raises(ShapeError, match=r"matmul: \(1, 2\) @ \(1, 2\)"):
        x @ x
    with pytest.raises(BoundsError, match="index 7 is out of range"):
        ct.take(x, np.array([0, 7]), axis=1)
    with pytest.raises(BoundsError, match="index -4 is out of range"):
        x[np.array([0, -4])]


def test_what_a_backend_cannot_do_names_op_and_backend(torch_place):
    x = ct.tensor([1, 2], dtype="uint32").to("torch")
    with pytest.raises(BackendError, match=r"add: the backend torch \(cpu\) cannot .* uint32 \(2"):
        x + x
    assert (x.astype("int64") + 1).tolist() == [2, 3]


def test_a_missing_function_names_op_and_backend():
    need(STRICT)
    xp = base.find_backend(*STRICT).xp._xp
    bare = ArrayModuleBackend("bare", xp)
    x = ct.Tensor(bare.copy_in(np.ones((2, 2)), np.dtype("float64")))
    with pytest.raises(BackendError, match=r"scatter_add: the backend bare .*it lacks add_rows"):
        ops.scatter_add(x, np.array([0, 1]), rows=2)
    assert x.backend == "bare" and x.device == "default"
    with pytest.raises(ArgumentError, match=r"functions .'add_row'. are neither of the standard"):
        ArrayModuleBackend("bare", xp, functions={"add_row": len})


def test_unknown_backends_and_devices_are_named(torch_place):
    with pytest.raises(BackendError, match=r"no backend 'jaks'; known are .*numpy, torch"):
        ct.backend("jaks")
    with pytest.raises(ArgumentTypeError, match="named by text such as 'torch', not 3"):
        ct.tensor([1.0]).to(3)
    with pytest.raises(BackendError, match="'numpy' has the device 'cpu' only, not 'cuda'"):
        ct.tensor([1.0]).to("numpy", device="cuda")
    with pytest.raises(BackendError, match="'torch' cannot use the device 'abacus'"):
        ct.backend("torch", device="abacus")
    with pytest.raises(BackendError, match="a backend named 'torch' is registered already"):
        backends.register("torch", lambda device: None)


def test_a_device_is_one_object_under_all_its_names(torch_place):
    assert base.find_backend("torch") is base.find_backend("torch", "cpu")
    import torch

    assert base.find_backend("torch", torch.device("cpu")) is base.find_backend("torch")


def test_torch_that_is_missing_says_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import cotangent as ct\n"
        "try: ct.backend('torch')\n"
        "except ct.BackendError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs PyTorch and array-api-compat" in done.stdout
    assert "pip install 'cotangent[torch]'" in done.stdout


def test_torch_is_imported_only_when_it_is_asked_for(torch_place):
    code = (
        "import sys, cotangent as ct\n"
        "ct.tensor([1.0]) * 2\n"
        "print('torch' in sys.modules)\n"
        "ct.tensor([1.0]).to('torch')\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


class _Entry:
    def __init__(self, name, value, load):
        self.name, self.value, self.load = name, value, load


@pytest.fixture
def entries(monkeypatch):
    """Entry points that other packages would have; and the table of backends as it was."""
    import importlib.metadata

    known, made = dict(base._MAKERS), dict(base._MADE)
    found = []
    asked = []

    def entry_points(group):
        asked.append(group)
        return found

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    yield found, asked
    for table, before in ((base._MAKERS, known), (base._MADE, made)):
        table.clear()
        table.update(before)


def test_backends_of_other_packages_are_found_by_entry_point(entries):
    need(STRICT)
    found, asked = entries
    xp = base.find_backend(*STRICT).xp._xp

    def load():
        return lambda device: ArrayModuleBackend("guest", xp)

    found.append(_Entry("guest", "guest_package:make", load))
    ct.backend("numpy")
    assert not asked  # known names are not looked up
    x = ct.tensor([1.0, 2.0]).to("guest")
    assert x.backend == "guest" and (x * 2).tolist() == [2.0, 4.0]
    assert pickle.loads(pickle.dumps(x)).backend == "guest"
    assert asked == ["cotangent.backends"]


def test_an_entry_point_that_fails_is_named(entries):
    found, _ = entries

    def load():
        raise ImportError("no module named guest_package")

    found.append(_Entry("guest", "guest_package:make", load))
    with pytest.raises(BackendError, match=r"'guest' \(guest_package:make\) cannot be loaded: no"):
        ct.backend("guest")
    with pytest.raises(BackendError, match=r"known are .*guest, numpy"):
        ct.backend("ghost")


# -- the compiler ------------------------------------------------------------------------------


def test_compiled_functions_refuse_other_backends(torch_place):
    w = ct.var("w", [1.0, 2.0])
    x = ct.tensor([1.0, 2.0])
    step = ct.jit(lambda x: (x * w).sum())
    with pytest.raises(BackendError, match=r"torch \(cpu\).*ct\.jit.*\.to\('numpy'\)"):
        step(x.to("torch"))
    assert step(x).item() == 5.0
    with pytest.raises(BackendError, match=r"torch \(cpu\).*ct\.jit.*\.to\('numpy'\)"):
        step(x.to("torch"))
    with pytest.raises(BackendError, match=r"torch \(cpu\).*ct\.jit.*\.to\('numpy'\)"):
        step.loop(x.to("torch"))
    closed = x.to("torch")
    with pytest.raises(BackendError, match="jit compiles for the CPU"):
        ct.jit(lambda x: x * closed)(x)
    with pytest.raises(ct.TraceError, match=r"ct\.jit compiles for the CPU; move tensors before"):
        ct.jit(lambda x: x.to("torch"))(x)
    w.move("torch")
    with pytest.raises(BackendError, match=r"torch \(cpu\).*ct\.jit.*\.to\('numpy'\)"):
        step(x)
    w.move("numpy")
    assert step(x).item() == 5.0


def test_numpy_keeps_updating_small_parameters_as_one_vector(torch_place):
    net = nn.Linear(3, 2)
    opt = optim.SGD(0.1)
    grads = nn.mse_loss(net(np.ones((1, 3), "f4")), np.zeros((1, 2), "f4")).backward()
    opt.step(net, grads)
    assert isinstance(opt._plan, flat.Plan) and len(opt._plan.groups) == 1
