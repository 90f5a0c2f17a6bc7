"""The pool: native threads that help with big kernels.

The threads are made by the system's ``pthread_create`` and run only machine code of ours (see
`compiler/codegen/driver.py`), so Python knows nothing of them. Between regions they wait for a
few microseconds and then sleep on a futex. What they share is a block of memory private to the
process: a child after ``fork`` has no threads, and makes its own pool when it first needs one.

The memory is never given back, since a thread may look into it until the process is gone.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import warnings

from ..config import EPOCH
from ..errors import CompileError
from .loader import address_of_region, keep_for_ever
from .threads import get_num_threads

# Byte offsets in the shared memory. What different threads write lies in cache lines apart.
LEFT = 0  # i64: chunks that nobody has claimed yet; less than 1 if there are none
TURN = 128  # i32: the futex; a new value means that there may be work
SLEEPERS = 132  # i32: how many threads sleep, or are about to
FINISHED = 256  # i64: chunks that threads of the pool have finished
JOB = 384  # five i64: kernel, its slots, extent, grain, number of chunks
STOP = 448  # i32: not 0 if the threads are to leave
SYSCALL = 456  # the address of the C library's `syscall`
CLOCK = 464  # and that of `clock_gettime`
CAUTION = 472  # i64: after a loss, how many times as long the caller works alone
ALONE = 480  # i64: until when, in nanoseconds of the monotonic clock
CREDIT = 488  # i64: nanoseconds that sharing has gained and not lost again
STARTED = 496  # i32: how many threads have begun; every second one is of the lower side
LOWER = 512  # i64: how many chunks those of the lower side have claimed, the caller among them
UPPER = 640  # i64: and those of the upper one
SIZE = 4096

# So what sharing loses, where other processes have the cores, is a twentieth at most.
_CAUTION = 20

FUTEX = {"x86_64": 202, "aarch64": 98}  # the number of the system call
WAIT, WAKE = 128, 129  # FUTEX_WAIT and FUTEX_WAKE, with FUTEX_PRIVATE_FLAG


class Pool:
    """The threads of this process; there is one, `POOL`. Whoever uses it holds the lock under
    which programs run.

    Attributes:
        threads: how many there are, without the caller.
    """

    def __init__(self) -> None:
        self.threads: list[ctypes.c_ulong] = []
        self._wanted = 0
        self._base = 0

    def address(self, work: int) -> int:
        """The address of the shared memory, with threads ready; 0 if one thread is to do it all.

        Args:
            work: the address of the function that a thread runs.
        """
        wanted = get_num_threads() - 1
        if wanted != self._wanted:
            self._stop()
            self._start(wanted, work)
        return self._base if self.threads else 0

    def forget(self) -> None:
        """In a child after a fork: the threads are those of the parent."""
        self.threads, self._wanted, self._base = [], 0, 0
        EPOCH.bump()

    def _start(self, wanted: int, work: int) -> None:
        library = _library()
        if not self._base:
            self._base = _private_memory()
        for place, function in ((SYSCALL, library.syscall), (CLOCK, library.clock_gettime)):
            address = ctypes.cast(function, ctypes.c_void_p).value
            ctypes.c_uint64.from_address(self._base + place).value = address or 0
        ctypes.c_int64.from_address(self._base + CAUTION).value = _CAUTION
        ctypes.c_int64.from_address(self._base + ALONE).value = 0
        ctypes.c_int64.from_address(self._base + CREDIT).value = 0
        ctypes.c_int32.from_address(self._base + STARTED).value = 0
        self._wanted = wanted
        # A thread has the signal mask of its creator: signals are for Python's own threads.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            for _ in range(wanted):
                name = ctypes.c_ulong()
                failed = library.pthread_create(
                    ctypes.byref(name), None, ctypes.c_void_p(work), ctypes.c_void_p(self._base)
                )
                if failed:
                    break
                self.threads.append(name)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if len(self.threads) < wanted:
            warnings.warn(
                f"the system gives {len(self.threads)} of {wanted} more threads "
                f"({os.strerror(failed)}); compiled code runs on these",
                RuntimeWarning, stacklevel=2,
            )  # fmt: skip

    def _stop(self) -> None:
        """Let the threads leave, and wait until they have."""
        if not self.threads:
            return
        library = _library()
        stop = ctypes.c_int32.from_address(self._base + STOP)
        turn = ctypes.c_uint32.from_address(self._base + TURN)
        stop.value = 1
        turn.value += 1  # nobody else writes it outside of a region
        library.syscall(
            ctypes.c_long(FUTEX[os.uname().machine]), ctypes.byref(turn), ctypes.c_long(WAKE),
            ctypes.c_long(2**31 - 1),
        )  # fmt: skip
        while self.threads:
            library.pthread_join(self.threads.pop(), None)
        stop.value = 0


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _private_memory() -> int:
    """A block that a child does not share with its parent, as long as the process lives."""
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    region = mmap.mmap(-1, SIZE, flags=private)
    keep_for_ever(region)
    address = address_of_region(region)
    if address % 64:
        raise CompileError("the pool's memory is not aligned")
    return address


POOL = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)
