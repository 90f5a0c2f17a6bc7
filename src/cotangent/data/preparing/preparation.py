"""Everything that turns rows of a table into arrays for a model, learnt once and saved as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError, FileError, UnknownKeyError
from ...spelling import closest
from ..frame import Frame, listed
from .columns import KINDS, Category, Column
from .kinds import learn_column
from .targets import TARGETS, TASKS, Target, learn_target
from .values import missing

Array = np.ndarray[Any, Any]

_FORMAT = "cotangent-table-1"


class Prepared(NamedTuple):
    """Rows that a model can take.

    Attributes:
        x: ``[rows, width]``, float32: numbers, then the indices of embedded columns.
        y: the targets, as the `Target` encodes them; None if the frame has no target.
        known: a mask of the rows of `y` that have a target; the others are to be left out.
        notes: sentences about what was out of the ordinary.
    """

    x: Array
    y: Array | None
    known: Array
    notes: list[str]


class Preparation:
    """What was learnt about the columns of a table.

    Attributes:
        inputs: the columns that the model sees, numbers before embedded categories.
        dropped: the others, by name: why.
        target: what is predicted.
        notes: sentences about what was decided.

    >>> size, city = np.array([50.0, 75.0, 60.0]), np.array(["Bern", "Chur", "Bern"], object)
    >>> frame = Frame(["size", "city", "price"], [size, city, np.array([1.0, 1.5, 1.2])])
    >>> preparation = Preparation.learn(frame, "price")
    >>> preparation.labels
    ['size', "city is 'Bern'", "city is 'Chur'"]
    >>> preparation.apply(frame).x.shape
    (3, 3)
    """

    def __init__(
        self,
        inputs: Sequence[Column],
        dropped: dict[str, str],
        target: Target,
        notes: Sequence[str] = (),
    ) -> None:
        self.inputs = tuple(sorted(inputs, key=_is_embedded))
        self.dropped = dict(dropped)
        self.target = target
        self.notes = list(notes)

    @classmethod
    def learn(
        cls, frame: Frame, target: str, task: str = "auto", ignore: Sequence[str] = ()
    ) -> Preparation:
        """What the training rows say.

        Args:
            frame: the training rows only, or what is held out is no longer unseen.
            target: the column to predict.
            task: "auto", "regression" or "classification".
            ignore: columns to leave out.

        Raises:
            UnknownKeyError: if a column is not there.
            ArgumentError: if the target is constant, or no column is left to predict from.
        """
        if task not in TASKS:
            raise ArgumentError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
        column, notes = frame[target], list[str]()
        for name in ignore:
            frame[name]
        learnt = learn_target(target, column, task, notes)
        frame = frame.take(~missing(column))
        found = {
            name: learn_column(name, frame[name], notes)
            for name in frame.names
            if name != target and name not in ignore
        }
        inputs = [column for column in found.values() if not isinstance(column, str)]
        dropped = {name: why for name, why in found.items() if isinstance(why, str)}
        if not inputs:
            why = "; ".join(f"{name}: {reason}" for name, reason in list(dropped.items())[:5])
            raise ArgumentError(
                f"no column is left to predict {target!r} from ({why or 'there is no other'})"
            )
        return cls(inputs, dropped, learnt, notes)

    @property
    def labels(self) -> list[str]:
        """The names of the columns of ``x``."""
        return [label for column in self.inputs for label in column.labels]

    @property
    def embedded(self) -> list[int]:
        """The rows that the table of vectors of each embedded column needs, the unseen's too."""
        return [len(c.values) + 1 for c in self.inputs if isinstance(c, Category) and c.embedded]

    @property
    def width(self) -> int:
        """The columns of ``x``."""
        return len(self.labels)

    def apply(self, frame: Frame, with_target: bool = True) -> Prepared:
        """Rows of any table with these columns, as arrays.

        Args:
            frame: the rows; other columns, and their order, do not matter.
            with_target: whether the target is wanted.

        Raises:
            UnknownKeyError: if a column is not there.
            ArgumentError: if nothing in a column is of the kind that it was in training.
        """
        wanted = [column.name for column in self.inputs]
        wanted += [self.target.name] if with_target else []
        self._check(frame, wanted)
        notes: list[str] = []
        x = np.empty((len(frame), self.width), np.float32)
        at = 0
        for column in self.inputs:
            part = column.apply(frame[column.name], notes)
            x[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        if not with_target:
            return Prepared(x, None, np.ones(len(frame), bool), notes)
        y, known = self.target.encode(frame[self.target.name])
        if not known.all():
            at = int(np.flatnonzero(~known)[0])
            notes.append(
                f"{int((~known).sum())} rows have no target that is known, the first is "
                f"{frame.unit} {frame.places[at]} of {frame.path}; they are left out"
            )
        return Prepared(x, y, known, notes)

    def _check(self, frame: Frame, wanted: list[str]) -> None:
        gone = [name for name in wanted if name not in frame.names]
        if gone:
            close = closest(gone[0], frame.names)
            hint = f'; did you mean "{close}"?' if close else "."
            raise UnknownKeyError(
                f"{frame.path} has no column {listed(gone)}, which the model needs{hint} It has "
                f"{listed(frame.names)}"
            )

    # -- as JSON --------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "format": _FORMAT,
            "inputs": [{"kind": column.kind, **asdict(column)} for column in self.inputs],
            "dropped": self.dropped,
            "target": {"kind": self.target.kind, **asdict(self.target)},
        }

    @classmethod
    def from_facts(cls, facts: Any, path: str = "the preparation") -> Preparation:
        """The inverse of `facts`.

        Raises:
            FileError: if anything in it is missing or of the wrong kind; it names `path`.
        """
        if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
            raise FileError(f"{path} is not a preparation of tables in the form {_FORMAT}")
        inputs, dropped = facts.get("inputs"), facts.get("dropped")
        if not isinstance(inputs, list) or not inputs or not isinstance(dropped, dict):
            raise FileError(f"{path} is damaged: it names no inputs")
        columns = [_from_facts(KINDS, entry, path) for entry in inputs]
        return cls(columns, dropped, _from_facts(TARGETS, facts.get("target"), path))


def _is_embedded(column: Column) -> bool:
    return isinstance(column, Category) and column.embedded


def _from_facts(kinds: dict[str, type[Any]], entry: Any, path: str) -> Any:
    """A column or target, of which every field is there and of its type."""
    kind = kinds.get(str(entry.get("kind"))) if isinstance(entry, dict) else None
    if kind is None:
        raise FileError(f"{path} is damaged: {entry!r} is no column of a known kind")
    values = {}
    for field in fields(kind):
        value, wanted = entry.get(field.name), str(field.type)
        if not _FITS[wanted](value):
            raise FileError(
                f"{path} is damaged: {field.name} of {entry.get('name')!r} is {value!r}"
            )
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


_FITS: dict[str, Any] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "float": _is_finite,
    "tuple[str, ...]": lambda value: (
        isinstance(value, (list, tuple)) and value and all(isinstance(v, str) for v in value)
    ),
}
