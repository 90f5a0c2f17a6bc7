"""What is computed from arrays, without training: names, arrays and bounds, alike for all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Function:
    """A function of arrays; contenders state what it is under `body`.

    Attributes:
        name: what the table calls it.
        body: which function: ``chain``, ``softmax``, ``layer_norm``, ``infer`` or ``matmul``.
        shapes: of the arrays that it is called with.
        dtype: of the arrays.
        peers: the other contenders.
        must: the bound on our time over that of the best peer.
        fan_in: all arrays are drawn with variance 1, or with 1 / fan_in where it is given.
        repeats: how often a product is repeated inside one call, so that in a small one the
            cost of the call does not hide the rest.
    """

    name: str
    body: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    peers: tuple[str, ...]
    must: float
    fan_in: int = 1
    repeats: int = 1

    @property
    def tolerance(self) -> float:
        """How far results may differ, relative to their size."""
        return 1e-4 if self.dtype == "float32" else 1e-10


FRAMEWORKS = ("torch", "torch_compile", "jax")
MULTIPLIERS = ("torch", "jax", "numpy", "numpy_skylakex")
SIDES = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
ROWS = (4096, 1024)
INFER = (64, 64, 64, 8)  # widths, relu between them, one example

FUNCTIONS = {
    f.name: f
    for f in (
        Function("chain", "chain", ((16_000_000,),), "float32", FRAMEWORKS, 0.6),
        Function("softmax", "softmax", (ROWS, ROWS), "float32", FRAMEWORKS, 0.6),
        Function(
            "layer_norm", "layer_norm", (ROWS, ROWS[1:], ROWS[1:], ROWS), "float32", FRAMEWORKS, 0.6
        ),
        Function("infer", "infer", ((1, 64),), "float32", ("jax",), 0.35),
    )
}


def _matmul(side: int, dtype: str) -> Function:
    square, repeats = (side, side), max(1, (512 // side) ** 2)
    name = f"matmul {side} {dtype}"
    return Function(name, "matmul", (square, square), dtype, MULTIPLIERS, 1.25, side, repeats)


MATMULS = {f.name: f for f in (_matmul(n, d) for d in ("float32", "float64") for n in SIDES)}


def inputs(function: Function) -> list[np.ndarray]:
    """The arrays that the function is called with."""
    rng = np.random.default_rng(1)
    scale = np.float64(1 / function.fan_in) ** 0.5
    arrays = [rng.standard_normal(shape, function.dtype) for shape in function.shapes]
    return [array * array.dtype.type(scale) for array in arrays]


def layers() -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights [out, in] and biases [out] of the network of ``infer``, one pair a layer."""
    rng = np.random.default_rng(0)
    return [
        (
            (rng.standard_normal((outputs, inputs)) / inputs**0.5).astype(np.float32),
            rng.standard_normal(outputs).astype(np.float32),
        )
        for inputs, outputs in pairwise(INFER)
    ]
