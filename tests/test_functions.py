"""The instruction emitter against NumPy; exp, log, tanh, logaddexp against mpmath and wider floats.

Kernels are built around single expressions, for the host and for other instruction sets."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cotangent.compiler.codegen import functions, powers, trigonometry
from cotangent.compiler.codegen.emitter import Emitter, Value
from cotangent.dtypes import INTEGERS, bool_, float32, float64, uint8
from cotangent.errors import DTypeError
from cotangent.ops.convert import saturating_cast
from cotangent.ops.primitive import REGISTRY

llvm = pytest.importorskip("llvmlite.binding", reason="machine code needs llvmlite")
mpmath = pytest.importorskip("mpmath", reason="the judge of the functions is mpmath")
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()

WIDER = {float32: np.float64, float64: np.longdouble}
COMPUTED = (bool_, *INTEGERS, float32, float64)
HOST = dict(llvm.get_host_cpu_features())
SETS = ["x86-64-v3"] if HOST.get("avx2") and HOST.get("fma") else []
SETS += ["x86-64-v4"] if HOST.get("avx512f") and HOST.get("avx512dq") else []
Body = Callable[..., "Value | Sequence[Value]"]


def element(e: Emitter, dtype: Any) -> str:
    return Emitter(1).type_of(uint8 if dtype == bool_ else dtype)


def load(e: Emitter, index: int, dtype: Any) -> Value:
    stored = uint8 if dtype == bool_ else dtype
    e.lines.append(f"  %p{index} = getelementptr {element(e, dtype)}, ptr %a{index}, i64 %i")
    return e.cast(e.emit(f"load {e.type_of(stored)}, ptr %p{index}, align 1", stored), dtype)


def store(e: Emitter, index: int, value: Value) -> None:
    stored = e.cast(value, uint8) if value.dtype == bool_ else value
    e.lines.append(f"  %q{index} = getelementptr {element(e, value.dtype)}, ptr %b{index}, i64 %i")
    e.lines.append(f"  store {e.type_of(stored.dtype)} {stored.text}, ptr %q{index}, align 1")


def loop_text(body: Body, dtypes: Sequence[Any], lanes: int) -> tuple[str, list[Any]]:
    """A function that applies `body` along arrays, and the dtypes of its results."""
    e = Emitter(lanes)
    found = body(e, *(load(e, i, dtype) for i, dtype in enumerate(dtypes)))
    results = [found] if isinstance(found, Value) else list(found)
    for i, value in enumerate(results):
        store(e, i, value)
    pointers = [f"ptr %a{i}" for i in range(len(dtypes))]
    pointers += [f"ptr %b{i}" for i in range(len(results))]
    lines = [
        *sorted(e.declarations),
        f'define void @kernel({", ".join(pointers)}, i64 %n) "no-builtins" {{',
        "entry:", "  br label %loop", "loop:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %loop ]",
        *e.lines,
        f"  %next = add i64 %i, {lanes}",
        "  %more = icmp ult i64 %next, %n",
        "  br i1 %more, label %loop, label %exit",
        "exit:", "  ret void", "}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n", [value.dtype for value in results]


def machine(triple: str, cpu: str, **options: Any) -> Any:
    features = "-prefer-256-bit" if cpu == "x86-64-v4" else ""
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(cpu=cpu, features=features, opt=2, **options)


class Kernel:
    """`body` as a function of arrays of equal length."""

    def __init__(self, body: Body, *dtypes: Any, lanes: int = 16, cpu: str = "") -> None:
        text, self.results = loop_text(body, dtypes, lanes)
        self.lanes = lanes
        module = llvm.parse_assembly(text)
        module.verify()
        cpu = cpu or (SETS[-1] if SETS else llvm.get_host_cpu_name())
        host = machine(llvm.get_default_triple(), cpu, codemodel="jitdefault")
        self.engine = llvm.create_mcjit_compiler(module, host)
        signature = [ctypes.c_void_p] * (len(dtypes) + len(self.results)) + [ctypes.c_int64]
        address = self.engine.get_function_address("kernel")
        self.function = ctypes.CFUNCTYPE(None, *signature)(address)

    def __call__(self, *arrays: Any) -> Any:
        n = len(arrays[0])
        padding = -n % self.lanes
        inputs = [np.concatenate([x, np.repeat(x[:1], padding)]) for x in arrays]
        outputs = [np.empty(n + padding, dtype) for dtype in self.results]
        self.function(*(x.ctypes.data for x in (*inputs, *outputs)), n + padding)
        found = [y[:n] for y in outputs]
        return found[0] if len(found) == 1 else found


def call(name: str) -> Body:
    return lambda e, *xs: getattr(e, name)(*xs)


def undefined_symbols(data: bytes) -> list[str]:
    """Names that a relocatable ELF64 object leaves to a linker."""
    (start,) = struct.unpack_from("<Q", data, 40)
    (count,) = struct.unpack_from("<H", data, 60)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + 64 * i) for i in range(count)]
    found = []
    for section in (s for s in sections if s[1] == 2):
        names = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, _, _, where, _, _ = struct.unpack_from("<IBBHQQ", data, at)
            if name and where == 0:
                first = names + name
                found.append(data[first : data.index(b"\0", first)].decode())
    return found


# Accuracy


def special_floats(dtype: Any) -> Any:
    info = np.finfo(dtype)
    least = info.smallest_subnormal
    positive = [0.0, 1.0, info.tiny, least, info.eps, 1 - info.eps, info.max, np.inf]
    return np.array([*positive, *(-x for x in positive), np.nan], dtype)


def points(dtype: Any, count: int) -> Any:
    """Every exponent, the range of exp, the neighbourhood of 0 and of 1, special values."""
    rng = np.random.default_rng(7)
    info = np.finfo(dtype)
    word = np.dtype(f"uint{info.bits}")
    reach = 1.5 * float(np.log(info.max))
    return np.concatenate([
        rng.integers(0, np.iinfo(word).max, count, dtype=word).view(dtype),
        rng.uniform(-reach, reach, count).astype(dtype),
        rng.uniform(-3, 3, count).astype(dtype),
        (rng.choice([-1, 1], count) * 2.0 ** rng.uniform(-40, 6, count)).astype(dtype),
        (1 + rng.uniform(-1, 1, count) * 2.0 ** rng.uniform(-30, 0, count)).astype(dtype),
        special_floats(dtype),
    ])  # fmt: skip


def ulps(found: Any, exact: Any, scale: Any = 0.0) -> Any:
    """Errors in units in the last place of `exact`, or of `scale` where that is larger.

    Infinite where one is NaN or infinite and the other is not, overflow by rounding excepted.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        nearest = exact.astype(found.dtype)
        size = np.maximum(np.abs(nearest), scale).astype(found.dtype)
        error = np.abs(found.astype(exact.dtype) - exact) / np.spacing(size)
    same = (found == nearest) | (np.isnan(found) & np.isnan(nearest))
    finite = np.isfinite(found) & np.isfinite(nearest)
    return np.where(finite, error, np.where(same, 0.0, np.inf))


BOUNDS = {
    ("exp", float32): 1.0, ("exp", float64): 1.0, ("log", float32): 1.0, ("log", float64): 1.0,
    ("tanh", float32): 2.0, ("tanh", float64): 3.0,
}  # fmt: skip


@pytest.mark.parametrize(("name", "dtype"), BOUNDS)
def test_errors_stay_below_the_bounds(name: str, dtype: Any) -> None:
    if np.finfo(WIDER[dtype]).nmant <= np.finfo(dtype).nmant:
        pytest.skip("no wider float on this machine")
    x = points(dtype, 40_000)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(WIDER[dtype]))
    worst = ulps(Kernel(call(name), dtype)(x), exact)
    assert worst.max() <= BOUNDS[name, dtype], x[np.argmax(worst)]


@pytest.mark.parametrize(("name", "dtype"), BOUNDS)
def test_mpmath_agrees(name: str, dtype: Any) -> None:
    x = points(dtype, 250)
    x = x[np.isfinite(x) & ((x > 0) | (name != "log"))]
    x = x[np.abs(x) < 1e4] if name == "exp" else x
    y = Kernel(call(name), dtype)(x)
    finite = np.isfinite(y)
    with mpmath.workprec(120):
        function = getattr(mpmath, name)
        for value, found in zip(x[finite].tolist(), y[finite].tolist(), strict=True):
            exact = function(mpmath.mpf(value))
            unit = np.spacing(np.abs(dtype.type(float(exact))))
            assert abs(found - exact) <= BOUNDS[name, dtype] * float(unit), value


SPECIAL = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (np.inf, np.inf), (-np.inf, 0.0), (np.nan, np.nan),
            (1e30, np.inf), (-1e30, 0.0)],
    "log": [(0.0, -np.inf), (-0.0, -np.inf), (1.0, 0.0), (-1.0, np.nan), (-np.inf, np.nan),
            (np.inf, np.inf), (np.nan, np.nan), (-1e-40, np.nan)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (np.inf, 1.0), (-np.inf, -1.0), (np.nan, np.nan),
             (1e-30, 1e-30), (-1e-40, -1e-40), (50.0, 1.0)],
}  # fmt: skip


@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str, dtype: Any) -> None:
    x, exact = np.array(SPECIAL[name], dtype).T
    found = Kernel(call(name), dtype)(x)
    np.testing.assert_array_equal(found, exact)
    numbers = ~np.isnan(exact)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(exact[numbers]))


@pytest.mark.parametrize("dtype", [float32, float64])
def test_nan_with_any_payload_stays_nan(dtype: Any) -> None:
    word = np.dtype(f"uint{8 * dtype.itemsize}")
    quiet = np.array(np.nan, dtype).view(word)
    x = (quiet | (np.uint64(1) << np.arange(20, dtype=np.uint64)).astype(word)).view(dtype)
    for name in SPECIAL:
        assert np.isnan(Kernel(call(name), dtype)(x)).all()
    assert np.isnan(Kernel(call("logaddexp"), dtype, dtype)(x, np.ones_like(x))).all()


def test_logaddexp() -> None:
    for dtype, softplus, pair in ((float32, 2.0, 3.0), (float64, 3.0, 4.0)):
        if np.finfo(WIDER[dtype]).nmant <= np.finfo(dtype).nmant:
            continue
        kernel = Kernel(call("logaddexp"), dtype, dtype)
        x = points(dtype, 20_000)
        y = np.zeros_like(x)
        with np.errstate(all="ignore"):
            exact = np.logaddexp(x.astype(WIDER[dtype]), y.astype(WIDER[dtype]))
        assert ulps(kernel(x, y), exact).max() <= softplus
        y = np.random.default_rng(3).permutation(x)
        with np.errstate(all="ignore"):
            exact = np.logaddexp(x.astype(WIDER[dtype]), y.astype(WIDER[dtype]))
            scale = np.nan_to_num(np.maximum(np.abs(x), np.abs(y)), posinf=0)
        assert ulps(kernel(x, y), exact, scale).max() <= pair


@pytest.mark.parametrize("dtype", [float32, float64])
def test_logaddexp_of_special_pairs(dtype: Any) -> None:
    x, y = (v.ravel() for v in np.meshgrid(special_floats(dtype), special_floats(dtype)))
    with np.errstate(all="ignore"):
        exact = np.logaddexp(x, y)
    tolerance = 8 * np.finfo(dtype).eps
    found = Kernel(call("logaddexp"), dtype, dtype)(x, y)
    np.testing.assert_allclose(found, exact, rtol=tolerance)


# Where the coefficients come from


def chebyshev(f: Any, low: Any, high: Any, count: int) -> list[Any]:
    """Coefficients of the polynomial through `f` at the Chebyshev nodes of [low, high]."""
    centre, reach = (mpmath.mpf(low) + high) / 2, (mpmath.mpf(high) - low) / 2
    angles = [mpmath.pi * (2 * k + 1) / (2 * count) for k in range(count)]
    nodes = [centre + reach * mpmath.cos(a) for a in angles]
    powers = mpmath.matrix([[x**j for j in range(count)] for x in nodes])
    return list(mpmath.lu_solve(powers, mpmath.matrix([f(x) for x in nodes])))


def exp_rest(r: Any) -> Any:
    return (mpmath.exp(r) - 1 - r) / r**2 if abs(r) > 1e-30 else mpmath.mpf(0.5)


def log_rest(f: Any) -> Any:
    return (mpmath.log(1 + f) - f + f * f / 2) / f**3


def log1p_rest(u: Any) -> Any:
    return (mpmath.log(1 + u) - u) / u**2


def atanh_rest(v: Any) -> Any:
    w = mpmath.sqrt(v)
    return (2 * mpmath.atanh(w / 2) - w) / w**3


def test_coefficients_follow_from_their_definition() -> None:
    single, double = functions.FORMATS[float32], functions.FORMATS[float64]
    with mpmath.workdps(120):
        half = mpmath.log(2) / 2 * mpmath.mpf("1.001")
        low, high = mpmath.sqrt(0.5) - 1, mpmath.sqrt(2) - 1
        widest = (2 * high / (2 + high)) ** 2
        rows = [
            (single.exp, exp_rest, -half, half, np.float32),
            (double.exp, exp_rest, -half, half, np.float64),
            (single.log, log_rest, low, high, np.float32),
            (double.log, atanh_rest, 0, widest, np.float64),
            (single.log1p, log1p_rest, 0, 1, np.float32),
            (double.log1p, atanh_rest, 0, mpmath.mpf(4) / 9, np.float64),
        ]
        for stored, f, start, end, kind in rows:
            derived = [float(c) for c in chebyshev(f, start, end, len(stored))]
            assert [kind(c) for c in stored] == [kind(c) for c in derived], f
        for form in (single, double):
            rest = mpmath.log(2) - mpmath.mpf(form.ln2[0])
            kind = form.dtype.type
            assert kind(form.ln2[0]) == kind(float(mpmath.log(2)))
            assert kind(form.ln2[1]) == kind(float(rest))


# The emitter's operations


def values(dtype: Any, count: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    if dtype == bool_:
        return rng.random(count) > 0.5
    if dtype.kind == "f":
        ends = special_floats(dtype)
        scales = 10.0 ** rng.uniform(-3, 22, count)
        wide = (rng.normal(size=count) * scales).astype(dtype)
        return rng.permutation(np.concatenate([ends, wide]))
    info = np.iinfo(dtype)
    whole = rng.integers(info.min, info.max, count, dtype=dtype, endpoint=True)
    small = rng.integers(-3 if dtype.kind == "i" else 0, 4, count).astype(dtype)
    return np.concatenate([whole, small, np.array([info.min, info.max], dtype)])


def assert_same(found: Any, exact: Any) -> None:
    assert found.dtype == exact.dtype
    np.testing.assert_array_equal(found, exact)


BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "maximum": np.maximum,
    "minimum": np.minimum, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
}  # fmt: skip
UNARY = {"neg": np.negative, "abs": np.abs, "sign": np.sign}


@pytest.mark.parametrize("lanes", [16, 1])
@pytest.mark.parametrize("dtype", COMPUTED[1:], ids=str)
def test_arithmetic_is_numpys(dtype: Any, lanes: int) -> None:
    x, y = values(dtype, 200, 1), values(dtype, 200, 2)
    y[::7] = x[::7]

    def body(e: Emitter, x: Value, y: Value) -> list[Value]:
        pairs = [getattr(e, name)(x, y) for name in (*BINARY, "div")]
        return pairs + [getattr(e, name)(x) for name in UNARY] + [e.fma(x, y, e.one(x))]

    found = Kernel(body, dtype, dtype, lanes=lanes)(x, y)
    divide = np.divide if dtype.kind == "f" else np.floor_divide
    with np.errstate(all="ignore"):
        exact = [f(x, y) for f in (*BINARY.values(), divide)]
        exact += [f(x) for f in UNARY.values()]
        for a, b in zip(found, exact, strict=False):
            assert_same(a, b)
        if dtype.kind != "f":
            assert_same(found[-1], x * y + dtype.type(1))


@pytest.mark.parametrize("dtype", (bool_, *INTEGERS), ids=str)
def test_bits_are_numpys(dtype: Any) -> None:
    x, y = values(dtype, 100, 1), values(dtype, 100, 2)
    found = Kernel(
        lambda e, x, y: [e.and_(x, y), e.or_(x, y), e.xor(x, y), e.not_(x)], dtype, dtype
    )(x, y)
    for a, b in zip(found, [x & y, x | y, x ^ y, ~x], strict=True):
        assert_same(a, b)
    if dtype == bool_:
        return
    counts = y % dtype.type(8 * dtype.itemsize)
    left, right = Kernel(lambda e, x, y: [e.shl(x, y), e.shr(x, y)], dtype, dtype)(x, counts)
    assert_same(left, x << counts)
    assert_same(right, x >> counts)


@pytest.mark.parametrize("lanes", [16, 1])
@pytest.mark.parametrize("source", COMPUTED, ids=str)
def test_casts_are_those_of_astype(source: Any, lanes: int) -> None:
    x = values(source, 200, 5)
    found = Kernel(lambda e, x: [e.cast(x, d) for d in COMPUTED], source, lanes=lanes)(x)
    for dtype, y in zip(COMPUTED, found, strict=True):
        with np.errstate(all="ignore"):
            assert_same(y, saturating_cast(np, x, dtype))


@pytest.mark.parametrize("dtype", [float32, float64])
def test_sqrt_is_exact_and_fma_rounds_once(dtype: Any) -> None:
    x = np.abs(values(dtype, 500, 3))
    root, fused = Kernel(lambda e, x: [e.sqrt(x), e.fma(x, x, e.neg(e.mul(x, x)))], dtype)(x)
    assert_same(root, np.sqrt(x))
    middle = (x > 1e-3) & (x < 1e3)
    if dtype == float32:
        wide = x[middle].astype(float64)
        assert_same(fused[middle], (wide * wide - x[middle] * x[middle]).astype(float32))
    assert np.count_nonzero(fused[middle])


def test_copysign_select_and_constants() -> None:
    def body(e: Emitter, c: Value, x: Value) -> list[Value]:
        return [
            e.select(c, x, e.constant(0.1, x.dtype)),
            e.copysign(e.one(x), x),
            e.bitcast(x, np.dtype("int32")),
            e.constant(True, bool_),
            e.constant(2**32 - 1, np.dtype("uint32")),
            e.constant(1e300, float32),
        ]

    c, x = np.array([True, False, True]), np.array([1.5, -2.0, -0.0], "float32")
    found = Kernel(body, bool_, float32)(c, x)
    assert_same(found[0], np.where(c, x, np.float32(0.1)))
    assert_same(found[1], np.copysign(np.float32(1), x))
    assert_same(found[2], x.view("int32"))
    assert found[3].all() and (found[4] == 2**32 - 1).all() and np.isinf(found[5]).all()


def test_a_dtype_without_code_is_refused() -> None:
    with pytest.raises(DTypeError, match="does not compute in complex64"):
        Emitter(16).constant(1.0, np.dtype("complex64"))


def test_check_range_is_for_whole_kernels() -> None:
    e = Emitter(16)
    with pytest.raises(NotImplementedError, match="status"):
        e.check_range(e.constant(1, INTEGERS[3]), 5)


LOWERED = sorted(
    name
    for name, p in REGISTRY.items()
    if p.kind == "elementwise" and name not in ("check_index", "check_zero", "wrap_index")
)


@pytest.mark.parametrize("name", LOWERED)
def test_lowering_agrees_with_evaluation(name: str) -> None:
    record = REGISTRY[name]
    for sample in (*record.samples(np.random.default_rng(0)), *record.special):
        arrays = [np.asarray(x) for x in sample.inputs]
        if not np.broadcast_shapes(*(x.shape for x in arrays), (1,))[0]:
            continue
        flat = [np.ravel(x) for x in np.broadcast_arrays(*arrays)]
        with np.errstate(all="ignore"):
            exact = record.eval(np, *flat, **sample.attrs)
        kernel = Kernel(
            lambda e, *xs, sample=sample: record.lower(e, *xs, **sample.attrs),
            *(x.dtype for x in flat),
        )
        found = kernel(*flat)
        assert found.dtype == exact.dtype
        np.testing.assert_allclose(found, exact, rtol=1e-14, atol=1e-14)


# Other instruction sets


CALLED_WITH_TWO = {"pow", "atan2", "remainder", "floor_divide"}
CALLED = sorted(
    {*functions.FUNCTIONS, *powers.FUNCTIONS, *trigonometry.FUNCTIONS} - CALLED_WITH_TWO
)


def everything(e: Emitter, *xs: Value) -> list[Value]:
    """Every operation on every dtype, one value a dtype."""
    found = []
    for x in xs:
        found += [e.cast(x, dtype) for dtype in COMPUTED]
        if x.dtype == bool_:
            continue
        found += [getattr(e, name)(x, e.one(x)) for name in (*BINARY, "div")]
        found += [getattr(e, name)(x) for name in UNARY]
        found += [e.fma(x, x, x)]
        if x.dtype.kind == "f":
            found += [getattr(e, name)(x) for name in ("exp", "log", "tanh", "sqrt")]
            found += [e.logaddexp(x, e.one(x)), e.copysign(e.one(x), x)]
            found += [e.call(name, x) for name in CALLED]
            found += [e.call(name, x, e.constant(1.3, x.dtype)) for name in CALLED_WITH_TWO]
        else:
            found += [e.shl(x, e.one(x)), e.shr(x, e.one(x))]
    return found


@pytest.mark.parametrize("lanes", [16, 1])
@pytest.mark.parametrize(
    ("triple", "cpu"),
    [("x86_64-unknown-linux-gnu", "x86-64-v3"), ("x86_64-unknown-linux-gnu", "x86-64-v4"),
     ("aarch64-unknown-linux-gnu", "generic")],
)  # fmt: skip
def test_objects_need_no_other_code(triple: str, cpu: str, lanes: int) -> None:
    builder = machine(triple, cpu, reloc="pic", codemodel="small")
    for dtype in COMPUTED:
        text, _ = loop_text(everything, [dtype], lanes)
        assert undefined_symbols(builder.emit_object(llvm.parse_assembly(text))) == []


def test_the_symbol_check_sees_a_missing_function() -> None:
    text = "declare void @missing()\ndefine void @f() {\n  call void @missing()\n  ret void\n}\n"
    builder = machine("x86_64-unknown-linux-gnu", "x86-64-v3", reloc="pic", codemodel="small")
    assert undefined_symbols(builder.emit_object(llvm.parse_assembly(text))) == ["missing"]


@pytest.mark.skipif(len(SETS) < 2, reason="this processor has one vector instruction set")
@pytest.mark.parametrize("dtype", COMPUTED, ids=str)
def test_instruction_sets_give_the_same_bits(dtype: Any) -> None:
    x = points(dtype, 5_000) if dtype.kind == "f" else values(dtype, 500, 9)
    found = [Kernel(everything, dtype, cpu=cpu)(x) for cpu in SETS]
    for old, new in zip(*found, strict=True):
        assert old.tobytes() == new.tobytes()
