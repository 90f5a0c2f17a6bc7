"""Gradients through a compiled function: its backward pass is a second compiled function.

The results of a call are put on the tape as one op each. The derivative rule of that op is a
jitted function too, of the same inputs and the cotangent; it computes the forward pass again,
so nothing but the inputs is kept. Being jitted, it is tracked in turn where that is asked for,
which gives derivatives of any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..config import STATE
from ..dtypes import is_float
from ..entries import Entry
from ..errors import GradientError
from ..tensors import Tensor, Variable, tensor
from ..transforms import jvp, vjp
from ..tree import flatten, unflatten


class Rules:
    """Stands for a compiled call in a tape entry: the derivative rules of one of its results."""

    def __init__(self, through: Through, place: int, count: int) -> None:
        self.name = through.name
        self.through = through
        self.place = place
        self.vjp = [self._vjp_rule(i) for i in range(count)]
        self.jvp = [self._jvp_rule(i) for i in range(count)]
        self._known: tuple[Any, Any] | None = None

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
    """

    def __init__(self, jitted: Any, entry: Any, args: Any, kwargs: Any) -> None:
        self.name = jitted.__name__
        self._like = jitted.like
        self._function = jitted._function
        self._entry = entry
        self._leaves, self._structure = flatten((args, kwargs))
        self._tensors = [i for i, leaf in enumerate(self._leaves) if _is_traced(leaf)]
        self._leaves = [None if i in self._tensors else x for i, x in enumerate(self._leaves)]
        self.variables = [v for v in entry.program.variables if v.parameter and is_float(v.dtype)]
        self._backward: dict[Any, Any] = {}

    def inputs(self, args: Any, kwargs: Any) -> list[Tensor]:
        """The tensors that a call read: its arguments, then the variables."""
        leaves = flatten((args, kwargs))[0]
        given = [_as_tensor(leaves[i]) for i in self._tensors]
        return given + [v.value for v in self.variables]

    def _run(self, place: int, inputs: Sequence[Tensor]) -> Any:
        """Result number `place` of the function, on `inputs`; only under a trace."""
        if not self._entry.current():
            raise GradientError(
                f"backward through {self.name}: a layer, mode or setting was changed after the "
                "call; "
                "take the gradients before changing the model"
            )
        count = len(self._tensors)
        leaves = list(self._leaves)
        for i, x in zip(self._tensors, inputs[:count], strict=True):
            leaves[i] = x
        args, kwargs = unflatten(self._structure, iter(leaves))
        with STATE.trace.substituting(self.variables, inputs[count:]):
            result = self._function(*args, **kwargs)
        tensors = [leaf for leaf in flatten(result)[0] if isinstance(leaf, Tensor)]
        found = tensors[place]
        return found.value if isinstance(found, Variable) else found

    def backward(self, place: int) -> Any:
        """The jitted function ``(*inputs, g)`` of the cotangents of all inputs."""

        def cotangents(*values: Any) -> Any:
            *inputs, g = values
            _, pullback = vjp(lambda *xs: self._run(place, xs), *inputs)
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


def _as_tensor(leaf: Any) -> Tensor:
    """An argument as the program took it. Arrays are copied: they may change before `backward`."""
    return leaf if isinstance(leaf, Tensor) else tensor(leaf)


def track_results(jitted: Any, entry: Any, args: Any, kwargs: Any, result: Any) -> Any:
    """`result` with its floating-point tensors on the tape, if anything that the call read is
    tracked."""
    tracked = any(v.requires_grad for v in entry.program.variables)
    if not tracked:
        leaves = flatten((args, kwargs))[0]
        tracked = any(isinstance(leaf, Tensor) and leaf.entry is not None for leaf in leaves)
    if not tracked:
        return result
    if entry.through is None:
        entry.through = Through(jitted, entry, args, kwargs)
    through = entry.through
    inputs = through.inputs(args, kwargs)
    leaves, structure = flatten(result)
    place = 0
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            if is_float(leaf.dtype):
                leaves[i] = Tensor(leaf.data, _entry(through, place, inputs, leaf))
            place += 1
    return unflatten(structure, iter(leaves))


def _entry(through: Through, place: int, inputs: list[Tensor], out: Tensor) -> Entry:
    rules = Rules(through, place, len(inputs))
    parents = [x.entry for x in inputs]
    return Entry(rules, {}, inputs, parents, None, out.shape, out.dtype)
