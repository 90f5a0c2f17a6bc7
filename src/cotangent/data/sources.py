"""Opening a table by what its name says, and reading it by chunks ahead of the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ..checks import whole
from ..errors import ArgumentError
from .ahead import read_ahead
from .columnar import Columnar
from .delimited import Delimited
from .frame import Frame, Source, joined

ROWS = 1 << 14  # in a chunk: enough for NumPy to be quick, and a few MB as Python text
_PARQUET = (".parquet", ".pq")


def open_table(path: str | os.PathLike[str], **how: Any) -> Source:
    """A table in a file: Parquet where the name ends in ``.parquet`` or ``.pq``, else text.

    Args:
        path: the file.
        how: for text, as `Delimited` takes them: ``delimiter``, ``header``, ``encoding``.

    Raises:
        FileError: if the file cannot be read.
        ArgumentError: if it is empty.
        MissingPackageError: for a Parquet file, without polars.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "houses.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("size;city\\n50;Bern\\n75;Genf\\n")
    >>> open_table(path).names
    ('size', 'city')
    """
    if os.fspath(path).lower().endswith(_PARQUET):
        given = [name for name, value in how.items() if value is not None]
        if given:
            raise ArgumentError(f"open_table: a Parquet file takes no {', '.join(given)}")
        return Columnar(path)
    return Delimited(path, reader="open_table", **how)


def read_chunks(source: Source, rows: int = ROWS, ahead: int = 2) -> Iterator[Frame]:
    """The rows of a table as frames of at most `rows`, read by a thread ahead of the caller.

    Args:
        source: from `open_table`.
        rows: in a frame, 1 or more.
        ahead: how many frames may wait, 1 or more.

    Raises:
        FileError: where the caller is, if the file turns out to be damaged; it names file and row.
    """
    whole("read_chunks", "rows", rows, 1)
    return read_ahead(source.chunks(rows), ahead)


def read_frame(source: Source) -> Frame:
    """All rows of a table.

    Raises:
        ArgumentError: if there are none.
    """
    frames = list(read_chunks(source))
    if not frames:
        raise ArgumentError(f"read_frame: {source.path} has no rows")
    return joined(frames)
