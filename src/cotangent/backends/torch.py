"""The PyTorch backend: its CPU, CUDA and Metal arrays, by way of array-api-compat."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import bfloat16
from ..errors import BackendError
from .base import Backend, register
from .modules import ArrayModuleBackend


def _modules() -> tuple[Any, Any]:
    """PyTorch, and its functions under the standard's names; imported when first used."""
    try:
        import array_api_compat.torch as xp
        import torch
    except ImportError as error:
        raise BackendError(
            f"the backend 'torch' needs PyTorch and array-api-compat ({error}); install them with: "
            "pip install 'cotangent[torch]'"
        ) from None
    return torch, xp


def make_torch(device: Any = None) -> Backend:
    """The PyTorch backend on a device.

    Args:
        device: what ``torch.device`` takes: "cpu" (which None means), "cuda", "cuda:1", "mps".

    PyTorch lacks arithmetic on uint16, uint32 and uint64: ops on those raise `BackendError`.

    Raises:
        BackendError: if PyTorch is not installed, or has no such device.
    """
    torch, xp = _modules()
    try:
        place = torch.empty(0, device=device or "cpu").device
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise BackendError(
            f"the backend 'torch' cannot use the device {device!r}: {reason}. Check "
            "torch.cuda.is_available(), or use device='cpu'"
        ) from error

    def from_numpy(array: Any) -> Any:
        if array.dtype.name == "bfloat16":  # which PyTorch does not read from NumPy
            bits = torch.from_numpy(np.array(array, order="C").view(np.int16))
            return bits.view(torch.bfloat16).to(place)
        return torch.from_numpy(np.array(array, order="C")).to(place)

    def to_numpy(array: Any) -> Any:
        host = array.detach().cpu()
        if host.dtype == torch.bfloat16:
            return host.contiguous().view(torch.int16).numpy().view(bfloat16())
        return host.numpy()

    functions = {"add_rows": _add_rows, "put_rows": _put_rows(torch)}
    return ArrayModuleBackend(
        "torch", xp, place, functions=functions, from_numpy=from_numpy, to_numpy=to_numpy
    )


def _add_rows(x: Any, index: Any, values: Any) -> Any:
    # With `accumulate`, CUDA sorts the indices; `index_add` would add in any order.
    return x.index_put((index.long(),), values, accumulate=True)


def _put_rows(torch: Any) -> Any:
    def put_rows(x: Any, index: Any, values: Any) -> Any:
        """The last of equal indices counts: of duplicates, PyTorch leaves it open."""
        count = index.shape[0]
        if count == 0:
            return x.clone()
        place = torch.arange(count, device=x.device)
        none = torch.full((x.shape[0],), -1, device=x.device)
        last = none.scatter_reduce(0, index.long(), place, "amax")
        chosen = values[last.clamp(min=0)]
        found = (last >= 0).reshape(-1, *[1] * (x.ndim - 1))
        return torch.where(found, chosen, x)

    return put_rows


register("torch", make_torch)
