"""Memory for large results, used again when the array that held it is gone.

The first touch of fresh memory costs a page fault for every 4 KB, which takes longer than most
kernels take to fill it. So blocks come back to a pool when the last array on them dies, whoever
held it, and go out again for a result of about the same size.
"""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_ALIGNMENT = 64
# Processors compare the last 12 bits of addresses to find out whether a load must wait for a
# store. So rows that are gone through together should not begin at equal places of a page.
STAGGER = 320
_PLACES = 12
# Below this the allocator of the C library reuses memory by itself.
LEAST = 128 << 10
# Bytes that may lie idle; what comes back beyond that is freed.
_MOST_IDLE = 256 << 20


class _Block(np.ndarray):
    """Memory that owns itself. Of a class of its own, since NumPy shortens chains of views, and an
    array on a `_Lease` must not skip the lease.

    Attributes:
        start: the byte from which on it is aligned.
    """

    start: int


class _Lease(np.ndarray):
    """A view of a block that lives as long as any array on it."""

    def __del__(self) -> None:
        block = self.base
        if type(self) is _Lease and type(block) is _Block:
            _give_back(block)


_IDLE: dict[int, list[_Block]] = {}
_SPARE = _ALIGNMENT + STAGGER * _PLACES
_NUMBERS = itertools.count()
_LOCK = threading.RLock()  # a collection inside of `empty` may run `__del__`
_idle_bytes = 0


def size_class(size: int) -> int:
    """`size` rounded up by at most an eighth, so that blocks of nearly equal size are shared.

    >>> size_class(1 << 20), size_class((1 << 20) + 1)
    (1048576, 1179648)
    """
    step = max((1 << (size - 1).bit_length()) >> 4, _ALIGNMENT)
    return -(-size // step) * step


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """A new array without values, as ``np.empty``; large ones are aligned to 64 bytes."""
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST:
        return np.empty(shape, dtype)
    wanted = size_class(size)
    block = _take(wanted)
    if block is None:
        block = _Block((wanted + _SPARE,), np.uint8)
        place = STAGGER * (next(_NUMBERS) % _PLACES)
        block.start = -block.ctypes.data % _ALIGNMENT + place
    return _Lease(shape, dtype, block, block.start).view(np.ndarray)


def _take(size: int) -> _Block | None:
    global _idle_bytes
    with _LOCK:
        found = _IDLE.get(size)
        if not found:
            return None
        _idle_bytes -= size
        return found.pop()


def _give_back(block: _Block) -> None:
    global _idle_bytes
    size = block.nbytes - _SPARE
    with _LOCK:
        if _idle_bytes + size <= _MOST_IDLE:
            _idle_bytes += size
            _IDLE.setdefault(size, []).append(block)
