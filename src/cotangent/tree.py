"""Nested containers (lists, tuples, dicts) as flat lists of leaves, and back."""

from __future__ import annotations

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
    leaves.append(tree)
    return LEAF


def unflatten(structure: Any, leaves: Iterator[Any]) -> Any:
    """The tree of `structure` filled with `leaves`, in order."""
    if structure == LEAF:
        return next(leaves)
    kind = structure[0]
    if kind == "dict":
        return {k: unflatten(s, leaves) for k, s in zip(structure[1], structure[2], strict=True)}
    items = [unflatten(item, leaves) for item in structure[1]]
    if kind == "list":
        return items
    return tuple(items) if kind == "tuple" else kind(*items)


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree` with `function` applied to every leaf."""
    leaves, structure = flatten(tree)
    return unflatten(structure, iter([function(leaf) for leaf in leaves]))
