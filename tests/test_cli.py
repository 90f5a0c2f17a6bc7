"""The command: what it prints, writes and returns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import cotangent as ct
from cotangent import nn
from cotangent._version import __version__
from cotangent.cli import main
from cotangent.console import Console
from cotangent.errors import ArgumentError
from cotangent.nn.summary import summarize
from cotangent.viz import Panel, Series, curves_svg


def demo(out: Path, *more: str) -> int:
    return main(["demo", "--out", str(out), *more])


@pytest.mark.parametrize("mode", ["compiled", "eager"])
def test_demo_reaches_97_percent_and_writes_its_files(tmp_path, capsys, mode):
    flags = ["--epochs", "15", *(["--eager"] if mode == "eager" else [])]
    assert demo(tmp_path, *flags) == 0
    text = capsys.readouterr().out
    assert float(re.search(r"held-out accuracy: ([\d.]+)%", text)[1]) >= 97
    assert re.search(r"Linear\(64 -> 32\) +\(32, 32\) +2,080", text)
    assert re.search(r"^total +6,570$", text, re.M)
    assert re.search(rf"time per step: {mode} [\d.]+ µs", text)
    assert "\x1b" not in text  # no terminal, no escape codes
    weights = ct.load(tmp_path / "weights.safetensors")
    assert sum(np.asarray(w).size for w in weights.values()) == 6570
    ElementTree.parse(tmp_path / "curve.svg")


def test_demo_is_reproducible_and_the_seed_matters(tmp_path, capsys):
    written = []
    for seed in ("3", "3", "4"):
        assert demo(tmp_path, "--epochs", "1", "--seed", seed) == 0
        written.append((tmp_path / "weights.safetensors").read_bytes())
    assert written[0] == written[1] != written[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "0"], "argument --epochs: must be 1 or more, got 0"),
        (["--epochs", "many"], "argument --epochs: 'many' is not an integer"),
        (["--seed", "-1"], "argument --seed: must be 0 or more, got -1"),
        (["--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_wrong_arguments_are_named_and_exit_with_2(capsys, words, message):
    with pytest.raises(SystemExit) as exit_:
        main(["demo", *words])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_exits_with_2_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert demo(tmp_path / "file" / "below") == 2
    captured = capsys.readouterr()
    assert f"cannot write to the folder {tmp_path / 'file' / 'below'}: Not a dir" in captured.err
    assert captured.out == ""


def test_help_and_version(capsys):
    for words in (["--help"], ["demo", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as exit_:
            main(words)
        assert exit_.value.code == 0
        text = capsys.readouterr().out
        if words == ["--version"]:
            assert text == f"cotangent {__version__}\n"
        else:
            assert "cotangent demo" in text
            assert "exit codes: 0 done" in text
    assert main([]) == 0
    assert "usage: cotangent" in capsys.readouterr().out


def test_the_module_runs_and_errors_end_with_1(tmp_path, monkeypatch, capsys):
    done = subprocess.run(
        [sys.executable, "-m", "cotangent", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"cotangent {__version__}\n")

    def fail(*_):
        raise ArgumentError("sum: no such axis")

    monkeypatch.setattr("cotangent.cli.demo.run", fail)
    assert demo(tmp_path) == 1
    assert capsys.readouterr().err == "cotangent: sum: no such axis\n"

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cotangent.cli.demo.run", interrupt)
    assert demo(tmp_path) == 130


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_gets_rich_output_and_no_color_drops_the_colours(monkeypatch, capsys, no_color):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes the captured output for a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    console = Console(plain=False)
    console.line("[not markup] 98.9%", style="bold green")
    console.table(("layer", "parameters"), [("Linear(2 -> 8)", "24")])
    with console.progress("training", 2) as tell:
        tell(2, "loss 0.5")
    text = capsys.readouterr().out
    assert "[not markup] 98.9%" in text
    assert "Linear(2 -> 8)" in text
    assert "loss 0.5" in text
    assert ("\x1b[1;32m" in text) is not no_color


def test_plain_progress_prints_about_ten_lines(capsys):
    with Console(plain=True).progress("training", 200) as tell:
        for epoch in range(1, 201):
            tell(epoch, "loss 0.5")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "epoch 200 of 200  loss 0.5"


# -- the curve --------------------------------------------------------------------------------


def texts(svg: str) -> list[str]:
    return [e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text")]


def test_a_curve_has_title_labels_ticks_and_legend():
    series = [Series("training", [2.0, 0.5, 0.1]), Series("held out", [2.1, 0.7, 0.3])]
    svg = curves_svg("A & <B>", [Panel("loss", series, log=True)])
    found = texts(svg)
    for text in ("A & <B>", "loss", "training", "held out", "epoch", "0.1", "1", "2", "3"):
        assert text in found
    assert "prefers-color-scheme: dark" in svg


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [0.0, 0.0], [0.1, float("nan"), 0.3]])
@pytest.mark.parametrize("log", [False, True])
def test_short_constant_and_broken_curves_can_be_drawn(values, log):
    if log and 0.0 in values:
        pytest.skip("a logarithm of zero is an error, tested below")
    svg = curves_svg("t", [Panel("v", [Series("s", values)], log=log)])
    numbers = [float(n) for d in re.findall(r'd="M([^"]*)"', svg) for n in re.findall(r"[\d.]+", d)]
    assert all(0 <= n <= 400 for n in numbers)
    assert "nan" not in svg


def test_percent_ticks_stay_within_0_and_100():
    found = texts(curves_svg("t", [Panel("a", [Series("s", [0.2, 0.999])], percent=True)]))
    assert "100 %" in found
    assert "120 %" not in found


def test_nothing_to_draw_is_an_error():
    with pytest.raises(ArgumentError, match="'loss' has no finite value"):
        curves_svg("t", [Panel("loss", [Series("s", [float("nan")])])])
    with pytest.raises(ArgumentError, match=r"logarithmic; 0\.0 is not positive"):
        curves_svg("t", [Panel("loss", [Series("s", [0.0, 1.0])], log=True)])


# -- the summary ------------------------------------------------------------------------------


class Twice(nn.Module):
    def __init__(self):
        self.layers = {"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}
        self.layers["b"].weight = self.layers["a"].weight
        self.layers["a"].freeze()
        self.unused = nn.ReLU()

    def forward(self, x):
        return self.layers["b"](self.layers["a"](x))


def test_summary_of_shared_frozen_and_unused_layers():
    model = Twice()
    found = summarize(model, np.zeros((3, 4)))
    assert [(line.path, line.shape) for line in found.layers] == [
        ("layers.a", (3, 4)), ("layers.b", (3, 4)), ("unused", None),
    ]  # fmt: skip
    assert (found.total, found.trainable) == (24, 4)  # the weight is shared, and frozen with a
    assert "forward" not in vars(model.layers["a"])


def test_summary_leaves_the_model_as_it_was_after_an_error():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with pytest.raises(ct.ShapeError):
        summarize(model, np.zeros((3, 5)))
    assert "forward" not in vars(model[0])
    assert model(np.zeros((3, 4))).shape == (3, 4)


def test_rich_is_not_imported_without_a_terminal():
    script = "import sys, cotangent.cli, cotangent.demo; sys.exit('rich' in sys.modules)"
    env = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"}
    assert subprocess.run([sys.executable, "-c", script], env=env).returncode == 0
