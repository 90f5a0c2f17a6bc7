"""How a product is cut: register tiles, and blocks that caches hold."""

from __future__ import annotations

from typing import NamedTuple

# The strip of A in the first-level cache: half of that if the whole depth fits, else less, so that
# more columns fit into the block of B in the second-level cache.
_MOST_BYTES_OF_A, _BYTES_OF_A = 16 << 10, 12 << 10
BYTES_OF_B = 768 << 10
# Columns are cut into so many blocks at least, as the halves of a region are worked on by different
# cores (see driver.py): each of them then packs most of what it reads.
_LEAST_ACROSS = 2
# Elements of a column of A in its strip, where columns lie densely; a tile has no more rows.
COLUMN = 8
# Smaller products are done without packing.
_LEAST_ROWS, _LEAST_COLUMNS, _LEAST_DEPTH = 32, 32, 48


class Tile(NamedTuple):
    """The largest tile.

    Attributes:
        rows: of C.
        vectors: of columns.
        folded: of how many rows the element of A is read by each multiplication, and not by an
            instruction before them: fewer instructions, and more reading.
    """

    rows: int
    vectors: int
    folded: int = 0


class Block(NamedTuple):
    """Sizes of the blocks: `depth` of both sides, `strips` of B side by side."""

    depth: int
    strips: int


def pays(m: int, n: int, k: int) -> bool:
    """Whether copying the sides of a product costs less than it saves.

    >>> pays(128, 256, 784), pays(128, 10, 256)
    (True, False)
    """
    return m >= _LEAST_ROWS and n >= _LEAST_COLUMNS and k >= _LEAST_DEPTH


def blocks(k: int, n: int, width: int, size: int) -> Block:
    """The blocks for a product of depth `k` and `n` columns, by a tile of `width` columns of `size`
    bytes: as large as caches allow, and of nearly equal size; of several strips of B, two blocks at
    least.

    >>> blocks(512, 512, 48, 4), blocks(2048, 2048, 48, 4)
    (Block(depth=512, strips=6), Block(depth=342, strips=11))
    """
    usual = _BYTES_OF_A // (COLUMN * size)
    depth = k if k <= deepest(size) else -(-k // -(-k // usual))
    most = max(BYTES_OF_B // (depth * size * width), 1)
    strips = -(-n // width)
    if strips > _LEAST_ACROSS:  # one strip alone is not worth packing A for
        most = min(most, -(-strips // _LEAST_ACROSS))
    return Block(depth, -(-strips // -(-strips // most)))


def deepest(size: int) -> int:
    """The largest depth of a block."""
    return _MOST_BYTES_OF_A // (COLUMN * size)
