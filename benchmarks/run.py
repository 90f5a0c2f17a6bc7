"""Compare Cotangent with PyTorch, JAX and NumPy on this machine, now, in turns.

    python benchmarks/run.py                     everything, on all cores
    python benchmarks/run.py xor small --rounds 15 --threads 1
    python benchmarks/run.py --quick             does every row run? its times mean nothing
    python benchmarks/run.py --json              for a program to read

Absolute times mean little on a shared machine; the ratios are what counts. The exit code is 0 if
every bound is met, 1 otherwise; with --quick it is 1 only if something failed to run or computed
something else than its peers. What threads are worth is asked by threads.py beside this file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from typing import Any

import calls
import epoch
import first_call
import imports
import memory
import new_shape
import replicas
import steps
import training
from functions import FUNCTIONS
from harness import Row, as_json, cores, pin, table
from workloads import WORKLOADS

OTHERS = [
    "matmul", "replicas", "first_call", "new_shape", "epoch", "memory", "imports",
    *training.QUESTIONS,
]  # fmt: skip
QUESTIONS = [*WORKLOADS, *FUNCTIONS, *OTHERS]
LIBRARIES = ["cotangent", "torch", "jax"]
VARIANTS = ["torch_compile", "numpy", "numpy_skylakex"]  # only compute functions of arrays


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (7)")
    parser.add_argument("--threads", type=int, help="threads of each contender (all cores)")
    names = ", ".join([*LIBRARIES, *VARIANTS])
    parser.add_argument("--only", action="append", metavar="NAME", help=f"{names}; repeatable")
    parser.add_argument("--quick", action="store_true", help="one short turn; bounds not judged")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    unknown = sorted(set(options.questions) - set(QUESTIONS))
    if unknown:
        parser.error(f"no such question: {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    options.threads = cores() if options.threads is None else options.threads
    if not 1 <= options.threads <= cores():
        parser.error(f"--threads must be from 1 to {cores()}, the cores of this machine")
    if options.quick:
        options.rounds = 1
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def ask(question: str, options: argparse.Namespace, contenders: list[str]) -> list[Row]:
    """The rows that answer one question."""
    threads, rounds = options.threads, options.rounds
    few = max(1, rounds // 2)  # a sample is a whole process there
    if question in WORKLOADS:
        return steps.compare(question, threads, rounds, contenders)
    if question in FUNCTIONS:
        return calls.compare(question, threads, rounds, contenders)
    if question == "matmul":
        return calls.compare_matmuls(threads, rounds, contenders)
    if question == "imports":
        libraries = [c for c in contenders if c not in VARIANTS]
        return imports.compare(1 if options.quick else max(3, rounds), libraries)
    if question in ("replicas", "epoch"):
        own = {"replicas": replicas, "epoch": epoch}[question]
        return own.compare(threads, rounds) if "cotangent" in contenders else []
    if question in training.QUESTIONS:
        return training.compare(question, threads, rounds, contenders)
    several = {"first_call": first_call, "new_shape": new_shape, "memory": memory}[question]
    return several.compare(threads, few, contenders)


def about(options: argparse.Namespace) -> dict[str, Any]:
    """The machine and the versions."""
    versions = {}
    for name in ("numpy", "llvmlite", "torch", "jax"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "rounds": options.rounds,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "unknown",
        **versions,
    }


def main() -> int:
    """Ask, print, judge."""
    options = arguments()
    contenders = options.only or [*LIBRARIES, *VARIANTS]
    if options.quick:
        os.environ["BENCH_ROUND"] = "0.01"
    pin(options.threads)
    facts = about(options)  # now, for the load of the machine before anything runs
    rows: list[Row] = []

    for question in options.questions or QUESTIONS:
        print(f"{question} ...", file=sys.stderr)
        rows += ask(question, options, contenders)
    if options.json:
        print(as_json(rows, facts))
    else:
        print(", ".join(f"{key} {value}" for key, value in facts.items()), end="\n\n")
        print(table(rows))
    bad = ("failed",) if options.quick else ("failed", "NO")
    return int(any(row.verdict in bad for row in rows))


if __name__ == "__main__":
    sys.exit(main())
