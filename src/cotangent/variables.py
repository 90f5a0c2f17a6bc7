"""Finding the variables of a model: a walk over attributes, lists, tuples and dicts.

Names are paths, such as ``layers.0.weight``. A variable that is reached twice is reported once,
under its first name, unless `shared` asks for all.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from operator import is_
from typing import Any

import numpy as np

from .config import EPOCH
from .tensors import Tensor, Variable

# Objects of these kinds hold no layers; walking into them would lead anywhere.
_OPAQUE = (
    str, bytes, int, float, complex, bool, type(None), type, np.ndarray, np.generic, Tensor,
    types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType,
)  # fmt: skip


def children(container: Any) -> Iterator[tuple[str, Any]]:
    """The named parts of a list, tuple, dict or object, in their order."""
    if isinstance(container, (list, tuple)):
        for i, item in enumerate(container):
            yield str(i), item
    elif isinstance(container, dict):
        for key, item in container.items():
            yield str(key), item
    elif is_open(container):
        yield from list(vars(container).items())


def is_open(item: Any) -> bool:
    """Whether the attributes of an object are walked."""
    if isinstance(item, _OPAQUE) or getattr(item, "is_opaque", False):
        return False
    return hasattr(item, "__dict__")


def walk(root: Any) -> Iterator[tuple[str, Any]]:
    """Everything reachable from `root`, with its path, in depth-first order; each object once."""
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", root)]
    while stack:
        path, item = stack.pop()
        if id(item) in seen:
            continue
        if isinstance(item, Variable) or not isinstance(item, _OPAQUE):
            seen.add(id(item))
            yield path, item
        if isinstance(item, Variable):
            continue
        below = [(f"{path}.{name}" if path else name, part) for name, part in children(item)]
        stack.extend(reversed(below))


def named_variables(root: Any, shared: bool = False) -> list[tuple[str, Variable]]:
    """Every variable below `root`, with its path.

    Args:
        root: a model, or any nesting of lists, dicts and objects.
        shared: report a variable once for each path that leads to it (tied weights).
    """
    if not shared:
        return [(path, item) for path, item in walk(root) if isinstance(item, Variable)]
    found: list[tuple[str, Variable]] = []
    _collect("", root, found, ())
    return found


def _collect(
    path: str, item: Any, found: list[tuple[str, Variable]], above: tuple[int, ...]
) -> None:
    if isinstance(item, Variable):
        found.append((path, item))
    elif id(item) not in above:
        for name, part in children(item):
            _collect(f"{path}.{name}" if path else name, part, found, (*above, id(item)))


class Watch:
    """The variables below `root`, walked once, and whether they are still the ones.

    A class whose attribute ``announces_changes`` is true bumps ``EPOCH.structure`` when an
    attribute of an object changes; the parts of all other containers are compared by identity.

    Attributes:
        root: the model or container.
        variables: the result of `named_variables`.
    """

    __slots__ = ("root", "variables", "_structure", "_parts")

    def __init__(self, root: Any) -> None:
        self.root = root
        self.variables = named_variables(root)
        self._structure = EPOCH.structure
        self._parts = [
            (item, [part for _, part in children(item)])
            for _, item in walk(root)
            if not (isinstance(item, Variable) or getattr(item, "announces_changes", False))
        ]

    @property
    def current(self) -> bool:
        """Whether another walk would find the same."""
        if self._structure != EPOCH.structure:
            return False
        for container, before in self._parts:
            now = parts_of(container)
            if len(now) != len(before) or not all(map(is_, now, before)):
                return False
        return True


def parts_of(container: Any) -> Any:
    """The parts of a container, in the order of `children`."""
    if isinstance(container, (list, tuple)):
        return container
    if isinstance(container, dict):
        return container.values()
    return [part for _, part in children(container)]


def holds_variables(item: Any) -> bool:
    """Whether `item` is a container or object, not a tensor, with a variable below it."""
    if isinstance(item, (Tensor, *_OPAQUE)):
        return False
    return any(isinstance(part, Variable) for _, part in walk(item))
