"""docs/adding_a_backend.md does what it says: its code is run, and its output compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_adding_an_op import _run

import cotangent as ct
from cotangent import backends
from cotangent.backends.modules import BEYOND_THE_STANDARD

PAGE = Path(__file__).parent.parent / "docs" / "adding_a_backend.md"


@pytest.fixture(scope="module")
def page():
    pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    yield _run(PAGE.read_text("utf-8"))
    backends.unregister("strict")


def test_the_output_is_what_the_page_shows(page):
    _, pairs = page
    assert len(pairs) == 3
    for expected, printed in pairs:
        assert printed == expected


def test_the_table_has_what_goes_beyond_the_standard():
    rows = re.findall(r"^\| `(\w+)\(x, index, values\)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert rows == list(BEYOND_THE_STANDARD)


def test_the_entry_point_group_is_the_one_that_is_looked_up():
    assert f'[project.entry-points."{backends.base.ENTRY_POINTS}"]' in PAGE.read_text("utf-8")


def test_the_new_backend_is_known_by_name(page):
    assert ct.tensor([1.0]).to("strict").backend == "strict"
