"""What the fields of a column say: numbers, times, texts, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# What stands for "nothing here", in lower case.
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "nat", "#n/a", "<na>"})

ISO = "ISO 8601"
_DAYS = (
    "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y",
    "%d %B %Y", "%B %d, %Y",
)  # fmt: skip
_CLOCKS = ("", " %H:%M", " %H:%M:%S")
FORMATS = (ISO, *(day + clock for day in _DAYS for clock in _CLOCKS), "%H:%M", "%H:%M:%S")


def missing(column: Array) -> Array:
    """Where nothing stands, as a mask; infinities are nothing too.

    >>> missing(np.array(["3", "NA", ""], object)).tolist()
    [False, True, True]
    """
    if column.dtype.kind == "f":
        return ~np.isfinite(column)
    if column.dtype.kind == "M":
        return np.isnat(column)
    return np.array([text.lower() in MISSING for text in column], bool)


def texts(column: Array) -> list[str]:
    """The fields as text; whole numbers without a fraction, and ``""`` where nothing stands.

    >>> texts(np.array([3.0, 2.5, np.nan]))
    ['3', '2.5', '']
    """
    if column.dtype.kind == "f":
        return [_number_text(value) for value in column.tolist()]
    if column.dtype.kind == "M":
        return ["" if np.isnat(value) else str(value) for value in column]
    return ["" if text.lower() in MISSING else text for text in column]


def _number_text(value: float) -> str:
    if not isfinite(value):
        return ""
    return str(int(value)) if value.is_integer() else repr(value)


def numbers(column: Array) -> Array:
    """The fields as float64; NaN where there is no finite number.

    >>> numbers(np.array(["1e3", "NA", "many", "inf"], object)).tolist()
    [1000.0, nan, nan, nan]
    """
    if column.dtype.kind == "M":
        return np.full(len(column), np.nan)
    try:
        values = np.array(column, np.float64)
    except ValueError:
        values = np.array([_number(text) for text in column], np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def times(column: Array, form: str) -> Array:
    """The fields as datetime64[us]; NaT where there is no time of this form.

    Args:
        form: `ISO`, or what ``datetime.strptime`` takes. Times with a zone become UTC.

    >>> times(np.array(["31.12.1999", "soon"], object), "%d.%m.%Y").tolist()
    [datetime.datetime(1999, 12, 31, 0, 0), None]
    """
    if column.dtype.kind == "M":
        return column
    if column.dtype.kind == "f":
        return np.full(len(column), "NaT", "datetime64[us]")
    parse = _parser(form)
    known = {text: parse(text) for text in set(column)}
    return np.array([known[text] for text in column], "datetime64[us]")


def _parser(form: str) -> Callable[[str], datetime | None]:
    read: Callable[[str], datetime] = (
        datetime.fromisoformat if form == ISO else lambda text: datetime.strptime(text, form)
    )

    def parse(text: str) -> datetime | None:
        try:
            found = read(text)
            return found if found.tzinfo is None else found.astimezone(UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            return None

    return parse


def form_of_times(fields: Iterable[str], least: float) -> tuple[str, bool] | None:
    """The form in which at least this share of the fields are times; None if there is none.

    Returns:
        the form, and whether the day might as well stand before the month.
    """
    fields = list(fields)
    if not any(any(mark in text for mark in "-/.: ") for text in fields):
        return None  # digits alone are numbers, and words no times

    def share(form: str) -> float:
        parse = _parser(form)
        return sum(parse(text) is not None for text in fields) / max(len(fields), 1)

    found = next((form for form in FORMATS if share(form) >= least), None)
    if found is None:
        return None
    swapped = found.replace("%m/%d", "%d/%m")
    return found, swapped != found and share(swapped) >= least
