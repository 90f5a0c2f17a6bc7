"""Where arrays live: each backend is an array module on a device, plus copies and limits."""

from .base import (
    OWNERS,
    Backend,
    DeviceArray,
    backend_of,
    find_backend,
    is_concrete,
    place_of,
    register,
    unregister,
)
from .modules import ArrayModuleBackend
from .numpy import NUMPY
from .torch import make_torch

__all__ = [
    "ArrayModuleBackend", "Backend", "DeviceArray", "NUMPY", "OWNERS", "backend_of",
    "find_backend", "is_concrete", "make_torch", "place_of", "register", "unregister",
]  # fmt: skip
