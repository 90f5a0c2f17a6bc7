"""Where in the user's own code a call came from."""

from __future__ import annotations

import sys

PACKAGE = __name__.partition(".")[0] + "."


def user_line() -> str:
    """The innermost line of the caller's own code, as ``file.py:12``."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def levels() -> int:
    """The ``stacklevel`` by which `warnings.warn`, called beside this, names the caller's own
    code."""
    frame, count = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(PACKAGE):
        frame, count = frame.f_back, count + 1
    return count
