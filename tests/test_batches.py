"""Batches, shuffles, MNIST files and CSV tables."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cotangent as ct
from cotangent.data import images


def test_an_epoch_has_every_row_once_and_pairs_stay_together() -> None:
    x, y = np.arange(103 * 2).reshape(103, 2), np.arange(103)
    found = list(ct.data.batches((x, y), 10, seed=3, epoch=2))
    assert [len(b[1]) for b in found] == [10] * 10 + [3]
    rows = np.concatenate([b[1] for b in found])
    np.testing.assert_array_equal(np.sort(rows), y)
    np.testing.assert_array_equal(np.concatenate([b[0] for b in found]), x[rows])
    assert not np.array_equal(rows, y)
    np.testing.assert_array_equal(rows, ct.data.shuffled(103, 3, 2))


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    orders = [ct.data.shuffled(1000, s, e) for s in (0, 1, 2**40) for e in (0, 1, 7)]
    for i, a in enumerate(orders):
        np.testing.assert_array_equal(np.sort(a), np.arange(1000))
        for b in orders[:i]:
            assert (a == b).sum() < 12  # two random orders agree in one place on average
    np.testing.assert_array_equal(orders[4], ct.data.shuffled(1000, 1, 1))
    # Where the first row goes is uniform: a chi-squared of 9 degrees; P(X > 27.9) is 1e-3.
    places = [int(np.flatnonzero(ct.data.shuffled(50, 0, e) == 0)[0]) // 5 for e in range(500)]
    counts = np.bincount(places, minlength=10)
    assert ((counts - 50) ** 2 / 50).sum() < 27.9
    assert ct.data.shuffled(0).shape == (0,)


def test_the_order_of_this_release_is_kept() -> None:
    """Computed in plain integers, from the definition."""
    mask = 2**64 - 1
    from cotangent.data.batching import _words_of

    start = int(_words_of(5, np.array([9], np.uint64))[0])
    keys = []
    for i in range(20):
        z = (start + (i + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        keys.append((z >> 32, i))
    assert ct.data.shuffled(20, 5, 9).tolist() == [i for _, i in sorted(keys)]


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_later_start_gives_the_rest(shuffle: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(100)
    whole = list(ct.data.batches(x, 8, shuffle, epoch=4))
    monkeypatch.setattr("cotangent.data.batching._MOST_BYTES", 3 * 8 * 8)  # three at a time
    rest = ct.data.batches(x, 8, shuffle, epoch=4, start=5)
    assert len(rest) == len(whole) - 5
    for a, b in zip(whole[5:], rest, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(list(ct.data.batches(x, 8, shuffle, drop_last=True))) == 12
    assert list(ct.data.batches(x, 8, start=13)) == []


def test_containers_and_tensors() -> None:
    data = {"x": ct.tensor([[1.0], [2.0]]), "more": [np.arange(2)]}
    (batch,) = ct.data.batches(data, 5, shuffle=False)
    assert batch["x"].dtype == np.float32
    assert batch["more"][0].tolist() == [0, 1]
    assert [len(b) for b in ct.data.batches(np.zeros((0, 3)), 4)] == []


def test_mistakes_with_batches_are_explained() -> None:
    x = np.zeros((10, 2))
    with pytest.raises(ct.ShapeError, match=r"\(10, 2\), \(9,\) must have equal first axes"):
        ct.data.batches((x, np.zeros(9)), 2)
    with pytest.raises(ct.ShapeError, match="one row a sample"):
        ct.data.batches(np.zeros(()), 2)
    with pytest.raises(ct.ArgumentError, match="positive integer: 0"):
        ct.data.batches(x, 0)
    with pytest.raises(ct.ArgumentError, match="between 0 and 5"):
        ct.data.batches(x, 2, start=6)
    with pytest.raises(ct.ArgumentError, match="epoch must lie in"):
        ct.data.batches(x, 2, epoch=-1)
    with pytest.raises(ct.ArgumentTypeError, match="seed must be an integer"):
        ct.data.batches(x, 2, seed=0.5)  # type: ignore[arg-type]
    with pytest.raises(ct.ArgumentTypeError, match="not DataFrame"):
        ct.data.batches(type("DataFrame", (), {})(), 2)
    with pytest.raises(ct.ArgumentError, match="no arrays"):
        ct.data.batches((), 2)


# -- images -----------------------------------------------------------------------------------


def _idx(array: Any) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def small_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with four small files, and their checksums in the place of the real ones."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, s) for s in ((6, 28, 28), (6,), (3, 28, 28), (3,))]
    names = list(images._MNIST.checksums)
    contents = dict(zip(names, map(_idx, arrays), strict=True))
    checksums = {name: hashlib.sha256(c).hexdigest() for name, c in contents.items()}
    monkeypatch.setattr(images, "_MNIST", images._MNIST._replace(checksums=checksums))
    source = tmp_path / "source"
    source.mkdir()
    for name, content in contents.items():
        (source / f"{name}.gz").write_bytes(gzip.compress(content))
    return source


def test_files_are_downloaded_once_checked_and_kept(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    data = ct.data.mnist(folder, url=small_set.as_uri())
    assert data.x_train.shape == (6, 28, 28)
    assert data.x_test.dtype == np.float32
    assert (data.y_test.shape, data.y_test.dtype) == ((3,), np.int64)
    assert 0.0 <= data.x_train.min() < data.x_train.max() == 1.0
    again = ct.data.mnist(folder, url="file:///nowhere")
    np.testing.assert_array_equal(again.x_train, data.x_train)


def test_the_folder_comes_from_the_environment(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named").mkdir()
    small_set.rename(tmp_path / "named" / "mnist")
    monkeypatch.setenv("COTANGENT_DATA", str(tmp_path / "named"))
    assert len(ct.data.mnist(url="file:///nowhere").y_train) == 6
    monkeypatch.delenv("COTANGENT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert images.data_folder() == str(tmp_path / "cotangent" / "data")


def test_missing_damaged_and_wrong_files_are_explained(small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(ct.FileError, match=r"cannot be downloaded from file:///nowhere.*COTANGENT"):
        ct.data.mnist(tmp_path, url="file:///nowhere")
    name = next(iter(images._MNIST.checksums)) + ".gz"
    right = (small_set / name).read_bytes()
    (small_set / name).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ct.FileError, match="did not give the file"):
        ct.data.mnist(tmp_path, url=small_set.as_uri())
    assert not (tmp_path / "mnist" / name).exists()
    (tmp_path / "mnist").mkdir(exist_ok=True)
    (tmp_path / "mnist" / name).write_bytes(right[:-20])
    with pytest.raises(ct.FileError, match="is damaged"):
        ct.data.mnist(tmp_path, url=small_set.as_uri())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_real_images(name: str) -> None:
    kept = os.path.join(images.data_folder(), name.replace("_", "-"), "train-images-idx3-ubyte.gz")
    if not os.path.exists(kept):
        pytest.skip(f"{kept} is not there; name the folder of the data by COTANGENT_DATA")
    x_train, y_train, x_test, y_test = getattr(ct.data, name)()
    assert (x_train.shape, x_test.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert np.bincount(y_test).size == 10
    mean = {"mnist": 0.1307, "fashion_mnist": 0.2860}[name]  # as their papers' readers know them
    assert x_train.mean() == pytest.approx(mean, abs=1e-3)
    assert y_train.min() == 0


# -- tables -----------------------------------------------------------------------------------


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    return path


def test_a_table_of_numbers(tmp_path: Path) -> None:
    text = '\ufeff"size", rooms ,price\r\n50,2,1e2\r\n\r\n 75 ,"3",-140.5\r\n'
    table = ct.data.read_csv(_file(tmp_path, text))
    assert table.names == ("size", "rooms", "price")
    np.testing.assert_array_equal(table.values, np.float32([[50, 2, 100], [75, 3, -140.5]]))
    assert table["rooms"].tolist() == [2, 3]
    assert table[["price", "size"]].tolist() == [[100, 50], [-140.5, 75]]
    assert table.without("price").shape == (2, 2)
    assert (len(table), repr(table)) == (2, "Table(2 rows: size, rooms, price)")


def test_headerless_missing_and_chosen_columns(tmp_path: Path) -> None:
    path = _file(tmp_path, "1;2\n3;\n")
    table = ct.data.read_csv(path, header=False, delimiter=";", missing=-1.0, dtype="int64")
    assert table.names == ("0", "1")
    assert table.values.tolist() == [[1, 2], [3, -1]]
    path = _file(tmp_path, "name,age\nAda,36\nAlan,41\n")
    assert ct.data.read_csv(path, columns=["age"]).values.tolist() == [[36], [41]]


def test_mistakes_in_tables_name_file_line_and_column(tmp_path: Path) -> None:
    read = lambda text, **how: ct.data.read_csv(_file(tmp_path, text), **how)
    with pytest.raises(ct.FileError, match=r"line 3 of .*table.csv: column 'b' is 'x', not a num"):
        read("a,b\n1,2\n3,x\n")
    with pytest.raises(ct.FileError, match="column 'b' is empty; pass missing="):
        read("a,b\n1,\n")
    with pytest.raises(ct.FileError, match=r"line 4 .* has 3 fields, but the first line has 2"):
        read("a,b\n1,2\n\n3,4,5\n")
    with pytest.raises(ct.ArgumentError, match="header=False"):
        read("1,2\n3,4\n")
    for text in ("", "a,b\n"):
        with pytest.raises(ct.ArgumentError, match=r"empty|no rows"):
            read(text)
    with pytest.raises(ct.UnknownKeyError, match="no column 'c'; the table has a, b"):
        read("a,b\n1,2\n", columns=["c"])
    with pytest.raises(ct.FileError, match="cannot read"):
        ct.data.read_csv(tmp_path / "nothing.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ct.FileError, match="not text in UTF-8"):
        ct.data.read_csv(tmp_path / "binary.csv")
