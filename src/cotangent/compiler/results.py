"""The results of compiled functions: trees of tensors, numbers and gradients."""

from __future__ import annotations

from typing import Any

from ..errors import TraceError
from ..gradients import Gradients
from ..tensors import Tensor


class Rebuild:
    """Marks where the variables of `Gradients` go in a flat result."""

    def __init__(self, owners: list[Any]) -> None:
        self.owners = owners


def flat_results(result: Any) -> Any:
    """`result` with Gradients as dicts, which can be flattened."""
    if isinstance(result, Gradients):
        pairs = list(result.pairs())
        return {"gradients": Rebuild([p[:2] for p in pairs]), "values": [p[2] for p in pairs]}
    if isinstance(result, dict):
        if any(isinstance(key, Tensor) for key in result):
            raise TraceError("ct.jit: a tensor cannot be a key of a dict that is returned")
        return {key: flat_results(item) for key, item in result.items()}
    if type(result) in (list, tuple):
        return type(result)(flat_results(item) for item in result)
    return result


def rebuild(result: Any) -> Any:
    """The inverse of `flat_results`."""
    if isinstance(result, dict):
        mark = result.get("gradients")
        if isinstance(mark, Rebuild):
            pairs = zip(mark.owners, result["values"], strict=True)
            return Gradients.of((number, owner, g) for (number, owner), g in pairs)
        return {key: rebuild(item) for key, item in result.items()}
    if type(result) in (list, tuple):
        return type(result)(rebuild(item) for item in result)
    return result
