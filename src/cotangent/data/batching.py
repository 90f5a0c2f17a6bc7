"""Batches of arrays in memory, shuffled by a keyed permutation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..ops.random import threefry
from ..tensors import Tensor
from ..tree import LEAF, flatten, unflatten

Array = np.ndarray[Any, Any]

_WORD = 2**32
_STREAM = 0x53485546  # keeps shuffles apart from the draws of a generator of the same seed
_GOLDEN = 0x9E3779B97F4A7C15
_TOP = 0xFFFFFFFF00000000
_MOST_BYTES = 32 << 20


def shuffled(n: int, seed: int = 0, epoch: int = 0) -> Array:
    """The integers below `n` in an order that depends on (n, seed, epoch) only, as int64.

    Row i is sorted by word i of a SplitMix64 generator that begins at a word for (seed, epoch).
    There is no state: any epoch can be had at any time, which makes training resumable.

    Args:
        n: how many, below 2**32.
        seed: from 0 up to ``2**64 - 1``.
        epoch: from 0 up to ``2**32 - 1``.

    Raises:
        ArgumentError: if one is out of its range.

    Source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014.

    >>> shuffled(5, seed=1).tolist() == shuffled(5, seed=1).tolist()
    True
    """
    _check_range("shuffled", "n", n, _WORD)
    _check_range("shuffled", "seed", seed, _WORD * _WORD)
    _check_range("shuffled", "epoch", epoch, _WORD)
    return shuffles(n, seed, epoch, 1)[0]


def shuffles(n: int, seed: int, epoch: int, count: int) -> Array:
    """What `shuffled` gives for `count` epochs from `epoch` on, as the rows of one array.

    Many small ones are made in less time together.

    >>> bool((shuffles(5, 1, 3, 2)[1] == shuffled(5, 1, 4)).all())
    True
    """
    epochs = epoch if count == 1 else np.arange(epoch, epoch + count, dtype=np.uint64)
    start = np.asarray(_words_of(seed, epochs), np.uint64).reshape(-1, 1)
    rows = np.arange(n, dtype=np.uint64)
    z = rows * np.uint64(_GOLDEN) + (start + np.uint64(_GOLDEN))
    shifted = z >> np.uint64(30)
    z ^= shifted
    z *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(z, np.uint64(27), out=shifted)
    z ^= shifted
    z *= np.uint64(0x94D049BB133111EB)
    # With the row's own number in the lower half all words differ, so that every way of
    # sorting gives the same order.
    z &= np.uint64(_TOP)
    z |= rows
    z.sort(axis=1)
    z &= np.uint64(_WORD - 1)
    return z.view(np.int64)


def _words_of(seed: int, epochs: Any) -> Any:
    """64 random bits for (seed, epoch), by the generator of `random`.

    Args:
        epochs: one number, which takes much less time than an array of one; or uint64 numbers.
    """
    low = _WORD - 1
    words = threefry(
        (seed % _WORD, seed // _WORD), (epochs, _STREAM),
        lambda a, b: (a + b) & low, lambda a, b: a ^ b,
        lambda x, amount: (x << amount | x >> 32 - amount) & low,
    )  # fmt: skip
    return words[0] << 32 | words[1]


class Batches:
    """What `batches` returns: iterate over it, any number of times; ``len`` is what it yields."""

    def __init__(
        self, arrays: Any, batch_size: int, shuffle: bool, seed: int, epoch: int, start: int,
        drop_last: bool,
    ) -> None:  # fmt: skip
        leaves, self._structure = flatten(arrays)
        self._arrays = [_as_array(leaf) for leaf in leaves]
        if not self._arrays:
            raise ArgumentError("batches: there are no arrays")
        self.rows = _common_rows(self._arrays)
        if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
            raise ArgumentError(f"batches: batch_size must be a positive integer: {batch_size!r}")
        self.batch_size = int(batch_size)
        self.shuffle = bool(shuffle)
        self.seed = seed
        self.epoch = epoch
        full, part = divmod(self.rows, self.batch_size)
        self.count = full + (1 if part and not drop_last else 0)
        if not 0 <= start <= self.count:
            raise ArgumentError(
                f"batches: start must lie between 0 and {self.count}, the number of batches of "
                f"{self.batch_size} in {self.rows} rows; got {start}"
            )
        self.start = int(start)

    def __len__(self) -> int:
        return self.count - self.start

    def __iter__(self) -> Iterator[Any]:
        order = shuffled(self.rows, self.seed, self.epoch) if self.shuffle else None
        size = self.batch_size
        # Rows are gathered many batches at a time, and batches are slices of that.
        step = size * self._batches_at_once()
        end = min(self.rows, self.count * size)
        for first in range(self.start * size, end, step):
            last = min(first + step, end)
            block = [
                array[first:last] if order is None else array.take(order[first:last], axis=0)
                for array in self._arrays
            ]
            starts = range(0, last - first, size)
            if self._structure == LEAF:
                yield from (block[0][at : at + size] for at in starts)
                continue
            for at in starts:
                yield unflatten(self._structure, iter([part[at : at + size] for part in block]))

    def _batches_at_once(self) -> int:
        row = sum(array.nbytes for array in self._arrays) // max(self.rows, 1)
        return max(1, _MOST_BYTES // max(row * self.batch_size, 1))


def batches(
    arrays: Any,
    batch_size: int,
    shuffle: bool = True,
    *,
    seed: int = 0,
    epoch: int = 0,
    start: int = 0,
    drop_last: bool = False,
) -> Batches:
    """The batches of one epoch of arrays in memory.

    The order is a function of (seed, epoch), so the pair (epoch, number of the batch) is all that
    has to be saved: ``batches(..., epoch=3, start=17)`` goes on where an interrupted run was.

    Args:
        arrays: an array or tensor, or a tuple, list or dict of them, of equal first axes.
        batch_size: rows in a batch; the last batch may have fewer.
        shuffle: False keeps the order of the rows.
        seed: from 0 up to ``2**64 - 1``.
        epoch: give a number that grows, or each epoch has the same order.
        start: how many batches to leave out at the beginning.
        drop_last: leave out a last batch that is not full, so that all have one shape.

    Returns:
        `Batches`: has a length and yields what `arrays` is, with NumPy arrays of `batch_size`
        rows in the place of the arrays.

    Raises:
        ShapeError: if the first axes differ, or there is none.
        ArgumentError: for a `batch_size` that is not positive, or a `start` past the end.

    >>> x, y = np.arange(5) * 10, np.arange(5)
    >>> for xs, ys in batches((x, y), 2, shuffle=False):
    ...     print(xs, ys)
    [ 0 10] [0 1]
    [20 30] [2 3]
    [40] [4]
    """
    _check_range("batches", "seed", seed, _WORD * _WORD)
    _check_range("batches", "epoch", epoch, _WORD)
    return Batches(arrays, batch_size, shuffle, seed, epoch, start, drop_last)


def _as_array(leaf: Any) -> Array:
    if isinstance(leaf, Tensor):
        return leaf.numpy()
    if not isinstance(leaf, np.ndarray):
        raise ArgumentTypeError(
            f"batches takes arrays, tensors, and tuples, lists and dicts of them, not "
            f"{type(leaf).__name__}; convert it with np.asarray"
        )
    return leaf


def _common_rows(arrays: list[Array]) -> int:
    shapes = [array.shape for array in arrays]
    if any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        raise ShapeError(
            "batches: arrays of shapes " + ", ".join(map(str, shapes)) + " must have equal first "
            "axes: one row a sample"
        )
    return int(shapes[0][0])


def _check_range(what: str, name: str, value: Any, below: int) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ArgumentTypeError(f"{what}: {name} must be an integer, not {value!r}")
    if not 0 <= value < below:
        raise ArgumentError(f"{what}: {name} must lie in [0, {below}), got {value}")
