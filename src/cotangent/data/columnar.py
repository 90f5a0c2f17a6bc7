"""Tables in Parquet files, read by polars.

The only file that imports polars, and only when such a file is opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, FileError, MissingPackageError
from .frame import Frame

Array = np.ndarray[Any, Any]


def _polars() -> Any:
    """The package, imported when the first such file is opened."""
    try:
        import polars
    except ImportError:
        raise MissingPackageError(
            "a Parquet file needs the package polars; install it with: "
            "pip install 'cotangent[data]'"
        ) from None
    return polars


class Columnar:
    """A Parquet file, read by chunks; a `Source`.

    Numbers become float64, booleans the text "true" and "false", dates and times datetime64[us] (in
    UTC where they have a zone), durations seconds; other columns are text.

    Raises:
        MissingPackageError: without polars; the message says what to install.
        FileError: if the file cannot be read, or has a column of lists, records or bytes; the
            message names file, row and column.
        ArgumentError: if it has no columns.
    """

    unit = "row"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.notes: list[str] = []
        self._package = _polars()
        if not os.path.isfile(self.path):
            why = "it is not a plain file" if os.path.exists(self.path) else "there is no such file"
            raise FileError(f"read_parquet: cannot read {self.path}: {why}")
        self._scan = self._attempt(lambda: self._package.scan_parquet(self.path, glob=False), "")
        self._schema = dict(self._attempt(self._scan.collect_schema, ""))
        self.names = tuple(self._schema)
        if not self.names:
            raise ArgumentError(f"read_parquet: {self.path} has no columns")

    def chunks(self, rows: int = 1 << 16) -> Iterator[Frame]:
        """The rows in order, at most `rows` at a time."""
        at = 0
        while True:
            scan, where = self._scan.slice(at, rows), f" after row {at}"
            found = self._attempt(scan.collect, where)
            if not found.height:
                return
            columns = [
                self._attempt(lambda c=column: self._array(c), where)  # type: ignore[misc]
                for column in found.get_columns()
            ]
            places = np.arange(at + 1, at + 1 + found.height)
            yield Frame(self.names, columns, places, self.path, self.unit)
            at += found.height

    def _attempt(self, work: Callable[[], Any], where: str) -> Any:
        """The result of `work`; whatever polars raises names the file.

        A damaged file can make it raise an exception that is no `Exception`.
        """
        try:
            return work()
        except (KeyboardInterrupt, SystemExit, MemoryError, FileError):
            raise
        except BaseException as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise FileError(
                f"read_parquet: {self.path} cannot be read{where}: {reason}; it is damaged, or no "
                "Parquet file"
            ) from error

    def _array(self, column: Any) -> Array:
        """A column of polars as one of a `Frame`."""
        p, kind = self._package, column.dtype
        if kind in (p.Datetime, p.Date):
            if getattr(kind, "time_zone", None):
                column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            return np.asarray(column.cast(p.Datetime("us")).to_numpy(), "datetime64[us]")
        if kind == p.Duration:
            return np.asarray(column.dt.total_microseconds().cast(p.Float64).to_numpy()) / 1e6
        if kind.is_numeric() and not _beyond_float(column):
            return np.array(column.cast(p.Float64).to_numpy(), np.float64)
        if kind.is_nested() or kind == p.Binary or kind == p.Object:
            raise FileError(
                f"read_parquet: column {column.name!r} of {self.path} holds values of type {kind}; "
                "only numbers, text, booleans, dates and times can be read: leave it out"
            )
        return _text(column.cast(p.String).to_list())


def _beyond_float(column: Any) -> bool:
    """Whether there are integers that a float64 would round, such as long identifiers."""
    if not column.dtype.is_integer() or column.null_count() == len(column):
        return False
    return max(abs(int(column.min())), abs(int(column.max()))) > 2**53


def _text(values: list[str | None]) -> Array:
    out = np.empty(len(values), object)
    out[:] = ["" if value is None else value.strip() for value in values]
    return out
