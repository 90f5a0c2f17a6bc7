"""Linking: from a graph to a program, with machine code from memory, from disk, or new."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from ..runtime import cache, loader
from ..tensors import Variable
from .codegen.build import TILES, build, is_available, native_isa, toolchain
from .codegen.driver import driver_text
from .codegen.kernel import Kernel
from .fuse import fuse
from .graph import Graph
from .memory import plan
from .program import Interpreted, Program
from .trace import Host

_DRIVER = "run"
# Kernels in executable memory, by name; a name is a hash of the text.
_FUNCTIONS: dict[str, int] = {}
_IMAGES: dict[str, bytes] = {}


def link(
    graph: Graph, variables: Sequence[Variable], host_functions: Sequence[Host]
) -> Program | Interpreted:
    """A program for `graph`. Without LLVM, or on a processor without code generation, it runs op
    by op, and says so once."""
    isa = native_isa()
    if isa == "none":
        _say_once("this machine has no code generation (Linux on x86-64 with AVX2 has)")
        return Interpreted(graph, variables, host_functions)
    made = plan(fuse(graph), TILES[isa])
    if not _load(made.kernels, isa):
        _say_once("llvmlite is not installed (pip install llvmlite)")
        return Interpreted(graph, variables, host_functions)
    return Program(graph, made, variables, host_functions, _FUNCTIONS)


@functools.cache
def _say_once(why: str) -> None:
    warnings.warn(
        f"ct.jit runs functions op by op, not compiled: {why}", RuntimeWarning, stacklevel=2
    )


def _load(kernels: Sequence[Kernel], isa: str) -> bool:
    """Bring all kernels into executable memory; False if that takes LLVM, and there is none."""
    texts = {kernel.name: kernel.text for kernel in kernels}
    texts[_DRIVER] = driver_text("x86_64")
    missing = [name for name in sorted(texts) if name not in _FUNCTIONS]
    if not missing:
        return True
    key = _key(texts, isa)
    stored = cache.read(key)
    if stored is not None and _take(stored, texts):
        return True
    if not is_available():
        return False
    image = build([texts[name] for name in missing], isa)
    _FUNCTIONS.update(loader.load(image))
    for name in missing:
        _IMAGES[name] = image
    cache.write(key, list({id(i): i for i in (_IMAGES[name] for name in texts)}.values()))
    return True


def _take(stored: Sequence[bytes], texts: dict[str, str]) -> bool:
    """Load objects from the cache; whether they have all the kernels."""
    loaded = [(image, loader.load(image)) for image in stored]
    if not texts.keys() <= {name for _, functions in loaded for name in functions}:
        return False
    for image, functions in loaded:
        for name, address in functions.items():
            _FUNCTIONS.setdefault(name, address)
            _IMAGES.setdefault(name, image)
    return True


def _key(texts: dict[str, str], isa: str) -> str:
    """The cache key of a step: all that its machine code depends on."""
    state = hashlib.blake2b(digest_size=16)
    for part in (isa, toolchain(), llvm_version(), _DRIVER, texts[_DRIVER], *sorted(texts)):
        state.update(part.encode())
        state.update(b"\0")
    return state.hexdigest()


@functools.cache
def llvm_version() -> str:
    """What identifies the installed llvmlite, found without importing it."""
    found = importlib.util.find_spec("llvmlite")
    if found is None or found.origin is None:
        return "none"
    state = os.stat(Path(found.origin).parent / "_version.py")
    return f"{found.origin}:{state.st_size}:{state.st_mtime_ns}"
