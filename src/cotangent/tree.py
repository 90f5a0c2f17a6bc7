"""Nested containers as flat lists of leaves, and back.

Containers are lists, tuples, named tuples, dicts (also ordered ones, and those with a default), and
dataclasses that hold data: arrays or tensors, at any depth. Other dataclasses are leaves, as
settings and models are: nobody wants their numbers traced.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

LEAF = "*"


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of `tree` and its structure, which can be hashed and compared.

    >>> flatten({"a": 1, "b": (2, 3)})
    ([1, 2, 3], ('dict', ('a', 'b'), ('*', ('tuple', ('*', '*')))))
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Any:
    kind = type(tree)
    if kind is tuple:
        return ("tuple", tuple(_flatten(item, leaves) for item in tree))
    if kind is list:
        return ("list", tuple(_flatten(item, leaves) for item in tree))
    if kind is dict:
        return ("dict", tuple(tree), tuple(_flatten(item, leaves) for item in tree.values()))
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return (kind, tuple(_flatten(item, leaves) for item in tree))
    if kind is OrderedDict or kind is defaultdict:
        items = tuple(_flatten(item, leaves) for item in tree.values())
        return (kind, tuple(tree), items, getattr(tree, "default_factory", None))
    if hasattr(kind, "__dataclass_fields__"):
        parts: list[Any] = []
        names = tuple(x.name for x in dataclasses.fields(tree) if hasattr(tree, x.name))
        items = tuple(_flatten(getattr(tree, name), parts) for name in names)
        if any(map(_is_data, parts)):
            leaves += parts
            return (kind, names, items)
    leaves.append(tree)
    return LEAF


def _is_data(leaf: Any) -> bool:
    """Whether it is an array or tensor, or stands for one; variables belong to models."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype") and not hasattr(leaf, "assign")


def unflatten(structure: Any, leaves: Iterator[Any]) -> Any:
    """The tree of `structure` filled with `leaves`, in order."""
    if structure == LEAF:
        return next(leaves)
    kind = structure[0]
    if kind == "dict":
        return {k: unflatten(s, leaves) for k, s in zip(structure[1], structure[2], strict=True)}
    if len(structure) > 2:
        return _with_names(kind, structure, leaves)
    items = [unflatten(item, leaves) for item in structure[1]]
    if kind == "list":
        return items
    return tuple(items) if kind == "tuple" else kind(*items)


def _with_names(kind: Any, structure: Any, leaves: Iterator[Any]) -> Any:
    """A dict of a special kind, or a dataclass, whose checks are not run again."""
    items = [unflatten(item, leaves) for item in structure[2]]
    pairs = zip(structure[1], items, strict=True)
    if kind is OrderedDict:
        return OrderedDict(pairs)
    if kind is defaultdict:
        return defaultdict(structure[3], pairs)
    made = object.__new__(kind)
    for name, item in pairs:
        object.__setattr__(made, name, item)
    return made


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with `function` applied to every leaf."""
    leaves, structure = flatten(tree)
    return unflatten(structure, iter([function(leaf) for leaf in leaves]))
