"""A call that would write a NaN or an infinity writes nothing: judged, to the last bit, by a twin
that is not watched and never sees the bad call."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.config import STATE
from cotangent.errors import NonFiniteError

SIZES = {"few": (3, 5), "many": (70, 100)}
BAD = 1e30


@pytest.fixture(autouse=True)
def _off_after():
    yield
    STATE.trace = None


def _rows(shape, n):
    return np.random.default_rng(n).normal(size=(n, *shape)).astype(np.float32)


class Grower:
    """A step that writes its variables in place. Its gradient is finite, whatever the argument,
    but a large one makes the new values overflow."""

    def __init__(self, shape):
        self.w = ct.var("w", _rows(shape, 1)[0])
        self.m = ct.var("m", np.zeros(shape, np.float32))
        self.step = ct.jit(self._step)

    def _step(self, x):
        moved = self.m * 0.9 + self.w * x
        self.m.assign(moved)
        self.w.assign(self.w - moved * x)
        return x[0].sum()

    def bytes(self):
        return self.w.numpy().tobytes(), self.m.numpy().tobytes()


@pytest.mark.parametrize("shape", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("calls", [1, 5, 64, 131])
def test_a_call_that_would_overflow_writes_nothing(shape, calls):
    grower, twin = Grower(shape), Grower(shape)
    rows = _rows(shape, calls) * 0.1
    bad = np.full(shape, BAD, np.float32)
    with ct.debug_nans():
        for number, x in enumerate(rows):
            grower.step(x)
            if number == calls // 2:
                with pytest.raises(NonFiniteError, match="multiply gives infinity in"):
                    grower.step(bad)
        with pytest.raises(NonFiniteError, match="multiply gives infinity in"):
            grower.step(bad)
        for x in rows:
            twin.step(x)
        assert grower.bytes() == twin.bytes()
        with pytest.raises(NonFiniteError):  # from the state that was put back
            grower.step(bad)


@pytest.mark.parametrize("shape", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_loop_is_undone_and_the_values_at_its_iteration_are_found(shape, at):
    grower, twin = Grower(shape), Grower(shape)
    rows = _rows(shape, 7) * 0.1
    bad = rows.copy()
    bad[at, 0, 0] = BAD
    with ct.debug_nans():
        grower.step.loop(rows)
        twin.step.loop(rows)
        grower.step(rows[0])
        twin.step(rows[0])
        before = grower.bytes()
        with pytest.raises(NonFiniteError, match=rf"(?s)in 1 of .*\(iteration {at} of loop\)"):
            grower.step.loop(bad)
        assert grower.bytes() == before == twin.bytes()
        with pytest.raises(NonFiniteError):
            grower.step(np.full(shape, BAD, np.float32))
        assert grower.bytes() == before


def test_an_overflow_that_comes_of_the_state_is_found_in_its_iteration():
    w = ct.var("w", np.ones(7, np.float32))

    @ct.jit
    def step(x):
        w.assign(w * x)
        return x[0]

    with ct.debug_nans():
        with pytest.raises(NonFiniteError, match=r"(?s)in 7 of 7 .*\(iteration 3 of loop\)"):
            step.loop(np.full((6, 7), 1e10, np.float32))
        assert w.tolist() == [1.0] * 7


def test_others_may_change_the_variables_in_between():
    """By another compiled step, by `assign`, by a loop, by reading what others must not see."""
    grower, twin = Grower(SIZES["many"]), Grower(SIZES["many"])
    rows = _rows(SIZES["many"], 6) * 0.1
    bad = np.full(SIZES["many"], BAD, np.float32)
    kept = []

    def disturb(which, number):
        if number == 1:
            which.w.assign(which.w * 0.5)
        elif number == 2:
            with ct.debug_nans(False):
                which.step(rows[2])
        elif number == 3:
            which.step.loop(rows)
        elif number == 4:
            kept.append((which.w.detach(), which.w.numpy().copy()))

    for number, x in enumerate(rows):
        twin.step(x)
        disturb(twin, number)
        with ct.debug_nans():
            grower.step(x)
            disturb(grower, number)
            with pytest.raises(NonFiniteError):
                grower.step(bad)
        assert grower.w.peek().tobytes() == twin.w.peek().tobytes()
        assert grower.m.peek().tobytes() == twin.m.peek().tobytes()
    for tensor, values in kept:
        assert tensor.numpy().tobytes() == values.tobytes()


def test_a_schedule_goes_on_after_bad_calls():
    """The learning rate changes from call to call."""

    def train(rows, bad=None):
        ct.manual_seed(0)
        model = nn.Linear(100, 60)
        opt = optim.SGD(lambda n: 0.1 / (n + 1), momentum=0.9)

        @ct.jit
        def step(x):
            opt.step(model, (model(x) ** 2).mean().backward())
            return x[0].sum()

        for x in rows:
            step(x)
            if bad is not None:
                with pytest.raises(NonFiniteError):
                    step(bad)
        state = {k: np.asarray(v).tobytes() for k, v in opt.state_dict(model).items()}
        return state | {k: v.numpy().tobytes() for k, v in model.named_parameters()}

    rows = _rows((64, 100), 9)
    expected = train(rows)
    with ct.debug_nans():
        assert train(rows, np.full((64, 100), BAD, np.float32)) == expected


# Arguments that are passed by their addresses.
LARGE = (48, 100), (48, 90)


class Products:
    """A step of large arguments that writes in place; large numbers in them make it overflow."""

    def __init__(self):
        self.w = ct.var("w", _rows((100, 90), 1)[0])
        self.m = ct.var("m", np.zeros((100, 90), np.float32))
        self.step = ct.jit(self._step)

    def _step(self, x, y):
        moved = self.m * 0.9 + self.w * (x.T @ y)
        self.m.assign(moved)
        self.w.assign(self.w - moved * 1e-3)
        return x[0].sum()

    def bytes(self):
        """Read so that the step does not notice."""
        return self.w.peek().tobytes(), self.m.peek().tobytes()


def _given(kinds, n):
    """Arguments of `n` calls: tensors and arrays."""
    rows = [_rows(shape, n) for shape in LARGE]
    return [
        tuple(
            ct.tensor(r[i]) if kind is ct.Tensor else r[i].copy()
            for kind, r in zip(kinds, rows, strict=True)
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("first", [ct.Tensor, np.ndarray])
@pytest.mark.parametrize("second", [ct.Tensor, np.ndarray])
def test_large_arguments(first, second):
    """Their owner may overwrite arrays after each call."""
    watched, twin, kinds = Products(), Products(), (first, second)
    large = [np.full(shape, BAD, np.float32) for shape in LARGE]
    bad = [ct.tensor(a) if kind is ct.Tensor else a for kind, a in zip(kinds, large, strict=True)]
    for number, given in enumerate(_given(kinds, 12)):
        twin.step(*given)
        with ct.debug_nans():
            watched.step(*given)
            for array in given:
                if isinstance(array, np.ndarray):
                    array[...] = 7
            if number % 3 == 2:
                with pytest.raises(NonFiniteError):
                    watched.step(*bad)
                assert watched.bytes() == twin.bytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_two_python_threads_at_once(threads):
    """Each with a step of its own, watched or not; each gets the values it would get alone."""
    before = ct.get_num_threads()
    ct.set_num_threads(threads)
    shape = SIZES["many"]
    rows = _rows(shape, 40) * 0.1
    alone = Grower(shape)
    for x in rows:
        alone.step(x)
    found, errors = {}, []

    def work(name, watched):
        grower = Grower(shape)
        with ct.debug_nans(watched):
            for x in rows:
                grower.step(x)
                if watched:
                    try:
                        grower.step(np.full(shape, BAD, np.float32))
                    except NonFiniteError as error:
                        errors.append(error)
            found[name] = grower.bytes()

    try:
        workers = [threading.Thread(target=work, args=(i, i < 2)) for i in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        ct.set_num_threads(before)
    assert list(found.values()) == [alone.bytes()] * 3 and len(errors) == 80
