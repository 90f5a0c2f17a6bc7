"""How long does a training step take, and the first one? Contenders measure in turns.

Before anything is timed, the losses of the first twelve steps must agree with the first peer's.
"""

from __future__ import annotations

from statistics import median

import numpy as np
from harness import Process, Row, environment
from workloads import WORKLOADS

# workload -> peer -> the bound on our time over the peer's
MUST = {
    "xor_eager": {"torch": 1.0},
    "xor": {"jax": 0.3},
    "xor_loop": {"jax": 0.4},
    "small": {"jax": 0.6},
    "mlp": {},
}
TOLERANCE = 1e-3  # relative, of a loss in float32 after up to eleven updates


def disagreement(ours: Process, others: list[Process]) -> str:
    """Why the losses of `ours` are not to be trusted, or ""."""
    for other in others:
        mine, theirs = ours.start.get("losses"), other.start.get("losses")
        if other is ours or mine is None or theirs is None:
            continue
        if not np.allclose(mine, theirs, rtol=TOLERANCE, atol=1e-4):
            return f"losses differ from {other.contender}'s: {mine[:4]} against {theirs[:4]}"
    return ""


def compare(name: str, threads: int, rounds: int, contenders: list[str]) -> list[Row]:
    """The rows of one workload."""
    peers = WORKLOADS[name].peers
    names = [c for c in ("cotangent", *peers) if c in contenders]
    processes = [Process(c, name, environment(threads)) for c in names]
    judge = processes[1:2]
    for process in processes:
        wrong = disagreement(process, judge)
        if wrong:
            process.start = {"error": wrong}
    times: dict[str, list[float]] = {c: [] for c in names}
    for process in processes:
        process.measure()  # warm-up, and finding the number of steps in a round
    for _ in range(rounds):
        for process in processes:
            seconds = process.measure()
            if seconds is not None:
                times[process.contender].append(seconds)
    for process in processes:
        process.close()
    errors = {p.contender: p.start["error"] for p in processes if "error" in p.start}
    medians = {c: median(t) * 1e6 for c, t in times.items() if t and c not in errors}
    return _rows(name, names, medians, errors)


def _rows(
    name: str, names: list[str], medians: dict[str, float], errors: dict[str, str]
) -> list[Row]:
    rows = []
    question = f"{name} step"
    for contender in names:
        note = f"FAILED: {errors[contender]}" if contender in errors else ""
        if contender != "cotangent" or len(names) == 1:
            rows.append(Row(question, contender, medians.get(contender), "us", note=note))
            continue
        for peer in names[1:]:
            ours, theirs = medians.get(contender), medians.get(peer)
            ratio = ours / theirs if ours and theirs else None
            must = MUST[name].get(peer)
            rows.append(Row(question, contender, ours, "us", peer, ratio, must, note))
    return rows
