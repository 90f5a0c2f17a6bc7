"""The one interception point: every operation goes through `bind`.

`bind` brings the inputs to one dtype, evaluates (by the array module, or by the trace that is
on), and, where an input is tracked, makes an entry on the tape. It is the same under a trace,
so `backward` in a traced function just adds nodes to the graph.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .backends import NUMPY, OWNERS, backend_of, place_of
from .config import SETTINGS, STATE
from .dtypes import DType, bool_, int64, is_float, is_narrow, is_supported, promote
from .entries import Entry, Shaped
from .errors import ArgumentError, ArgumentTypeError, BackendError, Error, TraceError
from .narrow import computes_narrow, evaluate_narrow
from .ops import Primitive, astype
from .placement import allocate, home_of
from .tensors import Tensor, Unplaced, Variable, lift
from .weak import Number

_SCALARS: dict[tuple[Any, DType], Tensor] = {}
_MOST_SCALARS = 128


def bind(primitive: Primitive, inputs: Sequence[Any], attrs: dict[str, Any]) -> Tensor:
    """Apply `primitive` to tensors, arrays and numbers."""
    payloads = []
    kinds = ""
    tracked = narrow = False
    for x in inputs:
        if type(x) is not Tensor:
            values = _convert(primitive, inputs)
            if values is None:
                return _bind_raw(primitive, inputs, attrs)
            return bind(primitive, values, attrs)
        data = x.data
        payloads.append(data)
        kinds += data.dtype.char
        if x.entry is not None:
            tracked = True
    if kinds not in primitive.accepted:
        inputs = _accept(primitive, inputs, attrs, kinds)
        payloads = [x.data for x in inputs]
        narrow = computes_narrow(primitive, payloads)
    trace = STATE.trace
    if trace is not None and not trace.looks_on:
        data = trace.apply(primitive, inputs, attrs)
    elif narrow:
        data = evaluate_narrow(primitive, payloads, attrs)
    else:
        data = evaluate(primitive, payloads, attrs)
    if trace is not None and trace.looks_on:
        trace.look(primitive, inputs, data)
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
    _check_count(primitive, inputs, attrs)
    start = primitive.uniform_from
    if start is not None and len(set(kinds[start:])) > 1:
        inputs = _promote(primitive, inputs, start)
        kinds = "".join([x.dtype.char for x in inputs])
    primitive.infer(*inputs, **attrs)
    if not any(is_narrow(x.dtype) for x in inputs):
        primitive.accepted.add(kinds)  # those with narrow floats come here each time
    return inputs


def _check_count(primitive: Primitive, inputs: Sequence[Any], attrs: dict[str, Any]) -> None:
    """Raise if an op of a fixed number of inputs gets another."""
    code = getattr(primitive.eval, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return
    names = code.co_varnames[1 : code.co_argcount]
    count = sum(name not in attrs for name in names)
    if len(inputs) != count:
        unit = "tensor" if count == 1 else "tensors"
        raise ArgumentTypeError(f"{primitive.name} takes {count} {unit}, not {len(inputs)}")


def evaluate(primitive: Primitive, payloads: list[Any], attrs: dict[str, Any]) -> Any:
    """The result of an op on arrays, by the array module that they belong to."""
    backend: Any = OWNERS.get(type(payloads[0]))
    for data in payloads:
        if backend is None or OWNERS.get(type(data)) is not backend:
            backend = backend_of_all(primitive, payloads)
            break
    try:
        return backend.evaluate(primitive.eval, payloads, attrs)
    except Error:
        raise
    except Exception as error:
        primitive.infer(*payloads, **attrs)  # says why, in the user's words
        if backend is NUMPY:
            raise
        inputs = ", ".join(f"{x.dtype} {x.shape}" for x in payloads)
        reason = str(error).partition("\n")[0]
        raise BackendError(
            f"{primitive.name}: the backend {place_of(backend)} cannot do this with {inputs} "
            f"({reason}); convert with .astype(...), or move to another backend with .to(...)"
        ) from error


def backend_of_all(primitive: Primitive, payloads: list[Any]) -> Any:
    """The backend for all `payloads`. Single numbers of NumPy go with any other backend: they
    are constants of derivative rules, and the state of generators."""
    homes = [_home(primitive, data) for data in payloads]
    chosen = next((home for home in homes if home is not NUMPY), NUMPY)
    for home, data in zip(homes, payloads, strict=True):
        if home is not chosen and not (home is NUMPY and data.shape == ()):
            places = [f"{x.shape} on {place_of(h)}" for x, h in zip(payloads, homes, strict=True)]
            raise BackendError(
                f"{primitive.name}: tensors of the backends {place_of(chosen)} and "
                f"{place_of(home)} do not mix ({', '.join(places)}); move one of them with "
                f".to({home.name!r}) or .to({chosen.name!r})"
            )
    return chosen


def _home(primitive: Primitive, data: Any) -> Any:
    try:
        return backend_of(data)
    except BackendError:
        if hasattr(data, "maker"):
            raise TraceError(
                f"{primitive.name}: a tensor of shape {data.shape} that was made inside "
                f"{data.maker} is used outside of it, where it has no values; "
                "return it from the function instead"
            ) from None
        raise


def _bind_raw(primitive: Primitive, inputs: Sequence[Any], attrs: dict[str, Any]) -> Tensor:
    """`bind` where raw arrays are among the inputs: they follow the tensors beside them, and
    what is made of nothing else still has no place of its own."""
    values = _convert_each(primitive, inputs)
    homes = [home_of(x.data) for x in inputs if isinstance(x, Tensor) and not x.follows]
    if not homes:
        out = bind(primitive, values, attrs)
        if STATE.trace is not None or home_of(out.data) is not NUMPY:
            return out  # it is traced, or was moved
        return Unplaced(out.data)
    home = next((home for home in homes if home is not NUMPY), NUMPY)
    if home is not NUMPY:
        for i, x in enumerate(inputs):
            if not isinstance(x, Tensor) or x.follows:
                values[i] = Tensor(allocate(values[i].data, home))
    return bind(primitive, values, attrs)


def _convert(primitive: Primitive, inputs: Sequence[Any]) -> Sequence[Tensor] | None:
    """Inputs among which are variables, and one number beside a float tensor, as tensors: the
    frequent cases. None for all others."""
    values: list[Any] = [x.value if type(x) is Variable else x for x in inputs]
    kinds = [type(x) for x in values]
    if kinds.count(Tensor) == len(kinds):
        return values
    if len(values) == 2 and not primitive.uniform_from and Tensor in kinds:
        place = kinds.index(Tensor)
        number, dtype = values[1 - place], values[place].data.dtype
        if kinds[1 - place] in (float, int) and is_float(dtype):
            values[1 - place] = scalar(number, dtype)
            return values
    return None


def _convert_each(primitive: Primitive, inputs: Sequence[Any]) -> list[Tensor]:
    """Inputs among which are variables, numbers or arrays, as tensors. Numbers are weak: they
    take the dtype of the others."""
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
    if kind is Unplaced:
        return Tensor(x.data)
    if kind is Variable:
        return x.value
    if kind is float or kind is int or isinstance(x, (bool, int, float, Number)):
        return None
    if isinstance(x, np.generic) and is_supported(x.dtype):
        return None
    made = lift(x)
    return Tensor(made.data, made.entry, made.name)


def _weak_dtype(value: Any, strong: DType | None) -> DType:
    kind = value.dtype.kind if isinstance(value, np.generic) else None
    if isinstance(value, (float, Number)) or (kind is not None and is_float(value.dtype)):
        return strong if strong is not None and is_float(strong) else SETTINGS.default_float
    if isinstance(value, bool) or kind == "b":
        return bool_ if strong is None else strong
    return int64 if strong is None or strong == bool_ else strong


def scalar(value: Any, dtype: DType) -> Tensor:
    """A number as a 0-d tensor of `dtype`; those in use are made once.

    Raises `ArgumentError` for an integer that `dtype` cannot hold.
    """
    if isinstance(value, Number):
        return value.alone(dtype)
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


def scalar_like(value: Any, x: Tensor) -> Tensor:
    """A number as a 0-d tensor of the dtype of `x`, on its backend."""
    made, home = scalar(value, x.dtype), home_of(x.data)
    return made if home is NUMPY else Tensor(allocate(made.data, home))


def _promote(primitive: Primitive, values: Sequence[Tensor], start: int) -> list[Tensor]:
    joint = values[start].dtype
    for x in values[start + 1 :]:
        joint = promote(primitive.name, joint, x.dtype)
    return [
        x if i < start or x.dtype == joint else astype(x, dtype=joint) for i, x in enumerate(values)
    ]
