"""Examples in memory: inputs, targets and weights whose first axes are the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..data.batching import shuffled
from ..dtypes import DType, is_float
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..nn.module import parameters
from ..tensors import Tensor
from ..tree import flatten, unflatten

Array = np.ndarray[Any, Any]
Batch = tuple[Any, Any, Any]


class Examples:
    """Inputs with their targets and weights.

    Attributes:
        x: an array, or a tuple, list or dict of them, ``[rows, ...]``.
        y: likewise, or None.
        weight: an array ``[rows]`` of what each row counts for, or None.
        rows: how many there are.

    Raises:
        ShapeError: if the first axes differ, or there are no rows.
    """

    def __init__(self, x: Any, y: Any = None, weight: Any = None) -> None:
        self.x, self.y, self.weight = x, y, weight
        arrays = flatten((x, y, weight))[0]
        shapes = [array.shape for array in arrays if array is not None]
        if any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
            raise ShapeError(
                f"fit: the data have shapes {', '.join(map(str, shapes))}; all arrays must have "
                "as many rows, one an example, along the first axis"
            )
        self.rows = int(shapes[0][0])
        if not self.rows:
            raise ShapeError(f"fit: the data have no rows: {', '.join(map(str, shapes))}")

    @property
    def parts(self) -> Batch:
        """Inputs, targets and weights."""
        return self.x, self.y, self.weight

    def map(self, function: Callable[[Array], Any]) -> Batch:
        """`function` of every array, in the places of the arrays."""
        found: Batch = each(function, self.parts)
        return found

    def rows_of(self, which: Any) -> Examples:
        """Some of the rows: a slice, or an array of their numbers."""
        return Examples(*self.map(lambda array: array[which]))

    def split(self, fraction: float, seed: int) -> tuple[Examples, Examples]:
        """The examples without a part of them, and that part: the same rows for a seed.

        >>> rest, part = Examples(np.arange(10)).split(0.2, seed=0)
        >>> rest.rows, part.rows
        (8, 2)
        """
        if not 0.0 < fraction < 1.0:
            raise ArgumentError(
                f"fit: validation={fraction} is no fraction of the rows between 0 and 1"
            )
        held = min(max(round(self.rows * fraction), 1), self.rows - 1)
        if not held:
            raise ArgumentError("fit: one row cannot be split; pass validation=(x, y)")
        # An epoch that no run gets to, so that the split is no prefix of an epoch's order.
        order = shuffled(self.rows, seed, 2**32 - 1)
        return self.rows_of(np.sort(order[held:])), self.rows_of(np.sort(order[:held]))


def each(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with ``function(leaf)`` in the place of every leaf but None."""
    leaves, structure = flatten(tree)
    made = [None if leaf is None else function(leaf) for leaf in leaves]
    return unflatten(structure, iter(made))


def refilled(structure: Any, missing: Sequence[bool], arrays: Iterable[Any]) -> Any:
    """A tree of that structure, with None at the leaves that are `missing` and `arrays` at the
    others."""
    rest = iter(arrays)
    return unflatten(structure, iter([None if absent else next(rest) for absent in missing]))


def as_examples(data: Any, dtype: DType, what: str = "data") -> Examples | None:
    """Arrays in memory as `Examples`; None for what yields batches.

    Args:
        data: ``(x, y)``, ``(x, y, weight)``, an array or tensor x alone, or a data set with
            ``x_train`` and ``y_train``.
        dtype: of floating-point arrays.
        what: what to call it in messages.
    """
    if isinstance(data, Examples):
        return data
    if hasattr(data, "x_train") and hasattr(data, "y_train"):
        data = (data.x_train, data.y_train)
    if isinstance(data, (np.ndarray, Tensor)):
        data = (data,)
    if not isinstance(data, tuple):
        if hasattr(data, "__iter__") or callable(data):
            return None
        raise ArgumentTypeError(
            f"fit: {what} must be (x, y) arrays, an array, a data set, or an iterable of batches, "
            f"not {type(data).__name__}"
        )
    if not 1 <= len(data) <= 3:
        raise ArgumentError(
            f"fit: {what} has {len(data)} parts; pass (x, y), or (x, y, weight), where x may be "
            "a tuple of arrays"
        )
    return Examples(*(as_arrays(part, dtype) for part in data))


def as_arrays(part: Any, dtype: DType) -> Any:
    """An array, tensor or nesting of them with NumPy arrays in their places; floats of `dtype`."""
    if part is None:
        return None
    leaves, structure = flatten(part)
    if isinstance(part, list) and all(isinstance(leaf, (bool, int, float)) for leaf in leaves):
        leaves, structure = flatten(np.asarray(part))
    return unflatten(structure, iter([_array(leaf, dtype) for leaf in leaves]))


def _array(leaf: Any, dtype: DType) -> Array:
    array: Array = leaf.numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)
    if array.dtype.kind in "OSU":
        raise ArgumentTypeError(
            f"fit: an array of {array.dtype} (shape {array.shape}) holds text or objects, not "
            "numbers; encode classes as integers from 0, as np.unique(y, return_inverse=True) does"
        )
    kind = dtype if is_float(array.dtype) or array.dtype.kind == "f" else array.dtype
    return np.asarray(array, kind.newbyteorder("="), order="C")


def dtype_of(model: Any) -> DType | None:
    """The dtype of the model's first floating-point parameter, or None without parameters."""
    return next((p.dtype for p in parameters(model) if is_float(p.dtype)), None)


def apply(model: Any, x: Any) -> Any:
    """``model(x)``; a tuple or list of inputs as positional, a dict as keyword arguments."""
    if isinstance(x, (tuple, list)):
        return model(*x)
    return model(**x) if isinstance(x, dict) else model(x)
