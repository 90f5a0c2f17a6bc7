"""The one interception point: every operation goes through `bind`.

`bind` brings the inputs to one dtype, evaluates (by the array module, or by the trace that is
on), and, where an input is tracked, makes an entry on the tape. It is the same under a trace,
so `backward` in a traced function just adds nodes to the graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .backends import NUMPY, OWNERS, backend_of
from .config import SETTINGS, STATE
from .dtypes import DType, bool_, int64, promote
from .entries import Entry, Shaped
from .errors import ArgumentError, BackendError, Error, TraceError
from .ops import Primitive, astype
from .tensors import Tensor, Variable, tensor

_SCALARS: dict[tuple[Any, DType], Tensor] = {}
_MOST_SCALARS = 1024


def bind(primitive: Primitive, inputs: Sequence[Any], attrs: dict[str, Any]) -> Tensor:
    """Apply `primitive` to tensors, arrays and numbers."""
    payloads = []
    kinds = ""
    tracked = False
    for x in inputs:
        if type(x) is not Tensor:
            return bind(primitive, _convert(primitive, inputs), attrs)
        data = x.data
        payloads.append(data)
        kinds += data.dtype.char
        if x.entry is not None:
            tracked = True
    if kinds not in primitive.accepted:
        inputs = _accept(primitive, inputs, attrs, kinds)
        payloads = [x.data for x in inputs]
    if STATE.trace is None:
        data = _evaluate(primitive, payloads, attrs)
    else:
        data = STATE.trace.apply(primitive, payloads, attrs)
    if tracked and primitive.vjp and STATE.grad:
        return Tensor(data, _record(primitive, inputs, attrs, data))
    return Tensor(data)


def _record(primitive: Primitive, inputs: Sequence[Tensor], attrs: Any, data: Any) -> Entry:
    """The tape entry of a result: what the derivative rules read, and shapes for the rest."""
    kept: list[Any] = []
    parents = []
    for x, keep in zip(inputs, primitive.keep, strict=False):
        parents.append(x.entry)
        kept.append(x if keep else Shaped(x.data.shape, x.data.dtype))
    out = data if primitive.keep_out else None
    return Entry(primitive, attrs, kept, parents, out, data.shape, data.dtype)


def _accept(
    primitive: Primitive, inputs: Sequence[Tensor], attrs: dict[str, Any], kinds: str
) -> Sequence[Tensor]:
    """The inputs at one dtype, for dtypes that this op has not met before.

    Dtypes that need no promotion and pass the shape rule are remembered in the record.
    """
    start = primitive.uniform_from
    if start is not None and len(set(kinds[start:])) > 1:
        inputs = _promote(primitive, inputs, start)
        kinds = "".join([x.dtype.char for x in inputs])
    primitive.infer(*inputs, **attrs)
    primitive.accepted.add(kinds)
    return inputs


def _evaluate(primitive: Primitive, payloads: list[Any], attrs: dict[str, Any]) -> Any:
    backend: Any = OWNERS.get(type(payloads[0]))
    for data in payloads:
        if backend is None or OWNERS.get(type(data)) is not backend:
            backend = backend_of_all(primitive, payloads)
            break
    try:
        return backend.evaluate(primitive.eval, payloads, attrs)
    except Error:
        raise
    except Exception:
        primitive.infer(*payloads, **attrs)  # says why, in the user's words
        raise


def backend_of_all(primitive: Primitive, payloads: list[Any]) -> Any:
    """The backend that all `payloads` belong to."""
    found = None
    for data in payloads:
        try:
            backend = backend_of(data)
        except BackendError:
            if hasattr(data, "source"):
                raise TraceError(
                    f"{primitive.name}: a tensor of shape {data.shape} that was made inside a "
                    "function compiled by ct.jit is used outside of it, where it has no values; "
                    "return it from the function instead"
                ) from None
            raise
        if found is not None and backend is not found:
            raise BackendError(
                f"{primitive.name}: tensors of the backends {found.name} and {backend.name} do "
                "not mix; move one of them with .to(...)"
            )
        found = backend
    return found


def _convert(primitive: Primitive, inputs: Sequence[Any]) -> Sequence[Tensor]:
    """Inputs among which are variables, numbers or arrays, as tensors.

    Numbers are weak: they take the dtype of the others. The frequent cases come first: variables,
    and one number beside a float tensor.
    """
    values: list[Any] = [x.value if type(x) is Variable else x for x in inputs]
    kinds = [type(x) for x in values]
    if kinds.count(Tensor) == len(kinds):
        return values
    if len(values) == 2 and not primitive.uniform_from and Tensor in kinds:
        place = kinds.index(Tensor)
        number, dtype = values[1 - place], values[place].data.dtype
        if kinds[1 - place] in (float, int) and dtype.kind == "f":
            values[1 - place] = scalar(number, dtype)
            return values
    return _convert_each(primitive, values)


def _convert_each(primitive: Primitive, inputs: Sequence[Any]) -> list[Tensor]:
    """`_convert` for all cases."""
    start = primitive.uniform_from or 0
    values = [_as_tensor(x) for x in inputs]
    strong: DType | None = None
    for x in values[start:]:
        if x is not None and x.data.dtype is not strong:
            strong = x.dtype if strong is None else promote(primitive.name, strong, x.dtype)
    return [
        scalar(inputs[i], _weak_dtype(inputs[i], strong if i >= start else None))
        if x is None
        else x
        for i, x in enumerate(values)
    ]


def _as_tensor(x: Any) -> Tensor | None:
    """`x` as a tensor, or None for a number."""
    kind = type(x)
    if kind is Tensor:
        return x
    if kind is Variable:
        return x.value
    if kind is float or kind is int or isinstance(x, (bool, int, float)):
        return None
    if isinstance(x, np.generic) and x.dtype.kind in "biuf":
        return None
    return tensor(x)


def _weak_dtype(value: Any, strong: DType | None) -> DType:
    kind = value.dtype.kind if isinstance(value, np.generic) else None
    if isinstance(value, float) or kind == "f":
        return strong if strong is not None and strong.kind == "f" else SETTINGS.default_float
    if isinstance(value, bool) or kind == "b":
        return bool_ if strong is None else strong
    return int64 if strong is None or strong == bool_ else strong


def scalar(value: Any, dtype: DType) -> Tensor:
    """A number as a 0-d tensor of `dtype`; those in use are made once.

    Raises `ArgumentError` for an integer that `dtype` cannot hold.
    """
    found = _SCALARS.get((value, dtype))
    if found is not None and value != 0:
        return found
    try:
        made = Tensor(NUMPY.copy_in(value, dtype))
    except OverflowError:
        raise ArgumentError(f"{value} does not fit into a tensor of {dtype}") from None
    if len(_SCALARS) >= _MOST_SCALARS:
        _SCALARS.clear()
    if not math.isnan(value):
        _SCALARS[(value, dtype)] = made
    return made


def _promote(primitive: Primitive, values: Sequence[Tensor], start: int) -> list[Tensor]:
    joint = values[start].dtype
    for x in values[start + 1 :]:
        joint = promote(primitive.name, joint, x.dtype)
    return [
        x if i < start or x.dtype == joint else astype(x, dtype=joint) for i, x in enumerate(values)
    ]
