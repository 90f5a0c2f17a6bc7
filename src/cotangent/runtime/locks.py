"""A lock on a folder, which the system takes back when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import os
import threading

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NAME = "lock"
# The descriptors of the locks that this process holds, by the folder's real path.
_HELD: dict[str, int] = {}
_GUARD = threading.Lock()


class FolderInUseError(Exception):
    """Another run holds the folder; the message says which."""


def lock_folder(folder: str) -> str:
    """Take the lock of a folder, for as long as this process lives or until `unlock_folder`.

    The lock is on the file ``lock`` in it, which stays. A child process does not inherit it.

    Returns:
        What `unlock_folder` takes.

    Raises:
        FolderInUseError: if it is taken, by another process or by this one.
        OSError: if the file cannot be made, or the file system has no locks.
    """
    key = os.path.realpath(folder)
    with _GUARD:
        if key in _HELD:
            raise FolderInUseError("another run in this process")
        handle = os.open(os.path.join(folder, _NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(OSError):  # on a full disk the holder has no name
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {_host()}\n".encode())
        except BlockingIOError:
            holder = os.read(handle, 200).decode("utf-8", "replace").strip()
            os.close(handle)
            raise FolderInUseError(holder or "another process") from None
        except BaseException:
            os.close(handle)
            raise
        _HELD[key] = handle
    return key


def unlock_folder(key: str) -> None:
    """Give the lock back."""
    with _GUARD:
        handle = _HELD.pop(key, None)
        if handle is not None:
            if fcntl is not None:  # a child that has just been forked may have it open still
                fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)


def is_held(folder: str) -> bool:
    """Whether this process holds the lock of a folder."""
    return os.path.realpath(folder) in _HELD


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else "this computer"


def _forget() -> None:
    """In a child: the lock is the parent's."""
    global _GUARD
    _GUARD = threading.Lock()
    for handle in _HELD.values():
        os.close(handle)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
