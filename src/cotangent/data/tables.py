"""Tables of numbers in text files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import ArgumentError, FileError, UnknownKeyError
from .delimited import Delimited, as_number

Array = np.ndarray[Any, Any]


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
    delimiter: str | None = ",",
    columns: Sequence[str] | None = None,
    missing: float | None = None,
    dtype: Any = "float32",
    encoding: str | None = None,
) -> Table:
    """A table of numbers from a CSV file.

    Every field is a number in Python's notation (``1``, ``-2.5e3``, ``nan``, ``inf``), perhaps
    between quotation marks. Empty lines are skipped. For columns of other kinds see `open_table`.

    Args:
        path: a text file.
        header: whether the first line has the names of the columns; else they are "0", "1", ...
        delimiter: what stands between fields; None finds it out of comma, semicolon, tab and bar.
        columns: which columns to keep; others may hold anything, text too. All if None.
        missing: what an empty field is read as, such as ``float("nan")``; an error if None.
        dtype: of the values.
        encoding: of the text; None is UTF-8, or UTF-16 where a byte order mark says so.

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
    source = Delimited(path, delimiter=delimiter, header=header, encoding=encoding)
    if header and all(as_number(name) is not None for name in source.names):
        raise ArgumentError(
            f"read_csv: the first line of {source.path} holds numbers, not names; pass header=False"
        )
    table = Table(source.names, np.empty((0, source.width)))
    places = [table._place(c) for c in columns] if columns is not None else range(source.width)
    kept = [source.names[i] for i in places]
    rows = [
        _numbers(source.path, line, [fields[p] for p in places], kept, missing)
        for line, fields in source.rows()
    ]
    if not rows:
        raise ArgumentError(f"read_csv: {source.path} has a header but no rows")
    return Table(kept, np.array(rows).astype(as_dtype(dtype)))


def _numbers(
    name: str, line: int, fields: list[str], names: list[str], missing: float | None
) -> list[float]:
    try:
        return [float(field) for field in fields]
    except ValueError:
        pass
    numbers = []
    for field, column in zip(fields, names, strict=True):
        number = as_number(field)
        if number is not None:
            numbers.append(number)
        elif not field and missing is not None:
            numbers.append(float(missing))
        else:
            what = "is empty; pass missing= to read it as a number" if not field else (
                f"is {field!r}, not a number; leave the column out by columns="
            )  # fmt: skip
            raise FileError(f"read_csv: line {line} of {name}: column {column!r} {what}")
    return numbers
