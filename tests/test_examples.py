"""The examples run as a user runs them, both ways, and learn what they should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_every_example_is_tested_here():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {"xor", "regression", "binary_classification"}
