"""What a backend is, and which backend an array belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..dtypes import DType
from ..errors import BackendError


class Backend(Protocol):
    """An array module with the copies that tensors need. A backend knows no ops.

    Attributes:
        name: the name in messages and in ``ct.backend(name)``.
        xp: the array module (Array API names) that op records evaluate with.
    """

    name: str
    xp: Any

    def owns(self, kind: type) -> bool:
        """Whether arrays of this class belong to this backend."""

    def evaluate(self, function: Callable[..., Any], arrays: Any, attrs: Any) -> Any:
        """``function(xp, *arrays, **attrs)`` under IEEE rules, without warnings."""

    def copy_in(self, data: Any, dtype: DType) -> Any:
        """A new array of this backend that holds `data`."""

    def to_numpy(self, array: Any) -> Any:
        """The values as a read-only NumPy array."""


BACKENDS: dict[str, Backend] = {}
OWNERS: dict[type, Backend] = {}


def register(backend: Backend) -> Backend:
    """Make `backend` known by its name; a name can be taken once."""
    if backend.name in BACKENDS:
        raise BackendError(f"a backend named {backend.name!r} is registered already")
    BACKENDS[backend.name] = backend
    return backend


def backend_of(array: Any) -> Backend:
    """The backend that `array` belongs to, found by its class."""
    kind = type(array)
    found = OWNERS.get(kind)
    if found is not None:
        return found
    for backend in BACKENDS.values():
        if backend.owns(kind):
            OWNERS[kind] = backend
            return backend
    raise BackendError(f"no backend owns arrays of {kind.__module__}.{kind.__name__}")
