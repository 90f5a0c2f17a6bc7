"""Tables read by chunks: text of every sort, Parquet, reading ahead, arrays on disk."""

from __future__ import annotations

import csv
import datetime
import io
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cotangent as ct
from cotangent.data import Frame, memory_mapped, open_table, read_ahead, read_chunks, read_frame


def _file(tmp_path: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _read(path: Path, **how) -> tuple[tuple[str, ...], list[list[str]], list[int]]:
    frame = read_frame(open_table(path, **how))
    columns = [column.tolist() for column in frame.columns]
    return frame.names, list(map(list, zip(*columns, strict=True))), frame.places.tolist()


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, mark):
    text = f'a{mark}b\n"x{mark}y"{mark}1,5\nz{mark}2,5\n'
    if mark == ",":
        text = 'a,b\n"x,y",1\nz,2\n'
    names, rows, _ = _read(_file(tmp_path, text))
    assert names == ("a", "b")
    assert rows[0][0] == f"x{mark}y"


def test_quotes_line_ends_blank_lines_and_line_numbers(tmp_path):
    text = 'a,b\r\n"two\nlines","say ""hi"""\r\n\r\n  \r\n 3 , "x" \r\n5,"6"'
    _, rows, lines = _read(_file(tmp_path, text))
    assert rows == [["two\nlines", 'say "hi"'], ["3", '"x"'], ["5", "6"]]
    assert lines == [2, 6, 7]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_with_a_byte_order_mark_are_found(tmp_path, encoding):
    content = "größe,ort\n1,Zürich\n".encode(encoding)
    how = {"encoding": encoding} if encoding == "utf-16-le" else {}
    names, rows, _ = _read(_file(tmp_path, content), **how)
    assert (names, rows) == (("größe", "ort"), [["1", "Zürich"]])


def test_another_encoding_is_named_and_then_read(tmp_path):
    path = _file(tmp_path, "a,ort\n1,x\n2,Zürich\n".encode("cp1252"))
    with pytest.raises(ct.FileError, match=r"line 3 of .*table.csv is not text in UTF-8.*cp1252"):
        _read(path)
    assert _read(path, encoding="cp1252")[1][1] == ["2", "Zürich"]
    for wrong in ("nonsense", "hex", "a\0b"):
        with pytest.raises(ct.ArgumentError, match="no text encoding"):
            _read(path, encoding=wrong)


def test_old_line_ends(tmp_path):
    assert _read(_file(tmp_path, "a,b\r1,2\r3,4\r"))[1] == [["1", "2"], ["3", "4"]]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", ("0", "1", "2")),
        ("1,2\n3,4\n", ("0", "1")),
        ("country,2019,2020\nCH,1,2\n", ("country", "2019", "2020")),
        ("a,,a,a\n1,2,3,4\n", ("a", "column 2", "a (2)", "a (3)")),
    ],
)
def test_names_missing_and_repeated(tmp_path, text, names):
    source = open_table(_file(tmp_path, text))
    assert source.names == names
    assert bool(source.notes) == (names[0] == "0" or "" in text.splitlines()[0].split(","))
    assert len(open_table(source.path, header=False).names) == len(names)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b\n1,2\n3\n", r"line 3 of .* has 1 fields, but the first line has 2"),
        ('a,b\n1,2\n"3,4\n5,6\n', r"quotation mark opened in line 3 of .* is never closed"),
        ("a,b\n1," + "x" * 200_000 + "\n", "line 2 of .*field larger"),
        (b"\x1f\x8b\x08", r"compressed \(gzip\); unpack"),
        (b"PK\x03\x04", "ZIP file or a spreadsheet"),
        (b"PAR1", "Parquet file; name it .parquet"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, message):
    with pytest.raises((ct.FileError, ct.ArgumentError), match=message):
        _read(_file(tmp_path, content))


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(ct.FileError, match="not a plain file"):
        open_table(tmp_path)


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


@settings(deadline=None)
@given(st.lists(st.lists(FIELD, min_size=3, max_size=3), min_size=1, max_size=20))
def test_what_the_csv_module_writes_is_read(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b", "c"], *rows])
    path = _file(tmp_path_factory.mktemp("csv"), text.getvalue())
    assert _read(path, delimiter=",", header=True)[1] == [[f.strip() for f in row] for row in rows]


def test_chunks_are_the_rows_in_order(tmp_path):
    path = _file(tmp_path, "a\n" + "".join(f"{i}\n" for i in range(10)))
    frames = list(read_chunks(open_table(path), rows=4))
    assert [len(frame) for frame in frames] == [4, 4, 2]
    assert [text for frame in frames for text in frame["a"]] == [str(i) for i in range(10)]
    assert frames[-1].places.tolist() == [10, 11]


def test_an_error_in_the_thread_is_raised_after_the_rows_before_it(tmp_path):
    path = _file(tmp_path, "a,b\n" + "1,2\n" * 100 + "3\n")
    seen, before = 0, threading.active_count()
    with pytest.raises(ct.FileError, match="line 102 of"):
        for frame in read_chunks(open_table(path), rows=10):
            seen += len(frame)
    assert seen == 100
    assert threading.active_count() == before


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_loop_that_is_left_ends_the_thread_and_closes_the_file(stop):
    closed, before = [], threading.active_count()

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    items = read_ahead(endless(), depth=3)
    with pytest.raises(stop):
        for number, _ in enumerate(items):
            if number == 5:
                raise stop
    items.close()
    assert closed and threading.active_count() == before


def test_reading_goes_no_further_ahead_than_asked():
    taken, allowed = [], threading.Semaphore(0)

    def source():
        for i in range(10):
            taken.append(i)
            allowed.release()
            yield i

    items = read_ahead(source(), depth=2)
    assert next(items) == 0
    for _ in range(4):  # the one that was given, two that wait, and one in the thread's hand
        assert allowed.acquire(timeout=10)
    assert len(taken) == 4
    assert list(items) == list(range(1, 10))


# -- Parquet ----------------------------------------------------------------------------------


def test_parquet_columns_of_every_kind(tmp_path):
    polars = pytest.importorskip("polars")
    path = tmp_path / "t.parquet"
    noon = datetime.datetime(2020, 1, 2, 12)
    zone = datetime.timezone(datetime.timedelta(hours=2))
    polars.DataFrame(
        {
            "n": [1, None, 3], "f": [0.5, None, 1.5], "t": ["x", None, " z "],
            "b": [True, None, False], "d": [noon, None, noon], "id": [2**60, 2**60 + 1, 2**60 + 2],
            "z": [noon.replace(tzinfo=zone), None, None],
            "e": [datetime.timedelta(seconds=90), None, None],
        }
    ).write_parquet(path)  # fmt: skip
    frame = read_frame(open_table(path))
    np.testing.assert_array_equal(frame["n"], [1, np.nan, 3])
    np.testing.assert_array_equal(frame["f"], [0.5, np.nan, 1.5])
    assert frame["t"].tolist() == ["x", "", "z"]
    assert frame["b"].tolist() == ["true", "", "false"]
    assert frame["d"].tolist() == [noon, None, noon]
    assert frame["z"][0].item() == noon.replace(hour=10)
    assert frame["e"][0] == 90
    assert frame["id"].tolist() == [str(2**60 + i) for i in range(3)]
    assert [len(f) for f in read_chunks(open_table(path), rows=2)] == [2, 1]


def test_damaged_and_strange_parquet_files_are_refused(tmp_path):
    polars = pytest.importorskip("polars")
    path = tmp_path / "t.parquet"
    polars.DataFrame({"n": list(range(1000)), "l": [[1]] * 1000}).write_parquet(path)
    with pytest.raises(ct.FileError, match=r"column 'l' of .* holds values of type List"):
        read_frame(open_table(path))
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[: len(whole) // 2], b"x" * 100, whole[:-1]):
        path.write_bytes(content)
        with pytest.raises(ct.FileError, match=r"t.parquet cannot be read.*damaged"):
            read_frame(open_table(path))
    with pytest.raises(ct.FileError, match="no such file"):
        open_table(tmp_path / "none.parquet")
    with pytest.raises(ct.ArgumentError, match="takes no delimiter"):
        open_table(path, delimiter=";")


def test_without_polars_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(ct.MissingPackageError, match=r"pip install 'cotangent\[data\]'"):
        open_table(tmp_path / "t.parquet")


# -- arrays on disk, frames -------------------------------------------------------------------


def test_memory_mapped_arrays_feed_batches(tmp_path):
    x = np.arange(20.0).reshape(10, 2)
    np.save(tmp_path / "x.npy", x)
    mapped = memory_mapped(tmp_path / "x.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    rows = np.concatenate(list(ct.data.batches(mapped, 3, seed=1)))
    np.testing.assert_array_equal(rows, x[ct.data.shuffled(10, 1)])


def test_damaged_arrays_and_pickles_are_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ct.FileError, match="plain numbers"):
        memory_mapped(path)
    np.save(path, np.arange(1000.0))
    whole = path.read_bytes()
    for content in (b"", whole[:50], whole[:1000], b"\x93NUMPY" + b"(" * 500):
        path.write_bytes(content)
        with pytest.raises(ct.FileError, match=r"x.npy"):
            memory_mapped(path)
    np.savez(tmp_path / "x.npz", x=np.arange(3))
    with pytest.raises(ct.FileError, match="archive"):
        memory_mapped(tmp_path / "x.npz")


def test_frames_check_their_columns():
    with pytest.raises(ct.ShapeError, match=r"columns of \[1, 2\] rows"):
        Frame(["a", "b"], [np.zeros(1), np.zeros(2)])
    with pytest.raises(ct.ArgumentError, match="names for 2 columns"):
        Frame(["a", "a"], [np.zeros(1), np.zeros(1)])
    frame = Frame(["size"], [np.arange(3.0)])
    with pytest.raises(ct.UnknownKeyError, match="no column 'siz'; did you mean \"size\""):
        frame["siz"]
    assert frame.take(np.array([2, 0])).places.tolist() == [3, 1]
