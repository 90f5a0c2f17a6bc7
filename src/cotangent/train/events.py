"""Event files, which TensorBoard shows: numbers by tag and step, one record each.

A record is its length (8 bytes), a checksum of the length, the data, and a checksum of the data.
The checksums are CRC-32C, masked. The data is a protocol buffer of the message ``Event``, of which
five fields are needed.

Sources: G. Castagnoli, S. Bräuer, M. Herrmann, "Optimization of cyclic redundancy-check codes with
24 and 32 parity bits", IEEE Transactions on Communications 41, 1993 (the polynomial); TensorFlow,
"TFRecord and tf.train.Example" (records and the mask), ``event.proto`` and ``summary.proto`` (the
numbers of the fields); Protocol Buffers, "Encoding".
"""

from __future__ import annotations

import itertools
import os
import struct
import time
from collections.abc import Mapping

from ..errors import FileError

_POLYNOMIAL = 0x82F63B78  # of CRC-32C, the lowest bit first
_MASK = 0xA282EAD8
_WORD = 1 << 32
_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # how a protocol buffer holds a field
_COUNT = itertools.count()


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = [_entry(byte) for byte in range(256)]


def crc32c(data: bytes) -> int:
    """The cyclic redundancy check CRC-32C of `data`.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = _WORD - 1
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ (_WORD - 1)


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    turned = (crc >> 15 | crc << 17) % _WORD
    return struct.pack("<I", (turned + _MASK) % _WORD)


def record(data: bytes) -> bytes:
    """`data` as a record of an event file."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _varint(number: int) -> bytes:
    """An integer, 7 bits to a byte, the lowest first; a negative one as 64 bits."""
    number %= 1 << 64
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, kind: int, value: bytes) -> bytes:
    size = _varint(len(value)) if kind == _BYTES else b""
    return _varint(number << 3 | kind) + size + value


def _event(seconds: float, step: int, content: bytes) -> bytes:
    """The message ``Event``: wall_time = 1, step = 2, and what it tells."""
    when = _field(1, _DOUBLE, struct.pack("<d", seconds))
    return when + _field(2, _VARINT, _varint(step)) + content


def _scalar(tag: str, value: float) -> bytes:
    """``Summary.value = 1`` with tag = 1 and simple_value = 2."""
    text = _field(1, _BYTES, tag.encode("utf-8", "replace"))
    try:
        number = struct.pack("<f", value)
    except OverflowError:  # beyond float32
        number = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return _field(1, _BYTES, text + _field(2, _FLOAT, number))


class EventFile:
    """A new event file in a folder, which is made if need be.

    Each record is written by one call of the system, so a viewer that looks meanwhile sees it.

    Args:
        folder: where to.
        first_step: what a viewer should forget of earlier files in this folder: the numbers of
            this step and later ones, which a run that was resumed makes again.

    Raises:
        FileError: if it cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], first_step: int = 0) -> None:
        host = os.uname().nodename if hasattr(os, "uname") else "host"
        name = f"events.out.tfevents.{int(time.time()):010d}.{host}.{os.getpid()}.{next(_COUNT)}"
        self.path = os.path.join(os.fspath(folder), name)
        try:
            os.makedirs(folder, exist_ok=True)
            self._file = open(self.path, "xb", buffering=0)  # noqa: SIM115, closed by `close`
        except OSError as error:
            raise self._unwritten(error) from error
        version = _field(3, _BYTES, b"brain.Event:2")  # Event.file_version
        self._write(_event(time.time(), 0, version))
        started = _field(7, _BYTES, _field(1, _VARINT, _varint(1)))  # session_log.status = START
        self._write(_event(time.time(), first_step, started))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by their tags.

        Raises:
            FileError: if the disk does not take them.
        """
        summary = b"".join(_scalar(tag, float(value)) for tag, value in values.items())
        self._write(_event(time.time(), step, _field(5, _BYTES, summary)))  # Event.summary

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        whole = record(data)
        try:
            if self._file.write(whole) != len(whole):
                raise OSError("the disk took a part only")
        except OSError as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: OSError) -> FileError:
        return FileError(f"TensorBoard: cannot write {self.path}: {error.strerror or error}")
