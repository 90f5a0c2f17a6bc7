"""Linking: from a graph to a program, with machine code from memory, from disk, or new."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from ..runtime import cache, loader
from ..runtime.digest import fingerprint
from ..tensors import Variable
from .codegen.build import TILES, build, is_available, native_isa, toolchain
from .codegen.driver import driver_text
from .fuse import fuse
from .graph import Graph
from .interpreted import Interpreted
from .layout import Layout, constant_arrays, graph_key, make_layout
from .memory import plan
from .program import Program
from .simplify import simplify
from .staging import Staging
from .trace import Host

_DRIVER = "run"
# Kernels in executable memory, by name; a name is a hash of the text.
_FUNCTIONS: dict[str, int] = {}
# The objects that they came from, by number, for the disk cache; those used longest ago go first.
_IMAGES: dict[int, bytes] = {}
_IMAGE_OF: dict[str, int] = {}
_NUMBERS = itertools.count()
_MOST_IMAGE_BYTES = 16 << 20
# Layouts by graph key, the most recent ones: a function that is traced again, after a change
# that did not concern it, finds its own.
_LAYOUTS: dict[str, bytes] = {}
_MOST_LAYOUTS = 32


def link(
    graph: Graph, variables: Sequence[Variable], host_functions: Sequence[Host],
    staging: Staging | None = None, watch: bool = False, trusting: bool = True,
) -> Program | Interpreted:  # fmt: skip
    """A program for a traced graph. Without LLVM, or on a processor without code generation, it
    runs op by op, and says so once.

    Args:
        staging: what the program shares with others of the same function.
        watch: whether a run fails where a result or a new value of a variable is not finite.
        trusting: whether a watched program may fail where a number is not of a common size.
    """
    isa = native_isa()
    if isa == "none":
        _say_once("this machine has no code generation (Linux on x86-64 with AVX2 has)")
        return Interpreted(graph, variables, host_functions, watch)
    mode = ("-watch" if trusting else "-careful") if watch else ""
    key = _graph_key(graph, isa, mode)
    layout = _recall(key) or _make(graph, isa, key, watch, trusting)
    if layout is None:
        _say_once("llvmlite is not installed (pip install llvmlite)")
        return Interpreted(graph, variables, host_functions, watch)
    arrays = constant_arrays(layout, graph)
    args = (arrays, variables, host_functions, _FUNCTIONS, staging or Staging())
    return Program(layout, *args)


def _recall(key: str | None) -> Layout | None:
    """The layout of an equal graph, with its kernels loaded: from before, or from disk."""
    if key is None:
        return None
    stored = _LAYOUTS.get(key)
    if stored is None:
        content = cache.read(key)
        if not content:
            return None
        stored, objects = content[0], content[1:]
        if not _take(objects, Layout.from_bytes(stored)):
            return None
        _remember(key, stored)
    return Layout.from_bytes(stored)


def _remember(key: str, stored: bytes) -> None:
    while len(_LAYOUTS) >= _MOST_LAYOUTS:
        del _LAYOUTS[next(iter(_LAYOUTS))]
    _LAYOUTS[key] = stored


def _make(graph: Graph, isa: str, key: str | None, watch: bool, trusting: bool) -> Layout | None:
    """A new layout with its kernels; None if that takes LLVM, and there is none."""
    made = plan(fuse(simplify(graph), watch), TILES[isa], trusting)
    layout = make_layout(graph, made)
    called = [kernel.after for kernel in made.kernels if kernel.after]
    texts = {kernel.name: kernel.text for kernel in [*made.kernels, *called]}
    if _DRIVER not in _FUNCTIONS:
        texts[_DRIVER] = driver_text("x86_64")
    missing = [name for name in sorted(texts) if name not in _FUNCTIONS]
    if missing:
        if not is_available():
            return None
        image = build([texts[name] for name in missing], isa)
        functions = loader.load(image)
        _FUNCTIONS.update(functions)
        _keep(image, functions)
    if key is not None:
        stored = layout.to_bytes()
        _remember(key, stored)
        images = _images_of({_DRIVER, *texts})
        if images is not None:
            cache.write(key, [stored, *images])
    return layout


def _keep(image: bytes, names: Iterable[str]) -> None:
    """Keep the object of some kernels, but not more than so many bytes of objects."""
    number = next(_NUMBERS)
    _IMAGES[number] = image
    for name in names:
        _IMAGE_OF[name] = number
    while len(_IMAGES) > 1 and sum(map(len, _IMAGES.values())) > _MOST_IMAGE_BYTES:
        del _IMAGES[next(iter(_IMAGES))]


def _images_of(names: Iterable[str]) -> list[bytes] | None:
    """The objects that have all of some kernels; None if one was not kept: then the step is not
    stored on disk, and the next process compiles it."""
    numbers = sorted({_IMAGE_OF[name] for name in names})
    if not all(number in _IMAGES for number in numbers):
        return None
    for number in numbers:
        _IMAGES[number] = _IMAGES.pop(number)  # used last
    return [_IMAGES[number] for number in numbers]


def _take(objects: Sequence[bytes], layout: Layout) -> bool:
    """Load objects from the cache; whether all kernels of the layout are there then."""
    needed = {_DRIVER, *layout.functions, *(name for name, *_ in layout.kernels)}
    if not needed <= _FUNCTIONS.keys():
        for image in objects:
            functions = loader.load(image)
            new = functions.keys() - _FUNCTIONS.keys()
            if new:
                _keep(image, new)
            for name, address in functions.items():
                _FUNCTIONS.setdefault(name, address)
    return needed <= _FUNCTIONS.keys()


def _graph_key(graph: Graph, isa: str, mode: str) -> str | None:
    """The cache key of a step: the graph, how it is watched, the compiler's sources, the processor,
    the versions."""
    key = graph_key(graph)
    return None if key is None else f"{key}{mode}-{_toolchain(isa)}"


@functools.cache
def _toolchain(isa: str) -> str:
    return fingerprint((isa, toolchain(), llvm_version(), np.__version__, *_sources()), 8)


def _sources() -> list[str]:
    """Name, size and time of every file that decides what a graph is compiled to."""
    here = os.path.dirname(__file__)
    found = []
    for folder in (here, os.path.join(here, "codegen"), os.path.join(here, "..", "ops")):
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    state = entry.stat()
                    found.append(f"{entry.name}:{state.st_size}:{state.st_mtime_ns}")
    return sorted(found)


@functools.cache
def _say_once(why: str) -> None:
    warnings.warn(
        f"ct.jit runs functions op by op, not compiled: {why}", RuntimeWarning, stacklevel=2
    )


@functools.cache
def llvm_version() -> str:
    """What identifies the installed llvmlite, found without importing it."""
    found = importlib.util.find_spec("llvmlite")
    if found is None or found.origin is None:
        return "none"
    state = os.stat(os.path.join(os.path.dirname(found.origin), "_version.py"))
    return f"{found.origin}:{state.st_size}:{state.st_mtime_ns}"
