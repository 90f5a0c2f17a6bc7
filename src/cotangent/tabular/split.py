"""Which rows of a table are held out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data import shuffled

Array = np.ndarray[Any, Any]

_EPOCH = 2**32 - 1  # an epoch that no run gets to, so the split is no prefix of an epoch's order


def held_out(groups: Array | None, rows: int, fraction: float, seed: int) -> Array:
    """A mask of the rows to hold out: this share of the rows, of each group if there are any.

    Args:
        groups: the number of each row's class, ``[rows]``, or None. A group of one row keeps it.
        rows: how many there are.
        fraction: in [0, 1).
        seed: which rows.

    >>> int(held_out(np.array([0, 0, 0, 0, 1, 1]), 6, 0.5, seed=0).sum())
    3
    """
    order = shuffled(rows, seed, _EPOCH)
    mask = np.zeros(rows, bool)
    parts = [order] if groups is None else [
        order[groups[order] == group] for group in np.unique(groups)
    ]  # fmt: skip
    for part in parts:
        mask[part[: min(round(len(part) * fraction), len(part) - 1)]] = True
    return mask
