"""Callbacks that write the course of a run to files, for other programs to show."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ..checks import whole
from ..errors import FileError
from ..runtime.files import replace_file
from .callbacks import Callback
from .events import EventFile

_BEGINS = "epoch,step,"
_VALIDATION = "validation "


class CSVLog(Callback):
    """Writes the history to a CSV file: a line an epoch, as soon as the epoch is over.

    The first line has the names. If a later row has names that the first ones had not, the file is
    written anew with more columns; what a row does not have is empty. Numbers are written in full.
    The log of an earlier run is replaced; that of a run that is resumed goes on where the run does.

    Args:
        path: the file.

    Raises:
        FileError: if it cannot be written, or if a file is there that is no such log.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from cotangent import nn
    >>> from cotangent.train import CSVLog, fit
    >>> data = np.ones((8, 1)), np.ones((8, 1))
    >>> with TemporaryDirectory() as folder:
    ...     log = CSVLog(Path(folder) / "log.csv")
    ...     history = fit(nn.Linear(1, 1), data, epochs=2, callbacks=[log], progress=False)
    ...     len(Path(log.path).read_text().splitlines())
    3
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._rows: list[dict[str, Any]] = []
        self._names: list[str] = []

    def on_start(self, run: Any) -> None:
        """Begin the file, with the rows that the run has already."""
        self._rows = list(run.history.rows)
        self._names = ["epoch", "step", "loss"]
        try:
            with open(self.path, encoding="utf-8", errors="replace") as file:
                begin = file.read(len(_BEGINS))
        except FileNotFoundError:
            begin = ""
        except OSError as error:
            raise self._unwritten(error) from error
        if begin and begin != _BEGINS:
            raise FileError(
                f"CSVLog: {self.path} is there and is no log of a run; choose another path"
            )
        self._write_all()

    def on_epoch(self, run: Any, row: Mapping[str, Any]) -> None:
        """Add a line."""
        self._rows.append(dict(row))
        if set(row) - set(self._names):
            self._write_all()
            return
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(self._lines([row]))
        except OSError as error:
            raise self._unwritten(error) from error

    def _write_all(self) -> None:
        names = [name for row in self._rows for name in row]
        self._names = list(dict.fromkeys([*self._names, *names]))
        head = _line(self._names)
        try:
            replace_file(self.path, (head + self._lines(self._rows)).encode(), durable=False)
        except OSError as error:
            raise self._unwritten(error) from error

    def _lines(self, rows: Iterable[Mapping[str, Any]]) -> str:
        return "".join(_line([_cell(row.get(name)) for name in self._names]) for row in rows)

    def _unwritten(self, error: OSError) -> FileError:
        return FileError(f"CSVLog: cannot write {self.path}: {error.strerror or error}")


def _line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


class TensorBoard(Callback):
    """Writes event files that TensorBoard shows: ``tensorboard --logdir <folder>``.

    The numbers of the training go to the folder ``training`` in it and those of the validation to
    ``validation``, under the same tags, so that their curves are drawn into one picture. The step
    is the number of updates. A run that is resumed goes on with the same curves; one that is
    begun anew in the folder hides the earlier one's.

    Args:
        folder: where to.
        every: write the loss of the last batch, as ``batch loss``, after each so many updates;
            None: by epoch only.

    Raises:
        FileError: if the files cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int | None = None) -> None:
        self.folder = os.fspath(folder)
        self.every = None if every is None else whole("TensorBoard", "every", every, 1)
        self._files: dict[str, EventFile] = {}
        self._first = 0

    def on_start(self, run: Any) -> None:
        """Begin new files."""
        self.on_end(run)
        self._first = run.step + 1 if run.step else 0
        self._file("training")

    def _file(self, name: str) -> EventFile:
        if name not in self._files:
            self._files[name] = EventFile(os.path.join(self.folder, name), self._first)
        return self._files[name]

    def on_step(self, run: Any) -> None:
        """Write the loss of the last batch."""
        self._file("training").scalars(run.step, {"batch loss": run.loss})

    def on_epoch(self, run: Any, row: Mapping[str, Any]) -> None:
        """Write the numbers of the epoch."""
        numbers = {
            name: float(value)
            for name, value in row.items()
            if isinstance(value, (int, float)) and name != "step"
        }
        validation = {
            name.removeprefix(_VALIDATION): value
            for name, value in numbers.items()
            if name.startswith(_VALIDATION)
        }
        training = {k: v for k, v in numbers.items() if not k.startswith(_VALIDATION)}
        self._file("training").scalars(run.step, training)
        if validation:
            self._file("validation").scalars(run.step, validation)

    def on_end(self, run: Any) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
