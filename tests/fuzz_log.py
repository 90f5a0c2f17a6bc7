"""Long runs of the fuzzer: blocks of seeds, each in a process of its own, and a log of them.

A line of the log is one block that is done: JSON with the seeds, how many programs ran, how many
failed, crashed or hung, the commit, and the seconds. A run that was stopped goes on where its log
ends; a block that was not finished is run again from its beginning. What failed is printed into
a second file, beside the log.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BLOCK = 250
_SECONDS_PER_BLOCK = 3000.0
_DONE = re.compile(r"^(\d+) graphs, (\d+) with other shapes too, (\d+) failed", re.MULTILINE)


def run(path: str, seed: int, graphs: int) -> int:
    """Run the seeds from `seed` to before ``seed + graphs`` that `path` does not have yet; 1 if any
    failed."""
    log, end = Path(path), seed + graphs
    while (missing := _missing(lines(log), seed, end)) is not None:
        _append(log, _block(*missing, log.with_suffix(".failures")))
    return int(any(line["failed"] for line in lines(log)))


def _missing(done: list[dict[str, Any]], seed: int, end: int) -> tuple[int, int] | None:
    """The first seed from `seed` to before `end` that is in no block, and how many follow it, a
    block at most; None if there is none."""
    for line in sorted(done, key=lambda line: int(line["first"])):
        if line["first"] <= seed <= line["last"]:
            seed = line["last"] + 1
    if seed >= end:
        return None
    later = [line["first"] for line in done if line["first"] > seed]
    return seed, min(BLOCK, end - seed, *(first - seed for first in later))


def lines(log: Path) -> list[dict[str, Any]]:
    """The blocks of a log."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _append(log: Path, line: dict[str, Any]) -> None:
    with log.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())
    print(json.dumps(line), flush=True)


def _block(first: int, count: int, failures: Path) -> dict[str, Any]:
    """Run a block; a process that dies is a failure of the seed that it was at, and another one
    does the rest."""
    found = {"first": first, "last": first + count - 1, "graphs": 0, "shapes": 0, "failed": 0}
    start, seed = time.perf_counter(), first
    while seed < first + count:
        at, text, ran = _process(seed, first + count - seed)
        if ran is not None:
            for name, number in zip(("graphs", "shapes", "failed"), ran, strict=True):
                found[name] += number
            seed = first + count
        else:
            found["graphs"] += at - seed + 1
            found["failed"] += 1
            seed = at + 1
        if text:
            with failures.open("a") as file:
                file.write(text + "\n")
    return {**found, "commit": _commit(), "seconds": round(time.perf_counter() - start, 1)}


def _process(seed: int, count: int) -> tuple[int, str, tuple[int, ...] | None]:
    """The last seed that began, what is to be said, and the three counts if all went well."""
    script = Path(__file__).with_name("fuzz.py")
    with tempfile.TemporaryFile() as marks:
        command = [sys.executable, str(script), "--graphs", str(count), "--seed", str(seed),
                   "--marks", str(marks.fileno())]  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS_PER_BLOCK,
                pass_fds=[marks.fileno()], check=False,
            )  # fmt: skip
            out, how = done.stdout + done.stderr, f"the process ends with {done.returncode}"
        except subprocess.TimeoutExpired as late:
            out, how = str(late.stdout or b""), "the process hangs"
        marks.seek(0)
        at = int(marks.read() or seed)
    ended = _DONE.search(out)
    if ended is None:
        return at, f"seed {at}: {how}\n{out}", None
    counts = tuple(map(int, ended.groups()))
    return at, out if counts[2] else "", counts


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent,
    )  # fmt: skip
    return done.stdout.strip()
