"""Chunks: how the work of a kernel is cut, for threads to share.

The cut depends on shapes and dtypes only, never on how many threads there are, so results do not
either. Times are rough: those of one core of a server, with data in its caches.
"""

from __future__ import annotations

from collections.abc import Sequence

# Below this, waking a thread costs more than it saves.
_WORTH_SPLITTING = 30_000.0
# A chunk: short enough that threads end together, long enough that claiming it costs nothing.
_NANOSECONDS_PER_CHUNK = 10_000.0
_FEWEST_CHUNKS, _MOST_CHUNKS = 8, 256
MANY_STEPS = 32
# One core's time for a multiplication and addition, by the bytes of an element.
NANOSECONDS_PER_FLOP_AND_BYTE = 0.0025
NANOSECONDS_PER_BYTE = 0.03
# For each line of text that computes a vector.
NANOSECONDS_PER_LINE = 0.25

# Copies and the like are split from this number of elements on.
_MANY_ELEMENTS = 1 << 16


def is_many(elements: int) -> bool:
    """Whether a kernel over so many elements may be worth another form that can be split."""
    return elements >= _MANY_ELEMENTS


def axis_to_split(units: Sequence[int]) -> int:
    """Which of several nested loops to split: the outermost one with many steps, else the longest.

    >>> axis_to_split([3, 100, 200]), axis_to_split([3, 8, 4])
    (1, 1)
    """
    many = [axis for axis, count in enumerate(units) if count >= MANY_STEPS]
    return many[0] if many else max(range(len(units)), key=lambda axis: units[axis])


def grain_for(extent: int, nanoseconds: float) -> int:
    """How many units of work make a chunk; `extent` if one thread is to do it all.

    Args:
        extent: the number of units.
        nanoseconds: how long one thread takes for all of them.

    >>> grain_for(1000, 20_000.0), grain_for(1000, 1_000_000.0), grain_for(3, 1_000_000.0)
    (1000, 10, 1)
    """
    if nanoseconds < _WORTH_SPLITTING:
        return extent
    wanted = min(max(int(nanoseconds / _NANOSECONDS_PER_CHUNK), _FEWEST_CHUNKS), _MOST_CHUNKS)
    return -(-extent // min(wanted, extent))
