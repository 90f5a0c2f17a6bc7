"""What an op becomes under `vmap`: the same op on tensors with one axis more.

A rule is ``(primitive, inputs, batched, size, attrs) -> tensor``. Those inputs that `batched`
names have a batch axis of `size` elements in front; so has the result. The rules are written with
ops, so they can be differentiated, compiled, and batched again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import int64
from .primitive import REGISTRY, Primitive, Rule

Attrs = dict[str, Any]


def _reshape(x: Any, shape: tuple[int, ...]) -> Any:
    return x if x.shape == shape else REGISTRY["reshape"](x, shape=shape)


def _widen(x: Any, batched: bool, rank: int) -> Any:
    """`x` with axes of size 1 after the batch axis, so that its examples have `rank` axes."""
    if not batched:
        return x
    lead, *rest = x.shape
    return _reshape(x, (lead, *(1,) * (rank - len(rest)), *rest))


def _with_batch(x: Any, batched: bool, size: int) -> Any:
    """`x` with a batch axis, if need be along which it is repeated."""
    return x if batched else REGISTRY["broadcast_to"](x, shape=(size, *x.shape))


def broadcasting(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For ops that broadcast all axes, or all but some last ones: elementwise ops, matmul."""
    rank = max(len(x.shape) - b for x, b in zip(inputs, batched, strict=True))
    wide = [_widen(x, b, rank) for x, b in zip(inputs, batched, strict=True)]
    return primitive(*wide, **attrs)


def leading(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For ops of one input that work on its last axes and map over all others."""
    return primitive(*inputs, **attrs)


def mapping(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For ops that map over leading axes, which all inputs must have."""
    whole = [_with_batch(x, b, size) for x, b in zip(inputs, batched, strict=True)]
    return primitive(*whole, **attrs)


def reduction(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For ops of one input with the attribute ``axes``."""
    return primitive(*inputs, **attrs | {"axes": tuple(a + 1 for a in attrs["axes"])})


def reshaping(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For reshape."""
    return primitive(*inputs, shape=(size, *attrs["shape"]))


def permuting(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For permute_dims."""
    return primitive(*inputs, axes=(0, *(a + 1 for a in attrs["axes"])))


def stretching(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For broadcast_to."""
    shape = attrs["shape"]
    return primitive(_widen(inputs[0], True, len(shape)), shape=(size, *shape))


def slicing(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For strided_slice and put_slice: the batch axis is taken whole."""
    whole = [_with_batch(x, b, size) for x, b in zip(inputs, batched, strict=True)]
    more = {"starts": (0, *attrs["starts"]), "steps": (1, *attrs["steps"])}
    if "sizes" in attrs:
        more["sizes"] = (size, *attrs["sizes"])
    return primitive(*whole, **more)


def concatenating(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For concat."""
    whole = [_with_batch(x, b, size) for x, b in zip(inputs, batched, strict=True)]
    return primitive(*whole, axis=attrs["axis"] + 1)


def _offset(index: Any, batched: bool, size: int, rows: int, what: str) -> Any:
    """Row numbers of `size` tensors of `rows` rows that are laid end to end."""
    checked = REGISTRY["check_index"](index, size=rows, what=what)
    wide = REGISTRY["astype"](checked, dtype=int64)
    rank = len(index.shape) - batched
    first = (np.arange(size, dtype=np.int64) * rows).reshape((size,) + (1,) * rank)
    return REGISTRY["add"](wide, first)


def _end_to_end(x: Any) -> Any:
    return _reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def gathering(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For take: the tables are laid end to end, unless all examples share one."""
    x, index = inputs
    if not batched[0]:
        return primitive(x, index)
    places = _offset(index, batched[1], size, x.shape[1], "take")
    return primitive(_end_to_end(x), places)


def putting(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For put_rows: the tensors are laid end to end."""
    x, values = (_with_batch(a, b, size) for a, b in zip(inputs[:2], batched, strict=False))
    places = _offset(inputs[2], batched[2], size, x.shape[1], "put_rows")
    return _reshape(primitive(_end_to_end(x), values, places), x.shape)


def scattering(
    primitive: Primitive, inputs: Sequence[Any], batched: Sequence[bool], size: int, attrs: Attrs
) -> Any:
    """For scatter_add: the results are laid end to end."""
    values = _with_batch(inputs[0], batched[0], size)
    rows = attrs["rows"]
    places = _offset(inputs[1], batched[1], size, rows, "scatter_add")
    tail = values.shape[len(places.shape) :]
    return _reshape(primitive(values, places, rows=size * rows), (size, rows, *tail))


# What the records of a kind mean, unless they say something else.
BY_KIND: dict[str, Rule] = {
    "elementwise": broadcasting,
    "matmul": broadcasting,
    "reduce": reduction,
    "triangular": mapping,
    "ordered": leading,
}


def rule_of(primitive: Primitive) -> Rule | None:
    """The batch rule of a record."""
    return primitive.batch or BY_KIND.get(primitive.kind)
