"""The data of pictures as JSON, so that a run's folder can be drawn again at any time.

Only the classes named here are made when a file is read, from plain numbers and text.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import FileError
from ..nn.summary import LayerSummary, Summary
from .distributions import Distribution, HistogramsOverTime
from .graphs import ComputationGraph
from .inside import DeadUnits, Flow, LayerUnits
from .predictions import Confusion, Residuals
from .tracing import GraphNode

_CLASSES: dict[str, Any] = {
    c.__name__: c
    for c in (
        ComputationGraph, Confusion, DeadUnits, Distribution, Flow, GraphNode,
        HistogramsOverTime, LayerSummary, LayerUnits, Residuals, Summary,
    )
}  # fmt: skip
_DTYPES = ("float64", "float32", "int64", "bool")


def encode(value: Any) -> Any:
    """A picture, or what it is made of, as what JSON can hold.

    >>> encode((1, float("inf")))
    [1, {'number': 'inf'}]
    """
    if dataclasses.is_dataclass(value) and type(value).__name__ in _CLASSES:
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class": type(value).__name__, "fields": fields}
    if isinstance(value, np.ndarray):
        return {"array": encode(value.tolist()), "dtype": str(value.dtype)}
    if isinstance(value, Mapping):
        return {"map": {str(key): encode(part) for key, part in value.items()}}
    if isinstance(value, (list, tuple)):
        return [encode(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    return value


def decode(value: Any) -> Any:
    """What `encode` was given; lists come back as tuples.

    Raises:
        FileError: for anything else.
    """
    if isinstance(value, list):
        return tuple(decode(part) for part in value)
    if not isinstance(value, dict):
        return value
    try:
        if "class" in value:
            fields = {str(name): decode(part) for name, part in value["fields"].items()}
            return _CLASSES[value["class"]](**fields)
        if "array" in value:
            if value["dtype"] not in _DTYPES:
                raise ValueError(value["dtype"])
            return np.array(decode(value["array"]), value["dtype"])
        if "map" in value:
            return {str(key): decode(part) for key, part in value["map"].items()}
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[value["number"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"the data of a picture are damaged: {str(value)[:60]!r}") from error
