"""Checkpoints: everything a run needs to go on, on disk, so that a kill at any moment loses none.

They lie in ``checkpoints`` in the run's folder, numbered: ``00000007.safetensors``, and
``00000007-best.safetensors`` where the run was the best so far. A new one is written beside them
under another name, flushed to the disk, and renamed; only then older ones are removed. The two
newest stay, in case the newest is damaged later, and the best.

The format is described in ``docs/checkpoints.md``, and is read and written by `io.sealed`.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileError
from ..io.sealed import DamagedFileError, read_sealed, write_sealed
from ..runtime.files import PART
from ..runtime.locks import FolderInUseError, is_held, lock_folder, unlock_folder

Array = np.ndarray[Any, Any]

FOLDER = "checkpoints"
_NAME = re.compile(r"(\d{8,})(-best)?\.safetensors")
_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        arrays: read-only arrays by name.
        facts: what JSON holds.
        path: the file.
        best: whether the run was the best so far.
    """

    arrays: dict[str, Array]
    facts: dict[str, Any]
    path: Path
    best: bool


@contextlib.contextmanager
def lock(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a run's folder, which is made if need be, for the one run that writes to it.

    The lock is the operating system's, so it is free as soon as its holder ends, however it ends.
    What a killed run left half-written is removed. (On Windows only runs of the same process see
    each other's locks.)

    Raises:
        FileError: if another run holds the folder, or it cannot be made.
    """
    place = os.path.join(os.fspath(folder), FOLDER)
    try:
        os.makedirs(place, exist_ok=True)
        key = lock_folder(os.fspath(folder))
    except FolderInUseError as error:
        raise FileError(
            f"fit: the folder {os.fspath(folder)} is in use by {error}; wait until that run "
            "ends, or choose another folder"
        ) from None
    except OSError as error:
        raise FileError(
            f"fit: cannot use the folder {os.fspath(folder)}: {error.strerror or error}"
        ) from error
    try:
        for name in os.listdir(place):
            if name.endswith(PART):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(place, name))
        yield
    finally:
        unlock_folder(key)


def write(
    folder: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    facts: Mapping[str, Any],
    best: bool = False,
) -> Path:
    """Write the next checkpoint of a run, and then remove the ones that are no longer needed.

    Args:
        folder: the run's folder; it is there, as within `lock`.
        arrays: by name; any dtype that a tensor holds. They must not change meanwhile.
        facts: text, int, float, bool, None, and lists and dicts (by text) of these.
        best: whether the run is the best so far.

    Raises:
        FileError: if it cannot be written: the disk is full, the folder gone or not writable. The
            checkpoints that are there stay as they are.
        ArgumentTypeError, ArgumentError, DTypeError: if something cannot be held; it is named.
    """
    there = _list(folder, "write")
    number = there[-1][0] + 1 if there else 1
    name = f"{number:08d}{'-best' if best else ''}.safetensors"
    path = os.path.join(os.fspath(folder), FOLDER, name)
    write_sealed(path, arrays, facts, what="checkpoint")
    _remove_old([*there, (number, best, path)])
    return Path(path)


def read(folder: str | os.PathLike[str], best: bool = False) -> Checkpoint:
    """The newest checkpoint of a run that is not damaged, or the best one.

    A damaged one is passed over with a warning. If this process holds the run's `lock`, it is
    renamed too, to end in ``.damaged``, so that it does not count as one that is kept.

    Raises:
        FileError: if there is none, none that is not damaged, or one cannot be read.
    """
    found = [entry for entry in _list(folder, "read") if entry[1] or not best]
    refused: list[str] = []
    for _, is_best, path in reversed(found):
        try:
            arrays, facts = read_sealed(path, what="checkpoint")
        except DamagedFileError as error:
            refused.append(error.message)
            _set_aside(folder, path)
            continue
        for message in refused:
            warnings.warn(
                f"{message}; the one before is used: {path}", RuntimeWarning, stacklevel=2
            )
        return Checkpoint(arrays, facts, Path(path), is_best)
    kind = "best checkpoint" if best else "checkpoint"
    if refused:
        raise FileError(f"no {kind} in {os.fspath(folder)} can be used:\n  " + "\n  ".join(refused))
    raise FileError(f"there is no {kind} in {os.path.join(os.fspath(folder), FOLDER)}")


def exists(folder: str | os.PathLike[str]) -> bool:
    """Whether a run's folder has a checkpoint, damaged or not."""
    return os.path.isdir(os.path.join(os.fspath(folder), FOLDER)) and bool(_list(folder, "read"))


def _list(folder: str | os.PathLike[str], verb: str) -> list[tuple[int, bool, str]]:
    """(number, whether it was the best, path) of every checkpoint, the oldest first."""
    place = os.path.join(os.fspath(folder), FOLDER)
    try:
        names = os.listdir(place)
    except OSError as error:
        raise FileError(
            f"checkpoint: cannot {verb} in {place}: {error.strerror or error}"
        ) from error
    matches = [match for name in names if (match := _NAME.fullmatch(name))]
    return sorted(
        (int(match[1]), match[2] is not None, os.path.join(place, match[0])) for match in matches
    )


def _remove_old(there: list[tuple[int, bool, str]]) -> None:
    """All but the newest and the best; one that cannot be removed does no harm."""
    bests = [path for _, best, path in there if best]
    kept = {path for _, _, path in there[-_KEPT:]} | set(bests[-1:])
    for _, _, path in there:
        if path not in kept:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _set_aside(folder: str | os.PathLike[str], path: str) -> None:
    if is_held(os.fspath(folder)):
        with contextlib.suppress(OSError):
            os.replace(path, path + ".damaged")
