"""Programs that may find, in the commit, a value that is not finite: they undo it.

Variables are written in place, so what they held has to be saved. Where there is much to save, that
is done once in some calls, and what each call since then was given is kept; what a call has spoilt
is had back by running those before it again. See `memory` for the kernels that do all this, and
`driver` for when they run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime.buffers import empty
from .codegen.driver import FIELDS, SPOILT
from .layout import Layout
from .program import Failed, Program, address_of

_COUNT, _MOST, _PLACES = (FIELDS.index(x) for x in ("count", "most", "places"))


class Undoable(Program):
    """A compiled step whose commit may fail. Then nothing has changed, either."""

    def __init__(self, layout: Layout, *args: Any) -> None:
        self._most = layout.most
        super().__init__(layout, *args)
        written = [self.variables[n] for n in self.written]
        self._saved = [empty(v.shape, v.dtype) for v in written]
        for i, array in enumerate(self._saved):
            self._set("saved", i, address_of(array))
        given = [*self.arguments, *(((), view.dtype) for view in self._host_views)]
        keeps = layout.keeping > layout.saving
        self._kept = [empty((self._most, *shape), dtype) for shape, dtype in given if keeps]
        rows = []
        base = address_of(self._table)
        for i, array in enumerate(self._kept):
            for at in self._places.get(("kept", i), ()):
                rows += [base + 8 * at, address_of(array), array.nbytes // self._most]
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
            given = [array[number] for array in self._kept]
            for view, value in zip(self._host_views, given[len(self.arguments) :], strict=True):
                view[...] = value
            self._run_on(given[: len(self.arguments)])
        self._hosts[...] = hosts
        self._header[_MOST], self._header[_COUNT] = self._most, times
