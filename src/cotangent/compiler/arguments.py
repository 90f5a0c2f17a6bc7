"""The arguments of compiled functions: which are traced, which are static, which are captured."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arrays import refuse_masked
from ..config import SETTINGS, STATE
from ..dtypes import DType, float64, is_supported
from ..errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, TraceError
from ..shapes import Shape
from ..tensors import Tensor, Variable
from ..tree import flatten, unflatten
from .graph import Node

# Constants of a program, compared by their values; the first can be results, too.
_STATIC = (bool, int, str, bytes, type(None), enum.Enum, np.integer, np.bool_)
_CONSTANT = (slice, range, set, frozenset, complex)
_PLAIN = frozenset((np.ndarray, Tensor, Variable, bool, int, float, str, type(None)))


class Identity:
    """An object as a part of a key: equal to itself only, and alive as long as the key is."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    def __hash__(self) -> int:
        return id(self.item)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and other.item is self.item


class Placeholder:
    """The shape and dtype of an argument, and whether it is a number of Python or NumPy."""

    __slots__ = ("shape", "dtype", "is_number")

    def __init__(self, shape: Shape, dtype: DType, is_number: bool = False) -> None:
        self.shape = shape
        self.dtype = dtype
        self.is_number = is_number


def kind_of(leaf: Any) -> str:
    """How an argument takes part: "array", "float", "static", "constant" or "captured"."""
    if isinstance(leaf, Variable):
        return "captured"
    if isinstance(leaf, (Tensor, np.ndarray)):
        return "array"
    if isinstance(leaf, (float, np.floating)):
        return "float"
    if isinstance(leaf, _STATIC):
        return "static"
    return "constant" if isinstance(leaf, _CONSTANT) else "captured"


def with_arrays(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments with arrays of other libraries (PyTorch's, JAX's, columns of pandas) as those
    of NumPy, without a copy where that can be.

    Raises:
        DTypeError: for a masked array in which something is masked.
    """
    if all(map(_is_settled, args)) and (not kwargs or all(map(_is_settled, kwargs.values()))):
        return args, kwargs
    leaves, structure = flatten((args, kwargs))
    changed = False
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, np.ma.MaskedArray):
            refuse_masked("ct.jit", leaf)
        elif isinstance(leaf, (Tensor, np.ndarray, np.generic)) or not _is_array_like(leaf):
            continue
        leaves[i], changed = np.asarray(leaf), True
    both: tuple[Any, Any] = unflatten(structure, iter(leaves)) if changed else (args, kwargs)
    return both


def _is_settled(argument: Any) -> bool:
    """Whether it is plain at first sight: no container, and nothing of another library."""
    return type(argument) in _PLAIN or hasattr(argument, "announces_changes")


def _is_array_like(leaf: Any) -> bool:
    return hasattr(leaf, "__array__") and hasattr(leaf, "dtype") and hasattr(leaf, "shape")


def placeholders(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments with placeholders for what is traced."""
    leaves, structure = flatten((args, kwargs))
    out = []
    for leaf in leaves:
        kind = kind_of(leaf)
        if kind == "array":
            if not is_supported(leaf.dtype.newbyteorder("=")):
                raise DTypeError(
                    f"ct.jit: an argument of shape {leaf.shape} holds {leaf.dtype} data; "
                    "an array holds bool, integers or floats"
                )
            keep = isinstance(leaf, Tensor) or leaf.dtype.char != float64.char
            dtype = leaf.dtype.newbyteorder("=") if keep else SETTINGS.default_float
            out.append(Placeholder(leaf.shape, dtype))
        elif kind == "float":
            out.append(Placeholder((), float64, True))
        else:
            out.append(leaf)
    return unflatten(structure, iter(out))


def argument_names(function: Callable[..., Any], args: Any) -> dict[int, str]:
    """Names for the traced arguments, by leaf number, where an argument is one leaf."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}
    return dict(enumerate(names)) if all(isinstance(a, Placeholder) for a in args) else {}


def general_signature(args: Any, kwargs: Any) -> tuple[Any, list[Any]]:
    """What a program is made for, and the arrays to run it on."""
    leaves, structure = flatten((args, kwargs))
    parts: list[Any] = [STATE.grad, structure]
    inputs: list[Any] = []
    for leaf in leaves:
        kind = kind_of(leaf)
        if kind == "array":
            data = leaf.data if isinstance(leaf, Tensor) else leaf
            parts += (np.asarray(data).dtype.char, np.shape(data), isinstance(leaf, Tensor))
            inputs.append(data)
        elif kind == "float":
            parts.append(float)
            inputs.append(leaf)
        elif kind != "captured":
            parts += (type(leaf), _hashable(leaf))
        else:
            parts.append(Identity(leaf))
    return tuple(parts), inputs


def _hashable(leaf: Any) -> Any:
    """What equals that of another leaf of its type if both mean the same: 1 and True are equal."""
    if isinstance(leaf, slice):
        return tuple((type(x), x) for x in (leaf.start, leaf.stop, leaf.step))
    return frozenset((type(x), x) for x in leaf) if isinstance(leaf, (set, frozenset)) else leaf


def refuse_leaked(name: str, args: Any, kwargs: Any) -> None:
    """Raise if an argument is a tensor without values, kept from a trace."""
    for leaf in flatten((args, kwargs))[0]:
        if isinstance(leaf, Tensor) and isinstance(leaf.data, Node):
            raise TraceError(
                f"{name}: a tensor of shape {leaf.shape} that was made inside a function compiled "
                f"by ct.jit, at {leaf.data.source}, has no values outside of it; return it from "
                "that function instead"
            )


def stacked(leaf: Any) -> np.ndarray[Any, Any]:
    """An argument of `loop` as an array with a leading axis."""
    if isinstance(leaf, Tensor):
        # The second reads the payload, and says where it is if that is no NumPy array.
        return leaf.numpy() if leaf.backend == "numpy" else np.asarray(leaf.data)
    if isinstance(leaf, np.ndarray):
        is_double = leaf.dtype.char == float64.char
        return leaf.astype(SETTINGS.default_float) if is_double else leaf
    raise ArgumentTypeError(
        f"loop: every argument must be an array or tensor with a leading axis, not "
        f"{type(leaf).__name__}; repeat a constant for each iteration, or close over it"
    )


def one_slice(leaves: Sequence[Any], structure: Any, parts: Sequence[Any]) -> Any:
    """The arguments of one iteration of a loop: `parts` in the containers of the loop's arguments,
    and of the kinds of their `leaves`."""
    kinds = [
        Tensor(part) if isinstance(leaf, Tensor) else np.asarray(part)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return unflatten(structure, iter(kinds))


def common_length(arrays: Sequence[Any]) -> int:
    """The length that all arguments of `loop` have; `ShapeError` if they differ."""
    for array in arrays:
        if not array.ndim:
            raise ShapeError("loop: an argument of shape () has no leading axis to go through")
    lengths = [array.shape[0] for array in arrays]
    if not lengths:
        raise ArgumentError("loop: give at least one array; its length is the number of calls")
    if len(set(lengths)) > 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ShapeError(f"loop: the arguments have different lengths; shapes {shapes}")
    return int(lengths[0])


def what_varies(function: Callable[..., Any], before: Any, now: Any) -> str:
    """The argument that differs between the last two traces."""
    old, new = (_named_arguments(function, *call) for call in (before, now))
    for name in [*new, *old]:
        a, b = old.get(name, "absent"), new.get(name, "absent")
        if a != b:
            return f"the argument {name}, which was {a} and then {b}"
    return "a changed layer, mode or setting"


def _named_arguments(function: Callable[..., Any], args: Any, kwargs: Any) -> dict[str, str]:
    """What each argument was traced for, by its name."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = dict(enumerate(args)) | kwargs
    return {f"{name!s}": ", ".join(map(_described, flatten(x)[0])) for name, x in bound.items()}


def _described(leaf: Any) -> str:
    if isinstance(leaf, Placeholder):
        return f"{leaf.dtype}{leaf.shape}"
    # Two models of one structure look alike, but are not one.
    return object.__repr__(leaf) if kind_of(leaf) == "captured" else repr(leaf)
