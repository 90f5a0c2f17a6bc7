"""Memory through which small arguments and results pass.

A call copies them there and away again, and programs run one at a time: so all programs of one
function share it. Were it each program's own, every new batch size would keep as much as it needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DType
from ..shapes import Shape

Array = np.ndarray[Any, Any]

# Arguments and results up to this size are copied; for larger ones their address is passed.
SMALL = 16384


class Staging:
    """Blocks, each for one argument or result of a function."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, int], Array] = {}

    def array(self, kind: str, number: int, shape: Shape, dtype: DType) -> Array | None:
        """The memory for an argument or result; None if it is large.

        Args:
            kind: "argument" or "output".
            number: which one.
        """
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size > SMALL:
            return None
        block = self._blocks.get((kind, number))
        if block is None or block.size < size:
            # A power of two, so that few are made as sizes grow.
            block = np.empty(1 << max(size - 1, 63).bit_length(), np.uint8)
            self._blocks[kind, number] = block
        return block[:size].view(dtype).reshape(shape)
