"""What becomes of an input column: learnt on the training rows, applied alike to any others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import ArgumentError
from .values import missing, numbers, texts, times

Array = np.ndarray[Any, Any]

MOST_DEVIATIONS = 100.0  # farther from the mean a value is not taken to be
_PERIODS = {"month": 12, "day": 31, "weekday": 7, "hour": 24}


@dataclass(frozen=True)
class Number:
    """Numbers, standardised: (value - mean) / deviation, within ±100; missing ones are the median.

    Attributes:
        mean, deviation, median: of the training rows.
        indicator: whether a second column says, by 1, where the value is missing.
    """

    kind: ClassVar[str] = "number"
    name: str
    mean: float
    deviation: float
    median: float
    indicator: bool

    @property
    def labels(self) -> list[str]:
        """The names of the columns that this one becomes."""
        return [self.name, f"{self.name} is missing"][: 1 + self.indicator]

    def apply(self, column: Array, notes: list[str]) -> Array:
        """The columns, ``[rows, 1 or 2]``; adds to `notes` what people should know."""
        values = numbers(column)
        gone = np.isnan(values)
        _note_missing(self, column, gone, notes)
        values[gone] = self.median
        return _beside(standard(values, self.mean, self.deviation), gone, self.indicator)

    def __str__(self) -> str:
        return f"number, mean {self.mean:.4g}, deviation {self.deviation:.4g}"


@dataclass(frozen=True)
class Flag:
    """Yes or no, as 1 or -1; 0 where it is missing.

    Attributes:
        yes: the word that is 1, in lower case.
        no: the word that is -1.
        indicator: as for `Number`.
    """

    kind: ClassVar[str] = "boolean"
    name: str
    yes: str
    no: str
    indicator: bool

    @property
    def labels(self) -> list[str]:
        """The names of the columns that this one becomes."""
        return [self.name, f"{self.name} is missing"][: 1 + self.indicator]

    def apply(self, column: Array, notes: list[str]) -> Array:
        """The columns, ``[rows, 1 or 2]``."""
        words = np.array([text.lower() for text in texts(column)], object)
        values = (words == self.yes).astype(float) - (words == self.no).astype(float)
        gone = values == 0.0
        _note_missing(self, column, gone, notes)
        return _beside(values, gone, self.indicator)

    def __str__(self) -> str:
        return f"boolean, {self.yes} or {self.no}"


@dataclass(frozen=True)
class Moment:
    """Dates and times, as the parts that differ: the year as a number, the others as circles.

    A month, day of the month, weekday or hour is the sine and the cosine of its turn, so that
    December lies beside January.

    Attributes:
        form: how they are written, for `times`.
        parts: which of "year", "month", "day", "weekday" and "hour".
        year, deviation: the mean of the years, and their deviation.
        indicator: as for `Number`; where it is missing, the parts are 0.
    """

    kind: ClassVar[str] = "date"
    name: str
    form: str
    parts: tuple[str, ...]
    year: float
    deviation: float
    indicator: bool

    @property
    def labels(self) -> list[str]:
        """The names of the columns that this one becomes."""
        names = []
        for part in self.parts:
            names += [f"{self.name} {part}"] if part == "year" else [
                f"{self.name} {part} sine", f"{self.name} {part} cosine"
            ]  # fmt: skip
        return names + [f"{self.name} is missing"] * self.indicator

    def apply(self, column: Array, notes: list[str]) -> Array:
        """The columns, ``[rows, width]``."""
        found = times(column, self.form)
        gone = np.isnat(found)
        _note_missing(self, column, gone, notes)
        found = np.where(gone, np.datetime64(0, "us"), found)
        columns = []
        for part in self.parts:
            values = parts_of(found)[part]
            if part == "year":
                columns.append(standard(values, self.year, self.deviation))
            else:
                turn = 2 * np.pi * values / _PERIODS[part]
                columns += [np.sin(turn), np.cos(turn)]
        shown = np.where(gone[:, None], 0.0, np.stack(columns, axis=1))
        return np.concatenate([shown, gone[:, None]], axis=1) if self.indicator else shown

    def __str__(self) -> str:
        return f"date ({self.form}): {', '.join(self.parts)}"


@dataclass(frozen=True)
class Category:
    """One of several words: a column of 0 and 1 for each, or where they are many, an index.

    Attributes:
        values: the words, in order; ``""`` is among them if some were missing.
        embedded: whether the column becomes an index into a table of vectors: 0 for words that
            are not among `values`, otherwise 1 and the place. If not, such words are all 0.
    """

    kind: ClassVar[str] = "category"
    name: str
    values: tuple[str, ...]
    embedded: bool

    @property
    def labels(self) -> list[str]:
        """The names of the columns that this one becomes."""
        if self.embedded:
            return [f"{self.name} index"]
        return [f"{self.name} is {value!r}" if value else f"{self.name} is missing"
                for value in self.values]  # fmt: skip

    def apply(self, column: Array, notes: list[str]) -> Array:
        """Zeros and ones ``[rows, values]``, or indices ``[rows, 1]``."""
        places = {value: place for place, value in enumerate(self.values, 1)}
        words = texts(column)
        index = np.array([places.get(word, 0) for word in words], np.int64)
        unseen = sorted({word for word, at in zip(words, index.tolist(), strict=True) if not at})
        if unseen:
            example = next((word for word in unseen if word), "")
            such = f"such as {example!r}" if example else "which are empty"
            notes.append(
                f"column {self.name!r}: {int((index == 0).sum())} values, {such}, are rare or not "
                "in the training rows; all of these are taken alike"
            )
        if self.embedded:
            return index[:, None].astype(float)
        return (index[:, None] == np.arange(1, len(self.values) + 1)).astype(float)

    def __str__(self) -> str:
        how = "by an embedding" if self.embedded else "a column each"
        return f"category, {len(self.values)} values, {how}"


Column = Number | Flag | Moment | Category
KINDS: dict[str, type[Any]] = {c.kind: c for c in (Number, Flag, Moment, Category)}


def standard(values: Array, mean: float, deviation: float) -> Array:
    """(values - mean) / deviation, within ±100, also where the difference is too large a float."""
    with np.errstate(over="ignore"):
        return np.clip((values - mean) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS)


def mean_and_deviation(values: Array) -> tuple[float, float]:
    """The mean and the standard deviation; 0 for the second if values differ by rounding only.

    >>> mean_and_deviation(np.array([1e308, -1e308]))
    (0.0, 1e+308)
    """
    size = float(np.abs(values).max(initial=0.0))
    if size == 0.0:
        return 0.0, 0.0
    scaled = values / size
    mean, deviation = float(scaled.mean()), float(scaled.std())
    return mean * size, 0.0 if deviation < 1e-12 else deviation * size


def parts_of(found: Array) -> dict[str, Array]:
    """Year, month (0 to 11), day (0 to 30), weekday (0 is Monday), and hour with its fraction."""
    years, months = found.astype("datetime64[Y]"), found.astype("datetime64[M]")
    days = found.astype("datetime64[D]")
    return {
        "year": years.astype(np.int64) + 1970.0,
        "month": (months - years).astype(np.int64),
        "day": (days - months).astype(np.int64),
        "weekday": (days.astype(np.int64) + 3) % 7,
        "hour": (found - days).astype("timedelta64[s]").astype(np.int64) / 3600.0,
    }


def _beside(values: Array, gone: Array, indicator: bool) -> Array:
    return np.stack([values, gone.astype(float)] if indicator else [values], axis=1)


def _note_missing(column: Number | Flag | Moment, fields: Array, gone: Array,
                  notes: list[str]) -> None:  # fmt: skip
    """Say what is no value of this kind, and that nothing stands where it always did."""
    empty = missing(fields)
    strange = gone & ~empty
    if strange.any():
        example = texts(fields[strange][:1])[0]
        if strange.sum() == (~empty).sum() > 1:
            raise ArgumentError(
                f"column {column.name!r} was of kind {column.kind} in training, but no value here "
                f"is one (the first is {example!r})"
            )
        notes.append(
            f"column {column.name!r}: {int(strange.sum())} values, such as {example!r}, are no "
            f"{column.kind} and count as missing"
        )
    if empty.any() and not column.indicator:
        notes.append(
            f"column {column.name!r}: {int(empty.sum())} values are missing, which none was in "
            "training; each is taken as an average one"
        )
