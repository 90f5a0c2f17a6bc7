"""Guards: whether a compiled step still means what the Python function means.

Layers and optimizers bump ``EPOCH.structure`` when an attribute changes; lists, dicts and plain
objects cannot, so their parts are compared at every call. What is compared is the structure:
which objects and which variables, the modes, and plain settings by value.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from operator import is_
from typing import Any, NamedTuple

from ..config import SETTINGS
from ..tensors import Variable
from ..variables import children, parts_of, walk

_BY_VALUE = (bool, int, float, complex, str, bytes, type(None))


class Reference(NamedTuple):
    """A name in a function, and what it referred to.

    Attributes:
        holder: the closure's cell, or the dict of globals.
        name: in the dict; None for a cell; "" for what cannot come to refer to something else.
        value: the object.
    """

    holder: Any
    name: str | None
    value: Any


class Guard:
    """What a traced function depended on besides its arguments.

    Attributes:
        roots: layers, models and optimizers that took part.
        loose: containers below them that do not announce changes, with their parts; but for
            lists and tuples.
        is_loose: whether `loose_parts_hold` has anything to look at.
    """

    __slots__ = ("roots", "loose", "is_loose", "_lists", "_cells", "_names", "_facts")

    def __init__(self, roots: list[Any], references: Sequence[Reference] = ()) -> None:
        self.roots = roots
        self._cells = [(x.holder, x.value) for x in references if x.name is None]
        self._names = [x for x in references if x.name]
        self._facts = _facts(roots)
        loose = [(x, _keys(x), list(parts_of(x))) for root in roots for x in _loose(root)]
        self._lists = [(x, parts) for x, _, parts in loose if isinstance(x, (list, tuple))]
        self.loose = [entry for entry in loose if not isinstance(entry[0], (list, tuple))]
        self.is_loose = bool(loose or self._cells or self._names)

    def holds(self) -> bool:
        """Whether everything is as it was; looks at all of it."""
        return self.names_hold() and _same(self._facts, _facts(self.roots))

    def loose_parts_hold(self) -> bool:
        """Whether names, and the containers that announce nothing, are as they were."""
        for names, name, value in self._names:  # as in names_hold: this runs at every call
            if names.get(name) is not value:
                return False
        try:
            for cell, value in self._cells:
                if cell.cell_contents is not value:
                    return False
        except ValueError:  # the name was deleted
            return False
        for item, before in self._lists:
            same = len(item) == len(before) and all(map(is_, item, before))
            if not same and not _same(before, list(item)):
                return False
        for item, keys, before in self.loose:
            now = parts_of(item)
            same = len(now) == len(before) and all(map(is_, now, before))
            if not same and not _same(before, list(now)):
                return False
            if keys is not None and keys != list(item):
                return False
        return True

    def names_hold(self) -> bool:
        """Whether the function's names still refer to the same models, optimizers and variables."""
        for names, name, value in self._names:
            if names.get(name) is not value:
                return False
        try:
            for cell, value in self._cells:
                if cell.cell_contents is not value:
                    return False
        except ValueError:  # the name was deleted
            return False
        return True


def _same(before: list[Any], now: list[Any]) -> bool:
    if len(before) != len(now):
        return False
    for a, b in zip(before, now, strict=True):
        if a is not b and not (type(a) is type(b) and isinstance(a, _BY_VALUE) and a == b):
            return False
    return True


def _facts(roots: list[Any]) -> list[Any]:
    """The objects and settings below `roots`, as a flat list."""
    facts: list[Any] = [SETTINGS.default_float]
    for root in roots:
        if getattr(root, "settings_are_inputs", False):
            facts.append(root)
            facts += _settings(root)
            continue
        for _, item in walk(root):
            facts.append(item)
            if isinstance(item, Variable):
                facts.append(item.requires_grad)
            elif getattr(item, "announces_changes", False):
                facts.append(getattr(item, "training", None))  # the class's, until it is set
                facts += [x for name, part in children(item) if name != "training"
                          for x in (name, part)]  # fmt: skip
            else:
                facts += _parts(item)
    return facts


def _keys(item: Any) -> list[Any] | None:
    """The keys of a dict."""
    return list(item) if isinstance(item, dict) else None


def _settings(root: Any) -> list[Any]:
    """The settings of an object whose numbers are inputs of the program: whether each is 0,
    which may decide what is computed, but not its value."""
    found: list[Any] = []
    for name, value in vars(root).items():
        if not name.startswith("_"):
            for part in value if isinstance(value, tuple) else (value,):
                found += (name, bool(part) if type(part) in (int, float) else part)
    return found


def _parts(item: Any) -> list[Any]:
    """Names and values of the parts of a container."""
    found: list[Any] = []
    for name, part in children(item):
        found += (name, part)
    return found


def _loose(root: Any) -> Iterator[Any]:
    if getattr(root, "settings_are_inputs", False):
        return
    for _, item in walk(root):
        if not isinstance(item, Variable) and not getattr(item, "announces_changes", False):
            yield item


def captured(function: Any) -> list[Reference]:
    """The objects that a function reaches by its closure, its globals, its object or its defaults.

    Functions that it refers to are looked through too.
    """
    found: list[Reference] = []
    seen: set[int] = set()
    stack = [Reference(None, "", function)]
    while stack:
        reference = stack.pop()
        item = reference.value
        if isinstance(item, types.MethodType):
            stack += [Reference(None, "", x) for x in (item.__self__, item.__func__)]
        elif isinstance(item, types.FunctionType):
            if id(item) not in seen and not (item.__module__ or "").startswith("cotangent."):
                stack += _referred(item)
        elif hasattr(item, "__wrapped__"):
            stack.append(Reference(None, "", item.__wrapped__))
        elif not _is_foreign(item):
            found.append(reference)
        seen.add(id(item))
    return found


def _is_foreign(item: Any) -> bool:
    return isinstance(item, (types.ModuleType, type)) or (
        callable(item) and not hasattr(item, "__dict__")
    )


def _referred(function: types.FunctionType) -> list[Reference]:
    """What the names in a function refer to."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(Reference(cell, None, cell.cell_contents))
        except ValueError:
            continue  # not yet assigned
    names = set(_names(function.__code__))
    space = function.__globals__
    found += [Reference(space, name, space[name]) for name in sorted(names & space.keys())]
    return found + [Reference(None, "", x) for x in function.__defaults__ or ()]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
