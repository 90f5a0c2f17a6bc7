"""The products in NumPy, which calls OpenBLAS with the kernels that it picks for the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
from functions import Function, inputs


class Prepared:
    """The arrays of a product."""

    def __init__(self, function: Function) -> None:
        self.a, self.b = inputs(function)
        self.repeats = function.repeats

    def call(self) -> np.ndarray:
        """``a @ (... @ (a @ b))``."""
        b = self.b
        for _ in range(self.repeats):
            b = self.a @ b
        return b

    @staticmethod
    def wait(result: Any) -> None:
        """A result is there when the call returns."""

    @staticmethod
    def arrays(result: np.ndarray) -> list[np.ndarray]:
        """The result."""
        return [result]
