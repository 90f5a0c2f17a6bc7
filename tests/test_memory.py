"""Eager training holds on to nothing: no graph outlives its backward pass, without the collector.

The collector of cycles is off, so whatever is freed is freed by reference counts, at once.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim

STEPS = 1000
SLACK = 100_000  # bytes
WIDTH = 64
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(256, 2)).astype("f4"), RNG.normal(size=(256, 1)).astype("f4")


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def _training(kind: type, **settings: float) -> Callable[[], ct.Tensor]:
    """A step. What it computes on the way takes half a megabyte, so that a kept graph shows."""
    model = nn.Sequential(nn.Linear(2, WIDTH), nn.LayerNorm(WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
    opt = kind(0.01, **settings)

    def step() -> ct.Tensor:
        loss = nn.mse_loss(model(X), Y)
        grads, _ = optim.clip_norm(loss.backward(), 1.0)
        opt.step(model, grads)
        return loss

    return step


def _resident() -> int:
    """The memory of this process, in bytes."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _growth(step: Callable[[], object], times: int) -> int:
    """By how much the process grows over a third of `times` steps: the least of three measurements,
    since a leak shows in each, and an arena of the allocator in one."""
    for _ in range(100):
        step()
    grown = []
    for _ in range(3):
        before = _resident()
        for _ in range(times // 3):
            step()
        grown.append(_resident() - before)
    return min(grown)


def _heap_filled() -> list[np.ndarray]:
    """Blocks that take what the allocator has to spare, so that all that is kept shows."""
    blocks, before = [], _resident()
    while _resident() < before + (4 << 20):
        blocks.append(np.ones((X.shape[0], WIDTH), "f4"))
    return blocks


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(optim.Adam, {}), (optim.SGD, {"momentum": 0.9}), (optim.Lion, {}), (optim.RMSprop, {})],
)
def test_training_grows_by_nothing(kind, settings):
    assert _growth(_training(kind, **settings), STEPS if kind is optim.Adam else 100) < SLACK


def test_kept_losses_do_not_keep_their_graphs():
    step, losses = _training(optim.Adam), []
    grown = _growth(lambda: losses.append(step()), STEPS)
    assert grown < STEPS // 3 * 2000  # a tensor and its entry, not the half megabyte of a graph
    assert len(losses) == STEPS // 3 * 3 + 100


def test_the_judge_sees_a_graph_that_is_kept():
    model, kept = nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh()), []

    def step() -> None:
        loss = model(X).sum()
        loss.backward(keep=True)
        kept.append(loss)

    ballast = _heap_filled()
    assert _growth(step, 90) > 20 * X.shape[0] * WIDTH * 4
    del ballast


def test_graphs_without_a_backward_pass_go_with_their_results():
    model = nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
    assert _growth(lambda: model(X).sum(), 100) < SLACK


def test_an_error_on_the_way_leaves_nothing():
    model = nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))

    def step() -> None:
        with pytest.raises(ct.ShapeError):
            nn.mse_loss(model(X), Y[:3])

    gc.enable()  # the traceback of an exception is a cycle of Python's own
    assert _growth(step, 100) < 5 * SLACK


def test_transformations_grow_by_nothing():
    model = nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))

    def step() -> None:
        ct.grad(lambda m: nn.mse_loss(m(X), Y))(model)
        ct.grad(lambda x: ct.grad(lambda z: (model(z) ** 2).sum())(x).sum())(X)

    assert _growth(step, 100) < SLACK


def test_watching_grows_by_nothing():
    model = nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))

    def step() -> None:
        with nn.watch(model) as seen:
            model(X).sum().backward()
        assert len(seen.gradients) == 4

    assert _growth(step, 100) < SLACK


def test_compiled_training_grows_by_nothing():
    step = ct.jit(_training(optim.Adam))
    assert _growth(step, STEPS) < SLACK
