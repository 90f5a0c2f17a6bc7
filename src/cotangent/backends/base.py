"""What a backend is, which one an array belongs to, and how backends are found by name."""

from __future__ import annotations

import contextvars
import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..dtypes import DType
from ..errors import ArgumentTypeError, BackendError
from ..shapes import Shape

# Packages of third parties name a function of this group in their metadata.
ENTRY_POINTS = "cotangent.backends"

DEFAULT = "default"  # the device of a backend that has but one


# Ops follow IEEE 754: 1/0 is infinity, log(-1) is NaN. NumPy, and modules built on it, would warn,
# once, from inside this library. Entering `np.errstate` costs three microseconds an op; running the
# op in a copy of a context where the setting is made, ``QUIET.copy().run``, costs a quarter.
with np.errstate(all="ignore"):
    QUIET = contextvars.copy_context()


class Backend(Protocol):
    """An array module on one device, with the copies that tensors need. It knows no ops.

    Attributes:
        name: the name in messages and in ``ct.backend(name)``.
        device: where its arrays are, as its array module names it.
        xp: the array module (Array API names) that op records evaluate with.
    """

    name: str
    device: str
    xp: Any

    def evaluate(self, function: Callable[..., Any], arrays: Any, attrs: Any) -> Any:
        """``function(xp, *arrays, **attrs)`` under IEEE rules, without warnings."""

    def copy_in(self, data: Any, dtype: DType) -> Any:
        """A new array of this backend that holds `data`, a NumPy array or number."""

    def to_numpy(self, array: Any) -> Any:
        """The values as a read-only NumPy array."""


class DeviceArray:
    """An array of a backend other than NumPy: the payload of its tensors.

    Attributes:
        array: the array of the backend's module.
        shape: a tuple of integers.
        dtype: a NumPy dtype, whatever the module's own is.
        backend: the backend that it belongs to.
    """

    __slots__ = ("array", "shape", "dtype", "backend")

    def __init__(self, array: Any, shape: Shape, dtype: DType, backend: Backend) -> None:
        self.array = array
        self.shape = shape
        self.dtype = dtype
        self.backend = backend

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """What reads payloads as NumPy arrays is for the CPU: say so instead of copying."""
        raise BackendError(
            f"a tensor of shape {self.shape} is on the backend {place_of(self.backend)}, but NumPy "
            "arrays are needed here: ct.jit and what is built on it compile for the CPU. Move it "
            "with .to('numpy'), or call the function without ct.jit"
        )

    def __repr__(self) -> str:
        return f"<{self.backend.name} array of shape {self.shape}, {self.dtype}>"


OWNERS: dict[type, Backend] = {}  # the classes whose objects all belong to one backend

Maker = Callable[[Any], Backend]
_MAKERS: dict[str, Maker] = {}
_MADE: dict[tuple[str, str], Backend] = {}


def register(name: str, make: Maker) -> None:
    """Make a backend known by its name, which can be taken once.

    Args:
        name: as in ``ct.backend(name)``.
        make: a function of a device (text, an object of the array module, or None for the usual
            one) that returns the backend there. It runs when the backend is first used.

    Raises:
        BackendError: if the name is taken.
    """
    if name in _MAKERS:
        raise BackendError(f"a backend named {name!r} is registered already")
    _MAKERS[name] = make


def unregister(name: str) -> None:
    """Forget a backend, for tests that define one."""
    del _MAKERS[name]
    for key in [key for key in _MADE if key[0] == name]:
        del _MADE[key]


def known() -> list[str]:
    """The names of the backends that are registered."""
    return sorted(_MAKERS)


def find_backend(name: Any, device: Any = None) -> Backend:
    """The backend named `name` on `device`; one object for each device.

    Args:
        name: "numpy", "torch", or the name of a backend of another package, which is looked
            up among the entry points of the group ``cotangent.backends``.
        device: as the array module names it, such as "cuda"; None for its usual one.

    Raises:
        BackendError: if there is no such backend or device, or its package is not installed.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"a backend is named by text such as 'torch', not {name!r}")
    device = None if device == DEFAULT else device
    found = _MADE.get((name, str(device)))
    if found is None:
        make = _MAKERS.get(name) or _from_entry_points(name)
        made = make(device)
        # "cuda" and "cuda:0" are one device; `made` says what it is called.
        found = _MADE.setdefault((name, made.device), made)
        _MADE[name, str(device)] = found
    return found


def _from_entry_points(name: str) -> Maker:
    # By name, because it costs 10 ms and few programs get here.
    metadata = importlib.import_module("importlib.metadata")
    entries = metadata.entry_points(group=ENTRY_POINTS)
    for entry in entries:
        if entry.name == name:
            try:
                make: Maker = entry.load()
            except Exception as error:
                raise BackendError(
                    f"the backend {name!r} ({entry.value}) cannot be loaded: {error}"
                ) from error
            register(name, make)
            return make
    names = sorted({*_MAKERS, *(entry.name for entry in entries)})
    raise BackendError(
        f"there is no backend {name!r}; known are {', '.join(names)}. Install the package "
        f"that brings it, or register it: see docs/adding_a_backend.md"
    )


def place_of(backend: Backend) -> str:
    """The backend and its device, for messages: ``torch (cuda:0)``, ``numpy``."""
    return backend.name if backend.name == "numpy" else f"{backend.name} ({backend.device})"


def backend_of(payload: Any) -> Backend:
    """The backend that the payload of a tensor belongs to."""
    if type(payload) is DeviceArray:
        return payload.backend
    found = OWNERS.get(type(payload))
    if found is not None:
        return found
    for kind, backend in OWNERS.items():
        if isinstance(payload, kind):
            OWNERS[type(payload)] = backend
            return backend
    kind = type(payload)
    raise BackendError(f"no backend owns arrays of {kind.__module__}.{kind.__name__}")


def is_concrete(payload: Any) -> bool:
    """Whether the payload of a tensor has values, which nodes of a graph being traced lack."""
    return isinstance(payload, (np.ndarray, np.generic, DeviceArray))
