"""Putting compiled objects into executable memory.

A kernel's object file (ELF, relocatable) is laid out and relocated by hand, so a process that
finds its kernels in the cache never imports LLVM. Code pages are mapped twice, once writable
and once executable, so that nothing is ever both.

Source: System V ABI, AMD64 supplement (relocations), and the ELF-64 object file format.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import CompileError

_CHUNK = 1 << 20
_ALLOCATED, _NO_BITS, _SYMBOLS, _RELOCATIONS = 2, 8, 2, 4  # section flag and types
_GLOBAL = 1


class _Section(NamedTuple):
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


class _Symbol(NamedTuple):
    name: str
    binding: int
    section: int
    value: int


def is_supported() -> bool:
    """Whether this machine can run compiled code: Linux on x86-64."""
    return platform.system() == "Linux" and platform.machine() == "x86_64"


class _ObjectFile:
    """The parts of an ELF-64 object that a loader needs."""

    def __init__(self, image: bytes) -> None:
        if image[:6] != b"\x7fELF\x02\x01":
            raise CompileError("the object is not a little-endian ELF-64 file")
        self.image = image
        table, count = (
            struct.unpack_from("<Q", image, 40)[0],
            struct.unpack_from("<H", image, 60)[0],
        )
        self.sections = []
        for i in range(count):
            row = struct.unpack_from("<IIQQQQIIQQ", image, table + 64 * i)
            self.sections.append(_Section(row[1], row[2], *row[4:9]))

    def symbols(self, section: _Section) -> list[_Symbol]:
        """The entries of a symbol table."""
        names = self.sections[section.link].offset
        found = []
        for at in range(section.offset, section.offset + section.size, 24):
            name, info, _, index, value, _ = struct.unpack_from("<IBBHQQ", self.image, at)
            end = self.image.index(b"\0", names + name)
            text = self.image[names + name : end].decode()
            found.append(_Symbol(text, info >> 4, index, value))
        return found

    def relocations(self, section: _Section) -> Iterator[tuple[int, int, int, int]]:
        """Pairs of place and symbol: (offset, type, symbol number, addend)."""
        for at in range(section.offset, section.offset + section.size, 24):
            offset, info, addend = struct.unpack_from("<QQq", self.image, at)
            yield offset, info & 0xFFFFFFFF, info >> 32, addend


def undefined_symbols(image: bytes) -> list[str]:
    """Names that an object expects from elsewhere; ours must expect none."""
    file = _ObjectFile(image)
    tables = [s for s in file.sections if s.kind == _SYMBOLS]
    return [
        symbol.name
        for table in tables
        for symbol in file.symbols(table)
        if symbol.section == 0 and symbol.name
    ]


class _CodeMemory:
    """Pages for code: each chunk is mapped writable here and executable there."""

    def __init__(self) -> None:
        self._chunk: mmap.mmap | None = None
        self._base = 0
        self._used = _CHUNK
        self._keep: list[mmap.mmap] = []
        self.lock = threading.RLock()

    def place(self, size: int, align: int) -> tuple[mmap.mmap, int, int]:
        """Room for `size` bytes: the writable map, the offset in it, the executable address."""
        with self.lock:
            start = -(-self._used // align) * align
            if self._chunk is None or start + size > len(self._chunk):
                self._grow(max(size, _CHUNK))
                start = 0
            self._used = start + size
            if self._chunk is None:
                raise CompileError("no memory for code")
            return self._chunk, start, self._base + start

    def start_again(self) -> None:
        """After a fork, put new code into pages of its own: the present ones are shared with the
        parent, which goes on writing into them."""
        self._chunk, self._used = None, _CHUNK
        self.lock.release()

    def _grow(self, size: int) -> None:
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        file = os.memfd_create("cotangent-code", os.MFD_CLOEXEC)
        try:
            os.ftruncate(file, size)
            self._chunk = mmap.mmap(file, size, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            runnable = mmap.mmap(file, size, prot=mmap.PROT_READ | mmap.PROT_EXEC)
        finally:
            os.close(file)
        self._keep += [self._chunk, runnable]
        # A thread may be in there while the interpreter ends and clears its modules.
        keep_for_ever(runnable)
        self._base = address_of_region(runnable)


def keep_for_ever(region: mmap.mmap) -> None:
    """Let a mapping live as long as the process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(region))


def address_of_region(region: mmap.mmap) -> int:
    """The address of a mapping; ctypes by itself takes no pointer to one that is read-only."""
    view = ctypes.py_object(region)
    buffer = (ctypes.c_ssize_t * 16)()
    get, release = ctypes.pythonapi.PyObject_GetBuffer, ctypes.pythonapi.PyBuffer_Release
    if get(view, ctypes.byref(buffer), 0) != 0:
        raise CompileError("the code memory has no address")
    address = int(buffer[0])
    release(ctypes.byref(buffer))
    return address


_MEMORY = _CodeMemory()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_MEMORY.lock.acquire,
        after_in_parent=_MEMORY.lock.release,
        after_in_child=_MEMORY.start_again,
    )


def load(image: bytes) -> dict[str, int]:
    """Lay out an object in executable memory; the addresses of its global symbols.

    Raises:
        CompileError: if the object is damaged, or needs symbols from elsewhere.
    """
    try:
        return _load(_ObjectFile(image))
    except (struct.error, IndexError, ValueError) as error:
        raise CompileError(f"the object file is damaged: {error}") from None


def _load(file: _ObjectFile) -> dict[str, int]:
    offsets, size, align = _layout(file)
    memory, start, address = _MEMORY.place(size, align)
    for i, offset in offsets.items():
        section = file.sections[i]
        if section.kind != _NO_BITS:
            data = file.image[section.offset : section.offset + section.size]
            if len(data) != section.size:
                raise ValueError("a section is cut short")
            memory[start + offset : start + offset + section.size] = data
    functions: dict[str, int] = {}
    for section in file.sections:
        if section.kind == _SYMBOLS:
            for symbol in file.symbols(section):
                if symbol.binding == _GLOBAL and symbol.section in offsets:
                    functions[symbol.name] = address + offsets[symbol.section] + symbol.value
    for section in file.sections:
        if section.kind == _RELOCATIONS and section.info in offsets:
            _relocate(file, section, offsets, memory, start, address)
    return functions


def _layout(file: _ObjectFile) -> tuple[dict[int, int], int, int]:
    """Where each section with memory goes, the total size, and the alignment."""
    offsets: dict[int, int] = {}
    size, widest = 0, 64
    for i, section in enumerate(file.sections):
        if section.flags & _ALLOCATED:
            step = max(section.align, 1)
            size = -(-size // step) * step
            offsets[i] = size
            size += section.size
            widest = max(widest, step)
    return offsets, size, widest


def _relocate(
    file: _ObjectFile, section: _Section, offsets: dict[int, int], memory: mmap.mmap,
    start: int, address: int,
) -> None:  # fmt: skip
    symbols = file.symbols(file.sections[section.link])
    for offset, kind, number, addend in file.relocations(section):
        symbol = symbols[number]
        if symbol.section not in offsets:
            raise CompileError(f"the object needs the symbol {symbol.name!r} from elsewhere")
        target = address + offsets[symbol.section] + symbol.value + addend
        place = offsets[section.info] + offset
        if kind == 1:  # R_X86_64_64
            struct.pack_into("<Q", memory, start + place, target % 2**64)
        elif kind in (2, 4):  # R_X86_64_PC32, R_X86_64_PLT32
            struct.pack_into("<i", memory, start + place, target - (address + place))
        else:
            raise CompileError(f"the object has a relocation of unknown type {kind}")
