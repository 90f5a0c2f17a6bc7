"""Programs that may find, in the commit, a value that is not finite: they undo it.

Variables are written in place, so what they held has to be saved. Where there is much to save, that
is done once in some calls, and what each call since then was given is kept; what a call has spoilt
is had back by running those before it again. See `memory` for the kernels that do all this, and
`driver` for when they run.

A large argument that is a tensor need not be copied: nobody changes a tensor, so it is enough to
hold its array. An array of the user's may hold other values by then, and is copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import DType, as_dtype, uint8
from ..runtime.buffers import empty
from ..shapes import Shape
from .codegen.driver import FIELDS, SPOILT
from .layout import Layout
from .memory import ALIGNMENT
from .program import Array, Failed, Program, address_of, dense_array
from .staging import SMALL

_COUNT, _MOST, _PLACES = (FIELDS.index(x) for x in ("count", "most", "places"))
# Variables are saved after so many calls at most. What is copied for these calls takes at most so
# many times the bytes of the variables, or so many bytes; and so does what is held.
_MOST_CALLS, _MOST_TIMES, _ROOM = 64, 2, 32 << 20


class Undoable(Program):
    """A compiled step whose commit may fail. Then nothing has changed, either.

    Args:
        values: for each argument, whether it is a tensor.
        args: see `Program`.
    """

    def __init__(self, layout: Layout, values: Sequence[bool], *args: Any) -> None:
        self._most, self._holding, layout = _arranged(layout, values, args[1])
        # Of each call since the variables were saved, the large tensors that it was given.
        self._held_calls: list[list[Any]] = []
        super().__init__(layout, *args)
        written = [self.variables[n] for n in self.written]
        self._saved = [empty(v.shape, v.dtype) for v in written]
        for i, array in enumerate(self._saved):
            self._set("saved", i, address_of(array))
        given = [*self.arguments, *(((), view.dtype) for view in self._host_views)]
        # By number, as places are; what no kernel keeps is not there.
        self._kept = {
            i: _rows_of(self._most, shape, dtype)
            for i, (shape, dtype) in enumerate(given) if ("kept", i) in self._places
        }  # fmt: skip
        rows = []
        base = address_of(self._table)
        for i, array in self._kept.items():
            for at in self._places[("kept", i)]:
                rows += [base + 8 * at, address_of(array), array.strides[0]]
        self._rows = np.array([*rows, 0], np.int64)
        self._header[_MOST] = self._most
        self._header[_PLACES:] = address_of(self._rows), len(rows) // 3

    # Where somebody else may have changed a variable, the count begins anew.

    def refresh(self) -> None:
        """See `Program.refresh`."""
        super().refresh()
        self._header[_COUNT] = 0

    def _take_over(self) -> None:
        super()._take_over()
        self._header[_COUNT] = 0

    # A loop has the values from before it, and goes back to them: nothing else is saved in it.

    def _point_at_slices(self, slices: Any, first: int = 0) -> None:
        super()._point_at_slices(slices, first)
        self._header[_MOST] = 0

    def _point_at_own(self) -> None:
        super()._point_at_own()
        self._header[_MOST] = self._most

    def _run_on(self, inputs: Sequence[Any]) -> list[Any]:
        """See `Program._run_on`. Large tensors are held until the variables are saved again."""
        if self._holding:
            given = list(inputs)
            for i in self._holding:
                given[i] = dense_array(given[i], self.arguments[i][1])
            del self._held_calls[int(self._header[_COUNT]) :]
            self._held_calls.append([given[i] for i in self._holding])
            inputs = given
        return super()._run_on(inputs)

    def _failed(self) -> Failed:
        """What a call that failed raises. The variables are what they were before it."""
        if self._status[0] == SPOILT:
            for number, saved in zip(self.written, self._saved, strict=True):
                self._held[number][...] = saved
            self._repeat(int(self._header[_COUNT]))
        return super()._failed()

    def _repeat(self, times: int) -> None:
        """Run the calls since the variables were saved again: so many."""
        self._header[_MOST] = 0
        hosts = self._hosts.copy()
        for number in range(times):
            given = {i: array[number] for i, array in self._kept.items()}
            if self._holding:
                given |= zip(self._holding, self._held_calls[number], strict=True)
            for i, view in enumerate(self._host_views, len(self.arguments)):
                view[...] = given[i]
            super()._run_on([given[i] for i in range(len(self.arguments))])
        self._hosts[...] = hosts
        self._header[_MOST], self._header[_COUNT] = self._most, times


def _rows_of(times: int, shape: Shape, dtype: DType) -> Array:
    """Memory for `times` arrays, each of which begins at a cache line if they are large."""
    size = math.prod(shape) * dtype.itemsize
    step = -(-size // ALIGNMENT) * ALIGNMENT
    memory = empty((times, step), uint8)
    return memory[:, :size].view(dtype).reshape(times, *shape)


def _arranged(
    layout: Layout, values: Sequence[bool], variables: Sequence[Any]
) -> tuple[int, list[int], Layout]:
    """From one saving to the next: how many calls there are, and which of their arguments are
    held; and the layout without the kernels that need not copy those."""
    sizes = [math.prod(shape) * as_dtype(name).itemsize for shape, name in layout.arguments]
    holding = [i for i, size in enumerate(sizes) if size > SMALL and values[i]]
    if layout.keeping == layout.saving:
        return 1, [], layout
    held = sum(sizes[i] for i in holding)
    copied = sum(sizes) - held + 8 * len(layout.hosts)
    written = [variables[n] for n in layout.written]
    room = max(_MOST_TIMES * sum(v.size * v.dtype.itemsize for v in written), _ROOM)
    most = min(_MOST_CALLS, room // max(copied, 1), room // max(held, 1))
    if most < 2:
        return 1, [], _without(layout, range(len(sizes) + len(layout.hosts)))
    return most, holding, _without(layout, holding)


def _without(layout: Layout, numbers: Sequence[int]) -> Layout:
    """`layout` without the kernels that keep what has one of these numbers."""
    dropped = {("kept", i) for i in numbers}
    kernels = [
        kernel for i, kernel in enumerate(layout.kernels)
        if not (layout.saving <= i < layout.keeping and dropped & {*map(tuple, kernel[1])})
    ]  # fmt: skip
    fewer = len(layout.kernels) - len(kernels)
    return layout._replace(
        kernels=kernels, keeping=layout.keeping - fewer, computing=layout.computing - fewer
    )
