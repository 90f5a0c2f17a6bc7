"""Text to machine code. This is the one file that imports LLVM."""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError, CompileError, MissingPackageError
from ...runtime.digest import fingerprint
from ...runtime.loader import is_supported, undefined_symbols
from .access import OPAQUE
from .blocking import Tile
from .matmul import Tiles

# LLVM's globals are guarded by one lock inside llvmlite. A fork while another thread holds it would
# leave the child waiting for ever, so forking waits for this one, which is held around all use.
_LLVM = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_LLVM.acquire, after_in_parent=_LLVM.release, after_in_child=_LLVM.release
    )

_OPAQUE = re.compile(re.escape(OPAQUE).replace("KIND", "<[^>]*>") + r"\((<[^>]*>) (.*)\)$", re.M)
_X86 = "x86_64-unknown-linux-gnu"
TARGETS = {
    "avx512": (_X86, "x86-64-v4", "-prefer-256-bit"),
    "avx2": (_X86, "x86-64-v3", ""),
    "aarch64": ("aarch64-unknown-linux-gnu", "generic", "+neon"),
}
# An accumulator for each row and vector of the tile has to stay in a register.
TILES = {
    "avx512": Tiles(Tile(6, 4), Tile(8, 3, 3)),
    "avx2": Tiles(Tile(6, 1), Tile(6, 1)),
    "aarch64": Tiles(Tile(6, 1), Tile(6, 1)),
}


@functools.cache
def native_isa() -> str:
    """What to compile for: "avx512" or "avx2", or "none" where compiled code cannot run.

    The processor decides; ``COTANGENT_ISA=avx2`` turns AVX-512 off, ``COTANGENT_ISA=none`` all
    of it. The results are the same bits on either.
    """
    wanted = os.environ.get("COTANGENT_ISA", "")
    if wanted not in ("", "avx512", "avx2", "none"):
        raise ArgumentError(f"COTANGENT_ISA must be avx512, avx2 or none, not {wanted!r}")
    if wanted == "none" or not is_supported():
        return "none"
    flags = set(_processor_flags())
    wide = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    if wide <= flags and wanted != "avx2":
        return "avx512"
    return "avx2" if {"avx2", "fma", "bmi2"} <= flags else "none"


def _processor_flags() -> list[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    line = next((row for row in text.splitlines() if row.startswith("flags")), "")
    return line.partition(":")[2].split()


@functools.cache
def _llvm() -> Any:
    try:
        import llvmlite.binding as llvm
    except ImportError:
        raise MissingPackageError(
            "compiling needs llvmlite: pip install 'llvmlite>=0.50'"
        ) from None
    with _LLVM:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    return llvm


def is_available() -> bool:
    """Whether llvmlite can be imported."""
    try:
        _llvm()
    except MissingPackageError:
        return False
    return True


@functools.cache
def _machine(isa: str) -> Any:
    triple, cpu, features = TARGETS[isa]
    target = _llvm().Target.from_triple(triple)
    return target.create_target_machine(
        cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small"
    )


def build(texts: Sequence[str], isa: str) -> bytes:
    """One object with the functions of all `texts`.

    Raises:
        CompileError: if LLVM refuses the text, or the object would need symbols from elsewhere;
            both are bugs of this library.
    """
    llvm = _llvm()
    with _LLVM:
        try:
            # Closed here, not by the garbage collector: that would use LLVM without the lock.
            with llvm.parse_assembly(join(texts, isa)) as module:
                module.triple = TARGETS[isa][0]
                module.verify()
                image: bytes = _machine(isa).emit_object(module)
        except RuntimeError as error:
            raise CompileError(f"LLVM refuses a kernel: {error}") from None
    missing = undefined_symbols(image)
    if missing:
        raise CompileError(f"a kernel calls functions that it does not have: {missing}")
    return image


def assembly(texts: Sequence[str], isa: str) -> str:
    """The assembly of `texts`, for reading."""
    llvm = _llvm()
    with _LLVM, llvm.parse_assembly(join(texts, isa)) as module:
        text: str = _machine(isa).emit_assembly(module)
    return text


def join(texts: Sequence[str], isa: str) -> str:
    """Several kernels as one module: each declaration once, `OPAQUE` only where it is needed."""
    declarations: set[str] = set()
    rest = []
    for text in texts:
        lines = text.splitlines()
        declarations.update(line for line in lines if line.startswith("declare "))
        rest.append("\n".join(line for line in lines if not line.startswith("declare ")))
    text = "\n".join([*sorted(declarations), *rest])
    return text if isa == "avx512" else _OPAQUE.sub(r"bitcast \1 \2 to \1", text)


@functools.cache
def toolchain() -> str:
    """What compiled code depends on besides its text: a hash for the cache key."""
    return fingerprint([repr(TARGETS)], 8)
