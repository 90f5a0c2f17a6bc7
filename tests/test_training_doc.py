"""The examples of docs/training.md and of the README's section on training run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)


def test_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "guide"}
    for block in blocks("docs/training.md"):
        exec(compile(block, "training.md", "exec"), names)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("True")]
    printed = [line for line in said if "False" not in line]
    assert len(said) == len(printed) == 3


def test_the_section_of_the_readme_runs(capsys):
    section = next(b for b in blocks("README.md") if "train.fit" in b)
    exec(compile(section, "README.md", "exec"), {"__name__": "readme"})
    accuracy = float(capsys.readouterr().out.splitlines()[-1].split()[-1])
    assert accuracy > 0.95


def test_links_lead_somewhere():
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / "docs" / target).exists(), target
