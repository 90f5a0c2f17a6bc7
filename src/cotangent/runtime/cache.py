"""Compiled objects on disk: one file per compiled step.

The folder belongs to the user alone (mode 0700) and is refused otherwise. A file is written under a temporary
name and renamed, begins with a checksum of the rest, and is deleted and made anew if
anything about it is wrong: a damaged entry is never run. The oldest files go when the folder is full.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path

_MAGIC = b"cotangent-objects-1\n"
_DIGEST = 32
_MOST_BYTES = 256 << 20
_SUFFIX = ".objects"


def folder() -> Path | None:
    """The cache folder: ``$COTANGENT_CACHE``, or ``cotangent`` in the user's cache folder.

    None if caching is turned off (``COTANGENT_CACHE=off``), or the folder cannot be made, or is not safe:
    a cache that others can write to could make this process run their code.
    """
    setting = os.environ.get("COTANGENT_CACHE", "")
    if setting == "off":
        return None
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(setting) if setting else Path(base) / "cotangent"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = path.stat()
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
    path = place / f"{key}{_SUFFIX}"
    try:
        if hasattr(os, "getuid") and path.stat().st_uid != os.getuid():
            return None
        content = path.read_bytes()
    except OSError:
        return None
    objects = _unpack(content)
    if objects is None:
        with contextlib.suppress(OSError):
            path.unlink()
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
    content = _MAGIC + hashlib.sha256(body).digest() + body
    try:
        handle, name = tempfile.mkstemp(dir=place, prefix="part-")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, place / f"{key}{_SUFFIX}")
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        return
    _trim(place)


def _unpack(content: bytes) -> list[bytes] | None:
    start = len(_MAGIC) + _DIGEST
    body = content[start:]
    if not content.startswith(_MAGIC):
        return None
    if hashlib.sha256(body).digest() != content[len(_MAGIC) : start]:
        return None
    objects, at = [], 0
    while at < len(body):
        (size,) = struct.unpack_from("<Q", body, at)
        objects.append(body[at + 8 : at + 8 + size])
        at += 8 + size
    return objects


def _trim(place: Path) -> None:
    """Remove the files that were used longest ago, down to the bound."""
    with contextlib.suppress(OSError):
        files = [(path.stat(), path) for path in place.glob(f"*{_SUFFIX}")]
        total = sum(state.st_size for state, _ in files)
        for state, path in sorted(files, key=lambda pair: pair[0].st_mtime):
            if total <= _MOST_BYTES:
                break
            path.unlink()
            total -= state.st_size
