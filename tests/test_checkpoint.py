"""Checkpoints: round trips, damage of every byte, full disks, kills, and two runs in one folder."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import string
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import killing
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import cotangent as ct
from cotangent.io import sealed
from cotangent.io.weights import DTYPES
from cotangent.runtime.digest import checksum
from cotangent.train import checkpoint

Array = np.ndarray[Any, Any]
Content = tuple[dict[str, Array], dict[str, Any]]

EXAMPLE: Content = (
    {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "bias": np.array([0.5, -0.0, np.nan]),
        "seen": np.array(7, np.int64),
        "mask": np.array([True, False, True]),
        "none": np.zeros((0, 4), np.float16),
    },
    {"epoch": 3, "loss": 0.1, "best": None, "rows": [{"loss": 1.5}, {}], "name": "é\ud800"},
)


def _same(found: Content, given: Content) -> bool:
    arrays, facts = found
    return (
        set(arrays) == set(given[0])
        and all(
            x.dtype == arrays[name].dtype
            and x.shape == arrays[name].shape
            and x.tobytes() == arrays[name].tobytes()
            for name, x in given[0].items()
        )
        and json.dumps(facts) == json.dumps(given[1])
    )


def _sealed(path: Path, content: Content = EXAMPLE) -> bytes:
    sealed.write_sealed(str(path), *content)
    return path.read_bytes()


def _read(path: Path) -> Content:
    return sealed.read_sealed(str(path))


# Round trips.

_FACTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=12,
)
_NAMES = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda s: s != "__metadata__")
_ARRAYS = st.sampled_from([d for d in DTYPES.values() if d != "bfloat16"]).flatmap(
    lambda dtype: arrays_of.arrays(
        dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    )
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(_NAMES, _ARRAYS, max_size=5), st.dictionaries(st.text(), _FACTS, max_size=5))
def test_what_is_written_is_read(tmp_path: Path, arrays: Any, facts: Any) -> None:
    path = tmp_path / "x.safetensors"
    _sealed(path, (arrays, facts))
    assert _same(_read(path), (arrays, facts))


def test_the_package_safetensors_reads_the_same(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors", reason="the judge of the format")
    path = tmp_path / "x.safetensors"
    _sealed(path)
    assert _same((ct.load(path), EXAMPLE[1]), EXAMPLE)
    with package.safe_open(path, "np") as file:
        assert json.loads(file.metadata()["facts"]) == EXAMPLE[1]
    _sealed(path, ({}, {}))
    assert ct.load(path) == {}


def test_tensors_strides_and_byte_orders(tmp_path: Path) -> None:
    path = tmp_path / "x"
    given = {
        "tensor": ct.tensor([1.0, 2.0], dtype=ct.bfloat16),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "big": np.arange(3, dtype=">i4"),
    }
    sealed.write_sealed(str(path), given, {})
    arrays, _ = _read(path)
    for name, x in given.items():
        np.testing.assert_array_equal(arrays[name], np.asarray(x))
        assert arrays[name].dtype.isnative and not arrays[name].flags.writeable
        assert arrays[name].flags.aligned
    assert arrays["tensor"].dtype == ct.bfloat16


@pytest.mark.parametrize(
    ("arrays", "facts", "kind", "text"),
    [
        ({1: np.ones(1)}, {}, ct.ArgumentTypeError, "names of arrays must be text, not 1"),
        ({"__metadata__": np.ones(1)}, {}, ct.ArgumentError, "__metadata__"),
        ({"\ud800": np.ones(1)}, {}, ct.ArgumentError, "no valid Unicode"),
        ({"w": np.array(["a"])}, {}, ct.DTypeError, "array 'w' of dtype <U1"),
        ({"w": np.array([None])}, {}, ct.DTypeError, "array 'w' of dtype object"),
        ({"w": np.ones(2, complex)}, {}, ct.DTypeError, "complex128"),
        ({}, {"a": [1, {"b": np.float32(1)}]}, ct.ArgumentTypeError, r"facts\['a'\]\[1\]\['b'\]"),
        ({}, {"a": (1, 2)}, ct.ArgumentTypeError, "class tuple"),
        ({}, {"a": {1: 2}}, ct.ArgumentTypeError, r"facts\['a'\] has the key 1"),
        ({}, [1], None, ""),
    ],
)
def test_what_cannot_be_held_is_named(
    tmp_path: Path, arrays: Any, facts: Any, kind: Any, text: str
) -> None:
    if kind is None:
        kind, text = ct.ArgumentTypeError, "facts must be a dict"
    with pytest.raises(kind, match=text):
        sealed.write_sealed(str(tmp_path / "x"), arrays, facts)
    deep: Any = {}
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(ct.ArgumentError, match="nested more than 50 deep"):
        sealed.write_sealed(str(tmp_path / "x"), {}, deep)
    assert not list(tmp_path.iterdir())


# Damage.


def _refused_or_equal(path: Path, data: bytes, content: Content = EXAMPLE) -> bool:
    """Whether a damaged file is refused; if it is not, it must load equal."""
    path.unlink(missing_ok=True)  # a file that is overwritten is flushed, which takes longer
    path.write_bytes(data)
    try:
        found = _read(path)
    except ct.FileError as error:
        assert str(path) in str(error)
        return True
    assert _same(found, content)
    return False


@pytest.mark.parametrize("chunk", [1 << 24, 97])
def test_every_damaged_byte_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    path = tmp_path / "x"
    whole = _sealed(path)
    monkeypatch.setattr(sealed, "_CHUNK", chunk)  # files are read and hashed in such pieces
    assert _same(_read(path), EXAMPLE)
    for at in range(len(whole)):
        for change in (0x01, 0x20, 0xFF):
            data = bytearray(whole)
            data[at] ^= change
            assert _refused_or_equal(path, bytes(data)), at


def test_every_damaged_region_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    whole = _sealed(path)
    n = len(whole)
    for size in (1, 3, 8, 64, 500):
        for at in range(0, n - size + 1, size):
            region, rest = whole[at : at + size], whole[at + size :]
            other = whole[-size:]
            for put in (bytes(size), b"\xff" * size, region[::-1], other, b"", region * 2, b" "):
                data = whole[:at] + put + rest
                assert _refused_or_equal(path, data) == (data != whole)
            swapped = whole[:at] + whole[at + size : at + 2 * size] + region
            data = swapped + whole[at + 2 * size :]
            assert _refused_or_equal(path, data) == (data != whole)


def test_a_cut_off_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x"
    whole = _sealed(path)
    for length in range(len(whole)):
        path.unlink()
        path.write_bytes(whole[:length])
        with pytest.raises(sealed.DamagedFileError, match=r"is cut off|no file that"):
            _read(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(ct.FileError, match=f"cut off: it has {len(whole) - 1:,} bytes"):
        _read(path)
    path.write_bytes(whole + b" ")
    with pytest.raises(ct.FileError, match="was added to"):
        _read(path)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_edit_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x"
    content: Content = ({"w": np.arange(40, dtype=np.float32)}, {"epoch": 1})
    whole = bytearray(_sealed(path, content))
    edited = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(edited)))
        end = data.draw(st.integers(at, len(edited)))
        edited[at:end] = data.draw(st.binary(max_size=20))
    assert _refused_or_equal(path, bytes(edited), content) == (edited != whole)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=300))
def test_foreign_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    assert _refused_or_equal(path, data)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    ct.save(path, {"w": np.ones(100)})
    with pytest.raises(ct.FileError, match="is no file that this function writes"):
        _read(path)
    with pytest.raises(ct.FileError, match="No such file"):
        _read(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ct.FileError, match="folder"):
        _read(tmp_path / "folder")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ct.FileError, match="is no file"):
        _read(tmp_path / "pipe")


def test_nothing_is_allocated_for_a_claim(tmp_path: Path) -> None:
    path = tmp_path / "x"
    _sealed(path)
    with path.open("r+b") as file:
        file.truncate(1 << 43)  # a sparse file: it takes no room
    with pytest.raises(sealed.DamagedFileError, match="was added to"):
        _read(path)


# Files that someone made with a right checksum.


def _forged(header: bytes, data: bytes) -> bytes:
    """A file of any header after the fixed beginning, with a right checksum."""
    begin = sealed._START + b"0" * 64 + b'","bytes":"'
    size = 8 + len(begin) + 16 + len(header) + len(data)
    rest = begin + b"%016d" % size + header + data
    whole = (len(rest) - len(data)).to_bytes(8, "little") + rest
    at = 8 + len(sealed._START)
    return whole[:at] + checksum([whole]).encode() + whole[at + 64 :]


def _header(entries: Any, facts: Any = "{}", form: Any = sealed.FORMAT) -> bytes:
    meta = json.dumps({"format": form, "facts": facts})[1:]
    comma = "," if entries else ""
    return (f'",{meta}{comma}' + json.dumps(entries)[1:]).encode()


def _entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_forged_file_that_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(_forged(_header({"w": _entry()}, '{"a": 1}'), np.ones(2, "<f4").tobytes()))
    assert _same(_read(path), ({"w": np.ones(2, np.float32)}, {"a": 1}))


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (_header({"w": _entry("F7")}), "F7"),
        (_header({"w": _entry(["F32"])}), "unhashable"),
        (_header({"w": _entry(shape=(3,))}), "does not fit its shape"),
        (_header({"w": _entry(shape=(-2, -1))}), "no natural number"),
        (_header({"w": _entry(shape=(2.0,))}), "no natural number"),
        (_header({"w": _entry(shape=(True, 2))}), "no natural number"),
        (_header({"w": _entry(offsets=(0, 8, 9))}), "too many values"),
        (_header({"w": _entry(offsets=(-8, 0))}), "no natural number"),
        (_header({"w": _entry(offsets=(4, 12))}), "does not fit"),
        (_header({"w": _entry(shape=(1,), offsets=(0, 4))}), "do not fill"),
        (_header({"w": _entry(shape=(1,), offsets=(4, 8))}), "do not fill"),
        (_header({"w": _entry(shape=(0, 2**70), offsets=(0, 0))}), "is not as"),
        (_header({"w": _entry(), "v": _entry()}), "overlap"),
        (_header({"w": _entry(), "v": _entry("U8", (4,), (2, 6))}), "overlap"),
        (
            _header({"w": _entry("U8", (2,), (0, 2)), "v": _entry("U8", (2,), (6, 8))}),
            "leave gaps",
        ),
        (_header({}), "do not fill"),
        (_header({"w": _entry("BOOL", (8,))}), "no bools"),
        (_header({"w": 3}), "is not as"),
        (_header({"w": _entry()}, "[]"), "facts are no dict"),
        (_header({"w": _entry()}, '{"a": 1, "a": 2}'), "twice"),
        (_header({"w": _entry()}, "{" * 10), "is not as"),
        (_header({"w": _entry()}, '{"a":' + "[" * 100_000), "is not as"),
        (_header({"w": _entry()}, 3), "is not as"),
        (_header({"w": _entry()}, form="cotangent 2"), "format 'cotangent 2'.*update"),
        (b"\xff\xfe", "is not as"),
        (b'"}}', "'format'"),
        (b'"},"__metadata__":{}}', "twice"),
        (b'"', "is not as"),
    ],
)
def test_a_forged_file_that_is_wrong_is_refused(tmp_path: Path, header: bytes, text: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(_forged(header, b"\x02" * 8))
    with pytest.raises(ct.FileError, match=text):
        _read(path)


_ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 20) | st.integers() | st.floats()
    | st.sampled_from([*DTYPES, "dtype", "shape"]) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below),
    max_leaves=5,
)  # fmt: skip
_ENTRY = _ODD | st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPES]) | _ODD,
        "shape": st.lists(st.integers(0, 4), max_size=3) | _ODD,
        "data_offsets": st.lists(st.sampled_from([0, 4, 8, 16]), min_size=2, max_size=2) | _ODD,
    }
)


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(st.text(max_size=2), _ENTRY, max_size=3),
    st.sampled_from(["{}", "[]", "", "{", '{"a": NaN}']) | _ODD,
    st.integers(0, 24),
)
def test_forged_files_raise_nothing_else(
    tmp_path: Path, entries: Any, facts: Any, size: int
) -> None:
    path = tmp_path / "x"
    path.write_bytes(_forged(_header(entries, facts), bytes(size)))
    with contextlib.suppress(ct.Error):
        arrays, _ = _read(path)
        assert sum(x.nbytes for x in arrays.values()) == size
        assert set(arrays) == set(entries)


# The folder.


def _n(n: int) -> Content:
    return {"w": np.full(5, n)}, {"n": n}


def _numbers(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "checkpoints").iterdir())


def test_the_two_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    assert not checkpoint.exists(tmp_path)
    with checkpoint.lock(tmp_path):
        with pytest.raises(ct.FileError, match=r"there is no checkpoint in .*checkpoints"):
            checkpoint.read(tmp_path)
        for n in range(1, 6):
            path = checkpoint.write(tmp_path, *_n(n), best=n in (1, 3))
            assert path.name in _numbers(tmp_path)
            assert checkpoint.read(tmp_path).facts == {"n": n}
            assert checkpoint.read(tmp_path, best=True).facts == {"n": 1 if n < 3 else 3}
    assert [name[7:-12] for name in _numbers(tmp_path)] == ["3-best", "4", "5"]
    assert checkpoint.exists(tmp_path)
    other = tmp_path / "other"
    with checkpoint.lock(other):
        checkpoint.write(other, *_n(1))
    with pytest.raises(ct.FileError, match="there is no best checkpoint"):
        checkpoint.read(other, best=True)


def test_everything_is_on_the_disk_before_anything_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            target = (
                args[0] if isinstance(args[0], str) else os.readlink(f"/proc/self/fd/{args[0]}")
            )
            calls.append(f"{name} {Path(target).suffix or 'folder'}")
            return function(*args)

        return call

    with checkpoint.lock(tmp_path):
        for n in range(3):
            for name in ("fsync", "replace", "unlink"):
                if n == 2:
                    monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
            checkpoint.write(tmp_path, *_n(n))
    assert calls == ["fsync .part", "replace .part", "fsync folder", "unlink .safetensors"]


def test_a_damaged_newest_is_passed_over_and_said(tmp_path: Path) -> None:
    with checkpoint.lock(tmp_path):
        for n in range(1, 4):
            last = checkpoint.write(tmp_path, *_n(n))
    last.write_bytes(last.read_bytes()[:-3])
    with pytest.warns(RuntimeWarning, match=r"00000003.safetensors is cut off.*one before is used"):
        assert checkpoint.read(tmp_path).facts == {"n": 2}
    assert last.exists()  # only the run itself sets it aside
    with checkpoint.lock(tmp_path), pytest.warns(RuntimeWarning, match="cut off"):
        found = checkpoint.read(tmp_path)
        assert not last.exists() and (last.parent / (last.name + ".damaged")).exists()
        checkpoint.write(tmp_path, *_n(9))
        assert checkpoint.read(tmp_path).facts == {"n": 9}
        assert found.path.exists()
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ct.FileError, match=r"no checkpoint in .* can be used:\n.*00000003.*\n.*02"):
        checkpoint.read(tmp_path)


def test_a_checkpoint_of_a_later_version_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with checkpoint.lock(tmp_path):
        checkpoint.write(tmp_path, *_n(1))
        with monkeypatch.context() as patch:
            patch.setattr(sealed, "FORMAT", "cotangent 9")
            checkpoint.write(tmp_path, *_n(2))
    with pytest.raises(ct.FileError, match="format 'cotangent 9'"):
        checkpoint.read(tmp_path)


# Disks and folders that do not take it.


@contextlib.contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """As a full disk: no file grows beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_at_any_byte_loses_nothing(tmp_path: Path) -> None:
    with checkpoint.lock(tmp_path):
        for n in (1, 2):
            whole = checkpoint.write(tmp_path, *_n(n), best=n == 1)
        before = _numbers(tmp_path)
        for size in range(0, whole.stat().st_size, 7):
            with (
                pytest.raises(ct.FileError, match=r"cannot write .*00000003.*File too large"),
                _files_of_at_most(size),
            ):
                checkpoint.write(tmp_path, *_n(3))
            assert _numbers(tmp_path) == before
            assert checkpoint.read(tmp_path).facts == {"n": 2}
            assert checkpoint.read(tmp_path, best=True).facts == {"n": 1}
        with _files_of_at_most(whole.stat().st_size):
            checkpoint.write(tmp_path, *_n(3))
        assert checkpoint.read(tmp_path).facts == {"n": 3}


@pytest.mark.parametrize("name", ["open", "fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), OSError(13, "Permission denied")]
)
def test_a_call_that_fails_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: OSError
) -> None:
    def fail(*args: Any) -> None:
        raise error

    with checkpoint.lock(tmp_path):
        checkpoint.write(tmp_path, *_n(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(ct.FileError, match=rf"00000002.safetensors: {error.strerror}"):
                checkpoint.write(tmp_path, *_n(2))
        assert _numbers(tmp_path) == ["00000001.safetensors"]
        assert checkpoint.read(tmp_path).facts == {"n": 1}


def test_a_folder_that_vanished_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with checkpoint.lock(folder):
        checkpoint.write(folder, *_n(1))
        shutil.rmtree(folder)
        with pytest.raises(ct.FileError, match=r"cannot write in .*run/checkpoints: No such file"):
            checkpoint.write(folder, *_n(2))
    with pytest.raises(ct.FileError, match=r"cannot read in .*run/checkpoints"):
        checkpoint.read(folder)
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ct.FileError, match=r"cannot use the folder .*file"),
        checkpoint.lock(tmp_path / "file"),
    ):
        pass


# Two runs, and kills.


def test_a_second_run_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with checkpoint.lock(tmp_path):
        with (
            pytest.raises(ct.FileError, match=r"in use by another run in this process"),
            checkpoint.lock(tmp_path / "." / "checkpoints" / ".."),
        ):
            pass
        child = os.fork()
        if child == 0:
            try:
                with checkpoint.lock(tmp_path):
                    os._exit(1)
            except ct.FileError as error:
                os._exit(0 if f"in use by process {os.getppid()} on" in str(error) else 2)
        assert os.waitpid(child, 0)[1] == 0
    with checkpoint.lock(tmp_path):
        pass


def test_a_killed_run_leaves_the_folder_free(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        with checkpoint.lock(tmp_path):
            os.write(writes, b"x")
            os.read(reads, 0)
            while True:
                signal.pause()
    os.close(writes)
    assert os.read(reads, 1) == b"x"
    os.close(reads)
    with (
        pytest.raises(ct.FileError, match=f"in use by process {child} on"),
        checkpoint.lock(tmp_path),
    ):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    part = tmp_path / "checkpoints" / ".00000001.safetensors.9-0.part"
    part.write_bytes(b"half of it")
    with checkpoint.lock(tmp_path):
        assert not part.exists()


def test_a_child_that_outlives_a_run_does_not_hold_its_folder(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    with checkpoint.lock(tmp_path):
        child = os.fork()
        if child == 0:
            os.close(writes)
            os.read(reads, 1)
            os._exit(0)
    with checkpoint.lock(tmp_path):
        pass
    os.close(writes)
    os.waitpid(child, 0)
    os.close(reads)


CALLS = ("open", "fdopen", "fsync", "replace", "unlink", "close")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_a_call(tmp_path: Path, name: str, after: bool) -> None:
    """Killed before or after each kind of call of a write, the third in the folder."""
    with checkpoint.lock(tmp_path):
        for n in (1, 2):
            checkpoint.write(tmp_path, *_n(n))
    child = os.fork()
    if child == 0:
        with checkpoint.lock(tmp_path):
            real = getattr(os, name)

            def die(*args: Any, **settings: Any) -> None:
                if after:
                    real(*args, **settings)
                os.kill(os.getpid(), signal.SIGKILL)

            setattr(os, name, die)
            checkpoint.write(tmp_path, *_n(3))
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    with checkpoint.lock(tmp_path):
        found = checkpoint.read(tmp_path)
        assert _same((found.arrays, found.facts), _n(found.facts["n"]))
        late = CALLS.index(name) > 3 or (name == "replace" and after)
        assert found.facts["n"] == (3 if late else 2)


def test_killed_at_random_moments() -> None:
    died = killing.kill_writers(25, seed=random.randrange(2**32))
    assert sum(died.values()) == 25


def test_names_of_arrays_that_look_like_the_format(tmp_path: Path) -> None:
    path = tmp_path / "x"
    names = ['"},"', "checksum", "bytes", "", " ", "\n", *string.punctuation]
    content: Content = ({name: np.array(i) for i, name in enumerate(names)}, {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _sealed(path, content)
        assert _same(_read(path), content)


def test_the_code_in_the_documentation_runs() -> None:
    page = Path(__file__).parent.parent / "docs" / "checkpoints.md"
    blocks = page.read_text("utf-8").split("```python\n")[1:]
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block.partition("```")[0], str(page), "exec"), names)
    shutil.rmtree(names["folder"])
