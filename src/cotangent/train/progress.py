"""What a run shows while it goes: a live bar on a terminal, lines of text elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ..console import Console
from .length import NEVER

if TYPE_CHECKING:
    from .run import Run

_SECONDS = 0.2  # between two updates of the bar
_LINES = 10  # about so many for a whole run, where there is no terminal


class Progress:
    """Tells of a run on standard output.

    Args:
        shown: False for nothing at all; None and True for a bar on a terminal and lines elsewhere.
    """

    def __init__(self, shown: bool | None) -> None:
        self._console = None if shown is False else Console()
        self._stack = ExitStack()
        self._bar: Callable[[int, str], None] | None = None
        self._told = 0.0
        self._total = 0

    def say(self, text: str) -> None:
        """Print a line."""
        if self._console is not None:
            self._console.line(text)

    def start(self, run: Run) -> None:
        """The run begins."""
        if self._console is None:
            return
        self._total = run.last_epoch
        if self._console.rich is not None:
            total = None if run.last_step >= NEVER else run.last_step
            self._bar = self._stack.enter_context(self._console.progress("training", total))

    def piece(self, run: Run) -> None:
        """Some steps were made."""
        if self._bar is None or time.perf_counter() - self._told < _SECONDS:
            return
        self._told = time.perf_counter()
        whole = "" if self._total >= NEVER else f" of {self._total}"
        self._bar(run.step, f"epoch {run.epoch + 1}{whole}  {_note(run)}")

    def epoch(self, run: Run, row: dict[str, Any]) -> None:
        """An epoch is done."""
        if self._console is None or self._bar is not None:
            return
        done = row["epoch"]
        # Where the end is not known, ever rarer: at 1, 2, 4, 8 and so on.
        far = self._total >= NEVER
        stride = 1 << (done.bit_length() - 1) if far else max(1, self._total // _LINES)
        if done == 1 or done % stride == 0 or done == self._total:
            whole = "" if self._total >= NEVER else f" of {self._total}"
            width = len(whole) - len(" of ") if whole else 0
            self._console.line(f"epoch {done:>{width}}{whole}  {described(row)}")

    def close(self, run: Run) -> None:
        """The run is over, in whichever way."""
        if self._bar is not None:
            self._bar(run.step, _note(run))
        self._stack.close()

    def shares(self, seconds: dict[str, float], stopped: str) -> None:
        """How the time was spent."""
        total = sum(seconds.values())
        parts = ", ".join(f"{name} {part / max(total, 1e-9):.0%}" for name, part in seconds.items())
        self.say(f"{stopped} after {total:.2f} s: {parts}")


def _note(run: Run) -> str:
    rows = run.history.rows
    return described(rows[-1]) if rows else f"loss {run.loss:.4g}"


def described(row: dict[str, Any]) -> str:
    """The numbers of an epoch on one line."""
    skipped = ("epoch", "step", "seconds", "lr", "gradient norm")
    return ", ".join(
        f"{name} {value:.4g}"
        for name, value in row.items()
        if name not in skipped and isinstance(value, (int, float))
    )
