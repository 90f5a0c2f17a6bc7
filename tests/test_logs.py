"""CSV logs and event files, read back by other readers."""

from __future__ import annotations

import csv
import math
import os
import resource
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cotangent as ct
from cotangent import nn, optim
from cotangent.train import CSVLog, History, TensorBoard, fit
from cotangent.train.events import EventFile, crc32c, record


def _data(n: int = 40) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    return x, (x[:, :1] > 0).astype(np.float32)


def _fit(*callbacks: Any, **more: Any) -> History:
    ct.manual_seed(0)
    settings = {"loss": "mse", "epochs": 3, "batch_size": 16, "compile": False, "check": False}
    return fit(
        nn.Linear(2, 1), _data(), optimizer=optim.SGD(0.1), callbacks=callbacks, progress=False,
        **{**settings, **more},
    )  # fmt: skip


def _run(*rows: dict[str, Any], step: int = 0) -> Any:
    """A run as callbacks see it, that has made these rows before."""
    return SimpleNamespace(history=SimpleNamespace(rows=list(rows)), step=step, loss=0.5)


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# CSV.


def test_the_log_is_the_history(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    history = _fit(CSVLog(path), validation=0.25, metrics=["mae", "r2"])
    rows = _csv(path)
    assert len(rows) == len(history) == 3
    for row, want in zip(rows, history, strict=True):
        assert list(row) == list(want)
        assert {k: float(v) for k, v in row.items()} == want


def test_lines_are_there_as_soon_as_they_are_made(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = CSVLog(path)
    log.on_start(_run())
    assert path.read_text() == "epoch,step,loss\n"
    log.on_epoch(None, {"epoch": 1, "step": 5, "loss": math.nan})
    assert path.read_text() == "epoch,step,loss\n1,5,nan\n"
    log.on_epoch(None, {"epoch": 2, "step": 10, "loss": 0.1, 'a,"b': [1, "x"], "c": None})
    assert _csv(path)[1] == {
        "epoch": "2", "step": "10", "loss": "0.1", 'a,"b': '[1, "x"]', "c": ""
    }  # fmt: skip
    log.on_epoch(None, {"epoch": 3, "step": 15, "loss": 1 / 3})
    assert float(_csv(path)[2]["loss"]) == 1 / 3
    assert _csv(path)[2]["c"] == ""
    assert [row["loss"] for row in _csv(path)] == ["nan", "0.1", str(1 / 3)]


def test_a_resumed_run_repeats_no_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [{"epoch": i, "step": 2 * i, "loss": 1.0 / i} for i in (1, 2, 3)]
    first = CSVLog(path)
    first.on_start(_run())
    for row in rows:  # the run is killed after its third epoch, with a checkpoint of the second
        first.on_epoch(None, row)
    second = CSVLog(path)
    second.on_start(_run(*rows[:2]))
    second.on_epoch(None, rows[2])
    assert [int(row["epoch"]) for row in _csv(path)] == [1, 2, 3]


def test_no_other_file_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("price,rooms\n1,2\n")
    with pytest.raises(ct.FileError, match=r"data.csv is there and is no log of a run"):
        _fit(CSVLog(path))
    assert path.read_text() == "price,rooms\n1,2\n"
    path.unlink()
    _fit(CSVLog(path))
    _fit(CSVLog(path), epochs=1)
    assert len(_csv(path)) == 1


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ct.FileError, match=r"CSVLog: cannot write .*missing/log.csv"):
        _fit(CSVLog(tmp_path / "missing" / "log.csv"))
    with pytest.raises(ct.FileError, match=r"CSVLog: cannot write"):
        _fit(CSVLog(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(ct.FileError, match=r"TensorBoard: cannot write .*file"):
        _fit(TensorBoard(tmp_path / "file"))
    with pytest.raises(ct.ArgumentError, match="TensorBoard: every must be positive"):
        TensorBoard(tmp_path, every=0)
    log = CSVLog(tmp_path / "log.csv")
    log.on_start(_run())
    (tmp_path / "log.csv").unlink()
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(ct.FileError, match="CSVLog: cannot write"):
        log.on_epoch(None, {"epoch": 1})


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(file.path) + 10, limits[1]))
    try:
        with pytest.raises(ct.FileError, match="cannot write"):
            file.scalars(1, {"loss": 1.0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        file.close()


# Event files, by a decoder of its own: it knows the formats, and nothing of the writer.


def test_the_checksum_is_crc_32c() -> None:
    # RFC 3720, section B.4.
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(bytes(range(31, -1, -1))) == 0x113FDB5C


@given(st.binary(max_size=40))
def test_the_checksum_is_the_remainder_of_a_division(data: bytes) -> None:
    """By long division of polynomials, bit by bit, as the definition has it."""
    bits = [byte >> i & 1 for byte in data for i in range(8)] + [0] * 32
    for i in range(32):
        bits[i] ^= 1
    generator = [1] + [0x1EDC6F41 >> i & 1 for i in range(31, -1, -1)]
    for i in range(len(bits) - 32):
        if bits[i]:
            for j, g in enumerate(generator):
                bits[i + j] ^= g
    remainder = sum((1 - bit) << i for i, bit in enumerate(bits[-32:]))
    assert crc32c(data) == remainder


def _records(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        yield data[at + 12 : at + 12 + size]
        assert data[at : at + 16 + size] == record(data[at + 12 : at + 12 + size])
        at += 16 + size


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def _fields(data: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol buffer, by number."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        if key & 7 == 0:
            value, at = _number(data, at)
        else:
            size = {1: 8, 5: 4}.get(key & 7)
            if size is None:
                size, at = _number(data, at)
            value, at = data[at : at + size], at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def _scalars(folder: Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of all scalars in the files of a folder."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        events = [_fields(data) for data in _records(path.read_bytes())]
        assert events[0][3] == [b"brain.Event:2"]
        assert _fields(events[1][7][0]) == {1: [1]}
        for event in events[2:]:
            assert struct.unpack("<d", event[1][0])[0] > 1e9
            for summary in event[5]:
                for value in map(_fields, _fields(summary)[1]):
                    number = struct.unpack("<f", value[2][0])[0]
                    found.append((value[1][0].decode(), event[2][0], number))
    return found


def test_event_files_hold_the_history(tmp_path: Path) -> None:
    history = _fit(TensorBoard(tmp_path, every=2), validation=0.25, metrics=["mae"])
    training, validation = _scalars(tmp_path / "training"), _scalars(tmp_path / "validation")
    for row in history:
        for name, value in row.items():
            if name == "step":
                continue
            where = validation if name.startswith("validation ") else training
            entry = (name.removeprefix("validation "), row["step"], np.float32(value))
            assert entry in where
    assert [step for tag, step, _ in training if tag == "batch loss"] == [2, 4, 6]
    assert {tag for tag, _, _ in validation} == {"loss", "mae"}


def test_numbers_that_are_hard_to_hold(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    values = {"é": math.nan, "big": 1e300, "small": -1e300, "inf": math.inf, "": 0.1, "\ud800": 1}
    for step in (0, 1, 127, 128, 2**40):
        file.scalars(step, values)
    file.close()
    found = _scalars(tmp_path)
    assert [step for tag, step, _ in found if tag == ""] == [0, 1, 127, 128, 2**40]
    last = {tag: value for tag, _, value in found}
    assert math.isnan(last["é"]) and last["big"] == math.inf and last["small"] == -math.inf
    assert last[""] == np.float32(0.1) and last["?"] == 1.0


def test_numbers_are_in_the_file_at_once(tmp_path: Path) -> None:
    callback = TensorBoard(tmp_path)
    callback.on_start(_run())
    callback.on_epoch(_run(step=4), {"epoch": 1, "step": 4, "loss": 2.0})
    assert ("loss", 4, 2.0) in _scalars(tmp_path / "training")
    callback.on_end(None)


def test_tensorboard_reads_the_same(tmp_path: Path) -> None:
    judge = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is the judge"
    )
    history = _fit(TensorBoard(tmp_path), validation=0.25)
    # The run is resumed after its second epoch, and its third epoch gives other numbers.
    callback = TensorBoard(tmp_path)
    callback.on_start(_run(step=history[1]["step"]))
    last = {**history[2], "loss": 7.0}
    callback.on_epoch(_run(step=last["step"]), last)
    callback.on_end(None)
    reader = judge.EventAccumulator(str(tmp_path / "training"))
    reader.Reload()
    names = {name for name in history.names if not name.startswith("validation ")} - {"step"}
    assert set(reader.Tags()["scalars"]) == names
    found = [(event.step, event.value) for event in reader.Scalars("loss")]
    rows = [*history.rows[:2], last]
    assert found == [(row["step"], float(np.float32(row["loss"]))) for row in rows]
    shutil.rmtree(tmp_path / "validation")
