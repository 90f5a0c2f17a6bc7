"""Saving and loading weights: round trips, PyTorch, atomicity, and damaged files."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn

pytest.importorskip("safetensors", reason="weights are safetensors files")


def _model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))


def _equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert set(a) == set(b)
    for key, value in a.items():
        np.testing.assert_array_equal(value, b[key])
        assert value.dtype == b[key].dtype
        assert value.shape == b[key].shape


def test_round_trip_of_a_model(tmp_path: Path) -> None:
    model, other = _model(), _model()
    ct.save(tmp_path / "m.safetensors", model)
    found = ct.load(str(tmp_path / "m.safetensors"))
    _equal(found, model.state_dict())
    other.load_state_dict(found)
    _equal(other.state_dict(), model.state_dict())


def test_round_trip_of_arrays(tmp_path: Path) -> None:
    values = {
        "scalar": np.array(1.5), "empty": np.zeros((0, 3), np.float32), "bool": np.array([True]),
        "int": np.arange(6).reshape(2, 3).T, "view": np.arange(12.0, dtype=np.float32)[::2],
        "half": np.ones(3, np.float16), "unsigned": np.array([1], np.uint32),
    }  # fmt: skip
    ct.save(tmp_path / "v", values)
    _equal(ct.load(tmp_path / "v"), values)
    ct.save(tmp_path / "t", {"t": ct.tensor([1.0]), "v": ct.var("v", [2.0])})
    assert {k: v.tolist() for k, v in ct.load(tmp_path / "t").items()} == {"t": [1.0], "v": [2.0]}


def test_containers_tied_weights_and_optimizer_state(tmp_path: Path) -> None:
    layer = nn.Linear(2, 2)
    ct.save(tmp_path / "c", {"layer": layer, "again": [layer.weight]})
    assert set(ct.load(tmp_path / "c")) == {"layer.weight", "layer.bias", "again.0"}
    opt = ct.optim.Adam()
    opt.step(layer, (layer(np.ones((1, 2))) ** 2).sum().backward())
    ct.save(tmp_path / "o", opt.state_dict(layer))
    _equal(ct.load(tmp_path / "o"), opt.state_dict(layer))


def test_files_are_pytorch_s(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is the judge")
    peer_files = pytest.importorskip("safetensors.torch", reason="PyTorch is the judge")
    model = _model()
    peer = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2, bias=False)
    )
    ct.save(tmp_path / "ours", model)
    peer_files.load_model(peer, tmp_path / "ours")
    _equal({k: v.numpy() for k, v in peer.state_dict().items()}, model.state_dict())
    torch.nn.init.normal_(peer[0].weight)
    peer_files.save_model(peer, str(tmp_path / "theirs"))
    model.load_state_dict(ct.load(tmp_path / "theirs"))
    _equal({k: v.numpy() for k, v in peer.state_dict().items()}, model.state_dict())


def test_an_interrupted_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    ct.save(path, {"x": np.ones(2)})
    before = path.read_bytes()
    for name, error in (
        ("fsync", OSError(28, "No space left on device")),
        ("replace", KeyboardInterrupt()),
    ):

        def fail(*args: Any, reason: BaseException = error) -> None:
            raise reason

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises((ct.FileError, KeyboardInterrupt)):
                ct.save(path, {"x": np.zeros(2)})
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == [path.name]


def test_a_folder_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def failing(reason: int) -> Any:
        def fsync(handle: int) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(reason, "no")
            real(handle)

        return fsync

    for reason in (errno.EINVAL, errno.ENOTSUP):  # where the file system knows no such thing
        monkeypatch.setattr(os, "fsync", failing(reason))
        ct.save(tmp_path / "m", {"x": np.full(2, reason)})
        assert ct.load(tmp_path / "m")["x"][0] == reason
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(ct.FileError, match="save: cannot write"):
        ct.save(tmp_path / "m", {"x": np.ones(2)})


def test_a_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    ct.save(tmp_path / "m", {"x": np.ones(1)})
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_bad_files_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "m"
    with pytest.raises(ct.FileError, match=r"load: cannot read .*m: No such file"):
        ct.load(path)
    ct.save(path, {"x": np.ones(100)})
    whole = path.read_bytes()
    for data in (b"", b"\x80\x02}q\x00.", whole[:-5], whole[:20], b"\xff" * 64):
        path.write_bytes(data)
        with pytest.raises(ct.FileError, match="damaged or of another format"):
            ct.load(path)
    with pytest.raises(ct.FileError, match="save: cannot write"):
        ct.save(tmp_path / "missing" / "m", {"x": np.ones(1)})


def test_bad_arguments_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ct.ArgumentError, match="holds no variables"):
        ct.save(tmp_path / "m", nn.ReLU())
    with pytest.raises(ct.ArgumentTypeError, match="no name"):
        ct.save(tmp_path / "m", ct.tensor([1.0]))
    with pytest.raises(ct.ArgumentTypeError, match="names must be text"):
        ct.save(tmp_path / "m", {1: np.ones(1)})
    assert not os.listdir(tmp_path)
