"""Runs that are killed, run out of disk, or are resumed with a model that is built otherwise."""

from __future__ import annotations

import errno
import os
import random
import shutil
from pathlib import Path
from typing import Any

import killing_runs
import numpy as np
import pytest

import cotangent as ct
from cotangent import nn, optim
from cotangent.train import History, checkpoint, fit


class Forward(nn.Module):
    """Layers whose names are in the order of their use."""

    def __init__(self) -> None:
        self.first = nn.Linear(2, 4)
        self.second = nn.Linear(4, 4)
        self.third = nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        return self.third(self.second(self.first(x).tanh()).tanh())


class Backward(Forward):
    """The same layers, made in the reverse order."""

    def __init__(self) -> None:
        self.third = nn.Linear(4, 1)
        self.second = nn.Linear(4, 4)
        self.first = nn.Linear(2, 4)


class Renamed(nn.Module):
    """The same layers, one of another name."""

    def __init__(self) -> None:
        self.first = nn.Linear(2, 4)
        self.middle = nn.Linear(4, 4)
        self.third = nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        return self.third(self.middle(self.first(x).tanh()).tanh())


def _fit(model: Any, folder: Path | None, epochs: int, **more: Any) -> History:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 2)).astype(np.float32)
    return fit(
        model, (x, x[:, :1] * x[:, 1:]), epochs=epochs, batch_size=8, optimizer=optim.Adam(0.01),
        ema=0.9, folder=folder, resume=folder is not None, checkpoint_seconds=0.0, progress=False,
        **more,
    )  # fmt: skip


def _model(make: Any) -> Any:
    ct.manual_seed(1)
    return make()


def _same(a: Any, b: Any) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert set(ours) == set(theirs)
    for name, x in ours.items():
        assert np.asarray(x).tobytes() == np.asarray(theirs[name]).tobytes(), name


def test_killed_at_random_moments() -> None:
    count = len(killing_runs.KINDS)
    found = killing_runs.kill_runs(count, random.randrange(2**32), epochs=15)
    assert [kind for kind, _ in found] == list(killing_runs.KINDS)


def test_layers_in_another_order_get_their_own_state(tmp_path: Path) -> None:
    whole, begun, reordered = _model(Forward), _model(Forward), _model(Backward)
    _fit(whole, None, 4)
    _fit(begun, tmp_path, 2)
    _fit(reordered, tmp_path, 4)
    _same(reordered, whole)


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    _fit(_model(Forward), tmp_path, 2)
    with pytest.raises(ct.Error, match=r"middle\.weight"):
        _fit(_model(Renamed), tmp_path, 4)
    wider = Forward()
    wider.second = nn.Linear(4, 5)
    wider.third = nn.Linear(5, 1)
    with pytest.raises(ct.Error, match=r"second\.weight"):
        _fit(wider, tmp_path, 4)
    whole, resumed = _model(Forward), _model(Forward)
    _fit(whole, None, 4)
    _fit(resumed, tmp_path, 4)  # the refusals have changed nothing on disk
    _same(resumed, whole)


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_full_disk_ends_a_run_that_then_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real, made = getattr(os, call), 0

    def fail(*args: Any, **settings: Any) -> Any:
        nonlocal made
        made += call != "open" or str(args[0]).endswith(".part")
        if made > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **settings)

    whole, stopped, resumed = _model(Forward), _model(Forward), _model(Forward)
    _fit(whole, None, 4)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(ct.FileError, match=r"cannot write .*: No space left on device"):
            _fit(stopped, tmp_path, 4)
    assert checkpoint.read(tmp_path).facts["step"] > 0
    _fit(resumed, tmp_path, 4)
    _same(resumed, whole)


def test_a_folder_that_vanishes_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    class Remove(ct.train.Callback):
        every = 3

        def on_step(self, run: Any) -> None:
            shutil.rmtree(folder, ignore_errors=True)

    with pytest.raises(ct.FileError, match="run"):
        _fit(_model(Forward), folder, 2, callbacks=[Remove()])


def test_a_damaged_newest_checkpoint_costs_only_time(tmp_path: Path) -> None:
    whole, begun, resumed = _model(Forward), _model(Forward), _model(Forward)
    _fit(whole, None, 4)
    _fit(begun, tmp_path, 3)
    newest = checkpoint.read(tmp_path).path
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    with pytest.warns(RuntimeWarning, match=r"its checksum is another; the one before is used"):
        _fit(resumed, tmp_path, 4)
    _same(resumed, whole)


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    with checkpoint.lock(tmp_path), pytest.raises(ct.FileError, match="in use by another run"):
        _fit(_model(Forward), tmp_path, 1)
