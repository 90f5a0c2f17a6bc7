"""The network for tables: vectors for the categories, then layers of units with dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..functional import astype
from ..nn import Dropout, Embedding, Linear, Module, ReLU, Sequential
from ..rearrange import concat
from ..tensors import Tensor, lift


class TableNetwork(Module):
    """A multilayer perceptron over numbers and embedded categories.

    Args:
        numbers: how many of the first columns of the input are numbers.
        categories: for each further column, which holds indices, how many there are; index 0 is
            that of values never seen, whose vector is 0 at first.
        hidden: the units of each hidden layer.
        outputs: of the last layer.
        dropout: after each hidden layer, in [0, 1).

    Shapes: float32 ``[rows, numbers + len(categories)]`` to ``[rows, outputs]``. Indices are whole
    floats, exact up to 2**24.

    A table of k vectors has vectors of length ``min(32, 1 + round(sqrt(k)))``: longer for more
    categories, but ever less than one number a category.

    >>> TableNetwork(2, [5], [8], 3, 0.1)([[0.5, -0.5, 4.0]]).shape
    (1, 3)
    """

    def __init__(
        self, numbers: int, categories: Sequence[int], hidden: Sequence[int], outputs: int,
        dropout: float,
    ) -> None:  # fmt: skip
        self.numbers = numbers
        self.embeddings = [Embedding(k, vector_length(k)) for k in categories]
        for table in self.embeddings:
            weight = table.weight.value * table.embedding_dim**-0.5
            table.weight.assign(weight.at[0].set(0.0))
        sizes = [numbers + sum(table.embedding_dim for table in self.embeddings), *hidden]
        layers: list[Module] = []
        for inputs, units in zip(sizes, hidden, strict=False):
            layers += [Linear(inputs, units), ReLU(), Dropout(dropout)]
        self.layers = Sequential(*layers, Linear(sizes[-1], outputs))

    def forward(self, x: Any) -> Tensor:
        x = lift(x)
        if self.embeddings:
            parts = [x[:, : self.numbers]] if self.numbers else []
            for place, table in enumerate(self.embeddings, self.numbers):
                parts.append(table(astype(x[:, place], "int64")))
            x = concat(parts, axis=1)
        out: Tensor = self.layers(x)
        return out


def vector_length(categories: int) -> int:
    """How long the vectors of a table of so many categories are.

    >>> vector_length(17), vector_length(10_000)
    (5, 32)
    """
    return min(32, 1 + round(float(categories) ** 0.5))
