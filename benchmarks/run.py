"""Compare Cotangent with PyTorch and JAX on this machine, now, in turns.

    python benchmarks/run.py                     everything, on one thread
    python benchmarks/run.py xor small --rounds 15
    python benchmarks/run.py --json              for a program to read

Absolute times mean little on a shared machine; the ratios are what counts. The exit code is 0 if
every bound is met, 1 otherwise.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from typing import Any

import first_call
import imports
import steps
from harness import Row, as_json, table
from workloads import WORKLOADS

QUESTIONS = [*WORKLOADS, "first_call", "imports"]


def arguments() -> argparse.Namespace:
    """What was asked on the command line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (7)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each contender (1)")
    parser.add_argument("--only", action="append", help="cotangent, torch or jax; repeatable")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    unknown = sorted(set(options.questions) - set(QUESTIONS))
    if unknown:
        parser.error(f"no such question: {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    return options


def ask(question: str, options: argparse.Namespace, contenders: list[str]) -> list[Row]:
    """The rows that answer one question."""
    few = max(1, options.rounds // 2)  # a sample is a whole process there
    if question == "first_call":
        return first_call.compare(options.threads, few, contenders)
    if question == "imports":
        return imports.compare(max(3, options.rounds), contenders)
    return steps.compare(question, options.threads, options.rounds, contenders)


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
        **versions,
    }


def main() -> int:
    """Ask, print, judge."""
    options = arguments()
    contenders = options.only or ["cotangent", "torch", "jax"]
    rows: list[Row] = []

    for question in options.questions or QUESTIONS:
        print(f"{question} ...", file=sys.stderr)
        rows += ask(question, options, contenders)
    facts = about(options)
    if options.json:
        print(as_json(rows, facts))
    else:
        print(", ".join(f"{key} {value}" for key, value in facts.items()), end="\n\n")
        print(table(rows))
    return int(any(row.verdict in ("NO", "failed") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
