"""The package as installed: what comes with it, and what the bare import leaves alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path

import pytest

import cotangent as ct

ROOT = Path(__file__).parents[1]
RUNNER = ROOT / "benchmarks" / "run.py"


def test_the_bare_import_brings_no_heavy_package():
    script = "import sys, cotangent; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & {"llvmlite", "rich", "safetensors", "torch", "jax", "matplotlib"}


def test_the_package_is_typed_and_brings_its_data():
    files = resources.files(ct)
    assert (files / "py.typed").is_file()
    assert (files / "data" / "digits.csv.gz").is_file()
    assert (files / "data" / "README.md").is_file()


def test_the_version_is_the_installed_one():
    try:
        installed = metadata.version("cotangent")
    except metadata.PackageNotFoundError:
        pytest.skip("cotangent is on the path, but not installed")
    assert ct.__version__ == installed


def test_the_benchmark_runner_answers_with_json_and_reports_failures():
    command = [sys.executable, str(RUNNER), "imports", "--json", "--rounds", "1"]
    command += ["--only", "cotangent", "--only", "no_such_library"]
    done = subprocess.run(command, capture_output=True, text=True)
    rows = json.loads(done.stdout)["rows"]
    ours = [row for row in rows if row["contender"] == "cotangent"]
    assert [row["unit"] for row in ours] == ["ms", "MB"]
    assert all(row["value"] > 0 for row in ours)
    other = [row for row in rows if row["contender"] == "no_such_library"]
    assert all("FAILED: ModuleNotFoundError" in row["note"] for row in other)


def test_the_benchmark_runner_refuses_unknown_questions():
    done = subprocess.run([sys.executable, str(RUNNER), "xord"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such question: xord" in done.stderr
