"""Where tensors are: the backend of a tensor, and where creation functions allocate.

Operations follow their inputs. Only functions that make tensors from data, shapes or random
numbers look at `backend`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import ops
from .backends import NUMPY, Backend, DeviceArray, find_backend, place_of
from .config import EPOCH, STATE
from .errors import BackendError, TraceError


class Placement:
    """A context in which creation functions allocate on one backend."""

    __slots__ = ("_backend", "_before")

    def __init__(self, backend: Backend | None) -> None:
        self._backend = backend
        self._before: list[Any] = []  # a stack, since one object may be entered again inside

    def __enter__(self) -> None:
        self._before.append(STATE.backend)
        STATE.backend = self._backend

    def __exit__(self, *exc: object) -> None:
        STATE.backend = self._before.pop()


def backend(name: str, device: Any = None) -> Placement:
    """A context in which functions that make tensors allocate on a backend.

    It holds for `ct.tensor`, `ct.asarray`, `ct.var`, `ct.zeros` and its like, random numbers and
    the parameters of layers. Operations follow their inputs, wherever they are called.

    Args:
        name: "numpy", "torch", or the name of a backend that another package brings.
        device: as that backend names it: for "torch" "cpu" (the default), "cuda", "cuda:1", "mps".

    Raises:
        BackendError: if there is no such backend or device, or its package is missing.

    >>> with backend("numpy"):
    ...     ct.zeros(2).backend
    'numpy'
    """
    return Placement(find_backend(name, device))


def home_of(payload: Any) -> Any:
    """The backend of the payload of a tensor; NumPy's for a traced one, which has no values."""
    kind = type(payload)
    if kind is np.ndarray:
        return NUMPY
    if kind is DeviceArray:
        return payload.backend
    # Inside of a map, which holds all examples in one tensor.
    return home_of(payload.tensor.data) if hasattr(payload, "tensor") else NUMPY


def alongside(x: Any) -> Placement:
    """A context in which functions that make tensors allocate where the tensor `x` is; raw data
    has no place, and leaves it to `backend`."""
    return Placement(STATE.backend if x.follows else home_of(x.data))


def allocate(array: Any, home: Any = None) -> Any:
    """A new NumPy array as a payload on `home`, by default where creation functions allocate."""
    if home is None:
        home = STATE.backend
    return array if home is None or home is NUMPY else home.copy_in(array, array.dtype)


def address_of(payload: Any) -> tuple[str, str]:
    """The name and device by which the backend of a payload is found again."""
    home = home_of(payload)
    return home.name, home.device


def restored(array: Any, address: tuple[str, str]) -> Any:
    """A NumPy array as a payload on the backend that `address_of` named."""
    return allocate(array, find_backend(*address))


def moved(x: Any, target: Backend) -> Any:
    """The tensor `x` on the backend `target`; gradients flow back to where it is now."""
    source = home_of(x.data)
    if source is target:
        return ops.lift(x)
    x._refuse_in_trace("to", "ct.jit compiles for the CPU; move tensors before the call")
    return ops.place(x, source=source, target=target)


def move_all(variables: Any, target: Backend) -> None:
    """Put the values of variables on the backend `target`: of all, or after an error of none.

    Raises:
        TraceError: inside a function that is compiled or mapped.
    """
    if STATE.trace is not None:
        raise TraceError(
            "to: variables cannot be moved to another backend inside a function that is compiled "
            "by ct.jit or mapped by ct.vmap; move them before the call"
        )
    values = [(variable, moved(variable.detach(), target)) for variable in variables]
    for variable, value in values:
        variable.put(variable.wrap(value.data))
    EPOCH.moves += 1
    EPOCH.restructure()


def require_same_home(what: str, name: str, home: Backend, x: Any) -> Any:
    """The tensor `x` on `home`; an error if it is on another backend, and neither raw data nor a
    single number."""
    if home_of(x.data) is home:
        return x
    if x.follows or (x.shape == () and home_of(x.data) is NUMPY):
        return moved(x, home)
    raise BackendError(
        f"{what}: {name} is on the backend {place_of(home)}, and the tensor of shape {x.shape} on "
        f"{place_of(home_of(x.data))}; move one of them with .to(...)"
    )
