"""Programs: a plan bound to memory, ready to be called.

A program is a table of 8-byte slots that the kernels read, and the driver that goes through it.
Addresses that can change (variables, arguments, results, the arena) are written into the table
when they do. One integer, the epoch, tells whether anything did.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..config import EPOCH
from ..dtypes import DType, as_dtype
from ..runtime.buffers import empty
from ..runtime.pool import POOL
from ..tensors import Tensor, Variable
from .codegen.driver import FIELDS
from .layout import FUNCTION, STATUS, WORD, Layout
from .memory import ALIGNMENT
from .ranges import STEPS
from .staging import Staging

# A call wakes threads for so many nanoseconds of work that they can share, or more: five to ten
# thousand go into waking them. In a loop they stay awake, and share whatever is split.
_WORTH_WAKING = 200_000
# A native loop comes back to Python about this often, for signals and for other threads.
_SECONDS_PER_TURN = 0.02
# Between turns, another Python thread that waits for the lock has so long to wake up.
_SECONDS_TO_WAKE = 1e-4

_RUN = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
# The same function for arguments that are ctypes objects: nothing is converted at a call.
_RUN_READY = ctypes.CFUNCTYPE(ctypes.c_int64)

Array = np.ndarray[Any, Any]
_COPY = np.ndarray.copy
_TRUSTED = FIELDS.index("trusted")
# NumPy makes the names in an array's interface anew each time it is asked for one. As long as
# somebody holds them, the interpreter finds them in its table of names; else that grows each time.
_INTERFACE_NAMES = tuple(np.empty(0).__array_interface__)


class Failed(Exception):  # noqa: N818 (an outcome, not an error of the user)
    """A kernel reported a bad index, or a value that is watched and not finite; nothing of that
    iteration was committed.

    Attributes:
        iteration: the number of the iteration, of a loop.
        values: what the written variables held then, for a diagnosis; None if they still do.
    """

    def __init__(self, iteration: int, values: list[Any] | None = None) -> None:
        super().__init__(iteration)
        self.iteration = iteration
        self.values = values


class _Arena:
    """The memory for temporaries, shared by all programs, which run one at a time.

    Attributes:
        lock: held while a program runs; by a loop, for a turn at a time.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._forking: set[int] = set()  # threads that wait for the lock in order to fork
        self._memory = np.empty(0, np.uint8)
        self.base = 0
        # Which program wrote variables last: the address of its header, 0 for none.
        self.writer = 0

    def require(self, size: int) -> None:
        """Grow to `size` bytes; programs notice by the epoch."""
        if size + ALIGNMENT > self._memory.size:
            self._memory = np.empty(max(size + ALIGNMENT, 2 * self._memory.size), np.uint8)
            self.base = -(-address_of(self._memory) // ALIGNMENT) * ALIGNMENT
            EPOCH.bump()

    def pause(self) -> None:
        """Between two turns of a loop, without the lock: others that wait for it can have it."""
        while self._forking:
            time.sleep(_SECONDS_TO_WAKE)
        if threading.active_count() > 1:
            time.sleep(_SECONDS_TO_WAKE)

    def before_fork(self) -> None:
        """Wait for the program that runs in another thread, of a loop for one turn: the child would
        find it half done."""
        me = threading.get_ident()
        self._forking.add(me)
        try:
            self.lock.acquire()
        finally:
            self._forking.discard(me)

    def after_fork_in_child(self) -> None:
        """There are no other threads."""
        self._forking.clear()
        self.lock.release()


ARENA = _Arena()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=ARENA.before_fork,
        after_in_parent=ARENA.lock.release,
        after_in_child=ARENA.after_fork_in_child,
    )


def address_of(array: Array) -> int:
    """The address of the first element."""
    return int(array.__array_interface__["data"][0])


def dense_array(array: Any, dtype: DType) -> Array:
    """`array` as kernels read it: row-major, aligned, of `dtype`; a copy only if it is not."""
    return array if _is_dense(array, dtype) else np.array(array, dtype, order="C")


def _is_dense(array: Any, dtype: DType) -> bool:
    return (
        type(array) is np.ndarray
        and array.dtype == dtype
        and array.dtype.isnative
        and array.flags.c_contiguous
        and array.flags.aligned
    )


class _Slices(NamedTuple):
    """What a loop goes through: arrays with one more axis in front; host scalars by number."""

    inputs: Sequence[Array]
    results: Sequence[Array]
    hosts: dict[int, Array]


class Program:
    """A compiled step.

    Attributes:
        variables: the captured variables, in the order of the graph.
        arguments, outputs: (shape, dtype) of each.
        inputs: for each argument the array into which a call copies it; None if the program takes
            or gives an array that is not copied.
        epoch: the epoch at which the addresses were right.
    """

    def __init__(
        self, layout: Layout, constants: Sequence[Array], variables: Sequence[Variable],
        host_functions: Sequence[Any], functions: dict[str, int], staging: Staging,
    ) -> None:  # fmt: skip
        self.variables = tuple(variables)
        self.written = tuple(layout.written)
        self.arguments = [(tuple(shape), as_dtype(name)) for shape, name in layout.arguments]
        self.outputs = [(tuple(shape), as_dtype(name)) for shape, name in layout.outputs]
        self.arena_size = layout.arena
        self.epoch = -1
        self._host_functions = tuple(host_functions)
        self._varying = [i for i, host in enumerate(host_functions) if host.varying]
        self._hosts = np.zeros(max(len(layout.hosts), 1), np.int64)
        self._host_views = [
            np.ndarray((), name, buffer=self._hosts, offset=8 * i)
            for i, name in enumerate(layout.hosts)
        ]
        self._constants = list(constants)
        self._held: list[Array] = []
        self._structure = -1
        self._looping = False
        self._bound = [staging.array("argument", i, *x) for i, x in enumerate(self.arguments)]
        self._results = [staging.array("output", i, *x) for i, x in enumerate(self.outputs)]
        # Programs without large arguments and results are called most often.
        self._small_results = [r for r in self._results if r is not None]
        self._is_small = all(x is not None for x in (*self._bound, *self._results))
        self.inputs = self._bound if self._is_small else [None] * len(self._bound)
        self._lay_out(layout, functions)

    # -- the table ------------------------------------------------------------------------

    def _lay_out(self, layout: Layout, functions: dict[str, int]) -> None:
        """Write the table, and note where the addresses are that can change."""
        places: dict[tuple[str, int], list[int]] = {}
        arena: list[tuple[int, int]] = []
        words: list[int] = []
        starts = []
        for _, slots, _, _ in layout.kernels:
            starts.append(len(words))
            for kind, number in slots:
                if kind == "arena":
                    arena.append((len(words), number))
                elif kind == FUNCTION:
                    kind, number = WORD, functions[layout.functions[number]]
                elif kind != WORD:
                    places.setdefault((kind, number), []).append(len(words))
                words.append(number if kind == WORD else 0)
        self._table = np.array([*words, 0], np.int64)
        base = address_of(self._table)
        rows: list[int] = []
        for (name, _, extent, grain), start in zip(layout.kernels, starts, strict=True):
            rows += [functions[name], base + 8 * start, extent, grain]
        self._entries = np.array([*rows, 0], np.int64)
        self._shared = layout.shared
        self._status = np.zeros(1, np.int64)
        self._arena_slots = np.array([at for at, _ in arena], np.int64)
        self._arena_offsets = np.array([offset for _, offset in arena], np.int64)
        self._places = places
        self._moves = np.zeros(2, np.int64)
        header = (address_of(self._entries), layout.computing, len(layout.kernels),
                  address_of(self._status), 0, 0, 0,
                  layout.guarding, 0, STEPS if layout.guarding else 1 << 62)  # fmt: skip
        self._header = np.array(header, np.int64)
        self._header_address = address_of(self._header)
        self._writer = self._header_address if self.written else 0
        self._run = _RUN(functions["run"])
        self._run_ready = _RUN_READY(functions["run"])
        self._once = (ctypes.c_void_p(self._header_address), ctypes.c_int64(1))
        self._work = functions["work"]
        self._set(STATUS, 0, address_of(self._status))
        for i, array in enumerate(self._constants):
            self._set("constant", i, address_of(array))
        self._point_at_own()

    def _set(self, kind: str, number: int, address: int) -> None:
        """Write an address into every slot of a place."""
        for at in self._places.get((kind, number), ()):
            self._table[at] = address

    def _point_at_own(self) -> None:
        """Let small arguments and results be where they are copied to and from."""
        for kind, arrays in (("argument", self._bound), ("output", self._results)):
            for i, array in enumerate(arrays):
                if array is not None:
                    self._set(kind, i, address_of(array))
        for i in range(len(self._host_views)):
            self._set("host", i, address_of(self._hosts) + 8 * i)
        self._header[4:6] = 0
        self._looping = False

    def _share(self, least: int) -> None:
        """Let the pool help with the next runs, if a run has work to share of `least` nanoseconds
        or more."""
        self._header[6] = POOL.address(self._work) if self._shared >= least else 0

    def refresh(self) -> None:
        """Bring addresses, host scalars and threads up to date; give what is written memory of
        its own."""
        ARENA.require(self.arena_size)
        self._share(_WORTH_WAKING)
        self._table[self._arena_slots] = ARENA.base + self._arena_offsets
        held = []
        for number, variable in enumerate(self.variables):
            array = variable.peek()
            dense = _is_dense(array, variable.dtype)
            if number in self.written and not (variable.private and dense):
                array = np.array(array, variable.dtype, order="C")
                variable.claim(array)
            elif not dense:
                array = np.array(array, variable.dtype, order="C")
            held.append(array)
            self._set("variable", number, address_of(array))
        self._held = held
        if self._structure != EPOCH.structure:
            for view, host in zip(self._host_views, self._host_functions, strict=True):
                view[...] = host.value()
            self._structure = EPOCH.structure
        self._header[_TRUSTED] = 0
        self.epoch = EPOCH.value

    # -- calls ----------------------------------------------------------------------------

    def call(self, inputs: Sequence[Any]) -> list[Array]:
        """Run once. Raises `Failed` if a kernel reported something; then nothing has changed."""
        with ARENA.lock:
            self._prepare()
            return self._run_on(inputs)

    def call_like(self, args: Sequence[Any], kinds: Sequence[Any]) -> list[Array] | None:
        """Run once on arrays and tensors, if they are of the types, dtypes and shapes in `kinds`,
        where a place of `inputs` goes with each; else None. Raises as `call`."""
        with ARENA.lock:
            if (  # most calls need nothing of it
                self.epoch != EPOCH.value or self._looping or self._varying
                or (self._writer and ARENA.writer != self._writer)
            ):  # fmt: skip
                self._prepare()
            arrays = []
            for x, (kind, dtype, shape, place) in zip(args, kinds):  # noqa: B905 (strict is slower)
                if type(x) is not kind:
                    return None
                data = x.data if kind is Tensor else x
                if data.dtype is not dtype or data.shape != shape:
                    return None
                if place is None:
                    arrays.append(data)
                else:
                    place[...] = data
            if not self._is_small:
                return self._run_on(arrays)
            if not self._run_ready(*self._once):
                raise Failed(0)
            return [*map(_COPY, self._small_results)]

    def _prepare(self) -> None:
        """See that a call finds all that it reads besides its arguments."""
        if self.epoch != EPOCH.value:
            self.refresh()
        if self._looping:
            self._point_at_own()
            self._share(_WORTH_WAKING)
        for i in self._varying:
            self._host_views[i][...] = self._host_functions[i].value()
        if self._writer and ARENA.writer != self._writer:
            self._take_over()

    def _take_over(self) -> None:
        """Be the one that wrote variables last; somebody else did before."""
        ARENA.writer = self._writer
        self._header[_TRUSTED] = 0

    def _run_on(self, inputs: Sequence[Any]) -> list[Array]:
        """Run once, copying small arguments and results, and passing large ones by address."""
        keep = []
        for i, array in enumerate(inputs):
            bound = self._bound[i]
            if bound is not None:
                bound[...] = array
            else:
                dense = dense_array(array, self.arguments[i][1])
                keep.append(dense)
                self._set("argument", i, address_of(dense))
        results: list[Array] = []
        for i, own in enumerate(self._results):
            result = empty(*self.outputs[i]) if own is None else own
            if own is None:
                self._set("output", i, address_of(result))
            results.append(result)
        if not self._run_ready(*self._once):
            raise Failed(0)
        pairs = zip(results, self._results, strict=True)
        return [result if own is None else result.copy() for result, own in pairs]

    def loop(self, stacked: Sequence[Any], times: int) -> list[Array]:
        """Run `times` times, on the leading slices of `stacked`.

        Raises `Failed` with the number of the iteration whose index was bad; all variables then
        have the values from before the loop, and that iteration's inputs can be run again op by
        op.
        """
        inputs = [
            dense_array(x, dtype) for x, (_, dtype) in zip(stacked, self.arguments, strict=True)
        ]
        results = [empty((times, *shape), dtype) for shape, dtype in self.outputs]
        with ARENA.lock:
            if self.epoch != EPOCH.value:
                self.refresh()
            before = [self._held[n].copy() for n in self.written]
            slices = _Slices(inputs, results, self._hosts_ahead(times))
            self._point_at_slices(slices)
        done, turn = 0, 1
        # In turns of some milliseconds: Ctrl-C is seen in between, and other threads can run
        # programs, change variables and fork.
        while done < times:
            turn = min(turn, times - done)
            with ARENA.lock:
                ran, spent = self._run_turn(slices, done, turn)
                done += ran
                if not ran:  # of fewer than asked for, the next one is tried again
                    raise self._failed_in_loop(done, before)
            turn = max(1, min(4 * turn, int(turn * _SECONDS_PER_TURN / max(spent, 1e-9))))
            if done < times:
                ARENA.pause()
        return results

    def _run_turn(self, slices: _Slices, done: int, turn: int) -> tuple[int, float]:
        """How many of the next `turn` iterations ran, and the seconds."""
        if self.epoch != EPOCH.value or not self._looping:
            self.refresh()
            self._point_at_slices(slices, done)
        if self._writer:
            self._take_over()
        start = time.perf_counter()
        ran: int = self._run(self._header_address, turn)
        return ran, time.perf_counter() - start

    def _hosts_ahead(self, times: int) -> dict[int, Array]:
        """The values of the varying host scalars in each iteration of a loop."""
        ahead = {}
        for i in self._varying:
            host = self._host_functions[i]
            row = np.empty(times, self._host_views[i].dtype)
            row[:] = [host.value(k) for k in range(times)]
            ahead[i] = row
        return ahead

    def _point_at_slices(self, slices: _Slices, first: int = 0) -> None:
        """Let the driver step through `slices`, one an iteration, from the `first` on; and threads
        share the work."""
        moves = []
        base = address_of(self._table)
        rows = {
            "argument": enumerate(slices.inputs),
            "output": enumerate(slices.results),
            "host": slices.hosts.items(),
        }
        for kind, arrays in rows.items():
            for i, array in arrays:
                step = array.nbytes // max(array.shape[0], 1)
                self._set(kind, i, address_of(array) + first * step)
                slots = self._places.get((kind, i), [])
                moves += [(base + 8 * at, step) for at in slots]
        self._moves = np.array(moves or [(0, 0)], np.int64)
        self._header[4:6] = address_of(self._moves), len(moves)
        self._looping = True
        self._share(1)

    def _failed_in_loop(self, done: int, before: Sequence[Array]) -> Failed:
        """The failure, with the values at its iteration kept for the diagnosis, and the loop
        undone."""
        arrays = [self._held[n] for n in self.written]
        failure = Failed(done, [array.copy() for array in arrays])
        for array, old in zip(arrays, before, strict=True):
            array[...] = old
        self._header[_TRUSTED] = 0
        return failure
