"""Which products are packed."""

from __future__ import annotations

# Smaller products are done without packing.
_LEAST_ROWS, _LEAST_COLUMNS, _LEAST_DEPTH = 32, 32, 48


def pays(m: int, n: int, k: int) -> bool:
    """Whether copying the sides of a product costs less than it saves.

    >>> pays(128, 256, 784), pays(128, 10, 256)
    (True, False)
    """
    return m >= _LEAST_ROWS and n >= _LEAST_COLUMNS and k >= _LEAST_DEPTH
