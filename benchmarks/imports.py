"""What does `import cotangent` cost beyond `import numpy`: time, memory, other packages?"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import Any

from harness import Row, environment

MUST_MS, MUST_MB = 60.0, 30.0
LAZY = ("llvmlite", "rich", "safetensors", "ml_dtypes")  # must not come with the bare import

SCRIPT = """
import json, os, sys, time
import numpy
def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
before, begin = memory(), time.perf_counter()
import {module}
seconds = time.perf_counter() - begin
heavy = [name for name in {lazy} if name in sys.modules]
print(json.dumps(dict(ms=seconds * 1e3, mb=memory() - before, heavy=heavy)))
"""


def sample(module: str) -> dict[str, Any]:
    """One import in a new process."""
    script = SCRIPT.format(module=module, lazy=LAZY)
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, env=environment(1)
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return dict(json.loads(done.stdout))


def compare(rounds: int, contenders: list[str]) -> list[Row]:
    """Two rows for each contender: milliseconds and megabytes."""
    found: dict[str, list[dict[str, Any]]] = {c: [] for c in contenders}
    for c in contenders:
        sample(c)  # so that compiled Python files exist
    for _ in range(rounds):
        for c in contenders:
            found[c].append(sample(c))
    rows = []
    for c, samples in found.items():
        ours = c == "cotangent"
        note = next((f"FAILED: {s['error']}" for s in samples if "error" in s), "")
        good = [] if note else samples
        if ours and any(s["heavy"] for s in good):
            note = f"FAILED: also imports {', '.join(good[0]['heavy'])}"
        for key, must in (("ms", MUST_MS), ("mb", MUST_MB)):
            value = median(s[key] for s in good) if good else None
            row = Row("import beyond numpy", c, value, key.replace("mb", "MB"), note=note)
            row.must = must if ours else None
            rows.append(row)
    return rows
