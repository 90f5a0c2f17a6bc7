"""The graph of a traced function: data that prints, verifies, and runs op by op.

Nodes are immutable and stand in an order in which each comes after its inputs. Leaves are
arguments, variables, constants and host scalars; every other node applies a primitive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..backends import NUMPY
from ..dtypes import DType
from ..errors import CompileError
from ..narrow import evaluate_narrow, is_narrow_array
from ..ops import Primitive
from ..shapes import Shape

ARGUMENT, VARIABLE, CONSTANT, HOST = "argument", "variable", "constant", "host"


class Node:
    """One value of the graph.

    Attributes:
        role: "op", or which leaf it is: "argument", "variable", "constant", "host".
        primitive, inputs, attrs: the application, for role "op". Of a host scalar, `attrs` says
            whether it varies from call to call.
        payload: what a leaf stands for: the number of an argument or host scalar, the variable's
            number, or the constant's array.
        shape, dtype: of the value.
        source: the user's line, as ``file.py:12``.
        layer: path of the layers around it, such as ``MLP.l1``.
        region: nodes of different regions are not merged, though they compute the same: a
            checkpoint computes them again to save memory. 0 for most.
        order: when it was traced, or the node that it stands for.
        backward: whether it is part of a derivative.
        size: the number of elements.
        op, kind: name and kind of the primitive; the role of a leaf.
        uniform: the value of a constant all of whose elements are the same; else None.
    """

    __slots__ = (
        "role", "primitive", "inputs", "attrs", "payload", "shape", "dtype", "source", "layer",
        "region", "order", "size", "op", "kind", "uniform", "backward",
    )  # fmt: skip

    def __init__(
        self, role: str, shape: Shape, dtype: DType, *, primitive: Primitive | None = None,
        inputs: tuple[Node, ...] = (), attrs: dict[str, Any] | None = None, payload: Any = None,
        source: str = "", layer: str = "", region: int = 0, order: int = 0,
        backward: bool = False,
    ) -> None:  # fmt: skip
        self.role = role
        self.shape = shape
        self.dtype = dtype
        self.primitive = primitive
        self.inputs = inputs
        self.attrs = attrs or {}
        self.payload = payload
        self.source = source
        self.layer = layer
        self.region = region
        self.order = order
        self.backward = backward
        size = 1
        for n in shape:
            size *= n
        self.size = size
        self.op, self.kind = (role, role) if primitive is None else (primitive.name, primitive.kind)
        self.uniform = _uniform(payload) if role == CONSTANT else None

    def __repr__(self) -> str:
        return f"<{self.op} {self.dtype}{list(self.shape)}>"

    def where(self) -> str:
        """Op, layer and line, for errors."""
        layer = f" in {self.layer}" if self.layer else ""
        layer += " (backward)" if self.layer and self.backward else ""
        return f"{self.op}{layer} at {self.source or 'an unknown line'}"


def apply(primitive: Primitive, inputs: Sequence[Node], attrs: dict[str, Any], like: Node) -> Node:
    """A new node of an op; line and layer come from `like`."""
    shape, dtype = primitive.infer(*inputs, **attrs)
    return Node(
        "op", shape, dtype, primitive=primitive, inputs=tuple(inputs), attrs=attrs,
        source=like.source, layer=like.layer, region=like.region, order=like.order,
        backward=like.backward,
    )  # fmt: skip


def constant(array: Any, like: Node | None = None) -> Node:
    """A constant node that holds the values of `array`."""
    array = np.asarray(array)
    array = np.broadcast_to(core(array), array.shape)
    source, layer = ("", "") if like is None else (like.source, like.layer)
    return Node(CONSTANT, array.shape, array.dtype, payload=array, source=source, layer=layer)


# Larger constants are not looked into: what is computed does not depend on their values.
MOST_READ = 4096


def core(array: Any) -> Any:
    """The elements that a constant has memory for: axes of stride 0 at size 1, the rest row-
    major."""
    picked = tuple(
        slice(0, 1) if not step and n > 1 else slice(None)
        for step, n in zip(array.strides, array.shape, strict=True)
    )
    return np.array(array[picked], order="C")


def is_readable(array: Any) -> bool:
    """Whether simplification may look at the values of a constant."""
    size = 1
    for step, n in zip(array.strides, array.shape, strict=True):
        size *= n if step else 1
    return size <= MOST_READ


def uniform(node: Node) -> Any:
    """The value of a constant all of whose elements are the same, or None."""
    return node.uniform


def _uniform(array: Any) -> Any:
    if array.size == 0 or any(s and n > 1 for s, n in zip(array.strides, array.shape, strict=True)):
        return None
    return array.flat[0]


class Graph:
    """A traced function.

    Attributes:
        arguments: leaf nodes of the traced arguments, in order.
        variables: leaf nodes of the captured variables, in order of first use.
        hosts: leaf nodes of scalars that the host computes before each call.
        outputs: the results.
        writes: pairs (number of the variable, its new value), committed after everything else.
        checks: ops that can fail, and that neither outputs nor writes need; they run all the same.
        nodes: every node that the outputs, writes and checks need, each after its inputs.
    """

    def __init__(
        self, arguments: Sequence[Node], variables: Sequence[Node], hosts: Sequence[Node],
        outputs: Sequence[Node], writes: Sequence[tuple[int, Node]], checks: Sequence[Node] = (),
    ) -> None:  # fmt: skip
        self.arguments = tuple(arguments)
        self.variables = tuple(variables)
        self.hosts = tuple(hosts)
        self.outputs = tuple(outputs)
        self.writes = tuple(writes)
        roots = [*self.outputs, *(node for _, node in self.writes)]
        self.nodes = ordered(roots)
        self.checks: tuple[Node, ...] = ()
        if checks:
            needed = {id(node) for node in self.nodes}
            others = {id(x): x for x in checks if x.role == "op" and id(x) not in needed}
            self.checks = tuple(others.values())
            roots += self.checks
            self.nodes = ordered(roots)
        if any(node.region for node in self.nodes):
            # What a checkpoint computes again must not come before what it makes room for.
            self.nodes = ordered(roots, as_traced=True)

    def checking(self, checks: Sequence[Node]) -> Graph:
        """The graph with other checks."""
        return Graph(self.arguments, self.variables, self.hosts, self.outputs, self.writes, checks)

    def replaced(self, new: Mapping[int, Node]) -> Graph:
        """The graph of ``new[id(node)]`` for each output, write and check."""
        return Graph(
            self.arguments, self.variables, self.hosts, [new[id(node)] for node in self.outputs],
            [(number, new[id(node)]) for number, node in self.writes],
            [new[id(node)] for node in self.checks],
        )  # fmt: skip

    def __str__(self) -> str:
        names = {id(node): f"%{i}" for i, node in enumerate(self.nodes)}
        lines = []
        for node in self.nodes:
            inputs = ", ".join(names[id(x)] for x in node.inputs)
            if node.role == CONSTANT:
                value = uniform(node)
                inputs = "array" if value is None else repr(value.item())
            elif node.role != "op":
                inputs = str(node.payload)
            attrs = "".join(f", {k}={v}" for k, v in node.attrs.items())
            left = f"{names[id(node)]}: {node.dtype}{list(node.shape)} = "
            lines.append(f"{left}{node.op}({inputs}{attrs})")
        lines += [f"write variable {i} = {names[id(node)]}" for i, node in self.writes]
        lines += [f"check {names[id(node)]}" for node in self.checks]
        lines.append(f"return {', '.join(names[id(node)] for node in self.outputs)}")
        return "\n".join(lines)

    def verify(self) -> Graph:
        """Raise `CompileError` if a node contradicts its record, its inputs, or the order."""
        seen: set[int] = set()
        for node in self.nodes:
            for x in node.inputs:
                if id(x) not in seen:
                    raise CompileError(f"graph: {node.where()} comes before its input {x!r}")
            if node.role == "op":
                self._verify_op(node)
            seen.add(id(node))
        for number, node in self.writes:
            variable = self.variables[number]
            if (variable.shape, variable.dtype) != (node.shape, node.dtype):
                raise CompileError(f"graph: write of {node!r} to variable {number}: {variable!r}")
        return self

    @staticmethod
    def _verify_op(node: Node) -> None:
        primitive = node.primitive
        if primitive is None:
            raise CompileError(f"graph: {node!r} has no primitive")
        shape, dtype = primitive.infer(*node.inputs, **node.attrs)
        if (shape, dtype) != (node.shape, node.dtype):
            raise CompileError(
                f"graph: {node.where()} says {node.dtype}{node.shape}, "
                f"but its record says {dtype}{shape}"
            )

    def run(
        self, arguments: Sequence[Any], variables: Sequence[Any], hosts: Sequence[Any],
        before: Callable[[Node, list[Any]], None] | None = None,
    ) -> tuple[list[Any], list[Any]]:  # fmt: skip
        """Evaluate op by op: the definition that compiled code is tested against.

        Args:
            arguments, variables, hosts: arrays, in the order of the graph's leaves.
            before: called with each op node and its input arrays before it is evaluated.

        Returns:
            The outputs, and the new values in the order of `writes`.
        """
        leaves = {ARGUMENT: arguments, VARIABLE: variables, HOST: hosts}
        values: dict[int, Any] = {}
        for node in self.nodes:
            if node.role == CONSTANT:
                values[id(node)] = node.payload
            elif node.role != "op":
                values[id(node)] = np.asarray(leaves[node.role][node.payload])
            else:
                inputs = [values[id(x)] for x in node.inputs]
                if before is not None:
                    before(node, inputs)
                values[id(node)] = evaluate(node, inputs)
        outputs = [np.array(values[id(node)]) for node in self.outputs]
        return outputs, [np.array(values[id(node)]) for _, node in self.writes]


def evaluate(node: Node, inputs: Sequence[Any]) -> Any:
    """The value of an op node, by the array module."""
    primitive = node.primitive
    if primitive is None:
        raise CompileError(f"graph: {node!r} has no primitive to evaluate")
    if any(map(is_narrow_array, inputs)):
        return np.asarray(evaluate_narrow(primitive, inputs, node.attrs))
    return np.asarray(NUMPY.evaluate(primitive.eval, inputs, node.attrs))


def ordered(roots: Sequence[Node], as_traced: bool = False) -> list[Node]:
    """Every node that `roots` need, each after its inputs; of the inputs, those traced first come
    first if that is asked for. No recursion: graphs are deep."""
    finished: dict[int, bool] = {}  # False while the inputs of a node are looked at
    order: list[Node] = []
    stack = list(reversed(roots))
    while stack:
        node = stack[-1]
        state = finished.get(id(node))
        if state is None:
            finished[id(node)] = False
            inputs: Sequence[Node] = node.inputs
            if as_traced:
                inputs = sorted(inputs, key=lambda x: x.order)
            stack.extend([x for x in reversed(inputs) if id(x) not in finished])
        else:
            stack.pop()
            if not state:
                finished[id(node)] = True
                order.append(node)
    return order
