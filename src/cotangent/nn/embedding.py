"""Rows looked up by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..checks import whole
from ..errors import ArgumentError, DTypeError
from ..functional import as_index, expand_dims, take
from ..tensors import Tensor, Variable, asarray, var
from . import init
from .module import Module


class Embedding(Module):
    """A table of vectors, one for each index: ``y = weight[index]``.

    Args:
        num_embeddings: the number of rows.
        embedding_dim: the length of a row.
        padding_idx: an index whose row is 0 at first and gets no gradient; or None.
        dtype: float32 or float64; the default float unless given.

    Attributes:
        weight: ``[num_embeddings, embedding_dim]``, at first standard normal.

    Shapes: integers of any shape ``[...]`` to ``[..., embedding_dim]``.

    Raises:
        BoundsError: if an index is outside ``[0, num_embeddings)``, eager and compiled.
        DTypeError: if the indices are not integers.

    >>> Embedding(10, 3)([[1, 2], [3, 3]]).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        dtype: Any = None,
    ) -> None:
        for name, size in (("num_embeddings", num_embeddings), ("embedding_dim", embedding_dim)):
            whole("Embedding", name, size, 1)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ArgumentError(
                f"Embedding: padding_idx {padding_idx} is not one of {num_embeddings} rows"
            )
        self.num_embeddings = int(num_embeddings)
        self.embedding_dim = int(embedding_dim)
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        table = init.normal((num_embeddings, embedding_dim), dtype=dtype)
        if self.padding_idx is not None:
            values = np.array(table.numpy())
            values[self.padding_idx] = 0.0
            table = asarray(values)
        self.weight: Variable = var("weight", table, dtype=dtype)

    def forward(self, indices: Any) -> Tensor:
        index = as_index(indices)
        if index.dtype.kind not in "iu":
            raise DTypeError(
                f"{self.text()}: indices must be integers, not {index.dtype} of shape "
                f"{index.shape}; use .astype(ct.int64)"
            )
        index = ops.check_index(index, size=self.num_embeddings, what=self.text())
        rows = take(self.weight.value, index)
        if self.padding_idx is None:
            return rows
        return ops.where(expand_dims(ops.equal(index, self.padding_idx), -1), rows.detach(), rows)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings} x {self.embedding_dim}{padding}"
