"""Writing whole files, so that a reader finds the old content or the new, never a part.

The standard `tempfile` and `pathlib` are not used: importing them takes longer than all of this
package.
"""

from __future__ import annotations

import contextlib
import itertools
import os

_COUNT = itertools.count()


def replace_file(path: str, data: bytes, *, durable: bool = True) -> None:
    """Write `data` beside `path`, then give it that name.

    Args:
        path: where to; a file that is there keeps its permissions.
        durable: flush to the disk before renaming, so that a power cut loses nothing either.

    Raises:
        OSError: if the folder or the disk does not take it; the old file is as it was.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}-{next(_COUNT)}.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, os.stat(path).st_mode & 0o777)
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
