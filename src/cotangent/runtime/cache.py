"""Compiled objects on disk: one file per compiled step.

The folder belongs to the user alone (mode 0700) and is refused otherwise. A file is written
under a temporary name and renamed, begins with a checksum of the rest, and is deleted and made
anew if anything about it is wrong: a damaged entry is never run. The oldest files go when the
folder is full.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Sequence

from .digest import sha256
from .files import replace_file

_MAGIC = b"cotangent-objects-1\n"
_DIGEST = 32
_MOST_BYTES = 256 << 20
_SUFFIX = ".objects"


def folder() -> str | None:
    """The cache folder: ``$COTANGENT_CACHE``, or ``cotangent`` in the user's cache folder.

    None if caching is turned off (``COTANGENT_CACHE=off``), or the folder cannot be made, or is
    not safe: a cache that others can write to could make this process run their code.
    """
    setting = os.environ.get("COTANGENT_CACHE", "")
    if setting == "off":
        return None
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    path = setting or os.path.join(base, "cotangent")
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        state = os.stat(path)
    except OSError:
        return None
    foreign = state.st_uid != os.getuid() if hasattr(os, "getuid") else False
    if foreign or stat.S_IMODE(state.st_mode) & 0o022:
        return None
    return path


def read(key: str) -> list[bytes] | None:
    """The objects stored under `key`, or None; a damaged file is removed."""
    place = folder()
    if place is None:
        return None
    path = os.path.join(place, key + _SUFFIX)
    try:
        with open(path, "rb") as file:
            if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            content = file.read()
    except OSError:
        return None
    objects = _unpack(content)
    if objects is None:
        with contextlib.suppress(OSError):
            os.unlink(path)
    else:
        with contextlib.suppress(OSError):
            os.utime(path)
    return objects


def write(key: str, objects: Sequence[bytes]) -> None:
    """Store `objects` under `key`. A full disk or a read-only folder is no error: only slower."""
    place = folder()
    if place is None:
        return
    body = b"".join(struct.pack("<Q", len(image)) + image for image in objects)
    content = _MAGIC + sha256(body) + body
    with contextlib.suppress(OSError):
        replace_file(os.path.join(place, key + _SUFFIX), content, durable=False)
        _trim(place)


def _unpack(content: bytes) -> list[bytes] | None:
    start = len(_MAGIC) + _DIGEST
    body = content[start:]
    if not content.startswith(_MAGIC):
        return None
    if sha256(body) != content[len(_MAGIC) : start]:
        return None
    objects, at = [], 0
    while at < len(body):
        (size,) = struct.unpack_from("<Q", body, at)
        objects.append(body[at + 8 : at + 8 + size])
        at += 8 + size
    return objects


def _trim(place: str) -> None:
    """Remove the files that were used longest ago, down to the bound."""
    with os.scandir(place) as entries:
        files = [(entry.stat(), entry.path) for entry in entries if entry.name.endswith(_SUFFIX)]
    total = sum(state.st_size for state, _ in files)
    for state, path in sorted(files, key=lambda pair: pair[0].st_mtime):
        if total <= _MOST_BYTES:
            break
        os.unlink(path)
        total -= state.st_size
