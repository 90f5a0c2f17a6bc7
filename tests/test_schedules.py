"""Schedules against PyTorch's schedulers, how they compose, and the plateau."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import optim

CASES: list[tuple[str, Any, str, dict[str, Any]]] = [
    ("step", optim.step_decay(0.1, 3, 0.5), "StepLR", {"step_size": 3, "gamma": 0.5}),
    (
        "multi", optim.multi_step_decay(0.1, [2, 5, 9], 0.3),
        "MultiStepLR", {"milestones": [2, 5, 9], "gamma": 0.3},
    ),
    ("exponential", optim.exponential_decay(0.1, 0.9), "ExponentialLR", {"gamma": 0.9}),
    (
        "linear", optim.linear(0.05, 0.2, 7),
        "LinearLR", {"start_factor": 0.5, "end_factor": 1.0, "total_iters": 7},
    ),
    ("cosine", optim.cosine_decay(0.1, 30, 0.01), "CosineAnnealingLR",
     {"T_max": 30, "eta_min": 0.01}),
    ("one cycle", optim.one_cycle(0.1, 30), "OneCycleLR", {"max_lr": 0.1, "total_steps": 30}),
    (
        "one cycle, set", optim.one_cycle(0.1, 30, 0.2, 10.0, 100.0), "OneCycleLR",
        {"max_lr": 0.1, "total_steps": 30, "pct_start": 0.2, "div_factor": 10.0,
         "final_div_factor": 100.0},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "schedule", "peer", "settings"), CASES, ids=[c[0] for c in CASES])
def test_equals_pytorch(name: str, schedule: Any, peer: str, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    opt = torch.optim.SGD([torch.zeros(1)], lr=0.2 if name == "linear" else 0.1)
    if name == "linear":
        settings = settings | {"start_factor": 0.25}
    scheduler = getattr(torch.optim.lr_scheduler, peer)(opt, **settings)
    expected = []
    for _ in range(30):
        expected.append(opt.param_groups[0]["lr"])
        opt.step()
        scheduler.step()
    # PyTorch's update rules accumulate rounding; the formulas here do not.
    np.testing.assert_allclose([schedule(i) for i in range(30)], expected, rtol=1e-7, atol=1e-12)


def test_schedules_compose_print_and_pickle() -> None:
    schedule = optim.warmup(4, optim.join([optim.constant(0.5), lambda step: 0.1], [10]))
    assert [schedule(i) for i in (0, 3, 4, 13, 14)] == [0.1, 0.4, 0.5, 0.5, 0.1]
    cosine = optim.warmup(2, optim.cosine_decay(0.1, 10))
    assert repr(cosine) == (
        "warmup(steps=2, then=cosine_decay(lr=0.1, steps=10, end=0.0))"
    )  # fmt: skip
    copy = pickle.loads(pickle.dumps(cosine))
    assert [copy(i) for i in range(20)] == [cosine(i) for i in range(20)]
    assert cosine(500) == 0.0


def test_a_compiled_step_and_its_loop_follow_a_schedule() -> None:
    def run(wrap: Any, loop: bool) -> float:
        w, opt = ct.var("w", [0.0]), optim.SGD(optim.warmup(3, optim.exponential_decay(0.5, 0.5)))

        @wrap
        def step(x: Any) -> Any:
            opt.step(w, (w * x).sum().backward())
            return w.sum()

        xs = np.ones((8, 1), np.float32)
        if loop:
            step.loop(xs)
        else:
            for x in xs:
                step(x)
        return w.item()

    eager = run(lambda f: f, False)
    assert run(ct.jit, False) == run(ct.jit, True) == pytest.approx(eager, rel=1e-6)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_plateau_equals_pytorch(mode: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    settings: dict[str, Any] = {
        "mode": mode, "factor": 0.5, "patience": 2, "cooldown": 1, "min_lr": 0.01,
        "threshold": 0.01,
    }  # fmt: skip
    opt = optim.SGD(1.0)
    plateau = optim.ReduceLROnPlateau(opt, **settings)
    other = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(other, **settings)
    rng = np.random.default_rng(1)
    for i in range(60):
        metric = float(np.exp(-0.05 * i) + 0.1 * rng.random())
        plateau.step(metric)
        peer.step(metric)
        assert opt.lr == other.param_groups[0]["lr"]
        if i == 30:  # saved and taken up again
            plateau, state = optim.ReduceLROnPlateau(opt, **settings), plateau.state_dict()
            plateau.load_state_dict(state)
    assert opt.lr == 0.01 if mode == "max" else opt.lr < 1.0


def test_the_plateau_lowers_the_rates_of_groups_too() -> None:
    layers = {"a": ct.var("a", [1.0]), "b": ct.var("b", [1.0])}
    opt = optim.SGD(1.0)
    own, shared = opt.group(layers["b"], lr=0.5), opt.group(layers["a"], weight_decay=0.1)
    plateau = optim.ReduceLROnPlateau(opt, factor=0.5, patience=0)
    plateau.step(ct.tensor(1.0))
    plateau.step(1.0)
    assert (opt.lr, own.lr, shared.lr) == (0.5, 0.25, 0.5)


def test_mistakes_are_explained() -> None:
    for wrong in (
        lambda: optim.step_decay(-0.1, 3), lambda: optim.step_decay(0.1, 0),
        lambda: optim.cosine_decay(0.1, 0), lambda: optim.one_cycle(0.1, 1),
        lambda: optim.one_cycle(0.1, 10, rise=1.0), lambda: optim.one_cycle(0.1, 9, end_factor=0.5),
        lambda: optim.multi_step_decay(0.1, [3, 2]), lambda: optim.join([optim.constant(1.0)], [3]),
        lambda: optim.linear(0.1, float("nan"), 3),
        lambda: optim.ReduceLROnPlateau(optim.SGD(0.1), mode="low"),
        lambda: optim.ReduceLROnPlateau(optim.SGD(0.1), factor=1.0),
        lambda: optim.ReduceLROnPlateau(optim.SGD(0.1), patience=-1),
        lambda: optim.ReduceLROnPlateau(optim.SGD(0.1)).step(float("nan")),
    ):  # fmt: skip
        with pytest.raises(ct.ArgumentError):
            wrong()
    with pytest.raises(ct.ArgumentTypeError, match="use constant"):
        optim.warmup(3, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ct.ArgumentTypeError, match=r"every must be an integer, not 0\.5"):
        optim.step_decay(0.1, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ct.ArgumentTypeError, match="is a schedule"):
        optim.ReduceLROnPlateau(optim.SGD(optim.constant(0.1)))
