"""The products in NumPy, in a process where OpenBLAS was told to use its AVX-512 kernels."""

from __future__ import annotations

from .numpy import Prepared

__all__ = ["Prepared"]
