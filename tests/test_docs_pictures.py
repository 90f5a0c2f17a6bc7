"""docs/pictures.md: its code runs, and makes the pictures that it shows."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from drawn import parsed

DOCS = Path(__file__).parent.parent / "docs"


def test_the_code_of_the_page_makes_its_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("make_pictures", DOCS / "make_pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = {path.name for path in module.make(tmp_path)}
    shown = set(re.findall(r"\]\(pictures/([\w.]+)\)", (DOCS / "pictures.md").read_text("utf-8")))
    kept = {path.name for path in (DOCS / "pictures").iterdir()}
    assert made == shown == kept
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("path", sorted((DOCS / "pictures").glob("*.svg")), ids=lambda p: p.stem)
def test_the_pictures_of_the_page_are_whole_and_small(path):
    assert parsed(path.read_text("utf-8")).tag.endswith("svg")
    assert path.stat().st_size < 200_000
