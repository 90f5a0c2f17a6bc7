"""What is trained: sizes, data and first weights, made by NumPy from a seed, alike for all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Workload:
    """One training step of a dense network, with Adam (rate 0.01, PyTorch's other defaults).

    Attributes:
        name: what the table calls it.
        mode: ``eager``, ``compiled`` (called from Python for each step) or ``loop`` (all steps
            in one call).
        sizes: widths from the input to the output.
        activation: ``relu`` or ``tanh``, between layers.
        loss: ``mse`` or ``cross_entropy``.
        batch: examples in a step.
        batches: how many different batches there are; a ``loop`` runs that many steps.
        peers: which other contenders have this mode.
    """

    name: str
    mode: str
    sizes: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    batches: int
    peers: tuple[str, ...]


XOR = {"sizes": (2, 8, 1), "activation": "relu", "loss": "mse", "batch": 1}
MLP = {"sizes": (784, 256, 128, 10), "activation": "relu", "loss": "cross_entropy", "batch": 128}

WORKLOADS = {
    w.name: w
    for w in (
        Workload("xor_eager", "eager", **XOR, batches=4, peers=("torch",)),
        Workload("xor", "compiled", **XOR, batches=4, peers=("jax",)),
        Workload("xor_loop", "loop", **XOR, batches=10_000, peers=("jax",)),
        Workload("small", "compiled", (8, 64, 64, 1), "tanh", "mse", 32, 8, ("torch", "jax")),
        Workload("tabular_loop", "loop", (32, 64, 64, 1), "relu", "mse", 64, 1000, ("jax",)),
        Workload("mlp", "compiled", **MLP, batches=8, peers=("torch", "jax")),
    )
}


def first_weights(work: Workload) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kaiming-uniform weights [out, in] and zero biases [out], one pair a layer."""
    rng = np.random.default_rng(0)
    layers = []
    for inputs, outputs in pairwise(work.sizes):
        bound = np.sqrt(6 / inputs)
        weight = rng.uniform(-bound, bound, (outputs, inputs)).astype(np.float32)
        layers.append((weight, np.zeros(outputs, np.float32)))
    return layers


def data(work: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [batches, batch, in] and targets, stacked by batch."""
    rng = np.random.default_rng(1)
    if work.sizes == XOR["sizes"]:
        corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        order = np.arange(work.batches) % 4
        xs = corners[order][:, None, :]
        return xs, (xs.sum(axis=2, keepdims=True) == 1).astype(np.float32)
    xs = rng.standard_normal((work.batches, work.batch, work.sizes[0])).astype(np.float32)
    if work.loss == "cross_entropy":
        return xs, rng.integers(0, work.sizes[-1], (work.batches, work.batch))
    return xs, np.sin(xs.sum(axis=2, keepdims=True)).astype(np.float32)
