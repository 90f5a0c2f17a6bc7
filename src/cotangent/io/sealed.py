"""Files of named arrays and facts with a checksum: safetensors files that no damage gets past.

The layout is that of safetensors: eight bytes with the length of the header, the header in JSON,
and the arrays, one behind the other. Its ``__metadata__`` begins, always at the same place, with
the checksum of the whole file (BLAKE2b of 32 bytes, computed with zeros in its place) and the
length of the file, so both are checked before anything else of the file is believed. The facts are
JSON too, in one entry of the metadata. Nothing in a file is ever executed.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import numpy as np

from ..dtypes import as_dtype
from ..errors import ArgumentError, ArgumentTypeError, DTypeError, Error, FileError
from ..runtime.digest import checksum
from ..runtime.files import replace_file
from .weights import DTYPES

Array = np.ndarray[Any, Any]

FORMAT = "cotangent 1"

_START = b'{"__metadata__":{"checksum":"'
_DIGITS = 64
_MIDDLE = b'","bytes":"'
_LENGTH = 16
_HEAD = 8 + len(_START) + _DIGITS + len(_MIDDLE) + _LENGTH
_MOST_HEADER = 100_000_000  # safetensors' own limit
_CHUNK = 1 << 24


class DamagedFileError(FileError):
    """A file whose content is not what was written, or not of this format."""


# Writing.


def write_sealed(
    path: str, arrays: Mapping[str, Any], facts: Mapping[str, Any], *, what: str = "save"
) -> None:
    """Write arrays and facts to a file, which appears under its name only when it is on the disk.

    Args:
        path: where to.
        arrays: by name; any dtype that a tensor holds. They must not change meanwhile.
        facts: what JSON holds: text, numbers, True, False, None, lists, and dicts by text.
        what: begins the messages.

    Raises:
        FileError: if the file cannot be written; an old one is as it was.
        ArgumentTypeError, ArgumentError, DTypeError: if something cannot be held; it is named.
    """
    held = {_checked_name(what, name): _as_array(what, name, x) for name, x in arrays.items()}
    # Wide elements first keeps every array aligned.
    order = sorted(held, key=lambda name: (-held[name].itemsize, name))
    header = _header(held, order, _facts_as_text(what, facts))
    parts = [held[name].reshape(-1).view(np.uint8).data for name in order]
    digest = checksum([header, *parts])
    at = 8 + len(_START)
    header[at : at + _DIGITS] = digest.encode()
    try:
        replace_file(path, [header, *parts])
    except OSError as error:
        raise FileError(f"{what}: cannot write {path}: {error.strerror or error}") from error


def _header(held: dict[str, Array], order: list[str], facts: str) -> bytearray:
    """The beginning of the file, with zeros for the checksum."""
    entries: dict[str, Any] = {}
    offset = 0
    for name in order:
        x = held[name]
        entries[name] = {
            "dtype": _DTYPE_NAMES[str(x.dtype)], "shape": list(x.shape),
            "data_offsets": [offset, offset + x.nbytes],
        }  # fmt: skip
        offset += x.nbytes
    tail = json.dumps({"format": FORMAT, "facts": facts})[1:].encode() + b","
    body = json.dumps(entries, separators=(",", ":"), ensure_ascii=False)[1:].encode()
    if not entries:
        tail = tail[:-1]
    used = _HEAD + 2 + len(tail) + len(body)
    padding = -used % 8  # spaces, so that the arrays are aligned
    length = used + padding - 8
    total = b"%016d" % (8 + length + offset)
    start = length.to_bytes(8, "little") + _START + b"0" * _DIGITS + _MIDDLE + total
    return bytearray(start + b'",' + tail + body + b" " * padding)


_DTYPE_NAMES = {numpy_name: name for name, numpy_name in DTYPES.items()}


def _checked_name(what: str, name: Any) -> str:
    if not isinstance(name, str):
        raise ArgumentTypeError(f"{what}: names of arrays must be text, not {name!r}")
    if name == "__metadata__":
        raise ArgumentError(f"{what}: no array can be called '__metadata__' in a safetensors file")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"{what}: the name {name!r} is no valid Unicode text") from None
    return name


def _as_array(what: str, name: str, value: Any) -> Array:
    found = np.asarray(value)
    native = found.dtype.newbyteorder("<") if found.dtype.kind in "iuf" else found.dtype
    if str(native) not in _DTYPE_NAMES:
        raise DTypeError(f"{what}: the array {name!r} of dtype {found.dtype} cannot be held")
    return np.asarray(found, native, order="C")


def _facts_as_text(what: str, facts: Any) -> str:
    if not isinstance(facts, dict):
        raise ArgumentTypeError(f"{what}: facts must be a dict, not {type(facts).__name__}")
    _check_fact(what, "facts", facts, 0)
    return json.dumps(facts)


def _check_fact(what: str, path: str, value: Any, depth: int) -> None:
    """JSON would turn keys into text and tuples into lists; what comes back must be equal."""
    if depth > 50:
        raise ArgumentError(f"{what}: {path} is nested more than 50 deep")
    if value is None or isinstance(value, (bool, str)):
        return
    if type(value) in (int, float):
        return
    if type(value) is list:
        for i, item in enumerate(value):
            _check_fact(what, f"{path}[{i}]", item, depth + 1)
    elif type(value) is dict:
        for key, item in value.items():
            if not isinstance(key, str):
                raise ArgumentTypeError(f"{what}: {path} has the key {key!r}, which is no text")
            _check_fact(what, f"{path}[{key!r}]", item, depth + 1)
    else:
        raise ArgumentTypeError(
            f"{what}: {path} is of class {type(value).__name__}; facts are text, int, float, "
            "bool, None, lists and dicts of these (arrays have a place of their own)"
        )


# Reading.


def read_sealed(path: str, *, what: str = "load") -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the facts of a file; the arrays are read-only.

    The whole file is checked before any of it is used.

    Raises:
        DamagedFileError: if the file is cut off, changed, or of another format.
        FileError: if it cannot be read, or is of a later version of the format.
    """
    try:
        data = _content(path, what)
    except OSError as error:
        if isinstance(error, Error):
            raise
        if error.errno == errno.EIO:
            _refuse(what, path, "lies on a part of the disk that cannot be read")
        raise FileError(f"{what}: cannot read {path}: {error.strerror or error}") from error
    except MemoryError:
        raise FileError(f"{what}: {path} does not fit into memory") from None
    return _parsed(path, what, data)


def _content(path: str, what: str) -> Array:
    """The bytes of a file, which are as they were written."""
    # A pipe of that name would wait for a writer without this flag.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            _refuse(what, path, "is no file")
        size = status.st_size
        head = file.read(_HEAD)
        _check_head(what, path, head, size)
        data = np.empty(size, np.uint8)
        data[:_HEAD] = np.frombuffer(head, np.uint8)
        done = _HEAD
        while done < size:
            count = file.readinto(data[done : done + _CHUNK].data)
            if not count:
                _refuse(what, path, f"ends after {done:,} of {size:,} bytes")
            done += count
    at = 8 + len(_START)
    digits = data[at : at + _DIGITS].tobytes()
    if digits != _hash(data, at).encode():
        _refuse(what, path, "was changed after it was written: its checksum is another")
    return data


def _check_head(what: str, path: str, head: bytes, size: int) -> None:
    """The fixed beginning of a file, before anything is allocated."""
    begins = 8 + len(_START)
    if len(head) < _HEAD or head[8:begins] != _START:
        if size < _HEAD and (head[8:].startswith(_START[: max(0, size - 8)]) or not head):
            _refuse(what, path, f"is cut off: it has only {size} bytes")
        _refuse(what, path, "is no file that this function writes")
    middle = begins + _DIGITS
    length = head[middle + len(_MIDDLE) :]
    if head[middle : middle + len(_MIDDLE)] != _MIDDLE or not length.isdigit():
        _refuse(what, path, "was changed after it was written")
    if int(length) != size:
        fate = "is cut off" if size < int(length) else "was added to"
        _refuse(what, path, f"{fate}: it has {size:,} bytes, and was written with {int(length):,}")
    header = int.from_bytes(head[:8], "little")
    if not _HEAD - 8 < header <= min(size - 8, _MOST_HEADER):
        _refuse(what, path, "was changed after it was written: its header has no possible length")


def _hash(data: Array, at: int) -> str:
    """The checksum of a file, whose own digits at `at` count as zeros."""
    view = data.data

    def parts() -> Iterator[Any]:
        yield view[:at]
        yield b"0" * _DIGITS
        for start in range(at + _DIGITS, len(view), _CHUNK):
            yield view[start : start + _CHUNK]

    return checksum(parts())


def _refuse(what: str, path: str, why: str) -> NoReturn:
    raise DamagedFileError(f"{what}: {path} {why}")


def _parsed(path: str, what: str, data: Array) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and facts of a file with a right checksum; still nothing is taken for granted."""
    length = int.from_bytes(data[:8].tobytes(), "little")
    try:
        header = json.loads(data[8 : 8 + length].tobytes(), object_pairs_hook=_without_duplicates)
        metadata = header.pop("__metadata__")
        form = metadata["format"]
        if form == FORMAT:
            facts = json.loads(metadata["facts"], object_pairs_hook=_without_duplicates)
            if not isinstance(facts, dict):
                raise ValueError("the facts are no dict")
            return _arrays(header, data[8 + length :]), facts
    except (
        Error,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        _refuse(what, path, f"is not as this function writes it ({error})")
    raise FileError(
        f"{what}: {path} is of the format {form!r}, and this version reads {FORMAT!r}; "
        "update cotangent"
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _arrays(entries: dict[str, Any], data: Array) -> dict[str, Array]:
    """The arrays, which fill the data without gap or overlap."""
    data.flags.writeable = False
    found: dict[str, Array] = {}
    spans = []
    for name, entry in entries.items():
        dtype = as_dtype(DTYPES[entry["dtype"]])
        begin, end = entry["data_offsets"]
        shape = tuple(entry["shape"])
        if not all(type(n) is int and n >= 0 for n in (begin, end, *shape)):
            raise ValueError(f"{name!r} has a shape or place that is no natural number")
        if end - begin != math.prod(shape) * dtype.itemsize or end > len(data):
            raise ValueError(f"the place of {name!r} does not fit its shape {shape}")
        if end > begin:
            spans.append((begin, end))
        raw = data[begin:end]
        if dtype == np.bool_ and (raw > 1).any():
            raise ValueError(f"{name!r} holds bytes that are no bools")
        found[name] = raw.view(dtype).reshape(shape)
    edges = [edge for span in sorted(spans) for edge in span]
    if edges != sorted(edges) or edges[1:-1:2] != edges[2::2]:
        raise ValueError("its arrays overlap or leave gaps")
    if (edges[0], edges[-1]) != (0, len(data)) if edges else len(data):
        raise ValueError("its arrays do not fill it")
    return found
