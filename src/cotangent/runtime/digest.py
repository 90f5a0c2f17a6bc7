"""Hashes, for names, cache keys and checksums.

`hashlib` brings OpenSSL and takes several milliseconds to import, so nothing that `import
cotangent` loads uses this file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any


def sha256(data: bytes) -> bytes:
    """The SHA-256 digest of `data`: 32 bytes.

    >>> sha256(b"")[:2].hex()
    'e3b0'
    """
    return hashlib.sha256(data).digest()


def fingerprint(parts: Iterable[str], size: int) -> str:
    """A hash of texts, `size` bytes as hexadecimal digits (BLAKE2b).

    >>> len(fingerprint(["a", "b"], 8))
    16
    """
    state = hashlib.blake2b(digest_size=size)
    for part in parts:
        state.update(part.encode() + b"\0")
    return state.hexdigest()


def checksum(parts: Iterable[Any]) -> str:
    """A hash of bytes that come in parts: 64 hexadecimal digits (BLAKE2b, 32 bytes).

    >>> checksum([b"a", b"b"]) == checksum([b"ab"])
    True
    """
    state = hashlib.blake2b(digest_size=32)
    for part in parts:
        state.update(part)
    return state.hexdigest()
