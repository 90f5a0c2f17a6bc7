"""What a run measured, by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import UnknownKeyError
from ..late import late
from ..spelling import closest

Row = dict[str, Any]
_SHOWN = 12


class History:
    """Rows of numbers, one an epoch.

    Every row has ``epoch`` (from 1), ``step`` (updates so far), ``loss`` (the mean over the
    epoch's rows, each with the weights of its step) and ``seconds``; further, as they apply,
    ``lr``, ``gradient norm``, the metrics by their names, and ``validation loss`` and
    ``validation accuracy`` and so on.

    Attributes:
        rows: the rows, dicts from names to numbers.
        best: the row that was best for what early stopping watches, else for the validation loss,
            else for the loss; None without rows.
        monitor: the name of that number.
        stopped: why training ended: "done", "early stopping", "interrupted", "the loss
            became NaN", or what a callback said.
        folder: the run's folder, or None.
        seconds: of the whole run, by what they went into: "data", "step", "other".

    >>> history = History()
    >>> history.append({"epoch": 1, "step": 4, "loss": 0.5})
    >>> history.append({"epoch": 2, "step": 8, "loss": 0.25})
    >>> history.series("loss"), history.best["epoch"], len(history)
    ([0.5, 0.25], 2, 2)
    """

    def __init__(self, monitor: str | None = None, mode: str = "min") -> None:
        self.rows: list[Row] = []
        self.monitor = monitor
        self.mode = mode
        self.stopped = ""
        self.folder: Path | None = None
        self.seconds: dict[str, float] = {}

    def append(self, row: Row) -> None:
        """Add the row of an epoch."""
        self.rows.append(row)

    def series(self, name: str) -> list[Any]:
        """The numbers of one name, by epoch; None where a row has none.

        Raises:
            UnknownKeyError: if no row has the name.
        """
        if not any(name in row for row in self.rows):
            near = closest(name, self.names)
            raise UnknownKeyError(
                f"History.series: no {name!r}; there are {', '.join(self.names) or 'no rows'}"
                + (f"; did you mean {near!r}?" if near else "")
            )
        return [row.get(name) for row in self.rows]

    @property
    def names(self) -> list[str]:
        """The names that occur, in their order."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def best(self) -> Row | None:
        """The best row."""
        name = self.monitor
        if name is None:
            name = "validation loss" if "validation loss" in self.names else "loss"
        rows = [row for row in self.rows if isinstance(row.get(name), float | int)]
        rows = [row for row in rows if row[name] == row[name]]  # NaN is never best
        if not rows:
            return None
        return (min if self.mode == "min" else max)(rows, key=lambda row: row[name])

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __getitem__(self, number: int) -> Row:
        return self.rows[number]

    def __repr__(self) -> str:
        if not self.rows:
            return "History(no epochs)"
        last = ", ".join(f"{name} {_text(value)}" for name, value in self.rows[-1].items())
        return f"History({len(self.rows)} epochs, {self.stopped or 'not ended'}; last: {last})"

    def _repr_html_(self) -> str:
        """The curves, and a table: the first, the last and the best rows where they are many."""
        rows = self.rows
        if len(rows) > _SHOWN:
            best = self.best
            some = [*rows[:3], *([best] if best else []), *rows[-5:]]
            rows = list({row["epoch"]: row for row in some}.values())
            rows.sort(key=lambda row: row["epoch"])
        names = self.names
        head = "".join(f"<th>{_escaped(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{_text(row.get(name, ''))}</td>" for name in names) + "</tr>"
            for row in rows
        )
        note = f"{len(self.rows)} epochs, {self.stopped or 'not ended'}"
        table = f"<table><caption>{_escaped(note)}</caption><tr>{head}</tr>{body}</table>"
        losses = [row.get("loss") for row in self.rows]
        if not any(isinstance(x, float) and math.isfinite(x) for x in losses):
            return table
        return str(late("viz.training", "curves")(self, title=note).svg()) + table


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else _escaped(str(value))


def _escaped(text: str) -> str:
    """Text for HTML; `html.escape` brings tables that take milliseconds to import."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
