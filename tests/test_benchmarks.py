"""The benchmarks: what they list, that they notice wrong results, and how they judge."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
RUNNER = BENCHMARKS / "run.py"
QUESTIONS = [
    "xor_eager", "xor", "xor_loop", "small", "tabular_loop", "mlp",
    "chain", "softmax", "layer_norm", "infer", "matmul",
    "replicas", "first_call", "new_shape", "epoch", "memory", "imports",
]  # fmt: skip


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def run(*words):
    return subprocess.run([sys.executable, str(RUNNER), *words], capture_output=True, text=True)


def test_help_lists_every_question():
    done = run("--help")
    assert done.returncode == 0
    listed = re.findall(r"[a-z_]+", done.stdout)
    assert [name for name in QUESTIONS if name not in listed] == []
    for option in ("--rounds", "--threads", "--only", "--quick", "--json"):
        assert option in done.stdout


@pytest.mark.parametrize("words", [["--threads", "0"], ["--rounds", "0"], ["--threads", "9999"]])
def test_options_out_of_range_are_refused(words):
    done = run("imports", *words)
    assert done.returncode == 2
    assert words[0] in done.stderr


def test_a_quick_run_of_a_function_gives_a_row():
    pytest.importorskip("llvmlite")
    done = run("infer", "--quick", "--threads", "1", "--json", "--only", "cotangent")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["about"]["threads"] == 1
    [row] = answer["rows"]
    assert (row["question"], row["contender"], row["note"]) == ("infer", "cotangent", "")
    assert row["value"] > 0


def test_a_quick_run_of_fit_gives_rows():
    pytest.importorskip("llvmlite")
    done = run("fit_mlp", "--quick", "--threads", "1", "--json", "--only", "cotangent")
    assert done.returncode == 0, done.stderr
    ours, other = json.loads(done.stdout)["rows"]
    assert (ours["contender"], ours["peer"], other["contender"]) == ("fit", "by hand", "by hand")
    assert ours["value"] > 0 and other["value"] > 0 and not ours["note"]


def test_a_missing_library_is_an_error_that_names_it():
    from harness import Process, environment

    process = Process("no_such_library", environment(1))
    process.prepare("infer")
    process.close()
    assert "ModuleNotFoundError" in process.start["error"]
    assert "no_such_library" in process.start["error"]


def worker(values):
    from harness import Process

    process = Process.__new__(Process)
    process.contender, process.start = "torch", {"values": values}
    return process


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"),
    [
        ([[1.0, 2.0], [3.0]], [[1.0, 2.0], [3.0]], True),
        ([[1.0, 2.00001], [3.0]], [[1.0, 2.0], [3.0]], True),
        ([[1.0, 2.01], [3.0]], [[1.0, 2.0], [3.0]], False),
        ([[1.0, 2.0], [3.01]], [[1.0, 2.0], [3.0]], False),
        ([[1.0, 2.0]], [[1.0, 2.0], [3.0]], False),
        ([[1.0]], [[1.0, 1.0]], False),
        ([[float("nan")]], [[1.0]], False),
        ([[1.0, 0.002]], [[1.0, 0.001]], False),
    ],
)
def test_different_results_are_noticed(ours, theirs, agree):
    from harness import disagreement

    message = disagreement(worker(ours), [worker(theirs)], 1e-4)
    assert (message == "") is agree


def test_a_peer_that_failed_does_not_judge():
    from harness import disagreement

    failed, good = worker([[5.0]]), worker([[1.0]])
    failed.start = {"error": "no compiler"}
    assert disagreement(worker([[1.0]]), [failed, good], 1e-4) == ""
    assert "torch" in disagreement(worker([[2.0]]), [failed, good], 1e-4)


def test_a_process_that_dies_is_an_error_and_not_a_crash():
    from harness import Process, environment

    process = Process("numpy", environment(1))
    process.child.kill()
    process.child.wait()
    process.prepare("matmul 128 float32")
    assert "the process ended with code" in process.start["error"]
    process.prepare("matmul 192 float32")
    assert process.measure() is None
    process.close()


def test_the_best_peer_counts_and_failures_do_not():
    from calls import _rows
    from functions import FUNCTIONS
    from harness import Times

    names = ["cotangent", "torch", "torch_compile", "jax"]
    times = Times({"cotangent": 2.0, "torch": 4.0, "jax": 3.0}, {"torch_compile": "no compiler"})
    rows = _rows(FUNCTIONS["chain"], names, times)
    assert (rows[0].peer, rows[0].ratio, rows[0].verdict) == ("jax", 2 / 3, "NO")
    assert rows[2].note == "FAILED: no compiler"
    assert rows[2].verdict == ""

    ours = Times({"torch": 4.0}, {"cotangent": "wrong"})
    assert _rows(FUNCTIONS["chain"], names, ours)[0].verdict == "failed"


def test_products_have_the_values_of_numpy():
    from functions import MATMULS, inputs

    import cotangent as ct

    function = MATMULS["matmul 256 float64"]
    a, b = inputs(function)
    assert a.dtype == np.float64
    product = ct.asarray(b)
    for _ in range(function.repeats):
        product = ct.asarray(a) @ product
    assert np.allclose(product.numpy(), np.linalg.matrix_power(a, function.repeats) @ b)
    assert np.abs(product.numpy()).max() < 100  # scaled, so that no power overflows
