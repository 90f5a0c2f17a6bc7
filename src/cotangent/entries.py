"""What the tape is made of: an entry for every tensor that gradients flow through."""

from __future__ import annotations

import itertools
from typing import Any

from .dtypes import DType
from .shapes import Shape

NUMBERS = itertools.count(1)  # entries are numbered in the order in which they are made


class Entry:
    """What the tape knows about one tensor: where it came from.

    A leaf stands for a variable (or for an argument of a transformation) and has no primitive.

    Attributes:
        primitive: the op, or None for a leaf.
        attrs: its attributes.
        inputs: what the derivative rules read: tensors, or only shapes (`Shaped`).
        parents: the entries of the inputs, None where an input is not tracked.
        out: the payload of the result, if the rules read it.
        shape, dtype: of the result.
        number: entries are numbered in the order in which they are made.
        owner: weak reference to the variable of a leaf.
    """

    __slots__ = (
        "primitive", "attrs", "inputs", "parents", "out", "shape", "dtype", "number", "owner",
    )  # fmt: skip

    def __init__(
        self, primitive: Any, attrs: Any, inputs: Any, parents: Any, out: Any,
        shape: Shape, dtype: DType,
    ) -> None:  # fmt: skip
        self.primitive = primitive
        self.attrs = attrs
        self.inputs = inputs
        self.parents = parents
        self.out = out
        self.shape = shape
        self.dtype = dtype
        self.owner: Any = None
        self.number = next(NUMBERS)


def leaf(shape: Shape, dtype: DType) -> Entry:
    """A new entry that nothing led to."""
    return Entry(None, None, (), (), None, shape, dtype)


def next_number() -> int:
    """A number that lies between those of all entries so far and all later ones."""
    return next(NUMBERS)


class Shaped:
    """Stands for an input of which a derivative rule needs only the shape and dtype."""

    __slots__ = ("shape", "dtype")

    def __init__(self, shape: Shape, dtype: DType) -> None:
        self.shape = shape
        self.dtype = dtype
