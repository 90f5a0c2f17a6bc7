"""What takes long to import and is seldom used: loaded when it is first named."""

from __future__ import annotations

import importlib
from typing import Any

from .callers import PACKAGE


def late(module: str, name: str) -> Any:
    """`name` of a module of this package, which is imported now at the latest.

    For methods that need what stands above them, such as ``model.summary``; the module that it is
    about was imported before, so no import can run in a circle.

    >>> late("nn.summary", "summarize").__name__
    'summarize'
    """
    return getattr(importlib.import_module(f"{PACKAGE}{module}"), name)
