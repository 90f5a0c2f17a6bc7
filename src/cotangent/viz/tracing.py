"""The computation graph of any function, for pictures: what a trace of it wrote down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..callers import PACKAGE
from ..compiler import graph as g
from ..compiler.arguments import placeholders
from ..compiler.compiled import Jitted, jit
from ..compiler.trace import Trace, TracedNode
from ..dtypes import DType
from ..errors import ArgumentTypeError, Error
from ..nn.module import Module
from ..shapes import Shape
from ..tensors import Tensor
from ..tree import flatten
from ..variables import named_variables

_KINDS = {g.ARGUMENT: "input", g.HOST: "input", g.CONSTANT: "constant"}
_SHOWN_ATTRIBUTES = 22  # characters


@dataclass(frozen=True)
class GraphNode:
    """One value of a computation.

    Attributes:
        number: its place in the order of computing.
        kind: "input", "parameter", "state" (buffers, and what an optimizer keeps), "constant",
            "operation", "output", or "error" for the operation that failed.
        name: of the input, parameter or operation.
        detail: numbers and attributes of an operation, such as ``· 0.5``.
        shape, dtype: of the value; None and "" of an error.
        layer: path of the layers around it, such as ``MLP.l1``.
        groups: the layers around it from the outside, such as ("MLP", "MLP.l1"); where there
            are derivatives, "forward", "backward" or, for what comes after them, "update" first.
        source: the user's line.
        backward: whether it is part of a derivative.
        inputs: numbers of the nodes that it is computed from.
    """

    number: int
    kind: str
    name: str
    detail: str = ""
    shape: Shape | None = None
    dtype: str = ""
    layer: str = ""
    groups: tuple[str, ...] = ()
    source: str = ""
    backward: bool = False
    inputs: tuple[int, ...] = ()


class _Recording(Trace):
    """A trace that keeps every node it makes, and the names of arguments and layers."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[g.Node] = []
        self.names: list[str] = []
        self.paths: set[str] = set()

    def _make(self, role: str, shape: Shape, dtype: DType, **rest: Any) -> g.Node:
        node = super()._make(role, shape, dtype, **rest)
        self.made.append(node)
        return node

    def argument(self, shape: Shape, dtype: DType, name: str) -> Tensor:
        self.names.append(name)
        return super().argument(shape, dtype, name)

    def enter_layer(self, layer: Any) -> None:
        super().enter_layer(layer)
        self.paths.add(self._layers[-1][1])


def traced_nodes(
    function: Callable[..., Any], args: tuple[Any, ...], backward: bool
) -> tuple[str, list[GraphNode], str]:
    """The name of a function, the nodes of a call, and the error that ended it, or ""."""
    if not callable(function):
        raise ArgumentTypeError(f"graph: takes a function, not {type(function).__name__}")
    jitted = function if isinstance(function, Jitted) else jit(function)
    name = jitted.__name__
    if backward or isinstance(function, Module):
        jitted = jit(_wrapped(function, backward))
    trace = _Recording()
    call = placeholders(args, {})
    try:
        traced = jitted._trace(*call, trace=trace)
    except Error as error:
        return name, _failed(trace, error), error.message.partition("\n")[0]
    writer = _Writer(trace, traced.graph.nodes)
    for i, node in enumerate(traced.graph.outputs):
        writer.output("output" if len(traced.graph.outputs) == 1 else f"output {i}", node)
    for number, node in traced.graph.writes:
        writer.output(f"new {writer.variables.get(number, 'value')}", node)
    return name, writer.nodes, ""


def _wrapped(function: Callable[..., Any], backward: bool) -> Callable[..., Any]:
    """`function`, if asked for with the gradients of the sum of all its results, and with the names
    of its arguments; those of a model are in `forward`."""

    def call(*args: Any) -> Any:
        results = function(*args)
        if not backward:
            return results
        total: Any = 0.0
        for leaf in flatten(results)[0]:
            if isinstance(leaf, Tensor):
                total = total + leaf.sum()
        return results, total.backward()

    call.__wrapped__ = getattr(function, "forward", function)  # type: ignore[attr-defined]
    return call


class _Writer:
    """Turns nodes of a trace into those of a picture. Numbers are written into the operations
    that use them."""

    def __init__(self, trace: _Recording, nodes: Sequence[g.Node]) -> None:
        self.trace = trace
        self.nodes: list[GraphNode] = []
        self.numbers: dict[int, int] = {}
        self.variables = _variable_names(trace)
        derivatives = [node.order for node in nodes if node.backward]
        self.first = min(derivatives, default=0)  # derivative in the order of the trace
        first_use: dict[int, g.Node] = {}
        for node in sorted(nodes, key=lambda n: n.order):
            for x in node.inputs:
                first_use.setdefault(id(x), node)
        for node in sorted(nodes, key=lambda n: n.order):
            if node.role == "op":
                self._operation(node)
            elif not _is_number(node):
                self._leaf(node, first_use.get(id(node)))

    def _leaf(self, node: g.Node, user: g.Node | None) -> None:
        kind, place = _KINDS.get(node.role, "parameter"), user or node
        name = node.role
        if node.role == g.VARIABLE:
            variable = self.trace.variables[node.payload]
            kind = "parameter" if variable.parameter else "state"
            name = self.variables[node.payload]
        elif node.role == g.ARGUMENT:
            name = self.trace.names[node.payload]
        elif node.role == g.HOST:
            name = "host scalar"
        self._add(node, kind, name, "", None if kind == "input" else place)

    def _operation(self, node: g.Node) -> None:
        detail = [str(x.payload.flat[0].item())[:8] for x in node.inputs if _is_number(x)]
        shown = [f"{k}={v}" for k, v in node.attrs.items() if not callable(v)]
        detail += [part for part in shown if len(part) <= _SHOWN_ATTRIBUTES]
        self._add(node, "operation", node.op, ", ".join(detail), node)

    def _add(self, node: g.Node, kind: str, name: str, detail: str, place: g.Node | None) -> None:
        """Write a node down, where `place` is in the groups."""
        groups, layer = ((), "") if place is None else (self._groups(place), place.layer)
        number = self.numbers[id(node)] = len(self.nodes)
        inputs = tuple(self.numbers[id(x)] for x in node.inputs if id(x) in self.numbers)
        self.nodes.append(
            GraphNode(
                number, kind, name, detail, node.shape, str(node.dtype), layer, groups,
                node.source, place is not None and place.backward, tuple(dict.fromkeys(inputs)),
            )
        )  # fmt: skip

    def _groups(self, node: g.Node) -> tuple[str, ...]:
        found = self.layers(node.layer)
        if not self.first:
            return found
        if node.backward:
            return ("backward", *found)
        return ("update" if node.order > self.first else "forward", *found)

    def layers(self, layer: str) -> tuple[str, ...]:
        """The layers around something, from the outside."""
        parts = layer.split(".") if layer else []
        paths = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return tuple(path for path in paths if path in self.trace.paths)

    def output(self, name: str, node: g.Node) -> None:
        """A node that stands for a result."""
        inputs = (self.numbers[id(node)],) if id(node) in self.numbers else ()
        number = len(self.nodes)
        self.nodes.append(
            GraphNode(number, "output", name, "", node.shape, str(node.dtype), inputs=inputs)
        )


def _failed(trace: _Recording, error: Error) -> list[GraphNode]:
    """The nodes up to the operation that failed, and one for that operation."""
    writer = _Writer(trace, trace.made)
    name, inputs = _culprit(error)
    numbers = [writer.numbers[id(x)] for x in inputs if id(x) in writer.numbers]
    crossed = getattr(error, "crossed", None)
    layer = "" if crossed is None else f"{type(crossed).__name__}.{error.layer}".rstrip(".")
    writer.nodes.append(
        GraphNode(
            len(writer.nodes), "error", name, error.message.partition("\n")[0], None, "", layer,
            writer.layers(layer), _source(error), False, tuple(dict.fromkeys(numbers)),
        )
    )  # fmt: skip
    return writer.nodes


def _culprit(error: Error) -> tuple[str, list[g.Node]]:
    """The operation that raised `error`, and the traced values that it was given: the innermost
    call in this package that has such values among its arguments."""
    found: tuple[str, list[g.Node]] = (error.message.partition(":")[0][:40], [])
    step = error.__traceback__
    while step is not None:
        frame = step.tb_frame
        step = step.tb_next
        if not (frame.f_globals.get("__name__") or "").startswith(PACKAGE):
            continue
        code = frame.f_code
        arguments = [frame.f_locals.get(n) for n in code.co_varnames[: code.co_argcount + 2]]
        nodes: list[g.Node] = [
            leaf.data
            for leaf in flatten(arguments)[0]
            if isinstance(leaf, Tensor) and isinstance(leaf.data, TracedNode)
        ]
        if nodes:
            primitive = frame.f_locals.get("primitive")
            layer = type(frame.f_locals.get("self")).__name__
            word = layer if code.co_name == "forward" else code.co_name.strip("_")
            name = getattr(primitive, "name", None) or word
            found = (name, nodes)
    return found


def _source(error: Error) -> str:
    """The user's innermost line."""
    found, step = "", error.__traceback__
    while step is not None:
        frame = step.tb_frame
        if not (frame.f_globals.get("__name__") or "").startswith(PACKAGE):
            found = f"{frame.f_code.co_filename}:{step.tb_lineno}"
        step = step.tb_next
    return found


def _variable_names(trace: _Recording) -> dict[int, str]:
    """The path of each captured variable in the models and optimizers that took part."""
    names: dict[int, str] = {}
    for root in trace.roots:
        for path, variable in named_variables(root):
            names.setdefault(variable.leaf.number, path)
    return {
        i: names.get(v.leaf.number) or v.name or f"variable {i}"
        for i, v in enumerate(trace.variables)
    }


def _is_number(node: g.Node) -> bool:
    """Whether a node is a constant that is written as a number."""
    return node.role == g.CONSTANT and node.uniform is not None
