"""Looks at variables are good for some steps: what an update adds is bounded, and so is what it
makes of them; where that cannot be said, every step looks."""

from __future__ import annotations

import numpy as np
import pytest
from test_bounds import BATCH, OPTIMIZERS, _evaluate, _step_of, _watching

import cotangent as ct
from cotangent import nn, optim
from cotangent.compiler import entry, memory
from cotangent.compiler.arguments import placeholders
from cotangent.compiler.fuse import fuse
from cotangent.compiler.ranges import STEPS, widest
from cotangent.compiler.simplify import simplify
from cotangent.config import STATE
from cotangent.errors import NonFiniteError

COMMON = {name: make for name, make in OPTIMIZERS.items() if name not in ("SGD",)} | {
    "decay": lambda: optim.Adam(lr=1e-3, weight_decay=1e-2),
}
SHAPE = (20, 30)


@pytest.fixture(autouse=True)
def _off_after():
    yield
    STATE.trace = None


def _settled(step, monkeypatch, *args):
    """What is settled of the groups that write in place: group, proof, variables; the fusion."""
    real, kept = memory.settle, []

    def settle(fusion, group, proof, own):
        found = real(fusion, group, proof, own)
        kept.append((group, found.proof, found.variables, own))
        return found

    monkeypatch.setattr(memory, "settle", settle)
    traced = step._trace(*placeholders(args, {}))
    fusion = fuse(simplify(traced.graph), True)
    memory._watch(fusion, memory._commits(fusion))
    return kept, fusion


def _extreme(rng, allowed, shape, dtype):
    """Numbers at the ends of a range, and some inside."""
    ends = np.nextafter(np.array([allowed.low, allowed.high], dtype), dtype.type(0))
    picked = rng.choice(ends, shape)
    return np.where(rng.random(shape) < 0.2, picked * rng.random(shape), picked).astype(dtype)


@pytest.mark.parametrize("name", COMMON)
def test_variables_stay_in_the_range_of_the_proof(name, monkeypatch):
    """Judged by doing all the steps op by op, with numbers at the ends of their ranges."""
    model, opt = nn.Linear(30, 20), COMMON[name]()
    step = _step_of(model, opt)
    step(BATCH)
    kept, fusion = _settled(step, monkeypatch, BATCH)
    rng = np.random.default_rng(0)
    assert any(variables for _, _, variables, _ in kept)
    for group, proof, variables, own in kept:
        if not variables:
            continue
        state = {x: _extreme(rng, widest(x.dtype), x.shape, x.dtype) for x in proof.read}
        for x in variables:
            state[x] = np.abs(state[x]) if proof.read[x].low == 0 else state[x]
        for _ in range(STEPS):
            values = {
                id(x): state[x] if x in variables else _extreme(rng, allowed, x.shape, x.dtype)
                for x, allowed in proof.read.items()
            }
            for x in variables:
                low, high = proof.read[x]
                assert low <= state[x].min() and state[x].max() < high
            found = _evaluate(fusion, group, values)
            assert all(np.isfinite(found[id(x)]).all() for x in group.stored)
            state |= {x: np.asarray(found[id(own[x])]) for x in variables}


UPDATES = {
    "sum": (lambda v, x: v + x, True), "average": (lambda v, x: v * 0.9 + x * x, True),
    "difference": (lambda v, x: v - 0.5 * x, True), "masked": (
        lambda v, x: ct.where(x > 0, v + x, v), True),
    "sine": (lambda v, x: ct.sin(v) + x, True), "rest": (lambda v, x: x - v, True),
    "factor": (lambda v, x: v * 1.5 + x, False), "twice": (lambda v, x: v + v + x, False),
    "product": (lambda v, x: v * x, False), "decay": (lambda v, x: v - 0.1 * (x + 0.3 * v), False),
    "root": (lambda v, x: v - x / ct.sqrt(v), False),
}  # fmt: skip


@pytest.mark.parametrize("name", UPDATES)
def test_what_may_grow_by_a_factor_is_looked_at_in_every_step(name, monkeypatch):
    update, expected = UPDATES[name]
    v = ct.var("v", np.ones(SHAPE, np.float32))

    @ct.jit
    def step(x):
        v.assign(update(v.value, x))

    x = np.ones(SHAPE, np.float32)
    step(x)
    kept, fusion = _settled(step, monkeypatch, x)
    assert [bool(variables) for _, _, variables, _ in kept] in ([expected], [])
    assert bool(kept) or not expected
    written = dict(fusion.writes)[0]
    assert (id(written) in fusion.watched) != expected


@pytest.mark.parametrize("looped", [False, True], ids=["calls", "loop"])
def test_a_variable_that_leaves_its_range_is_met_by_the_next_look(looped):
    """A loop runs 1, 4, 16, 64 and 256 steps in one go, if it is not held up; within the last the
    variable becomes too large for a look, which may refuse what is beyond half of its range."""
    v = ct.var("v", np.zeros(SHAPE, np.float32))

    @ct.jit
    def step(x):
        v.assign(v + x * x)

    times, half = 341, 250
    rows = np.full((times, *SHAPE), np.sqrt(widest(v.dtype).high / 2 / half), np.float32)
    with ct.debug_nans():
        if looped:
            step.loop(rows)
            assert _watching(step).trust == 0
        else:
            trusts = [step(x) or _watching(step).trust for x in rows]
            assert trusts[half - 1] == entry._TRUST
            assert trusts[half + STEPS] < entry._TRUST
    expected = np.float32(0)
    for x in rows[:, 0, 0]:
        expected = expected + x * x
    np.testing.assert_allclose(v.numpy(), expected, rtol=times * 2e-7)


def test_what_two_groups_read_is_looked_at_in_every_step(monkeypatch):
    """The second takes it to be in the range of a look."""
    v = ct.var("v", np.ones(SHAPE, np.float32))
    u = ct.var("u", np.ones(SHAPE[:1], np.float32))

    @ct.jit
    def step(x):
        first = v[:, 0]
        v.assign(v + x * x)
        u.assign(u + first)

    x = np.ones(SHAPE, np.float32)
    step(x)
    kept, fusion = _settled(step, monkeypatch, x)
    assert len(kept) == 2
    numbers = {x.payload for _, _, variables, _ in kept for x in variables}
    assert [numbers, id(dict(fusion.writes)[0]) in fusion.watched] == [{1}, True]


# Numbers of the host that are set after a call, and whether they are in their ranges.
HOSTS = {
    "rate": (lambda: optim.Adam(lr=1e-3), {"lr": 0.5}, True),
    "large rate": (lambda: optim.Adam(lr=1e-3), {"lr": 5000.0}, False),
    "momentum": (lambda: optim.SGD(lr=1e-3, momentum=0.9), {"momentum": 0.999}, True),
    "schedule": (lambda: optim.SGD(lambda n: 1e-3 if n < 1 else 0.5, momentum=0.9), {}, True),
    "large schedule": (
        lambda: optim.SGD(lambda n: 1e-3 if n < 1 else 5e3, momentum=0.9),
        {},
        False,
    ),
}


@pytest.mark.parametrize("name", HOSTS)
def test_numbers_of_the_host_are_looked_at_when_they_change(name):
    """Those beyond their range give the same bits, by a program without ranges."""
    make, settings, expected = HOSTS[name]
    found = []
    for watched in (False, True):
        ct.manual_seed(0)
        model, opt = nn.Linear(30, 4), make()
        step = _step_of(model, opt)
        with ct.debug_nans(watched):
            step(BATCH)
            for key, value in settings.items():
                setattr(opt, key, value)
            step(BATCH)
        found.append(model.weight.numpy().tobytes())
        if watched:
            assert (_watching(step).trust == entry._TRUST) == expected
    assert found[0] == found[1]


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.25, -3.0])
def test_a_factor_that_is_computed_is_looked_at(factor):
    """Where it is at most 1, in magnitude, looks at the variable are good for many steps."""
    v = ct.var("v", np.ones(SHAPE, np.float32))

    @ct.jit
    def step(x, y):
        v.assign(v * y.mean() + x)

    x, y = np.ones(SHAPE, np.float32), np.full(8, factor, np.float32)
    with ct.debug_nans():
        step(x, y)
    assert (_watching(step).trust == entry._TRUST) == (abs(factor) <= 1)
    assert (v.numpy() == factor + 1).all()


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_read_by_two_names_is_in_both_ranges(turned):
    """A number that one group divides by, and another one reads where a variable remembers it."""
    w, h = ct.var("w", np.ones(SHAPE, np.float32)), ct.var("h", np.ones(70, np.float32))
    last = ct.var("last", np.float32(1))

    @ct.jit
    def step(x):
        norm = ct.sqrt((x * x).sum())
        for assign in (_divide, _remember)[:: -1 if turned else 1]:
            assign(w, h, last, norm)
        last.assign(norm)

    with ct.debug_nans():
        step(np.ones(70, np.float32))
        before = w.numpy().copy()
        with pytest.raises(NonFiniteError, match="divide gives infinity"):
            step(np.zeros(70, np.float32))
    assert w.numpy().tobytes() == before.tobytes()


def _divide(w, h, last, norm):
    w.assign(w / norm)


def _remember(w, h, last, norm):
    h.assign(h * 0.9 + last)
