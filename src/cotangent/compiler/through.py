"""Gradients through a compiled function: its backward pass is a second compiled function.

The results of a call are put on the tape as one op each. The derivative rule of that op is a
jitted function too, of the same inputs and the cotangent; it computes the forward pass again,
so nothing but the inputs is kept. Being jitted, it is tracked in turn where that is asked for,
which gives derivatives of any order. Variables that the call read are inputs as well, those
that it wrote (running statistics, the state of random generators) as they were before it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..config import EPOCH
from ..dtypes import DType, float64, is_float
from ..entries import NUMBERS, Entry
from ..errors import GradientError
from ..recompute import Substitution
from ..tensors import Tensor, Variable, lift, tensor
from ..transforms import jvp, vjp
from ..tree import flatten, unflatten
from ..weak import Number

_ENTRY = operator.attrgetter("entry")


# All that a call read, as tensors: its traced arguments, the variables, the variables' entries.
_Read = tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Entry | None]]


class Called(Entry):
    """The entry of a result of a compiled call. Most calls are never differentiated, so all but its
    number is put together when somebody looks at it."""

    __slots__ = ("_call",)

    def __init__(self, through: Through, place: int, read: _Read) -> None:
        self._call: Any = (through, place, read)
        self.number = next(NUMBERS)

    def __getattr__(self, name: str) -> Any:
        # Python asks this for attributes that have no value yet.
        if name not in Entry.__slots__:
            raise AttributeError(name)
        through, place, (given, values, entries) = self._call
        self._call, number = None, self.number
        parents = [*map(_ENTRY, given), *entries]
        shape, dtype = through.results[place]
        super().__init__(Rules(through, place), {}, [*given, *values], parents, None, shape, dtype)
        self.number = number
        through.forget()
        return getattr(self, name)


class Rules:
    """Stands for a compiled call in a tape entry: the derivative rules of one of its results.

    Most calls are never differentiated, so the rules are made when they are asked for.
    """

    _known: tuple[Any, Any] | None = None

    def __init__(self, through: Through, place: int) -> None:
        self.through = through
        self.place = place

    @property
    def name(self) -> str:
        """The function's name."""
        return self.through.name

    @functools.cached_property
    def vjp(self) -> list[Callable[..., Any]]:
        """The rule for each input, backwards."""
        return [self._vjp_rule(i) for i in range(self.through.count)]

    @functools.cached_property
    def jvp(self) -> list[Callable[..., Any]]:
        """The rule for each input, forwards."""
        return [self._jvp_rule(i) for i in range(self.through.count)]

    def _vjp_rule(self, i: int) -> Callable[..., Any]:
        def rule(g: Any, out: Any, *inputs: Any) -> Any:
            if self._known is None or self._known[0] is not g:
                # One run computes the cotangents of all inputs; the tape asks for them in turn.
                self._known = (g, self.through.backward(self.place)(*inputs, g))
            return self._known[1][i]

        return rule

    def _jvp_rule(self, i: int) -> Callable[..., Any]:
        return lambda t, out, *inputs: self.through.forward(self.place, i)(*inputs, t)


class Through:
    """The derivatives of one compiled signature.

    Attributes:
        name: of the function.
        variables: captured variables that gradients can flow to; they are inputs here.
        fixed: the other variables: those that are only read, and those that are written.
        results: (shape, dtype) of each.
        numbers: what number each has among the tensors that are no values of `Gradients`.
        tracked: which of them are floating-point, and no values of `Gradients`.
        count: of the inputs that have derivatives: the traced arguments, and `variables`.
    """

    def __init__(self, jitted: Any, entry: Any, args: Any, kwargs: Any) -> None:
        self.name = jitted.__name__
        self._like = jitted.like
        self._function = jitted._function
        self._entry = entry
        self._leaves, self._structure = flatten((args, kwargs))
        self._tensors = [i for i, leaf in enumerate(self._leaves) if _is_traced(leaf)]
        # Whether the arguments are tensors, or tensors and arrays, side by side: for all calls
        # alike.
        self._plain = not kwargs and all(type(x) in (Tensor, np.ndarray) for x in args)
        self._only_tensors = self._plain and all(type(x) is Tensor for x in args)
        self._numbers = {i for i in self._tensors if _dtype_of_number(self._leaves[i])}
        self._leaves = [None if i in self._tensors else x for i, x in enumerate(self._leaves)]
        captured = entry.program.variables
        self.variables = [v for v in captured if v.parameter and is_float(v.dtype)]
        moving = [*self.variables, *entry.state]
        self._only_read = [v for v in captured if not any(v is x for x in moving)]
        self.fixed = [*self._only_read, *entry.state]
        self.count = len(self._tensors) + len(self.variables)
        self._backward: dict[Any, Any] = {}
        self.results = entry.program.outputs
        self.numbers = entry.numbers()
        self.tracked = [
            is_float(dtype) and number >= 0
            for number, (_, dtype) in zip(self.numbers, self.results, strict=True)
        ]
        # The epoch at which the variables were looked at, and until it changes their entries,
        # whether one is tracked, and, once they were read, their values.
        self._epoch = -1
        self._entries: tuple[Entry | None, ...] = ()
        self._tracked = False
        self._values: tuple[Tensor, ...] | None = None

    def read(self, args: Any, kwargs: Any, before: Sequence[Tensor]) -> _Read | None:
        """What a call read, if any of it is tracked; `before` is what the variables that it wrote
        held. Arrays are copied: they may change before `backward`."""
        if self._epoch != EPOCH.value:
            self.forget()
        given = args
        if not self._only_tensors:
            given = self._traced(args, kwargs)
            tracked = any(isinstance(x, Tensor) and x.entry is not None for x in given)
            if not (self._tracked or tracked):
                return None
            given = [x if isinstance(x, Tensor) else tensor(x, _dtype_of_number(x)) for x in given]
        elif not (self._tracked or any(map(_ENTRY, args))):
            return None
        values = self._values
        if values is None:
            values = tuple([v.value for v in (*self.variables, *self._only_read)])
            self._values = values
            self._epoch = EPOCH.value  # reading may have moved it on
        return given, (*values, *before) if before else values, self._entries

    def forget(self) -> None:
        """Look at the variables anew, and let go of the values that they had."""
        entries = [v.entry for v in self.variables]
        self._tracked = any(entries)
        self._entries = (*entries, *[None] * len(self.fixed))
        self._values, self._epoch = None, EPOCH.value

    def _traced(self, args: Any, kwargs: Any) -> Sequence[Any]:
        """The arguments that are traced."""
        if self._plain:
            return args
        leaves = flatten((args, kwargs))[0]
        return [leaves[i] for i in self._tensors]

    def _run(self, place: int, inputs: Sequence[Tensor]) -> Any:
        """Result number `place` of the function, on `inputs`; only under a trace or a scope."""
        if not self._entry.current():
            raise GradientError(
                f"backward through {self.name}: a layer, mode or setting was changed after the "
                "call; "
                "take the gradients before changing the model"
            )
        count = len(self._tensors)
        leaves = list(self._leaves)
        for i, x in zip(self._tensors, inputs[:count], strict=True):
            leaves[i] = Number(x) if i in self._numbers else x
        args, kwargs = unflatten(self._structure, iter(leaves))
        variables = (*self.variables, *self.fixed)
        with Substitution(zip(variables, inputs[count:], strict=True)):
            result = self._function(*args, **kwargs)
        tensors = [leaf for leaf in flatten(result)[0] if isinstance(leaf, (Tensor, Number))]
        return lift(tensors[self.numbers[place]])

    def backward(self, place: int) -> Any:
        """The jitted function ``(*inputs, g)`` of the cotangents of all inputs."""

        def cotangents(*values: Any) -> Any:
            *inputs, g = values
            fixed = inputs[self.count :]
            _, pullback = vjp(lambda *xs: self._run(place, [*xs, *fixed]), *inputs[: self.count])
            return tuple(pullback(g))

        return self._kept(place, cotangents)

    def forward(self, place: int, i: int) -> Any:
        """The jitted function ``(*inputs, t)`` of the tangent that input `i` adds."""

        def tangent(*values: Any) -> Any:
            *inputs, t = values

            def along(x: Any) -> Any:
                return self._run(place, [*inputs[:i], x, *inputs[i + 1 :]])

            return jvp(along, (inputs[i],), (t,))[1]

        return self._kept((place, i), tangent)

    def _kept(self, key: Any, function: Callable[..., Any]) -> Any:
        found = self._backward.get(key)
        if found is None:
            function.__name__ = f"{self.name}.backward"
            found = self._backward[key] = self._like(function)
        return found


def _is_traced(leaf: Any) -> bool:
    """Whether an argument is an input of the program, rather than a constant or captured."""
    if isinstance(leaf, Variable):
        return False
    return isinstance(leaf, (Tensor, np.ndarray, float, np.floating))


def _dtype_of_number(leaf: Any) -> DType | None:
    """float64 for numbers, which keep all their digits."""
    return float64 if isinstance(leaf, (float, np.floating)) else None


def track_results(
    jitted: Any, entry: Any, args: Any, kwargs: Any,
    arrays: Sequence[Any], before: Sequence[Tensor],
) -> Any:  # fmt: skip
    """The result of a call that returned `arrays`; those that have derivatives are on the tape, if
    anything that the call read is tracked.

    Args:
        before: what the variables in ``entry.state`` held.
    """
    through = entry.through
    if through is None:
        through = entry.through = Through(jitted, entry, args, kwargs)
    read = through.read(args, kwargs, before)
    if read is None:
        return entry.assemble(map(Tensor, arrays))
    if entry.single:
        return _on_tape(through, 0, read, arrays[0])
    return entry.assemble([_on_tape(through, i, read, array) for i, array in enumerate(arrays)])


def _on_tape(through: Through, place: int, read: _Read, array: Any) -> Tensor:
    """Result number `place` as a tensor, tracked if it has derivatives."""
    return Tensor(array, Called(through, place, read) if through.tracked[place] else None)
