"""docs/tables.md: its code runs, and prints what it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

TEXT = (Path(__file__).parents[1] / "docs" / "tables.md").read_text(encoding="utf-8")


def test_the_code_runs_and_prints_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "tables"}
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for block in re.findall(r"```python\n(.*?)```", TEXT, re.S):
            exec(compile(block, "tables.md", "exec"), names)
    assert out.getvalue() == re.search(r"```text\n(.*?)```", TEXT, re.S)[1]
