"""`cotangent doctor`: what this machine has, and what the library makes of it."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..compiler.codegen.build import is_available, native_isa
from ..compiler.compiled import jit
from ..compiler.peaks import Peaks
from ..console import Console
from ..data.images import data_folder
from ..errors import Error
from ..runtime import cache
from ..runtime.threads import get_num_threads, set_num_threads, usable_cores
from .arguments import add_command

EXAMPLES = """\
  cotangent doctor
"""
NEEDED = ("numpy", "llvmlite", "safetensors", "ml_dtypes", "rich")
OPTIONAL = {
    "polars": "Parquet files: pip install 'cotangent[data]'",
    "matplotlib": "more pictures: pip install 'cotangent[viz]'",
    "scikit-learn": "estimators: pip install 'cotangent[sklearn]'",
    "torch": "another backend: pip install 'cotangent[torch]'",
    "array-api-compat": "another backend: pip install 'cotangent[torch]'",
}
_SIZE = 512  # of the product by which threads are started

_INSTRUCTIONS = {
    "avx512": "AVX-512, vectors of 16 floats",
    "avx2": "AVX2 with FMA, vectors of 8 floats",
    "none": "no compiled code here: steps run op by op",
    "missing": "no compiled code: llvmlite is missing, steps run op by op",
}

Lines = list[tuple[str, str]]


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands, "doctor",
        help="show what this machine has and what is installed",
        description="Show versions, the processor, the threads, the measured limits of arithmetic "
        "and memory,\nthe cache folder, and the optional packages.",
        examples=EXAMPLES,
    )  # fmt: skip
    parser.set_defaults(run_command=work)


def work(_: argparse.Namespace) -> None:
    """Do what the command says."""
    console = Console()
    parts = {
        "versions": versions(), "processor": processor(), "limits": limits(), "folders": folders(),
        "packages": packages(),
    }  # fmt: skip
    width = max(len(name) for lines in parts.values() for name, _ in lines)
    for title, lines in parts.items():
        console.line(title, style="bold")
        for name, text in lines:
            console.line(f"  {name:<{width}}  {text}")


def versions() -> Lines:
    """The library, Python, and the system."""
    return [
        ("cotangent", __version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
    ]


def processor() -> Lines:
    """The processor, and how compiled code uses it."""
    isa = native_isa() if is_available() else "missing"
    return [
        ("model", _model()),
        ("instructions", _INSTRUCTIONS[isa]),
        ("cores", f"{usable_cores()} usable of {os.cpu_count()}"),
        ("threads", f"{get_num_threads()} (COTANGENT_NUM_THREADS sets another number)"),
    ]


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def limits() -> Lines:
    """What was measured now, on one thread and on all."""
    lines: Lines = []
    before = get_num_threads()
    try:
        for count in sorted({1, before}):
            set_num_threads(count)
            found = measured()
            if found is None:
                return [("arithmetic", "not measured: there is no compiled code")]
            rates = f"{found.flops / 1e9:.0f} GFLOP/s float32, {found.bytes / 1e9:.1f} GB/s"
            name = f"{found.threads} thread" + "s" * (found.threads > 1)
            lines.append((name, f"{rates} from memory"))
    finally:
        set_num_threads(before)
    return lines


def measured() -> Peaks | None:
    """The machine's limits for the number of threads that is set; None without compiled code."""
    if native_isa() == "none" or not is_available():
        return None
    square = np.ones((_SIZE, _SIZE), np.float32)
    product = jit(lambda a, b: a @ b)
    try:
        return product.profile(square, square).peaks
    except Error:
        return None


def folders() -> Lines:
    """Where compiled code and data sets are kept."""
    place = cache.folder()
    if place is None:
        text = "off, or its folder is not safe: every process compiles anew"
    else:
        sizes = [entry.stat().st_size for entry in Path(place).glob("*.objects")]
        text = f"{place}, {len(sizes)} steps, {sum(sizes) / 2**20:.1f} MiB"
    return [("cache", text), ("data", data_folder())]


def packages() -> Lines:
    """What is installed of that which is needed or useful."""
    lines = [(name, _version(name) or "MISSING, and needed") for name in NEEDED]
    return lines + [(name, _version(name) or f"not installed; {why}")
                    for name, why in OPTIONAL.items()]  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
