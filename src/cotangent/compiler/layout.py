"""Layouts: all of a compiled step but its machine code, as plain data.

A layout names the kernels, and for every slot of each says what goes there. It can be stored
beside the objects, so that a process that finds both skips everything between tracing and
running.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..dtypes import as_dtype
from ..runtime.digest import fingerprint
from . import graph as g
from .graph import Graph, Node
from .memory import Plan

WORD, STATUS, FUNCTION = "word", "status", "function"
Slots = list[tuple[str, int]]


class Layout(NamedTuple):
    """What a program is made from.

    Attributes:
        arguments, outputs: (shape, dtype name) of each.
        hosts: dtype names of the host scalars.
        kernels: name, slots, extent and grain of each. A slot is (kind, number): a word, the
            status, a function by its number, or a place (see `memory.Place`).
        functions: names of functions that kernels call.
        guarding, computing: see `memory.Plan`.
        written: numbers of the variables that are written.
        arena: size in bytes.
        constants: for each, the number of a constant of the traced graph, or (dtype name,
            shape, shape of the bytes, bytes in hexadecimal) for one that simplification made.
        shared: about how many nanoseconds of one thread's work can be split among several.
    """

    arguments: list[tuple[list[int], str]]
    outputs: list[tuple[list[int], str]]
    hosts: list[str]
    kernels: list[tuple[str, Slots, int, int]]
    functions: list[str]
    guarding: int
    computing: int
    written: list[int]
    arena: int
    constants: list[Any]
    shared: int

    def to_bytes(self) -> bytes:
        """The layout as JSON."""
        return json.dumps(self, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Layout:
        """The layout that `to_bytes` wrote."""
        return cls(*json.loads(data))


def make_layout(traced: Graph, plan: Plan) -> Layout:
    """The layout of a plan for the graph `traced`, before simplification."""
    known = {id(node.payload): i for i, node in enumerate(constants_of(traced))}
    functions = sorted({kernel.after.name for kernel in plan.kernels if kernel.after})
    return Layout(
        [_described(node) for node in traced.arguments],
        [_described(node) for node in traced.outputs],
        [str(node.dtype) for node in traced.hosts],
        [
            (
                kernel.name,
                [_slot(slot, plan, functions) for slot in kernel.slots],
                kernel.extent,
                kernel.grain,
            )
            for kernel in plan.kernels
        ],
        functions,
        plan.guarding,
        plan.computing,
        list(plan.written),
        plan.arena,
        [_constant(node, known) for node in plan.constants],
        sum(kernel.nanoseconds for kernel in plan.kernels if kernel.extent > kernel.grain),
    )


def _described(node: Node) -> tuple[list[int], str]:
    return list(node.shape), str(node.dtype)


def _slot(slot: Any, plan: Plan, functions: list[str]) -> tuple[str, int]:
    if slot.kind == "address":
        place = plan.places[id(slot.node)]
        return place.kind, place.number
    if slot.kind == FUNCTION:
        return (FUNCTION, functions.index(slot.value)) if slot.value else (WORD, 0)
    return (STATUS, 0) if slot.kind == "status" else (WORD, _word(slot.value))


def _word(value: Any) -> int:
    """A slot's integer, or the bits of a literal."""
    if isinstance(value, int):
        return value
    raw = np.asarray(value).tobytes().ljust(8, b"\0")
    return int(struct.unpack("<q", raw)[0])


def _constant(node: Node, known: dict[int, int]) -> Any:
    if id(node.payload) in known:
        return known[id(node.payload)]
    base = g.core(node.payload)
    return [str(base.dtype), list(node.shape), list(base.shape), base.tobytes().hex()]


def constants_of(graph: Graph) -> list[Node]:
    """The constants of a graph, in order."""
    return [node for node in graph.nodes if node.role == g.CONSTANT]


def constant_arrays(layout: Layout, traced: Graph) -> list[Any]:
    """The arrays of a layout's constants."""
    nodes = constants_of(traced)
    arrays = []
    for constant in layout.constants:
        if isinstance(constant, int):
            arrays.append(nodes[constant].payload)
        else:
            name, shape, inner, text = constant
            base = np.frombuffer(bytes.fromhex(text), as_dtype(name)).reshape(inner)
            arrays.append(np.broadcast_to(base, tuple(shape)))
    return arrays


def graph_key(graph: Graph) -> str | None:
    """A hash of a traced graph: of all that its layout depends on.

    None if the graph has an op that is not of this package: its lowering may change without notice.
    """
    numbers: dict[int, int] = {}
    parts: list[str] = []
    for node in graph.nodes:
        numbers[id(node)] = len(numbers)
        if node.primitive is not None:
            if not _is_ours(node.primitive):
                return None
            inputs = [numbers[id(x)] for x in node.inputs]
            parts.append(f"{node.op}{inputs}{node.attrs}")
        elif node.role == g.CONSTANT:
            parts.append(_constant_text(node.payload))
        else:
            parts.append(f"{node.role}{node.payload}{node.shape}{node.dtype}{node.attrs}")
    parts.append(f"{[(n.shape, n.dtype) for n in (*graph.arguments, *graph.hosts)]}")
    parts.append(f"{[numbers[id(n)] for n in graph.outputs]}")
    parts.append(f"{[(i, numbers[id(n)]) for i, n in graph.writes]}")
    parts.append(f"{[numbers[id(n)] for n in graph.checks]}")
    return fingerprint(parts, 16)


def _is_ours(primitive: Any) -> bool:
    functions: Sequence[Any] = (primitive.lower, primitive.eval)
    return all(f is None or (f.__module__ or "").startswith("cotangent.ops.") for f in functions)


def _constant_text(array: Any) -> str:
    """Shape and strides; and the content, if simplification may read it."""
    text = f"{array.shape}{array.strides}{array.dtype.str}"
    return text + g.core(array).tobytes().hex() if g.is_readable(array) else text
