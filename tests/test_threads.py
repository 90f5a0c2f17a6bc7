"""Native threads: the same bits on any number of them, and no harm from forks, exits and errors."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.compiler import link, program
from cotangent.compiler.codegen import chunks, loops, matmul
from cotangent.compiler.codegen.build import build, native_isa
from cotangent.config import SETTINGS
from cotangent.runtime import loader, pool, threads
from cotangent.runtime.pool import POOL

pytestmark = pytest.mark.skipif(native_isa() == "none", reason="no code generation here")

RNG = np.random.default_rng(0)
COUNTS = (1, 2, 3, 8)


@pytest.fixture
def fresh(monkeypatch):
    """Plan and emit anew, whatever was compiled before."""
    monkeypatch.setenv("COTANGENT_CACHE", "off")
    monkeypatch.setattr(link, "_LAYOUTS", {})


@pytest.fixture(autouse=True)
def eager_pool(monkeypatch):
    """Share whatever is split, however little it is and whatever was lost; a new pool after it."""
    monkeypatch.setattr(program, "_WORTH_WAKING", 0)
    monkeypatch.setattr(pool, "_CAUTION", 0)
    _without_threads()
    SETTINGS.threads = None
    yield
    _without_threads()
    SETTINGS.threads = None


def _without_threads():
    ct.set_num_threads(1)
    POOL.address(0)


def _word(place, kind=ctypes.c_int64):
    """A word of the pool's memory."""
    return kind.from_address(POOL.address(0) + place)


def _random(*shape, dtype="float32"):
    return RNG.uniform(-1, 1, shape).astype(dtype)


def _table(jitted):
    """Extent and grain of each kernel of the latest program."""
    entries = next(iter(jitted._entries.values()))
    return entries[0].program._entries[:-1].reshape(-1, 4)[:, 2:]


def _split_kernels(jitted):
    return int((_table(jitted)[:, 0] > _table(jitted)[:, 1]).sum())


def _python(code, timeout=100, **variables):
    """What a fresh process prints."""
    environment = {**os.environ, "COTANGENT_CACHE": "off", **variables}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.split()


# -- how many ----------------------------------------------------------------------------------


def test_the_number_of_threads_is_what_was_set():
    for n in (1, 3, np.int64(2)):
        ct.set_num_threads(n)
        assert ct.get_num_threads() == n and type(ct.get_num_threads()) is int


@pytest.mark.parametrize("wrong", [0, -1, 1025, 10**9])
def test_a_number_out_of_range_is_refused(wrong):
    before = ct.get_num_threads()
    with pytest.raises(ct.ArgumentError, match=rf"set_num_threads: count .*1 to 1024, not {wrong}"):
        ct.set_num_threads(wrong)
    assert ct.get_num_threads() == before


@pytest.mark.parametrize("wrong", [2.0, "2", None, True, [1]])
def test_what_is_no_int_is_refused(wrong):
    with pytest.raises(ct.ArgumentTypeError, match=f"set_num_threads.*{type(wrong).__name__}"):
        ct.set_num_threads(wrong)


def test_the_environment_decides_where_nothing_was_set():
    code = "import cotangent as ct; print(ct.get_num_threads())"
    assert _python(code, COTANGENT_NUM_THREADS="7") == ["7"]
    cores = len(os.sched_getaffinity(0))
    assert 1 <= int(_python(code, COTANGENT_NUM_THREADS="")[0]) <= cores


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("1,4", 1), ("", 9), ("many", 9), ("0", 9)])
def test_a_limit_for_numeric_libraries_is_respected(text, limit):
    code = "import cotangent as ct; print(ct.get_num_threads())"
    cores = len(os.sched_getaffinity(0))
    found = _python(code, COTANGENT_NUM_THREADS="", OMP_NUM_THREADS=text)
    assert 1 <= int(found[0]) <= min(cores, limit)
    assert _python(code, COTANGENT_NUM_THREADS="3", OMP_NUM_THREADS=text) == ["3"]


@pytest.mark.parametrize("wrong", ["0", "-2", "two", "1.5", "4000"])
def test_nonsense_in_the_environment_is_refused(wrong):
    code = "import cotangent as ct\ntry: ct.get_num_threads()\n" \
           "except ct.ArgumentError as error: print(error)"  # fmt: skip
    text = " ".join(_python(code, COTANGENT_NUM_THREADS=wrong))
    assert "COTANGENT_NUM_THREADS must be 1 to 1024" in text and wrong in text


def test_affinity_is_respected():
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n" \
           "import cotangent as ct; print(ct.get_num_threads())"  # fmt: skip
    assert _python(code, COTANGENT_NUM_THREADS="") == ["1"]


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_quotas_of_control_groups_are_read(tmp_path):
    second = "0::/user/job\n"
    assert threads.quota_of(second, str(tmp_path)) is None
    _write(tmp_path / "user" / "cpu.max", "350000 100000\n")
    _write(tmp_path / "user" / "job" / "cpu.max", "max 100000\n")
    assert threads.quota_of(second, str(tmp_path)) == 3.5  # that of the group around it
    _write(tmp_path / "user" / "job" / "cpu.max", "50000 100000\n")
    assert threads.quota_of(second, str(tmp_path)) == 0.5
    assert threads.quota_of("0::/elsewhere\n", str(tmp_path)) is None
    _write(tmp_path / "cpu.max", "150000 100000\n")  # a container sees its own group as the root
    assert threads.quota_of("0::/../../x\n", str(tmp_path)) == 1.5

    first = "9:memory:/a\n4:cpu,cpuacct:/a/b\n"
    root = tmp_path / "v1"
    assert threads.quota_of(first, str(root)) is None
    _write(root / "cpu,cpuacct" / "a" / "b" / "cpu.cfs_quota_us", "-1\n")
    _write(root / "cpu,cpuacct" / "a" / "b" / "cpu.cfs_period_us", "100000\n")
    assert threads.quota_of(first, str(root)) is None
    _write(root / "cpu,cpuacct" / "a" / "b" / "cpu.cfs_quota_us", "200000\n")
    assert threads.quota_of(first, str(root)) == 2.0
    assert threads.quota_of("3:cpuset:/a\nnonsense\n", str(root)) is None


@pytest.mark.parametrize("quota, expected", [(None, 5), (0.4, 1), (1.9, 1), (3.0, 3), (64.0, 5)])
def test_cores_are_those_of_affinity_and_quota(monkeypatch, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5)))
    monkeypatch.setattr(threads, "quota_of", lambda *args: quota)
    assert threads.usable_cores() == expected


# -- the same bits -----------------------------------------------------------------------------


def _bytes(result):
    return [t.numpy().tobytes() for t in (result if isinstance(result, tuple) else (result,))]


def _same_on_all(f, *inputs, split=1):
    """`f` compiled gives the same bytes on any number of threads, and what it means eagerly."""
    compiled, results = ct.jit(f), []
    inputs = [ct.asarray(x) for x in inputs]
    for count in COUNTS:
        ct.set_num_threads(count)
        results.append(_bytes(compiled(*inputs)))
    assert all(result == results[0] for result in results)
    assert compiled._traces == 1
    assert _split_kernels(compiled) >= split
    expected = f(*inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for got, want in zip(results[0], expected, strict=True):
        want = want.numpy()
        got = np.frombuffer(got, want.dtype).reshape(want.shape)
        if want.dtype.kind == "f":
            scale = max(1.0, float(np.abs(want).max())) * 1000
            atol = float(np.finfo(want.dtype).eps) * scale
            np.testing.assert_allclose(got, want, rtol=0, atol=atol)
        else:
            np.testing.assert_array_equal(got, want)


ROWS = np.arange(5003) % 701
KINDS = {
    "elementwise": (lambda x: (x * 2 + 1).tanh(), _random(701, 303)),
    "elementwise float64": (lambda x: x.exp() * x, _random(701, 303, dtype="float64")),
    "broadcast rows": (lambda x: x - x[:, :1], _random(701, 303)),
    "two short axes": (lambda x: ct.permute_dims(x, (1, 0, 2)) * 2, _random(3, 2, 100003)),
    "elementwise and sum": (lambda x: (x.exp(), x.exp().sum()), _random(701, 303)),
    "sum of all": (lambda x: x.sum(), _random(701 * 1303)),
    "sum of whole blocks": (lambda x: x.sum(), _random(1 << 18)),
    "sum of all float64": (lambda x: (x * x).sum(), _random(701, 303, dtype="float64")),
    "maximum of all": (lambda x: ct.max(x), _random(701, 1303)),
    "sum of columns": (lambda x: (x * x).sum(axis=0), _random(9001, 37)),
    "sum of long columns": (lambda x: (x * x).sum(axis=0), _random(501, 1037)),
    "sum of rows": (lambda x: (x * x).sum(axis=1), _random(9001, 37)),
    "sum around a short axis": (lambda x: x.exp().sum(axis=(0, 2)), _random(5, 3, 20011)),
    "sum of views": (lambda x: x[:, :200].exp().sum(), _random(701, 303)),
    "integer sum": (lambda x: (x * 2).sum(), RNG.integers(-9, 9, (701, 1303)).astype("int32")),
    "product": (lambda x: x @ x.T, _random(517, 301)),
    "product of transposes": (lambda x: x.T @ x, _random(517, 301)),
    "product to few columns": (lambda x: x @ x[:7].T, _random(4001, 301)),
    "product in panels": (lambda x: x @ x.T[:, :70], _random(317, 1301)),
    "product in panels, wide": (lambda x: x[:300] @ x.T, _random(1317, 401)),
    "product read in place": (lambda x: x @ x[:, :90], _random(301, 301)),
    "product float64": (lambda x: x @ x.T, _random(317, 301, dtype="float64")),
    "many products": (lambda x: x @ x.mT, _random(41, 57, 63)),
    "few products": (lambda x: x @ x.mT, _random(3, 257, 163)),
    "few by many products": (lambda x: x @ x.mT, _random(2, 33, 29, 31)),
    "gather": (lambda x: ct.take(x, ct.asarray(ROWS)), _random(701, 303)),
    "running sum": (lambda x: ct.cumulative_sum(x, axis=1), _random(701, 303)),
    "order": (lambda x: ct.argsort(x, axis=1), _random(301, 103)),
    "concat": (lambda x: ct.concat([x, x * 2, ct.zeros((701, 5)), x], axis=1), _random(701, 303)),
    "concat of a few": (lambda x: ct.concat([x, x * 2], axis=1), _random(2, 100003)),
    "pad": (lambda x: ct.pad(x, ((1, 2), (3, 4))), _random(701, 303)),
    "transpose": (lambda x: x.T + 1, _random(701, 803)),
    "transposing copy": (lambda x: x @ x.T[:, :300], _random(701, 303)),
    "batch of transposes": (lambda x: x @ x.mT[:, :, :20], _random(60, 33, 97)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_gives_the_same_bytes_on_any_number_of_threads(kind):
    f, x = KINDS[kind]
    _same_on_all(f, x)


def test_rows_added_by_index_are_added_in_order():
    values, index = _random(5003, 67), RNG.integers(0, 300, 5003)

    def f(table, values, index):
        return ct.value_and_grad(lambda t: (ct.take(t, index) * values).sum())(table)[1]

    _same_on_all(f, _random(300, 67), values, index)


@pytest.mark.parametrize(
    "kind", ["elementwise and sum", "sum of columns", "product", "few products"]
)
def test_the_cut_does_not_depend_on_the_number_of_threads(kind, fresh):
    f, x = KINDS[kind]
    tables, results = [], []
    for count in COUNTS:
        ct.set_num_threads(count)
        link._LAYOUTS.clear()
        compiled = ct.jit(f)
        results.append(_bytes(compiled(x)))
        tables.append(_table(compiled).tolist())
    assert all(result == results[0] for result in results)
    assert all(table == tables[0] for table in tables)


@pytest.fixture
def everything_split(monkeypatch, fresh):
    """Small kernels in as many chunks as there can be, reductions in many parts."""
    monkeypatch.setattr(chunks, "_WORTH_SPLITTING", 0.0)
    monkeypatch.setattr(chunks, "_NANOSECONDS_PER_CHUNK", 1e-3)
    monkeypatch.setattr(chunks, "_MANY_ELEMENTS", 64)
    monkeypatch.setattr(loops, "_ELEMENTS_PER_PART", 8)
    monkeypatch.setattr(matmul, "_FLOPS_PER_UNIT", 100)


SIZES = [(33, 34), (64, 48), (95, 65)]


@pytest.mark.parametrize("shape", SIZES)
def test_every_edge_of_small_chunks(everything_split, shape):
    x = _random(*shape)
    index = RNG.integers(0, shape[0], 50)
    ct.set_num_threads(3)
    for f in (
        lambda x: x.tanh() * 2,
        lambda x: x.T + 1,
        lambda x: (x.sum(), x.sum(axis=0), x.sum(axis=1), ct.max(x)),
        lambda x: (x @ x.T, x.T @ x, x @ ct.ones((shape[1], 3))),
        lambda x: (ct.concat([x, x], axis=0), ct.concat([x, x], axis=1)),
        lambda x: ct.pad(x, ((1, 1), (2, 0))),
        lambda x: (ct.take(x, ct.asarray(index)), ct.cumulative_sum(x, axis=1)),
        lambda x: ct.grad(lambda t: (ct.take(t, ct.asarray(index)) ** 2).sum())(x),
        lambda x: ct.argsort(x, axis=1),
    ):  # fmt: skip
        _same_on_all(f, x)
    _same_on_all(lambda x: x.sum(), _random(2 * math.prod(shape)))


class _Net(nn.Module):
    def __init__(self):
        self.layers = [nn.Linear(203, 311), nn.Linear(311, 157), nn.Linear(157, 10)]
        self.dropout = nn.Dropout(0.3)

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = self.dropout(layer(x).relu())
        return self.layers[-1](x)


def _train(threads_of_step, steps, by_loop):
    """Losses and weights after `steps` steps, with so many threads in turn."""
    ct.manual_seed(3)
    model, opt = _Net(), optim.Adam(lr=0.003)

    @ct.jit
    def step(x, y):
        loss = nn.cross_entropy_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    rng = np.random.default_rng(5)
    xs = rng.normal(size=(steps, 129, 203)).astype(np.float32)
    ys = rng.integers(0, 10, (steps, 129))
    losses = []
    per = steps // len(threads_of_step)
    for i, count in enumerate(threads_of_step):
        ct.set_num_threads(count)
        part = slice(i * per, (i + 1) * per)
        if by_loop:
            losses += step.loop(xs[part], ys[part]).tolist()
        else:
            losses += [step(x, y).item() for x, y in zip(xs[part], ys[part], strict=True)]
    assert _split_kernels(step) >= 5 and step._traces == 1
    assert np.isfinite(losses).all() and losses[-1] != losses[0]
    return losses, {name: a.tobytes() for name, a in model.state_dict().items()}


def test_training_gives_the_same_bytes_on_any_number_of_threads():
    losses, weights = _train([1], 200, by_loop=True)
    for counts, by_loop in (([2], True), ([3], False), ([8], True), ([2, 1, 8, 3], False)):
        assert _train(counts, 200, by_loop) == (losses, weights)


# -- errors and floating-point state -----------------------------------------------------------


def test_a_bad_index_in_any_chunk_is_reported_and_changes_nothing():
    table = ct.var("table", _random(701, 303))

    @ct.jit
    def step(index):
        out = ct.take(table, index)
        table.assign(table * 0.5)
        return out.sum()

    ct.set_num_threads(8)
    before = table.detach().numpy()
    for place in (0, 2500, 5002):
        bad = ROWS.copy()
        bad[place] = 701
        with pytest.raises(ct.BoundsError, match="701"):
            step(bad)
        np.testing.assert_array_equal(table.numpy(), before)
    step(ROWS)
    assert _split_kernels(step) >= 1
    np.testing.assert_array_equal(table.numpy(), before * np.float32(0.5))


# Flush denormal numbers to zero, as a library in the same process may have it; and read that.
FLUSH = """declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse.stmxcsr(ptr)
define void @set_state(ptr %p) nounwind {
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}
define void @get_state(ptr %p) nounwind {
  call void @llvm.x86.sse.stmxcsr(ptr %p)
  ret void
}
"""


def test_threads_keep_denormal_numbers_whatever_their_creator_does():
    functions = loader.load(build([FLUSH], native_isa()))
    set_state, get_state = (
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(functions[name])
        for name in ("set_state", "get_state")
    )
    state, flush = ctypes.c_uint32(), ctypes.c_uint32(0x9FC0)
    get_state(ctypes.byref(state))
    tiny = np.full((701, 303), 1e-39, np.float32)
    f = ct.jit(lambda x: x * 0.5)
    ct.set_num_threads(1)
    expected = f(tiny).numpy()
    assert (expected > 0).all()
    set_state(ctypes.byref(flush))
    try:
        ct.set_num_threads(4)  # a new pool, made below
        got = [f(tiny).numpy().tobytes() for _ in range(50)]
        now = ctypes.c_uint32()
        get_state(ctypes.byref(now))
    finally:
        set_state(ctypes.byref(state))
    assert now.value & 0xFFC0 == flush.value
    assert set(got) == {expected.tobytes()}


def test_nothing_is_compiled_again_for_another_number(monkeypatch):
    step = ct.jit(lambda x: (x @ x.T).tanh().sum(axis=0))
    x = _random(311, 203)
    ct.set_num_threads(1)
    step(x)
    monkeypatch.setattr(link, "build", None)
    monkeypatch.setattr(link, "plan", None)
    for count in (2, 5, 1, 3):
        ct.set_num_threads(count)
        step(x)
        assert len(POOL.threads) == (count - 1 or len(POOL.threads))
    assert step._traces == 1


def test_a_small_program_starts_no_threads():
    code = """
import numpy as np, os
import cotangent as ct
def tasks(): return len(os.listdir("/proc/self/task"))
ct.set_num_threads(4)
before = tasks()
ct.jit(lambda x: (x @ x).sum())(np.ones((20, 20), np.float32))
small = tasks() - before
ct.jit(lambda x: (x @ x).sum())(np.ones((300, 300), np.float32))
print(small, tasks() - before)
ct.set_num_threads(2)
ct.jit(lambda x: (x @ x).sum())(np.ones((300, 300), np.float32))
print(tasks() - before)
"""
    assert _python(code, OPENBLAS_NUM_THREADS="1") == ["0", "3", "1"]


def _asleep(count):
    while _word(pool.SLEEPERS, ctypes.c_int32).value < count:
        os.sched_yield()


def test_threads_that_sleep_are_woken():
    f, x = ct.jit(lambda x: x @ x.T), _random(1031, 503)
    ct.set_num_threads(3)
    f(x)
    for _ in range(200):  # on a busy machine, one may come too late
        _asleep(2)
        f(x)
        if _word(pool.FINISHED).value:
            break
    assert _word(pool.FINISHED).value > 0


CLOCK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int64 * 2))


def test_after_a_loss_the_caller_works_alone_for_a_while(monkeypatch):
    f, x = ct.jit(lambda x: x.exp() * 2), _random(701, 303)
    monkeypatch.setattr(pool, "_CAUTION", 20)
    ct.set_num_threads(3)
    expected = f(x).numpy().tobytes()
    times = []

    def read(_, place):
        place.contents[:] = divmod(times.pop(0), 10**9)
        return 0

    clock = CLOCK(read)
    _asleep(2)  # threads that wait read the clock too
    _word(pool.CLOCK).value = ctypes.cast(clock, ctypes.c_void_p).value
    alone, finished = _word(pool.ALONE), _word(pool.FINISHED)
    sleepers = _word(pool.SLEEPERS, ctypes.c_int32)

    def region(*readings):
        """Whether a run with these readings of the clock was a region; no thread comes to help."""
        _asleep(2)
        sleepers.value = 0  # so nobody is woken
        times[:], finished.value = readings, -77
        same = f(x).numpy().tobytes() == expected
        sleepers.value = 2
        assert same and times == []
        return finished.value == 0

    second = 10**9
    credit = _word(pool.CREDIT)
    alone.value = credit.value = 0
    assert region(second, second, second + 100, second + 100)  # nothing lost
    assert alone.value == 0
    assert region(second, second + 500, second + 600, second + 4100)  # of 4100, 100 were needed
    assert alone.value == second + 4100 + 20 * 4000
    assert not region(alone.value - 1)
    assert region(*[alone.value] * 4)
    before, credit.value = alone.value, 10_000  # what was gained pays for what is lost
    assert region(before, before + 500, before + 600, before + 4100)
    assert credit.value == 10_000 - 4000 and alone.value == before
    credit.value = 10**9
    assert region(*[before] * 4)
    assert credit.value == 5_000_000  # but not for ever


def test_a_system_that_gives_no_threads_is_told_of_and_works(monkeypatch):
    class Library:
        def __init__(self):
            self.real = ctypes.CDLL(None)
            self.left = 1

        def __getattr__(self, name):
            return getattr(self.real, name)

        def pthread_create(self, *args):
            self.left -= 1
            return self.real.pthread_create(*args) if self.left >= 0 else 11

    f, x = ct.jit(lambda x: x.exp() * 2), _random(701, 303)
    ct.set_num_threads(1)
    expected = f(x).numpy()
    library = Library()
    monkeypatch.setattr("cotangent.runtime.pool._library", lambda: library)
    ct.set_num_threads(6)
    with pytest.warns(RuntimeWarning, match=r"gives 1 of 5 more threads \(.+\)"):
        got = f(x).numpy()
    assert got.tobytes() == expected.tobytes() and len(POOL.threads) == 1
    assert f(x).numpy().tobytes() == expected.tobytes()  # and that is said once


# -- many regions, many callers ----------------------------------------------------------------


def test_a_great_many_tiny_regions(everything_split):
    w = ct.var("w", np.zeros((40, 65)))

    @ct.jit
    def step(x):
        w.assign(w + x)
        return (w * 1.0).sum()

    ct.set_num_threads(8)
    ones = np.ones(3000, np.float32)
    sums = step.loop(ones).numpy()
    assert _split_kernels(step) >= 2
    np.testing.assert_array_equal(sums, np.arange(1, 3001, dtype=np.float32) * (40 * 65))
    assert (w.numpy() == 3000).all()


@pytest.mark.parametrize("callers", [2, 8])
def test_python_threads_call_at_once(callers):
    x = _random(517, 301)
    f, g = ct.jit(lambda x: (x @ x.T).sum(axis=0)), ct.jit(lambda x: x.exp().sum())
    ct.set_num_threads(3)
    expected = f(x).numpy().tobytes(), g(x).numpy().tobytes()
    wrong = []

    def run(i):
        try:
            for _ in range(20):
                got = f(x).numpy().tobytes(), g(x).numpy().tobytes()
                if got != expected:
                    wrong.append(i)
                if i == 0:
                    ct.set_num_threads(1 + ct.get_num_threads() % 4)
        except Exception as error:
            wrong.append(error)

    callers_ = [threading.Thread(target=run, args=(i,)) for i in range(callers)]
    for thread in callers_:
        thread.start()
    for thread in callers_:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("bad", [None, 59_990])
def test_a_loop_goes_on_where_it_was_after_other_calls(bad):
    """Another thread calls the same program, and others, and changes a variable meanwhile."""
    total, calls = ct.var("total", np.zeros(3)), ct.var("calls", 0, requires_grad=False)
    scale = ct.var("scale", 1.0)

    @ct.jit
    def step(x, i):
        total.assign(total + x)
        calls.assign(calls + 1)
        return x * 2, ct.take(x * 3, i), scale * 1.0

    f, x = ct.jit(lambda x: (x @ x.T).sum()), _random(301, 203)
    expected = f(x).item()
    xs = np.arange(180_000, dtype=np.float32).reshape(-1, 3) % 97
    index = np.arange(60_000) % 3
    if bad:
        index[bad] = 3
    step(np.zeros(3, np.float32), 0)
    found: list[object] = []

    def run():
        try:
            found.append(step.loop(xs, index))
        except ct.BoundsError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    others = 0
    while thread.is_alive():
        others += 1
        assert step(np.zeros(3, np.float32), 1)[1].item() == 0
        assert f(x).item() == expected
        scale.assign(scale + 1.0)
    thread.join()
    if bad:
        assert "iteration 59990 of loop" in str(found[0])
        return
    double, picked, scales = (t.numpy() for t in found[0])
    np.testing.assert_array_equal(double, xs * 2)
    np.testing.assert_array_equal(picked, 3 * xs[np.arange(60_000), index])
    assert (np.diff(scales) >= 0).all() and scales[-1] <= scale.item()
    assert calls.item() == 60_001 + others


IN_A_LOOP = """
import os, threading
import numpy as np
import cotangent as ct
ct.set_num_threads(2)
w = ct.var("w", np.zeros(300_000))
n = ct.var("n", 0, requires_grad=False)

@ct.jit
def step(x):
    w.assign(w + x)
    n.assign(n + 1)

step(1.0)
endless = lambda: step.loop(np.ones(10**7, np.float32))
threading.Thread(target=endless, daemon=True).start()
while n.item() < 3:
    pass
good = 0
for _ in range(10):
    pid = os.fork()
    if not pid:
        step(1.0)
        before = n.item()
        step.loop(np.ones(3, np.float32))
        os._exit(0 if n.item() == before + 3 and (w.numpy() == before + 3).all() else 1)
    good += os.waitpid(pid, 0)[1] == 0
print(good, ct.jit(lambda x: x * 2)(21.0).item(), flush=True)
os._exit(0)
"""


def test_a_fork_and_other_calls_do_not_wait_for_the_end_of_a_loop():
    assert _python(IN_A_LOOP, PYTHONWARNINGS="ignore") == ["10", "42.0"]


def test_ctrl_c_ends_a_loop_on_several_threads():
    w, n = ct.var("w", np.zeros(300_000)), ct.var("n", 0, requires_grad=False)

    @ct.jit
    def step(x):
        w.assign(w + x)
        n.assign(n + 1)

    ct.set_num_threads(3)
    step(1.0)
    assert _split_kernels(step) >= 1
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in range(1000):
                step.loop(np.ones(1_000_000, np.float32))
    finally:
        signal.signal(signal.SIGINT, before)
    timer.join()
    assert n.item() > 1 and (w.numpy() == float(n.item())).all()


# -- forks and exits ---------------------------------------------------------------------------

FORKS = """
import os, threading, time
import numpy as np
import cotangent as ct
ct.set_num_threads(3)
x = np.random.default_rng(0).uniform(-1, 1, (317, 301)).astype(np.float32)
f = ct.jit(lambda x: (x @ x.T).tanh().sum())
expected = f(x).numpy().tobytes()

def tasks():
    return len(os.listdir("/proc/self/task"))

def child(i):
    alone = tasks() == 1
    same = f(x).numpy().tobytes() == expected
    with_pool = tasks() == 3
    new = ct.jit(lambda x: (x * 2).sum())(np.ones((33 + i, 2), np.float32)).item()
    return alone and same and with_pool and new == 4.0 * (33 + i)

def fork(i):
    pid = os.fork()
    if not pid:
        try:
            good = child(i)
        except BaseException:
            good = False
        os._exit(0 if good else 1)
    end = time.monotonic() + 30
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > end:
            os.kill(pid, 9)
        time.sleep(0.001)

def work():
    n = 400
    while busy:
        if kind == "run":
            f(x)
        else:
            ct.jit(lambda x: (x @ x.T).exp().sum())(np.ones((n, 3), np.float32))
        n += 1

print(sum(fork(i) == 0 for i in range(100)))
for kind in ("run", "compile"):
    busy = True
    thread = threading.Thread(target=work)
    thread.start()
    print(sum(fork(i) == 0 for i in range(10)))
    busy = False
    thread.join()
print(f(x).numpy().tobytes() == expected)
"""


def test_children_have_pools_of_their_own():
    lines = _python(FORKS, OPENBLAS_NUM_THREADS="1", PYTHONWARNINGS="ignore")
    assert lines == ["100", "10", "10", "True"]


EXITS = {
    "right after a region": "f(x)",
    "with threads asleep": "f(x); time.sleep(0.05)",
    "after another number": "f(x); ct.set_num_threads(2); f(x); ct.set_num_threads(7); f(x)",
    "in a daemon thread's loop": (
        "threading.Thread(target=lambda: loop.loop(np.ones(10**8, np.float32)), daemon=True)"
        ".start(); time.sleep(0.1)"
    ),
    "by an exception": "f(x); sys.excepthook = lambda *args: os._exit(0); raise ValueError",
}


@pytest.mark.parametrize("how", EXITS)
def test_the_interpreter_ends(how):
    code = f"""
import os, sys, threading, time
import numpy as np
import cotangent as ct
ct.set_num_threads(4)
x = np.ones((317, 301), np.float32)
f = ct.jit(lambda x: (x @ x.T).tanh().sum())
w = ct.var("w", np.ones(300_000))
loop = ct.jit(lambda x: w.assign(w * x))
loop(1.0)
{EXITS[how]}
"""
    for _ in range(2):
        assert _python(code, timeout=30) == []
