"""Eager updates of many small parameters as one flat vector.

The arithmetic of a small update costs less than calling NumPy for it, so parameters of equal
settings are laid end to end and updated by one call of `update`. Rounding is the same element
by element, so the bits are those of updates one by one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from operator import is_
from typing import Any

import numpy as np

from ..config import EPOCH
from ..dtypes import DType
from ..tensors import Tensor, Variable

_SMALL = 4096

Live = list[tuple[Variable, Tensor]]
Cells = dict[str, Variable]
Advance = Callable[[Tensor, Tensor, dict[str, Tensor], dict[Any, Any]], Any]


class Row:
    """Variables laid end to end, and the vector that they were last cut from.

    As long as each variable still holds its piece, the vector need not be put together again.
    """

    __slots__ = ("variables", "cuts", "pieces", "whole")

    def __init__(self, variables: list[Variable], cuts: list[tuple[slice, Any]]) -> None:
        self.variables = variables
        self.cuts = cuts
        self.pieces: list[Tensor] = []
        self.whole: Any = None

    def join(self) -> Tensor:
        """The values as one untracked vector."""
        values = [v.value for v in self.variables]
        if self.whole is None or not all(map(is_, values, self.pieces)):
            self.whole = np.concatenate([t.data.ravel() for t in values])
        return Tensor(self.whole)

    def cut(self, whole: Any) -> None:
        """Give each variable its piece of `whole`."""
        self.whole = whole
        self.pieces = [
            v.wrap(whole[part].reshape(shape))
            for v, (part, shape) in zip(self.variables, self.cuts, strict=True)
        ]
        for variable, piece in zip(self.variables, self.pieces, strict=True):
            variable.put(piece)


class Same:
    """0-d variables that hold equal numbers, such as the step counts of a group."""

    __slots__ = ("variables",)

    def __init__(self, variables: list[Variable]) -> None:
        self.variables = variables

    @property
    def equal(self) -> bool:
        """Whether the numbers are still equal."""
        first = self.variables[0].value
        return all(v.value is first or v.value.data == first.data for v in self.variables)


class Group:
    """Parameters that are updated as one vector."""

    __slots__ = ("members", "values", "rows", "same", "dtype")

    def __init__(self, members: list[int], variables: list[Variable], cells: list[Cells]) -> None:
        ends = list(itertools.accumulate(v.size for v in variables))
        cuts = [(slice(e - v.size, e), v.shape) for e, v in zip(ends, variables, strict=True)]
        columns = {name: [c[name] for c in cells] for name in cells[0]}
        self.members = members
        self.dtype: DType = variables[0].dtype
        self.values = Row(variables, cuts)
        self.rows = {n: Row(c, cuts) for n, c in columns.items() if c[0].shape != ()}
        self.same = {n: Same(c) for n, c in columns.items() if c[0].shape == ()}

    def step(self, advance: Advance, live: Live, given: dict[str, Any]) -> None:
        whole = np.concatenate([live[i][1].data.ravel() for i in self.members])
        gradient = Tensor(whole if whole.dtype == self.dtype else whole.astype(self.dtype))
        state = {name: row.join() for name, row in self.rows.items()}
        for name, same in self.same.items():
            state[name] = same.variables[0].value
        value, new = advance(self.values.join(), gradient, state, given)
        self.values.cut(value.data)
        for name, tensor in new.items():
            if name in self.rows:
                self.rows[name].cut(tensor.data)
            else:
                for variable in self.same[name].variables:
                    variable.put(tensor)
        EPOCH.bump()


class Plan:
    """The groups for one list of parameters, and which of them are updated one by one.

    Attributes:
        variables: the parameters that it was made for.
        version: the settings that it was made for.
        moves: tells whether a parameter has gone to another backend since.
        groups: at least two parameters each.
        rest: positions of the others.
    """

    __slots__ = ("variables", "version", "moves", "groups", "rest")

    def __init__(self, live: Live, cells: Callable[[Variable], Cells], version: int) -> None:
        self.variables = [v for v, _ in live]
        self.version = version
        self.moves = EPOCH.moves
        found: dict[Any, list[int]] = {}
        self.rest: list[int] = []
        for i, variable in enumerate(self.variables):
            if _is_small(variable):
                found.setdefault(_key(variable, cells(variable)), []).append(i)
            else:
                self.rest.append(i)
        self.groups = []
        for members in found.values():
            chosen = [self.variables[i] for i in members]
            if len(members) > 1:
                self.groups.append(Group(members, chosen, [cells(v) for v in chosen]))
            else:
                self.rest += members

    def fits(self, live: Live, version: int) -> bool:
        """Whether the plan is still right for these parameters."""
        if version != self.version or len(live) != len(self.variables):
            return False
        if self.moves != EPOCH.moves:
            return False
        return all(map(is_, [v for v, _ in live], self.variables)) and all(
            same.equal for group in self.groups for same in group.same.values()
        )

    def step(self, advance: Advance, live: Live, given: dict[str, Any]) -> Live:
        """Update the groups with the settings that are given for this step; the parameters that
        remain are returned."""
        for group in self.groups:
            group.step(advance, live, given)
        return [live[i] for i in self.rest]


def _is_small(variable: Variable) -> bool:
    """Whether a parameter goes into a group. One without axes does not: its moments could not
    be told from its counters."""
    shape = variable.shape
    return shape != () and math.prod(shape) <= _SMALL and type(variable.peek()) is np.ndarray


def _key(variable: Variable, cells: Cells) -> Any:
    """Equal for parameters that one vector can hold."""
    counters = tuple((n, c.value.item()) for n, c in cells.items() if c.shape == ())
    return variable.dtype, counters
