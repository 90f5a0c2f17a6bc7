"""Which kind of column this is, found from its values in the training rows."""

from __future__ import annotations

from collections import Counter

import numpy as np

from .columns import (
    Array,
    Category,
    Column,
    Flag,
    Moment,
    Number,
    mean_and_deviation,
    parts_of,
)
from .values import ISO, form_of_times, missing, numbers, texts, times

ENOUGH = 0.95  # of the values that are there make the kind of the column; the rest is missing
FEW = 16  # categories that get a column each; more are embedded
MANY_ROWS = 20  # from which on values that are nearly all different say nothing
_FLAGS = (("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n"), ("on", "off"))
_IDENTIFIERS = frozenset({"id", "index", "row", "row number", "unnamed: 0", "uuid", "guid", "key"})
_SAMPLE = 1000


def learn_column(name: str, column: Array, notes: list[str]) -> Column | str:
    """What becomes of an input column.

    Args:
        name: its name.
        column: the training rows.
        notes: gets sentences about what was decided, where it is not plain.

    Returns:
        the column as learnt; or why it is left out.
    """
    gone = missing(column)
    there = column[~gone]
    if not len(there):
        return "it is empty"
    values = numbers(column)
    if (~np.isnan(values)).sum() >= ENOUGH * len(there):
        return _number(name, values)
    words = [text.lower() for text in texts(there)]
    pair = next((p for p in _FLAGS if set(words) == set(p)), None)
    if pair is not None:
        return Flag(name, *pair, bool(gone.any()))
    step = max(1, len(there) // _SAMPLE)
    if there.dtype.kind == "M":
        form: tuple[str, bool] | None = (ISO, False)
    else:
        form = form_of_times(there[::step], ENOUGH)
    if form is not None:
        if form[1]:
            notes.append(f"column {name!r}: dates such as {there[0]!r} are read month first")
        return _moment(name, times(column, form[0]), form[0])
    return _category(name, column, notes)


def _number(name: str, values: Array) -> Column | str:
    there = values[~np.isnan(values)]
    if _is_identifier(name, there):
        return "it numbers the rows"
    mean, deviation = mean_and_deviation(there)
    indicator = len(there) < len(values)
    if deviation == 0.0 and not indicator:
        return "it is constant"
    return Number(name, mean, deviation or 1.0, 2 * float(np.median(there / 2)), indicator)


def _is_identifier(name: str, values: Array) -> bool:
    """Whole numbers, all different, that are called so, or count from 0 or 1."""
    if len(values) < MANY_ROWS or (values % 1).any() or len(np.unique(values)) < len(values):
        return False
    called = name.lower() in _IDENTIFIERS or name.lower().endswith(("_id", " id", "-id"))
    return called or (values.min() in (0, 1) and bool((np.diff(values) == 1).all()))


def _moment(name: str, found: Array, form: str) -> Column | str:
    there = found[~np.isnat(found)]
    indicator = len(there) < len(found)
    parts = {part: v for part, v in parts_of(there).items() if len(np.unique(v)) > 1}
    if not parts:
        return "it is constant"
    year, deviation = mean_and_deviation(parts.get("year", np.zeros(1)))
    return Moment(name, form, tuple(parts), year, deviation or 1.0, indicator)


def _category(name: str, column: Array, notes: list[str]) -> Column | str:
    counts = Counter(texts(column))
    words = len(counts) - ("" in counts)
    there = len(column) - counts.get("", 0)
    if len(counts) == 1:
        return "it is constant"
    if words > there / 2 and there >= MANY_ROWS:
        return "nearly every row has a text of its own"
    if any("," in word and word.replace(",", "").replace(".", "").isdecimal() for word in counts):
        notes.append(
            f"column {name!r} has values such as 1,5: they are read as words, because only a point "
            "marks decimals"
        )
    embedded = len(counts) > FEW
    # One row teaches nothing about a word; such rows teach what to do with words never seen.
    kept = sorted(word for word, count in counts.items() if not embedded or count > 1)
    return Category(name, tuple(kept), embedded)
