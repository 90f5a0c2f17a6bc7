"""float16 and bfloat16: stored in two bytes, computed in float32, rounded once an op.

The judge is PyTorch, which rounds each op once too; where it lacks something, NumPy in float32
with one rounding. Compiled code must give the same bits as eager, because both compute the same.
"""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, ops, optim

NARROW = ["float16", "bfloat16"]
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(5, 37)).astype("float32"), RNG.normal(size=(37, 5)).astype("float32")


def _bits(x):
    return np.ascontiguousarray(x.numpy() if isinstance(x, ct.Tensor) else x)


def _same(got, expected):
    got, expected = _bits(got), _bits(expected)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    with np.errstate(invalid="ignore"):  # NaN of every kind
        np.testing.assert_array_equal(got.astype("float64"), expected.astype("float64"))


# One rounding of a result in float32 can go the other way where the functions differ in their last
# bits, so at most one step of the narrow type is allowed.
def _close(got, expected, dtype, steps=1):
    step = 2.0**-10 if dtype == "float16" else 2.0**-7
    np.testing.assert_allclose(got, expected, rtol=steps * step, atol=steps * step / 64)


# -- the dtype itself ---------------------------------------------------------------------------


def test_bfloat16_is_a_dtype():
    assert ct.bfloat16 == ct.tensor([1.0], dtype="bfloat16").dtype
    assert ct.bfloat16.name == "bfloat16" and ct.bfloat16.itemsize == 2
    assert "bfloat16" in dir(ct)
    assert ct.zeros(2, dtype=ct.bfloat16).astype("float16").dtype == ct.float16


def test_bfloat16_is_imported_when_it_is_named():
    code = (
        "import sys, cotangent as ct; assert 'ml_dtypes' not in sys.modules; ct.bfloat16;"
        "assert 'ml_dtypes' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(
    ("other", "joint"),
    [("float32", "float32"), ("float64", "float64"), ("int64", None), ("bool", None),
     ("uint8", None)],
)  # fmt: skip
def test_promotion(dtype, other, joint):
    x, y = ct.ones(2, dtype=dtype), ct.ones(2, dtype="float32").astype(other)
    assert ct.where(np.array([True, False]), x, y).dtype == (joint or dtype)
    assert (x + 1).dtype == (x * 2.5).dtype == (x * np.float64(2)).dtype == dtype


def test_promotion_of_the_two():
    x, y = ct.ones(2, dtype="float16"), ct.ones(2, dtype="bfloat16")
    assert (x + y).dtype == (y * x).dtype == ct.float32
    assert ct.jit(lambda a, b: a + b)(x, y).dtype == ct.float32


@pytest.mark.parametrize("dtype", NARROW)
def test_values_in_and_out(dtype):
    x = ct.tensor([[1.5, -2.0]], dtype=dtype)
    assert repr(x) == f"Tensor([[ 1.5, -2. ]], dtype={dtype})".replace(
        "[[ 1.5, -2. ]]", "[[1.5, -2]]" if dtype == "bfloat16" else "[[ 1.5, -2. ]]"
    )
    assert x.tolist() == [[1.5, -2.0]] and x[0, 1].item() == -2.0 and type(x[0, 1].item()) is float
    assert x.numpy().dtype == dtype and np.asarray(x).dtype == dtype
    assert ct.tensor(x.numpy()).dtype == ct.asarray(x.numpy()).dtype == dtype
    assert pickle.loads(pickle.dumps(x)).dtype == dtype
    w = ct.var("w", x)
    assert copy.deepcopy(w).dtype == dtype and w.requires_grad
    w.assign([[1.0, 2.0]])
    assert w.dtype == dtype and w.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("dtype", NARROW)
def test_weights_on_disk(dtype, tmp_path):
    model = nn.Linear(3, 2)
    model.weight = ct.var("weight", model.weight, dtype=dtype)
    ct.save(tmp_path / "w.safetensors", model)
    found = ct.load(tmp_path / "w.safetensors")
    assert found["weight"].dtype == dtype
    other = nn.Linear(3, 2)
    other.weight = ct.var("weight", np.zeros((2, 3)), dtype=dtype)
    other.load_state_dict(found)
    _same(other.weight, model.weight)
    nn.Linear(3, 2).load_state_dict(found)  # floats of any width fit


def test_pytorch_reads_and_writes_the_same_file(tmp_path):
    torch = pytest.importorskip("torch")
    files = pytest.importorskip("safetensors.torch")
    values = torch.tensor([1.0, 1 + 2**-7, -3e38], dtype=torch.bfloat16)
    files.save_file({"x": values}, tmp_path / "t.safetensors")
    _same(ct.load(tmp_path / "t.safetensors")["x"], ct.tensor(values.tolist(), dtype="bfloat16"))
    ct.save(tmp_path / "c.safetensors", {"x": ct.tensor(values.tolist(), dtype="bfloat16")})
    assert torch.equal(files.load_file(tmp_path / "c.safetensors")["x"], values)


# -- casts --------------------------------------------------------------------------------------

# Ties, the ends of the range, subnormal numbers, and what two roundings would get wrong.
EDGES = np.array(
    [0.0, -0.0, 65504, 65519.99, 65520, 1e300, -1e300, np.inf, np.nan, 3e38, 3.4e38, 2**-24,
     2**-25, 2**-25 * (1 + 1e-12), 1 + 2**-8 + 2**-40, 1 + 2**-11 + 2**-40, 1 + 2**-11, 1 + 2**-8,
     1e-40, 1e-45]
)  # fmt: skip


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("source", ["float64", "float32", "int64", "uint32", "int8", "bool"])
def test_casts_to_narrow(dtype, source):
    values = np.concatenate([EDGES, RNG.normal(size=20000) * 2.0 ** RNG.integers(-30, 30, 20000)])
    x = ct.asarray(values).astype(source)

    def f(x):
        return x.astype(dtype)

    _same(ct.jit(f)(x), f(x))
    torch = pytest.importorskip("torch")
    if (dtype, source) != ("float16", "float64"):  # there, PyTorch rounds twice
        told = torch.tensor(x.numpy().tolist(), dtype=getattr(torch, source))
        told = told.to(getattr(torch, dtype)).to(torch.float64).numpy()
        np.testing.assert_array_equal(f(x).numpy().astype("float64"), told)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("target", ["float64", "float32", "int32", "uint8", "bool", *NARROW])
def test_casts_of_every_value(dtype, target):
    x = ct.asarray(np.arange(65536, dtype=np.uint16).view(ct.zeros(1, dtype=dtype).dtype))
    assert x.dtype == dtype

    def f(x):
        return x.astype(target)

    _same(ct.jit(f)(x), f(x))
    finite = np.isfinite(x.numpy().astype("float32"))
    if target in ("float64", "float32"):
        torch = pytest.importorskip("torch")
        told = torch.tensor(np.arange(65536) - 65536 * (np.arange(65536) > 32767))
        told = told.to(torch.int16).view(getattr(torch, dtype)).to(getattr(torch, target))
        np.testing.assert_array_equal(f(x).numpy()[finite], told.numpy()[finite])


# -- ops ----------------------------------------------------------------------------------------

FUNCTIONS = {
    "matmul": lambda x, y: x @ y,
    "sum": lambda x, y: x.sum(),
    "sum of columns": lambda x, y: x.sum(axis=0),
    "exp": lambda x, y: x.exp(),
    "softmax": lambda x, y: x.softmax(-1),
    "max": lambda x, y: x.max() + y.max(),
    "mean": lambda x, y: (x * x).mean(),
    "arithmetic": lambda x, y: (x + 1.5) * x - x / 3.0,
    "abs": lambda x, y: abs(x).sqrt(),
    "tanh": lambda x, y: (x.tanh() + x.sigmoid()).relu(),
    "comparison": lambda x, y: x * (x > 0),
}


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_against_pytorch(dtype, name):
    torch = pytest.importorskip("torch")
    function = FUNCTIONS[name]
    if name == "comparison":
        told = function(*(torch.tensor(v).to(getattr(torch, dtype)) for v in (A, B)))
        x = ct.tensor(A, dtype=dtype)
        _close(ct.where(x > 0, x, 0).numpy().astype("f8"), told.double().numpy(), dtype)
        return
    x, y = (ct.tensor(v, dtype=dtype) for v in (A, B))
    told = function(*(torch.tensor(v).to(getattr(torch, dtype)) for v in (A, B)))
    got = function(x, y)
    assert got.dtype == dtype
    _close(got.numpy().astype("f8"), told.double().numpy(), dtype, steps=2)


MORE = {
    "sort": lambda x, y: ct.sort(x),
    "slice": lambda x, y: x[:, ::2].T,
    "concat": lambda x, y: ct.concat([x.T, y]),
    "pad": lambda x, y: ct.pad(x, 1, value=1.5),
    "take": lambda x, y: ct.take(x, [0, 3, 1]),
    "where": lambda x, y: ct.where(x > 0, x, y.T),
    "running sums": lambda x, y: ct.cumulative_sum(x, 1),
    "spread": lambda x, y: ct.mean(x * x) / ct.std(y),
    "set": lambda x, y: x.at[0].set(2.0),
    "add": lambda x, y: x.at[[0, 0]].add(y.T[:2]),
    "gradient": lambda x, y: ct.grad(lambda a: (ct.log_softmax(a) * 0.5).sum())(x),
    "matmul gradient": lambda x, y: ct.grad(lambda a: (a @ y).tanh().sum())(x),
    "a float32 part": lambda x, y: (x.astype("float32") @ y.astype("float32")).astype(x.dtype),
    "integers": lambda x, y: (x * 3).astype("int32"),
    "argmax": lambda x, y: ct.argmax(x, 1),
    "product": lambda x, y: ct.prod(x, 1),
    "transpose": lambda x, y: x.T + y,
    "constant": lambda x, y: x + ct.full((37,), 0.1, dtype=x.dtype),
    "gelu": lambda x, y: nn.gelu(x),
    "layer norm": lambda x, y: nn.LayerNorm(37)(x.astype("float32")).astype(x.dtype),
}  # fmt: skip


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "comparison"] + list(MORE))
def test_compiled_is_eager(dtype, name):
    function = (FUNCTIONS | MORE)[name]
    x, y = (ct.tensor(v, dtype=dtype) for v in (A, B))
    eager, compiled = function(x, y), ct.jit(function)(x, y)
    assert eager.dtype == compiled.dtype and eager.shape == compiled.shape
    got, expected = (v.numpy().astype("f8") for v in (compiled, eager))
    _close(got, expected, dtype)
    assert np.mean(got == expected) > 0.99


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("name", sorted(ops.REGISTRY))
def test_every_op_keeps_the_dtype_of_its_rule(dtype, name):
    record = ops.REGISTRY[name]
    for sample in record.samples(np.random.default_rng(0)):
        arrays = [np.asarray(x) for x in sample.inputs]
        if not any(a.dtype == "float64" for a in arrays) or name == "astype":
            continue
        inputs = [ct.tensor(a, dtype=dtype if a.dtype == "float64" else None) for a in arrays]
        out = record(*inputs, **sample.attrs)
        assert (out.shape, out.dtype) == record.infer(*inputs, **sample.attrs)
        wide = [x.astype("float32") if x.dtype == dtype else x for x in inputs]
        _same(out, record(*wide, **sample.attrs).astype(out.dtype))  # computed wide, rounded once


def test_long_sums_do_not_stick():
    ones = ct.ones(5000, dtype="bfloat16")
    assert ones.sum().item() == 4992.0  # 5000, rounded once; steps of one would stick at 256
    assert ct.jit(lambda x: x.sum())(ones).item() == 4992.0


# -- training -----------------------------------------------------------------------------------


def _steps(dtype, compiled, make):
    start = np.random.default_rng(1)
    w = ct.var("w", start.normal(size=(4, 3)), dtype=dtype)
    b = ct.var("b", np.zeros(4), dtype=dtype)
    x = ct.tensor(start.normal(size=(8, 3)), dtype=dtype)
    opt = make()

    def step(x):
        loss = ((x @ w.T + b).tanh() ** 2).mean()
        opt.step([w, b], loss.backward())
        return loss

    run = ct.jit(step) if compiled else step
    losses = [run(x).item() for _ in range(20)]
    assert w.dtype == b.dtype == w.value.numpy().dtype == dtype
    return losses, opt.state_dict({"w": w, "b": b})


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("make", [lambda: optim.SGD(0.1, momentum=0.9), lambda: optim.Adam(0.01)])
def test_training(dtype, make):
    eager, state = _steps(dtype, False, make)
    compiled, _ = _steps(dtype, True, make)
    assert compiled[-1] < 0.9 * compiled[0]
    _close(np.array(compiled), np.array(eager), dtype, steps=2)
    # Updates happen in float32: a decay of 0.999 would be 1 in bfloat16.
    assert {v.dtype.name for k, v in state.items() if not k.endswith("step")} == {"float32"}


@pytest.mark.parametrize("dtype", NARROW)
def test_rms_norm_has_the_eps_of_the_dtype(dtype):
    got = nn.rms_norm(ct.zeros(4, dtype=dtype) + 2.0**-6).numpy().astype("float32")
    eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]
    _close(got, 2.0**-6 / np.sqrt(2.0**-12 + eps), dtype, steps=2)


def test_explain_shows_the_dtype():
    f = ct.jit(lambda x: x * 2)
    f(ct.ones(3, dtype="bfloat16"))
    assert "bfloat16[3] = argument(0)" in str(f.explain())


# -- tails of one lane -------------------------------------------------------------------------

KINDS = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"]


@pytest.mark.parametrize("wide", KINDS)
def test_a_tail_of_one_lane_leaves_its_neighbours_alone(wide):
    """LLVM 22 stores what was cut off to fewer bits with all of its bits, if a constant mask has
    one lane: over the beginning of the next row, which is there already where columns come first.
    """
    rng = np.random.default_rng(0)
    x = ct.asarray(rng.integers(-90, 90, (40, 17))).astype(ct.int32).astype(getattr(ct, wide))

    @ct.jit
    def step(x):
        y = x - ct.max(x, axis=0, keepdims=True)
        return [y.astype(getattr(ct, name)) for name in KINDS if name != "uint8"]

    with ct.no_grad():
        for eager, compiled in zip(step._function(x), step(x), strict=True):
            wanted, got = (t.astype(ct.float64).numpy() for t in (eager, compiled))
            np.testing.assert_array_equal(got, wanted, err_msg=str(compiled.dtype))


@pytest.mark.parametrize("shape", [(), (5,), (6, 3)])
def test_two_roundings_stay_two(shape):
    """LLVM 22 made one of them, by a function that compiled code does not have."""
    rng = np.random.default_rng(0)
    x, y = (ct.asarray(rng.uniform(0.5, 2, shape)).astype(ct.float16) for _ in range(2))
    f = ct.jit(lambda x, y: ct.tanh(ct.remainder(y, x)))
    with ct.no_grad():
        np.testing.assert_array_equal(f(x, y).numpy(), f._function(x, y).numpy())
