"""Backends that tests run on: PyTorch, and `array_api_strict`, which has nothing but the standard
and several devices that do not mix."""

from __future__ import annotations

import numpy as np
import pytest

from cotangent.backends import ArrayModuleBackend, find_backend, register

NAME = "array_api_strict"


def _make(device=None):
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    label = device or "CPU_DEVICE"

    def add_rows(x, index, values):
        out = strict.asarray(x, copy=True)
        for i in range(index.shape[0]):
            out[int(index[i]), ...] += values[i, ...]
        return out

    def put_rows(x, index, values):
        out = strict.asarray(x, copy=True)
        for i in range(index.shape[0]):
            out[int(index[i]), ...] = values[i, ...]
        return out

    def to_numpy(array):
        return np.from_dlpack(array.to_device(strict.Device("CPU_DEVICE")))

    functions = {"add_rows": add_rows, "put_rows": put_rows}
    place = strict.Device(label)
    return ArrayModuleBackend(
        NAME, strict, place, label=label, functions=functions, to_numpy=to_numpy
    )


register(NAME, _make)

STRICT = (NAME, "CPU_DEVICE")
OTHER = (NAME, "device1")
TORCH = ("torch", "cpu")
PLACES = [STRICT, OTHER, TORCH]


def need(place):
    """The backend at `place`; the test is skipped where its package is missing."""
    pytest.importorskip(place[0], reason=f"{place[0]} is not installed")
    if place[0] == "torch":
        pytest.importorskip("array_api_compat", reason="array_api_compat is not installed")
    return find_backend(*place)
