"""Evaluators that stand around another one: what `vmap` and `checkpoint` are made of.

While a scope is on, every op, and every read and write of a variable, goes through it; what it
does not handle itself it hands to the evaluator that was on before: a trace, another scope, or
the array modules.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from .config import STATE
from .dtypes import DType
from .ops import Primitive
from .tape import evaluate, scalar
from .tensors import Tensor, Variable


class Scope:
    """Hands everything on to the evaluator around it. It is a context, entered once.

    Attributes:
        outer: the evaluator around this one; None for eager work.
        looks_on: whether it only looks at what is computed; then it has ``look(primitive, inputs,
            out)``, which raises for a bad result, and ``passes(arrays)``, which says of results of
            several ops at once whether each op need not be looked at.
    """

    outer: Any = None
    looks_on = False

    def __enter__(self) -> Self:
        self.outer = STATE.trace
        STATE.trace = self
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.trace = self.outer

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """Evaluate as if this scope were not on."""
        before, STATE.trace = STATE.trace, self.outer
        try:
            yield
        finally:
            STATE.trace = before

    # -- what bind and variables call -----------------------------------------------------

    def apply(self, primitive: Primitive, inputs: Sequence[Tensor], attrs: Any) -> Any:
        """The payload of an op's result."""
        if self.outer is None:
            return evaluate(primitive, [x.data for x in inputs], attrs)
        return self.outer.apply(primitive, inputs, attrs)

    def read(self, variable: Variable) -> Tensor:
        """The value of a variable at this point."""
        with self.outside():
            return variable.value

    def write(self, variable: Variable, new: Tensor) -> None:
        """Let `variable` hold `new` from this point on."""
        with self.outside():
            variable.assign(new)

    def join(self, parameter: Variable, cells: Sequence[Variable]) -> tuple[int, ...]:
        """Variables that hold the state of `parameter` are about to be used; a map treats them
        like the parameter. The result are the sizes of the maps that it is mapped by."""
        found: tuple[int, ...] = () if self.outer is None else self.outer.join(parameter, cells)
        return found

    # -- what layers and optimizers tell a trace ------------------------------------------

    def host_scalar(
        self, function: Callable[..., float], dtype: DType, varying: bool = False
    ) -> Tensor:
        """A 0-d value that `function` computes on the host."""
        if self.outer is not None:
            found: Tensor = self.outer.host_scalar(function, dtype, varying)
            return found
        return scalar(function(0) if varying else function(), dtype)

    def on_failure(self, callback: Callable[[], None]) -> None:
        """Have `callback` undo something, should the trace around this scope fail."""
        if self.outer is not None:
            self.outer.on_failure(callback)

    def note(self, root: Any) -> None:
        """Remember a layer, model or optimizer on whose structure a trace depends."""
        if self.outer is not None:
            self.outer.note(root)

    def enter_layer(self, layer: Any) -> None:
        """Ops from here on belong to `layer`."""
        if self.outer is not None:
            self.outer.enter_layer(layer)

    def leave_layer(self) -> None:
        """The layer entered last is done."""
        if self.outer is not None:
            self.outer.leave_layer()

    def enter_backward(self, number: int) -> None:
        """Ops from here on are the derivative of the op with that number on the tape."""
        if self.outer is not None:
            self.outer.enter_backward(number)

    def leave_backward(self) -> None:
        """The derivative entered last is done."""
        if self.outer is not None:
            self.outer.leave_backward()

    def enter_region(self) -> None:
        """Ops from here on are computed again on purpose: no trace may merge them with others."""
        if self.outer is not None:
            self.outer.enter_region()

    def leave_region(self) -> None:
        """The region entered last is done."""
        if self.outer is not None:
            self.outer.leave_region()


def is_eager() -> bool:
    """Whether ops are computed as they are called, and nothing maps, repeats or traces them."""
    return STATE.trace is None or STATE.trace.looks_on
