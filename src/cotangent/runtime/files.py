"""Writing whole files, so that a reader finds the old content or the new, never a part.

The standard `tempfile` and `pathlib` are not used: importing them takes longer than all of this
package.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterable
from typing import Any

PART = ".part"  # how the names of files end that are still being written

_COUNT = itertools.count()


def replace_file(path: str, data: bytes | Iterable[Any], *, durable: bool = True) -> None:
    """Write `data` beside `path`, then give it that name.

    Args:
        path: where to; a file that is there keeps its permissions.
        data: the content, or its parts (bytes, or other buffers) in their order.
        durable: flush the file to the disk before renaming it, and the folder afterwards, so that
            a power cut loses nothing either.

    Raises:
        OSError: if the folder or the disk does not take it; the old file is as it was.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}-{next(_COUNT)}{PART}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, os.stat(path).st_mode & 0o777)
            parts: Iterable[Any] = (data,) if isinstance(data, bytes) else data
            for part in parts:
                file.write(part)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        flush_folder(folder or ".")


def flush_folder(folder: str) -> None:
    """Flush the names in a folder to the disk, where the system can."""
    if os.name == "nt":
        return  # Windows does so itself
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # a folder that may be written to, but not read
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of some network file systems
            raise
    finally:
        os.close(handle)
