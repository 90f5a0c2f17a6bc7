"""Programs that may find, in the commit, a value that is not finite: they undo it.

Variables are written in place, so what they held before has to be saved. A few of them are saved
before every call. Of many, that would take as long as computing them; so they are saved once in
some calls, the arguments of the calls since then are kept, and what a call has spoilt is had back
by running those calls again, which gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..config import EPOCH
from ..runtime.buffers import empty
from .codegen.driver import FIELDS, SPOILT
from .program import ARENA, Array, Failed, Program, address_of

# Variables of so many bytes are saved before every call; others after so many calls at most.
_FEW_BYTES, _MOST_CALLS = 16384, 64
# The arguments that are kept take at most so many times the bytes of the variables.
_MOST_KEPT = 8
_SAVING, _SAVE = FIELDS.index("saving"), FIELDS.index("save")


class Undoable(Program):
    """A compiled step whose commit may fail. It saves the variables before every call."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        written = [self.variables[n] for n in self.written]
        self._saved = [empty(v.shape, v.dtype) for v in written]
        for i, array in enumerate(self._saved):
            self._set("saved", i, address_of(array))
        self._header[_SAVE] = self._header[_SAVING]

    def _failed(self) -> Failed:
        """What a call that failed raises, and the state that it found put back."""
        if self._status[0] == SPOILT:
            for number, saved in zip(self.written, self._saved, strict=True):
                self._held[number][...] = saved
        return super()._failed()

    def loop(self, stacked: Sequence[Any], times: int) -> list[Array]:
        """See `Program.loop`, which keeps the values from before it."""
        with ARENA.lock:
            self._header[_SAVE] = 0
            try:
                return super().loop(stacked, times)
            finally:
                self._header[_SAVE] = self._header[_SAVING]


class Replaying(Undoable):
    """A compiled step whose commit may fail, with much to save. It saves the variables before the
    first of `most` calls, and keeps arguments and host scalars of those calls."""

    def __init__(self, most: int, *args: Any) -> None:
        super().__init__(*args)
        self._most = most
        self._kept = np.empty((most, self._given.size), np.uint8)
        self._large = [i for i, array in enumerate(self._bound) if array is None]
        self._kept_large: list[list[Array]] = []
        # How many calls there were since the variables were saved, and nobody else's.
        self._count = 0

    def call(self, inputs: Sequence[Any]) -> list[Array]:
        """Run once. Raises `Failed` if a kernel reported something; then nothing has changed."""
        with ARENA.lock:
            count = self._count
            if (
                self.epoch != EPOCH.value or ARENA.writer != self._header_address
                or count == self._most
            ):  # fmt: skip
                count = self._count = 0
                self._header[_SAVE] = self._header[_SAVING]
            results = super().call(inputs)
            self._kept[count] = self._given
            if self._large:
                self._keep_large(inputs)
            if not count:
                self._header[_SAVE] = 0
            self._count = count + 1
            return results

    def _keep_large(self, inputs: Sequence[Any]) -> None:
        """Keep the large arguments of a call, in memory that is used again and again."""
        if self._count == len(self._kept_large):
            self._kept_large.append([empty(*self.arguments[i]) for i in self._large])
        for i, copy in zip(self._large, self._kept_large[self._count], strict=True):
            copy[...] = inputs[i]

    def _failed(self) -> Failed:
        spoilt = self._status[0] == SPOILT
        failure = super()._failed()
        if spoilt:
            now = self._given.copy()
            for number in range(self._count):
                self._given[...] = self._kept[number]
                inputs: list[Any] = list(self._bound)
                if self._large:
                    for i, array in zip(self._large, self._kept_large[number], strict=True):
                        inputs[i] = array
                self._call_large(inputs)
            self._given[...] = now
        return failure

    def loop(self, stacked: Sequence[Any], times: int) -> list[Array]:
        """See `Program.loop`."""
        with ARENA.lock:
            self._count = 0
            return super().loop(stacked, times)


def undoable(*args: Any) -> Undoable:
    """A program, with the arguments of `Program`, that saves its variables as often as is best."""
    program = Undoable(*args)
    size = sum(array.nbytes for array in program._saved)
    each = sum(math.prod(shape) * dtype.itemsize for shape, dtype in program.arguments)
    most = min(_MOST_CALLS, _MOST_KEPT * size // max(each, 1))
    return Replaying(most, *args) if size > _FEW_BYTES and most > 1 else program

