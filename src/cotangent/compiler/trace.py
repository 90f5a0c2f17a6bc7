"""Tracing: run a Python function on tensors without values, and write down what it does.

While a trace is on, `bind` evaluates through it: every op becomes a node. Variables are read
and written by identity, and the trace keeps their current values itself, so a trace that fails
has changed nothing. Concrete tensors that are met become constants.
"""

from __future__ import annotations

import bisect
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..callers import PACKAGE
from ..config import STATE
from ..dtypes import DType
from ..entries import next_number
from ..errors import BackendError, Error, TraceError
from ..ops import Primitive
from ..shapes import Shape
from ..tensors import Tensor, Variable
from ..variables import children
from . import graph as g
from .failing import left_to_check


class Host(NamedTuple):
    """What computes a host scalar; see `Trace.host_scalar`."""

    function: Callable[..., float]
    varying: bool

    def value(self, ahead: int = 0) -> float:
        """The value for the call that is `ahead` iterations from now."""
        return self.function(ahead) if self.varying else self.function()


class TracedNode(g.Node):
    """A node as the payload of a tensor; it knows the trace that it belongs to."""

    __slots__ = ("trace",)
    maker = "a function compiled by ct.jit"  # for messages
    trace: Trace


class Trace:
    """What `bind` evaluates through while a function is traced.

    Attributes:
        arguments, hosts: leaf nodes made so far.
        variables: the captured variables, in order of first use.
        host_functions: what computes the host scalars, in order.
        roots: layers and optimizers that took part, which guard the compiled program.
    """

    looks_on = False  # see Scope

    def __init__(self) -> None:
        self.arguments: list[g.Node] = []
        self.variables: list[Variable] = []
        self.variable_nodes: list[g.Node] = []
        self.hosts: list[g.Node] = []
        self.host_functions: list[Host] = []
        self.roots: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._values: dict[int, Tensor] = {}
        self._written: dict[int, Tensor] = {}
        self._can_fail: list[g.Node] = []
        self._constants: dict[int, g.Node] = {}
        self._keep: list[Any] = []
        self._layers: list[tuple[Any, str]] = []
        # From which number of the tape on ops belonged to which layer.
        self._numbers_of_layers: list[int] = [0]
        self._paths_of_layers: list[str] = [""]
        self._backward = 0
        self._count = 0
        self._regions: list[int] = []
        self._region_count = 0
        self._undo: list[Callable[[], None]] = []

    # -- what bind and tensors call -------------------------------------------------------

    def apply(self, primitive: Primitive, inputs: Sequence[Tensor], attrs: Any) -> g.Node:
        """The node of an op on `inputs`: tensors of this trace, or concrete ones."""
        nodes = tuple([self._node(x.data) for x in inputs])
        shape, dtype = primitive.infer(*nodes, **attrs)
        node = self._make("op", shape, dtype, primitive=primitive, inputs=nodes, attrs=attrs)
        if primitive.can_fail:
            self._can_fail.append(node)
        return node

    def read(self, variable: Variable) -> Tensor:
        """The value of a variable at this point of the traced function."""
        value = self._values.get(id(variable))
        if value is None:
            number = len(self.variables)
            self._numbers[id(variable)] = number
            self.variables.append(variable)
            node = self._make(g.VARIABLE, variable.shape, variable.dtype, payload=number)
            self.variable_nodes.append(node)
            value = self._values[id(variable)] = variable.wrap(node)
        return value

    def write(self, variable: Variable, new: Tensor) -> None:
        """Let `variable` hold `new` from this point on."""
        self.read(variable)
        node = self._node(new.data)
        self._written[self._numbers[id(variable)]] = new
        self._values[id(variable)] = variable.wrap(node)

    def argument(self, shape: Shape, dtype: DType, name: str) -> Tensor:
        """A new argument."""
        node = self._make(g.ARGUMENT, shape, dtype, payload=len(self.arguments))
        self.arguments.append(node)
        return Tensor(node, None, name)

    def host_scalar(
        self, function: Callable[..., float], dtype: DType, varying: bool = False
    ) -> Tensor:
        """A 0-d value that `function` computes on the host.

        Args:
            function: called without arguments after any change of a setting; or, if `varying`,
                before every call, with how many iterations of a loop lie in between.
        """
        node = self._make(g.HOST, (), dtype, payload=len(self.hosts), attrs={"varying": varying})
        self.hosts.append(node)
        self.host_functions.append(Host(function, varying))
        return Tensor(node)

    def on_failure(self, callback: Callable[[], None]) -> None:
        """Have `callback` undo something, should the trace fail."""
        self._undo.append(callback)

    def note(self, root: Any) -> None:
        """Remember a layer, model or optimizer on whose structure the trace depends."""
        if not any(root is known for known in self.roots):
            self.roots.append(root)

    def enter_layer(self, layer: Any) -> None:
        """Ops from here on belong to `layer`."""
        self.note(layer)
        parent, path = self._layers[-1] if self._layers else (None, "")
        # Without a parent it is the outermost, or one that a checkpoint runs again.
        name = type(layer).__name__ if parent is None else f"{path}.{_child_name(parent, layer)}"
        self._layers.append((layer, name))
        self._layer_changes()

    def leave_layer(self) -> None:
        """The layer entered last is done."""
        self._layers.pop()
        self._layer_changes()

    def _layer_changes(self) -> None:
        self._numbers_of_layers.append(next_number())
        self._paths_of_layers.append(self._layers[-1][1] if self._layers else "")

    def enter_backward(self, number: int) -> None:
        """Ops from here on are the derivative of the op with that number on the tape: they belong
        to its layer."""
        at = bisect.bisect_right(self._numbers_of_layers, number) - 1
        self._layers.append((None, self._paths_of_layers[at]))
        self._backward += 1

    def leave_backward(self) -> None:
        """The derivative entered last is done."""
        self._layers.pop()
        self._backward -= 1

    def enter_region(self) -> None:
        """Ops from here on are computed again on purpose: they are merged with none outside."""
        self._region_count += 1
        self._regions.append(self._region_count)

    def leave_region(self) -> None:
        """The region entered last is done."""
        self._regions.pop()

    def join(self, parameter: Variable, cells: Sequence[Variable]) -> tuple[int, ...]:
        """See `Scope.join`; a trace has nothing to do."""
        return ()

    # -- nodes ----------------------------------------------------------------------------

    def _make(self, role: str, shape: Shape, dtype: DType, **rest: Any) -> g.Node:
        layer = self._layers[-1][1] if self._layers else ""
        node = TracedNode(role, shape, dtype, source=_line(), layer=layer, **rest)
        node.trace = self
        node.order = self._count = self._count + 1
        node.backward = self._backward > 0
        if self._regions and role == "op":
            node.region = self._regions[-1]
        return node

    def _node(self, payload: Any) -> g.Node:
        if isinstance(payload, TracedNode):
            if payload.trace is not self:
                raise TraceError(
                    f"a tensor of shape {payload.shape} belongs to another trace: it was kept "
                    f"from an earlier call of a jitted function (made at {payload.source})"
                )
            return payload
        return self._constant(payload)

    def _constant(self, array: Any) -> g.Node:
        known = self._constants.get(id(array))
        if known is None:
            if not isinstance(array, (np.ndarray, np.generic)):
                raise BackendError(
                    "ct.jit compiles for the CPU, but a tensor of another backend "
                    f"({type(array).__module__}) is used in the function"
                )
            node = self._make(g.CONSTANT, array.shape, array.dtype, payload=np.asarray(array))
            known = self._constants[id(array)] = node
            self._keep.append(array)
        return known

    # -- the result -----------------------------------------------------------------------

    def finish(self, outputs: Sequence[Any]) -> g.Graph:
        """The graph with `outputs` (tensors), the writes so far, and what else can fail."""
        nodes = [self._node(out.data) for out in outputs]
        written = sorted(self._written.items())
        writes = [(number, self._node(new.data)) for number, new in written]
        graph = g.Graph(self.arguments, self.variable_nodes, self.hosts, nodes, writes)
        checks = left_to_check(self._can_fail, graph.nodes)
        return graph.checking(checks) if checks else graph

    def undo(self) -> None:
        """Take back what was set up outside of the trace while it ran."""
        for callback in reversed(self._undo):
            callback()


def run_traced(trace: Trace, function: Callable[[], Any]) -> Any:
    """The result of `function` with `trace` on; a failure is undone."""
    before = STATE.trace
    STATE.trace = trace
    try:
        return function()
    except BaseException as error:
        trace.undo()
        if isinstance(error, Error) and not isinstance(error, TraceError):
            error.add_note(f"while ct.jit traced the function, at {_error_line(error)}")
        raise
    finally:
        STATE.trace = before


def _error_line(error: BaseException) -> str:
    """The innermost line of the user's code in the traceback of `error`."""
    found = "an unknown line"
    step = error.__traceback__
    while step is not None:
        if not _inside(step.tb_frame):
            found = f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}"
        step = step.tb_next
    return found


def _inside(frame: Any) -> bool:
    return (frame.f_globals.get("__name__") or "").startswith(PACKAGE)


def _line() -> str:
    """The user's line that led here."""
    frame = sys._getframe(2)
    # As `_inside` has it; this is done for every node.
    while (frame.f_globals.get("__name__") or "").startswith(PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _child_name(parent: Any, child: Any) -> str:
    """The path from `parent` to its part `child`, through lists and dicts."""
    stack = [("", parent)]
    while stack:
        path, item = stack.pop()
        for name, part in children(item):
            below = f"{path}.{name}" if path else name
            if part is child:
                return below
            if isinstance(part, (list, tuple, dict)):
                stack.append((below, part))
    return type(child).__name__
