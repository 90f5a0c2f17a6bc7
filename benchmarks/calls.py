"""How long does a call of a compiled function of arrays take, beside the best peer's?

Before anything is timed, a thousand elements and the norm of every result must agree with the
first peer's. A peer that fails, such as torch.compile without a C++ compiler, says why, and the
best of the others counts.
"""

from __future__ import annotations

from math import exp, log

from functions import FUNCTIONS, MATMULS, Function
from harness import Process, Row, Times, environment, in_turns

MUST_MEAN = 1.0  # geometric mean over all products


def compare(name: str, threads: int, rounds: int, contenders: list[str]) -> list[Row]:
    """The rows of one function."""
    return _compare([FUNCTIONS[name]], threads, rounds, contenders)


def compare_matmuls(threads: int, rounds: int, contenders: list[str]) -> list[Row]:
    """The rows of all square products, and of the geometric mean of the ratios."""
    rows = _compare(list(MATMULS.values()), threads, rounds, contenders)
    judged = [row.ratio for row in rows if row.peer]
    if not judged:
        return rows
    known = [ratio for ratio in judged if ratio is not None]
    mean = exp(sum(map(log, known)) / len(known)) if len(known) == len(judged) else None
    note = "" if mean else "FAILED: some products have no ratio"
    question = f"matmul, geometric mean of {len(judged)}"
    return [*rows, Row(question, "cotangent", None, "", "best", mean, MUST_MEAN, note)]


def _compare(
    functions: list[Function], threads: int, rounds: int, contenders: list[str]
) -> list[Row]:
    """One process a contender, which goes through functions of the same peers."""
    names = [c for c in ("cotangent", *functions[0].peers) if c in contenders]
    processes = [Process(c, environment(threads)) for c in names]
    rows = []
    for function in functions:
        times = in_turns(processes, function.name, rounds, function.tolerance)
        rows += _rows(function, names, times)
    for process in processes:
        process.close()
    return rows


def _rows(function: Function, names: list[str], times: Times) -> list[Row]:
    rows = []
    for contender in names:
        seconds = times.medians.get(contender)
        value = None if seconds is None else seconds * 1e6 / function.repeats
        rows.append(Row(function.name, contender, value, "us", note=times.note(contender)))
    if names[0] == "cotangent" and names[1:]:
        best = times.best(names[1:])
        rows[0].peer = best or "best"
        rows[0].ratio = times.ratio("cotangent", best)
        rows[0].must = function.must
    return rows
