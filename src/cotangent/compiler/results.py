"""The results of compiled functions: trees of tensors, numbers and gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import TraceError
from ..gradients import Gradients
from ..tensors import Tensor
from ..tree import LEAF, flatten
from ..weak import Number


class Rebuild:
    """Stands for `Gradients` among the leaves of a result; their values come next."""

    def __init__(self, owners: list[Any]) -> None:
        self.owners = owners


def flat_results(result: Any) -> tuple[list[Any], Any]:
    """The leaves of a result, where `Gradients` are a mark and then their values; and its structure
    with a leaf for each of them."""
    leaves, structure = flatten(result)
    _refuse_tensors_as_keys(structure)
    flat: list[Any] = []
    for leaf in leaves:
        if isinstance(leaf, Gradients):
            pairs = list(leaf.pairs())
            flat += [Rebuild([pair[:2] for pair in pairs]), *(pair[2] for pair in pairs)]
        else:
            flat.append(leaf)
    return flat, structure


def rebuilt(flat: Iterable[Any]) -> Iterator[Any]:
    """The leaves with their `Gradients` put together again."""
    items = iter(flat)
    for item in items:
        if isinstance(item, Rebuild):
            triples = [(number, owner, next(items)) for number, owner in item.owners]
            yield Gradients.of(triples)
        else:
            yield item


def _refuse_tensors_as_keys(structure: Any) -> None:
    if structure == LEAF:
        return
    if len(structure) > 2 and any(isinstance(key, (Tensor, Number)) for key in structure[1]):
        raise TraceError("ct.jit: a tensor cannot be a key of a dict that is returned")
    for part in structure[2 if len(structure) > 2 else 1]:
        _refuse_tensors_as_keys(part)
