"""What the command prints: live and coloured on a terminal, plain text everywhere else.

The only file that imports rich, and only when a terminal is there. Without rich, all is plain text.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol


class Progress(Protocol):
    """Told after every epoch."""

    def __call__(self, done: int, note: str) -> None: ...


class Console:
    """Prints lines, tables and progress.

    Args:
        plain: never use rich; None decides by whether standard output is a terminal.

    The environment variable ``NO_COLOR``, set to anything, keeps the layout and drops the colours.
    """

    def __init__(self, plain: bool | None = None) -> None:
        dumb = os.environ.get("TERM") == "dumb"
        self.rich: Any = None
        if plain is False or (plain is None and sys.stdout.isatty() and not dumb):
            self.rich = _rich_console()

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line."""
        if self.rich is None:
            print(text, flush=True)
        else:
            self.rich.print(text, style=style, markup=False, highlight=False)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns; columns of numbers are aligned to the right."""
        right = [all(_numeric(row[i]) for row in rows) for i in range(len(head))]
        if self.rich is not None:
            self.rich.print(_rich_table(head, rows, right))
            return
        cells = [head, *rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        for row in cells:
            parts = [
                c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)
            ]
            print("  ".join(parts).rstrip(), flush=True)

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Progress]:
        """A live bar on a terminal; elsewhere ten lines from the first to the last.

        `total` is None where the end is not known; then there is nothing but the bar.
        """
        if self.rich is None:
            yield _plain_progress(0 if total is None else total)
            return
        with _rich_progress(self.rich) as bar:
            task = bar.add_task(what, total=total, note="")

            def update(done: int, note: str) -> None:
                bar.update(task, completed=done, note=note)

            yield update


def _numeric(text: str) -> bool:
    return text.replace(",", "").replace(".", "").isdigit() or text == ""


def _plain_progress(total: int) -> Progress:
    stride = max(1, total // 10)

    def update(done: int, note: str) -> None:
        if done == 1 or done % stride == 0 or done == total:
            print(f"epoch {done:>{len(str(total))}} of {total}  {note}", flush=True)

    return update


# rich, imported late: it takes longer to import than all the rest.


def _rich_console() -> Any:
    try:
        from rich.console import Console as RichConsole
    except ImportError:
        print("(for a live display: pip install rich)", file=sys.stderr)
        return None
    return RichConsole()


def _rich_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, to_right in zip(head, right, strict=True):
        table.add_column(name, justify="right" if to_right else "left")
    for row in rows:
        table.add_row(*row)
    return table


def _rich_progress(console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"), Elapsed(),
    )  # fmt: skip
    return Progress(*columns, console=console, refresh_per_second=5)
