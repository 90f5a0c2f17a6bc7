"""The tensor: a value with a shape, a dtype, and perhaps an entry on the tape.

A `Tensor` never changes. A `Variable` is a named cell that holds a tensor, and only
`Variable.assign` (or a compiled step) puts another one into it. What was read from it before
keeps its value.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np

from . import functional, indexing, ops
from .arrays import copy_as, dtype_of, new_array
from .backends import DeviceArray, backend_of, find_backend, is_concrete
from .callers import user_line
from .config import EPOCH, STATE
from .dtypes import DType, as_dtype, is_float, is_unknown
from .entries import Entry, leaf
from .errors import (
    ArgumentError,
    ArgumentTypeError,
    DTypeError,
    MutationError,
    ShapeError,
    TraceError,
)
from .operators import Operators, Unchangeable
from .placement import address_of, allocate, home_of, move_all, require_same_home, restored
from .shapes import Shape

# Keys that NumPy takes directly; an eager slice of an untracked tensor needs nothing else.
_PLAIN_KEYS = frozenset((int, slice, type(None), type(...)))


def _is_plain(key: Any) -> bool:
    kind = type(key)
    return kind in _PLAIN_KEYS or (kind is tuple and _PLAIN_KEYS.issuperset(map(type, key)))


class Tensor(Operators):
    """An n-dimensional array that can be differentiated.

    Make one with `ct.tensor`, a trainable one with `ct.var`. Operators broadcast like NumPy's.

    Attributes:
        data: the payload: a backend's array, or a node of the graph being traced.
        entry: its entry on the tape, or None if it is not tracked.
        name: a name for messages and prints, or None.
    """

    __slots__ = ("data", "entry", "name", "__weakref__")
    __hash__ = object.__hash__
    follows = False  # whether it goes to the backend of the tensors beside it: see `Unplaced`

    def __init__(self, data: Any, entry: Entry | None = None, name: str | None = None) -> None:
        self.data = data
        self.entry = entry
        self.name = name

    # -- making ---------------------------------------------------------------------------

    @staticmethod
    def var(name: str, data: Any, dtype: Any = None) -> Variable:
        """A variable: see `ct.var`."""
        return var(name, data, dtype=dtype)

    @staticmethod
    def constant(data: Any, dtype: Any = None) -> Tensor:
        """An untracked tensor: see `ct.tensor`."""
        return tensor(data, dtype=dtype)

    # -- what it is -----------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        """The sizes of the axes."""
        return self.data.shape

    @property
    def dtype(self) -> DType:
        """The type of the elements."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def tracked(self) -> bool:
        """Whether gradients can flow to what this tensor was computed from."""
        return self.entry is not None

    # -- values out -----------------------------------------------------------------------

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a read-only NumPy array that never changes."""
        data = self.data
        if not is_concrete(data):
            self._refuse_in_trace(
                "numpy()", "return the tensor from the function and convert it there"
            )
        out: np.ndarray[Any, Any] = backend_of(data).to_numpy(data)
        return out

    def _refuse_in_trace(self, what: str, instead: str) -> None:
        """Raise if this is a traced value, which has a shape and a dtype but no numbers yet."""
        data = self.data
        if hasattr(data, "__array__") or hasattr(data, "__array_namespace__"):
            return
        raise TraceError(
            f"{what} needs a number, but this tensor of shape {self.shape} was made inside "
            f"{getattr(data, 'maker', 'a trace')} and has none there, at {user_line()}; {instead}"
        )

    def item(self) -> Any:
        """The only element as a Python number."""
        array = self.numpy()
        if array.size != 1:
            raise ShapeError(f"item: shape {self.shape} has {array.size} elements, not one")
        return array.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ArgumentError(
                    f"asarray: {self.dtype} values cannot become {np.dtype(dtype)} without a copy"
                )
            return array.astype(dtype)
        return array.copy() if copy else array

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self  # a value needs no copies

    def __reduce__(self) -> Any:
        return (_rebuild_tensor, (np.array(self.numpy()), self.name, address_of(self.data)))

    def detach(self) -> Tensor:
        """The same values, not tracked."""
        return Tensor(self.data)

    def backward(self, keep: bool = False, differentiable: bool = False) -> Any:
        """The gradients of this scalar with respect to every variable that had a part in it.

        Args:
            keep: keep the graph, so that another backward pass can go through it.
            differentiable: record the backward pass too, for derivatives of higher order;
                implies `keep`.

        Returns:
            `Gradients`, looked up by variable: ``grads.wrt(w)``.

        Raises:
            GradientError: if this is not a floating-point scalar, nothing in it is tracked, or
                the graph was consumed by an earlier pass.
        """
        return ops.backward(self, keep, differentiable)

    def __repr__(self) -> str:
        name = f", name={self.name!r}" if self.name else ""
        tracked = ", tracked" if self.tracked else ""
        if not is_concrete(self.data):
            return f"Tensor(<traced>, shape={self.shape}, dtype={self.dtype}{name}{tracked})"
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(")
        place = ""
        if type(self.data) is DeviceArray:
            place = f", backend={self.backend!r}, device={self.device!r}"
        return f"Tensor({values}, dtype={self.dtype}{place}{name}{tracked})"

    def _number(self, what: str) -> Any:
        self._refuse_in_trace(what, "compute with tensors, and use ct.where for a choice")
        return self.item()

    def __bool__(self) -> bool:
        return bool(self._number("if, while, and, or, not, or bool() of a tensor"))

    def __float__(self) -> float:
        return float(self._number("float()"))

    def __int__(self) -> int:
        return int(self._number("int()"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise DTypeError(f"an index must be an integer, not a tensor of {self.dtype}")
        self._refuse_in_trace(
            "use as a Python integer (an index of a list, a bound of a slice, range)",
            "pass an int, which is a constant of the program, or index tensors by tensors: "
            "ct.take(x, start + ct.arange(length))",
        )
        return int(self.item())

    def __len__(self) -> int:
        if not self.shape:
            raise ArgumentTypeError("len: a 0-d tensor has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return iter([self[i] for i in range(len(self))])

    # -- indexing -------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Tensor:
        """Integers, slices, ..., None, integer arrays and bool masks, as in NumPy."""
        if self.entry is None and _is_plain(key):
            data = self.data
            if isinstance(data, np.ndarray):
                try:
                    return Tensor(data[key])
                except (IndexError, TypeError, ValueError):
                    pass  # the way below says why
        return indexing.getitem(self, key)

    @property
    def at(self) -> indexing.At:
        """For new tensors that differ at an index: ``x.at[0].set(5.0)``; also add, multiply,
        max, min."""
        return indexing.At(self)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise MutationError(
            f"x[{key!r}] = ...: a tensor is a value and cannot be changed (shape {self.shape}). "
            "Build a new one with x.at[...].set(value) or ct.where, or give a variable new values "
            "with w.assign(...)"
        )


class Variable(Unchangeable, Tensor):
    """A named cell that holds a tensor; the parameters and the state of models are variables.

    Make one with `ct.var`. Reading it in an operation reads the value that it holds then.

    Attributes:
        name: its name in messages.
        leaf: its entry on the tape, one for life, by which gradients are looked up.
        parameter: whether it is there to be trained, frozen or not, rather than a buffer.
    """

    # `_held` is the tensor that operations read. It is None while nobody but the variable knows
    # `_array`, and only then may a compiled step write into that array.
    __slots__ = ("_array", "_held", "_requires_grad", "leaf", "parameter")

    def __init__(self, array: Any, name: str | None, requires_grad: bool) -> None:
        if not hasattr(array, "dtype"):
            raise ArgumentTypeError(
                f"Variable: holds an array, not {type(array).__name__}; make one with "
                "ct.var(name, data)"
            )
        self.name = name
        self._array = array
        self._held: Tensor | None = None
        self._requires_grad = requires_grad
        self.parameter = requires_grad
        self.leaf = leaf(array.shape, array.dtype)
        self.leaf.owner = weakref.ref(self)

    def __deepcopy__(self, memo: Any) -> Variable:
        """A variable of its own, with an entry of its own on the tape, that holds equal values."""
        build, parts = self.__reduce__()
        return build(*parts)

    @property
    def value(self) -> Tensor:
        """The tensor that the variable holds now."""
        trace = STATE.trace
        if trace is not None and not trace.looks_on:
            return trace.read(self)
        held = self._held
        if held is None:
            held = self._held = self.wrap(self._array)
            EPOCH.bump()
        return held

    def wrap(self, data: Any) -> Tensor:
        """`data` as a tensor that stands for this variable on the tape."""
        return Tensor(data, self.leaf if self._requires_grad else None, self.name)

    @property
    def data(self) -> Any:
        """The payload of the value held now."""
        return self.value.data

    @property
    def entry(self) -> Entry | None:  # type: ignore[override]
        """The leaf of the variable, or None while it is frozen."""
        return self.leaf if self._requires_grad else None

    @property
    def shape(self) -> Shape:
        """The sizes of the axes; they never change."""
        return self.leaf.shape

    @property
    def dtype(self) -> DType:
        """The type of the elements; it never changes."""
        return self.leaf.dtype

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this variable; set it to False to freeze it."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        if flag and not is_float(self.dtype):
            raise DTypeError(f"a variable of {self.dtype} cannot require gradients; use a float")
        self._requires_grad = bool(flag)
        self.parameter = self.parameter or self._requires_grad
        if self._held is not None:
            self._held = self.wrap(self._held.data)
        EPOCH.restructure()

    def assign(self, value: Any) -> None:
        """Put new values into the variable: the only way to change it.

        Tensors read from it before keep the old ones. The shape must be the same (a value does
        not broadcast), and the dtype is converted.

        Raises:
            ShapeError: if the shape differs.
        """
        # What is no tensor yet is taken in the variable's own dtype, which no digit is lost by.
        value = value.alone(self.dtype) if is_unknown(value) else value
        own = isinstance(value, Tensor)
        new = lift(value) if own else Unplaced(new_array("assign", value, self.dtype))
        if new.shape != self.shape:
            raise ShapeError(
                f"assign: {self.name or 'the variable'} has shape {self.shape} and cannot take "
                f"values of shape {new.shape}; reshape or broadcast them first"
            )
        if new.dtype != self.dtype:
            new = functional.astype(new, self.dtype)
        trace = STATE.trace
        if trace is not None and not trace.looks_on:
            trace.write(self, new)
            return
        data = new.data
        if type(data) is not np.ndarray or type(self._array) is not np.ndarray:
            new._refuse_in_trace("assign", "return the tensor from the function and assign it then")
            home = home_of(self._array)
            data = require_same_home("assign", self.name or "the variable", home, new).data
        self._array = data
        self._held = self.wrap(data)
        EPOCH.bump()

    def move(self, backend: str, device: Any = None) -> None:
        """Put the values of the variable on another backend: see `Tensor.to`. What was read from
        it before stays where it was.

        >>> w = Tensor.var("w", 1.0)
        >>> w.move("numpy")
        """
        move_all([self], find_backend(backend, device))

    def put(self, value: Tensor) -> None:
        """Eager `assign` of a fitting tensor made by `wrap`, without checks; bump the epoch
        after."""
        self._array = value.data
        self._held = value

    def peek(self) -> Any:
        """The array itself, for code that neither keeps nor changes it."""
        return self._array

    def claim(self, array: Any) -> None:
        """Hold `array`, which nobody else knows, so that compiled code may write into it."""
        self._array = array
        self._held = None
        EPOCH.bump()

    @property
    def private(self) -> bool:
        """Whether nobody but this variable knows its array."""
        return self._held is None

    def detach(self) -> Tensor:
        """The values held now, not tracked; they stay when the variable changes."""
        return self.value.detach()

    def __reduce__(self) -> Any:
        # A copy, or what is unpickled, is another variable, with a leaf of its own.
        parts = (self.name, self._requires_grad, self.parameter, address_of(self._array))
        return (_rebuild, (self.numpy().copy(), *parts))


class Unplaced(Tensor):
    """Raw data as a tensor of NumPy that follows the tensors beside it to their backend."""

    __slots__ = ()
    follows = True

    def detach(self) -> Tensor:
        """The same; it is never tracked."""
        return self


def _rebuild_tensor(array: Any, name: str | None, address: Any) -> Tensor:
    return Tensor(restored(array, address), None, name)


def _rebuild(
    array: Any, name: str | None, requires_grad: bool, parameter: bool, address: Any
) -> Variable:
    made = Variable(restored(array, address), name, requires_grad)
    made.parameter = parameter
    return made


# -- making tensors ---------------------------------------------------------------------------


def _allocated(what: str, data: Any, dtype: Any) -> Any:
    """A new payload that holds `data`, where creation functions allocate. A tensor keeps its
    dtype unless another is given, and stays where it is outside of `ct.backend`."""
    if is_unknown(data):
        return data.alone(None if dtype is None else as_dtype(dtype)).data
    if not isinstance(data, Tensor):
        return allocate(new_array(what, data, dtype))
    if what != "var" and not is_concrete(data.data):  # of a trace, or of `vmap`: no values yet
        same = data.detach()
        return (same if dtype is None else ops.astype(same, dtype=as_dtype(dtype))).data
    data._refuse_in_trace(f"ct.{what}", "make variables and layers outside, once")
    source = data.numpy()
    array = copy_as(what, source, source.dtype if dtype is None else as_dtype(dtype))
    return allocate(array, home_of(data.data) if STATE.backend is None else None)


def tensor(data: Any, dtype: Any = None) -> Tensor:
    """An untracked tensor that holds a copy of `data`.

    Args:
        data: a number, nested lists, a NumPy array, or a tensor.
        dtype: by default floats of Python and float64 arrays become the default float, and
            everything else keeps its dtype.

    >>> tensor([[1.0, 2.0]])
    Tensor([[1., 2.]], dtype=float32)
    """
    return Tensor(_allocated("tensor", data, dtype))


def asarray(data: Any, dtype: Any = None) -> Tensor:
    """Like `tensor`, but every dtype is kept, float64 too.

    >>> asarray(np.ones(2)).dtype
    dtype('float64')
    """
    if dtype is None and not isinstance(data, Tensor):
        dtype = dtype_of("asarray", data)
    return Tensor(_allocated("asarray", data, dtype))


def var(name: str, data: Any, dtype: Any = None, requires_grad: bool | None = None) -> Variable:
    """A named variable that holds a copy of `data`.

    Args:
        name: for messages.
        data: a number, nested lists, a NumPy array, or a tensor.
        dtype: as in `tensor`, except that integers stay integers and get no gradients.
        requires_grad: whether gradients flow to it; by default if it is floating-point.

    >>> w = var("w", [1.0, 2.0])
    >>> w.assign(w * 0.5)
    >>> w
    Tensor([0.5, 1. ], dtype=float32, name='w', tracked)
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"var: the name comes first, as in ct.var('w', data), not {name!r}")
    array = _allocated("var", data, dtype)
    if requires_grad is None:
        requires_grad = is_float(array.dtype)
    elif requires_grad and not is_float(array.dtype):
        raise DTypeError(f"var {name!r}: {array.dtype} cannot require gradients; use a float")
    return Variable(array, name, requires_grad)


def lift(value: Any) -> Tensor:
    """`value` as a tensor: a variable's present value, tensors as they are, the rest as `tensor`
    makes them."""
    if isinstance(value, Variable):
        return value.value  # so that no function hands on the variable, which changes
    if isinstance(value, Tensor):
        return value
    return value.alone() if is_unknown(value) else Unplaced(new_array("tensor", value, None))
