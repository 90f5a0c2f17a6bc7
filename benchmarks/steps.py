"""How long does a training step take? Contenders measure in turns.

Before anything is timed, the losses of the first twelve steps must agree with the first peer's.
"""

from __future__ import annotations

from dataclasses import replace

from harness import Process, Row, environment, in_turns
from workloads import WORKLOADS

# workload -> peer -> the bound on our time over the peer's
MUST = {
    "xor_eager": {"torch": 1.0},
    "xor": {"jax": 0.2},
    "xor_loop": {"jax": 0.25},
    "small": {"jax": 0.5},
    "tabular_loop": {"jax": 0.7},
    "mlp": {"jax": 0.85},
}
TOLERANCE = 1e-3  # relative, of a loss in float32 after up to eleven updates


def compare(name: str, threads: int, rounds: int, contenders: list[str]) -> list[Row]:
    """The rows of one workload: ours to each peer, then the peers'."""
    names = [c for c in ("cotangent", *WORKLOADS[name].peers) if c in contenders]
    processes = [Process(c, environment(threads)) for c in names]
    times = in_turns(processes, name, rounds, TOLERANCE)
    for process in processes:
        process.close()
    rows = []
    for contender in names:
        value = times.medians[contender] * 1e6 if contender in times.medians else None
        row = Row(f"{name} step", contender, value, "us", note=times.note(contender))
        if contender != "cotangent" or len(names) == 1:
            rows.append(row)
            continue
        for peer in names[1:]:
            ratio, must = times.ratio(contender, peer), MUST[name].get(peer)
            rows.append(replace(row, peer=peer, ratio=ratio, must=must))
    return rows
