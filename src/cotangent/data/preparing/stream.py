"""Batches of a table that does not fit into memory, read and prepared ahead of the step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...checks import whole
from ..ahead import read_ahead
from ..batching import shuffled
from ..frame import Source
from ..sources import ROWS
from .preparation import Preparation

Array = np.ndarray[Any, Any]
Batch = tuple[Array, Array]


class TableStream:
    """The rows of a table in a file as batches ``(x, y)``, for `ct.train.fit`.

    A thread reads the file by chunks and prepares them, up to two chunks ahead. Rows are shuffled
    within their chunk, in an order that depends on seed, epoch and chunk only; a file that is
    sorted by its target wants larger chunks, or shuffling once on disk. The last batch of an epoch
    may be smaller; rows without a known target are left out.

    Args:
        source: from `open_table`.
        preparation: what was learnt about the columns.
        batch_size: rows in a batch.
        shuffle: False keeps the order of the file.
        seed: of the orders.
        rows: in a chunk.

    Raises:
        FileError: while it is gone through, if the file turns out to be damaged; it names file
            and row.

    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "t.csv")
    >>> with open(path, "w") as file:
    ...     _ = file.write("x,y\\n" + "".join(f"{i},{i}.5\\n" for i in range(7)))
    >>> table = ct.data.open_table(path)
    >>> learnt = Preparation.learn(ct.data.read_frame(table), "y")
    >>> [len(y) for x, y in TableStream(table, learnt, batch_size=3, rows=4)]
    [3, 3, 1]
    """

    def __init__(
        self, source: Source, preparation: Preparation, batch_size: int, *, shuffle: bool = True,
        seed: int = 0, rows: int = ROWS,
    ) -> None:  # fmt: skip
        whole("TableStream", "batch_size", batch_size, 1)
        whole("TableStream", "rows", rows, 1)
        whole("TableStream", "seed", seed, 0)
        self.source = source
        self.preparation = preparation
        self.batch_size = int(batch_size)
        self.shuffle = bool(shuffle)
        self.seed = int(seed)
        self.rows = int(rows)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch from now on; `fit` calls it."""
        self.epoch = int(epoch)

    def __iter__(self) -> Iterator[Batch]:
        size = self.batch_size
        x, y = None, None
        for more_x, more_y in read_ahead(self._chunks(self.epoch)):
            x = more_x if x is None else np.concatenate([x, more_x])
            y = more_y if y is None else np.concatenate([y, more_y])
            full = len(x) // size * size
            for at in range(0, full, size):
                yield x[at : at + size], y[at : at + size]
            x, y = x[full:], y[full:]
        if x is not None and y is not None and len(x):
            yield x, y

    def _chunks(self, epoch: int) -> Iterator[Batch]:
        """Prepared rows; the thread runs this."""
        for number, frame in enumerate(self.source.chunks(self.rows)):
            prepared = self.preparation.apply(frame)
            order = np.arange(len(frame))
            if self.shuffle:
                order = shuffled(len(frame), (self.seed << 20) + number, epoch)
            order = order[prepared.known[order]]
            yield prepared.x[order], np.asarray(prepared.y)[order]
