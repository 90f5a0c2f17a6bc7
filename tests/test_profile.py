"""``step.profile``: facts of every kernel. Times are measured, and not tested."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.compiler import compiled
from cotangent.compiler.profile import HEAD
from cotangent.console import Console
from cotangent.errors import BoundsError, CompileError

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
Y = np.array([0, 2, 1, 1, 0, 2])


class Net(nn.Module):
    def __init__(self):
        self.l1 = nn.Linear(5, 40)
        self.l2 = nn.Linear(40, 3)

    def forward(self, x):
        return self.l2(self.l1(x).tanh())


def _training():
    ct.manual_seed(0)
    model, opt = Net(), optim.Adam(lr=0.1)

    @ct.jit
    def step(x, y):
        loss = nn.cross_entropy_loss(model(x), y)
        opt.step(model, loss.backward())
        return loss

    return model, opt, step


def _bytes(model, opt):
    found = {name: value.numpy().tobytes() for name, value in model.named_parameters()}
    return found | {f"opt.{k}": np.asarray(v).tobytes() for k, v in opt.state_dict(model).items()}


def test_every_kernel_has_its_row():
    _, _, step = _training()
    step(X, Y)
    profile = step.profile(X, Y, seconds=0)
    text = step.explain()
    assert f"in {len(profile.rows)} kernels" in text
    assert [row.number for row in profile.rows] == list(range(len(profile.rows)))
    products = [row for row in profile.rows if row.kind == "matmul"]
    first = next(row for row in products if row.layer.endswith("l1"))
    assert first.flops >= 2 * 6 * 5 * 40 and first.domain == (6, 40)
    assert "test_profile.py:" in first.source
    phases = [row.phase for row in profile.rows]
    assert set(phases) == {"compute", "commit"}
    assert phases.index("commit") == phases.count("compute")


def test_times_and_peaks_are_positive_and_add_up():
    _, _, step = _training()
    profile = step.profile(X, Y, seconds=0)
    assert profile.runs >= 3
    assert profile.seconds > 0 and all(row.seconds >= 0 for row in profile.rows)
    assert profile.peaks.flops > 0 and profile.peaks.bytes > 0 and profile.peaks.threads >= 1
    row = max(profile.rows, key=lambda row: row.seconds)
    assert row.flops_per_second == row.flops / row.seconds
    assert row.bytes_per_second == row.bytes / row.seconds


def test_the_state_is_what_it_was():
    model, opt, step = _training()
    step(X, Y)
    before = _bytes(model, opt)
    step.profile(X, Y, seconds=0)
    assert _bytes(model, opt) == before
    other, same, again = _training()
    again(X, Y)
    assert step(X, Y).numpy().tobytes() == again(X, Y).numpy().tobytes()
    assert _bytes(model, opt) == _bytes(other, same)


def test_it_prints_as_a_table(capsys):
    _, _, step = _training()
    profile = step.profile(X, Y, seconds=0)
    text = str(profile)
    assert text.startswith("step: ") and f"in {len(profile.rows)} kernels" in text
    lines = text.splitlines()
    assert len(lines) == 2 + len(profile.rows)
    assert any("matmul [6, 40]: matmul" in line and "test_profile.py:" in line for line in lines)
    Console(plain=True).table(*profile.table())
    shown = capsys.readouterr().out
    assert all(name in shown for name in HEAD)


def test_it_shows_itself_by_rich_on_a_terminal_and_else_as_text(capsys, monkeypatch):
    _, _, step = _training()
    profile = step.profile(X, Y, seconds=0)
    profile.show()
    assert capsys.readouterr().out == f"{profile}\n"
    pytest.importorskip("rich")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    profile.show()
    shown = capsys.readouterr().out
    assert "\u2500" * 5 in shown and all(name in shown for name in HEAD)
    assert shown.count("test_profile.py") == str(profile).count("test_profile.py")


def test_what_is_faster_than_memory_is_said_to_come_from_a_cache():
    _, _, step = _training()
    profile = step.profile(X, Y, seconds=0)
    slow = profile._replace(peaks=profile.peaks._replace(bytes=1.0))
    fast = profile._replace(peaks=profile.peaks._replace(bytes=1e15))
    place = HEAD.index("% memory")
    assert {row[place] for row in slow.table()[1]} == {"cache"}
    assert {row[place] for row in fast.table()[1]} == {"0"}
    assert not any(row[-2].endswith(": ") for row in fast.table()[1])


def test_a_function_that_was_never_called_and_writes_nothing():
    profile = ct.jit(lambda x: (x @ x.T).sum()).profile(X, seconds=0)
    assert {row.phase for row in profile.rows} == {"compute"}


def test_several_threads():
    f = ct.jit(lambda x: ct.tanh(x).sum())
    before = ct.get_num_threads()
    try:
        ct.set_num_threads(2)
        profile = f.profile(np.ones((1000, 1000), np.float32), seconds=0)
        assert profile.peaks.threads == 2
    finally:
        ct.set_num_threads(before)
    assert f(np.ones((10, 10), np.float32)).item() == pytest.approx(100 * np.tanh(1), rel=1e-5)


def test_a_bad_index_is_the_error_of_the_call():
    w = ct.var("w", np.ones(3))

    @ct.jit
    def step(i):
        w.assign(w * 2)
        return ct.take(w, i)

    with pytest.raises(BoundsError, match="index 7 is out of range"):
        step.profile(np.array([7]))
    assert w.tolist() == [1.0, 1.0, 1.0]


def test_without_machine_code_there_is_nothing_to_time(monkeypatch):
    monkeypatch.setattr(compiled, "link", lambda *args: None)
    with pytest.raises(CompileError, match="profile: <lambda> has no machine code here"):
        ct.jit(lambda x: x * 2).profile(X)


# -- explain ----------------------------------------------------------------------------------


def test_explain_shows_what_each_pass_made():
    _, _, step = _training()
    step(X, Y)
    short, long = step.explain(), step.explain(passes=True)
    titles = ["traced (", "simplified (", "fused (", "memory:", "kernels:"]
    places = [long.index(title) for title in titles]
    assert places == sorted(places)
    assert "graph:" in short and not any(title in short for title in titles[:4])
    assert short.splitlines()[0] == long.splitlines()[0]
    assert short[short.index("kernels:") :] == long[long.index("kernels:") :]
    before, after = (int(long[at:].split("(")[1].split()[0]) for at in places[:2])
    assert after < before  # simplification leaves less
    assert "matmul over [6, 40]: %" in long and "; keeps %" in long
    assert "arena 0, " in long and "variable " in long and "output 0, 4 bytes" in long


def test_explain_says_why_a_fusion_stopped():
    f = ct.jit(lambda x: (x.exp() / x.exp().sum()) @ x.T)
    f(X)
    text = f.explain()
    kernels = text[text.index("kernels:") :]
    count = int(text.split(" in ")[1].split()[0])
    assert kernels.count("new kernel, because ") == count
    assert "has a kernel of its own" in kernels
    assert "FLOPs" in kernels and "bytes" in kernels and "arena" in text.splitlines()[0]
