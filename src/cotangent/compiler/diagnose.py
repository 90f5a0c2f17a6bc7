"""Diagnosis: a call that failed is run again op by op, to name op, layer and line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, Error
from .graph import Graph, Node
from .nans import origin
from .program import Failed
from .trace import Trace
from .verify import Inputs


def diagnose(
    graph: Graph, trace: Trace, failure: Failed, inputs: Sequence[Any], name: str, watching: bool
) -> Error | None:
    """The error for the iteration that failed.

    Args:
        graph, trace: of the function, traced again.
        failure: what the program reported; the variables still are, or `failure` has, what they
            were before that iteration.
        inputs: arrays for the arguments of that iteration.
        name: of the function.
        watching: whether NaN and infinity are failures. If so, None is returned where no op made
            one of finite inputs.
    """
    variables = [v.peek() for v in trace.variables]
    if failure.values is not None:
        for (number, _), value in zip(graph.writes, failure.values, strict=True):
            variables[number] = value
    arrays = [np.asarray(x, node.dtype) for x, node in zip(inputs, graph.arguments, strict=True)]
    hosts = [
        np.asarray(host.value(), node.dtype)
        for host, node in zip(trace.host_functions, graph.hosts, strict=True)
    ]
    graph.nodes.sort(key=lambda node: node.order)  # of several errors, the first is raised
    reached: list[Node] = []
    try:
        graph.run(arrays, variables, hosts, lambda node, _: reached.append(node))
    except Error as error:
        error.message += f"\n  in {reached[-1].where()}"
        return error
    if watching:
        return origin(graph, Inputs(arrays, variables, hosts), name)
    return ArgumentError(_unseen(graph, name))


def _unseen(graph: Graph, name: str) -> str:
    """What to say where only the compiled function fails: rounding decides whether a matrix that is
    all but singular is positive definite."""
    checking = [x for x in graph.nodes if x.primitive is not None and x.primitive.can_fail]
    found = "\n".join(f"  in {node.where()}" for node in checking)
    return (
        f"ct.jit: {name} found a value that an op does not accept, as an index out of range or a "
        "matrix that is not positive definite; run op by op, it does not, so the value is one that "
        "rounding moves across the border. A matrix that is singular to rounding becomes definite "
        f"by adding a small multiple of the identity. It is one of these ops:\n{found}"
    )


def in_loop(error: Any, number: int) -> Any:
    """An error of an iteration, which says so."""
    error.add_note(f"in iteration {number} of the loop; nothing was changed")
    error.message += f" (iteration {number} of loop)"
    return error
