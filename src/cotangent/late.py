"""Parts of the standard library that take long to import, loaded when they are first needed.

`hashlib` brings OpenSSL, `json` and `difflib` a dozen modules between them: together a fifth of the
time that importing this package may take, for work that most programs do late or never.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def sha256(data: bytes) -> bytes:
    """The SHA-256 digest of `data`: 32 bytes.

    >>> sha256(b"")[:2].hex()
    'e3b0'
    """
    import hashlib

    return hashlib.sha256(data).digest()


def fingerprint(parts: Iterable[str], size: int) -> str:
    """A hash of texts, `size` bytes as hexadecimal digits (BLAKE2b).

    >>> len(fingerprint(["a", "b"], 8))
    16
    """
    import hashlib

    state = hashlib.blake2b(digest_size=size)
    for part in parts:
        state.update(part.encode() + b"\0")
    return state.hexdigest()


def closest(word: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name most like `word`, if one is at least `cutoff` alike (0 to 1).

    >>> closest("weigth", ["bias", "weight"])
    'weight'
    """
    import difflib

    found = difflib.get_close_matches(word, list(names), 1, cutoff)
    return found[0] if found else None


def to_json(value: Any) -> bytes:
    """`value` as compact JSON."""
    import json

    return json.dumps(value, separators=(",", ":")).encode()


def from_json(data: bytes) -> Any:
    """The value that `to_json` wrote."""
    import json

    return json.loads(data)
