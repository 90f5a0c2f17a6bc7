"""Tables of numbers in text files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import ArgumentError, FileError, UnknownKeyError

Array = np.ndarray[Any, Any]
Row = tuple[int, list[str]]


class Table:
    """Numbers in named columns.

    Attributes:
        names: of the columns, in order.
        values: ``[rows, columns]``.

    ``table["price"]`` is a column, ``[rows]``; ``table[["size", "rooms"]]`` several,
    ``[rows, 2]``.
    """

    __slots__ = ("names", "values")

    def __init__(self, names: Sequence[str], values: Array) -> None:
        self.names = tuple(names)
        self.values = values

    def __getitem__(self, key: str | Sequence[str]) -> Array:
        if isinstance(key, str):
            return self.values[:, self._place(key)]
        return self.values[:, [self._place(name) for name in key]]

    def without(self, *names: str) -> Array:
        """All columns but these, ``[rows, columns]``: the inputs, where these are the targets."""
        gone = {self._place(name) for name in names}
        return self.values[:, [i for i in range(len(self.names)) if i not in gone]]

    def _place(self, name: str) -> int:
        if name not in self.names:
            raise UnknownKeyError(
                f"there is no column {name!r}; the table has {', '.join(self.names)}"
            )
        return self.names.index(name)

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"Table({len(self)} rows: {', '.join(self.names)})"


def read_csv(
    path: str | os.PathLike[str],
    *,
    header: bool = True,
    delimiter: str = ",",
    columns: Sequence[str] | None = None,
    missing: float | None = None,
    dtype: Any = "float32",
) -> Table:
    """A table of numbers from a CSV file.

    Every field is a number in Python's notation (``1``, ``-2.5e3``, ``nan``, ``inf``), perhaps
    between quotation marks. Empty lines are skipped.

    Args:
        path: a text file in UTF-8.
        header: whether the first line has the names of the columns; else they are "0", "1", ...
        delimiter: what stands between fields.
        columns: which columns to keep; others may hold anything, text too. All if None.
        missing: what an empty field is read as, such as ``float("nan")``; an error if None.
        dtype: of the values.

    Raises:
        FileError: if the file cannot be read, a row has more or fewer fields than the first,
            or a field is not a number; the message names file, line, and column.
        UnknownKeyError: if there is no such column.
        ArgumentError: if the header is a row of numbers, or there are no rows.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "houses.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("size,price\\n50,100\\n75,140\\n")
    >>> table = read_csv(path)
    >>> table
    Table(2 rows: size, price)
    >>> table["price"]
    array([100., 140.], dtype=float32)
    """
    name = os.fspath(path)
    names, body = _head_and_body(name, list(_rows(_text(name), delimiter)), header)
    table = Table(names, np.empty((0, len(names))))
    places = [table._place(c) for c in columns] if columns is not None else range(len(names))
    kept = [names[i] for i in places]
    values = np.empty((len(body), len(kept)), as_dtype(dtype))
    for i, (line, fields) in enumerate(body):
        if len(fields) != len(names):
            raise FileError(
                f"read_csv: line {line} of {name} has {len(fields)} fields, but the first line "
                f"has {len(names)}"
            )
        values[i] = _numbers(name, line, [fields[p] for p in places], kept, missing)
    return Table(kept, values)


def _head_and_body(name: str, rows: list[Row], header: bool) -> tuple[list[str], list[Row]]:
    """The names of the columns, and the rows of numbers."""
    if not rows:
        raise ArgumentError(f"read_csv: {name} is empty")
    names = rows[0][1]
    if not header:
        return [str(i) for i in range(len(names))], rows
    if all(_is_number(field) for field in names):
        raise ArgumentError(
            f"read_csv: the first line of {name} holds numbers, not names; pass header=False"
        )
    if len(rows) == 1:
        raise ArgumentError(f"read_csv: {name} has a header but no rows")
    return names, rows[1:]


def _text(name: str) -> str:
    try:
        with open(name, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise FileError(f"read_csv: cannot read {name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"read_csv: {name} is not text in UTF-8 ({error})") from error


def _rows(text: str, delimiter: str) -> Iterator[Row]:
    """The number of each line that is not empty, and its fields."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, [_unquoted(field) for field in line.split(delimiter)]


def _unquoted(field: str) -> str:
    field = field.strip()
    return field[1:-1].strip() if len(field) > 1 and field[0] == field[-1] == '"' else field


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _numbers(
    name: str, line: int, fields: list[str], names: list[str], missing: float | None
) -> list[float]:
    try:
        return [float(field) for field in fields]
    except ValueError:
        pass
    numbers = []
    for field, column in zip(fields, names, strict=True):
        if _is_number(field):
            numbers.append(float(field))
        elif not field and missing is not None:
            numbers.append(float(missing))
        else:
            what = "is empty; pass missing= to read it as a number" if not field else (
                f"is {field!r}, not a number; leave the column out by columns="
            )  # fmt: skip
            raise FileError(f"read_csv: line {line} of {name}: column {column!r} {what}")
    return numbers
