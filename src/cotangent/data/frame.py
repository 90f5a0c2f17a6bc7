"""Rows of a table with columns of any kind, as they come from a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import ArgumentError, ShapeError, UnknownKeyError
from ..spelling import closest

Array = np.ndarray[Any, Any]


class Frame:
    """Some rows of a table: named columns of equal length.

    A column is one of three: text (dtype object, the fields as written, ``""`` where nothing
    stands), numbers (float64, NaN where nothing stands), or times (datetime64[us], NaT).

    Attributes:
        names: of the columns, in order, each once.
        columns: the arrays, ``[rows]`` each.
        places: the number of each row in its file, from 1: the line of a text file, else the row.
        path: the file, for messages.
        unit: what `places` counts, "line" or "row".

    >>> frame = Frame(["size", "city"], [np.array([50.0, 75.0]), np.array(["Bern", ""], object)])
    >>> len(frame), frame["city"].tolist()
    (2, ['Bern', ''])
    """

    __slots__ = ("columns", "names", "path", "places", "unit")

    def __init__(
        self,
        names: Sequence[str],
        columns: Sequence[Array],
        places: Array | None = None,
        path: str = "the table",
        unit: str = "row",
    ) -> None:
        lengths = {len(column) for column in columns}
        if len(names) != len(columns) or len(set(names)) != len(names):
            raise ArgumentError(
                f"Frame: {len(names)} names for {len(columns)} columns; each needs one of its own"
            )
        if len(lengths) > 1:
            raise ShapeError(f"Frame: columns of {sorted(lengths)} rows; they must be equal")
        self.names = tuple(names)
        self.columns = tuple(columns)
        rows = lengths.pop() if lengths else 0
        self.places = np.arange(1, rows + 1) if places is None else places
        self.path = path
        self.unit = unit

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, name: str) -> Array:
        if name not in self.names:
            close = closest(name, self.names)
            hint = f'; did you mean "{close}"?' if close else "."
            raise UnknownKeyError(
                f"{self.path} has no column {name!r}{hint} It has {listed(self.names)}"
            )
        return self.columns[self.names.index(name)]

    def take(self, rows: Array) -> Frame:
        """The rows at these places, or where a mask is true."""
        columns = [column[rows] for column in self.columns]
        return Frame(self.names, columns, self.places[rows], self.path, self.unit)

    def __repr__(self) -> str:
        return f"Frame({len(self)} rows: {listed(self.names)})"


class Source(Protocol):
    """A table in a file, read by chunks and as often as one likes.

    Attributes:
        path: the file.
        names: of the columns.
        notes: sentences about what reading it decided, for people.
    """

    path: str
    names: tuple[str, ...]
    notes: list[str]

    def chunks(self, rows: int) -> Iterator[Frame]:
        """The rows in order, at most `rows` at a time."""
        ...


def joined(frames: Sequence[Frame]) -> Frame:
    """The rows of several frames of the same columns, one after the other.

    Raises:
        ArgumentError: if there are none.
    """
    if not frames:
        raise ArgumentError("joined: there are no frames")
    first = frames[0]
    if len(frames) == 1:
        return first
    columns = [
        np.concatenate([frame.columns[i] for frame in frames]) for i in range(len(first.names))
    ]
    places = np.concatenate([frame.places for frame in frames])
    return Frame(first.names, columns, places, first.path, first.unit)


def listed(names: Sequence[str], most: int = 12) -> str:
    """The names in a row; of very many, the first.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
