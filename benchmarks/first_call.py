"""How long does the first call of a compiled step take, with a cold cache and with a warm one?

Every sample is a new process. Imports and the making of data and weights are excluded, but the
first call of Cotangent includes the import of llvmlite, which it does only then. A cold sample has
an empty cache folder; the warm one that follows has the folder that the cold one left.
"""

from __future__ import annotations

import tempfile
from statistics import median

from harness import Process, Row, environment

WORKLOAD = "mlp"
MUST_COLD = 0.6  # of JAX's
MUST_WARM = 30.0  # ms


def sample(contender: str, threads: int, cache: str) -> float | str:
    """Milliseconds of the first call in a new process, or what went wrong."""
    process = Process(contender, environment(threads, COTANGENT_CACHE=cache))
    process.prepare(WORKLOAD)
    process.close()
    if "error" in process.start:
        return str(process.start["error"])
    return float(process.start["first_call"]) * 1e3


def compare(threads: int, rounds: int, contenders: list[str]) -> list[Row]:
    """Three rows: ours cold against JAX's, JAX's, and ours warm."""
    samples: dict[str, list[float | str]] = {"cold": [], "warm": [], "jax": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="cotangent-bench-") as cache:
            samples["cold"].append(sample("cotangent", threads, cache))
            samples["warm"].append(sample("cotangent", threads, cache))
        if "jax" in contenders:
            samples["jax"].append(sample("jax", threads, ""))
    values = {key: _median(found) for key, found in samples.items()}
    notes = {key: _failure(found) for key, found in samples.items()}
    cold, jax = values["cold"], values["jax"]
    ratio = cold / jax if cold and jax else None
    question = f"{WORKLOAD} first call"
    rows = [Row(question, "cotangent", cold, "ms", "jax", ratio, MUST_COLD, notes["cold"])]
    if "jax" in contenders:
        rows.append(Row(question, "jax", jax, "ms", note=notes["jax"]))
    warm = Row(f"{question}, warm cache", "cotangent", values["warm"], "ms", must=MUST_WARM)
    warm.note = notes["warm"]
    return [*rows, warm]


def _median(found: list[float | str]) -> float | None:
    numbers = [value for value in found if isinstance(value, float)]
    return median(numbers) if numbers and len(numbers) == len(found) else None


def _failure(found: list[float | str]) -> str:
    return next((f"FAILED: {value}" for value in found if isinstance(value, str)), "")
