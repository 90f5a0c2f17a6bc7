"""docs/adding_an_op.md does what it says: its code is run, and its output compared."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

import cotangent as ct
from cotangent import ops, testing
from cotangent.errors import DTypeError

PAGE = Path(__file__).parent.parent / "docs" / "adding_an_op.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _run(page: str) -> tuple[dict, list[tuple[str, str]]]:
    """The names that the code blocks define, and pairs of output expected and printed."""
    names: dict = {}
    printed, pairs = "", []
    for kind, text in BLOCK.findall(page):
        if kind == "text":
            pairs.append((text, printed))
            continue
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(text, str(PAGE), "exec"), names)
        printed = out.getvalue()
    return names, pairs


@pytest.fixture(scope="module")
def page():
    before = set(ops.REGISTRY)
    yield _run(PAGE.read_text("utf-8"))
    for name in set(ops.REGISTRY) - before:
        ops.unregister(name)


def test_the_output_is_what_the_page_shows(page):
    _, pairs = page
    assert len(pairs) == 2
    for expected, printed in pairs:
        assert printed == expected


def test_the_new_op_passes_every_check(page):
    record = page[0]["softplus"]
    assert ops.find("softplus") is record
    testing.check_record(record)
    for seed in range(5):
        testing.check_record(record, seed)


def test_the_new_op_agrees_with_the_composition(page):
    x = np.linspace(-40, 40, 81)
    f, g = page[0]["softplus"], ct.softplus
    for _ in range(4):
        got, expected = f(ct.asarray(x)).numpy(), g(ct.asarray(x)).numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)
        f, g = (lambda x, h=h: ct.grad(lambda x: h(x).sum())(x) for h in (f, g))


def test_the_new_op_refuses_integers(page):
    with pytest.raises(DTypeError, match="softplus needs a floating-point tensor, not int64"):
        page[0]["softplus"](ct.tensor([1]))


def test_the_planted_error_was_taken_out(page):
    assert "softplus_planted" not in ops.REGISTRY
