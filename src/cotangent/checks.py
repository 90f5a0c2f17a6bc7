"""Checks of arguments that are plain numbers, with errors in the user's words."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .dtypes import is_unknown
from .errors import ArgumentError, ArgumentTypeError, Error, TraceError

# More elements than this no array has.
_MOST = 2**62


def whole(what: str, name: str, value: Any, least: int = -_MOST) -> int:
    """`value` as an integer, which it must be, and not below `least`.

    >>> whole("topk", "k", 3, least=0)
    3
    """
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except Error:
        raise
    except TypeError:
        raise ArgumentTypeError(f"{what}: {name} must be an integer, not {value!r}") from None
    if number < least or number > _MOST:
        rule = {0: "not be negative", 1: "be positive"}.get(least, f"be {least} or more")
        rule = "be less than 2**62" if number > _MOST else rule
        raise ArgumentError(f"{what}: {name} must {rule}, got {number}")
    return number


def refuse_unknown(what: str, name: str, value: Any) -> None:
    """Raise for a number that is an argument of a compiled function, where it decides what is
    computed."""
    if is_unknown(value):
        raise TraceError(
            f"{what}: {name} must be known when the function is traced, and a Python float among "
            "the arguments of a compiled function is not; let the function close over it, or pass "
            "an object that holds it"
        )


def real(what: str, name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """`value` itself, which must be a number in [low, high], not NaN.

    >>> real("dropout", "p", 0.5, 0.0, 1.0)
    0.5
    """
    bad = isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating))
    refuse_unknown(what, name, value)
    if bad:
        raise ArgumentTypeError(f"{what}: {name} must be a number, not {value!r}")
    if not low <= value <= high:
        raise ArgumentError(f"{what}: {name} must lie in [{low:g}, {high:g}], not {value}")
    return value
