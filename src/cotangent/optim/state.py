"""What an optimizer remembers: the state of each parameter, and the models that it has walked."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..config import EPOCH, STATE
from ..errors import ArgumentError, ArgumentTypeError
from ..placement import allocate, home_of
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
        moves: tells whether the parameter may have gone to another backend since.
        sizes: how many models the parameter is of, where it is mapped: see `Scope.join`.
    """

    __slots__ = ("reference", "cells", "version", "moves", "sizes")

    def __init__(self, reference: Any, cells: Cells, version: int, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        self.moves = EPOCH.moves
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
        number, evaluator = variable.leaf.number, STATE.trace
        sizes = () if evaluator is None else evaluator.join(variable, ())
        record = self._records.get(number)
        if record is not None and record.sizes != sizes:
            raise _mapped_before(variable, record.sizes, sizes)
        if record is not None and record.moves != EPOCH.moves:
            _follow(variable, record.cells)
            record.moves = EPOCH.moves
        if record is not None and record.version == self.version:
            cells = record.cells
        else:
            before = {} if record is None else record.cells
            missing = {n: t for n, t in fresh(variable).items() if n not in before}
            cells = before | {n: _cell(variable, n, t, sizes) for n, t in missing.items()}
            self._enter(number, variable, cells, sizes)
            if evaluator is not None:
                evaluator.on_failure(lambda: self._restore(number, record))
        if evaluator is not None:
            evaluator.join(variable, tuple(cells.values()))
        return cells

    def replace(self, variable: Variable, state: dict[str, Tensor]) -> None:
        """Put another state in the place of the present one: into the same variables where that can
        be, since compiled steps have captured them."""
        record = self._records.get(variable.leaf.number)
        if record is not None and _kinds(record.cells) == _kinds(state):
            for name, tensor in state.items():
                record.cells[name].assign(tensor)
            record.version = self.version
            return
        EPOCH.restructure()
        cells = {name: _cell(variable, name, tensor, ()) for name, tensor in state.items()}
        self._enter(variable.leaf.number, variable, cells, state["step"].shape)

    def _enter(self, number: int, variable: Variable, cells: Cells, sizes: tuple[int, ...]) -> None:
        records = self._records
        reference = weakref.ref(variable, lambda _: records.pop(number, None))
        records[number] = Record(reference, cells, self.version, sizes)

    def _restore(self, number: int, record: Record | None) -> None:
        if record is None:
            self._records.pop(number, None)
        else:
            self._records[number] = record


def _kinds(state: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: (x.shape, x.dtype) for name, x in state.items()}


def _cell(variable: Variable, name: str, tensor: Tensor, sizes: tuple[int, ...]) -> Variable:
    whole = np.array(np.broadcast_to(tensor.numpy(), (*sizes, *tensor.shape)))
    array = allocate(whole, home_of(variable.peek()))
    return Variable(array, f"{variable.name or 'parameter'}.{name}", False)


def _follow(variable: Variable, cells: Cells) -> None:
    """Bring the state of a parameter to where the parameter is."""
    home = home_of(variable.peek())
    for cell in cells.values():
        if home_of(cell.peek()) is not home:
            cell.move(home.name, home.device)


def _mapped_before(
    variable: Variable, before: tuple[int, ...], now: tuple[int, ...]
) -> ArgumentError:
    def said(sizes: tuple[int, ...]) -> str:
        return f"for {sizes[-1]} models inside ct.vmap" if sizes else "outside of ct.vmap"

    return ArgumentError(
        f"step: the state of {variable.name or 'the parameter'} was made {said(before)}, and now "
        f"it is to be used {said(now)}; use another optimizer, or always step in the same way"
    )
