"""Random programs, compiled and op by op; and planted errors of the compiler, which are found."""

from __future__ import annotations

import fuzz
import fuzz_log
import numpy as np
import pytest

import cotangent as ct
from cotangent import ops, tape
from cotangent.compiler import fuse, link, memory
from cotangent.ops.primitive import REGISTRY

# About 70 seconds on one core. More: python tests/fuzz.py --graphs 50000 --seed 1000
BLOCKS, BLOCK = 50, 20


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    """Programs are compiled here and now."""
    monkeypatch.setenv("COTANGENT_CACHE", "off")


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_programs_mean_the_same_compiled(block):
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        wrong = fuzz.report(seed)
        assert not wrong, wrong


def test_a_seed_is_always_the_same_program():
    assert str(fuzz.generate(5)) == str(fuzz.generate(5)) != str(fuzz.generate(6))


def test_most_results_are_compared(monkeypatch):
    """Results at ties are left out; were they many, the fuzzer would see nothing."""
    ties, compared = [], []
    differ, of = fuzz._differ, fuzz._Bounds.of

    def bound_of(bounds, place):
        bound = of(bounds, place)
        ties.append(bound is None)
        return bound

    monkeypatch.setattr(fuzz._Bounds, "of", bound_of)
    monkeypatch.setattr(fuzz, "_differ", lambda *args: compared.append(args) or differ(*args))
    for seed in range(24):
        assert not fuzz.check(fuzz.generate(seed))
    assert len(compared) > 150
    assert sum(ties) < 0.05 * len(compared)


def test_programs_have_what_they_are_said_to_have():
    """Of 400 seeds, so many at least have each of these."""
    made = [fuzz.generate(seed) for seed in range(400)]
    ops_ = {step.op for p in made for step in p.steps}
    assert ops_ >= {
        "vmap", "checkpoint", "jvp", "slope", "jit", "noise", "dropout", "topk", "sort",
        "take_along_axis", "cross entropy", "layer_norm", "solve", "at rows", "at slice", "assign",
        "curve", "two", "question", "whole", "shift", "arrange", "indexed", "matrices", "loss",
        "draw",
    }  # fmt: skip
    for mode in ("watched", "verified"):
        assert sum(p.mode == mode for p in made) > 10
    dtypes = {str(x.dtype) for p in made for x in p.arguments.values()}
    assert dtypes >= {"float16", "bfloat16", "float32", "float64", "bool", "uint8", "int64"}
    assert sum(p.other is not None for p in made) > 40
    assert sum(p.split and p.threads > 1 for p in made) > 40
    assert sum(any(x.size == 0 for x in p.arguments.values()) for p in made) > 20
    for kind in ("", "backward", "arguments", "second"):
        assert sum(p.gradient == kind for p in made) > 5


def test_every_op_is_drawn(monkeypatch):
    """In 1,500 programs; each is computed op by op while it is made."""
    left, evaluate = set(REGISTRY), tape.evaluate

    def evaluate_and_note(primitive, *args):
        left.discard(primitive.name)
        return evaluate(primitive, *args)

    monkeypatch.setattr(tape, "evaluate", evaluate_and_note)
    for seed in range(1500):
        fuzz.generate(seed)
        if not left:
            return
    raise AssertionError(left)


def test_a_process_that_dies_is_a_failure_and_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    """The log counts every seed once; the seed at which the process died is named."""
    log, processes = tmp_path / "fuzz.log", []

    def process(seed, count):
        processes.append((seed, count))
        dies = seed <= 7 < seed + count
        return (7, "seed 7: gone", None) if dies else (seed, "", (count, 1, 0))

    monkeypatch.setattr(fuzz_log, "BLOCK", 10)
    monkeypatch.setattr(fuzz_log, "_process", process)
    assert fuzz_log.run(str(log), 0, 25) == 1
    assert processes == [(0, 10), (8, 2), (10, 10), (20, 5)]
    found = fuzz_log.lines(log)
    assert [(x["first"], x["last"], x["graphs"], x["failed"]) for x in found] == [
        (0, 9, 10, 1), (10, 19, 10, 0), (20, 24, 5, 0),
    ]  # fmt: skip
    assert "seed 7: gone" in (tmp_path / "fuzz.failures").read_text()
    fuzz_log.run(str(log), 0, 40)
    assert processes[4:] == [(25, 10), (35, 5)]


# -- planted errors ---------------------------------------------------------------------------


def _found(most=200):
    """The first seed whose program fails, with the program made small."""
    for seed in range(most):
        program = fuzz.generate(seed)
        wrong = fuzz.check(program)
        if wrong:
            return wrong, fuzz.shrink(program)
    pytest.fail(f"{most} programs do not show the error")


@pytest.fixture
def planting(monkeypatch):
    """Compiled programs are forgotten before and after an error is planted."""
    link._LAYOUTS.clear()
    yield monkeypatch
    link._LAYOUTS.clear()


def test_a_wrong_lowering_is_found(planting):
    planting.setattr(ops.maximum, "lower", ops.minimum.lower)
    wrong, found = _found()
    assert "eagerly" in wrong
    assert len(found.steps) <= 3
    step = ct.jit(fuzz.function_of(found, fuzz.variables_of(found)))
    graph, _ = fuzz._graph(step, [ct.asarray(x) for x in found.arrays()])
    assert any(node.op == "maximum" for node in graph.nodes)


def test_a_wrong_offset_of_backward_slices_is_found(planting):
    window = fuse.move.__globals__["window"]

    def shifted(view, shape, starts, steps):
        if any(step < 0 and n > 1 for step, n in zip(steps, shape, strict=True)):
            starts = tuple(max(start - 1, 0) for start in starts)
        return window(view, shape, starts, steps)

    planting.setitem(fuse.move.__globals__, "window", shifted)
    _, found = _found()
    assert len(found.steps) <= 3


def test_memory_given_to_two_live_values_is_found(planting):
    planting.setattr(memory, "_gap", lambda live, need: 0)
    assert "eagerly" in _found()[0]


def test_a_commit_before_its_readers_is_found(planting):
    planting.setattr(memory, "_overwrites", lambda *args: False)
    planting.setattr(memory, "_reads_in_place", lambda *args: True)
    wrong, found = _found(400)
    assert "eagerly" in wrong or "bytes" in wrong
    assert any(step.op == "assign" for step in found.steps) or found.update


def test_a_small_loss_of_precision_is_found(planting):
    """One part in 2**15 of a float32 is more than rounding."""
    tanh = ops.tanh.lower

    def rough(e, x):
        return e.mul(tanh(e, x), e.constant(1 + 2.0**-15, x.dtype))

    planting.setattr(ops.tanh, "lower", rough)
    assert "allowed" in _found()[0]


def test_bounds_follow_the_largest_intermediate():
    """A sum that cancels 1e6 may be off by units of 1e6; one that does not, only by units of 1."""

    def bound(size):
        def f(x):
            return ct.sum(x * size - x[::-1] * size)

        graph, _ = fuzz._graph(ct.jit(f), [ct.asarray(X)])
        return fuzz.allowed(graph, [X], [])[0]

    X = np.linspace(1, 2, 64, dtype=np.float32)
    assert 1e5 < bound(1e6) / bound(1.0) < 1e7


# -- what it found ----------------------------------------------------------------------------

RNG = np.random.default_rng(0)


def _wide(*shape):
    return ct.asarray(RNG.uniform(0.5, 2, shape))


def _same(f, *tensors):
    got, expected = fuzz.leaves(ct.jit(f)(*tensors)), fuzz.leaves(f(*tensors))
    for x, y in zip(got, expected, strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(3, 0), (0,), (1, 0, 1, 3), (0, 0, 2)])
def test_a_reshape_of_nothing(shape):
    _same(lambda x: ct.reshape(x * 2, shape), _wide(1, 3, 0))
    _same(lambda x: ct.reshape(x, shape), ct.zeros((0, 4)))


def test_scalars_made_of_a_sum_over_nothing():
    def f(x, y):
        total = ct.sum(x * x) / 3 + ct.sum(y)
        return total + total * ct.sum(y), x * 2

    _same(f, ct.zeros((0, 3), dtype="float64"), _wide(5))


def test_a_sum_over_a_row_that_is_made_of_a_sum():
    def f(x, y):
        row = ct.mean(x + y, axis=0, keepdims=True) * 0.5 + 1
        wide = ct.broadcast_to(row, (6, 32))
        return ct.sum(wide, axis=0), row

    _same(f, _wide(32), _wide(6, 1))


@pytest.mark.parametrize("n", [4, 8, 16, 19])
def test_a_sum_that_is_used_twice_beside_another(n):
    """A rotation of lanes in the sum's tree was compiled wrongly, for AVX-512."""

    def f(x, y):
        part = ct.sum(x * 2) / 8
        return ct.sum(y) / 5 + part + part + ct.sum(x) / 8, x * 2

    _same(f, _wide(n), _wide(5))
