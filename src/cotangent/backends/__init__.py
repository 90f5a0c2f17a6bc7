"""Where arrays live: each backend is an array module plus copies and limits."""

from .base import BACKENDS, OWNERS, Backend, backend_of, register
from .numpy import NUMPY

__all__ = ["BACKENDS", "NUMPY", "OWNERS", "Backend", "backend_of", "register"]
