"""The examples run as a user runs them, both ways, and learn what they should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cotangent.data.images import data_folder

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *flags: str) -> str:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *flags]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def last_number(text: str, pattern: str) -> float:
    return float(re.findall(pattern, text)[-1])


@pytest.mark.parametrize("flags", [(), ("--eager",)], ids=["compiled", "eager"])
class TestExamples:
    def test_xor(self, flags):
        text = run("xor", *flags)
        for line in ("0 xor 0 = 0.00", "0 xor 1 = 1.00", "1 xor 0 = 1.00", "1 xor 1 = 0.00"):
            assert line in text.replace("-0.00", "0.00")

    def test_regression(self, flags):
        error = last_number(run("regression", *flags), r"without noise: ([\d.]+)")
        assert error < 0.1  # the noise; a straight line has 0.7

    def test_binary_classification(self, flags):
        accuracy = last_number(run("binary_classification", *flags), r"points: ([\d.]+)%")
        assert accuracy > 98

    def test_multiclass(self, flags):
        text = run("multiclass", *flags)
        assert "nn.cross_entropy_loss" in text
        assert last_number(text, r"points: ([\d.]+)%") > 98

    def test_gradient_check(self, flags):
        assert last_number(run("gradient_check", *flags), r"largest relative error: (\S+)") < 1e-8

    def test_replicas(self, flags):
        assert last_number(run("replicas", *flags), r"largest error ([\d.]+)") < 0.2


def test_heat_equation():  # op by op it takes ten times as long
    assert last_number(run("heat_equation"), r"exact solution: ([\d.]+)") < 0.01


def test_mnist():
    folder = Path(data_folder()) / "mnist"
    if not (folder / "train-images-idx3-ubyte.gz").exists():
        pytest.skip(f"{folder} has no images; name the folder of the data by COTANGENT_DATA")
    text = run("mnist")
    assert text.count("epoch") == 5
    assert last_number(text, r"test ([\d.]+)%") >= 97.5


def test_every_example_is_tested_here():
    source = Path(__file__).read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f'run("{path.stem}"' in source
