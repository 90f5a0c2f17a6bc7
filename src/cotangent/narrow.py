"""Evaluation in float16 and bfloat16: computed in float32, and rounded once an op.

Compiled code does the same, so that both give the same bits. NumPy's own float16 arithmetic would
round within an op, and sum in float16.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .backends import NUMPY
from .dtypes import float32, is_narrow
from .ops import Primitive


def is_narrow_array(array: Any) -> bool:
    """Whether `array` is one of NumPy, of float16 or bfloat16."""
    return isinstance(array, (np.ndarray, np.generic)) and is_narrow(array.dtype)


def computes_narrow(primitive: Primitive, payloads: Sequence[Any]) -> bool:
    """Whether NumPy is to compute with arrays of float16 or bfloat16. Other backends have these
    dtypes themselves, and a move to one computes nothing."""
    if primitive.kind == "place" or not any(map(is_narrow_array, payloads)):
        return False
    return all(isinstance(x, (np.ndarray, np.generic)) for x in payloads)


def evaluate_narrow(primitive: Primitive, arrays: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The value of an op among whose inputs are narrow floats."""
    _, dtype = primitive.infer(*arrays, **attrs)

    def evaluate(xp: Any, *inputs: Any, **attrs: Any) -> Any:
        wide = [x.astype(float32) if is_narrow(x.dtype) else x for x in inputs]
        out = primitive.eval(xp, *wide, **attrs)
        return out if out.dtype == dtype else out.astype(dtype)

    return NUMPY.evaluate(evaluate, arrays, attrs)
