"""What an optimizer remembers: the state of each parameter, and the models that it has walked."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ..config import STATE
from ..errors import ArgumentTypeError
from ..tensors import Tensor, Variable
from ..variables import Watch, holds_variables

Cells = dict[str, Variable]

_MOST_MODELS = 8


class Record:
    """The state of one parameter.

    Attributes:
        reference: weak reference to the parameter.
        cells: the variables that hold the state, by name.
        version: which settings the names were made for.
    """

    __slots__ = ("reference", "cells", "version")

    def __init__(self, reference: Any, cells: Cells, version: int) -> None:
        self.reference = reference
        self.cells = cells
        self.version = version


class Choice:
    """Which parameters have settings of their own. It has slots, as `Memory` has.

    Attributes:
        container: a list, module or other object that holds the parameters, or None.
    """

    __slots__ = ("container", "_test", "_watch", "_numbers")

    def __init__(self, what: str, which: Any) -> None:
        self.container: Any = None
        self._test: Callable[[Variable], Any] | None = None
        self._watch: Watch | None = None
        self._numbers: frozenset[int] = frozenset()
        if isinstance(which, Variable):
            self.container = [which]
        elif holds_variables(which):
            self.container = which
        elif callable(which):
            self._test = which
        else:
            raise ArgumentTypeError(
                f"{what}.group takes a variable, a module or container of variables, or a "
                f"function of one parameter, not {which!r}"
            )

    def holds(self, variable: Variable) -> bool:
        """Whether a parameter is meant; the container is walked again only after a change."""
        if self._test is not None:
            return bool(self._test(variable))
        if self._watch is None or not self._watch.current:
            self._watch = Watch(self.container)
            self._numbers = frozenset(v.leaf.number for _, v in self._watch.variables)
        return variable.leaf.number in self._numbers


class Memory:
    """State by parameter. It has slots, so that walking a model does not lead into it.

    Attributes:
        version: counts the changes of hyperparameters, which may ask for more state.
    """

    __slots__ = ("_records", "_watches", "version", "__weakref__")

    def __init__(self) -> None:
        self._records: dict[int, Record] = {}  # by leaf number, which no other variable gets
        self._watches: dict[int, Watch] = {}
        self.version = 0

    def watch(self, model: Any) -> Watch:
        """The variables of `model`, walked again only after a change."""
        found = self._watches.get(id(model))
        if found is None or not found.current:
            if len(self._watches) >= _MOST_MODELS:
                self._watches.clear()
            found = self._watches[id(model)] = Watch(model)
        return found

    def known(self, variable: Variable) -> Cells:
        """The state of a parameter, empty if it has had no update."""
        record = self._records.get(variable.leaf.number)
        return {} if record is None else record.cells

    def cells(self, variable: Variable, fresh: Callable[[Variable], dict[str, Tensor]]) -> Cells:
        """The state of a parameter; what the present settings need and it lacks is made.

        New state is concrete also under a trace, and taken away again if the trace fails.
        """
        number = variable.leaf.number
        record = self._records.get(number)
        if record is not None and record.version == self.version:
            return record.cells
        before = {} if record is None else record.cells
        missing = {n: t for n, t in fresh(variable).items() if n not in before}
        cells = before | {n: _cell(variable, n, t) for n, t in missing.items()}
        self._enter(number, variable, cells)
        if STATE.trace is not None:
            STATE.trace.on_failure(lambda: self._restore(number, record))
        return cells

    def replace(self, variable: Variable, state: dict[str, Tensor]) -> None:
        """Put another state in the place of the present one."""
        cells = {name: _cell(variable, name, tensor) for name, tensor in state.items()}
        self._enter(variable.leaf.number, variable, cells)

    def _enter(self, number: int, variable: Variable, cells: Cells) -> None:
        records = self._records
        reference = weakref.ref(variable, lambda _: records.pop(number, None))
        records[number] = Record(reference, cells, self.version)

    def _restore(self, number: int, record: Record | None) -> None:
        if record is None:
            self._records.pop(number, None)
        else:
            self._records[number] = record


def _cell(variable: Variable, name: str, tensor: Tensor) -> Variable:
    return Variable(np.array(tensor.data), f"{variable.name or 'parameter'}.{name}", False)
