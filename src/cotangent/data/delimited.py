"""Tables in text files: CSV and its relatives, by Python's own means."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from math import isfinite
from typing import Any

import numpy as np

from ..errors import ArgumentError, FileError
from .frame import Frame

Array = np.ndarray[Any, Any]
Row = tuple[int, list[str]]  # the line that it begins on, and its fields

DELIMITERS = ",;\t|"
_SAMPLE = 1 << 16  # characters by which the delimiter is found
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FOREIGN = {
    b"PAR1": "a Parquet file; name it .parquet",
    b"\x1f\x8b": "compressed (gzip); unpack it first",
    b"PK\x03\x04": "a ZIP file or a spreadsheet; save it as CSV first",
}


class Delimited:
    """A table in a text file, read by chunks; a `Source`.

    Fields may stand between quotation marks, and then hold delimiters, line ends, and
    quotation marks written twice. Blanks around fields, empty lines and a byte order mark are
    dropped. All columns are text; no field is taken for a number here, and decimal and thousands
    marks are left as they are.

    Args:
        path: the file.
        delimiter: what stands between fields; None finds it out of comma, semicolon, tab and bar,
            as the one by which the first lines have equally many fields, and most.
        header: whether the first line has the names of the columns; None finds out: it has not
            if all its fields are numbers, or one is a number with a fraction. Without a header the
            columns are called "0", "1", ...
        encoding: of the text; None is UTF-8, or UTF-16 where the byte order mark says so.
        reader: the name of the function, for messages.

    Raises:
        FileError: if the file cannot be read or decoded, or a row has more or fewer fields than
            the first; the message names file and line.
        ArgumentError: if there is no row, or the encoding or the delimiter is none.
    """

    unit = "line"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        delimiter: str | None = None,
        header: bool | None = None,
        encoding: str | None = None,
        reader: str = "read_csv",
    ) -> None:
        self.path = os.fspath(path)
        self.reader = reader
        self.notes: list[str] = []
        self.encoding = self._encoding(encoding)
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n '):
            raise ArgumentError(
                f"{reader}: delimiter must be one character, no blank or quotation mark, not "
                f"{delimiter!r}"
            )
        self.delimiter = delimiter or self._sniffed()
        first = next(iter(self._rows()), None)
        if first is None:
            raise ArgumentError(f"{reader}: {self.path} is empty")
        self.header = has_names(first[1]) if header is None else header
        self.width = len(first[1])
        self.names = self._unique(first[1]) if self.header else tuple(map(str, range(self.width)))
        if not self.header and header is None:
            self.notes.append(
                "the first line holds numbers, not names: the columns are called "
                f"0 to {self.width - 1}"
            )

    def chunks(self, rows: int = 1 << 16) -> Iterator[Frame]:
        """The rows in order, at most `rows` at a time, as columns of text."""
        body = iter(self.rows())
        while block := list(islice(body, rows)):
            columns = [
                np.array(column, object) for column in zip(*(r[1] for r in block), strict=True)
            ]
            places = np.array([line for line, _ in block])
            yield Frame(self.names, columns, places, self.path, self.unit)

    def rows(self) -> Iterator[Row]:
        """The rows below the header: the line that each begins on, and its fields."""
        for number, (line, fields) in enumerate(self._rows()):
            if len(fields) != self.width:
                raise FileError(
                    f"{self.reader}: line {line} of {self.path} has {len(fields)} fields, but the "
                    f"first line has {self.width}{self._guess()}"
                )
            if number or not self.header:
                yield line, fields

    def _guess(self) -> str:
        return "" if self.width > 1 else f"; it was read with {self.delimiter!r} between fields"

    def _rows(self) -> Iterator[Row]:
        """Every row that is not empty."""
        begin = 1
        with self._open() as file:
            lines = _Lines(file)
            reader = csv.reader(lines, delimiter=self.delimiter)
            while (fields := self._next(reader)) is not None:
                if lines.ended:
                    raise FileError(
                        f"{self.reader}: a quotation mark opened in line {begin} of {self.path} is "
                        "never closed"
                    )
                begin, line = reader.line_num + 1, begin
                if len(fields) > 1 or (fields and fields[0].strip()):
                    yield line, [field.strip() for field in fields]

    def _next(self, reader: Any) -> list[str] | None:
        """The fields of the next record, or None after the last."""
        try:
            fields: list[str] | None = next(reader, None)
        except csv.Error as error:
            raise FileError(
                f"{self.reader}: line {reader.line_num} of {self.path} cannot be read: {error}"
            ) from error
        except UnicodeDecodeError as error:
            raise self._undecodable(error) from error
        except OSError as error:
            raise self._unreadable(error) from error
        return fields

    def _open(self) -> io.TextIOBase:
        try:
            return open(self.path, encoding=self.encoding, newline="")
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> FileError:
        return FileError(f"{self.reader}: cannot read {self.path}: {error.strerror or error}")

    def _undecodable(self, error: UnicodeDecodeError) -> FileError:
        """Which line it is: text is decoded ahead in blocks, so the line is found again."""
        kind = "UTF-8 or UTF-16" if self.encoding.startswith("utf-") else self.encoding
        line = None
        if not self.encoding.startswith("utf-16"):
            with open(self.path, "rb") as file:
                line = next((n for n, text in enumerate(file, 1) if not self._decodes(text)), None)
        where = self.path if line is None else f"line {line} of {self.path}"
        return FileError(
            f"{self.reader}: {where} is not text in {kind} ({error.reason}); "
            "if it is in another encoding, name it: encoding='cp1252', for instance"
        )

    def _decodes(self, text: bytes) -> bool:
        try:
            text.decode(self.encoding)
        except UnicodeDecodeError:
            return False
        return True

    def _encoding(self, encoding: str | None) -> str:
        """The encoding as given, or as the first bytes say."""
        if encoding is not None:
            try:
                if "\0" not in encoding and codecs.lookup(encoding)._is_text_encoding:
                    return encoding
            except LookupError:
                pass
            raise ArgumentError(f"{self.reader}: there is no text encoding {encoding!r}")
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise FileError(
                f"{self.reader}: {self.path} is not a plain file; a table is read more than once"
            )
        try:
            with open(self.path, "rb") as file:
                begin = file.read(4)
        except OSError as error:
            raise self._unreadable(error) from error
        for mark, what in _FOREIGN.items():
            if begin.startswith(mark):
                raise FileError(f"{self.reader}: {self.path} is {what}")
        return next((name for mark, name in _MARKS if begin.startswith(mark)), "utf-8")

    def _sniffed(self) -> str:
        """The delimiter by which the first lines agree, with the most fields; else a comma."""
        try:
            with self._open() as file:
                text = file.read(_SAMPLE)
        except UnicodeDecodeError as error:
            raise self._undecodable(error) from error
        except OSError as error:
            raise self._unreadable(error) from error
        lines = text.splitlines(keepends=True)[: 50 if len(text) < _SAMPLE else -1][:50]
        widths = {mark: _widths(lines, mark) for mark in DELIMITERS}
        agreed = [mark for mark in DELIMITERS if len(set(widths[mark])) == 1]
        several = [mark for mark in DELIMITERS if widths[mark] and widths[mark][0] > 1]
        best = [mark for mark in several if mark in agreed] or several
        return max(best, key=lambda mark: widths[mark][0], default=",")

    def _unique(self, fields: Sequence[str]) -> tuple[str, ...]:
        """The names: an empty one gets a name, and one that was there before a number."""
        names: list[str] = []
        for place, field in enumerate(fields, 1):
            name = stem = field or f"column {place}"
            number = 2
            while name in names:
                name, number = f"{stem} ({number})", number + 1
            if name != field:
                why = f"the name {field!r} is there twice" if field else "it has no name"
                self.notes.append(f"column {place} is called {name!r}: {why}")
            names.append(name)
        return tuple(names)


class _Lines:
    """The lines of a file; `ended` once somebody asked for more than there are.

    The csv module does not say that the text ended inside quotation marks: but then it has asked
    for another line before it gives the row.
    """

    def __init__(self, file: io.TextIOBase) -> None:
        self.file = file
        self.ended = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline()
        if not line:
            self.ended = True
            raise StopIteration
        return line


def _widths(lines: list[str], delimiter: str) -> list[int]:
    """How many fields each record has."""
    try:
        records = list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return []
    return [len(fields) for fields in records if fields]


def has_names(fields: Sequence[str]) -> bool:
    """Whether a first line can be names: not all numbers, and none with a fraction.

    >>> has_names(["country", "2019", "2020"]), has_names(["5.1", "setosa"]), has_names(["1", "2"])
    (True, False, False)
    """
    numbers = [as_number(field) for field in fields if field]
    if any(number is not None and isfinite(number) and number % 1 for number in numbers):
        return False
    return any(number is None for number in numbers) or not numbers


def as_number(field: str) -> float | None:
    """The number that a field is, or None."""
    try:
        return float(field)
    except ValueError:
        return None
