"""A run's folder: its checkpoints, its history, and the model at the end."""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import FileError
from ..io.weights import save as save_weights
from ..runtime.files import replace_file
from . import checkpoint
from .run import Run
from .state import Facts, collect, restore, versions

SETTINGS = "run.json"
ROWS = "history.jsonl"
MODEL = "model.safetensors"


class RunFolder:
    """Keeps a run on disk. A context: inside of it no other run may use the folder.

    Args:
        path: the folder; made if need be.
        resume: go on from the last checkpoint, if there is one.
        settings: what the run is made with, in the form of `described`.

    Raises:
        FileError: if another run uses the folder; or if it holds one, and `resume` is False.
    """

    def __init__(self, path: Path, resume: bool, settings: Facts) -> None:
        self._path = path
        self._resume = resume
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self._best = 0
        self._written = 0

    def __enter__(self) -> RunFolder:
        self._stack.enter_context(checkpoint.lock(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._stack.close()

    def begin(self, run: Run) -> bool:
        """Put `run` where the last checkpoint was; whether there was one."""
        found = checkpoint.exists(self._path)
        if found and not self._resume:
            raise FileError(
                f"fit: {self._path} holds a run already; pass resume=True to go on with it, or "
                "choose another folder"
            )
        if found:
            held = checkpoint.read(self._path)
            restore(run, held.arrays, held.facts, self._settings)
            self._best = 0 if run.patience is None else run.patience.epoch
        self._put(SETTINGS, json.dumps(_plain(self._facts()), indent=2) + "\n")
        lines = [json.dumps(_plain(row)) + "\n" for row in run.history.rows]
        self._put(ROWS, "".join(lines))
        self._written = len(lines)
        return found

    def _facts(self) -> Facts:
        return {"settings": self._settings, "versions": versions()}

    def note(self, run: Run) -> None:
        """Write down the rows of the history that are new."""
        new = run.history.rows[self._written :]
        if not new:
            return
        try:
            with open(self._path / ROWS, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(_plain(row)) + "\n" for row in new)
        except OSError as error:
            raise _unwritten(self._path / ROWS, error) from error
        self._written += len(new)

    def save(self, run: Run) -> None:
        """Write a checkpoint."""
        arrays, facts = collect(run, self._settings)
        best = run.patience is not None and run.patience.epoch > self._best
        checkpoint.write(self._path, arrays, facts, best=best)
        if run.patience is not None:
            self._best = run.patience.epoch

    def end(self, run: Run) -> None:
        """Write the model as the run leaves it."""
        save_weights(self._path / MODEL, run.model)

    def _put(self, name: str, text: str) -> None:
        try:
            replace_file(os.fspath(self._path / name), text.encode())
        except OSError as error:
            raise _unwritten(self._path / name, error) from error


def _unwritten(path: Path, error: OSError) -> FileError:
    return FileError(f"fit: cannot write {path}: {error.strerror or error}")


def _plain(value: Any) -> Any:
    """`value` for JSON, which has neither NaN nor infinities."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value
