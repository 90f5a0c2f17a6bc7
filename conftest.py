"""Set-up that all tests share, docstring examples included."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import pytest

# The tests compile into a folder of their own and leave the user's cache alone. Set before the
# library is imported, because it may read the variable then.
_CACHE = tempfile.TemporaryDirectory(prefix="cotangent-tests-", ignore_cleanup_errors=True)
os.environ["COTANGENT_CACHE"] = _CACHE.name

import cotangent as ct  # noqa: E402

# Files of tests that go far afield: other backends, other processes, random programs, examples.
# `make core` leaves them out.
WIDE = {
    "test_adding_a_backend", "test_backends", "test_benchmarks", "test_checkpoint",
    "test_commands", "test_determinism", "test_docs_pictures", "test_edges",
    "test_everything_compiles", "test_examples", "test_fuzz", "test_inside_pictures",
    "test_kills", "test_memory", "test_metrics", "test_narrow", "test_new_shapes",
    "test_numpy_functions", "test_package", "test_plots", "test_report", "test_resume",
    "test_runtime", "test_sklearn", "test_threads", "test_vmap", "test_wrong_arguments",
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the files in `WIDE`."""
    for item in items:
        if item.path.stem in WIDE:
            item.add_marker(pytest.mark.wide)


@pytest.fixture(autouse=True)
def _names_in_docstrings(doctest_namespace: dict[str, Any]) -> None:
    """`ct` and `np` need no import in a docstring example."""
    doctest_namespace["ct"] = ct
    doctest_namespace["np"] = np


def pytest_unconfigure() -> None:
    """Remove the cache folder before the interpreter's own clean-up would warn about it."""
    _CACHE.cleanup()
