"""The column to be predicted: numbers, standardised, or classes, with their labels as written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...errors import ArgumentError
from .columns import mean_and_deviation
from .values import missing, numbers, texts

Array = np.ndarray[Any, Any]

MOST_CLASSES = 1000
_MOST_NUMBERED_CLASSES = 20
TASKS = ("auto", "regression", "classification")


@dataclass(frozen=True)
class NumberTarget:
    """A number to predict, standardised for training.

    Attributes:
        mean, deviation: of the training rows.
    """

    kind: ClassVar[str] = "regression"
    name: str
    mean: float
    deviation: float
    outputs: ClassVar[int] = 1

    def encode(self, column: Array) -> tuple[Array, Array]:
        """The targets of the model, float32 ``[rows, 1]``, and where there is one, a mask."""
        values = numbers(column)
        there = ~np.isnan(values)
        with np.errstate(over="ignore", invalid="ignore"):
            encoded = ((values - self.mean) / self.deviation).astype(np.float32)
        return np.where(there, encoded, 0)[:, None], there & np.isfinite(encoded)

    def decode(self, outputs: Array) -> Array:
        """Predictions ``[rows]``, float64, from the outputs of the model ``[rows, 1]``."""
        return outputs[:, 0].astype(np.float64) * self.deviation + self.mean

    def true(self, column: Array) -> Array:
        """The targets as they are, ``[rows]``."""
        return numbers(column)

    def __str__(self) -> str:
        return f"regression, mean {self.mean:.4g}, deviation {self.deviation:.4g}"


@dataclass(frozen=True)
class ClassTarget:
    """One of several classes.

    Attributes:
        labels: as they are written in the table, in order: of numbers by size, else of letters.
    """

    kind: ClassVar[str] = "classification"
    name: str
    labels: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """How many outputs the model has: one for each class."""
        return len(self.labels)

    def encode(self, column: Array) -> tuple[Array, Array]:
        """The class of each row, int64 ``[rows]``, and where it is one of `labels`, a mask."""
        places = {key_of(label): place for place, label in enumerate(self.labels)}
        found = np.array([places.get(key_of(text), -1) for text in texts(column)], np.int64)
        return np.maximum(found, 0), found >= 0

    def decode(self, outputs: Array) -> Array:
        """The label of each row, ``[rows]``, of the largest of its outputs ``[rows, classes]``."""
        return np.array(self.labels, object)[outputs.argmax(axis=1)]

    def __str__(self) -> str:
        shown = ", ".join(self.labels[:8]) + (", ..." if len(self.labels) > 8 else "")
        return f"classification, {len(self.labels)} classes: {shown}"


Target = NumberTarget | ClassTarget
TARGETS: dict[str, type[Any]] = {c.kind: c for c in (NumberTarget, ClassTarget)}


def key_of(label: str) -> Any:
    """What makes a label the same as another: 1 and 1.0 are."""
    try:
        return float(label)
    except ValueError:
        return label


def learn_target(name: str, column: Array, task: str, notes: list[str]) -> Target:
    """What becomes of the target.

    Args:
        name: of the column.
        column: the training rows.
        task: "regression", "classification", or "auto": numbers make a regression unless all
            are whole and few (at most 20, and a tenth of the rows); all else are classes.
        notes: gets a sentence about what was found out.

    Raises:
        ArgumentError: if it is empty or constant, not numbers where the task wants them, or of too
            many classes.
    """
    there = column[~missing(column)]
    if not len(there):
        raise ArgumentError(f"the target {name!r} is empty")
    words = first_written(texts(there))
    if len(words) == 1:
        raise ArgumentError(
            f"the target {name!r} is constant ({texts(there[:1])[0]!r}): there is nothing to learn"
        )
    values = numbers(there)
    if task == "auto":
        task = _found_task(name, values, words, notes)
    if task == "regression":
        return _number_target(name, there, values)
    if len(words) > MOST_CLASSES:
        raise ArgumentError(
            f"the target {name!r} has {len(words):,} different values, too many for classes (at "
            f"most {MOST_CLASSES:,}){_hint(values)}"
        )
    numeric = all(isinstance(key, float) for key in words)
    order = sorted(words) if numeric else sorted(words, key=lambda key: words[key])
    return ClassTarget(name, tuple(words[key] for key in order))


def first_written(fields: list[str]) -> dict[Any, str]:
    """The first spelling of each label, by its key."""
    words: dict[Any, str] = {}
    for text in fields:
        words.setdefault(key_of(text), text)
    return words


def _number_target(name: str, there: Array, values: Array) -> NumberTarget:
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        example = texts(there[wrong[:1]])[0]
        raise ArgumentError(
            f"the target {name!r} has values that are no numbers, such as {example!r}: that is no "
            "regression; task 'classification' takes them as labels"
        )
    mean, deviation = mean_and_deviation(values)
    if deviation == 0.0:
        raise ArgumentError(f"the target {name!r} is constant but for rounding")
    return NumberTarget(name, mean, deviation)


def _found_task(name: str, values: Array, words: dict[Any, str], notes: list[str]) -> str:
    if np.isnan(values).any():
        notes.append(f"target {name!r}: {len(words)} different labels, so this is classification")
        return "classification"
    few = len(words) <= max(2, min(_MOST_NUMBERED_CLASSES, len(values) // 10))
    if few and not (values % 1).any():
        notes.append(
            f"target {name!r}: {len(words)} different whole numbers, so this is classification "
            "(task 'regression' says otherwise)"
        )
        return "classification"
    notes.append(f"target {name!r}: {len(words):,} different numbers, so this is regression")
    return "regression"


def _hint(values: Array) -> str:
    return "" if np.isnan(values).any() else "; they are numbers: use task 'regression'"
